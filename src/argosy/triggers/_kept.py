"""Connections that are kept open between actions: one for each set of settings and secrets, closed when it is broken, when it
is one of too many, or with the trigger.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")
_MOST = 8


def digest(*parts: Any) -> str:
    """Names a set of settings without telling them."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class Held(Generic[T]):
    """A connection, open or being opened. Set ``broken``, and nobody else will get it."""

    def __init__(self) -> None:
        self.broken = False
        self.users = 0
        """The actions under way."""
        self.opening = asyncio.Lock()
        self.opened: list[T] = []
        """The one connection, once it is open."""

    @property
    def connection(self) -> T:
        """The connection, for those who are inside ``Kept.use``."""
        return self.opened[0]


class Kept(Generic[T]):
    """The open connections of a trigger. ``close`` ends one."""

    def __init__(self, close: Callable[[T], Awaitable[None]]) -> None:
        self._close = close
        self._open: dict[str, Held[T]] = {}

    @contextlib.asynccontextmanager
    async def use(self, name: str, begin: Callable[[], Awaitable[T]]) -> AsyncIterator[Held[T]]:
        """The connection of this name, made by ``begin`` where there is none; raises what ``begin`` raises."""
        held = self._open.get(name)
        if held is None or held.broken:
            held = self._open[name] = Held()
        held.users += 1
        try:
            async with held.opening:  # one opens it for all who came; a server that is silent holds up nobody else's
                if not held.opened:
                    held.opened.append(await begin())
            yield held
        finally:
            held.users -= 1
            await self._tidy(name, held)

    async def close(self) -> None:
        """Close all."""
        while self._open:
            await self._end(self._open.popitem()[1])

    async def _tidy(self, name: str, held: Held[T]) -> None:
        """Close what broke once nobody uses it, and of the others the oldest that are too many."""
        if (held.broken or not held.opened) and not held.users:
            if self._open.get(name) is held:
                del self._open[name]
            await self._end(held)
        idle = [name for name, other in self._open.items() if not other.users]
        for old in idle[:-_MOST]:
            await self._end(self._open.pop(old))

    async def _end(self, held: Held[T]) -> None:
        while held.opened:
            await self._close(held.opened.pop())
