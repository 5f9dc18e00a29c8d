"""What the tests of collecting share: a sensor with dependencies a, b and c, its memory, and events by name."""

from __future__ import annotations

from typing import Any

from argosy.event import Event
from argosy.lang import gojson
from argosy.manifests.sensor import Sensor, parse_sensor
from argosy.sensor.matching import Matcher
from argosy.sensor.remembering import Completed, TriggerMemory


def manifest(template: dict[str, Any], **trigger: Any) -> dict[str, Any]:
    """A sensor whose trigger ``t`` has this template beside its name and kind."""
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Sensor",
        "metadata": {"name": "s", "namespace": "ns"},
        "spec": {
            "dependencies": [{"name": name, "eventSourceName": "web", "eventName": name} for name in "abc"],
            "triggers": [{"template": {"name": "t", "log": {}, **template}, **trigger}],
        },
    }


def sensor(template: dict[str, Any], **trigger: Any) -> Sensor:
    """The same, read."""
    found, problems = parse_sensor(manifest(template, **trigger))
    assert found is not None, problems
    return found


def event(id: str, data: Any = None, **more: Any) -> Event:
    """An event of the dependency that its id begins with."""
    body = gojson.dumps({} if data is None else data, sort_keys=False)
    return Event(**{
        "id": id, "source": "web", "subject": id[0], "type": "webhook", "time": "2026-01-01T12:00:00Z", "data": body, **more
    })  # fmt: skip


class Remembering:
    """The memory of trigger ``t``, with events that come at given seconds."""

    def __init__(self, template: dict[str, Any], **trigger: Any) -> None:
        (self.plan,) = Matcher(sensor(template, **trigger)).plans
        self.memory = TriggerMemory(self.plan)
        self.position = 0
        self.said = ""

    def come(self, at: float, id: str, data: Any = None, **more: Any) -> list[list[str]]:
        """Let an event come; the ids of the events of what ran, those that were due before first."""
        self.position += 1
        ran = self.memory.ring_to(at, self.position - 1)
        advance = self.memory.take(id[0], event(id, data, **more), position=self.position, at=at)
        self.said = advance.refused.reason if advance.refused else advance.waits.sentence if advance.waits else ""
        return ids([*ran, *advance.completed])

    def pass_to(self, at: float) -> list[list[str]]:
        """Let time pass; the ids of the events of what ran."""
        return ids(self.memory.ring_to(at, self.position))

    def values(self) -> list[str]:
        """The values for which something is held, the oldest first."""
        return [state.key for _, state in self.memory.held()]


def ids(completed: list[Completed]) -> list[list[str]]:
    """The ids of the events of each completion; those in a batch one by one."""
    found = []
    for one in completed:
        mine: list[str] = []
        for each in one.events.values():
            batch = each.type == "io.argosy.batch"
            mine += [member["id"] for member in gojson.loads(each.data)] if batch else [each.id]
        found.append(mine)
    return found
