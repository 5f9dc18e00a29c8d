"""What a condition remembers: the newest accepted event of each dependency, until the condition holds.

The state is written after the actions that it caused and before the log position is committed. It lists the events that it has taken in
beyond the committed position, so an event that is read again after a crash changes nothing, and one that completed the condition again gives the
same action id.

Time is the log's: an event is as old as the newest one stored after it says. So ``conditionsReset`` and ``within`` need no timer: what is older than
the last reset before the event at hand, or too old beside it, is forgotten when that event comes. Only ``absent`` has a due time, at which nothing
comes; see ``argosy.sensor.remembering``.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from argosy import event as events
from argosy.errors import EventInvalid
from argosy.event import Event
from argosy.lang.conditions import Condition
from argosy.lang.cron import Schedule

MOST_ARMED = 100
"""So many completions of one condition may wait at a time for a dependency to stay away; of more the oldest is given up."""


class _Held(msgspec.Struct, frozen=True):
    at: float
    event: msgspec.Raw


class _Armed(msgspec.Struct, frozen=True):
    at: float
    due: float
    events: dict[str, msgspec.Raw]


class _Stored(msgspec.Struct, frozen=True, omit_defaults=True):
    condition: str
    definitions: dict[str, str]
    pending: dict[str, _Held]
    applied: dict[str, int]
    # Since there are correlate, count, absent and clearing:
    key: str = ""
    generation: int = 0
    earlier: dict[str, list[_Held]] = {}
    armed: list[_Armed] = []


_decode = msgspec.json.Decoder(_Stored).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Absence:
    """A dependency that must not follow within so many seconds."""

    dependency: str
    after: float


@dataclass(frozen=True)
class Armed:
    """A condition that held at ``at``; its events act at ``due`` unless something comes before. Both by the log's time."""

    at: float
    due: float
    events: Mapping[str, Event]


