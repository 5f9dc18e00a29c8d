"""What an explanation needs of a running system: the manifests as it runs them, an event with those before it, and what became of actions.

The explanation itself is made by who asks (``argosy explain``), so that a long one costs the running system nothing.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from argosy import event as events
from argosy.bus._base import Delivery, Pair
from argosy.errors import ConfigError
from argosy.manifests.bundle import Key
from argosy.manifests.sensor import Sensor
from argosy.runtime.operations import _log
from argosy.runtime.operations._base import Ask, Operation, System
from argosy.runtime.operations._log import Choice
from argosy.runtime.operations._queues import Found, Place, message_of, with_approval
from argosy.runtime.sensors import queues_of

_MOST_BEFORE = 1000
_MOST_ACTIONS = 1000
_AT_ONCE = 16


async def manifests(system: System, ask: Ask) -> dict[str, Any]:
    """The event sources and sensors that run, as they were read, and the ConfigMaps; never a Secret."""
    bundle = system.bundle

    def described(kind: str, namespace: str, name: str, raw: dict[str, Any]) -> dict[str, Any]:
        origin = bundle.origins.get(Key(kind, namespace, name))
        file = Path(origin.file) if origin else None
        folder = str(file.resolve().parent) if file is not None and file.is_file() else ""
        return {"namespace": namespace, "name": name, "folder": folder, "object": raw}

    return {
        "sensors": [described("Sensor", one.metadata.namespace, one.metadata.name, one.raw) for one in bundle.sensors],
        "eventSources": [
            described("EventSource", one.metadata.namespace, one.metadata.name, one.raw) for one in bundle.event_sources
        ],
        "declared": [
            {"namespace": space, "name": name, "events": sorted(names)}
            for (space, name), names in sorted(bundle.declared.items())
        ],
        "configMaps": [
            {"namespace": space, "name": name, "data": dict(values)}
            for (space, name), values in sorted(bundle.config_maps.items())
        ],
    }


async def with_those_before(system: System, ask: Ask) -> dict[str, Any]:
    """An event (``id`` or the beginning of it), and what came before it for the conditions that it may complete, oldest first.

    ``sensor`` narrows it to one. ``positions`` are the places of those before it, ``more`` says that the log has still older ones. Events are given as their JSON text (``text``), in which every
    digit is the sender's.
    """
    name, bus, delivery = await _log.one(system, ask.path["id"], ask.text("namespace"))
    event = delivery.event
    assert event is not None
    if wanted := ask.text("sensor"):
        sensors = [system.sensor(wanted, ask.text("namespace"))]
    else:
        sensors = [one for one in system.bundle.sensors if _listens(one, Pair(event.source, event.subject))]
    pairs = sorted(
        {
            Pair(one.event_source_name, one.event_name)
            for sensor in sensors
            if _remembers(sensor) and _listens(sensor, Pair(event.source, event.subject))
            for one in sensor.dependencies
        }
    )
    limit = ask.number("before", _MOST_BEFORE, most=_MOST_BEFORE)
    before: list[Delivery] = []
    more = 0
    if pairs and limit:
        before, more = await _log.backwards(bus, Choice(), delivery.position, limit, pairs=pairs)
    return {
        **_log.told(delivery, name, whole=False),
        "text": events.encode(event).decode(),
        "before": [events.encode(one.event).decode() for one in reversed(before) if one.event is not None],
        "positions": [one.position for one in reversed(before) if one.event is not None],
        "more": bool(more),
    }


def _listens(sensor: Sensor, pair: Pair) -> bool:
    return any((one.event_source_name, one.event_name) == pair for one in sensor.dependencies)


def _remembers(sensor: Sensor) -> bool:
    """Whether what a sensor does with an event may depend on earlier ones."""
    return len(sensor.dependencies) > 1 or any(
        trigger.batch
        or trigger.debounce
        or (trigger.frame is not None and (trigger.frame.count or trigger.frame.absent))
        for trigger in sensor.triggers
    )


async def outcomes(system: System, ask: Ask) -> dict[str, Any]:
    """What became of actions: body ``{"actions": [{namespace, sensor, trigger, id}]}``; the answers stand in the same order."""
    wanted = ask.fields.get("actions")
    if not isinstance(wanted, list) or not all(isinstance(one, dict) for one in wanted):
        raise ConfigError("the body must be a JSON object with 'actions', a list of {namespace, sensor, trigger, id}")
    if len(wanted) > _MOST_ACTIONS:
        raise ConfigError(f"{len(wanted)} actions are too many at a time; ask for at most {_MOST_ACTIONS}")
    gate = asyncio.Semaphore(_AT_ONCE)

    async def ask_for(one: dict[str, Any]) -> dict[str, Any]:
        sensor = system.sensor(str(one.get("sensor", "")), str(one.get("namespace", "")))
        async with gate:
            trigger = str(one.get("trigger", ""))
            queue = await system.queue(sensor, trigger)
            item = await queue.find(str(one.get("id", "")))
            if item is None:
                return {"state": "never"}
            spec = dict(queues_of(sensor)).get(trigger)
            place = Place(sensor.metadata.namespace, sensor.metadata.name, trigger, queue, sensor, spec)
            state = (await with_approval(system, Found(place, item))).state
        told: dict[str, Any] = {"state": state, "at": _log.spoken(item.at), "failures": item.failures}
        if item.error:
            told["error"] = item.error
        if item.not_before and state != "unapproved":
            told["notBefore"] = _log.spoken(item.not_before)
        if item.outcome:
            told["message"] = message_of(item)
        return told

    return {"actions": list(await asyncio.gather(*(ask_for(one) for one in wanted)))}


OPERATIONS = [
    Operation("GET", "/manifests", manifests),
    Operation("GET", "/events/{id}/story", with_those_before),
    Operation("POST", "/outcomes", outcomes),
]
