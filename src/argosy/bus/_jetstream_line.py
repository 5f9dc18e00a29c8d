"""Keeps writes that go side by side in the order in which they were begun.

What one connection sends, a stream stores in that order. Two things break it. A question that comes before
the write (was this id ended long ago?) is answered by the server in any order. And after a loss, what was
under way is sent again, each write at its own moment, to a server that may refuse one while it starts and take
the next. So a write is sent only after all earlier ones have been sent; and from a loss on, and on a new
connection until a first write has succeeded, only after all earlier ones have ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from argosy.bus._jetstream_answers import Lost
from argosy.bus._jetstream_link import Link

T = TypeVar("T")
Turn = Callable[[], Awaitable[None]]
"""Called by a write just before it sends; returns when it may."""


class Line:
    """The writes of one queue, or of the event log, that are under way."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._unsent = _Turns()
        self._unended = _Turns()
        self._shaken = False
        self._proven = -1

    async def keep(self, what: str, attempt: Callable[[Turn], Awaitable[T]]) -> T:
        """As ``Link.keep``, in line; ``attempt`` is given what it must await before it sends."""
        place = object()
        self._unsent.join(place)
        self._unended.join(place)

        async def turn() -> None:
            await self._unsent.wait(place)
            if self._shaken or self._proven != self._link.epoch:
                await self._unended.wait(place)
            # Whoever is woken by this runs later, so the caller sends before.
            self._unsent.leave(place)

        async def in_turn() -> T:
            epoch = self._link.epoch
            try:
                result = await attempt(turn)
            except Lost:
                self._shaken = True
                raise
            self._proven = epoch
            return result

        try:
            return await self._link.keep(what, in_turn)
        finally:
            self._unsent.leave(place)
            self._unended.leave(place)
            if not self._unended:
                self._shaken = False


class _Turns:
    """Who waits, in order. Whoever is first, or has left, need not wait."""

    def __init__(self) -> None:
        self._places: dict[object, asyncio.Event | None] = {}

    def __len__(self) -> int:
        return len(self._places)

    def join(self, place: object) -> None:
        self._places[place] = None

    async def wait(self, place: object) -> None:
        if place in self._places and next(iter(self._places)) is not place:
            event = self._places[place] = asyncio.Event()
            await event.wait()

    def leave(self, place: object) -> None:
        if place in self._places:
            del self._places[place]
            if self._places and (first := next(iter(self._places.values()))):
                first.set()
