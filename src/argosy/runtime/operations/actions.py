"""The action queues: what waits, rests, is dead or done; one action in full; try now, redrive, discard."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from argosy.bus._base import Item, Queue, Shelf
from argosy.errors import Ambiguous, ConfigError, EventInvalid, LangError, NotFound
from argosy.event import Event
from argosy.lang import expr
from argosy.manifests.fields import ConfigMapKeySelector
from argosy.manifests.findings import did_you_mean
from argosy.manifests.sensor import Sensor, TriggerSpec
from argosy.runtime import suspension
from argosy.runtime.operations._base import Ask, Operation, System, prefix
from argosy.runtime.sensors import queue_name
from argosy.sensor import actions, rendering
from argosy.sensor.rendering import Offline

STATES = ("waiting", "held", "resting", "dead", "done", "discarded")
_SHELVES: dict[str, Shelf] = {
    "waiting": "queued",
    "held": "queued",
    "resting": "queued",
    "dead": "dead",
    "done": "ended",
    "discarded": "ended",
}
_ALL: tuple[Shelf, ...] = ("queued", "dead", "ended")
_MOST = 10_000
_PAGE = 200
_QUEUES_AT_ONCE = 8
_LOOKED_BACK = 50_000
"""Among so many of a queue's newest ended actions an id may be named by its beginning."""
_WHOLE = 32
"""Characters of an action's id."""


@dataclass(frozen=True)
class Place:
    """A trigger's queue. ``trigger`` is ``NAME/dlq`` for the queue of a ``dlqTrigger``."""

    sensor: Sensor
    trigger: str
    spec: TriggerSpec
    queue: Queue

    @property
    def namespace(self) -> str:
        """The sensor's."""
        return self.sensor.metadata.namespace

    @property
    def name(self) -> str:
        """The sensor's."""
        return self.sensor.metadata.name

    @property
    def shown(self) -> str:
        """As a command line names it."""
        return f"{self.name}/{self.trigger}"


@dataclass(frozen=True)
class Found:
    """An action and where it stands."""

    place: Place
    item: Item


def triggers_of(sensor: Sensor) -> Iterator[tuple[str, TriggerSpec]]:
    """The queues of a sensor: its triggers and their dlqTriggers, each with what is run for its actions."""
    for spec in sensor.triggers:
        yield spec.name, spec
        if spec.dlq_trigger is not None:
            yield f"{spec.name}/dlq", spec.dlq_trigger


async def places(system: System, ask: Mapping[str, str]) -> list[Place]:
    """The queues that ``sensor``, ``trigger`` and ``namespace`` name; all where they name none. Raises NotFound."""
    namespace, trigger = ask.get("namespace", ""), ask.get("trigger", "")
    if ask.get("sensor"):
        sensors: Sequence[Sensor] = [system.sensor(ask["sensor"], namespace)]
    else:
        sensors = [one for one in system.bundle.sensors if namespace in ("", one.metadata.namespace)]
    found, names = [], []
    for sensor in sensors:
        bus = await system.bus_of(sensor)
        for name, spec in triggers_of(sensor):
            names.append(name)
            if trigger in ("", name):
                queue = bus.queue(queue_name(sensor.metadata.namespace, sensor.metadata.name, name))
                found.append(Place(sensor, name, spec, queue))
    if trigger and not found:
        near = did_you_mean(trigger, names) or f"; there is {', '.join(sorted(set(names))) or 'none'}"
        raise NotFound(f"no trigger {trigger!r} runs here{near}")
    return found


# ---------------------------------------------------------------------- looking


