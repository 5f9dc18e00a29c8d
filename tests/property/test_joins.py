"""A join that is killed between any two durable writes causes the same actions as one that never is."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.event import Event
from argosy.lang import conditions, cron
from argosy.lang.conditions import Condition
from argosy.sensor.actions import action_id
from argosy.sensor.join import JoinState

DEFINITIONS = {"a": "1", "b": "1", "c": "1"}
CONDITIONS = ["a && b", "a && b && c", "a || b && c", "(a || b) && c"]


def _event(dependency: str, number: int) -> Event:
    return Event(
        id=f"{dependency}{number}", source="s", subject=dependency, type="t", time="2026-01-01T00:00:00Z", data=b"{}"
    )


class _Store:
    """What survives a crash: the committed position, the saved state, the actions."""

    def __init__(self, condition: str) -> None:
        self.condition = conditions.compile(condition, DEFINITIONS)
        self.position = 0
        self.state: bytes | None = None
        self.actions: list[str] = []

    def run(self, log: list[tuple[int, str]], batch: int, crash_after: int | None) -> bool:
        """Process the log from the committed position in batches; True if it got to the end.

        ``crash_after`` counts durable writes (action, state, position); at that many the process is gone.
        """
        state = JoinState.load(self.state, self.condition, DEFINITIONS, ())
        left = crash_after
        todo = [entry for entry in log if entry[0] > self.position]

        def write() -> bool:
            nonlocal left
            if left is not None:
                left -= 1
                return left < 0
            return False

        for first in range(0, len(todo), batch):
            part = todo[first : first + batch]
            fired = []
            for position, dependency in part:
                together = state.take(dependency, _event(dependency, position), position=position, at=float(position))
                if together is not None:
                    fired.append(action_id("n", "s", "t", together))
            for item in fired:
                if write():
                    return False
                if item not in self.actions:
                    self.actions.append(item)
            if write():
                return False
            self.state = state.dump()
            if write():
                return False
            self.position = part[-1][0]
            state.committed(self.position)
        return True


@settings(max_examples=300, deadline=None)
@given(
    condition=st.sampled_from(CONDITIONS),
    names=st.lists(st.sampled_from("abc"), min_size=1, max_size=30),
    batches=st.lists(st.integers(1, 7), min_size=8, max_size=8),
    crashes=st.lists(st.integers(0, 12), max_size=7),
)
def test_crashes_change_nothing(condition: str, names: list[str], batches: list[int], crashes: list[int]) -> None:
    log = [(number + 1, name) for number, name in enumerate(names)]
    calm = _Store(condition)
    assert calm.run(log, 1, None)

    stormy = _Store(condition)
    for crash, batch in zip(crashes, batches, strict=False):
        stormy.run(log, batch, crash)
    assert stormy.run(log, batches[-1], None)

    assert stormy.actions == calm.actions


@given(names=st.lists(st.sampled_from("abc"), max_size=40))
def test_what_is_remembered_beyond_the_commit_stays_small(names: list[str]) -> None:
    state = JoinState(conditions.compile("a && b", DEFINITIONS), DEFINITIONS)
    for position, name in enumerate(names, 1):
        state.take(name, _event(name, position), position=position, at=0.0)
        state.committed(position)

    assert state.applied == {}


class _Eager:
    """A join that is emptied by a clock: at every minute that a reset names, before the events of that moment."""

    def __init__(self, condition: Condition, resets: list[tuple[str, str]], start: dt.datetime, minutes: int) -> None:
        self.condition = condition
        self.pending: dict[str, str] = {}
        moments = [start + dt.timedelta(minutes=number) for number in range(minutes + 1)]
        self.ticks = [moment for moment in moments if any(_names(moment, *reset) for reset in resets)]

    def pass_to(self, moment: dt.datetime) -> None:
        while self.ticks and self.ticks[0] <= moment:
            self.ticks.pop(0)
            self.pending.clear()

    def take(self, dependency: str, item: str) -> dict[str, str] | None:
        self.pending[dependency] = item
        if not self.condition.evaluate(self.pending):
            return None
        together, self.pending = self.pending, {}
        return together


def _names(moment: dt.datetime, expression: str, zone: str) -> bool:
    """Whether the schedule names this minute; asked of the clock on the wall there, without any search."""
    wall = moment.astimezone(ZoneInfo(zone))
    minute, hour, day, month, weekday = expression.split()
    assert (month, weekday) == ("*", "*")
    fields = ((minute, wall.minute), (hour, wall.hour), (day, wall.day))
    return all(
        text == "*" or (number % int(text[2:]) == 0 if text.startswith("*/") else str(number) in text.split(","))
        for text, number in fields
    )


# Around a change of the clocks in both directions, and an ordinary day.
STARTS = [
    "2026-03-08T00:00:00Z",
    "2026-10-31T20:00:00Z",
    "2026-03-28T22:00:00Z",
    "2026-10-24T21:00:00Z",
    "2026-07-01T00:00:00Z",
]
RESETS = [
    ("59 23 * * *", "UTC"),
    ("30 2 * * *", "America/New_York"),
    ("30 1 * * *", "America/New_York"),
    ("0 2,3 * * *", "Europe/Berlin"),
    ("*/7 * * * *", "UTC"),
    ("0 */2 * * *", "Asia/Kathmandu"),
    ("15 * 8,25 * *", "Australia/Lord_Howe"),
]
HOURS = 30


@settings(max_examples=250, deadline=None)
@given(
    condition=st.sampled_from(CONDITIONS),
    start=st.sampled_from(STARTS),
    resets=st.lists(st.sampled_from(RESETS), min_size=1, max_size=3),
    # Seconds; every second event stands exactly on a minute, where resets are.
    times=st.lists(
        st.one_of(st.integers(0, HOURS * 60).map(lambda minute: minute * 60.0), st.floats(0, HOURS * 3600.0)),
        min_size=1,
        max_size=40,
    ),
    names=st.lists(st.sampled_from("abc"), min_size=40, max_size=40),
    restarts=st.sets(st.integers(0, 39)),
)
def test_forgetting_at_the_next_event_is_the_same_as_forgetting_at_the_reset(
    condition: str, start: str, resets: list[tuple[str, str]], times: list[float], names: list[str], restarts: set[int]
) -> None:
    begin = dt.datetime.fromisoformat(start)
    compiled = conditions.compile(condition, DEFINITIONS)
    schedules = [cron.compile(*reset) for reset in resets]
    lazy = JoinState.load(None, compiled, DEFINITIONS, schedules)
    eager = _Eager(compiled, resets, begin, HOURS * 60)

    for number, (seconds, name) in enumerate(zip(sorted(times), names, strict=False)):
        at = (begin + dt.timedelta(seconds=seconds)).timestamp()
        eager.pass_to(dt.datetime.fromtimestamp(at, dt.UTC))
        if number in restarts:
            # Also what somebody sees who looks at the state at any moment, and what a new process begins with.
            lazy.forget_before_reset(at)
            assert {held: event.id for held, (_, event) in lazy.pending.items()} == eager.pending
            lazy = JoinState.load(lazy.dump(), compiled, DEFINITIONS, schedules)
        event = _event(name, number)

        together = lazy.take(name, event, position=number + 1, at=at)

        found = together and {held: one.id for held, one in together.items()}
        assert found == eager.take(name, event.id)
        assert {held: one.id for held, (_, one) in lazy.pending.items()} == eager.pending
