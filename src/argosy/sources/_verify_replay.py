"""The replay guard: which requests were recorded within a window, remembered on the bus, so that it holds over
restarts and between processes.

A request counts as recorded once its event is, never before: one that failed may come again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from argosy.bus._base import Bucket
from argosy.clock import Clock
from argosy.errors import BusUnavailable

_PREFIX = "replay/"


class Recorded:
    """The requests of one route that were recorded. ``window`` is in seconds."""

    def __init__(self, bucket: Bucket, clock: Clock, window: float) -> None:
        self._bucket = bucket
        self._clock = clock
        self._window = window
        self._under_way: set[str] = set()
        self._next_sweep = 0.0
        self._sweeping: asyncio.Task[None] | None = None

    async def knows(self, name: str) -> bool:
        """Whether a request of this name was recorded within the window."""
        entry = await self._bucket.get(_PREFIX + name)
        return entry is not None and float(entry.value) > self._now()

    @asynccontextmanager
    async def alone(self, name: str) -> AsyncIterator[None]:
        """One request of a name at a time. Raises BusUnavailable (come again) while another is under way."""
        if name in self._under_way:
            raise BusUnavailable("the same request is under way")
        self._under_way.add(name)
        try:
            yield
        finally:
            self._under_way.discard(name)

    async def remember(self, name: str) -> None:
        """From now on the request counts as recorded. Forgets old ones now and then."""
        now = self._now()
        await self._bucket.put(_PREFIX + name, f"{now + self._window:.3f}".encode())
        if now >= self._next_sweep and (self._sweeping is None or self._sweeping.done()):
            self._next_sweep = now + self._window
            self._sweeping = asyncio.create_task(self._sweep(now))

    async def close(self) -> None:
        """End what runs beside the requests."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait([self._sweeping])

    async def _sweep(self, now: float) -> None:
        for key in await self._bucket.keys():
            if key.startswith(_PREFIX):
                entry = await self._bucket.get(key)
                if entry is not None and float(entry.value) <= now:
                    await self._bucket.delete(key)

    def _now(self) -> float:
        return self._clock.now().timestamp()
