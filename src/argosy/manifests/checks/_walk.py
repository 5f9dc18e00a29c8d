"""The parts of a bundle that checks look at, with their places: objects, triggers, parameters."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from pydantic import BaseModel

from argosy.errors import LangError
from argosy.lang.conditions import Condition
from argosy.manifests._bundle import Bundle, Key
from argosy.manifests._collecting import condition_of
from argosy.manifests.artifacts import ArtifactLocation
from argosy.manifests.eventbus import EventBus
from argosy.manifests.eventsource import EventSource
from argosy.manifests.fields import (
    ConfigMapKeySelector,
    SecretKeySelector,
    TriggerParameter,
    TriggerParameterSource,
)
from argosy.manifests.findings import Loc
from argosy.manifests.sensor import Sensor, TriggerSpec, TriggerTemplate
from argosy.triggers._rights import held


def key_of(one: EventSource | EventBus | Sensor) -> Key:
    """The object's name among all objects."""
    return Key(one.kind, one.metadata.namespace, one.metadata.name)


def each_trigger(sensor: Sensor) -> Iterator[tuple[Loc, TriggerSpec]]:
    """Every trigger that can run with its place in the object, dead-letter triggers included."""
    places = {trigger.template.name: index for index, trigger in enumerate(sensor.spec.triggers)}
    for trigger in sensor.triggers:
        loc: Loc = ("spec", "triggers", places[trigger.name])
        one: TriggerSpec | None = trigger
        while one:
            yield loc, one
            loc, one = (*loc, "dlqTrigger"), one.dlq_trigger


def condition_or_none(template: TriggerTemplate, names: Collection[str]) -> Condition | None:
    """The trigger's condition; None where it does not parse, which ``argosy.manifests.checks.programs`` says."""
    try:
        return condition_of(template, names)
    except LangError:
        return None


def holds_without(condition: Condition, name: str) -> bool:
    """Whether the condition can hold although there is no event of this dependency of it."""
    return condition.evaluate([other for other in condition.names if other != name])


def each_parameter(trigger: TriggerSpec) -> Iterator[tuple[Loc, TriggerParameter]]:
    """Every parameter of a trigger with its place in the trigger: its own, and those of its kind's block."""
    for index, parameter in enumerate(trigger.parameters):
        yield ("parameters", index), parameter
    for attribute, name in (
        ("parameters", "parameters"),
        ("payload", "payload"),
        ("dynamic_headers", "dynamicHeaders"),
        ("path_parameters", "pathParameters"),
        ("query_parameters", "queryParameters"),
    ):
        entries = getattr(trigger.config, attribute, None)
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            if isinstance(entry, TriggerParameter):
                yield ("template", trigger.kind, name, index), entry


def each_source(trigger: TriggerSpec) -> Iterator[tuple[Loc, TriggerParameterSource]]:
    """Every source of a value with its place in the trigger: those of parameters, and the keys of queue, batch and debounce."""
    for loc, parameter in each_parameter(trigger):
        yield (*loc, "src"), parameter.src
    for word, block in (("queue", trigger.queue), ("batch", trigger.batch), ("debounce", trigger.debounce)):
        if block is not None and block.key is not None:
            yield (word, "key"), block.key


class Held(NamedTuple):
    """An object that a trigger holds in its manifest. ``loc`` is its place in the trigger, and ``inline`` says
    that it stands there as text, so that there is no place inside it."""

    loc: Loc
    body: dict[str, Any]
    inline: bool

    def place(self, *inside: str | int) -> Loc:
        """The place of something inside the object, as near as it can be shown."""
        return self.loc if self.inline else (*self.loc, *inside)


def held_object(trigger: TriggerSpec) -> Held | None:
    """The object that the trigger is about, where the manifest itself holds it."""
    source = getattr(trigger.config, "source", None)
    if not isinstance(source, ArtifactLocation):
        return None
    found = held(source)
    if found is None:
        return None
    word, body = found
    return Held(("template", trigger.kind, "source", word), body, word == "inline")


Selector = SecretKeySelector | ConfigMapKeySelector
"""A key of a Secret or of a ConfigMap."""


def each_selector(block: object, loc: Loc = ()) -> Iterator[tuple[Loc, Selector]]:
    """Every key of a Secret or ConfigMap that a configuration names, with its place below ``loc``."""
    if isinstance(block, SecretKeySelector | ConfigMapKeySelector):
        yield loc, block
    elif isinstance(block, BaseModel):
        for name, info in type(block).model_fields.items():
            yield from each_selector(getattr(block, name), (*loc, info.alias or name))
    elif isinstance(block, list | tuple):
        for index, item in enumerate(block):
            yield from each_selector(item, (*loc, index))
    elif isinstance(block, dict):
        for name, item in block.items():
            yield from each_selector(item, (*loc, name))


def mapping(value: Any, *path: str) -> dict[str, Any]:
    """The mapping at ``path`` inside ``value``; an empty one where there is none."""
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def says_namespace(raw: dict[str, Any]) -> bool:
    """Whether the object names its namespace; one that does not gets it from kubectl or kustomize."""
    return bool(mapping(raw, "metadata").get("namespace"))


def sensors_by_key(bundle: Bundle) -> Iterator[tuple[Key, Sensor]]:
    """Every valid Sensor with its key."""
    for sensor in bundle.sensors:
        yield key_of(sensor), sensor
