"""Time as a thing that can be handed in, so that tests run on virtual time and nothing sleeps for real."""

from __future__ import annotations

import asyncio
import datetime as dt
import math
import selectors
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import Any, Protocol, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Clock(Protocol):
    """What the runtime, sources and tests mean by now. All datetimes are aware and in UTC."""

    def now(self) -> dt.datetime:
        """The current time, UTC."""

    def monotonic(self) -> float:
        """Seconds that only grow, also when somebody sets the machine's time; only differences mean something."""

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds`` (at least 0)."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class VirtualClock:
    """The clock of a ``VirtualLoop``: it stood at ``start`` when the loop began, and moves only when all that could run has run."""

    def __init__(self, start: dt.datetime, loop: asyncio.AbstractEventLoop) -> None:
        self._start = start
        self._loop = loop
        self.sleeping = 0
        """How many sleep now."""

    def now(self) -> dt.datetime:
        return self._start + dt.timedelta(seconds=self._loop.time())

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        self.sleeping += 1
        try:
            await asyncio.sleep(max(0.0, seconds))
        finally:
            self.sleeping -= 1

    async def settle(self) -> None:
        """Return once everything that can happen now has happened; half a microsecond passes."""
        await asyncio.sleep(5e-7)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time stands still while something can run, and jumps to the next timer when nothing can.

    So every ``asyncio.sleep`` and ``asyncio.timeout`` in it takes no real time and ends in the order of their times. While
    a thread works for the loop (``run_in_executor``) it waits for the thread, really, and time stands still.
    """

    def __init__(self) -> None:
        self._passed = 0.0
        self._threads = 0
        self._resolution = time.get_clock_info("monotonic").resolution
        super().__init__(_Jumping(self))

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._passed

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self._threads += 1
        future.add_done_callback(self._returned)
        return future

    def _returned(self, _: object) -> None:
        self._threads -= 1

    async def shutdown_default_executor(self, *args: Any) -> None:
        self._threads += 1  # that waits for a thread, too
        try:
            await super().shutdown_default_executor(*args)
        finally:
            self._threads -= 1

    def pass_time(self, seconds: float | None) -> bool:
        """Jump ahead if nothing but time can bring the next thing to do. False if real waiting is needed.

        Raises RuntimeError where neither time nor a thread will ever bring anything.
        """
        if self._threads:
            return False
        if seconds is None:
            raise RuntimeError("everything in virtual time waits for something that can never come")
        passed = self._passed + seconds
        if passed + self._resolution == passed:
            # After a hundred days the loop's grain is lost beside the time; it would wait for ever for a timer that is due just now.
            passed = math.nextafter(passed, math.inf)
        self._passed = passed
        return True


class _Jumping(selectors.DefaultSelector):
    """A selector that lets virtual time pass instead of waiting."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        return [] if self._loop.pass_time(timeout) else super().select(None)


def run_virtually(start: dt.datetime, main: Callable[[VirtualClock], Awaitable[T]]) -> T:
    """Run ``main`` to its end on a loop of its own in virtual time that begins at ``start`` (aware)."""

    async def begin() -> T:
        return await main(VirtualClock(start, asyncio.get_running_loop()))

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(begin())
