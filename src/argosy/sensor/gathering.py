"""What ``batch`` and ``debounce`` remember: completions of a condition, for one value of their key, until the action may run.

A gathering opens with its first completion and closes by the log's time: a batch when its window is over or it is full, a debounce when it has become
quiet or has lasted long enough. So which events end up in one action depends on the log alone, and it is the same action (the same id, which is made of
the events in it) whenever the log is read again. See ``argosy.sensor.remembering`` for when a close is noticed.

A large batch is stored in parts: whenever ``PART`` completions are together they are written once, under a name of their own, and the record of the gathering
keeps only those after them. So an event costs a write of at most ``PART`` events. The parts are written before the record that counts them, and
removed after the record that does so no more; no name is used for two gatherings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from argosy import event as events
from argosy.errors import EventInvalid
from argosy.event import DEPTH, Event
from argosy.sensor import emitting

LARGEST_BATCH_BYTES = 512 * 1024
"""A batch closes before its events are together larger than this, so that it fits into a message of the bus."""
PART = 64
"""So many completions are stored together."""
BATCH_TYPE = "io.argosy.batch"
"""The ``type`` of the event that stands for a batch."""


class _Item(msgspec.Struct, frozen=True):
    at: float
    events: dict[str, msgspec.Raw]


class _Stored(msgspec.Struct, frozen=True, omit_defaults=True):
    rule: str
    items: list[_Item]
    applied: dict[str, int]
    key: str = ""
    generation: int = 0
    opened: float = 0.0
    serial: int = 0
    parts: int = 0


_decode = msgspec.json.Decoder(_Stored).decode
_decode_part = msgspec.json.Decoder(list[_Item]).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Rule:
    """How completions are gathered; ``name`` is ``batch`` or ``debounce``. Seconds. ``most`` counts completions, 0: no limit.

    ``window`` is how long a batch is open, or how quiet it must be; ``at_most`` how long a debounce may take.
    """

    name: str
    window: float
    most: int = 0
    at_most: float | None = None
    key: str = ""
    """The key's source as text, to see whether what is stored belongs to this rule."""

    @property
    def identity(self) -> str:
        """What must stay the same for a stored gathering to go on."""
        return f"{self.name} {self.key}"


@dataclass(frozen=True)
class Gathered:
    """A completion that waits, with its events as they are stored."""

    at: float
    events: Mapping[str, Event]
    raw: Mapping[str, bytes]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(map(len, self.raw.values()))


