"""Senders of Azure Service Bus and Event Hubs that stay open between actions.

Microsoft's senders take one message at a time, so an action has one for itself while it is under way; afterwards it waits
for the next. One that failed, or whose action was broken off, is closed. Of those that wait the oldest are closed when there
are too many: a key that changed leaves one behind.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from argosy.azure.messaging import Namespace, lasting, pause_seconds, sentence, within
from argosy.errors import Rejected, RetryAfter, TriggerError

_IDLE = 8
_PARTING_SECONDS = 1.5
SEND_SECONDS = 30.0


class Sender:
    """One open sender. ``send`` raises the library's exceptions; ``link`` is closed by its ``close``."""

    def __init__(self, link: Any, send: Callable[[Any], Awaitable[None]], sockets: Callable[[], list[Any]]) -> None:
        self.link = link
        self.send = send
        self._sockets = sockets

    async def close(self) -> None:
        """Close it, whatever has become of it."""
        # Asked before and after: the library forgets its socket when it is interrupted.
        found = self._sockets()
        with contextlib.suppress(Exception):
            await within(_PARTING_SECONDS, self.link.close())
        for writer in (*found, *self._sockets()):
            writer.transport.abort()


class Senders:
    """Those of one trigger."""

    def __init__(self) -> None:
        self._idle: list[tuple[str, Sender]] = []

    async def close(self) -> None:
        """Close those that wait."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(sender.close() for _, sender in idle))

    @contextlib.asynccontextmanager
    async def _use(self, key: str, open: Callable[[], Sender]) -> AsyncIterator[Sender]:
        place = next((place for place, (name, _) in enumerate(self._idle) if name == key), None)
        sender = open() if place is None else self._idle.pop(place)[1]
        try:
            yield sender
        except BaseException:
            await asyncio.shield(sender.close())
            raise
        self._idle.append((key, sender))
        while len(self._idle) > _IDLE:
            await self._idle.pop(0)[1].close()

    async def send(self, key: str, open: Callable[[], Sender], message: Any, where: Namespace, what: str) -> None:
        """Send by a sender of this ``key``, which names without telling what it was opened with.

        Raises Rejected where another try cannot help, RetryAfter where the service says so, else TriggerError.
        """
        try:
            async with self._use(key, open) as sender:
                await within(SEND_SECONDS, _awaited(sender.send(message)))
        except TimeoutError as error:
            raise TriggerError(f"{where} has not answered within {SEND_SECONDS:g} s ({what})") from error
        except TriggerError:
            raise
        except Exception as error:  # noqa: BLE001
            # The library raises its own, AMQP's, and the system's; its texts may hold anything, so none is passed on.
            said = sentence(where, what, error)
            if lasting(error):
                raise Rejected(said) from None
            if (seconds := pause_seconds(error)) is not None:
                raise RetryAfter(f"{said}; it is busy", seconds) from None
            raise TriggerError(said) from None


async def _awaited(work: Awaitable[None]) -> None:
    await work
