"""The rate limit of a trigger: never more attempts than it says, whenever they come and however often the process dies; in virtual time."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.bus._base import Bucket, Entry
from argosy.bus.memory import MemoryBus
from argosy.clock import VirtualClock, run_virtually
from argosy.manifests.sensor import RateLimit
from argosy.runtime.rates import Rate, rate

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
UNIT_SECONDS = {"Second": 1.0, "Minute": 60.0, "Hour": 3600.0}
LIMITS = st.builds(
    lambda unit, most, burst: RateLimit.model_validate({"unit": unit, "requestsPerUnit": most, "burst": burst}),
    st.sampled_from(["Second", "Minute", "Hour"]),
    st.integers(1, 40),
    st.integers(1, 12),
)


def _limit(**fields: object) -> RateLimit:
    return RateLimit.model_validate(fields)


def _most_in_a_unit(times: Sequence[float], unit_seconds: float) -> int:
    """The largest number of ``times`` in any span of one unit, its end not included."""
    return max(
        (sum(1 for other in times[first:] if other < start + unit_seconds - 1e-6) for first, start in enumerate(times)),
        default=0,
    )


class _Slow(Bucket):
    """A bucket whose writes take time, as those of a bus that is away for a while do."""

    def __init__(self, inner: Bucket, clock: VirtualClock, seconds: float) -> None:
        self._inner, self._clock, self._seconds = inner, clock, seconds
        self.writes = 0

    async def get(self, key: str) -> Entry | None:
        return await self._inner.get(key)

    async def put(self, key: str, value: bytes, *, revision: int | None = None) -> int:
        self.writes += 1
        await self._clock.sleep(self._seconds)
        return await self._inner.put(key, value, revision=revision)

    async def delete(self, key: str) -> None:
        await self._inner.delete(key)

    async def keys(self) -> list[str]:
        return await self._inner.keys()


class _SetClock:
    """A virtual clock whose wall-clock time somebody sets."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.set_by = 0.0

    def now(self) -> dt.datetime:
        return self._clock.now() + dt.timedelta(seconds=self.set_by)

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)


@given(
    limit=LIMITS,
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("attempts"), st.integers(1, 30)),
            st.tuples(st.just("units pass"), st.floats(0, 3)),
            st.tuples(st.just("restart"), st.just(0)),
        ),
        max_size=12,
    ),
    write_seconds=st.sampled_from([0.0, 0.01, 0.7]),
)
@settings(max_examples=120, deadline=None)
def test_no_span_of_a_unit_has_more_than_the_limit_and_the_burst_also_over_restarts(
    limit: RateLimit, steps: list[tuple[str, float]], write_seconds: float
) -> None:
    unit_seconds = UNIT_SECONDS[limit.unit]
    times: list[float] = []

    async def main(clock: VirtualClock) -> None:
        async with MemoryBus(clock=clock) as bus:
            bucket = _Slow(bus.bucket("rates"), clock, write_seconds)
            one = Rate(limit, bucket, "t", clock)
            for what, number in steps:
                if what == "units pass":
                    await clock.sleep(number * unit_seconds)
                elif what == "restart":
                    one = Rate(limit, bucket, "t", clock)
                else:
                    for _ in range(int(number)):
                        await one.grant()
                        times.append(clock.monotonic())

    run_virtually(START, main)

    assert _most_in_a_unit(times, unit_seconds) <= limit.requests_per_unit + limit.burst - 1


@given(limit=LIMITS, attempts=st.integers(1, 60))
@settings(max_examples=50, deadline=None)
def test_a_backlog_goes_as_fast_as_the_limit_allows(limit: RateLimit, attempts: int) -> None:
    each = 1 / limit.per_second
    times: list[float] = []

    async def main(clock: VirtualClock) -> None:
        async with MemoryBus(clock=clock) as bus:
            one = rate(limit, bus, "t", clock)
            for _ in range(attempts):
                await one.grant()
                times.append(clock.monotonic())

    run_virtually(START, main)

    expected = [max(0.0, number - limit.burst + 1) * each for number in range(attempts)]
    assert times == pytest.approx(expected, abs=1e-3)


def _granted(limit: RateLimit, plan: Sequence[float], *, burst_of: int) -> list[float]:
    """When attempts were granted: ``burst_of`` are asked for at each moment of ``plan``."""
    times: list[float] = []

    async def main(clock: VirtualClock) -> None:
        async with MemoryBus(clock=clock) as bus:
            one = rate(limit, bus, "t", clock)
            for moment in plan:
                await clock.sleep(max(0.0, moment - clock.monotonic()))
                for _ in range(burst_of):
                    await one.grant()
                    times.append(clock.monotonic())

    run_virtually(START, main)
    return times


def test_rate_limit_3_a_minute_never_lets_11_through_after_idle() -> None:
    """Argo Events' limiter keeps ten grants of slack: after a quiet time ten more attempts went out at once."""
    times = _granted(_limit(unit="Minute", requestsPerUnit=3), [0.0, 3600.0], burst_of=12)

    assert _most_in_a_unit(times, 60.0) == 3
    assert times[12:15] == pytest.approx([3600, 3620, 3640])


