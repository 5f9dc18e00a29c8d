"""Which Sensors name which event sources: kept as they change, so that a change of one object need not look through all of them."""

from __future__ import annotations

from collections import defaultdict

from argosy.kubernetes.client import Object
from argosy.kubernetes.controller.conditions import DEPENDENCIES_PROVIDED, is_true
from argosy.kubernetes.watching import Place


class Waits:
    """The Sensors of all namespaces, by what they wait for."""

    def __init__(self) -> None:
        self._named: dict[Place, set[str]] = {}
        self._naming: dict[str, dict[str, set[Place]]] = defaultdict(dict)
        self._unsettled: dict[str, set[Place]] = defaultdict(set)

    def note(self, place: Place, sensor: Object | None) -> None:
        """A Sensor came, changed, or is gone (None)."""
        sources = waited_for(sensor) if sensor else set()
        by_name = self._naming[place.namespace]
        for name in self._named.pop(place, set()) - sources:
            by_name[name].discard(place)
            if not by_name[name]:
                del by_name[name]
        for name in sources:
            by_name.setdefault(name, set()).add(place)
        if sources:
            self._named[place] = sources
        if sensor is None or is_true(sensor, DEPENDENCIES_PROVIDED):
            self._unsettled[place.namespace].discard(place)
        else:
            self._unsettled[place.namespace].add(place)

    def sources(self, namespace: str) -> list[str]:
        """The event sources that are named in a namespace."""
        return sorted(self._naming[namespace])

    def of(self, namespace: str, source: str) -> list[Place]:
        """The Sensors that name this event source."""
        return sorted(self._naming[namespace].get(source, ()))

    def unsettled(self, namespace: str) -> list[Place]:
        """Those of which it is not said that all that they wait for is there."""
        return sorted(self._unsettled[namespace])


def waited_for(sensor: Object) -> set[str]:
    """The event sources that a Sensor names, also an invalid one."""
    dependencies = (sensor.get("spec") or {}).get("dependencies")
    return {
        str(one.get("eventSourceName"))
        for one in (dependencies if isinstance(dependencies, list) else ())
        if isinstance(one, dict)
    }
