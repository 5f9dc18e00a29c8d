"""Sensors as they run: what they wait for, how their triggers do; suspend and resume; what conditions hold, and forgetting it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from argosy.bus._base import Bus
from argosy.errors import ConfigError, NotFound
from argosy.manifests.sensor import Sensor, TriggerSpec
from argosy.manifests.spelling import did_you_mean
from argosy.runtime import suspension
from argosy.runtime.operations._base import Ask, Operation, System
from argosy.runtime.operations.actions import suspended
from argosy.runtime.sensors import queue_name, queues_of
from argosy.runtime.suspension import Mode, Said
from argosy.sensor import pending as held

_COUNTED = 100
"""So many dead letters are counted; more are said to be more."""


async def list_sensors(system: System, ask: Ask) -> dict[str, Any]:
    """Every sensor that runs, with its triggers."""
    wanted = [one for one in system.bundle.sensors if ask.text("namespace") in ("", one.metadata.namespace)]
    wanted.sort(key=lambda one: (one.metadata.namespace, one.metadata.name))
    gate = asyncio.Semaphore(8)

    async def look(sensor: Sensor) -> dict[str, Any]:
        async with gate:
            return await _shown(system, sensor)

    return {"sensors": await asyncio.gather(*(look(sensor) for sensor in wanted))}


async def show_sensor(system: System, ask: Ask) -> dict[str, Any]:
    """One sensor."""
    return await _shown(system, system.sensor(ask.path["name"], ask.text("namespace")))


async def _shown(system: System, sensor: Sensor) -> dict[str, Any]:
    bus = await system.bus_of(sensor)
    said = await suspension.read(bus)
    shown = await asyncio.gather(*(_trigger(bus, sensor, name, spec, said) for name, spec in queues_of(sensor)))
    return {
        "namespace": sensor.metadata.namespace,
        "name": sensor.metadata.name,
        "eventBus": sensor.event_bus_name,
        "dependencies": [
            {"name": one.name, "source": one.event_source_name, "event": one.event_name} for one in sensor.dependencies
        ],
        "triggers": list(shown),
    }


async def _trigger(bus: Bus, sensor: Sensor, name: str, spec: TriggerSpec, said: Mapping[str, Said]) -> dict[str, Any]:
    queue = bus.queue(queue_name(sensor.metadata.namespace, sensor.metadata.name, name))
    depth, dead = await asyncio.gather(queue.depth(), queue.items("dead", limit=_COUNTED))
    mode = suspended(sensor, name, said)
    shown: dict[str, Any] = {
        "name": name,
        "kind": spec.kind,
        "conditions": spec.conditions,
        "queued": depth,
        "dead": len(dead),
        "suspended": "" if mode == "run" else mode,
    }
    who = said.get(queue_name(sensor.metadata.namespace, sensor.metadata.name, name.removesuffix("/dlq")))
    if who is not None and who.mode == mode:
        shown["suspendedBy" if mode != "run" else "resumedBy"] = {"by": who.by, "at": who.at}
    return shown


# ---------------------------------------------------------------------- suspend and resume


async def suspend(system: System, ask: Ask) -> dict[str, Any]:
    """Suspend a trigger, or all of a sensor. Durable on return; who runs it notices within a second."""
    return await _say(system, ask, "drop" if ask.fields.get("drop") else "queue")


async def resume(system: System, ask: Ask) -> dict[str, Any]:
    """Let a trigger, or all of a sensor, go on."""
    return await _say(system, ask, "run")


async def _say(system: System, ask: Ask, mode: Mode) -> dict[str, Any]:
    body = ask.fields
    sensor = system.sensor(ask.path["name"], str(body.get("namespace", "")))
    specs = _chosen(sensor, str(body.get("trigger", "")))
    names = {queue_name(sensor.metadata.namespace, sensor.metadata.name, spec.name): spec for spec in specs}
    bus = await system.bus_of(sensor)
    before = await suspension.read(bus)
    modes: dict[str, tuple[Mode, Mode]] = {name: (mode, spec.queue.suspend or "run") for name, spec in names.items()}
    await suspension.say(bus, modes, by=str(body.get("by", "")))
    return {
        "sensor": sensor.metadata.name,
        "triggers": [
            {
                "name": spec.name,
                "mode": mode,
                "before": suspended(sensor, spec.name, before),
                "queued": await bus.queue(name).depth(),
            }
            for name, spec in names.items()
        ],
    }


# ---------------------------------------------------------------------- what conditions hold


async def pending(system: System, ask: Ask) -> dict[str, Any]:
    """What each condition, batch and debounce of a sensor holds and waits for, since when."""
    sensor = system.sensor(ask.path["name"], ask.text("namespace"))
    specs = _chosen(sensor, ask.text("trigger"))
    names = {spec.name for spec in specs}
    limit = ask.number("limit", 100, least=1, most=10_000)
    now = system.clock.now().timestamp()
    found = [one for one in await held.pending(await system.bus_of(sensor), sensor, now=now) if one.trigger in names]
    return {
        "sensor": sensor.metadata.name,
        "pending": [_waiting(one) for one in found[:limit]],
        "more": len(found) > limit,
    }


def _waiting(one: held.Pending) -> dict[str, Any]:
    return {
        "trigger": one.trigger,
        "value": one.value,
        "holds": [
            {
                "dependency": name,
                "id": event.id,
                "source": event.source,
                "name": event.subject,
                "time": event.time,
                "count": one.counted.get(name, 1),
            }
            for name, event in one.holds.items()
        ],
        "waitsFor": list(one.waits_for),
        "since": one.since,
        "until": one.until,
        "sentence": one.sentence,
    }


async def reset(system: System, ask: Ask) -> dict[str, Any]:
    """Forget what a trigger, or all of a sensor, holds. Durable on return; a running loop heeds it before it does anything else."""
    body = ask.fields
    sensor = system.sensor(ask.path["name"], str(body.get("namespace", "")))
    names = [spec.name for spec in _chosen(sensor, str(body.get("trigger", "")))]
    bus = await system.bus_of(sensor)
    before = await held.pending(bus, sensor, now=system.clock.now().timestamp())
    cleared = await held.clear(bus, sensor, names)
    return {
        "sensor": sensor.metadata.name,
        "triggers": [
            {"name": name, "forgotten": sum(len(one.holds) for one in before if one.trigger == name)}
            for name in cleared
        ],
    }


def _chosen(sensor: Sensor, trigger: str) -> Sequence[TriggerSpec]:
    names = [spec.name for spec in sensor.triggers]
    if trigger.endswith("/dlq") and trigger.removesuffix("/dlq") in names:
        raise ConfigError(f"a dlqTrigger goes with its trigger; say {trigger.removesuffix('/dlq')!r}")
    found = [spec for spec in sensor.triggers if trigger in ("", spec.name)]
    if not found:
        near = did_you_mean(trigger, names) or f"; there is {', '.join(names) or 'none that can run'}"
        raise NotFound(f"sensor {sensor.metadata.name!r} has no trigger {trigger!r}{near}")
    return found


OPERATIONS = [
    Operation("GET", "/sensors", list_sensors),
    Operation("GET", "/sensors/{name}", show_sensor),
    Operation("GET", "/sensors/{name}/pending", pending),
    Operation("POST", "/sensors/{name}/reset", reset),
    Operation("POST", "/sensors/{name}/suspend", suspend),
    Operation("POST", "/sensors/{name}/resume", resume),
]
