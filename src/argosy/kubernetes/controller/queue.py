"""The work queue: which objects are to be looked at, each of them once, and by one worker at a time.

A key that is added while a worker looks at it is looked at once more afterwards. One whose look failed comes again after a pause that
doubles with every failure in a row, with some chance in it, so that many that failed together do not come back together.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 120.0


class Queue(Generic[KeyT]):
    """Keys that wait for a worker. Used from one event loop."""

    def __init__(
        self,
        look: Callable[[KeyT], Awaitable[float | None]],
        failed: Callable[[KeyT, Exception, float], None],
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """``look`` does the work for a key, and may answer in how many seconds it wants to be called again. ``failed`` is told what
        it raised, and the pause that follows; ``chance`` yields numbers from 0 to 1.
        """
        self._look = look
        self._failed = failed
        self._chance = chance
        self._waiting: dict[KeyT, None] = {}
        self._busy: set[KeyT] = set()
        self._again: set[KeyT] = set()
        self._failures: dict[KeyT, int] = {}
        self._timers: dict[KeyT, asyncio.TimerHandle] = {}
        self._idle: deque[asyncio.Future[None]] = deque()
        self._leaving: deque[asyncio.Future[None]] = deque()
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def quiet(self) -> bool:
        """Whether nothing waits and nobody works; pauses do not count."""
        return not self._waiting and not self._busy

    def add(self, key: KeyT) -> None:
        """Have the key looked at soon."""
        if self._closed:
            return
        if timer := self._timers.pop(key, None):
            timer.cancel()
        if key in self._busy:
            self._again.add(key)
            return
        self._waiting[key] = None
        while self._idle:
            worker = self._idle.popleft()
            if not worker.done():
                worker.set_result(None)
                break

    def add_after(self, key: KeyT, seconds: float) -> None:
        """Have the key looked at once so many seconds have passed, or sooner if something else asks for it."""
        if self._closed or key in self._waiting or key in self._again:
            return
        loop = asyncio.get_running_loop()
        known = self._timers.get(key)
        if known is not None and known.when() <= loop.time() + seconds:
            return
        if known is not None:
            known.cancel()
        self._timers[key] = loop.call_later(seconds, self._due, key)

    def _due(self, key: KeyT) -> None:
        self._timers.pop(key, None)
        self.add(key)

    async def run(self, workers: int) -> None:
        """Work until ``close``; then what is under way is finished, and nothing new is begun."""
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._work())

    def close(self) -> None:
        """Let ``run`` end."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._waiting.clear()
        self._again.clear()
        for worker in self._idle:
            if not worker.done():
                worker.set_result(None)
        self._idle.clear()

    async def drained(self) -> None:
        """Return once nobody works any more."""
        while self._busy:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._leaving.append(done)
            await done

    async def _work(self) -> None:
        while not self._closed:
            if not self._waiting:
                idle: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._idle.append(idle)
                await idle
                continue
            key = next(iter(self._waiting))
            del self._waiting[key]
            self._busy.add(key)
            try:
                await self._one(key)
            finally:
                self._busy.discard(key)
                while self._leaving:
                    if not (waiter := self._leaving.popleft()).done():
                        waiter.set_result(None)
            if key in self._again:
                self._again.discard(key)
                self.add(key)

    async def _one(self, key: KeyT) -> None:
        try:
            wanted = await self._look(key)
        except Exception as error:  # noqa: BLE001 - whatever it is, the key comes again, and the others must not wait for it
            failures = self._failures.get(key, 0)
            self._failures[key] = failures + 1
            pause = min(FIRST_PAUSE_SECONDS * 2.0 ** min(failures, 20), LONGEST_PAUSE_SECONDS)
            pause *= 0.75 + self._chance() / 2
            self._failed(key, error, pause)
            self.add_after(key, pause)
            return
        self._failures.pop(key, None)
        if wanted is not None:
            self.add_after(key, wanted)
