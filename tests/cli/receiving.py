"""A real HTTP server in this process, for triggers of a run: it keeps what it was sent and answers as it is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Received:
    """One request."""

    path: str
    key: str
    body: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Receiver:
    """``status`` answers all requests, as long as nobody clears ``answers``; ``requests`` is all that came."""

    url: str = ""
    status: int = 200
    requests: list[Received] = field(default_factory=list)
    answers: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.answers.set()

    def bodies(self) -> list[str]:
        """What came, in order."""
        return [one.body for one in self.requests]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """The server, while the context is open."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            status = receiver.status
            receiver.requests.append(
                Received(self.path, self.headers.get("Idempotency-Key", ""), body, dict(self.headers))
            )
            receiver.answers.wait()
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.answers.set()
        server.shutdown()
        thread.join()
        server.server_close()
