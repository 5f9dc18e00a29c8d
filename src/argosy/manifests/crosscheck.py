"""What one manifest says about another: names that lead nowhere, two events on one address, lost secrets.

Runs over a whole Bundle after every object was read by itself. An object that is named and is not there is
mostly a warning, because a set of manifests need not be complete; it is an error where the name is so near to
another that it can only be a slip.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from argosy.manifests._bundle import Bundle, Key
from argosy.manifests._programs import check_programs, each_trigger
from argosy.manifests.eventsource import EventSource
from argosy.manifests.fields import ConfigMapKeySelector, SecretKeySelector
from argosy.manifests.findings import Loc, Problem, Severity, did_you_mean, is_slip
from argosy.manifests.sensor import Sensor

_ROUTING = ". *>"
"""Characters that mean something in the bus's subjects; upstream's routing breaks on them, ours does not."""


def crosscheck(bundle: Bundle) -> Iterator[tuple[Key, Problem]]:
    """Everything that can only be said with all manifests in view, with the object that it is about."""
    endpoints: dict[tuple[str, str], tuple[Key, str]] = {}
    for source in bundle.event_sources:
        key = Key("EventSource", source.metadata.namespace, source.metadata.name)
        problems = [*_source(source), *_endpoints(source, key, endpoints), *_bus(bundle, source)]
        for event in source.events:
            at = ("spec", event.kind, event.name)
            problems += _references(bundle, key.namespace, event.config, at)
        yield from ((key, problem) for problem in problems)
    for sensor in bundle.sensors:
        key = Key("Sensor", sensor.metadata.namespace, sensor.metadata.name)
        problems = [*check_programs(sensor), *_dependencies(bundle, sensor), *_bus(bundle, sensor)]
        for loc, trigger in each_trigger(sensor):
            if trigger.config:
                problems += _references(bundle, key.namespace, trigger.config, (*loc, "template", trigger.kind))
                problems += _templates(bundle, key.namespace, trigger.config_raw, (*loc, "template", trigger.kind))
        yield from ((key, problem) for problem in problems)
    for bus in bundle.event_buses:
        key = Key("EventBus", bus.metadata.namespace, bus.metadata.name)
        yield from ((key, problem) for problem in _references(bundle, key.namespace, bus.spec, ("spec",)))


def _source(source: EventSource) -> Iterator[Problem]:
    text = "contains a character of the bus's routing; Argosy encodes it, upstream loses its events"
    if set(source.metadata.name) & set(_ROUTING):
        yield Problem("routing-name", f"'{source.metadata.name}' {text}", ("metadata", "name"), "info")
    for event in source.events:
        if set(event.name) & set(_ROUTING):
            loc = ("spec", event.kind, event.name)
            yield Problem("routing-name", f"'{event.name}' {text}", loc, "info", True)


def _endpoints(source: EventSource, key: Key, seen: dict[tuple[str, str], tuple[Key, str]]) -> Iterator[Problem]:
    for event in source.events:
        block: Any = event.config if hasattr(event.config, "endpoint") else getattr(event.config, "webhook", None)
        port, endpoint = getattr(block, "port", None), getattr(block, "endpoint", None)
        if not (isinstance(port, str) and isinstance(endpoint, str)):
            continue
        address = (port, "/" + endpoint.strip("/"))
        if address in seen:
            other, name = seen[address]
            same = other == key
            where = f"event '{name}'" if same else f"event '{name}' of {other}"
            text = f"port {port} with {address[1]} is taken by {where} already"
            severity: Severity = "error" if same else "warning"
            advice = "" if same else "; in one process only one of them receives"
            loc = ("spec", event.kind, event.name)
            yield Problem("duplicate-endpoint", text + advice, loc, severity, True)
        seen.setdefault(address, (key, event.name))


def _bus(bundle: Bundle, one: EventSource | Sensor) -> Iterator[Problem]:
    space = one.metadata.namespace
    names = [key.name for key in bundle.origins if key.kind == "EventBus" and key.namespace == space]
    if one.spec.event_bus_name and names and one.event_bus_name not in names:
        near = did_you_mean(one.event_bus_name, names)
        text = f"there is no EventBus '{one.event_bus_name}' in namespace '{space}'{near}"
        yield Problem("unknown-event-bus", text, ("spec", "eventBusName"), "warning")


def _dependencies(bundle: Bundle, sensor: Sensor) -> Iterator[Problem]:
    space = sensor.metadata.namespace
    known = {name: events for (where, name), events in bundle.declared.items() if where == space}
    for index, dependency in enumerate(sensor.dependencies):
        name, event = dependency.event_source_name, dependency.event_name
        at = ("spec", "dependencies", index)
        if name not in known:
            near = did_you_mean(name, known)
            elsewhere = sorted(where for where, other in bundle.declared if other == name)
            also = f"; one in namespace '{elsewhere[0]}' counts only there" if elsewhere else ""
            text = f"there is no EventSource '{name}' in namespace '{space}'{near or also}"
            severity: Severity = "error" if is_slip(name, known) else "warning"
            yield Problem("unknown-event-source", text, (*at, "eventSourceName"), severity)
        elif event not in known[name]:
            near = did_you_mean(event, known[name])
            text = f"EventSource '{name}' has no event '{event}'{near}"
            severity = "error" if is_slip(event, known[name]) else "warning"
            yield Problem("unknown-event", text, (*at, "eventName"), severity)


def _references(bundle: Bundle, namespace: str, block: object, loc: Loc) -> Iterator[Problem]:
    """Secret and ConfigMap keys that a block names and the bundle does not have."""
    if isinstance(block, SecretKeySelector | ConfigMapKeySelector):
        yield from _reference(bundle, namespace, block, loc)
    elif isinstance(block, BaseModel):
        for name, info in type(block).model_fields.items():
            yield from _references(bundle, namespace, getattr(block, name), (*loc, info.alias or name))
    elif isinstance(block, list | tuple):
        for index, item in enumerate(block):
            yield from _references(bundle, namespace, item, (*loc, index))
    elif isinstance(block, dict):
        for name, item in block.items():
            if isinstance(item, BaseModel):
                yield from _references(bundle, namespace, item, (*loc, name))


def _reference(
    bundle: Bundle, namespace: str, selector: SecretKeySelector | ConfigMapKeySelector, loc: Loc
) -> Iterator[Problem]:
    secret = isinstance(selector, SecretKeySelector)
    kind, held = ("Secret", bundle.secrets) if secret else ("ConfigMap", bundle.config_maps)
    if selector.optional:
        return
    names = [name for where, name in held if where == namespace]
    severity: Severity = "warning" if names else "info"
    values = held.get((namespace, selector.name))
    if values is None:
        near = did_you_mean(selector.name, names)
        text = f"{kind} '{selector.name}' is not among these manifests{near}"
        yield Problem("unknown-reference", text, loc, severity)
    elif selector.key not in values:
        near = did_you_mean(selector.key, values)
        text = f"{kind} '{selector.name}' has no key '{selector.key}'{near}"
        yield Problem("unknown-reference", text, (*loc, "key"), severity)


def _templates(bundle: Bundle, namespace: str, block: dict[str, Any], loc: Loc) -> Iterator[Problem]:
    """A workflow that a trigger makes from a WorkflowTemplate which the manifests should have and do not."""
    source = block.get("source")
    resource = source.get("resource") if isinstance(source, dict) else None
    if not isinstance(resource, dict) or resource.get("kind") != "Workflow":
        return
    spec, metadata = resource.get("spec"), resource.get("metadata")
    reference = spec.get("workflowTemplateRef") if isinstance(spec, dict) else None
    if not isinstance(reference, dict) or not isinstance(name := reference.get("name"), str):
        return
    written = [entry.get("dest") for entry in block.get("parameters") or () if isinstance(entry, dict)]
    if any(isinstance(dest, str) and dest.startswith("spec.workflowTemplateRef") for dest in written):
        return
    own = metadata.get("namespace") if isinstance(metadata, dict) else None
    space = own if isinstance(own, str) else namespace
    kind = "ClusterWorkflowTemplate" if reference.get("clusterScope") is True else "WorkflowTemplate"
    peers = [one.metadata.name for one in bundle.workflow_templates if one.kind == kind]
    if peers and bundle.workflow_template(space, name, kind) is None:
        text = f"{kind} '{name}' is not among these manifests{did_you_mean(name, peers)}"
        at = (*loc, "source", "resource", "spec", "workflowTemplateRef", "name")
        yield Problem("unknown-workflow-template", text, at, "warning")
