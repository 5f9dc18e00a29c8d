"""A join that is killed between any two durable writes causes the same actions as one that never is."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.event import Event
from argosy.lang import conditions
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
