"""Due times under clocks that are set: nothing fires early, nothing is lost."""

from __future__ import annotations

import datetime as dt

import pytest

from argosy.sensor.timers import Timers

START = 1_767_225_600.0


class _Clock:
    """A wall clock that somebody sets, beside a monotonic one."""

    def __init__(self) -> None:
        self.wall = START
        self.steady = 100.0

    def now(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self.wall, dt.UTC)

    def monotonic(self) -> float:
        return self.steady

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody sleeps here")

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
def timers(clock: _Clock) -> Timers[str]:
    return Timers(clock)


def test_the_earliest_is_waited_for(timers: Timers[str], clock: _Clock) -> None:
    assert timers.wait() is None
    timers.set("late", START + 9)
    timers.set("soon", START + 4)

    assert timers.wait() == pytest.approx(4)
    clock.pass_(4)
    assert timers.wait() == 0
    assert timers.ready() == {"soon": START + 4}


def test_what_is_due_stays_due_until_it_is_set_anew(timers: Timers[str], clock: _Clock) -> None:
    timers.set("x", START)
    assert (timers.wait(), timers.ready()) == (0, {"x": START})
    timers.set("x", START)
    assert (timers.wait(), timers.ready()) == (0, {"x": START})

    timers.set("x", START + 5)
    assert timers.wait() == pytest.approx(5)
    timers.set("x", None)
    assert (timers.wait(), timers.ready()) == (None, {})


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 1e9, -1e9])
def test_a_wall_clock_that_is_set_changes_nothing(timers: Timers[str], clock: _Clock, jump: float) -> None:
    timers.set("x", START + 10)
    clock.pass_(4)
    clock.wall += jump

    assert timers.wait() == pytest.approx(6)
    clock.pass_(5.999)
    assert timers.ready() == {} and timers.wait() > 0  # type: ignore[operator]
    clock.pass_(0.001)
    assert timers.wait() == 0


def test_what_was_due_before_it_was_set_is_due_at_once(timers: Timers[str]) -> None:
    timers.set("x", START - 86400)

    assert timers.wait() == 0


def test_a_time_that_moves_on_and_on_costs_one_entry(timers: Timers[str], clock: _Clock) -> None:
    for number in range(1000):
        timers.set("x", START + 5 + number / 1000)

    assert len(timers._heap) == 1
    clock.pass_(5.5)
    assert timers.wait() == pytest.approx(0.499, abs=1e-5)


def test_a_time_that_comes_nearer_is_kept(timers: Timers[str], clock: _Clock) -> None:
    timers.set("x", START + 50)
    timers.set("x", START + 5)
    clock.pass_(5)

    assert timers.wait() == 0
    timers.set("x", None)
    clock.pass_(50)
    assert timers.wait() is None
