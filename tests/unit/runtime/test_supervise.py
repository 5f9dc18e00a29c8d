"""Supervision: a part is started again for ever, whatever it does; ends are patient and then are not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from argosy.errors import SourceError
from argosy.runtime.supervise import end, keep


class _Clock:
    """Keeps the pauses instead of waiting for them."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def now(self) -> None:
        raise NotImplementedError

    def monotonic(self) -> float:
        raise NotImplementedError

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)


def _part(*ends: Exception | None) -> tuple[Callable[[], Awaitable[None]], list[int]]:
    """A part that ends in these ways, one a start, and then runs on."""
    left, starts = list(ends), [0]

    async def run() -> None:
        starts[0] += 1
        if not left:
            await asyncio.Event().wait()
        if (error := left.pop(0)) is not None:
            raise error

    return run, starts


async def _kept(what: str, run: Callable[[], Awaitable[None]], clock: _Clock, starts: list[int], wanted: int) -> None:
    task = asyncio.create_task(keep(what, run, clock))  # type: ignore[arg-type]
    async with asyncio.timeout(10):
        while starts[0] < wanted:
            assert not task.done()
            await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()


class TestAPartThatEnds:
    async def test_is_started_again_whatever_ended_it_and_its_end_is_said(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        run, starts = _part(SourceError("the broker 'b' is away"), ValueError("odd"), None)

        with caplog.at_level(logging.ERROR, "argosy"):
            await _kept("source 'x'", run, _Clock(), starts, 4)

        said = [record.getMessage() for record in caplog.records]
        assert said[0].startswith("source 'x' stopped: the broker 'b' is away; next try in ")
        assert said[1].startswith("source 'x' stopped: ValueError: odd; next try in ")
        assert said[2].startswith("source 'x' stopped: it ended by itself; next try in ")
        assert {getattr(record, "action", "") for record in caplog.records} == {"part.restart"}

    async def test_is_given_growing_pauses_that_differ_and_end_at_a_bound(self) -> None:
        run, starts = _part(*[None] * 10)
        clock = _Clock()

        await _kept("x", run, clock, starts, 11)

        for number, pause in enumerate(clock.pauses):
            middle = min(0.5 * 2**number, 15.0)
            assert middle * 0.75 <= pause <= middle * 1.25
        assert len(set(clock.pauses)) == len(clock.pauses)

    async def test_by_being_cancelled_stays_ended(self) -> None:
        run, starts = _part()

        await _kept("x", run, _Clock(), starts, 1)

        assert starts == [1]

    async def test_while_it_waits_can_be_cancelled_too(self) -> None:
        asleep = asyncio.Event()

        class _Never(_Clock):
            async def sleep(self, seconds: float) -> None:
                asleep.set()
                await asyncio.Event().wait()

        run, starts = _part(None)
        clock = _Never()
        task = asyncio.create_task(keep("x", run, clock))  # type: ignore[arg-type]
        await asleep.wait()

        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        assert task.cancelled()
        assert starts == [1]


class TestEnding:
    async def test_waits_for_what_must_be_finished(self) -> None:
        finished: list[str] = []

        async def part() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                finished.append("yes")

        task = asyncio.create_task(part())
        await asyncio.sleep(0)

        await end([task], 10.0)

        assert finished == ["yes"]
        assert task.cancelled()

    async def test_cuts_off_what_is_not_done_in_time_and_says_so(self, caplog: pytest.LogCaptureFixture) -> None:
        cancelled = 0

        async def stubborn() -> None:
            nonlocal cancelled
            for _ in range(2):
                try:
                    await asyncio.sleep(30)  # and not for ever, lest a test that fails hangs
                except asyncio.CancelledError:
                    cancelled += 1

        task = asyncio.create_task(stubborn())
        await asyncio.sleep(0)

        with caplog.at_level(logging.WARNING, "argosy"):
            await end([task], 0.01)

        assert cancelled == 2
        assert task.done()
        assert "1 parts did not end within 0 s and were cut off" in caplog.text

    async def test_of_nothing_or_of_what_has_ended_is_no_work(self) -> None:
        done = asyncio.create_task(asyncio.sleep(0))
        await done

        await end([], 10.0)
        await end([done], 10.0)
