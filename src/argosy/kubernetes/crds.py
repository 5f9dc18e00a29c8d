"""The CustomResourceDefinitions of EventSource, EventBus and Sensor, made from the models that read the manifests.

Group, version, names and short names are upstream's, so that both read the same objects. The schemas are structural
(Kubernetes documentation, "Specifying a structural schema"): the API server refuses what has another type than the models
want, a word that is not among those of an enum, or lacks what is required, and ``kubectl explain`` shows what the models say.

Three things are left out on purpose, because they would change what somebody has written:

* Defaults are told in descriptions and not set: an object comes back as it was applied.
* Unknown fields are kept. The API server would drop them before admission sees them, and a misspelt field would be gone
  silently where the webhook says "did you mean"; the fields of kinds that plug-ins add later would be gone, too.
* Inside a trigger's block nothing is required and no text has a least length: the trigger's own parameters may write it.

A required field whose name is written in other upper and lower case counts as missing, as it does for upstream.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from argosy import registry
from argosy.errors import ConfigError
from argosy.manifests import schema
from argosy.manifests.schema import Kind

_GROUP, _VERSION = "argoproj.io", "v1alpha1"
_NAMES: dict[Kind, tuple[str, str, str]] = {
    "EventBus": ("eventbus", "eventbus", "eb"),
    "EventSource": ("eventsources", "eventsource", "es"),
    "Sensor": ("sensors", "sensor", "sn"),
}
"""Plural, singular and short name, as upstream has them (``manifests/base/crds``)."""
_ANY = {"x-kubernetes-preserve-unknown-fields": True}
_KEPT = ("pattern", "minimum", "maximum", "minItems", "maxItems", "minLength", "maxLength", "minProperties", "enum")
_LEAST = ("minLength", "minItems", "minProperties", "minimum", "pattern")
_DEPTH = 2
"""How often a model is written out inside itself."""
_EXCLUSIVE = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}
"""A bound of its own in JSON Schema, a flag beside the other bound in a structural one."""
_LINK = re.compile(r"\[([^\]]+)\]\([^)\s]+\)")
"""A link of the pages, which leads nowhere from a terminal."""
Schema = dict[str, Any]


KINDS: tuple[Kind, ...] = tuple(_NAMES)
"""The kinds that have a definition."""


def definitions() -> list[Schema]:
    """The three objects, ready to apply. They hold the kinds of all plug-ins that are installed."""
    return [definition(kind) for kind in KINDS]


def definition(kind: Kind) -> Schema:
    """The CustomResourceDefinition of one kind."""
    plural, singular, short = _NAMES[kind]
    built = schema.schema(kind)
    spec = _Structural(built["$defs"]).of(built["properties"]["spec"])
    if kind == "EventSource":
        for name, about in _plugins(registry.source_kinds(), registry.source):
            spec["properties"][name]["description"] = f"{about} The key is the event's name."
    root = {
        "type": "object",
        "description": _ABOUT[kind],
        "required": ["metadata", "spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": _status(kind),
        },
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{_GROUP}"},
        "spec": {
            "group": _GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": singular,
                "shortNames": [short],
            },
            "versions": [
                {
                    "name": _VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": root},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": list(_columns(kind)),
                }
            ],
        },
    }


def _plugins(kinds: list[str], load: Callable[[str], Any]) -> Iterator[tuple[str, str]]:
    """What each kind is, by its name; those that cannot be imported have no schema either."""
    for kind in kinds:
        try:
            plugin = load(kind)
        except ConfigError:
            continue
        if plugin is not None:
            yield kind, " ".join((inspect.getdoc(plugin) or "").partition("\n\n")[0].split())


# The schema of a spec


class _Structural:
    """Turns the JSON Schema of the models into a structural one: references put in, alternatives joined."""

    def __init__(self, found: dict[str, Schema]) -> None:
        self._found = found
        self._within: list[str] = []
        self._kinds = dict(_plugins(registry.trigger_kinds(), registry.trigger))

    def of(self, given: Schema, *, open: bool = False) -> Schema:
        """``open``: what is required may be written later."""
        if reference := given.get("$ref"):
            name = reference.rpartition("/")[2]
            return self._named(name, given, open=open)
        made = self._typed(given, open=open)
        text = _description(given) or made.pop("description", "")
        # What a reader looks for comes first.
        first = {"type": made.pop("type")} if "type" in made else {}
        return {**first, **({"description": text} if text else {}), **made}

    def _named(self, name: str, given: Schema, *, open: bool) -> Schema:
        if self._within.count(name) == _DEPTH:
            # A structural schema has no references, so what holds itself (a dead-letter trigger) ends somewhere.
            return {**_ANY, "type": "object", "description": "As the field of this name above."}
        self._within.append(name)
        try:
            return self.of(
                {**self._found[name], **{key: one for key, one in given.items() if key != "$ref"}}, open=open
            )
        finally:
            self._within.pop()

    def _typed(self, given: Schema, *, open: bool) -> Schema:
        for word in ("anyOf", "oneOf"):
            if alternatives := [
                one for one in given.get(word, ()) if one.get("type") != "null" and set(one) != {"required"}
            ]:
                return self._joined(alternatives, open=open)
        if "const" in given:
            given = {**given, "enum": [given["const"]]}
        match given.get("type"):
            case "object":
                made = self._object(given, open=open)
            case "array":
                made = {"type": "array", "items": self.of(given.get("items") or {}, open=open)}
            case "string" | "integer" | "number" | "boolean" as kind:
                made = {"type": kind}
            case _:
                return dict(_ANY)
        made |= {key: given[key] for key in _KEPT if key in given and not (open and key in _LEAST)}
        for word, bound in _EXCLUSIVE.items():
            if word in given and not open:
                made |= {bound: given[word], word: True}
        return made

    def _joined(self, alternatives: list[Schema], *, open: bool) -> Schema:
        if len(alternatives) == 1:
            return self.of(alternatives[0], open=open)
        types = {one.get("type") for one in alternatives}
        if types == {"integer", "string"}:
            return {"x-kubernetes-int-or-string": True}
        # Other mixtures have no structural form.
        return dict(_ANY)

    def _object(self, given: Schema, *, open: bool) -> Schema:
        properties, further = given.get("properties"), given.get("additionalProperties")
        if properties is None:
            if isinstance(further, dict) and further:
                inner = self.of(further, open=open)
                if set(inner) - {"description"} != set(_ANY):
                    _nullable(inner)  # else the API server drops the key with its null
                    return {"type": "object", "additionalProperties": inner}
            return {"type": "object", **_ANY}
        required = set() if open else set(given.get("required", ()))
        fields = {}
        for name, one in sorted(properties.items()):
            kind = self._kinds.get(name) if given.get("title") == "TriggerTemplate" else None
            fields[name] = self.of(one, open=open or kind is not None)
            if kind:
                fields[name]["description"] = kind
            if name not in required:
                _nullable(fields[name])
        made: Schema = {"type": "object", "properties": fields, **_ANY}
        if required:
            made["required"] = sorted(required)
        return made


def _nullable(made: Schema) -> None:
    """A field that says nothing is the same as one that is not there, as upstream reads it."""
    made["nullable"] = True
    words = made.get("enum")
    if not words:
        return
    # The API server holds null against an enum, but not against a pattern or a range.
    if all(isinstance(word, str) for word in words):
        made["pattern"] = f"^({'|'.join(re.escape(word) for word in words)})$"
    elif sorted(words) == list(range(min(words), max(words) + 1)):
        made["minimum"], made["maximum"] = min(words), max(words)
    else:
        return
    del made["enum"]
    told = ", ".join(str(word) if word != "" else "nothing" for word in words)
    made["description"] = f"{made.get('description', '')} One of: {told}.".strip()


def _description(given: Schema) -> str:
    text = _LINK.sub(r"\1", " ".join(str(given.get("description") or "").split()))
    if given.get("x-argosy") and "(ours)" not in text:
        text = f"{text} Argo Events does not have this field."
    if given.get("deprecated"):
        text = f"{text} It belongs elsewhere, or has no effect any more."
    default = given.get("default")
    if isinstance(default, str | int | float) and default not in ("", False):
        text = f"{text} Default: {json.dumps(default)}."
    return text.strip()


# The rest of an object

_ABOUT: dict[Kind, str] = {
    "EventBus": "Where events and actions are kept: the engine, and how it is reached or installed.",
    "EventSource": "Receives from the outside world and puts what it receives on the bus, as events.",
    "Sensor": "Waits for events, decides by filters and conditions, and runs triggers.",
}
_CONDITIONS: Schema = {
    "type": "array",
    "description": "How it stands, by aspect.",
    "items": {
        "type": "object",
        **_ANY,
        "properties": {
            "type": {"type": "string", "description": "The aspect, such as Deployed; Ready sums up all of them."},
            "status": {"type": "string", "description": "True, False or Unknown."},
            "reason": {"type": "string", "description": "One word for why."},
            "message": {"type": "string", "description": "A sentence for people."},
            "lastTransitionTime": {"type": "string", "nullable": True, "description": "When it last changed."},
        },
    },
    "nullable": True,
}


_SERVED: dict[str, Schema] = {
    "mode": {"type": "string", "description": "Who serves it: dedicated (pods of its own) or shared (a runner)."},
    "lastError": {
        "type": "object",
        **_ANY,
        "description": "What last went wrong, as its pods tell.",
        "properties": {
            "time": {"type": "string", "description": "When."},
            "message": {"type": "string", "description": "A sentence for people."},
        },
    },
    "backlog": {
        "type": "integer",
        "description": "What waits on the bus for its triggers.",
    },
}


def _status(kind: Kind) -> Schema:
    told: dict[str, Schema] = {
        "EventBus": {
            "config": {
                "type": "object",
                **_ANY,
                "description": "How the bus is reached, for pods and for other controllers: jetstream or kafka.",
            },
        },
        "EventSource": {
            "events": {"type": "integer", "description": "How many events it has."},
            "lastEvent": {"type": "string", "description": "When the last event was stored."},
            **_SERVED,
        },
        "Sensor": {
            "lastEvent": {"type": "string", "description": "When it last took an event in."},
            "lastFired": {"type": "string", "description": "When one of its actions was last done."},
            "deadLetters": {"type": "integer", "description": "Actions that were given up and wait for a person."},
            **_SERVED,
        },
    }[kind]
    seen = {"type": "integer", "description": "The generation of the spec that this status is about."}
    told = {"observedGeneration": seen, **told}
    inner = {"conditions": _CONDITIONS, **{name: {**one, "nullable": True} for name, one in told.items()}}
    return {"type": "object", "description": "Written by the controller.", "properties": inner, **_ANY}


def _columns(kind: Kind) -> Iterator[Schema]:
    yield {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'}
    if kind == "EventSource":
        yield {"name": "Events", "type": "integer", "jsonPath": ".status.events"}
    if kind != "EventBus":
        yield {"name": "Last event", "type": "date", "jsonPath": ".status.lastEvent"}
    if kind == "Sensor":
        yield {"name": "Last fired", "type": "date", "jsonPath": ".status.lastFired"}
        yield {"name": "Dead letters", "type": "integer", "jsonPath": ".status.deadLetters"}
    yield {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
