"""Join states: newest wins, all is handed over and forgotten, changes of the manifest, resets."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import pytest

from argosy.errors import EventInvalid
from argosy.event import Event
from argosy.lang import conditions
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


@dataclass
class _EveryHour:
    def next(self, after: dt.datetime) -> dt.datetime:
        return after.replace(minute=0, second=0, microsecond=0) + dt.timedelta(hours=1)


def test_what_is_older_than_the_last_reset_is_forgotten_when_the_next_event_comes() -> None:
    state = _state(resets=(_EveryHour(),))
    state.take("a", _event("before"), position=1, at=3500.0)

    assert state.take("b", _event("after"), position=2, at=3700.0) is None
    assert list(state.pending) == ["b"]


def test_within_one_period_nothing_is_forgotten() -> None:
    state = _state(resets=(_EveryHour(),))
    state.take("a", _event("x"), position=1, at=3700.0)

    assert state.take("b", _event("y"), position=2, at=3800.0) is not None
