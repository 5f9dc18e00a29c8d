"""A steady load with a memory: a process that sends numbered events, takes the requests that are to follow, and says what was lost.

Messages go to a RabbitMQ exchange and requests to a webhook, in turn; each is sent again until it is taken, as a careful client
does it, so that every number that is sent was accepted. Requests of ``http`` triggers come back to a port of its own. It runs
apart from the test, whose process is the kubelet. One line of JSON on standard input ends the sending and says how long to
wait for what is still under way; then one line of JSON on standard output is the result.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import kombu

_TIMEOUT_SECONDS = 5.0


class Taken(ThreadingHTTPServer):
    """Counts the numbers that come in."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.numbers: Counter[str] = Counter()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed does not read its answer: nobody needs to know."""


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Taken

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.numbers[body["number"]] += 1
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *words: object) -> None:
        pass


class Sending:
    """A thread that sends numbers at a steady rate, and what became of it."""

    def __init__(self, name: str, rate: float, send: Callable[[str], None]) -> None:
        self.sent: list[str] = []
        self.repeated = 0
        self.longest = 0.0
        """The longest time that one number took until it was accepted, in seconds."""
        self._stop = threading.Event()
        self.name = name
        self._rate = rate
        self._send = send
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        start = time.monotonic()
        while not self._stop.is_set():
            number = f"{self.name}-{len(self.sent)}"
            began = time.monotonic()
            while True:
                try:
                    self._send(number)
                    break
                except Exception:  # Whatever it was: a careful client tries again.
                    self.repeated += 1
                    time.sleep(0.05)
            self.longest = max(self.longest, time.monotonic() - began)
            self.sent.append(number)
            # What was late is caught up with, so that the rate holds on the whole.
            ahead = start + len(self.sent) / self._rate - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)


def main(about: dict[str, Any]) -> None:
    """``about``: rate (events a second in all), amqp (URL; empty for requests only), exchange."""
    taken = Taken()
    print(json.dumps({"port": taken.server_port}), flush=True)
    given = json.loads(sys.stdin.readline())  # the way to the webhook, once it is there

    def publishing() -> Callable[[str], None]:
        producer = kombu.Connection(about["amqp"], transport_options={"confirm_publish": True}).Producer()

        def publish(number: str) -> None:
            producer.publish(
                json.dumps({"number": number}).encode(), exchange=about["exchange"], routing_key="report.info",
                content_type="application/json", content_encoding="utf-8", delivery_mode=2,
            )  # fmt: skip

        return publish

    host, port, path = given["webhook"]

    def post(number: str) -> None:
        # A new connection each time, so that each goes to a pod that is there now.
        client = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_SECONDS)
        try:
            client.request("POST", path, json.dumps({"number": number}), {"Content-Type": "application/json"})
            answer = client.getresponse()
            answer.read()
            if answer.status != 200:
                raise OSError(f"status {answer.status}")
        finally:
            client.close()

    began = time.monotonic()
    half = about["rate"] / 2
    # Several of each, so that one that waits for its answer does not lower the rate.
    senders = [Sending(f"amqp-{one}", half / 2, publishing()) for one in range(2) if about["amqp"]]
    senders += [Sending(f"http-{one}", half / 8, post) for one in range(8)]
    wait = json.loads(sys.stdin.readline())["seconds"]
    for sender in senders:
        sender.end()
    seconds = time.monotonic() - began
    sent = {number for sender in senders for number in sender.sent}
    end = time.monotonic() + wait
    while not sent <= taken.numbers.keys() and time.monotonic() < end:
        time.sleep(0.1)
    result = {
        "sent": len(sent),
        "seconds": seconds,
        "lost": sorted(sent - taken.numbers.keys()),
        "twice": sum(count - 1 for count in taken.numbers.values()),
        "repeated": sum(sender.repeated for sender in senders),
        "longest": max(sender.longest for sender in senders),
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
