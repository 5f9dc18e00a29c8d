"""The far end of the actions: a real HTTP server that honours ``Idempotency-Key``, and counts.

The first delivery of a key has an effect, later ones have none and are counted. A seeded part of the first
deliveries gets no answer: the connection is cut after the effect, as by a receiver that dies at that moment,
so that its sender must try again. Deliveries wait while ``gate`` is closed.
"""

from __future__ import annotations

import contextlib
import json
import random
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self


class Effect(NamedTuple):
    """What one delivery caused."""

    key: str
    body: dict[str, Any]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # senders are killed here
            super().handle_error(request, client_address)


class Receiver:
    """A context manager; ``url`` is where it listens. ``effects`` are by path, in the order in which they came."""

    def __init__(self, seed: int = 0, *, lost_answers: float = 0.0) -> None:
        self._random = random.Random(seed)
        self._lost_answers = lost_answers
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.effects: dict[str, list[Effect]] = {}
        self.deliveries: Counter[tuple[str, str]] = Counter()
        self.answers_lost = 0
        self.arrived = 0
        """Requests that were read, answered or not."""
        self.gate = threading.Event()
        self.gate.set()
        self.faults: list[str] = []
        """What no sender may do: a request without a key, one key for two different bodies."""
        self._bodies: dict[tuple[str, str], bytes] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port``."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def duplicates(self) -> int:
        """Deliveries that had no effect, because an earlier one of the same key had."""
        return sum(count - 1 for count in self.deliveries.values())

    def at(self, path: str) -> list[Effect]:
        """The effects of one path so far."""
        with self._lock:
            return list(self.effects.get(path, ()))

    def _take(self, path: str, key: str, body: bytes) -> bool:
        """Whether the sender shall be answered."""
        with self._lock:
            if not key:
                self.faults.append(f"a request to {path} has no Idempotency-Key")
                return True
            self.deliveries[path, key] += 1
            if (first := self._bodies.setdefault((path, key), body)) != body:
                self.faults.append(f"key {key} came to {path} with two bodies: {first!r} and {body!r}")
            if self.deliveries[path, key] > 1:
                return True
            self.effects.setdefault(path, []).append(Effect(key, json.loads(body)))
            lost = self._random.random() < self._lost_answers
            self.answers_lost += lost
            return not lost

    def _handler(receiver) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length)
                if len(body) < length:  # whoever sent it was killed over it: no request at all
                    self.close_connection = True
                    return
                receiver.arrived += 1
                receiver.gate.wait(60)
                if not receiver._take(self.path, self.headers.get("Idempotency-Key", ""), body):
                    self.close_connection = True
                    return
                with contextlib.suppress(OSError):  # who waited for the gate may be gone
                    self.send_response(200)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        return Handler
