"""What may stand before a Nautobot: it hands requests on, notes and holds them, or answers in Nautobot's place."""

from __future__ import annotations

import asyncio
import http.client

from tests.unit.triggers.receivers import Answer, HttpServer, Request


class Gateway(HttpServer):
    """An asynchronous context manager. ``instead`` is answered where there is one."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._target = port
        self.instead: Answer | None = None

    def _write(self, writer: asyncio.StreamWriter, request: Request) -> bool:
        # Nautobot is another process, so it may be waited for here.
        self.default = self.instead or self._handed_on(request)
        return super()._write(writer, request)

    def _handed_on(self, request: Request) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self._target, timeout=60)
        try:
            connection.request(request.method, request.target, request.body, request.headers)
            answer = connection.getresponse()
            kind = answer.headers.get("Content-Type", "")
            return Answer(answer.status, {"Content-Type": kind} if kind else {}, answer.read())
        finally:
            connection.close()