@dataclass
class JoinState:
    """The state of one trigger, or of one value of its ``correlate``.

    ``definitions`` maps each dependency to a digest of what it said when its event was taken. ``also`` is what else the stored state must agree with
    to mean the same. ``generation`` counts how often persons have cleared the trigger's states; one of an older generation is empty.
    """

    condition: Condition
    definitions: Mapping[str, str]
    resets: Sequence[Schedule] = ()
    pending: dict[str, tuple[float, Event]] = field(default_factory=dict)
    applied: dict[str, int] = field(default_factory=dict)
    changed: bool = False
    within: float | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    absent: Absence | None = None
    also: str = ""
    key: str = ""
    generation: int = 0
    earlier: dict[str, list[tuple[float, Event]]] = field(default_factory=dict)
    """Events of a counted dependency before its newest, oldest first."""
    armed: list[Armed] = field(default_factory=list)
    """Oldest first."""
    _until: dict[float, float] = field(default_factory=dict, repr=False, compare=False)
    """For the times at which held events were stored, when a reset forgets them; each worked out once."""

    @classmethod
    def load(
        cls,
        text: bytes | None,
        condition: Condition,
        definitions: Mapping[str, str],
        resets: Sequence[Schedule],
        *,
        within: float | None = None,
        counts: Mapping[str, int] | None = None,
        absent: Absence | None = None,
        also: str = "",
        key: str = "",
        generation: int = 0,
    ) -> JoinState:
        """The stored state, as far as it still fits the sensor.

        A changed condition forgets everything, a changed dependency forgets its event (upstream does the same).
        Raises EventInvalid if ``text`` cannot be read.
        """
        state = cls(
            condition,
            definitions,
            resets,
            within=within,
            counts=counts or {},
            absent=absent,
            also=also,
            key=key,
            generation=generation,
        )
        if text is None:
            return state
        try:
            stored = _decode(text)
        except msgspec.DecodeError as error:
            raise EventInvalid(f"a stored join state cannot be read: {error}") from error
        state.applied = dict(stored.applied)
        state.key = stored.key
        if stored.condition != state._identity or stored.generation < generation:
            return state
        same = {name for name in definitions if stored.definitions.get(name) == definitions[name]}
        state.pending = {
            name: (held.at, events.decode(bytes(held.event))) for name, held in stored.pending.items() if name in same
        }
        state.earlier = {
            name: [(held.at, events.decode(bytes(held.event))) for held in before]
            for name, before in stored.earlier.items()
            if name in same and name in state.counts
        }
        state.armed = [
            Armed(one.at, one.due, {name: events.decode(bytes(raw)) for name, raw in one.events.items()})
            for one in stored.armed
            if absent is not None and one.events.keys() <= same
        ]
        return state

    @property
    def _identity(self) -> str:
        return f"{self.condition} {self.also}" if self.also else str(self.condition)

    def dump(self) -> bytes:
        """The state as JSON text."""
        pending = {name: _hold(at, event) for name, (at, event) in self.pending.items()}
        earlier = {name: [_hold(at, event) for at, event in before] for name, before in self.earlier.items() if before}
        armed = [
            _Armed(one.at, one.due, {name: msgspec.Raw(events.encode(event)) for name, event in one.events.items()})
            for one in self.armed
        ]
        definitions = dict(self.definitions)
        return _encode(
            _Stored(self._identity, definitions, pending, self.applied, self.key, self.generation, earlier, armed)
        )

    def take(self, dependency: str, event: Event, *, position: int, at: float) -> dict[str, Event] | None:
        """Take an accepted event in. Returns all events of the condition if it holds now (and forgets them), else None.

        ``position`` is the event's place in the log, ``at`` when it was stored there, in seconds since the epoch. With ``absent``
        nothing is returned here; what holds then is armed, and what was armed before is disarmed by the absent dependency.
        Whoever calls has fired what was due by ``at`` before.
        """
        mark = f"{dependency}\0{event.source}\0{event.subject}\0{event.id}"
        if self.applied.get(mark) == position:
            return None
        self.applied[mark] = position
        self.changed = True
        self.forget_before_reset(at)
        self.forget_older(at)
        if self.absent is not None and dependency == self.absent.dependency:
            self.armed.clear()
            return None
        if dependency in self.counts and dependency in self.pending:
            before = self.earlier.setdefault(dependency, [])
            before.append(self.pending[dependency])
            del before[: max(0, len(before) - self.counts[dependency] + 1)]
        self.pending[dependency] = (at, event)
        if not self.condition.evaluate(self.present):
            return None
        together = self._hand_over()
        if self.absent is None:
            return together
        self.armed.append(Armed(at, at + self.absent.after, together))
        return None

    @property
    def present(self) -> list[str]:
        """The dependencies that hold."""
        if not self.counts:
            return list(self.pending)
        return [name for name in self.pending if not self.missing(name)]

    def missing(self, dependency: str) -> int:
        """How many more events the dependency needs until it holds."""
        have = (dependency in self.pending) + len(self.earlier.get(dependency, ()))
        return max(0, self.counts.get(dependency, 1) - have)

    @property
    def due(self) -> float | None:
        """When something fires by itself, in seconds since the epoch by the log's time."""
        return self.armed[0].due if self.armed else None

    def fire(self, to: float) -> list[Armed]:
        """What was due at ``to`` or before, oldest first, and forget it. A reset in between has forgotten it before."""
        fired: list[Armed] = []
        while self.armed and self.armed[0].due <= to:
            one = self.armed.pop(0)
            self.changed = True
            if one.due < self._forgotten_at(one.at):
                fired.append(one)
        return fired

    def give_up_armed(self) -> Armed | None:
        """The oldest completion where too many wait, forgotten."""
        return self.armed.pop(0) if len(self.armed) > MOST_ARMED else None

    def _hand_over(self) -> dict[str, Event]:
        held = {name: event for name, (_, event) in self.pending.items()}
        self.pending.clear()
        self.earlier.clear()
        return held

    def forget(self) -> dict[str, Event]:
        """Forget all events that are held, and return them; of several of a dependency the newest."""
        held = self.events()
        self.armed.clear()
        self._hand_over()
        return held

    def events(self) -> dict[str, Event]:
        """The newest event of each dependency of which one is held."""
        armed = {name: event for one in self.armed for name, event in one.events.items()}
        return armed | {name: event for name, (_, event) in self.pending.items()}

    def counted(self) -> dict[str, int]:
        """How many events of each dependency are held."""
        found = {name: 1 + len(self.earlier.get(name, ())) for name in self.pending}
        for name in (name for one in self.armed for name in one.events):
            found[name] = found.get(name, 0) + 1
        return found

    @property
    def empty(self) -> bool:
        """Whether nothing is held."""
        return not self.pending and not self.armed

    @property
    def since(self) -> float:
        """When the oldest event that is held was stored; infinite where there is none."""
        times = [at for at, _ in self.pending.values()]
        times += [before[0][0] for before in self.earlier.values() if before]
        times += [one.at for one in self.armed[:1]]
        return min(times, default=math.inf)

    @property
    def ends(self) -> float:
        """From when on nothing that is pending counts any more, by the log's time; infinite where it always will."""
        return max(
            (min(at + self._lasts, self._forgotten_at(at)) for at, _ in self.pending.values()), default=-math.inf
        )

    @property
    def until(self) -> float:
        """When the first of what is pending ceases to count; infinite where it never does."""
        return min((min(at + self._lasts, self._forgotten_at(at)) for at, _ in self.pending.values()), default=math.inf)

    @property
    def _lasts(self) -> float:
        return math.inf if self.within is None else self.within

    def committed(self, position: int) -> None:
        """The log will not be read again up to ``position``: what was kept to recognise it can go."""
        if self.applied:
            self.applied = {mark: at for mark, at in self.applied.items() if at > position}

    def forget_before_reset(self, at: float) -> None:
        """Forget what is older than the last reset before ``at`` (seconds since the epoch)."""
        if not self.resets:
            return
        self._keep(lambda held_at: at < self._forgotten_at(held_at))
        self.armed = [one for one in self.armed if at < self._forgotten_at(one.at)]

    def forget_older(self, at: float) -> None:
        """Forget what is older than ``within`` at ``at`` (seconds since the epoch)."""
        if self.within is not None:
            oldest = at - self.within
            self._keep(lambda held_at: held_at >= oldest)

    def _keep(self, wanted: Callable[[float], bool]) -> None:
        for name, before in list(self.earlier.items()):
            self.earlier[name] = [one for one in before if wanted(one[0])]
        for name, (held_at, _) in list(self.pending.items()):
            if wanted(held_at):
                continue
            del self.pending[name]
            if left := self.earlier.get(name):
                # Only where the bus's clock was set back is the newest not the last that is forgotten.
                self.pending[name] = left.pop()

    def _forgotten_at(self, held_at: float) -> float:
        """The first reset after the event was stored. An event that was stored in the moment of a reset belongs to what comes after it."""
        if not self.resets:
            return math.inf
        known = self._until.get(held_at)
        if known is None:
            stored = dt.datetime.fromtimestamp(held_at, dt.UTC)
            ticks = [tick.timestamp() for reset in self.resets if (tick := reset.next(stored)) is not None]
            if len(self._until) > 100 + 2 * MOST_ARMED:
                self._until.clear()
            known = self._until[held_at] = min(ticks, default=math.inf)
        return known


def _hold(at: float, event: Event) -> _Held:
    return _Held(at, msgspec.Raw(events.encode(event)))
