"""The rights that an object's pod needs: of a Sensor for its ``k8s`` and ``argoWorkflow`` triggers, of an
EventSource for its ``resource`` events.

``required`` are rights without which an action fails for certain, ``used`` are those that Argosy or upstream
make use of beside them. Where the manifest does not say what an action is about (an object from git, a kind
that the event decides), the needs are not ``complete``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from argosy.manifests.checks._grants import EVERYWHERE, Right
from argosy.manifests.checks._walk import each_trigger, held_object, mapping
from argosy.manifests.eventsource import EventSource
from argosy.manifests.findings import Loc
from argosy.manifests.sensor import Sensor, TriggerSpec

_VERBS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "create": (("create",), ()),
    "update": (("get", "update"), ("create",)),
    "patch": (("get", "patch"), ("create",)),
    "delete": (("delete",), ("get",)),
    "apply": (("patch",), ("create",)),
}
"""Of each operation: the verbs that it always needs, and those that it may need."""
_WORKFLOW = ("create", "get", "list", "watch", "update", "patch", "delete")
_CLUSTER_SCOPED = frozenset(
    (
        "Namespace",
        "Node",
        "PersistentVolume",
        "ClusterRole",
        "ClusterRoleBinding",
        "StorageClass",
        "PriorityClass",
        "CustomResourceDefinition",
        "ClusterWorkflowTemplate",
    )
)
_DECIDES = re.compile(r"^(kind|apiVersion|metadata|metadata\.namespace)$")
"""Parameters to these places make the event decide what the action is about."""


@dataclass
class Needs:
    """What one object needs. ``at`` is the first place that makes it need anything."""

    at: Loc = ()
    what: str = ""
    required: list[Right] = field(default_factory=list)
    used: list[Right] = field(default_factory=list)
    complete: bool = True


def sensor_needs(sensor: Sensor) -> Needs:
    """The rights of a Sensor's pod."""
    needs = Needs()
    for loc, trigger in each_trigger(sensor):
        if trigger.kind in ("k8s", "argoWorkflow"):
            if not needs.at:
                needs.at, needs.what = (*loc, "template", trigger.kind), f"trigger '{trigger.name}'"
            _add(needs, trigger, sensor.metadata.namespace)
    if sensor.not_run:
        needs.complete = False
    return needs


def source_needs(source: EventSource) -> Needs:
    """The rights of an EventSource's pod."""
    needs = Needs()
    for event in source.events:
        if event.kind == "calendar" and getattr(event.config, "persistence", None):
            # Upstream keeps the last schedule in a ConfigMap; Argosy on the bus.
            space = source.metadata.namespace
            needs.used += [Right(verb, "", "configmaps", space) for verb in ("get", "create", "update", "patch")]
        if event.kind != "resource":
            continue
        if not needs.at:
            needs.at, needs.what = ("spec", event.kind, event.name), f"event '{event.name}'"
        config: Any = event.config
        for verb in ("list", "watch"):
            right = Right(verb, config.group, config.resource, config.namespace or EVERYWHERE)
            needs.required.append(right)
            needs.used.append(right)
    if source.not_run:
        needs.complete = False
    return needs


def _add(needs: Needs, trigger: TriggerSpec, namespace: str) -> None:
    held, config = held_object(trigger), trigger.config
    writes = [parameter.dest for parameter in getattr(config, "parameters", ())]
    if (
        held is None
        or any(_DECIDES.match(dest) for dest in writes)
        or any(parameter.dest.split(".")[0] == trigger.kind for parameter in trigger.parameters)
    ):
        needs.complete = False
        return
    kind, version = held.body.get("kind"), held.body.get("apiVersion")
    space = mapping(held.body, "metadata").get("namespace") or namespace
    if not isinstance(kind, str) or not isinstance(version, str) or not isinstance(space, str):
        needs.complete = False
        return
    group = version.split("/")[0] if "/" in version else ""
    where = EVERYWHERE if kind in _CLUSTER_SCOPED else space
    for verb, required in _verbs(trigger, getattr(config, "operation", "")):
        resource = plural(kind)
        if trigger.kind == "argoWorkflow" and (verb in ("create", "patch") or not required):
            resource = "workflows"
        right = Right(verb, group, resource, where if resource == plural(kind) else space)
        needs.used.append(right)
        if required:
            needs.required.append(right)
    if trigger.kind == "argoWorkflow":
        for resource in ("workflowtemplates", "clusterworkflowtemplates", "cronworkflows"):
            needs.used += [Right(verb, group, resource, space) for verb in ("get", "list", "watch")]


def _verbs(trigger: TriggerSpec, operation: str) -> Iterator[tuple[str, bool]]:
    """The verbs of a trigger, and whether it fails without."""
    if trigger.kind == "k8s":
        always, sometimes = _VERBS[operation or "create"]
        yield from ((verb, True) for verb in always)
        yield from ((verb, False) for verb in sometimes)
        if getattr(trigger.config, "live_object", False):
            yield "get", True
    else:
        if operation in ("", "submit"):
            yield "create", True
        elif operation == "submit-from":
            yield "get", True
            yield "create", True
        yield from ((verb, False) for verb in _WORKFLOW)
    if trigger.policy and trigger.policy.k8s and trigger.kind == "k8s" and operation != "delete":
        yield "get", True
        yield "watch", False


def plural(kind: str) -> str:
    """The resource's name of a kind, as nearly all APIs form it."""
    word = kind.lower()
    if word in ("eventbus", "endpoints"):
        return word
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"
