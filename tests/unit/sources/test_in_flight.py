"""Several messages in ``emit`` at a time: in order, never more than the limit, and finished at the end."""

from __future__ import annotations

import asyncio

import pytest

from argosy.errors import SourceError
from argosy.sources._in_flight import InFlight
from tests.conformance.source import eventually


class _Work:
    """Pieces of work that wait until they are let go."""

    def __init__(self, limit: int) -> None:
        self.begun: list[int] = []
        self.finished: list[int] = []
        self.cut_off: list[int] = []
        self.free = asyncio.Event()
        self.failing: set[int] = set()
        self.in_flight = InFlight(limit)

    async def _piece(self, number: int) -> None:
        self.begun.append(number)
        try:
            if number in self.failing:
                raise SourceError(f"number {number} fails")
            await self.free.wait()
        except asyncio.CancelledError:
            self.cut_off.append(number)
            raise
        self.finished.append(number)

    async def read(self, count: int | None = None) -> None:
        """Begin pieces without end, or ``count`` of them and end."""
        number = 0
        while count is None or number < count:
            await self.in_flight.free()
            self.in_flight.begin(self._piece(number))
            number += 1


async def test_no_more_than_the_limit_is_begun_and_a_cancellation_lets_it_finish() -> None:
    # Given a run whose work does not end
    work = _Work(3)
    run = asyncio.create_task(work.in_flight.run(work.read()))
    await eventually(lambda: work.begun == [0, 1, 2])
    # When it is cancelled, then it waits for the work, and begins no more
    run.cancel()
    await asyncio.sleep(0)
    work.free.set()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert work.finished == [0, 1, 2] and work.cut_off == []
    assert work.begun == [0, 1, 2]


async def test_a_second_cancellation_breaks_the_work_off() -> None:
    # Given a run that was cancelled and waits for its work
    work = _Work(2)
    run = asyncio.create_task(work.in_flight.run(work.read()))
    await eventually(lambda: len(work.begun) == 2)
    run.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not run.done()
    # When it is cancelled again, then the work is broken off, and nothing stays behind
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert sorted(work.cut_off) == [0, 1] and work.finished == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_failure_ends_the_run_once_the_other_work_has_finished() -> None:
    # Given work of which one piece fails
    work = _Work(3)
    work.failing = {1}
    run = asyncio.create_task(work.in_flight.run(work.read()))
    await eventually(lambda: len(work.begun) >= 3)
    assert not run.done()
    # When the rest is let go, then the run raises the failure
    work.free.set()
    with pytest.raises(SourceError, match="number 1 fails"):
        await run
    assert 0 in work.finished and 2 in work.finished


async def test_what_the_reading_raises_is_raised_once_the_work_has_finished() -> None:
    # Given a reading that ends by itself
    work = _Work(3)

    async def read() -> None:
        await work.read(2)
        raise SourceError("the connection was lost")

    run = asyncio.create_task(work.in_flight.run(read()))
    await eventually(lambda: len(work.begun) == 2)
    assert not run.done()
    work.free.set()
    with pytest.raises(SourceError, match="lost"):
        await run
    assert work.finished == [0, 1]
