"""JSON Schema of the manifests, made from the same models that read them, for editors and other tools.

A schema knows the fields of every kind that the registries hold, plug-ins of third parties included. It
cannot say what spans several fields; ``argosy lint`` can. Fields of Argosy that upstream does not have carry
``x-argosy``.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from argosy import registry
from argosy.errors import ConfigError
from argosy.manifests.eventbus import EventBusSpec
from argosy.manifests.eventsource import EventSourceSpec
from argosy.manifests.fields import Metadata
from argosy.manifests.objects import API_VERSION
from argosy.manifests.remarks import Described
from argosy.manifests.sensor import MISPLACED, SensorSpec, TriggerBlock, TriggerTemplate

Kind = Literal["EventSource", "EventBus", "Sensor"]
KINDS: tuple[Kind, ...] = ("EventSource", "EventBus", "Sensor")
"""The kinds that have a schema."""

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(kind: Kind) -> dict[str, Any]:
    """The schema of one kind of manifest."""
    built, definitions = _built((kind,))
    return {"$schema": _DIALECT, **built[kind], "$defs": definitions}


def schema_of_all() -> dict[str, Any]:
    """One schema for files that hold any of the kinds; other Kubernetes objects pass."""
    built, definitions = _built(KINDS)
    choices = [
        {
            "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
            "then": {"$ref": f"#/$defs/{kind}"},
        }
        for kind in KINDS
    ]
    return {
        "$schema": _DIALECT,
        "title": "Argosy manifests",
        "type": "object",
        "allOf": choices,
        "$defs": {**definitions, **built},
    }


def _built(kinds: tuple[Kind, ...]) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    sources = _configs(registry.source_kinds(), registry.source) if "EventSource" in kinds else {}
    triggers = _configs(registry.trigger_kinds(), registry.trigger) if "Sensor" in kinds else {}
    specs: dict[str, type[BaseModel]] = {
        "EventSource": EventSourceSpec,
        "EventBus": EventBusSpec,
        "Sensor": SensorSpec,
    }
    models: list[type[BaseModel]] = [
        Metadata,
        *(specs[kind] for kind in kinds),
        *sources.values(),
        *triggers.values(),
    ]
    if "Sensor" in kinds:
        models += [TriggerTemplate, TriggerBlock]
    mode: JsonSchemaMode = "validation"
    references, whole = models_json_schema(
        [(model, mode) for model in dict.fromkeys(models)], by_alias=True, schema_generator=Described
    )
    definitions: dict[str, Any] = whole["$defs"]

    def reference(model: type[BaseModel]) -> dict[str, Any]:
        return references[model, mode]

    def definition(model: type[BaseModel]) -> dict[str, Any]:
        found: dict[str, Any] = definitions[reference(model)["$ref"].rpartition("/")[2]]
        return found

    if "EventSource" in kinds:
        fields = definition(EventSourceSpec)["properties"]
        for name, model in sources.items():
            fields[name] = {"type": "object", "additionalProperties": reference(model)}
        fields["type"] = {"deprecated": True}
    if "Sensor" in kinds:
        template = definition(TriggerTemplate)
        for name, model in triggers.items():
            template["properties"][name] = reference(model)
        template["anyOf"] = [{"required": [name]} for name in triggers]
        beside = definition(TriggerBlock)["properties"]
        template["properties"].update({name: {**beside[name], "deprecated": True} for name in MISPLACED})
    return {kind: _manifest(kind, reference(Metadata), reference(specs[kind])) for kind in kinds}, definitions


def _manifest(kind: str, metadata: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "title": kind,
        "type": "object",
        "properties": {
            "apiVersion": {"const": API_VERSION},
            "kind": {"const": kind},
            "metadata": metadata,
            "spec": spec,
            "status": {"type": "object"},
        },
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": False,
    }


def _configs(kinds: list[str], load: Any) -> dict[str, type[BaseModel]]:
    """The config model of each kind; a plug-in that cannot be imported has none."""
    found: dict[str, type[BaseModel]] = {}
    for kind in kinds:
        try:
            plugin = load(kind)
        except ConfigError:
            continue
        if plugin is not None:
            found[kind] = plugin.config
    return found