def test_the_rate_holds_after_years() -> None:
    years = 9.7 * 365 * 86400

    times = _granted(_limit(requestsPerUnit=3), [years + 1 / 7], burst_of=50)

    assert times[-1] - times[0] == pytest.approx(49 / 3, abs=1e-3)


def test_a_burst_is_let_through_at_once_after_a_quiet_time_and_then_the_rate_holds() -> None:
    times = _granted(_limit(unit="Minute", requestsPerUnit=6, burst=3), [1000.0], burst_of=5)

    assert times == pytest.approx([1000, 1000, 1000, 1010, 1020])


def test_a_restart_costs_no_more_than_an_empty_bucket() -> None:
    times: list[float] = []

    async def main(clock: VirtualClock) -> None:
        async with MemoryBus(clock=clock) as bus:
            for _ in range(2):
                one = rate(_limit(requestsPerUnit=100), bus, "t", clock)
                for _ in range(10):
                    await one.grant()
                    times.append(clock.monotonic())

    run_virtually(START, main)

    assert times[10] - times[9] == pytest.approx(0.01)


def test_a_fast_trigger_does_not_write_at_every_attempt() -> None:
    writes = 0

    async def main(clock: VirtualClock) -> None:
        nonlocal writes
        async with MemoryBus(clock=clock) as bus:
            bucket = _Slow(bus.bucket("rates"), clock, 0.0)
            one = Rate(_limit(requestsPerUnit=1000), bucket, "t", clock)
            for _ in range(10_000):
                await one.grant()
            writes = bucket.writes

    run_virtually(START, main)

    assert 10 <= writes <= 25


@pytest.mark.parametrize("set_by", [-86400.0, 86400.0])
def test_a_clock_that_is_set_while_a_process_runs_changes_nothing(set_by: float) -> None:
    times: list[float] = []

    async def main(clock: VirtualClock) -> None:
        set_clock = _SetClock(clock)
        async with MemoryBus(clock=clock) as bus:
            one = rate(_limit(unit="Minute", requestsPerUnit=6, burst=2), bus, "t", set_clock)
            for number in range(6):
                if number == 3:
                    set_clock.set_by = set_by
                await one.grant()
                times.append(clock.monotonic())

    run_virtually(START, main)

    assert times == pytest.approx([0, 0, 10, 20, 30, 40])


@pytest.mark.parametrize(("set_by", "first"), [(-86400.0, 10.0), (86400.0, 0.0)])
def test_a_clock_that_was_set_while_no_process_ran_stops_nothing(set_by: float, first: float) -> None:
    """Set back, the bucket is taken to be empty and the next attempt waits for one grant; set forward, it is taken to be full."""
    times: list[float] = []

    async def main(clock: VirtualClock) -> None:
        set_clock = _SetClock(clock)
        limit = _limit(unit="Minute", requestsPerUnit=6, burst=2)
        async with MemoryBus(clock=clock) as bus:
            for _ in range(2):
                one = rate(limit, bus, "t", set_clock)
                for _ in range(2):
                    await one.grant()
                    times.append(clock.monotonic())
                set_clock.set_by = set_by

    run_virtually(START, main)

    assert times[2] == pytest.approx(first, abs=1e-3)


@pytest.mark.parametrize(("value", "first"), [(b"not JSON", 10.0), (b"{}", 10.0)])
def test_a_state_that_cannot_be_read_counts_as_an_empty_bucket(value: bytes, first: float) -> None:
    times: list[float] = []

    async def main(clock: VirtualClock) -> None:
        async with MemoryBus(clock=clock) as bus:
            await bus.bucket("rates").put("t", value)
            await rate(_limit(unit="Minute", requestsPerUnit=6), bus, "t", clock).grant()
            times.append(clock.monotonic())

    run_virtually(START, main)

    assert times == [pytest.approx(first)]


def test_those_who_ask_at_once_are_served_in_the_order_of_asking() -> None:
    served: list[int] = []

    async def main(clock: VirtualClock) -> None:
        async with MemoryBus(clock=clock) as bus:
            one = rate(_limit(requestsPerUnit=10), bus, "t", clock)

            async def ask(number: int) -> None:
                await one.grant()
                served.append(number)

            await asyncio.gather(*(ask(number) for number in range(8)))

    run_virtually(START, main)

    assert served == list(range(8))


def test_who_gives_up_waiting_takes_no_grant_from_the_others() -> None:
    times: list[float] = []

    async def main(clock: VirtualClock) -> None:
        async with MemoryBus(clock=clock) as bus:
            one = rate(_limit(unit="Minute", requestsPerUnit=1), bus, "t", clock)
            await one.grant()
            late = asyncio.create_task(one.grant())
            await clock.sleep(30)
            late.cancel()
            await asyncio.gather(late, return_exceptions=True)
            await one.grant()
            times.append(clock.monotonic())

    run_virtually(START, main)

    assert times == [pytest.approx(60, abs=1e-3)]
