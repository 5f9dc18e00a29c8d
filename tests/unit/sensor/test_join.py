"""Join states: newest wins, all is handed over and forgotten, changes of the manifest, resets."""

from __future__ import annotations

import datetime as dt

import pytest

from argosy.errors import EventInvalid
from argosy.event import Event
from argosy.lang import conditions, cron
from argosy.sensor.join import JoinState

DEFINITIONS = {"a": "a1", "b": "b1"}


def _event(name: str) -> Event:
    return Event(id=name, source="s", subject="e", type="t", time="2026-01-01T00:00:00Z", data=b'{"n":1}')


def _state(condition: str = "a && b", resets: tuple[object, ...] = ()) -> JoinState:
    return JoinState(conditions.compile(condition, DEFINITIONS), DEFINITIONS, resets)  # type: ignore[arg-type]


def test_the_newest_event_of_a_dependency_wins_and_all_are_handed_over_once() -> None:
    state = _state()

    assert state.take("a", _event("old"), position=1, at=0) is None
    assert state.take("a", _event("new"), position=2, at=0) is None
    together = state.take("b", _event("b"), position=3, at=0)

    assert together is not None
    assert {name: event.id for name, event in together.items()} == {"a": "new", "b": "b"}
    assert state.pending == {}


def test_one_event_may_satisfy_two_dependencies() -> None:
    state = _state()

    assert state.take("a", _event("x"), position=1, at=0) is None
    together = state.take("b", _event("x"), position=1, at=0)

    assert together is not None and set(together) == {"a", "b"}


def test_an_event_that_is_read_again_before_the_commit_changes_nothing() -> None:
    state = _state()
    state.take("a", _event("x"), position=1, at=0)
    state.take("b", _event("y"), position=2, at=0)

    assert state.take("b", _event("y"), position=2, at=0) is None
    assert state.pending == {}


def test_the_state_comes_back_as_it_was() -> None:
    state = _state()
    state.take("a", _event("x"), position=1, at=5.0)

    again = JoinState.load(state.dump(), state.condition, DEFINITIONS, ())

    assert again.pending == state.pending
    assert again.applied == state.applied


def test_a_changed_condition_forgets_everything() -> None:
    state = _state()
    state.take("a", _event("x"), position=1, at=0)

    again = JoinState.load(state.dump(), conditions.compile("b && a", DEFINITIONS), DEFINITIONS, ())

    assert again.pending == {}


def test_a_changed_dependency_forgets_its_event_only() -> None:
    state = JoinState(conditions.compile("a && b && c", ["a", "b", "c"]), {"a": "1", "b": "1", "c": "1"})
    state.take("a", _event("x"), position=1, at=0)
    state.take("b", _event("y"), position=2, at=0)

    again = JoinState.load(state.dump(), state.condition, {"a": "1", "b": "2", "c": "1"}, ())

    assert list(again.pending) == ["a"]


def test_a_state_that_cannot_be_read_is_an_error_not_an_empty_state() -> None:
    with pytest.raises(EventInvalid):
        JoinState.load(b"not json", _state().condition, DEFINITIONS, ())


class TestAReset:
    """``conditionsReset`` forgets what was collected before it; the event that stands in its very moment belongs to what comes after."""

    DAILY = (cron.compile("59 23 * * *", "America/Los_Angeles"),)
    TICK = dt.datetime(2026, 1, 2, 7, 59, tzinfo=dt.UTC).timestamp()

    @pytest.mark.parametrize(
        ("first", "second", "together"),
        [
            (-0.001, 0.001, False),
            (-3600.0, -0.001, True),
            (-0.001, 0.0, False),
            (0.0, 0.001, True),
            (0.001, 86399.0, True),
            (0.001, 86400.0, False),
            (-90 * 86400.0, 1.0, False),
        ],
    )
    def test_separates_what_came_before_from_what_comes_in_its_moment_or_after(
        self, first: float, second: float, together: bool
    ) -> None:
        state = _state(resets=self.DAILY)
        state.take("a", _event("x"), position=1, at=self.TICK + first)

        taken = state.take("b", _event("y"), position=2, at=self.TICK + second)

        assert (taken is not None) is together
        assert list(state.pending) == ([] if together else ["b"])

    def test_of_several_the_first_counts(self) -> None:
        state = _state(resets=(*self.DAILY, cron.compile("0 * * * *")))
        state.take("a", _event("x"), position=1, at=self.TICK + 30)

        assert state.take("b", _event("y"), position=2, at=self.TICK + 90) is None

    def test_leaves_a_newer_event_of_the_same_dependency(self) -> None:
        state = _state(resets=self.DAILY)
        state.take("a", _event("old"), position=1, at=self.TICK - 1)
        state.take("a", _event("new"), position=2, at=self.TICK + 1)

        assert state.take("b", _event("y"), position=3, at=self.TICK + 2) is not None

    def test_is_kept_over_a_restart(self) -> None:
        state = _state(resets=self.DAILY)
        state.take("a", _event("x"), position=1, at=self.TICK - 1)

        again = JoinState.load(state.dump(), state.condition, DEFINITIONS, self.DAILY)

        assert again.take("b", _event("y"), position=2, at=self.TICK + 1) is None

    def test_that_never_comes_forgets_nothing(self) -> None:
        state = _state(resets=(cron.compile("0 0 30 2 *"),))
        state.take("a", _event("x"), position=1, at=0.0)

        assert state.take("b", _event("y"), position=2, at=2e9) is not None

    def test_does_not_go_by_a_clock_that_was_set_back(self) -> None:
        state = _state(resets=self.DAILY)
        state.take("a", _event("x"), position=1, at=self.TICK + 5)

        assert state.take("b", _event("y"), position=2, at=self.TICK - 5) is not None


def test_all_that_is_held_can_be_given_up() -> None:
    state = _state()
    state.take("a", _event("x"), position=1, at=0.0)

    assert [event.id for event in state.forget().values()] == ["x"]
    assert state.pending == {}
