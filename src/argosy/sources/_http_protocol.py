"""The wire side of the shared HTTP server: uvicorn's httptools protocol, with the limits that it lacks, on
one port.

uvicorn parses HTTP and speaks ASGI; its ``Server`` is not used, because that owns a process (signals,
``sys.exit``, a ten-hertz tick) and we open and close ports while others go on. What a client may hold is
bounded here: time and bytes for headers, idle time, body bytes sent after the answer. Imported when the first
port opens; what a request means is decided in ``_http``.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import ssl
from dataclasses import dataclass
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from argosy.errors import SourceError

_log = logging.getLogger("argosy.http.connection")
# A client that speaks no HTTP is its own problem: it gets a 400, and the log stays free of what anybody may
# provoke.
_log.setLevel(logging.ERROR)


@dataclass(frozen=True)
class Limits:
    """What one client may hold. Times in seconds, sizes in bytes."""

    header_seconds: float = 10.0
    """From the first byte of a request (or the start of the connection) to the end of its headers."""
    idle_seconds: float = 75.0
    """Between two requests of a connection. Longer than most proxies keep theirs, so that they close first.
    """
    header_bytes: int = 64 * 1024
    unread_bytes: int = 16 * 1024 * 1024
    """Body bytes read and thrown away after an early answer, so that the client sees it, before the
    connection is cut.
    """


class Connection(HttpToolsProtocol):
    """One client connection."""

    def __init__(self, limits: Limits, listener: Listener, config: Config, state: ServerState) -> None:
        super().__init__(config, state, {})
        self.logger = _log
        self._limits = limits
        self._listener = listener
        self._header_timer: asyncio.TimerHandle | None = None
        self._header_bytes = 0
        self._in_headers = False
        self._unread_bytes = 0
        self._certificate: dict[str, Any] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # Asked for only where the port's TLS verifies it.
        self._certificate = transport.get_extra_info("peercert")
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._headers_done()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        self._listener.connection_gone()

    def data_received(self, data: bytes) -> None:
        self._header_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._header_timer is not None:
            if self._header_bytes > self._limits.header_bytes:
                self._refuse(431, "Request Header Fields Too Large")
        elif self.timeout_keep_alive_task is None and (self.cycle is None or self.cycle.response_complete):
            # uvicorn forgets its idle timer where bytes come that start no request: the rest of a refused
            # body, blank lines.
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._certificate:
            self.scope["certificate"] = self._certificate  # type: ignore[typeddict-unknown-key]
        self._in_headers = True
        self._expect_headers()

    def on_headers_complete(self) -> None:
        self._headers_done()
        self._in_headers = False
        self._unread_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self.cycle.response_complete:
            self._unread_bytes += len(body)
            if self._unread_bytes > self._limits.unread_bytes:
                self.transport.close()
            return
        super().on_body(body)

    def _expect_headers(self) -> None:
        if self._header_timer is None:
            self._header_bytes = 0
            self._header_timer = self.loop.call_later(self._limits.header_seconds, self._headers_late)

    def _headers_done(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _headers_late(self) -> None:
        self._header_timer = None
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self._expect_headers()  # the request before is still being answered; its answer must get out
        elif self._in_headers:
            self._refuse(408, "Request Timeout")
        else:
            self.transport.close()

    def _refuse(self, status: int, reason: str) -> None:
        self._headers_done()
        self.transport.write(
            f"HTTP/1.1 {status} {reason}\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\n"
            f"content-length: {len(reason)}\r\n\r\n{reason}".encode()
        )
        self.transport.close()


class Listener:
    """One open port. ``app`` is called for every request, as ASGI has it."""

    def __init__(self, app: Any, limits: Limits) -> None:
        self._limits = limits
        self._state = ServerState()
        self._config = Config(
            app,
            interface="asgi3",
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=limits.idle_seconds,  # type: ignore[arg-type]  # handed to call_later, which takes floats
        )
        self._config.load()
        self._server: asyncio.AbstractServer | None = None
        self._gone = asyncio.Event()
        self.port = 0

    async def open(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        """Listen. ``port`` 0 lets the system choose; ``self.port`` says which. Raises SourceError if the port
        cannot be had.
        """
        listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if listening.family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listening.setblocking(False)
            listening.bind((host, port))
            self._server = await asyncio.get_running_loop().create_server(
                lambda: Connection(self._limits, self, self._config, self._state),
                sock=listening,
                ssl=context,
                backlog=2048,
                ssl_handshake_timeout=self._limits.header_seconds if context else None,
            )
        except OSError as error:
            listening.close()
            raise SourceError(_why_not(host, port, error)) from error
        self.port = listening.getsockname()[1]

    @property
    def busy(self) -> bool:
        """Whether clients are connected."""
        return bool(self._state.connections)

    def connection_gone(self) -> None:
        """A connection ended."""
        self._gone.set()

    def close(self) -> None:
        """Stop listening; close idle connections, and busy ones once they have been answered."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()

    async def closed(self) -> None:
        """After ``close``: return once the port is free again. uvloop frees it a turn of the loop later than
        asyncio.
        """
        if self._server is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):  # since Python 3.12 it waits for the clients too, which we need not
                    await self._server.wait_closed()

    async def drain(self, seconds: float) -> None:
        """After ``close``: return once all connections ended, cutting off those that take longer than
        ``seconds``.
        """
        try:
            async with asyncio.timeout(seconds):
                while self._state.connections:
                    self._gone.clear()
                    await self._gone.wait()
        except TimeoutError:
            for connection in list(self._state.connections):
                connection.transport.abort()
        finally:
            for task in list(self._state.tasks):
                task.cancel()


def _why_not(host: str, port: int, error: OSError) -> str:
    where = f"port {port} on {host or '*'}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} cannot be opened: another program listens there; end it, or give the event another port"
    if error.errno == errno.EACCES:
        return f"{where} cannot be opened: the system reserves it; give the event a port above 1023"
    return f"{where} cannot be opened: {os.strerror(error.errno) if error.errno else error}"
