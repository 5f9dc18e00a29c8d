"""Reaching a server that a manifest names: TCP and TLS where ``--resolve`` leads, and failures as sentences.

For kinds whose protocol rides on a plain byte stream; ``Session`` is what their connections have in common. Nothing in here connects again: ``patiently`` makes
the tries that a manifest's ``connectionBackoff`` asks for, and the rest is the runtime's work.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Self, TypeVar

from argosy.addresses import Address
from argosy.connecting import target
from argosy.errors import SourceError
from argosy.manifests.fields import Backoff
from argosy.sources._base import SourceContext

T = TypeVar("T")
_CONNECT_SECONDS = 15.0


async def opened(address: Address, tls: ssl.SSLContext | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection, encrypted if ``tls`` is given. Raises SourceError with the reason in a sentence."""
    host, port = target(address.host, address.port)
    # The certificate is that of the host in the manifest, wherever the connection goes.
    secured: dict[str, Any] = {"ssl": tls, "server_hostname": address.host} if tls is not None else {}
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            return await asyncio.open_connection(host, port, **secured)
    except TimeoutError as error:
        hint = "; is it a TLS port?" if tls is not None else ""
        raise SourceError(f"{address} did not answer within {_CONNECT_SECONDS:.0f} s{hint}") from error
    except (OSError, ssl.SSLError, asyncio.IncompleteReadError) as error:
        led = "" if (host, port) == (address.host, address.port) else f" (--resolve leads to {host}:{port})"
        raise SourceError(_unreachable(address, error) + led) from error


async def encrypted(address: Address, writer: asyncio.StreamWriter, tls: ssl.SSLContext) -> None:
    """Go on by TLS, on a connection that has begun without. Raises SourceError with the reason in a sentence."""
    try:
        await writer.start_tls(tls, server_hostname=address.host)
    except (OSError, ssl.SSLError, asyncio.IncompleteReadError) as error:
        raise SourceError(_unreachable(address, error)) from error


def _unreachable(address: Address, error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {address} is not trusted: {error.verify_message}; check tls.caCertSecret"
    if isinstance(error, ssl.SSLError):
        return f"{address} does not take our TLS ({error.reason or type(error).__name__}); is it a TLS port?"
    if isinstance(error, socket.gaierror):
        return f"no host {address.host!r} is known"
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens at {address}; is the server running, is the port right?"
    if isinstance(error, ConnectionResetError | asyncio.IncompleteReadError):
        return f"{address} hung up while greeting; does it want another kind of connection (TLS or not)?"
    return f"{address} cannot be reached: {getattr(error, 'strerror', None) or error}"


async def closed(writer: asyncio.StreamWriter) -> None:
    """Close a connection, whatever has become of it."""
    writer.close()
    with contextlib.suppress(OSError, ssl.SSLError):
        try:
            async with asyncio.timeout(1.0):
                await writer.wait_closed()
        except TimeoutError:
            writer.transport.abort()


class Session:
    """A connection that was let in, kept awake by pings until ``end``."""

    def __init__(self, where: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.where = where
        self._reader = reader
        self._writer = writer
        self._pings: asyncio.Task[None] | None = None

    async def _begin(self, greeting: Coroutine[Any, Any, None], ping: bytes, every_seconds: float) -> Self:
        """Greet, and ping from then on; close the connection where the greeting fails."""
        try:
            await greeting
        except BaseException:
            await closed(self._writer)
            raise
        self._pings = asyncio.create_task(self._ping(ping, every_seconds))
        return self

    async def end(self) -> None:
        """Close the connection."""
        if self._pings is not None:
            self._pings.cancel()
            await asyncio.gather(self._pings, return_exceptions=True)
        await closed(self._writer)

    async def _ping(self, ping: bytes, every_seconds: float) -> None:
        # Also while nothing is read because the bus waits.
        while True:
            await asyncio.sleep(every_seconds)
            self._write(ping)

    def _write(self, data: bytes) -> None:
        # A few bytes for each message in flight at most: nothing piles up if the server does not read. Where the
        # connection is gone, the reading side says so.
        if not self._writer.is_closing():
            self._writer.write(data)


async def patiently(ctx: SourceContext[Any], backoff: Backoff | None, connect: Callable[[], Awaitable[T]]) -> T:
    """What ``connect`` yields, tried as often and as slowly as ``connectionBackoff`` says; once without it."""
    failures = 0
    while True:
        try:
            return await connect()
        except SourceError as error:
            failures += 1
            if backoff is None or failures >= backoff.tries:
                raise
            pause = backoff.pause_seconds(failures, random.random())
            ctx.log.warning("%s; next try in %.0f s, as connectionBackoff says", error, pause)
        await ctx.clock.sleep(pause)
