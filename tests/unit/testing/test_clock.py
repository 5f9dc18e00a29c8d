"""Virtual time: it stands while something can run, and jumps to the next timer when nothing can."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading

import pytest

from argosy.clock import SystemClock, VirtualClock, run_virtually

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def test_sleepers_wake_in_the_order_of_their_times() -> None:
    # Given sleepers of hours and seconds
    woken: list[tuple[str, dt.datetime]] = []

    async def main(clock: VirtualClock) -> None:
        async def sleeper(name: str, seconds: float) -> None:
            await clock.sleep(seconds)
            woken.append((name, clock.now()))

        # When all of them sleep at once
        await asyncio.gather(sleeper("late", 3600 * 30), sleeper("early", 5), sleeper("now", -1))

    run_virtually(START, main)

    # Then each wakes at its own time
    assert woken == [
        ("now", START),
        ("early", START + dt.timedelta(seconds=5)),
        ("late", START + dt.timedelta(hours=30)),
    ]


def test_a_time_limit_ends_at_its_virtual_time() -> None:
    async def main(clock: VirtualClock) -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await clock.sleep(1e9)
        return clock.monotonic()

    assert run_virtually(START, main) == pytest.approx(60)


def test_time_stands_still_while_a_thread_works() -> None:
    # Given a thread that ends only when it is told to
    allowed = threading.Event()

    async def main(clock: VirtualClock) -> float:
        asyncio.get_running_loop().call_later(0.0, allowed.set)
        # When somebody waits for it beside a sleeper
        sleeping = asyncio.create_task(clock.sleep(5))
        await asyncio.to_thread(allowed.wait)
        at = clock.monotonic()
        await sleeping
        return at

    # Then no time has passed when it ends
    assert run_virtually(START, main) == 0


def test_waiting_for_what_can_never_come_is_an_error_and_no_hang() -> None:
    async def main(clock: VirtualClock) -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="can never come"):
        run_virtually(START, main)


def test_the_clock_knows_how_many_sleep() -> None:
    async def main(clock: VirtualClock) -> list[int]:
        seen = [clock.sleeping]
        tasks = [asyncio.create_task(clock.sleep(seconds)) for seconds in (1, 2)]
        await clock.settle()
        seen.append(clock.sleeping)
        await tasks[0]
        seen.append(clock.sleeping)
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return [*seen, clock.sleeping]

    assert run_virtually(START, main) == [0, 2, 1, 0]


def test_settling_lets_everything_happen_that_can_happen_now() -> None:
    async def main(clock: VirtualClock) -> list[str]:
        done: list[str] = []

        async def steps() -> None:
            for number in range(50):
                await asyncio.sleep(0)
                done.append(str(number))
            await clock.sleep(1)
            done.append("later")

        task = asyncio.create_task(steps())
        await clock.settle()
        seen = list(done)
        await task
        return seen

    assert run_virtually(START, main) == [str(number) for number in range(50)]


@pytest.mark.parametrize("days", [1, 99, 200, 3650])
def test_sleepers_wake_also_after_months_and_years(days: int) -> None:
    async def main(clock: VirtualClock) -> float:
        await clock.sleep(days * 86400 + 1 / 7)
        for _ in range(50):
            await clock.sleep(1 / 3)
        await clock.settle()
        return clock.monotonic()

    assert run_virtually(START, main) == pytest.approx(days * 86400 + 1 / 7 + 50 / 3, abs=1e-4)


def test_the_machines_clock_grows() -> None:
    clock = SystemClock()

    assert clock.monotonic() <= clock.monotonic()
    assert clock.now().tzinfo is dt.UTC
