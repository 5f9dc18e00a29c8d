"""All that one trigger remembers: what its condition has collected, for each value of ``correlate``, and what ``batch`` or ``debounce`` gather.

It is a function of the log: of the events, their order and the times at which they were stored. Before an event is taken in, all that was due by its
time fires (``ring_to``). Where no event comes the clock takes its place, but only after everything that the log held at the due
time was read; so who reads the log later, or again after a crash, comes to the same actions, with the same ids.

Nothing is written here; ``argosy.sensor.stores`` does that. Each value has a state of its own under a key of its own, so that an event costs one small write
however many values are pending. A state in which nothing is held any more goes as soon as the log will not be read again up to there.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from argosy.errors import LangError
from argosy.event import Event
from argosy.lang.gjson import Document
from argosy.sensor import _reasons, parameters, waiting
from argosy.sensor.actions import action_id
from argosy.sensor.gathering import Gathering
from argosy.sensor.join import JoinState
from argosy.sensor.matching import Plan
from argosy.sensor.verdict import Verdict
from argosy.sensor.waiting import Wait

CONDITION, GATHERED = "c", "g"
"""The two stages; the first letter of every key. A key alone is that of the one state without a value."""
State = JoinState | Gathering


@dataclass(frozen=True)
class Completed:
    """The trigger shall run for these events. ``at`` is when that was so by the log's time; ``why`` says what came due, if nothing came."""

    events: Mapping[str, Event]
    at: float
    why: str = ""


@dataclass(frozen=True)
class Advance:
    """What became of an accepted event. ``refused`` says why the trigger could not take it in."""

    completed: list[Completed]
    waits: Wait | None = None
    refused: Verdict | None = None


def key_of(stage: str, value: str) -> str:
    """The key of the state for one value. Values are of any length and content, keys are not."""
    return f"{stage}.{hashlib.sha256(value.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


