"""What shadow sensors would have done."""

from __future__ import annotations

from typing import Any

import msgspec

from argosy.errors import ConfigError
from argosy.runtime.operations._base import Ask, Operation, System
from argosy.runtime.sinks import MOST_REMEMBERED, would_have_done


async def would(system: System, ask: Ask) -> dict[str, Any]:
    """The newest actions that shadow sensors would have performed, newest first, and how many there were in all.

    ``sensor``, ``trigger`` and ``namespace`` narrow them. Raises ConfigError for a sensor that is no shadow and has never been one.
    """
    trigger, limit = ask.text("trigger"), ask.number("limit", 50, least=1, most=10_000)
    namespace = ask.text("namespace")
    named = [system.sensor(ask.text("sensor"), namespace)] if ask.text("sensor") else system.bundle.sensors
    rows, total = [], 0
    for sensor in named:
        place = (sensor.metadata.namespace, sensor.metadata.name)
        if namespace not in ("", place[0]) or not (sensor.spec.shadow or ask.text("sensor")):
            continue
        count, newest = await would_have_done(await system.bus_of(sensor), *place)
        if not count and not sensor.spec.shadow:
            raise ConfigError(f"sensor {place[1]!r} is no shadow; write 'shadow: true' into its spec to make it one")
        total += count
        rows += [
            {"namespace": place[0], "sensor": place[1], **msgspec.to_builtins(one)}
            for one in newest
            if trigger in ("", one.trigger)
        ]
    rows.sort(key=lambda row: row["at"], reverse=True)
    return {"actions": rows[:limit], "total": total, "remembered": MOST_REMEMBERED}


OPERATIONS = [Operation("GET", "/shadow", would)]
