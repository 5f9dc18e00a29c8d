"""What a trigger with ``&&`` remembers: the newest accepted event of each dependency, until the condition holds.

The state is written after the actions that it caused and before the log position is committed. It lists the events that it has taken in
beyond the committed position, so an event that is read again after a crash changes nothing, and one that completed the condition again gives the
same action id.

``conditionsReset`` needs no timer: what is older than the last reset before the event at hand is forgotten when that event comes.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from argosy import event as events
from argosy.errors import EventInvalid
from argosy.event import Event
from argosy.lang.conditions import Condition
from argosy.lang.cron import Schedule


class _Held(msgspec.Struct, frozen=True):
    at: float
    event: msgspec.Raw


class _Stored(msgspec.Struct, frozen=True):
    condition: str
    definitions: dict[str, str]
    pending: dict[str, _Held]
    applied: dict[str, int]


_decode = msgspec.json.Decoder(_Stored).decode
_encode = msgspec.json.Encoder().encode


@dataclass
class JoinState:
    """The state of one trigger. ``definitions`` maps each dependency to a digest of what it said when its event was taken."""

    condition: Condition
    definitions: Mapping[str, str]
    resets: Sequence[Schedule] = ()
    pending: dict[str, tuple[float, Event]] = field(default_factory=dict)
    applied: dict[str, int] = field(default_factory=dict)
    changed: bool = False
    _until: dict[str, tuple[float, float]] = field(default_factory=dict, repr=False, compare=False)
    """For each held event when it was stored and when a reset forgets it, worked out once."""

    @classmethod
    def load(
        cls, text: bytes | None, condition: Condition, definitions: Mapping[str, str], resets: Sequence[Schedule]
    ) -> JoinState:
        """The stored state, as far as it still fits the sensor.

        A changed condition forgets everything, a changed dependency forgets its event (upstream does the same).
        Raises EventInvalid if ``text`` cannot be read.
        """
        state = cls(condition, definitions, resets)
        if text is None:
            return state
        try:
            stored = _decode(text)
        except msgspec.DecodeError as error:
            raise EventInvalid(f"a stored join state cannot be read: {error}") from error
        state.applied = dict(stored.applied)
        if stored.condition == str(condition):
            state.pending = {
                name: (held.at, events.decode(bytes(held.event)))
                for name, held in stored.pending.items()
                if name in definitions and stored.definitions.get(name) == definitions[name]
            }
        return state

    def dump(self) -> bytes:
        """The state as JSON text."""
        pending = {name: _Held(at, msgspec.Raw(events.encode(event))) for name, (at, event) in self.pending.items()}
        return _encode(_Stored(str(self.condition), dict(self.definitions), pending, self.applied))

    def take(self, dependency: str, event: Event, *, position: int, at: float) -> dict[str, Event] | None:
        """Take an accepted event in. Returns all events of the condition if it holds now (and forgets them), else None.

        ``position`` is the event's place in the log, ``at`` when it was stored there, in seconds since the epoch.
        """
        mark = f"{dependency}\0{event.source}\0{event.subject}\0{event.id}"
        if self.applied.get(mark) == position:
            return None
        self.applied[mark] = position
        self.changed = True
        self.forget_before_reset(at)
        self.pending[dependency] = (at, event)
        if not self.condition.evaluate(self.pending.keys()):
            return None
        return self.forget()

    def forget(self) -> dict[str, Event]:
        """Forget all events that are held, and return them."""
        held = {name: event for name, (_, event) in self.pending.items()}
        self.pending.clear()
        return held

    def committed(self, position: int) -> None:
        """The log will not be read again up to ``position``: what was kept to recognise it can go."""
        if self.applied:
            self.applied = {mark: at for mark, at in self.applied.items() if at > position}

    def forget_before_reset(self, at: float) -> None:
        """Forget what is older than the last reset before ``at`` (seconds since the epoch)."""
        if not self.resets:
            return
        for name, (held_at, _) in list(self.pending.items()):
            if at >= self._forgotten_at(name, held_at):
                del self.pending[name]

    def _forgotten_at(self, name: str, held_at: float) -> float:
        """The first reset after the event was stored. An event that was stored in the moment of a reset belongs to what comes after it."""
        known = self._until.get(name)
        if known is None or known[0] != held_at:
            stored = dt.datetime.fromtimestamp(held_at, dt.UTC)
            ticks = [tick.timestamp() for reset in self.resets if (tick := reset.next(stored)) is not None]
            known = self._until[name] = (held_at, min(ticks, default=math.inf))
        return known[1]