class _Alarms:
    """Times by key, the earliest first; a time may move, and then the earliest one that was set only leads to a second look."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []
        self._set: dict[str, float] = {}

    def set(self, key: str, at: float) -> None:
        known = self._set.get(key)
        if known is None or at < known:
            self._set[key] = at
            heapq.heappush(self._heap, (at, key))

    @property
    def first(self) -> float:
        """The earliest time; infinite where there is none."""
        return self._heap[0][0] if self._heap else math.inf

    def past(self, at: float) -> Iterator[tuple[str, float]]:
        """Keys whose time is at ``at`` or before, and that time, in their order; each is taken out. More may be set meanwhile."""
        while self._heap and self._heap[0][0] <= at:
            due, key = heapq.heappop(self._heap)
            if self._set.get(key) == due:
                del self._set[key]
                yield key, due


class TriggerMemory:
    """What one trigger remembers. ``touched`` are the keys of states that changed since somebody emptied it."""

    def __init__(self, plan: Plan, generation: int = 0) -> None:
        self.plan = plan
        self.generation = generation
        self.states: dict[str, State] = {}
        self.touched: dict[str, None] = {}
        self.given_up: list[str] = []
        """Values whose events were given up because too many wait; for whoever tells it, who empties it."""
        self._waiting: dict[str, dict[str, None]] = {CONDITION: {}, GATHERED: {}}
        self._marked: set[str] = set()
        self._dues = _Alarms()
        self._ends = _Alarms()

    def adopt(self, key: str, state: State) -> None:
        """Go on with a state that was stored."""
        self.states[key] = state
        if state.applied:
            self._marked.add(key)
        self._seen(key, state)

    def clear(self, generation: int) -> None:
        """Forget all events, because a person said so."""
        self.generation = generation
        for key, state in self.states.items():
            state.generation = generation
            state.forget()
            state.changed = True
            self._seen(key, state)
            self.touched[key] = None

    def take(self, dependency: str, event: Event, *, position: int, at: float) -> Advance:
        """Take an event in that ``dependency`` accepted. Call ``ring_to`` before.

        ``position`` is the event's place in the log, ``at`` when it was stored there, in seconds since the epoch.
        """
        plan = self.plan
        if not plan.collects:
            return self._gather({dependency: event}, position, at)
        value = ""
        if plan.correlate:
            found = self._correlated(dependency, event)
            if isinstance(found, Verdict):
                return Advance([], refused=found)
            value = found
        key = key_of(CONDITION, value) if plan.correlate else CONDITION
        state = self.states.get(key)
        if state is None:
            state = self.states[key] = plan.join(value, self.generation)
        assert isinstance(state, JoinState)
        together = state.take(dependency, event, position=position, at=at)
        if (armed := state.give_up_armed()) is not None:
            names = ", ".join(f"{name} {one.id}" for name, one in armed.events.items())
            self.given_up.append(names)
        self._changed(key, state)
        if together is not None:
            return self._gather(together, position, at)
        self._give_up()
        return Advance([], None if state.empty else waiting.of_condition(state))

    def due_by(self, at: float) -> bool:
        """Whether something may be due by then."""
        return self._dues.first <= at

    def ring_to(self, at: float, position: int) -> list[Completed]:
        """Fire all that was due by then, in the order of the due times, whatever causes more to be due meanwhile.

        ``position`` is the place in the log up to which events were taken in.
        """
        completed: list[Completed] = []
        for key, looked in self._dues.past(at):
            state = self.states.get(key)
            if state is None or (due := state.due) is None:
                continue
            if due > looked:
                self._dues.set(key, due)  # its turn comes later
            else:
                completed += self._fire(key, state, due, position)
        self._expire(at)
        return completed

    def committed(self, position: int) -> list[str]:
        """The log will not be read again up to ``position``. Returns the keys of states that are no more."""
        gone = []
        for key in list(self._marked):
            state = self.states[key]
            state.committed(position)
            if not state.applied:
                self._marked.discard(key)
                if state.empty and key != CONDITION:
                    del self.states[key]
                    gone.append(key)
        return gone

    def drop(self, key: str) -> None:
        """Let go of a state in which nothing is held and nothing need be recognised."""
        del self.states[key]

    def held(self) -> Iterator[tuple[str, State]]:
        """All states in which something is held, the oldest first."""
        found = [(key, state) for key, state in self.states.items() if not state.empty]
        yield from sorted(found, key=lambda each: each[1].since)

    def forget_to(self, at: float) -> None:
        """Forget what does not count any more at ``at``; for those who look at the memory."""
        for state in self.states.values():
            if isinstance(state, JoinState):
                state.forget_before_reset(at)
                state.forget_older(at)

    # ------------------------------------------------------------------

    def _correlated(self, dependency: str, event: Event) -> str | Verdict:
        path = self.plan.correlate[dependency]
        document = Document(event.data)
        clause = f"correlate of trigger '{self.plan.trigger}'"
        try:
            found = path.get(document)
            value = found.string() if found.exists else ""
        except LangError as error:
            return Verdict(clause, False, error.message, failed=True)
        if value:
            return value
        if found.exists:
            return Verdict(clause, False, f"path '{path.text}' is empty or null, which belongs to nothing", failed=True)
        return Verdict(clause, False, lambda: _reasons.missing(document, path.text), failed=True)

    def _gather(self, together: Mapping[str, Event], position: int, at: float, why: str = "") -> Advance:
        plan = self.plan
        if plan.rule is None:
            return Advance([Completed(together, at, why)])
        value = ""
        if plan.gather_key is not None:
            found = parameters.look_up(plan.gather_key, together).value
            value = found.text if found is not None else ""
        key = key_of(GATHERED, value) if value else GATHERED
        gathering = self.states.get(key)
        if gathering is None:
            gathering = self.states[key] = Gathering(plan.rule, value, self.generation)
        assert isinstance(gathering, Gathering)
        mark = action_id("", "", plan.trigger, together)
        closed = gathering.take(mark, together, position=position, at=at)
        self._changed(key, gathering)
        completed = [Completed(events, at) for events in closed]
        completed += self._close_oldest(at)
        return Advance(completed, None if gathering.empty else waiting.of_gathering(gathering))

    def _close_oldest(self, at: float) -> list[Completed]:
        """Too many values gather: nothing that is gathered is lost, it only runs early."""
        completed = []
        while len(self._waiting[GATHERED]) > self.plan.max_pending:
            key = next(iter(self._waiting[GATHERED]))
            state = self.states[key]
            assert isinstance(state, Gathering)
            completed.append(Completed(state.close(), at))
            self._changed(key, state)
        return completed

    def _give_up(self) -> None:
        while len(self._waiting[CONDITION]) > self.plan.max_pending:
            key = next(iter(self._waiting[CONDITION]))
            state = self.states[key]
            state.forget()
            state.changed = True
            self._changed(key, state)
            self.given_up.append(state.key)

    def _fire(self, key: str, state: State, to: float, position: int) -> list[Completed]:
        completed: list[Completed] = []
        if isinstance(state, Gathering):
            closes = "it became quiet" if state.rule.name == "debounce" else f"{len(state.items)} events were gathered"
            completed = [Completed(events, at, f"{closes} by {waiting.moment(at)}") for at, events in state.fire(to)]
        else:
            absent = state.absent.dependency if state.absent else ""
            for armed in state.fire(to):
                of = f" of '{waiting.shown(state.key)}'" if state.key else ""
                why = f"'{absent}'{of} did not follow by {waiting.moment(armed.due)}"
                # What comes out of a timer must be recognised until the state it comes out of is written, which is before the next commit.
                completed += self._gather(armed.events, position + 1, armed.due, why).completed
        self._changed(key, state)
        return completed

    def _expire(self, at: float) -> None:
        """Remove what does not count any more, so that values that never come again do not stay."""
        left: list[tuple[str, State]] = []
        for key, _ in self._ends.past(at):
            state = self.states.get(key)
            if not isinstance(state, JoinState) or state.empty:
                continue
            state.forget_before_reset(at)
            state.forget_older(at)
            state.changed = True
            left.append((key, state))
        for key, state in left:
            self._changed(key, state)

    def _changed(self, key: str, state: State) -> None:
        if state.applied:
            self._marked.add(key)
        if state.changed:
            self.touched[key] = None
        self._seen(key, state)

    def _seen(self, key: str, state: State) -> None:
        waits = self._waiting[key[0]]
        if state.empty:
            waits.pop(key, None)
            return
        waits.setdefault(key)
        if (due := state.due) is not None:
            self._dues.set(key, due)
        if isinstance(state, JoinState) and math.isfinite(ends := state.ends):
            # Just beyond, so that what ends there has ended.
            self._ends.set(key, math.nextafter(ends, math.inf))
