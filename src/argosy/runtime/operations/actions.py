"""The action queues: what waits, rests, is dead or done; one action in full; try now, redrive, discard, approve, deny."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from argosy.bus._base import Item, Shelf
from argosy.errors import Ambiguous, ConfigError, NotFound
from argosy.manifests.fields import ConfigMapKeySelector
from argosy.manifests.sensor import Sensor
from argosy.runtime import suspension
from argosy.runtime.actions import DEFAULT_RETRY
from argosy.runtime.approval import Approvals, Ruling, Verb
from argosy.runtime.operations._base import Ask, Operation, System
from argosy.runtime.operations._log import moment
from argosy.runtime.operations._queues import (
    AT_ONCE,
    QUEUED,
    SHELVES,
    Found,
    Place,
    Where,
    each,
    events_of,
    outcome_of,
    places,
    record_of,
    resolve,
    said_of,
)
from argosy.runtime.sensors import queue_name
from argosy.sensor import rendering
from argosy.sensor.rendering import Offline

_SHELVES: dict[str, Shelf] = {
    "unapproved": "queued",
    "waiting": "queued",
    "held": "queued",
    "resting": "queued",
    "dead": "dead",
    "done": "ended",
    "discarded": "ended",
}
STATES = tuple(_SHELVES)
_MOST = 10_000
_GONE = "no sensor that runs here has its trigger any more"


# ---------------------------------------------------------------------- looking


async def list_actions(system: System, ask: Ask) -> dict[str, Any]:
    """Actions: what is queued and what is dead, oldest first, then what has ended, newest first; at most ``limit`` of each.

    ``more`` names of which there are more.
    """
    wanted = _states(ask.text("state"))
    limit = ask.number("limit", 50, least=1, most=_MOST)
    since = moment(ask.text("since"), system.clock.now().timestamp(), "since")
    where = Where(ask.text("where"))
    asked = await places(system, ask.query)
    gate = asyncio.Semaphore(AT_ONCE)

    async def look(place: Place, shelf: Shelf) -> list[Found]:
        kept: list[Found] = []
        async with gate:
            said = await said_of(system, place) if shelf == "queued" else {}
            async for item in each(place.queue, shelf, since):
                found = _found(place, item, said)
                if found.state in wanted and where.holds(found):
                    kept.append(found)
                    if len(kept) > limit:
                        break
        return kept

    rows, more = list[dict[str, Any]](), list[str]()
    for shelf in SHELVES:
        if not any(_SHELVES[state] == shelf for state in wanted):
            continue
        several = await asyncio.gather(*(look(place, shelf) for place in asked))
        found = sorted((one for some in several for one in some), key=lambda one: one.item.at, reverse=shelf == "ended")
        rows += [row(one) for one in found[:limit]]
        more += [shelf] if len(found) > limit else []
    where.check()
    return {"actions": rows, "more": more}


def _found(place: Place, item: Item, said: Mapping[str, Ruling]) -> Found:
    one = said.get(item.id)
    return Found(place, item, one if one is not None and one.is_about(item.at) else None)


async def show_action(system: System, ask: Ask) -> dict[str, Any]:
    """One action with all that is known of it, and what can be done about it."""
    found = await resolve(system, ask.path["id"], ask.query)
    first, others = found[0], found[1:]
    said = await suspension.read(await system.bus_of(first.place.sensor)) if first.place.sensor else {}
    shown = row(first) | {"advice": _advice(first, said)}
    if first.item.outcome:
        shown["outcome"] = outcome_of(first.item)
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
        "kind": place.spec.kind if place.spec else "",
        "state": found.state,
        "at": item.at,
        "tries": item.failures + (item.state in ("done", "dead")),
        "error": item.error,
        "class": _class(found),
        "events": events_of(item),
    }
    if found.asks and item.state in QUEUED:
        shown["approval"] = found.said.as_dict() if found.said else {"state": "asked", "expires": found.expires}
    if item.not_before and found.state != "unapproved":
        shown["nextTry"] = item.not_before
    return shown


def _class(found: Found) -> str:
    """What the last failure means: ``retried`` (another try may help), ``rejected`` (none can), ``exhausted`` (the tries are used up).

    Empty where it has not failed, or where nobody knows any more how many tries it had.
    """
    item, spec = found.item, found.place.spec
    if not item.error or item.state in ("done", "discarded"):
        return ""
    if item.state != "dead":
        return "retried"
    if spec is None:
        return ""
    return "exhausted" if item.failures + 1 >= (spec.retry_strategy or DEFAULT_RETRY).tries else "rejected"


def _parameters(system: System, found: Found) -> dict[str, Any]:
    record = record_of(found.item)
    if record is None:
        return {"failure": "the action's record cannot be read"}
    if record.unusable:
        return {"failure": record.unusable}
    namespace, spec = found.place.namespace, found.place.spec
    if spec is None:
        return {"failure": _GONE}

    def config_map(selector: ConfigMapKeySelector) -> str | None:
        held = system.bundle.config_maps.get((namespace, selector.name))
        return None if held is None else held.get(selector.key)

    rehearsal = rendering.rehearse(spec, record.events, Offline(None, config_map))
    return {
        "kind": rehearsal.kind,
        "set": [setting.as_dict() for setting in rehearsal.trace],
        "failure": rehearsal.failure,
        "unknown": rehearsal.unknown,
    }


def _advice(found: Found, said: Mapping[str, suspension.Said]) -> str:
    place, item = found.place, found.item
    short = item.id[:12]
    if place.spec is None and item.state not in ("done", "discarded"):
        return f"{_GONE}: bring it back, or 'argosy actions discard {short} --reason …' gives it up"
    if found.said is not None and found.said.verb == "denied":
        return f"it was {found.said}; it ends when its trigger comes to it"
    if found.state == "unapproved":
        return (
            f"'argosy actions approve {short}' lets it run, 'argosy actions deny {short} --comment …' ends it;"
            " if nobody decides it becomes a dead letter"
        )
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
    return suspended(place.sensor, place.trigger, said) if place.sensor else "run"


def suspended(sensor: Sensor, trigger: str, said: Mapping[str, suspension.Said]) -> suspension.Mode:
    """What holds for a trigger of this sensor. A dlqTrigger (``NAME/dlq``) goes with its trigger."""
    spec = next(one for one in sensor.triggers if trigger in (one.name, f"{one.name}/dlq"))
    name = queue_name(sensor.metadata.namespace, sensor.metadata.name, spec.name)
    return suspension.in_force(said.get(name), spec.queue.suspend or "run")


# ---------------------------------------------------------------------- acting


async def act(system: System, ask: Ask) -> AsyncIterator[dict[str, Any]]:
    """Retry, redrive, discard, approve or deny the actions that the body names; a line for each, what became of it."""
    verb = ask.path["verb"]
    body = ask.fields
    if verb not in _PAST:
        raise NotFound(f"there is no {verb!r} for actions; there is {', '.join(_PAST)}")
    reason, by = str(body.get("comment" if verb in _VERBS else "reason", "")), str(body.get("by", ""))
    if verb == "discard" and not reason.strip():
        raise ConfigError("to discard an action needs a reason, which is kept with it")
    if verb == "deny" and not reason.strip():
        raise ConfigError("to deny an action needs a comment, which is kept with it")
    if verb in _VERBS and not by.strip():
        raise ConfigError(f"to {verb} an action needs 'by', the name of who does; it is kept with the action")
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
    return _acting(system, chosen, first, verb, reason, by)


async def _acting(
    system: System,
    chosen: AsyncIterator[Found | dict[str, Any]],
    first: Found | dict[str, Any] | None,
    verb: str,
    reason: str,
    by: str,
) -> AsyncIterator[dict[str, Any]]:
    one: Found | dict[str, Any] | None = first
    while one is not None:
        yield await _do(system, one, verb, reason, by) if isinstance(one, Found) else one
        one = await anext(chosen, None)


async def _do(system: System, found: Found, verb: str, reason: str, by: str) -> dict[str, Any]:
    queue, item = found.place.queue, found.item
    said = {"id": item.id, "sensor": found.place.name, "trigger": found.place.trigger, "done": False}
    if verb != "discard" and found.place.spec is None:
        return said | {"why": f"{_GONE}; bring it back first, or discard the action"}
    if verb in _VERBS:
        return said | await _decide(system, found, _VERBS[verb], reason, by)
    if verb == "retry" and found.state == "unapproved":
        return said | {"why": "it waits for approval; 'argosy actions approve' lets it run"}
    match verb:
        case "retry":
            did = await queue.retry_now(item.id)
        case "redrive":
            did = await queue.redrive(item.id)
        case _:
            did = await queue.discard(item.id, reason, by)
            if did and found.said is not None and found.place.sensor is not None:
                await Approvals(await system.bus_of(found.place.sensor)).forget(queue.name, item.id)
    return said | ({"done": True} if did else {"why": _why_not(verb, item)})


async def _decide(system: System, found: Found, verb: Verb, comment: str, by: str) -> dict[str, Any]:
    place, item = found.place, found.item
    now = system.clock.now().timestamp()
    if item.state not in QUEUED:
        return {"why": f"it is {item.state}; only what waits in its queue can be {verb}"}
    if place.sensor is None or place.spec is None or not found.asks:
        return {"why": "its trigger asks nobody for approval"}
    if now >= found.expires:
        return {"why": "its time is over; it becomes a dead letter, which can be redriven"}
    said = Ruling(verb, item.at, now, by, comment.strip())
    holds = await Approvals(await system.bus_of(place.sensor)).decide(place.queue.name, item.id, said)
    if holds is not said and (holds.verb, holds.by) != (verb, by):
        return {"why": f"it is decided: it was {holds}"}
    if now >= item.at + place.spec.queue.delay:  # else the rest is the delay's, which is no person's to end
        await place.queue.retry_now(item.id)
    return {"done": True}


def _why_not(verb: str, item: Item) -> str:
    needs = {"retry": "resting", "redrive": "dead", "discard": "waiting, resting or dead"}[verb]
    if item.state == "dead" and verb == "retry":
        return "it is a dead letter; redrive puts it back into the queue"
    if item.state == "held":
        return f"its worker holds it; only what is {needs} can be {_PAST[verb]}"
    return f"it is {item.state}; only what is {needs} can be {_PAST[verb]}"


_VERBS: Mapping[str, Verb] = {"approve": "approved", "deny": "denied"}
_PAST = {"retry": "tried at once", "redrive": "redriven", "discard": "discarded", **_VERBS}


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
    shelves, fit = _FIT[verb]
    asked = system.clock.now().timestamp()
    for place in await places(system, narrow):
        said = await said_of(system, place)
        for shelf in shelves:
            async for item in each(place.queue, shelf):
                found = _found(place, item, said)
                if item.at > asked:
                    break  # it died anew since; it is not redriven again and again
                if found.state in fit and where.holds(found):
                    yield found
    where.check()


_FIT: Mapping[str, tuple[Sequence[Shelf], Sequence[str]]] = {
    "retry": (("queued",), ("resting",)),
    "redrive": (("dead",), ("dead",)),
    "discard": (("queued", "dead"), ("unapproved", "waiting", "resting", "dead")),
    "approve": (("queued",), ("unapproved",)),
    "deny": (("queued",), ("unapproved",)),
}
"""Of which shelves and in which states ``all`` takes actions for a verb."""


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