async def list_actions(system: System, ask: Ask) -> dict[str, Any]:
    """Actions: what is queued and what is dead, oldest first, then what has ended, newest first; at most ``limit`` of each.

    ``more`` names of which there are more.
    """
    wanted = _states(ask.text("state"))
    limit = ask.number("limit", 50, least=1, most=_MOST)
    since = _seconds(ask.text("since"))
    where = Where(ask.text("where"))
    asked = await places(system, ask.query)
    gate = asyncio.Semaphore(_QUEUES_AT_ONCE)

    async def look(place: Place, shelf: Shelf) -> list[Found]:
        kept: list[Found] = []
        async with gate:
            async for item in each(place.queue, shelf, since):
                if item.state in wanted and where.holds(place, item):
                    kept.append(Found(place, item))
                    if len(kept) > limit:
                        break
        return kept

    rows, more = list[dict[str, Any]](), list[str]()
    for shelf in _ALL:
        if not any(_SHELVES[state] == shelf for state in wanted):
            continue
        several = await asyncio.gather(*(look(place, shelf) for place in asked))
        found = sorted((one for some in several for one in some), key=lambda one: one.item.at, reverse=shelf == "ended")
        rows += [row(one) for one in found[:limit]]
        more += [shelf] if len(found) > limit else []
    where.check()
    return {"actions": rows, "more": more}


async def each(queue: Queue, shelf: Shelf, since: float = 0.0) -> AsyncIterator[Item]:
    """All items of a shelf, page by page."""
    after = 0
    while page := await queue.items(shelf, after=after, limit=_PAGE, since=since):
        for item in page:
            yield item
        after = page[-1].place


async def show_action(system: System, ask: Ask) -> dict[str, Any]:
    """One action with all that is known of it, and what can be done about it."""
    found = await resolve(system, ask.path["id"], ask.query)
    first, others = found[0], found[1:]
    said = await suspension.read(await system.bus_of(first.place.sensor))
    shown = row(first) | {"advice": _advice(first, said)}
    if first.item.outcome:
        shown["outcome"] = _outcome(first.item)
    if first.item.body is not None:
        shown["parameters"] = _parameters(system, first)
    if others:
        shown["also"] = [row(one) for one in others]
    return shown


def row(found: Found) -> dict[str, Any]:
    """An action as one line of a list knows it."""
    place, item = found.place, found.item
    shown: dict[str, Any] = {
        "id": item.id,
        "namespace": place.namespace,
        "sensor": place.name,
        "trigger": place.trigger,
        "kind": place.spec.kind,
        "state": item.state,
        "at": item.at,
        "tries": item.failures + (item.state in ("done", "dead")),
        "error": item.error,
        "events": _events(item),
    }
    if item.not_before:
        shown["nextTry"] = item.not_before
    return shown


def _record(item: Item) -> actions.ActionRecord | None:
    try:
        return actions.decode(item.body) if item.body is not None else None
    except EventInvalid:
        return None


def _events(item: Item) -> list[dict[str, str]]:
    record = _record(item)
    if record is not None:
        return [
            {"dependency": name, "id": one.id, "source": one.source, "name": one.subject, "time": one.time}
            for name, one in record.events.items()
        ]
    # Of a finished action its outcome says what caused it.
    known = _outcome(item).get("events")
    return known if isinstance(known, list) else []


def _outcome(item: Item) -> dict[str, Any]:
    try:
        outcome = json.loads(item.outcome or b"{}")
    except ValueError:
        return {}
    return outcome if isinstance(outcome, dict) else {}


def _parameters(system: System, found: Found) -> dict[str, Any]:
    record = _record(found.item)
    if record is None:
        return {"failure": "the action's record cannot be read"}
    if record.unusable:
        return {"failure": record.unusable}
    namespace = found.place.namespace

    def config_map(selector: ConfigMapKeySelector) -> str | None:
        held = system.bundle.config_maps.get((namespace, selector.name))
        return None if held is None else held.get(selector.key)

    rehearsal = rendering.rehearse(found.place.spec, record.events, Offline(None, config_map))
    return {
        "kind": rehearsal.kind,
        "set": [setting.as_dict() for setting in rehearsal.trace],
        "failure": rehearsal.failure,
        "unknown": rehearsal.unknown,
    }


