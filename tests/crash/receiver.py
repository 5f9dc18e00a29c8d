"""The far end of the actions: a real HTTP server that honours ``Idempotency-Key``, and counts.

The first delivery of a key has an effect, later ones have none and are counted. Like receivers out there it is not always
well (``Moods``): seeded parts of the requests are refused, slow, or cut off, before the effect or after it. Deliveries wait while ``gate`` is
closed. A body with ``ids`` has an effect for each of them. Paths in ``refused`` are answered with 400, which no other try can help.
"""

from __future__ import annotations

import contextlib
import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Collection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self


class Effect(NamedTuple):
    """What one delivery caused."""

    key: str
    body: dict[str, Any]


class Moods(NamedTuple):
    """Which part of the requests gets what; the rest is answered with 200."""

    lost_answers: float = 0.0
    """The connection is cut after the effect, as by a receiver that dies at that moment."""
    resets: float = 0.0
    """The connection is cut before anything was done."""
    errors: float = 0.0
    """500."""
    busy: float = 0.0
    """429 with ``Retry-After: 1``."""
    slow: float = 0.0
    """The answer takes up to 300 ms."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # senders are killed here
            super().handle_error(request, client_address)


class Receiver:
    """A context manager; ``url`` is where it listens. Effects are by path, in the order in which they came."""

    def __init__(self, seed: int = 0, moods: Moods | None = None, *, refused: Collection[str] = ()) -> None:
        self._random = random.Random(seed)
        self._moods = moods or Moods()
        self._refused = frozenset(refused)
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.effects: dict[str, list[Effect]] = {}
        self.deliveries: Counter[tuple[str, str]] = Counter()
        self.unwell: Counter[str] = Counter()
        """How often each mood was met."""
        self.arrived = 0
        """Requests that were read, answered or not."""
        self.longest_gap_seconds = 0.0
        """The longest time without any request, between two requests."""
        self._last = 0.0
        self.gate = threading.Event()
        self.gate.set()
        self.faults: list[str] = []
        """What no sender may do: a request without a key, one key for two different bodies."""
        self._bodies: dict[tuple[str, str], int] = {}

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
        with self._lock:
            return sum(count - 1 for count in self.deliveries.values())

    def at(self, path: str) -> list[Effect]:
        """The effects of one path so far."""
        with self._lock:
            return list(self.effects.get(path, ()))

    def count(self, path: str) -> int:
        """How many effects one path has so far."""
        return len(self.effects.get(path, ()))

    def _take(self, path: str, key: str, body: bytes) -> tuple[int, float]:
        """The status of the answer, 0 for none, and how long it takes."""
        with self._lock:
            now = time.monotonic()
            if self._last:
                self.longest_gap_seconds = max(self.longest_gap_seconds, now - self._last)
            self._last = now
            if not key:
                self.faults.append(f"a request to {path} has no Idempotency-Key")
                return 200, 0.0
            seen = hash(body)
            if self._bodies.setdefault((path, key), seen) != seen:
                self.faults.append(f"key {key} came to {path} with another body before: {body!r}")
            mood, wait = self._mood(), 0.0
            self.unwell[mood] += mood != ""
            if mood == "slow":
                wait = self._random.random() * 0.3
            if mood in ("resets", "errors", "busy"):
                return {"resets": 0, "errors": 500, "busy": 429}[mood], wait
            if path in self._refused:
                return 400, wait
            self.deliveries[path, key] += 1
            if self.deliveries[path, key] == 1:
                told = json.loads(body)
                bodies = [{"id": id} for id in told["ids"]] if "ids" in told else [told]
                self.effects.setdefault(path, []).extend(Effect(key, one) for one in bodies)
            return (0 if mood == "lost_answers" else 200), wait

    def _mood(self) -> str:
        chance = self._random.random()
        for name, part in zip(Moods._fields, self._moods, strict=True):
            if (chance := chance - part) < 0:
                return name
        return ""

    def _handler(receiver) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length)
                if len(body) < length:  # whoever sent it was killed over it: no request at all
                    self.close_connection = True
                    return
                receiver.arrived += 1
                receiver.gate.wait(60)
                status, wait = receiver._take(self.path, self.headers.get("Idempotency-Key", ""), body)
                time.sleep(wait)
                if not status:
                    self.close_connection = True
                    return
                more = "Retry-After: 1\r\n" if status == 429 else ""
                with contextlib.suppress(OSError):  # who waited for the gate may be gone
                    self.wfile.write(f"HTTP/1.1 {status} so\r\n{more}Content-Length: 0\r\n\r\n".encode())

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        return Handler
