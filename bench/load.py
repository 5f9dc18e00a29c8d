"""A load generator of its own process, so that it takes no time from what is measured: requests over kept connections.

``python -m bench.load 127.0.0.1:8080/in --connections 64 --count 20000`` sends as fast as answers come;
with ``--rate 500`` at that rate, whether answers come or not. It prints one line of JSON. With ``--receive`` it also
is the other side: an HTTP server that an ``http`` trigger posts to, and a port for the datagrams of a ``python`` trigger's
handler. It measures how long ago each was sent.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import deque

import uvloop

PADDING = "x" * 400
_LONGEST_SECONDS = 60.0


class _Client(asyncio.Protocol):
    """One kept connection: at most one request at a time."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._began = 0.0
        self._got = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._load.free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.failed("a connection was lost")

    def send(self, request: bytes, began: float) -> None:
        assert self._transport is not None
        self._began = began
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._got += data
        # Answers are short and say success; whatever is more than that is a failure of the measurement.
        if not self._got.endswith(b"\r\n\r\nsuccess"):
            if b"\r\n\r\n" in self._got and not self._got.startswith(b"HTTP/1.1 200"):
                self._load.failed(self._got[:120].decode(errors="replace"))
            return
        self._got = b""
        self._load.answered(time.perf_counter() - self._began)
        self._load.free(self)


class _Receiver(asyncio.Protocol):
    """The other side of a trigger: answers 200 and measures the age of what it was sent."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._buffer = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
            if len(self._buffer) < end + 4 + length:
                return
            body = json.loads(self._buffer[end + 4 : end + 4 + length])
            self._buffer = self._buffer[end + 4 + length :]
            self._load.received(time.perf_counter() - float(body["sent"]))
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


class _Datagrams(asyncio.DatagramProtocol):
    """The other side of ``bench.arrival``."""

    def __init__(self, load: Load) -> None:
        self._load = load

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._load.received(time.perf_counter() - float(data))


class Load:
    """Sends ``count`` requests; ``ended`` when all are answered and, with a receiver, all have come back."""

    def __init__(self, host: str, path: str, count: int, rate: float, receive: bool) -> None:
        self._head = f"POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n".encode()
        self._count = count
        self._rate = rate
        self._receive = receive
        self._sent = 0
        self._idle: deque[_Client] = deque()
        self._freed = asyncio.Event()
        self.latencies: list[float] = []
        self.ages: list[float] = []
        self.trouble = ""
        self.ended = asyncio.Event()

    def free(self, client: _Client) -> None:
        if self._rate or self._sent >= self._count:
            self._idle.append(client)
            self._freed.set()
        else:
            self._send(client, time.perf_counter())

    def _send(self, client: _Client, due: float) -> None:
        self._sent += 1
        body = b'{"kind":"order","number":%d,"sent":%.6f,"item":"%s"}' % (self._sent, due, PADDING.encode())
        client.send(b"%bcontent-length: %d\r\n\r\n%b" % (self._head, len(body), body), due)

    def answered(self, seconds: float) -> None:
        self.latencies.append(seconds)
        self._look()

    def received(self, seconds: float) -> None:
        self.ages.append(seconds)
        self._look()

    def failed(self, trouble: str) -> None:
        if not self.ended.is_set():
            self.trouble = trouble
            self.ended.set()

    def _look(self) -> None:
        if len(self.latencies) >= self._count and (not self._receive or len(self.ages) >= self._count):
            self.ended.set()

    async def pace(self) -> None:
        """Send at the rate. A request that finds no idle connection is late, which its latency shows."""
        began = time.perf_counter()
        for number in range(self._count):
            due = began + number / self._rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            if not self._idle:
                self._freed.clear()
                await self._freed.wait()
            self._send(self._idle.popleft(), due)


async def run(url: str, *, connections: int, count: int, rate: float, receive: int) -> dict[str, float]:
    """Send and return the numbers. Raises RuntimeError if an answer is not what it should be."""
    host, _, path = url.partition("/")
    name, _, port = host.partition(":")
    loop = asyncio.get_running_loop()
    load = Load(host, "/" + path, count, rate, bool(receive))
    closing: list[asyncio.AbstractServer | asyncio.DatagramTransport] = []
    if receive:
        closing.append(await loop.create_server(lambda: _Receiver(load), "127.0.0.1", receive))
        datagrams, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(load), ("127.0.0.1", receive))
        closing.append(datagrams)
    began = time.perf_counter()
    for _ in range(connections):
        await loop.create_connection(lambda: _Client(load), name, int(port))
    pacing = asyncio.create_task(load.pace()) if rate else None
    async with asyncio.timeout(_LONGEST_SECONDS):
        await load.ended.wait()
    seconds = time.perf_counter() - began
    if pacing:
        pacing.cancel()
    for server in closing:
        server.close()
    if load.trouble:
        raise RuntimeError(load.trouble)
    numbers = {"count": count, "seconds": seconds, "cpu": time.process_time()}
    for what, measured in (("request", load.latencies), ("end to end", load.ages)):
        ordered = sorted(measured)
        if ordered:
            numbers |= {f"{what} p50": ordered[len(ordered) // 2], f"{what} p99": ordered[int(len(ordered) * 0.99)]}
    return numbers


def main() -> int:
    """Send what the arguments say; print the numbers as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="HOST:PORT/PATH")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--rate", type=float, default=0.0, help="requests per second; 0: as fast as answers come")
    parser.add_argument(
        "--receive", type=int, default=0, metavar="PORT", help="be the receiver of a trigger there, too"
    )
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        numbers = runner.run(
            run(
                options.url,
                connections=options.connections,
                count=options.count,
                rate=options.rate,
                receive=options.receive,
            )
        )
    print(json.dumps(numbers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
