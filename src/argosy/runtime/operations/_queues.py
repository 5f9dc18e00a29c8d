"""Which action queues a question means, and finding one action by its id or by an expression.

Beside the queues of the sensors that run there are those of triggers that were renamed or removed: what waits or is dead there is still somebody's, so
it is seen as well.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from argosy.bus._base import Item, Queue, Shelf
from argosy.errors import Ambiguous, ConfigError, EventInvalid, LangError, NotFound
from argosy.event import Event
from argosy.lang import expr
from argosy.manifests.sensor import Sensor, TriggerSpec
from argosy.manifests.spelling import did_you_mean
from argosy.runtime import outcomes
from argosy.runtime.approval import Approvals, Ruling, expires_at
from argosy.runtime.operations._base import System, prefix
from argosy.runtime.sensors import queue_name, queues_of
from argosy.sensor import actions

SHELVES: tuple[Shelf, ...] = ("queued", "dead", "ended")
AT_ONCE = 8
"""How many queues are looked into side by side."""
_PAGE = 200
_LOOKED_BACK = 50_000
"""Among so many of a queue's newest ended actions an id may be named by its beginning."""
_WHOLE = 32
"""Characters of an action's id."""


@dataclass(frozen=True)
class Place:
    """A trigger's queue, by its names. ``trigger`` is ``NAME/dlq`` for the queue of a ``dlqTrigger``.

    ``sensor`` and ``spec`` are None where no sensor that runs here has the trigger.
    """

    namespace: str
    name: str
    trigger: str
    queue: Queue
    sensor: Sensor | None = None
    spec: TriggerSpec | None = None

    @property
    def shown(self) -> str:
        """As a command line names it."""
        return f"{self.name}/{self.trigger}"


@dataclass(frozen=True)
class Found:
    """An action and where it stands. ``said`` is what a person said of it, where its trigger needs an ``approval``."""

    place: Place
    item: Item
    said: Ruling | None = None

    @property
    def state(self) -> str:
        """The item's state, or ``unapproved`` where it waits for a person first."""
        return "unapproved" if self.item.state in QUEUED and self.said is None and self.asks else self.item.state

    @property
    def asks(self) -> bool:
        """Whether a person has to approve it."""
        spec = self.place.spec
        if spec is None or spec.approval is None:
            return False
        record = record_of(self.item)
        if record is None or record.unusable:
            return False  # nothing but a dead letter comes of it
        return spec.for_each is None or spec.for_each.item in record.events

    @property
    def expires(self) -> float:
        """Until when it may be approved, in seconds since the epoch; 0 where nobody has to."""
        spec = self.place.spec
        if spec is None or spec.approval is None:
            return 0.0
        return expires_at(spec.approval, spec.queue.delay, self.item.at)


QUEUED = ("waiting", "held", "resting")


async def with_approval(system: System, found: Found) -> Found:
    """The action with what a person said of it."""
    place, item = found.place, found.item
    if place.sensor is None or item.state not in QUEUED or not found.asks:
        return found
    approvals = Approvals(await system.bus_of(place.sensor))
    return Found(place, item, await approvals.find(place.queue.name, item.id, item.at))


async def said_of(system: System, place: Place) -> Mapping[str, Ruling]:
    """What persons said of a queue's actions, by id; empty where nobody is asked."""
    if place.sensor is None or place.spec is None or place.spec.approval is None:
        return {}
    return await Approvals(await system.bus_of(place.sensor)).of(place.queue.name)


async def places(system: System, ask: Mapping[str, str]) -> list[Place]:
    """The queues that ``sensor``, ``trigger`` and ``namespace`` name; all where they name none, but for those of the sensors ``without``
    (names with commas between them), which somebody else tells. Raises NotFound.
    """
    namespace, name = ask.get("namespace", ""), ask.get("sensor", "")
    if not namespace and "/" in name:
        namespace, _, name = name.partition("/")
    without = set(ask.get("without", "").split(","))
    found = [
        place
        for place in await _all_places(system)
        if namespace in ("", place.namespace) and name in ("", place.name) and place.name not in without
    ]
    if name and (not found or any(place.sensor for place in found)):
        system.sensor(name, namespace)  # says which one it may be, or that there are several
    trigger = ask.get("trigger", "")
    chosen = [place for place in found if trigger in ("", place.trigger)]
    if trigger and not chosen:
        names = sorted({place.trigger for place in found})
        near = did_you_mean(trigger, names) or f"; there is {', '.join(names) or 'none'}"
        raise NotFound(f"no trigger {trigger!r} runs here{near}")
    return chosen


async def _all_places(system: System) -> list[Place]:
    found: dict[tuple[int, str], Place] = {}
    for sensor in system.bundle.sensors:
        bus = await system.bus_of(sensor)
        namespace, name = sensor.metadata.namespace, sensor.metadata.name
        for trigger, spec in queues_of(sensor):
            queue = bus.queue(queue_name(namespace, name, trigger))
            found[id(bus), queue.name] = Place(namespace, name, trigger, queue, sensor, spec)
    for bus in (await system.buses()).values():
        for queue_of in await bus.queues():
            namespace, name, trigger = [*queue_of.split("/", 2), "", ""][:3]
            if (id(bus), queue_of) not in found and trigger:
                found[id(bus), queue_of] = Place(namespace, name, trigger, bus.queue(queue_of))
    return list(found.values())


