"""How the objects are that run here, in few words: what a controller writes into their status.

What a process saw is asked of it (``argosy.runtime.status``), what waits and what is dead of the bus, so that these two survive a restart. Where
several processes run parts of one object, each tells of its own part.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping
from typing import Any

from argosy.errors import ArgosyError
from argosy.event import format_time
from argosy.manifests.eventsource import EventSource
from argosy.manifests.sensor import Sensor
from argosy.runtime.operations._base import Ask, Operation, System
from argosy.runtime.operations._queues import AT_ONCE
from argosy.runtime.sensors import queue_name, queues_of
from argosy.runtime.status import Key, Status

_BUS_SECONDS = 3.0
"""After so long the numbers that the buses have not told are left out: who asks does not wait for ever."""


async def status(system: System, ask: Ask) -> dict[str, Any]:
    """Every EventSource and Sensor that runs here. Numbers and times that are not known are absent."""
    seen = await system.running.status() if system.running is not None else {}
    gate, until = asyncio.Semaphore(AT_ONCE), asyncio.get_running_loop().time() + _BUS_SECONDS

    async def look(one: EventSource | Sensor) -> dict[str, Any] | None:
        async with gate:
            shown = _shown(one, seen)
            if shown is not None and isinstance(one, Sensor) and not one.spec.shadow:
                shown |= await _numbers(system, one, until)
            return shown

    objects: list[EventSource | Sensor] = [*system.bundle.event_sources, *system.bundle.sensors]
    objects.sort(key=lambda one: (one.metadata.namespace, one.kind, one.metadata.name))
    chosen = [one for one in objects if ask.text("namespace") in ("", one.metadata.namespace)]
    return {"objects": [one for one in await asyncio.gather(*map(look, chosen)) if one is not None]}


def _shown(one: EventSource | Sensor, seen: Mapping[Key, Status]) -> dict[str, Any] | None:
    about = one.metadata
    status = seen.get((one.kind, about.namespace, about.name))
    if status is None:
        if isinstance(one, Sensor) or one.events:
            return None  # another process has it
        status = Status()  # nothing to receive is no fault
    pulse = status.pulse
    shown: dict[str, Any] = {
        "kind": one.kind,
        "namespace": about.namespace,
        "name": about.name,
        "ready": status.ready,
        "waitingFor": "; ".join(status.waiting_for) or "; ".join(status.stands_by) or None,
    }
    if pulse.last_event:
        shown["lastEvent"] = _time(pulse.last_event)
    if isinstance(one, EventSource):
        shown["events"] = len(one.events)
    elif pulse.last_fired:
        shown["lastFired"] = _time(pulse.last_fired)
    if pulse.error_at:
        shown["lastError"] = {"time": _time(pulse.error_at), "message": pulse.error}
    return shown


async def _numbers(system: System, sensor: Sensor, until: float) -> dict[str, int]:
    """What waits for the sensor's triggers, and what is dead; nothing while the bus does not tell."""
    try:
        async with asyncio.timeout_at(until):
            bus = await system.bus_of(sensor)
            if not bus.ready:
                return {}
            names = [queue_name(sensor.metadata.namespace, sensor.metadata.name, name) for name, _ in queues_of(sensor)]
            queues = [bus.queue(name) for name in names]
            depths, dead = await asyncio.gather(
                asyncio.gather(*(queue.depth() for queue in queues)),
                asyncio.gather(*(queue.count_dead() for queue in queues)),
            )
    except (ArgosyError, TimeoutError):
        return {}
    return {"backlog": sum(depths), "deadLetters": sum(dead)}


def _time(at: float) -> str:
    return format_time(dt.datetime.fromtimestamp(int(at), dt.UTC))


OPERATIONS = [Operation("GET", "/status", status)]
