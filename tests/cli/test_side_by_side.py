"""``queue.concurrency`` with a key, and rate limits, in real processes that are killed: nothing is lost, nothing overtakes, no limit is passed."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import Run, free_port, http

KEYS = "abcde"


class Receiver(ThreadingHTTPServer):
    """A real HTTP server that honours ``Idempotency-Key``: the first request with a key has an effect, later ones are counted.

    Of the first requests every tenth gets no answer, as from a server that dies at that moment. Requests wait while ``gate`` is closed.
    """

    daemon_threads = True

    def __init__(self) -> None:
        receiver = self
        self.gate = threading.Event()
        self.gate.set()
        self.effects: list[tuple[str, dict[str, Any]]] = []
        self.deliveries: list[str] = []
        self.answers_lost = 0
        self._keys: set[str] = set()
        self._lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length)
                if len(body) < length:  # whoever sent it was killed over it: no request at all
                    self.close_connection = True
                    return
                receiver.gate.wait(60)
                if receiver.take(self.path, self.headers["Idempotency-Key"], json.loads(body)):
                    with contextlib.suppress(OSError):  # who waited for the gate may be gone
                        self.send_response(200)
                        self.send_header("Content-Length", "0")
                        self.end_headers()
                else:
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def take(self, path: str, key: str, body: dict[str, Any]) -> bool:
        """Note a request; whether it is answered."""
        with self._lock:
            self.deliveries.append(path)
            if (path + key) in self._keys:
                return True
            self._keys.add(path + key)
            self.effects.append((path, body))
            lost = len(self.effects) % 10 == 0
            self.answers_lost += lost
            return not lost

    def at(self, path: str) -> list[dict[str, Any]]:
        """The effects of one path so far, in order."""
        with self._lock:
            return [body for where, body in self.effects if where == path]

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # senders are killed here
            super().handle_error(request, client_address)


def _manifests(port: int, receiver: str, rules: str) -> str:
    return f"""\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: shop}}
spec:
  webhook:
    orders: {{port: "{port}", endpoint: /orders, method: POST}}
