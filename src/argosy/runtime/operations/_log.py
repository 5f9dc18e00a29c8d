"""Choosing entries of the event log: what a question may say of source, event, time and content, and how an entry is told."""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import msgspec

from argosy import event as events
from argosy.bus._base import At, Bus, Delivery, Pair
from argosy.errors import Ambiguous, ConfigError, EventInvalid, LangError, NotFound
from argosy.event import Event
from argosy.lang import durations, gojson
from argosy.manifests.spelling import did_you_mean
from argosy.runtime.operations._base import Ask, System, prefix

_FIRST_WINDOW, _LARGEST_WINDOW = 256, 16384
_MOST_BYTES = 16 * 1024 * 1024
"""So much data of events are held for one answer."""
_TICK = 1e-6
"""Times are told in microseconds and the log counts finer: what is told of an entry must find it again."""


@dataclass(frozen=True)
class Choice:
    """Which entries are meant. Times are seconds since the epoch, of when the log stored the event; 0 is no limit."""

    source: str = ""
    event: str = ""
    since: float = 0.0
    until: float = 0.0
    where: Callable[[Event], bool] | None = None

    @classmethod
    def of(cls, system: System, ask: Ask) -> Choice:
        """What the query says: ``source``, ``event``, ``since``, ``until``, ``where``. Raises ConfigError where it is wrong."""
        now = system.clock.now().timestamp()
        return cls(
            ask.text("source"),
            ask.text("event"),
            moment(ask.text("since"), now, "since"),
            moment(ask.text("until"), now, "until"),
            condition(ask.text("where")),
        )

    @property
    def pairs(self) -> list[Pair]:
        """The pairs of the log that are meant, an empty list for all: names that no manifest has may still stand on the log."""
        if self.source and self.event:
            return [Pair(self.source, self.event)]
        return []

    @property
    def begin(self) -> At:
        """Where the log is read from."""
        return At(time=self.since - _TICK) if self.since else At()

    def is_before(self, stored_at: float) -> bool:
        """Whether an entry of this time is too old."""
        return self.since > 0 and stored_at < self.since - _TICK

    def is_behind(self, stored_at: float) -> bool:
        """Whether an entry of this time, and what follows it, came too late."""
        return self.until > 0 and stored_at > self.until + _TICK

    def has_pair(self, pair: Pair) -> bool:
        """Whether events of this pair may be meant."""
        return self.source in ("", pair.source) and self.event in ("", pair.event)

    def has(self, delivery: Delivery) -> bool:
        """Whether the entry is meant. Raises ConfigError if ``where`` fails on it."""
        event = delivery.event
        if self.is_before(delivery.stored_at) or self.is_behind(delivery.stored_at):
            return False
        if event is None:
            return not (self.source or self.event or self.where)
        if (self.source and event.source != self.source) or (self.event and event.subject != self.event):
            return False
        return self.where is None or self.where(event)


def moment(text: str, now: float, name: str) -> float:
    """Seconds since the epoch of an RFC 3339 time, or of a time so long ago (``10m``, ``24h``, ``7d``); 0 for an empty text."""
    if not text:
        return 0.0
    try:
        return events.parse_time(text).timestamp()
    except EventInvalid:
        pass
    try:
        days = float(text[:-1]) * 86400 if text.endswith("d") else durations.parse(text)
    except (LangError, ValueError):
        raise ConfigError(
            f"{name}: {text!r} is neither a time (2026-01-31T09:30:00Z) nor how long ago (90s, 10m, 24h, 7d)"
        ) from None
    return max(now - days, 1e-6)


def condition(text: str) -> Callable[[Event], bool] | None:
    """``text`` (an expression over id, source, subject, type, time, data and the event's extensions) as a test of events.

    A member that an event lacks is nil. An expression that fails on an event, because its data are of another shape, is not true of it.
    Raises ConfigError if the text does not parse.
    """
    if not text:
        return None
    from argosy.lang import expr

    try:
        compiled = expr.compile(text)
    except LangError as error:
        pointer = f" (at character {error.offset + 1})" if error.offset >= 0 else ""
        raise ConfigError(f"where: {error.message}{pointer}") from error

    def holds(event: Event) -> bool:
        env: dict[str, Any] = {name: expr.floats(value) for name, value in event.context.items()}
        if compiled.names is None or "data" in compiled.names:
            try:
                env["data"] = expr.floats(gojson.loads(event.data)) if event.data else None
            except (LangError, RecursionError):
                env["data"] = event.data.decode(errors="replace")
        env.update(expr.FUNCTIONS)
        try:
            return compiled.decide(env)
        except LangError:
            return False

    return holds