def _advice(found: Found, said: Mapping[str, suspension.Said]) -> str:
    place, item = found.place, found.item
    short = item.id[:12]
    if item.state in ("waiting", "held") and mode_of(place, said) == "queue":
        return f"its trigger is suspended; 'argosy sensor resume {place.shown}' lets it go on"
    match item.state:
        case "waiting":
            return "it waits for its turn behind what was put before it; 'argosy actions discard' takes it out"
        case "held":
            return "it is tried now"
        case "resting":
            return (
                f"'argosy actions retry {short}' tries it now; 'argosy actions discard {short} --reason …' gives it up"
            )
        case "dead":
            return (
                f"mend what the reason names, then 'argosy actions redrive {short}' puts it back into the queue with"
                f" fresh tries; 'argosy actions discard {short} --reason …' gives it up for good"
            )
    return "it is over; nothing is left to do"


def mode_of(place: Place, said: Mapping[str, suspension.Said]) -> suspension.Mode:
    """Whether the queue's trigger runs."""
    return suspended(place.sensor, place.trigger, said)


def suspended(sensor: Sensor, trigger: str, said: Mapping[str, suspension.Said]) -> suspension.Mode:
    """What holds for a trigger of this sensor. A dlqTrigger (``NAME/dlq``) goes with its trigger."""
    spec = next(one for one in sensor.triggers if trigger in (one.name, f"{one.name}/dlq"))
    name = queue_name(sensor.metadata.namespace, sensor.metadata.name, spec.name)
    return suspension.in_force(said.get(name), spec.queue.suspend or "run")


# ---------------------------------------------------------------------- finding by id


async def resolve(system: System, given: str, ask: Mapping[str, str]) -> list[Found]:
    """The action that an id or its beginning names: in its trigger's queue first, then in its dlqTrigger's.

    Raises NotFound, or Ambiguous with the ids that begin so.
    """
    prefix(given, "an action")
    gate = asyncio.Semaphore(_QUEUES_AT_ONCE)

    async def look(place: Place) -> list[Found]:
        async with gate:
            if len(given) >= _WHOLE:
                item = await place.queue.find(given)
                return [Found(place, item)] if item else []
            return [Found(place, item) async for item in _beginning_with(place.queue, given)]

    looks = [look(place) for place in await places(system, ask)]
    found = [one for some in await asyncio.gather(*looks) for one in some]
    ids = sorted({one.item.id for one in found})
    if not ids:
        raise NotFound(
            f"there is no action {given!r} in the queues of the sensors that run here, or it ended long ago;"
            " 'argosy actions list' shows what there is"
        )
    if len(ids) > 1:
        several = "".join(f"\n  {one.item.id}  {one.item.state} in {one.place.shown}" for one in found[:20])
        raise Ambiguous(f"{len(ids)} actions begin with {given!r}; give more of the id:{several}")
    return found


