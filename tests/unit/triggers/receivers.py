"""A real HTTP/1.1 server on loopback for the tests of triggers: it notes requests and answers as it
is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

from argosy.manifests.fields import Json
from tests.conformance.sent import text_of


@dataclass
class Request:
    """A request as it came in; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int
    names: list[str] = field(default_factory=list)
    """Header names as they were written."""

    def shown(self) -> Json:
        """The request as a kind's page shows it."""
        headers = {name: self.headers[name.lower()] for name in self.names}
        return {"method": self.method, "target": self.target, "headers": headers, "body": text_of(self.body)}


@dataclass
class Answer:
    """What to answer."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int = 0
    """Break the connection after so many bytes of the body."""
    stall: bool = False
    """Send half of the body, and the rest never."""
    reset: bool = False
    """Reset the connection instead of answering."""


class HttpServer:
    """An asynchronous context manager. ``answers`` by path; everything else gets ``default``."""

    def __init__(self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.requests: list[Request] = []
        self.answers: dict[str, Answer] = {}
        self.queue: list[Answer] = []
        """Answers to be given once each, before ``default``."""
        self.default = Answer()
        self.echo = False
        """Answer with the request's headers and body in the body."""
        self.waiting = 0
        self.connections = 0
        self._gate = asyncio.Event()
        self._gate.set()
        self._never = asyncio.Event()
        self._stalled = False
        self._tls = tls
        self._host = host
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self._host, 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._gate.set()
        self._never.set()
        self._server.close()
        for writer in self._open.values():
            writer.close()
        await asyncio.gather(*self._open)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    def hold(self) -> None:
        self._gate.clear()

    def release(self) -> None:
        self._gate.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        try:
            while True:
                request = await self._read(reader, number)
                self.requests.append(request)
                self.waiting += 1
                try:
                    await self._gate.wait()
                finally:
                    self.waiting -= 1
                if not self._write(writer, request):
                    break
                if self._stalled:
                    await self._never.wait()
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass  # the client has gone
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()
            self._open.pop(task)

    async def _read(self, reader: asyncio.StreamReader, number: int) -> Request:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ", 2)
        pairs = [line.split(":", 1) for line in head[1:] if line]
        headers = {name.lower(): value.strip() for name, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Request(method, target, headers, body, number, [name for name, _ in pairs])

    def _write(self, writer: asyncio.StreamWriter, request: Request) -> bool:
        answer = self.answers.get(urlsplit(request.target).path)
        if answer is None:
            answer = self.queue.pop(0) if self.queue else self.default
        if answer.reset:
            # Closed with the linger time 0, TCP says RST.
            connection = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return False
        body = answer.body
        if self.echo:
            body += repr(request.headers).encode() + request.body
        headers = {"Content-Length": str(len(body)), **answer.headers}
        lines = [
            f"HTTP/1.1 {answer.status} Because",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        self._stalled = answer.stall
        writer.write(body[: answer.cut or len(body) // 2] if answer.cut or answer.stall else body)
        return not answer.cut