def told(delivery: Delivery, bus: str, *, whole: bool) -> dict[str, Any]:
    """An entry as the API shows it; ``whole`` with the CloudEvent itself."""
    event = delivery.event
    entry: dict[str, Any] = {
        "bus": bus,
        "position": delivery.position,
        "storedAt": spoken(delivery.stored_at),
    }
    if event is None:
        return {**entry, "error": delivery.error}
    entry |= {
        "id": event.id,
        "source": event.source,
        "subject": event.subject,
        "type": event.type,
        "time": event.time,
        "bytes": len(event.data),
    }
    if whole:
        entry["event"] = msgspec.Raw(events.encode(event))
    return entry


def spoken(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 text."""
    return events.format_time(dt.datetime.fromtimestamp(seconds, dt.UTC))


async def forwards(
    bus: Bus, choice: Choice, *, pairs: Collection[Pair] = (), until: int | None = None
) -> AsyncGenerator[Delivery, None]:
    """The entries that are meant, of these pairs if some are given, oldest first; to the end that the log has now, or to ``until``."""
    if until is None:
        until = (await bus.extent()).last
    wanted = [pair for pair in pairs or choice.pairs if choice.has_pair(pair)]
    if pairs and not wanted:
        return
    async with aclosing(bus.history(wanted, at=choice.begin, until=until)) as batches:
        async for batch in batches:
            for delivery in batch:
                if choice.is_behind(delivery.stored_at):
                    return
                if choice.has(delivery):
                    yield delivery


async def backwards(
    bus: Bus, choice: Choice, before: int, limit: int, *, pairs: Collection[Pair] = ()
) -> tuple[list[Delivery], int]:
    """At most ``limit`` entries that are meant, newest first, from before a position (0: the end) on; and the position before which
    to go on, 0 where there is nothing more. ``pairs`` are those of ``choice`` unless given. Fewer than there are where they are large.
    """
    first, last = await bus.extent()
    high = min(before - 1, last) if before else last
    found: list[Delivery] = []
    size, room = _FIRST_WINDOW, _MOST_BYTES
    while high >= first:
        low = max(first, high - size + 1)
        # Only the newest of the window are kept, and no more than the answer may hold.
        window: deque[Delivery] = deque()
        held, left_out, early = 0, False, False
        async with aclosing(bus.history(pairs or choice.pairs, at=At(position=low), until=high)) as batches:
            async for batch in batches:
                early = early or choice.is_before(batch[0].stored_at)
                for delivery in batch:
                    if not choice.has(delivery):
                        continue
                    window.append(delivery)
                    held += _size(delivery)
                    while len(window) > 1 and (len(window) > limit - len(found) or held > room):
                        held -= _size(window.popleft())
                        left_out = True
        found += reversed(window)
        room -= held
        if left_out or (len(found) >= limit and low > first) or (room <= 0 and low > first):
            return found, found[-1].position
        if early or low == first:
            return found, 0
        high, size = low - 1, min(size * 4, _LARGEST_WINDOW)
    return found, 0


def _size(delivery: Delivery) -> int:
    return len(delivery.event.data) + 500 if delivery.event else 500


async def one(system: System, text: str, namespace: str = "") -> tuple[str, Bus, Delivery]:
    """The event with this id, or with an id that begins so: its bus and entry. Raises NotFound or Ambiguous."""
    prefix(text, "an event")
    pairs = known_pairs(system)
    found: list[tuple[str, Bus, Delivery]] = []
    for name, bus in (await system.buses(namespace)).items():
        near = await bus.find(text, pairs)
        found += [(name, bus, delivery) for delivery in near if delivery.event is not None]
    whole = [each for each in found if each[2].event and each[2].event.id == text]
    found = whole or found
    if not found:
        raise NotFound(
            f"no event with an id {text!r} is on the log; it may have been forgotten, see argosy events list"
        )
    keys = {(name, event.source, event.subject, event.id) for name, _, each in found if (event := each.event)}
    if len(keys) > 1:
        lines = "; ".join(f"{id} of {source}/{subject}" for _, source, subject, id in sorted(keys))
        raise Ambiguous(f"{text!r} may be one of several events: {lines}. Give more of the id, or a namespace")
    return found[0]


def known_pairs(system: System) -> list[Pair]:
    """The pairs that the manifests name."""
    bundle = system.bundle
    pairs = {Pair(name, event) for (_, name), declared in bundle.declared.items() for event in declared}
    pairs |= {Pair(one.event_source_name, one.event_name) for sensor in bundle.sensors for one in sensor.dependencies}
    return sorted(pairs)


def check_names(system: System, choice: Choice) -> None:
    """Raises NotFound for a source or event that nobody names and that is probably a slip."""
    pairs = known_pairs(system)
    sources = {pair.source for pair in pairs}
    if choice.source and choice.source not in sources and (near := did_you_mean(choice.source, sources)):
        raise NotFound(f"no event source {choice.source!r} runs here{near}")
    names = {pair.event for pair in pairs if choice.source in ("", pair.source)}
    if choice.event and choice.event not in names and (near := did_you_mean(choice.event, names)):
        raise NotFound(f"no event {choice.event!r} is named here{near}")
