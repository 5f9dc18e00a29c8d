"""Connections that are kept open between actions: one for each set of settings and secrets, closed when it is broken, when it
is one of too many, or with the trigger.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")
_MOST = 8


def digest(*parts: Any) -> str:
    """Names a set of settings without telling them."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass
class Held(Generic[T]):
    """An open connection. Set ``broken``, and nobody else will get it; ``users`` are the actions under way."""

    connection: T
    users: int = 0
    broken: bool = False


class Kept(Generic[T]):
    """The open connections of a trigger. ``close`` ends one."""

    def __init__(self, close: Callable[[T], Awaitable[None]]) -> None:
        self._close = close
        self._open: dict[str, Held[T]] = {}
        self._opening = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def use(self, name: str, begin: Callable[[], Awaitable[T]]) -> AsyncIterator[Held[T]]:
        """The connection of this name, made by ``begin`` where there is none; raises what ``begin`` raises."""
        async with self._opening:
            held = self._open.get(name)
            if held is None or held.broken:
                held = self._open[name] = Held(await begin())
            held.users += 1
        try:
            yield held
        finally:
            held.users -= 1
            await self._tidy(name, held)

    async def close(self) -> None:
        """Close all."""
        while self._open:
            await self._close(self._open.popitem()[1].connection)

    async def _tidy(self, name: str, held: Held[T]) -> None:
        """Close what broke once nobody uses it, and of the others the oldest that are too many."""
        if held.broken and not held.users:
            if self._open.get(name) is held:
                del self._open[name]
            await self._close(held.connection)
        idle = [name for name, other in self._open.items() if not other.users]
        for old in idle[:-_MOST]:
            await self._close(self._open.pop(old).connection)
