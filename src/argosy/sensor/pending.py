"""What the triggers of a sensor hold and wait for, read from the bus, and how it is cleared. For persons: any process that reaches the bus may call these.

A running loop has the same on the bus as in its memory whenever it has settled a batch, so what is read here is what it will go on with. Clearing is one
write (a number for each trigger, ``argosy.sensor.stores``): what was collected before counts as empty from then on. A running loop looks at that
number before it takes the next events in and before anything comes due, so nothing that was cleared leads to an action, and
nothing of it comes back by being written again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from argosy.bus._base import Bus
from argosy.event import Event
from argosy.manifests.sensor import Sensor
from argosy.sensor import waiting
from argosy.sensor.matching import Matcher
from argosy.sensor.stores import Store, consumer_of


@dataclass(frozen=True)
class Pending:
    """What one trigger holds for one value of ``correlate`` (or of the key of ``batch`` and ``debounce``); times are seconds since the epoch.

    ``holds`` maps each dependency to its newest event, ``counted`` to how many of it are held. ``waits_for`` is the shortest list of dependencies that
    would complete it, empty where only time does. ``until`` is None where it waits for ever. ``sentence`` says all of it.
    """

    trigger: str
    value: str
    holds: Mapping[str, Event]
    counted: Mapping[str, int]
    waits_for: Collection[str]
    since: float
    until: float | None
    sentence: str


async def pending(bus: Bus, sensor: Sensor, *, now: float) -> list[Pending]:
    """All that the sensor's triggers hold, oldest first within each trigger.

    ``now`` (seconds since the epoch) leaves out what a reset or ``within`` has ended by then. Raises ConfigError if a text of the sensor does not
    parse; a stored state that cannot be read is left out. Waits through a loss of the bus.
    """
    store = Store(bus, _consumer(sensor))
    memories = await store.look(Matcher(sensor).plans, lambda sentence: None)
    found = []
    for trigger, memory in memories.items():
        memory.forget_to(now)
        for _, state in memory.held():
            wait = waiting.of(state)
            found.append(
                Pending(
                    trigger,
                    state.key,
                    state.events(),
                    state.counted(),
                    wait.for_dependencies,
                    state.since,
                    wait.until,
                    f"{trigger} {wait.sentence}",
                )
            )
    return found


async def clear(bus: Bus, sensor: Sensor, triggers: Collection[str] = ()) -> list[str]:
    """Forget all that these triggers (default: all of the sensor) hold; returns their names. Durable on return, and no undo."""
    named = [trigger.name for trigger in sensor.triggers if not triggers or trigger.name in triggers]
    await Store(bus, _consumer(sensor)).clear(named)
    return named


def _consumer(sensor: Sensor) -> str:
    return consumer_of(sensor.metadata.namespace, sensor.metadata.name)
