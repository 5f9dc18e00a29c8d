"""Lines to a receiver that do not work, each in a way of its own: what a trigger meets when the other side is ill."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from pathlib import Path

from tests.kubernetes import certificates

LINES = ("refused", "timeout", "reset", "tls")
"""Nobody listens; whoever listens says nothing; the connection breaks off; the certificate is nobody's."""


@contextlib.asynccontextmanager
async def bad_line(how: str, folder: Path, greeting: bytes = b"") -> AsyncIterator[int]:
    """A port of the loopback that behaves like this for as long as the context is open. ``greeting`` comes before TLS."""
    if how == "refused":
        with socket.socket() as unheard:
            unheard.bind(("127.0.0.1", 0))  # and never listens
            yield unheard.getsockname()[1]
        return
    loop = asyncio.get_running_loop()
    tls = _nobodys(folder) if how == "tls" else None
    transports: list[asyncio.BaseTransport] = []
    greeted: list[asyncio.Task[asyncio.Transport | None]] = []

    class Line(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            if how == "reset":
                # Closed with the linger time 0, TCP says RST.
                connection = transport.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                transport.abort()
                return
            transports.append(transport)
            if tls is not None and greeting:
                transport.write(greeting)
                greeted.append(loop.create_task(loop.start_tls(transport, asyncio.Protocol(), tls, server_side=True)))

    server = await loop.create_server(Line, "127.0.0.1", 0, ssl=None if greeting else tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for transport in transports:
            transport.abort()  # type: ignore[attr-defined]
        await asyncio.gather(*greeted, return_exceptions=True)


def _nobodys(folder: Path) -> ssl.SSLContext:
    """A certificate for the loopback of an authority that nobody trusts."""
    authority = folder / "nobody"
    authority.mkdir()
    certificates.authority(authority)
    certificates.server(authority, "server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "server.crt", authority / "server.key")
    return context
