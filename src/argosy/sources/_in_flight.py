"""How a source keeps several messages in ``emit`` at a time: begun in the order in which they came, never more than a
limit, and finished when the source ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

LIMIT = 64
"""Messages in ``emit`` at a time, of kinds whose manifest does not say."""


class InFlight:
    """The work of one run. A message is a task from the moment it is read."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._slots = asyncio.Semaphore(limit)
        self._tasks: set[asyncio.Task[None]] = set()
        self._fault: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    @property
    def left(self) -> int:
        """How many more may be in flight."""
        return self._limit - len(self._tasks)

    async def free(self) -> None:
        """Wait until one more may begin. Read the next message only then: that is the back-pressure."""
        await self._slots.acquire()

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Let ``work`` run in the slot that ``free`` gave."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._settle)
        return task

    async def run(self, reading: Coroutine[Any, Any, None]) -> None:
        """Until cancelled, until ``reading`` ends, or until work fails; raises what ``reading`` or the work raised.

        In each case nothing is read any more, and the work under way is finished first. A second cancellation
        breaks it off.
        """
        task = asyncio.create_task(reading)
        first: set[asyncio.Future[Any]] = {task, self._fault}
        try:
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        finally:
            task.cancel()
            try:
                await asyncio.gather(task, return_exceptions=True)
                if self._tasks:
                    await asyncio.wait(self._tasks)
            finally:
                for each in self._tasks:
                    each.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._fault.done():
            raise self._fault.result()
        task.result()

    def _settle(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._slots.release()
        # One failure ends the run; the upstream keeps the message, where it can.
        if not task.cancelled() and isinstance(error := task.exception(), Exception) and not self._fault.done():
            self._fault.set_result(error)
