"""Queues that only take in: what a sensor would do, written down instead of done.

A sensor that matches for its own sake (shadow, replay) needs somewhere to put its actions. Nobody takes from a sink, so nothing of
it is waiting, dead or done.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import msgspec

from argosy.bus._base import Bus, DeadLetter, Item, Lease, Queue, Shelf
from argosy.clock import Clock
from argosy.event import format_time
from argosy.sensor import actions

MOST_REMEMBERED = 200
"""So many actions a shadow sensor remembers, the newest."""
_BUCKET = "shadow"


class Sink(Queue):
    """A queue whose ``put`` calls ``keep`` with the id, the body and ``again``."""

    def __init__(self, name: str, keep: Callable[[str, bytes, bool], Awaitable[None]]) -> None:
        self.name = name
        self._keep = keep

    async def put(self, item_id: str, body: bytes, *, again: bool = False) -> bool:
        await self._keep(item_id, body, again)
        return True

    def take(self, *, resting: bool = False) -> AbstractAsyncContextManager[AsyncIterator[Lease]]:
        return _nothing()

    async def depth(self) -> int:
        return 0

    async def outcome(self, item_id: str) -> bytes | None:
        return None

    async def dead_letters(self) -> list[DeadLetter]:
        return []

    async def items(self, shelf: Shelf, *, after: int = 0, limit: int = 100, since: float = 0.0) -> list[Item]:
        return []

    async def find(self, item_id: str) -> Item | None:
        return None

    async def retry_now(self, item_id: str) -> bool:
        return False

    async def redrive(self, item_id: str) -> bool:
        return False

    async def discard(self, item_id: str, reason: str, by: str) -> bool:
        return False


@asynccontextmanager
async def _nothing() -> AsyncIterator[AsyncIterator[Lease]]:
    async def leases() -> AsyncIterator[Lease]:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")
        yield  # pragma: no cover - makes it a generator

    yield leases()


class Cause(msgspec.Struct, frozen=True):
    """An event that an action was for."""

    dependency: str
    source: str
    subject: str
    id: str


class Would(msgspec.Struct, frozen=True):
    """An action that a shadow sensor did not perform. ``at`` is RFC 3339."""

    id: str
    trigger: str
    at: str
    events: list[Cause]


class _Book(msgspec.Struct):
    count: int = 0
    newest: list[Would] = []


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Book).decode


class ShadowBook:
    """What one shadow sensor would have done: how often in all, and the newest ones, on its bus. One process writes it at a time.

    ``counted`` is called with the trigger's name for each.
    """

    def __init__(self, bus: Bus, namespace: str, sensor: str, clock: Clock, counted: Callable[[str], None]) -> None:
        self._bucket = bus.bucket(_BUCKET)
        self._key = f"{namespace}/{sensor}"
        self._clock = clock
        self._counted = counted
        self._book: _Book | None = None
        self._written = asyncio.Lock()
        self._unwritten = 0

    def sink(self, trigger: str) -> Queue:
        """Where this trigger's actions go."""

        async def keep(item_id: str, body: bytes, again: bool) -> None:
            await self._add(item_id, trigger, body)

        return Sink(f"{self._key}/{trigger}", keep)

    async def _add(self, item_id: str, trigger: str, body: bytes) -> None:
        record = actions.decode(body)
        causes = [Cause(name, event.source, event.subject, event.id) for name, event in record.events.items()]
        would = Would(item_id, trigger, format_time(self._clock.now()), causes)
        book = self._book = self._book or await self._read()
        if any(known.id == item_id for known in book.newest):
            return  # its event is read again
        book.newest.append(would)
        del book.newest[:-MOST_REMEMBERED]
        book.count += 1
        self._counted(trigger)
        self._unwritten += 1
        async with self._written:  # those that come meanwhile are written together, by the first that gets in
            if self._unwritten:
                self._unwritten = 0
                await self._bucket.put(self._key, _encode(book))

    async def _read(self) -> _Book:
        entry = await self._bucket.get(self._key)
        # Two that read at once read the same; the second must not replace what the first has added to.
        return self._book or (_read(entry.value) if entry else _Book())


async def would_have_done(bus: Bus, namespace: str, sensor: str) -> tuple[int, list[Would]]:
    """How many actions a shadow sensor would have performed since it is on this bus, and the newest of them, newest first."""
    entry = await bus.bucket(_BUCKET).get(f"{namespace}/{sensor}")
    book = _read(entry.value) if entry else _Book()
    return book.count, list(reversed(book.newest))


def _read(text: bytes) -> _Book:
    try:
        return _decode(text)
    except msgspec.DecodeError:
        return _Book()  # what a shadow would have done is no promise; it begins anew
