"""What a trigger says of its actions (``forEach``, ``emit``) and cannot mean."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from argosy.manifests._bundle import Bundle, Key
from argosy.manifests.checks._walk import condition_or_none, each_trigger, holds_without, sensors_by_key
from argosy.manifests.findings import Loc, Problem
from argosy.manifests.sensor import Sensor, TriggerBlock
from argosy.manifests.spelling import did_you_mean


def check(bundle: Bundle) -> Iterator[tuple[Key, Problem]]:
    """Blocks that could never do what they say."""
    for key, sensor in sensors_by_key(bundle):
        names = [dependency.name for dependency in sensor.dependencies]
        for index, trigger in enumerate(sensor.spec.triggers):
            for problem in _trigger(trigger, names):
                yield key, problem.inside("spec", "triggers", index)
    yield from _emitted_by_others(bundle)
    yield from _loops(bundle)


def _trigger(trigger: TriggerBlock, names: list[str]) -> Iterator[Problem]:
    if trigger.dlq_trigger is not None and trigger.dlq_trigger.for_each is not None:
        text = "a dead-letter trigger runs for each dead letter; it has no 'forEach'"
        yield Problem("for-each-amiss", text, ("dlqTrigger", "forEach"), at_key=True)
    if trigger.for_each is not None:
        yield from _for_each(trigger, names)


def _for_each(trigger: TriggerBlock, names: list[str]) -> Iterator[Problem]:
    block = trigger.for_each
    assert block is not None
    if block.item in names:
        text = f"the element would be called '{block.item}', as a dependency is; give it another name with 'item'"
        yield Problem("for-each-amiss", text, ("forEach",), at_key=True)
    condition = condition_or_none(trigger.template, names)
    if condition is None:
        return
    wanted, at = block.dependency_name, ("forEach", "dependencyName")
    if not wanted and len(condition.names) > 1:
        text = "the trigger waits for several dependencies; say with 'dependencyName' in whose event the array stands"
        yield Problem("for-each-amiss", text, ("forEach",), at_key=True)
    elif wanted and wanted not in condition.names:
        what = "no dependency of this sensor" if wanted not in names else "not part of the trigger's condition"
        yield Problem("for-each-amiss", f"'{wanted}' is {what}{did_you_mean(wanted, condition.names)}", at)
    elif wanted and holds_without(condition, wanted):
        text = f"the condition may hold without '{wanted}', and then there is no array and nothing is done"
        yield Problem("for-each-amiss", text, at, "warning")


def _emitted_by_others(bundle: Bundle) -> Iterator[tuple[Key, Problem]]:
    """Events that an EventSource has too: those who depend on them get both."""
    for key, sensor in sensors_by_key(bundle):
        for loc, trigger in each_trigger(sensor):
            if trigger.emit is None:
                continue
            source, name = trigger.emit.pair(sensor.metadata.name, trigger.name)
            found = bundle.event_source(sensor.metadata.namespace, source)
            if found is not None and name in found.event_names:
                text = f"EventSource '{source}' has an event '{name}' too; who depends on it gets both"
                yield key, Problem("emit-amiss", text, (*loc, "emit"), "warning", True)


_Event = tuple[str, str, str, str]
"""Namespace, bus, source and name."""


class _Link(NamedTuple):
    """A trigger that emits: what it takes in, and what it gives out."""

    key: Key
    loc: Loc
    takes: frozenset[_Event]
    gives: _Event


def _loops(bundle: Bundle) -> Iterator[tuple[Key, Problem]]:
    """Triggers that cause themselves, by the event that they emit or by way of others."""
    links = [link for key, sensor in sensors_by_key(bundle) for link in _links(key, sensor)]
    led_to: dict[_Event, set[_Event]] = defaultdict(set)
    for link in links:
        for taken in link.takes:
            led_to[taken].add(link.gives)
    for link in links:
        reached, left = {link.gives}, [link.gives]
        while left:
            fresh = led_to[left.pop()] - reached
            reached |= fresh
            left += fresh
        if reached & link.takes:
            text = (
                f"the event '{link.gives[2]}/{link.gives[3]}' that is emitted here leads back to this trigger; unless a filter"
                " ends the loop, 'maxDepth' does, with a dead letter"
            )
            yield link.key, Problem("emit-loop", text, (*link.loc, "emit"), "warning", True)


def _links(key: Key, sensor: Sensor) -> Iterator[_Link]:
    names = [dependency.name for dependency in sensor.dependencies]
    space, bus = sensor.metadata.namespace, sensor.event_bus_name
    for loc, trigger in each_trigger(sensor):
        if trigger.emit is None:
            continue
        condition = condition_or_none(sensor.spec.triggers[int(loc[2])].template, names)
        if condition is None:
            continue
        takes = frozenset(
            (space, bus, one.event_source_name, one.event_name)
            for one in sensor.dependencies
            if one.name in condition.names
        )
        yield _Link(key, loc, takes, (space, bus, *trigger.emit.pair(sensor.metadata.name, trigger.name)))