async def _beginning_with(queue: Queue, given: str) -> AsyncIterator[Item]:
    for shelf in _ALL:
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

    def holds(self, place: Place, item: Item) -> bool:
        """Whether the action fits; one that the expression fails on does not."""
        if self._expression is None:
            return True
        record = _record(item)
        events = {name: _event(one) for name, one in record.events.items()} if record else {}
        newest = max(record.events.values(), key=lambda one: one.time) if record and record.events else None
        env = {
            "id": item.id,
            "sensor": place.name,
            "trigger": place.trigger,
            "state": item.state,
            "error": item.error,
            "tries": float(item.failures),
            "events": events or {one["dependency"]: one for one in _events(item)},
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


# ---------------------------------------------------------------------- acting


async def act(system: System, ask: Ask) -> AsyncIterator[dict[str, Any]]:
    """Retry, redrive or discard the actions that the body names; a line for each, what became of it."""
    verb = ask.path["verb"]
    body = ask.body if isinstance(ask.body, dict) else {}
    if verb not in ("retry", "redrive", "discard"):
        raise NotFound(f"there is no {verb!r} for actions; there is retry, redrive and discard")
    reason, by = str(body.get("reason", "")), str(body.get("by", ""))
    if verb == "discard" and not reason.strip():
        raise ConfigError("to discard an action needs a reason, which is kept with it")
    narrow = {name: str(body[name]) for name in ("sensor", "namespace", "trigger") if body.get(name)}
    if body.get("all"):
        if not narrow.get("sensor"):
            raise ConfigError("all needs a sensor; name it")
        chosen = _all(system, verb, narrow, Where(str(body.get("where", ""))))
    elif isinstance(ids := body.get("ids"), list) and ids:
        chosen = _named(system, [str(one) for one in ids], narrow)
    else:
        raise ConfigError("name the actions: ids, or all with a sensor")
    # Asked once here, so that a mistake is an answer and not the first line of one.
    first = await anext(chosen, None)
    return _acting(chosen, first, verb, reason, by)


async def _acting(
    chosen: AsyncIterator[Found | dict[str, Any]],
    first: Found | dict[str, Any] | None,
    verb: str,
    reason: str,
    by: str,
) -> AsyncIterator[dict[str, Any]]:
    one: Found | dict[str, Any] | None = first
    while one is not None:
        yield await _do(one, verb, reason, by) if isinstance(one, Found) else one
        one = await anext(chosen, None)


async def _do(found: Found, verb: str, reason: str, by: str) -> dict[str, Any]:
    queue, item = found.place.queue, found.item
    match verb:
        case "retry":
            did = await queue.retry_now(item.id)
        case "redrive":
            did = await queue.redrive(item.id)
        case _:
            did = await queue.discard(item.id, reason, by)
    said = {"id": item.id, "sensor": found.place.name, "trigger": found.place.trigger, "done": did}
    return said if did else said | {"why": _why_not(verb, item)}


def _why_not(verb: str, item: Item) -> str:
    needs = {"retry": "resting", "redrive": "dead", "discard": "waiting, resting or dead"}[verb]
    if item.state == "dead" and verb == "retry":
        return "it is a dead letter; redrive puts it back into the queue"
    if item.state == "held":
        return f"it is tried now; only what is {needs} can be {_PAST[verb]}"
    return f"it is {item.state}; only what is {needs} can be {_PAST[verb]}"


_PAST = {"retry": "tried at once", "redrive": "redriven", "discard": "discarded"}


async def _named(
    system: System, ids: Sequence[str], narrow: Mapping[str, str]
) -> AsyncIterator[Found | dict[str, Any]]:
    for given in ids:
        try:
            yield (await resolve(system, given, narrow))[0]
        except (NotFound, Ambiguous, ConfigError) as error:
            if len(ids) == 1:
                raise
            yield {"id": given, "done": False, "why": str(error)}


async def _all(
    system: System, verb: str, narrow: Mapping[str, str], where: Where
) -> AsyncIterator[Found | dict[str, Any]]:
    shelves: Sequence[Shelf] = {"retry": ("queued",), "redrive": ("dead",), "discard": ("queued", "dead")}[verb]  # type: ignore[assignment]
    fit = {"retry": ("resting",), "redrive": ("dead",), "discard": ("waiting", "resting", "dead")}[verb]
    asked = system.clock.now().timestamp()
    for place in await places(system, narrow):
        for shelf in shelves:
            async for item in each(place.queue, shelf):
                if item.at > asked:
                    break  # it died anew since; it is not redriven again and again
                if item.state in fit and where.holds(place, item):
                    yield Found(place, item)
    where.check()


def _seconds(text: str) -> float:
    try:
        return float(text or 0)
    except ValueError:
        raise ConfigError(f"since={text!r} is no number of seconds since the epoch") from None


def _states(text: str) -> tuple[str, ...]:
    wanted = tuple(word for word in text.replace(",", " ").split() if word)
    for word in wanted:
        if word not in STATES:
            raise ConfigError(f"state {word!r} is none of {', '.join(STATES)}")
    return wanted or STATES


OPERATIONS = [
    Operation("GET", "/actions", list_actions),
    Operation("GET", "/actions/{id}", show_action),
    Operation("POST", "/actions/{verb}", act),
]
