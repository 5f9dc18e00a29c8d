"""Names that lead from one object to another: event sources, events, buses; and names that nobody uses.

An object that is named and is not there is mostly a warning, because a set of manifests need not be
complete; it is an error where the name is so near to another that it can only be a slip, and a note where
the set holds nothing of the kind at all.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from argosy.manifests._bundle import Bundle, Key
from argosy.manifests.checks._walk import each_trigger, key_of
from argosy.manifests.eventsource import EventSource
from argosy.manifests.findings import Loc, Problem, Severity
from argosy.manifests.sensor import Sensor
from argosy.manifests.spelling import did_you_mean, is_slip

_ROUTING = ". *>"
"""Characters that mean something in the bus's subjects; upstream's routing breaks on them, ours does not."""


def check(bundle: Bundle) -> Iterator[tuple[Key, Problem]]:
    """Names that lead nowhere, to another bus, or from nowhere."""
    used = {
        (sensor.metadata.namespace, dependency.event_source_name, dependency.event_name)
        for sensor in bundle.sensors
        for dependency in sensor.dependencies
    }
    unsure = set(_unsure(bundle))
    buses: dict[str, list[str]] = defaultdict(list)
    for key in bundle.origins:
        if key.kind == "EventBus":
            buses[key.namespace].append(key.name)
    declared: dict[str, dict[str, set[str]]] = defaultdict(dict)
    for (space, name), events in bundle.declared.items():
        declared[space][name] = events
    written = {key_of(source): source.event_bus_name for source in bundle.event_sources}
    for sensor in bundle.sensors:
        for _, trigger in each_trigger(sensor):
            if trigger.emit is not None:
                emitted, _ = trigger.emit.pair(sensor.metadata.name, trigger.name)
                written.setdefault(Key("EventSource", sensor.metadata.namespace, emitted), sensor.event_bus_name)
    for source in bundle.event_sources:
        unused = () if source.metadata.namespace in unsure else _unused(source, used)
        for problem in (*_routing(source), *_bus(source, buses[source.metadata.namespace], bundle.whole), *unused):
            yield key_of(source), problem
    for sensor in bundle.sensors:
        space = sensor.metadata.namespace
        whole = "EventSource" in bundle.whole
        for problem in (
            *_bus(sensor, buses[space], bundle.whole),
            *dependencies(sensor, declared, written, whole=whole),
        ):
            yield key_of(sensor), problem


def _routing(source: EventSource) -> Iterator[Problem]:
    text = "contains a character of the bus's routing; Argosy encodes it, upstream loses its events"
    if set(source.metadata.name) & set(_ROUTING):
        yield Problem("routing-name", f"'{source.metadata.name}' {text}", ("metadata", "name"), "info")
    for event in source.events:
        if set(event.name) & set(_ROUTING):
            loc = ("spec", event.kind, event.name)
            yield Problem("routing-name", f"'{event.name}' {text}", loc, "info", True)


def _bus(one: EventSource | Sensor, names: list[str], whole: frozenset[str]) -> Iterator[Problem]:
    space = one.metadata.namespace
    if one.event_bus_name in names:
        return
    if "EventBus" in whole or (one.spec.event_bus_name and names):
        near = did_you_mean(one.event_bus_name, names)
        text = f"there is no EventBus '{one.event_bus_name}' in namespace '{space}'{near}"
        loc = ("spec", "eventBusName") if one.spec.event_bus_name else ("spec",)
        yield Problem("unknown-event-bus", text, loc, "warning")


def _unsure(bundle: Bundle) -> Iterator[str]:
    """The namespaces in which nobody knows who listens to what: those without sensors, and those where one has an
    error, or a name that leads nowhere and may have been meant for any event.
    """
    read: dict[str, int] = Counter(sensor.metadata.namespace for sensor in bundle.sensors)
    there: dict[str, int] = Counter(key.namespace for key in bundle.origins if key.kind == "Sensor")
    yield from (source.metadata.namespace for source in bundle.event_sources if not read[source.metadata.namespace])
    yield from (space for space, number in there.items() if read[space] < number)
    for sensor in bundle.sensors:
        space = sensor.metadata.namespace
        for dependency in sensor.dependencies:
            if dependency.event_name not in bundle.declared.get((space, dependency.event_source_name), ()):
                yield space


def _unused(source: EventSource, used: set[tuple[str, str, str]]) -> Iterator[Problem]:
    space, name = source.metadata.namespace, source.metadata.name
    places: dict[str, Loc] = {event.name: ("spec", event.kind, event.name) for event in source.events}
    idle = [event for event in places if (space, name, event) not in used]
    if idle and len(idle) == len(places):
        text = f"no sensor in namespace '{space}' waits for an event of this source"
        yield Problem("unused-event", text, ("metadata", "name"), "info")
        return
    for event in idle:
        text = f"no sensor in namespace '{space}' waits for event '{event}'"
        yield Problem("unused-event", text, places[event], "info", True)


def dependencies(
    sensor: Sensor, declared: dict[str, dict[str, set[str]]], written: dict[Key, str], *, whole: bool = False
) -> Iterator[Problem]:
    """Events that the sensor waits for and nobody gives it. ``declared`` are the events of each event source by namespace,
    ``written`` the bus that each writes to; ``whole``: there are no other event sources.
    """
    space = sensor.metadata.namespace
    known = declared[space]
    for index, dependency in enumerate(sensor.dependencies):
        name, event = dependency.event_source_name, dependency.event_name
        at = ("spec", "dependencies", index)
        if name not in known:
            yield _no_source(declared, name, space, (*at, "eventSourceName"), whole=whole)
        elif event not in known[name]:
            near = did_you_mean(event, known[name])
            text = f"EventSource '{name}' has no event '{event}'{near}"
            severity: Severity = "error" if is_slip(event, known[name]) else "warning"
            yield Problem("unknown-event", text, (*at, "eventName"), severity)
        else:
            bus = written.get(Key("EventSource", space, name), sensor.event_bus_name)
            if bus != sensor.event_bus_name:
                text = (
                    f"EventSource '{name}' writes to bus '{bus}' and this sensor reads"
                    f" '{sensor.event_bus_name}', so no event of it arrives"
                )
                yield Problem("other-bus", text, (*at, "eventSourceName"), "warning")


def _no_source(declared: dict[str, dict[str, set[str]]], name: str, space: str, loc: Loc, *, whole: bool) -> Problem:
    known = declared[space]
    elsewhere = sorted(where for where, others in declared.items() if name in others)
    if is_slip(name, known):
        severity: Severity = "error"
    else:
        severity = "warning" if whole or any(declared.values()) else "info"
    if elsewhere and severity != "error":
        also = f"; there is one in namespace '{elsewhere[0]}', and a sensor hears only its own namespace"
    else:
        also = did_you_mean(name, known)
    return Problem(
        "unknown-event-source", f"there is no EventSource '{name}' in namespace '{space}'{also}", loc, severity
    )