---
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: orders}}
spec:
  dependencies: [{{name: order, eventSourceName: shop, eventName: orders}}]
  triggers:
    - template:
        name: tell
        http:
          url: {receiver}/tell
          payload: [{{src: {{dependencyName: order, dataKey: body, useRawData: true}}, dest: order}}]
{rules}
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        thread = threading.Thread(target=receiver.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield receiver
        receiver.shutdown()
        thread.join()


def _post(port: int, **body: object) -> None:
    status, text = http(f"http://127.0.0.1:{port}/orders", json.dumps(body).encode())
    assert status == 200, text


def test_the_actions_of_a_key_stay_in_order_when_the_process_is_killed(tmp_path: Path, receiver: Receiver) -> None:
    port, total = free_port(), 150
    run = Run(tmp_path)
    rules = """\
      queue: {concurrency: 4, key: {dependencyName: order, dataKey: body.key}}
      retryStrategy: {steps: 50, duration: 100ms, factor: 1, jitter: 0.5}"""
    run.write("shop.yaml", _manifests(port, receiver.url, rules))
    run.start()
    run.until_ready()
    receiver.gate.clear()
    for number in range(total):
        _post(port, key=KEYS[number * 7 % 5], number=number)
    receiver.gate.set()

    for share in (0.2, 0.5, 0.7):
        run.until(lambda share=share: len(receiver.at("/tell")) > share * total)  # type: ignore[misc]
        run.end(signal.SIGKILL)
        run.start()
    run.until(lambda: len(receiver.at("/tell")) == total, "not all came")
    run.until_ready()
    run.end()

    effects = [effect["order"] for effect in receiver.at("/tell")]
    for key in KEYS:
        numbers = [effect["number"] for effect in effects if effect["key"] == key]
        assert numbers == sorted(numbers)
    assert sorted(effect["number"] for effect in effects) == list(range(total))
    assert receiver.answers_lost > 0


def test_a_key_whose_receiver_is_away_does_not_hold_up_the_others_and_goes_on_after_a_restart(
    tmp_path: Path, receiver: Receiver
) -> None:
    port, away = free_port(), free_port()
    run = Run(tmp_path)
    rules = """\
      parameters:
        - src: {dependencyName: order, dataKey: body.url}
          dest: http.url
      queue: {concurrency: 2, key: {dependencyName: order, dataKey: body.key}}
      retryStrategy: {steps: 1000, duration: 200ms, factor: 1}"""
    run.write("shop.yaml", _manifests(port, receiver.url, rules))
    run.start()
    run.until_ready()
    stuck = f"http://127.0.0.1:{away}/stuck"
    for number in range(40):
        _post(port, key="stuck", url=stuck if number == 0 else f"{receiver.url}/stuck", number=number)
    for number in range(3):
        _post(port, key=f"free-{number}", url=f"{receiver.url}/free", number=number)

    run.until(lambda: len(receiver.at("/free")) == 3)
    assert receiver.at("/stuck") == []
    run.until(lambda: run.metric("argosy_actions_waiting", trigger_name="tell") == 40)
    run.end(signal.SIGKILL)
    run.start()
    run.until_ready()
    run.until(lambda: run.metric("argo_events_action_failed_total", trigger_name="tell") >= 2)

    assert receiver.at("/stuck") == []  # the first one is tried on, and the others stand behind it after a restart, too
    run.until(lambda: run.metric("argosy_actions_oldest_seconds", trigger_name="tell") > 0)
    run.until(lambda: 'argosy_log_lag{namespace="default",sensor_name="orders"} 0.0' in run.get("/metrics")[1])
    run.until(lambda: run.metric("argosy_actions_held", trigger_name="tell") == 40)
    assert run.metric("argosy_actions_resting", trigger_name="tell") <= 1
    run.end()


def test_a_rate_limit_holds_over_a_kill_and_what_waits_for_it_is_kept(tmp_path: Path, receiver: Receiver) -> None:
    """In Argo Events what waits for the limiter is lost with the process, and a new process begins with a full bucket."""
    port = free_port()
    run = Run(tmp_path)
    free = f"""
    - template:
        name: free
        http:
          url: {receiver.url}/free
          payload: [{{src: {{dependencyName: order, dataKey: body.number}}, dest: number}}]"""
    limit = "      rateLimit: {unit: Hour, requestsPerUnit: 1, burst: 2}"
    run.write("shop.yaml", _manifests(port, f"{receiver.url}", limit + free))
    run.start()
    run.until_ready()
    for number in range(6):
        _post(port, number=number)
    run.until(lambda: receiver.deliveries.count("/tell") == 2)
    left = 6 - len(receiver.at("/tell"))

    run.end(signal.SIGKILL)
    run.start()
    run.until_ready()
    run.until(lambda: run.metric("argosy_actions_held", trigger_name="tell") == 1)
    for number in range(6, 12):  # what has no limit goes on meanwhile
        _post(port, number=number)
    run.until(lambda: len(receiver.at("/free")) == 12)

    assert receiver.deliveries.count("/tell") == 2
    run.until(lambda: run.metric("argosy_actions_waiting", trigger_name="tell") >= left + 6)
    run.end()


@pytest.mark.parametrize("point", ["action.fired:4", "action.rested:1"])
def test_a_kill_at_this_point_repeats_nothing_and_lets_nothing_overtake(
    point: str, tmp_path: Path, receiver: Receiver
) -> None:
    port, total = free_port(), 16
    run = Run(tmp_path)
    rules = """\
      queue: {concurrency: 2, key: {dependencyName: order, dataKey: body.key}}
      retryStrategy: {steps: 50, duration: 100ms, factor: 1}"""
    run.write("shop.yaml", _manifests(port, receiver.url, rules))
    run.start({"CRASH_AT": point})
    run.until_ready()
    receiver.gate.clear()
    for number in range(total):
        _post(port, key=KEYS[number % 3], number=number)
    receiver.gate.set()
    run.until(lambda: run.ended)
    run.start()

    run.until(lambda: len(receiver.at("/tell")) == total)
    effects = [effect["order"] for effect in receiver.at("/tell")]
    for key in KEYS[:3]:
        numbers = [effect["number"] for effect in effects if effect["key"] == key]
        assert numbers == sorted(set(numbers))
    run.end()
