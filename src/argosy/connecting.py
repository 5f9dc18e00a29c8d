"""Watches how httpx2 makes a connection: to look at it before a byte is sent, and to close one that nobody
would close.

httpcore2 (2.16) forgets the TCP connection when a request is cancelled during its TLS handshake
(``AnyIOStream.start_tls`` closes on ``Exception`` only, and a cancellation is none), so the socket would
stay until the garbage collector finds it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any


class Connecting:
    """The ``trace`` extension of one request: ``extensions={"trace": Connecting()}``."""

    def __init__(self, look: Callable[[Any], Awaitable[None]] | None = None) -> None:
        """``look`` gets the stream of a new TCP connection, and may raise to end it there."""
        self._look = look
        self._stream: Any = None

    async def __call__(self, event: str, info: dict[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self._stream = info["return_value"]
            if self._look is not None:
                try:
                    await self._look(self._stream)
                except BaseException:
                    await self._stream.aclose()
                    raise
        elif event == "connection.start_tls.failed" and self._stream is not None:
            await self._stream.aclose()