@dataclass
class Gathering:
    """What is gathered for one key. ``applied`` recognises completions that are brought again after a crash."""

    rule: Rule
    key: str = ""
    generation: int = 0
    items: list[Gathered] = field(default_factory=list)
    applied: dict[str, int] = field(default_factory=dict)
    changed: bool = False
    opened: float = 0.0
    stale: str = ""
    """The name of the other rule under which it was stored, if so: it closes at once by that one, so that nothing is lost."""
    size: int = 0
    serial: int = 0
    """Counts the gatherings that there were under this key, for the names of their parts."""
    parts: int = 0
    """How many parts of this one are stored."""
    spent: list[str] = field(default_factory=list)
    """The names of stored parts that are of no use any more; whoever removes them empties it."""

    @classmethod
    def load(
        cls, text: bytes, rule: Rule, *, generation: int = 0, parts: Mapping[str, bytes] | None = None
    ) -> Gathering:
        """The stored gathering; empty where a person has cleared it since. ``parts`` are those that are there, by name.

        Raises EventInvalid if it cannot be read.
        """
        there = dict(parts or {})
        try:
            stored = _decode(text)
            before = [
                item
                for index in range(stored.parts)
                for item in _decode_part(there.pop(_part(stored.serial, index), b""))
            ]
            items = [
                Gathered(
                    item.at,
                    {name: events.decode(bytes(raw)) for name, raw in item.events.items()},
                    {name: bytes(raw) for name, raw in item.events.items()},
                )
                for item in (*before, *stored.items)
            ]
        except msgspec.DecodeError as error:
            raise EventInvalid(f"a stored batch or debounce cannot be read: {error}") from error
        gathering = cls(rule, stored.key, generation, applied=dict(stored.applied), spent=list(there))
        gathering.serial, gathering.parts = stored.serial, stored.parts
        if stored.generation >= generation:
            gathering.items = items
            gathering.opened = stored.opened
            gathering.stale = stored.rule.partition(" ")[0] if stored.rule != rule.identity else ""
            gathering.size = sum(item.size for item in items)
        else:
            gathering._begin_anew()
        return gathering

    def full_parts(self) -> Iterator[tuple[str, bytes]]:
        """The parts that have become full: name and text. They are stored before ``dump``, which counts them, is."""
        while len(self.items) >= (self.parts + 1) * PART:
            items = self.items[self.parts * PART : (self.parts + 1) * PART]
            yield _part(self.serial, self.parts), _encode(_stored_items(items))
            self.parts += 1

    def dump(self) -> bytes:
        """The gathering as JSON text, without its full parts."""
        items = _stored_items(self.items[self.parts * PART :])
        return _encode(
            _Stored(
                self.rule.identity,
                items,
                self.applied,
                self.key,
                self.generation,
                self.opened,
                self.serial,
                self.parts,
            )
        )

    def take(self, mark: str, together: Mapping[str, Event], *, position: int, at: float) -> list[Mapping[str, Event]]:
        """Take a completion in. Returns what closed thereby, oldest first, each as the events that its action sees.

        ``mark`` names the completion, ``position`` is the place in the log up to which it may be brought again.
        Whoever calls has fired what was due by ``at`` before.
        """
        if mark in self.applied:
            return []
        self.applied[mark] = position
        self.changed = True
        item = Gathered(at, together, {name: events.encode(event) for name, event in together.items()})
        closed: list[Mapping[str, Event]] = []
        if self.rule.name == "debounce":
            self.opened = self.opened if self.items else at
            self.items = [item]
            self.size = item.size
            return closed
        if self.items and self.size + item.size > LARGEST_BATCH_BYTES:
            closed.append(self.close())
        self.opened = self.opened if self.items else at
        self.items.append(item)
        self.size += item.size
        if len(self.items) >= self.rule.most:
            closed.append(self.close())
        return closed

    @property
    def due(self) -> float | None:
        """When it closes if nothing more comes, in seconds since the epoch by the log's time."""
        if not self.items:
            return None
        if self.stale:
            return 0.0
        if self.rule.name == "batch":
            return self.opened + self.rule.window
        quiet = self.items[-1].at + self.rule.window
        return quiet if self.rule.at_most is None else min(quiet, self.opened + self.rule.at_most)

    def fire(self, to: float) -> list[tuple[float, Mapping[str, Event]]]:
        """What closes at ``to`` or before: when it was due, and the events that its action sees."""
        due = self.due
        if due is None or due > to:
            return []
        at = max(due, self.items[-1].at)
        return [(at, self.close())]

    def close(self) -> Mapping[str, Event]:
        """Hand out what is gathered, as the events that the action sees, and begin anew."""
        name, items = self.stale or self.rule.name, self.items
        self._begin_anew()
        if name == "debounce":
            return items[-1].events
        return _batch(items)

    def forget(self) -> dict[str, Event]:
        """Forget all that is gathered, and return the newest event of each dependency."""
        held = self.events()
        self._begin_anew()
        return held

    def _begin_anew(self) -> None:
        self.spent += [_part(self.serial, index) for index in range(self.parts)]
        self.items, self.changed, self.opened, self.size, self.stale = [], True, 0.0, 0, ""
        self.serial, self.parts = self.serial + 1, 0

    def events(self) -> dict[str, Event]:
        """The newest event of each dependency of which one is gathered."""
        return {name: event for item in self.items for name, event in item.events.items()}

    def counted(self) -> dict[str, int]:
        """How many events of each dependency are gathered."""
        found: dict[str, int] = {}
        for name in (name for item in self.items for name in item.events):
            found[name] = found.get(name, 0) + 1
        return found

    @property
    def empty(self) -> bool:
        """Whether nothing is gathered."""
        return not self.items

    @property
    def since(self) -> float:
        """When it was opened."""
        return self.opened

    def committed(self, position: int) -> None:
        """The log will not be read again up to ``position``: what was kept to recognise it can go."""
        if self.applied:
            self.applied = {mark: at for mark, at in self.applied.items() if at > position}


def _part(serial: int, index: int) -> str:
    return f"+{serial}.{index}"


def _stored_items(items: Sequence[Gathered]) -> list[_Item]:
    return [_Item(one.at, {name: msgspec.Raw(raw) for name, raw in one.raw.items()}) for one in items]


def _batch(items: Sequence[Gathered]) -> dict[str, Event]:
    """For each dependency one event whose data are all of its events, oldest first (CloudEvents JSON Batch Format).

    Its id is made of theirs, its other attributes are the newest one's.
    """
    together: dict[str, Event] = {}
    for name in dict.fromkeys(name for item in items for name in item.events):
        members = [(item.events[name], item.raw[name]) for item in items if name in item.events]
        newest = members[-1][0]
        # How long the chain of actions is that led here must not be forgotten: it ends loops.
        depth = emitting.depth(event for event, _ in members)
        named = [[event.source, event.subject, event.id] for event, _ in members]
        together[name] = replace(
            newest,
            id=hashlib.sha256(_encode(named)).hexdigest()[:32],
            type=BATCH_TYPE,
            datacontenttype="application/json",
            data=b"[" + b",".join(raw for _, raw in members) + b"]",
            extensions={DEPTH: depth} if depth else {},
        )
    return together