async def each(queue: Queue, shelf: Shelf, since: float = 0.0) -> AsyncIterator[Item]:
    """All items of a shelf, page by page."""
    after = 0
    while page := await queue.items(shelf, after=after, limit=_PAGE, since=since):
        for item in page:
            yield item
        after = page[-1].place


def record_of(item: Item) -> actions.ActionRecord | None:
    """What the action carries, None where it is not kept or cannot be read."""
    try:
        return actions.decode(item.body) if item.body is not None else None
    except EventInvalid:
        return None


def events_of(item: Item) -> list[dict[str, str]]:
    """The events that caused the action, without their data."""
    record = record_of(item)
    if record is not None:
        return outcomes.causes(record.events)
    # Of a finished action its outcome says what caused it.
    known = outcome_of(item).get("events")
    return known if isinstance(known, list) else []


def outcome_of(item: Item) -> dict[str, Any]:
    """What its trigger answered; empty where it has not ended."""
    try:
        outcome = json.loads(item.outcome or b"{}")
    except ValueError:
        return {}
    return outcome if isinstance(outcome, dict) else {}


def message_of(item: Item) -> str:
    """The sentence of that answer."""
    return str(outcome_of(item).get("message", ""))


async def resolve(system: System, given: str, ask: Mapping[str, str]) -> list[Found]:
    """The action that an id or its beginning names: in its trigger's queue first, then in its dlqTrigger's.

    Raises NotFound, or Ambiguous with the ids that begin so.
    """
    prefix(given, "an action")
    gate = asyncio.Semaphore(AT_ONCE)

    async def look(place: Place) -> list[Found]:
        async with gate:
            if len(given) >= _WHOLE:
                item = await place.queue.find(given)
                return [await with_approval(system, Found(place, item))] if item else []
            items = [item async for item in _beginning_with(place.queue, given)]
            return [await with_approval(system, Found(place, item)) for item in items]

    looks = [look(place) for place in await places(system, ask)]
    found = [one for some in await asyncio.gather(*looks) for one in some]
    ids = sorted({one.item.id for one in found})
    if not ids:
        raise NotFound(
            f"there is no action {given!r} in the queues of the sensors that run here, or it ended long ago;"
            " 'argosy actions list' shows what there is"
        )
    if len(ids) > 1:
        several = "".join(f"\n  {one.item.id}  {one.state} in {one.place.shown}" for one in found[:20])
        raise Ambiguous(f"{len(ids)} actions begin with {given!r}; give more of the id:{several}")
    return found


async def _beginning_with(queue: Queue, given: str) -> AsyncIterator[Item]:
    for shelf in SHELVES:
        looked = 0
        async for item in each(queue, shelf):
            if item.id.startswith(given):
                yield item
            looked += 1
            if shelf == "ended" and looked >= _LOOKED_BACK:
                break


class Where:
    """A condition in the expr language on ``id``, ``sensor``, ``trigger``, ``state``, ``error``, ``tries``, ``event`` and ``events``.

    ``events`` has each dependency's event: ``id``, ``source``, ``name``, ``time`` and ``data``; ``event`` is the newest of them. Of a
    finished action their data are not kept.
    """

    def __init__(self, text: str) -> None:
        self._answered = False
        self._failure = ""
        try:
            self._expression = expr.compile(text) if text else None
        except LangError as error:
            raise ConfigError(f"--where {text!r} is no expression: {error}") from error

    def holds(self, found: Found) -> bool:
        """Whether the action fits; one that the expression fails on does not."""
        place, item = found.place, found.item
        if self._expression is None:
            return True
        record = record_of(item)
        events = {name: _event(one) for name, one in record.events.items()} if record else {}
        newest = max(record.events.values(), key=lambda one: one.time) if record and record.events else None
        env = {
            "id": item.id,
            "sensor": place.name,
            "trigger": place.trigger,
            "state": found.state,
            "error": item.error,
            "tries": float(item.failures),
            "events": events or {one["dependency"]: one for one in events_of(item)},
            "event": _event(newest) if newest else {},
        }
        try:
            holds = self._expression.decide(env)
        except LangError as error:
            self._failure = f"--where fails on every action that was looked at, for example {item.id}: {error}"
            return False
        self._answered = True
        return holds

    def check(self) -> None:
        """Raise ConfigError if the expression has failed on all that it was asked about: then it says nothing about any of them."""
        if self._failure and not self._answered:
            raise ConfigError(self._failure)


def _event(one: Event) -> dict[str, Any]:
    try:
        data = expr.floats(json.loads(one.data)) if one.data else None
    except ValueError:
        data = one.data.decode(errors="replace")
    return {"id": one.id, "source": one.source, "name": one.subject, "time": one.time, "data": data}
