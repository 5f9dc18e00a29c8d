"""What the metadata of objects that belong to an EventBus, EventSource or Sensor say: labels, owner, names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from argosy.kubernetes.names import CONTROLLER, GROUP_VERSION, OWNER_NAME, dns_label
from argosy.manifests.eventbus import EventBus
from argosy.manifests.eventsource import EventSource
from argosy.manifests.sensor import Sensor

Object = dict[str, Any]
MANAGED = {"app.kubernetes.io/managed-by": "argosy"}
"""The label of everything that is made here, so that one selector finds it all."""
_CONTROLLERS = {
    "EventBus": ("eventbus-controller", "eventbus-name"),
    "EventSource": ("eventsource-controller", "eventsource-name"),
    "Sensor": ("sensor-controller", "sensor-name"),
}


def selector(one: EventBus | EventSource | Sensor) -> dict[str, str]:
    """The labels by which the pods of an object are found; upstream's."""
    controller, name_label = _CONTROLLERS[one.kind]
    name = label_value(one.metadata.name)
    return {CONTROLLER: controller, name_label: name, OWNER_NAME: name}


def label_value(name: str) -> str:
    """A name as the value of a label: itself, or, beyond 63 characters, shortened with a digest."""
    return name if len(name) <= 63 else dns_label(name)


def metadata(
    one: EventBus | EventSource | Sensor,
    name: str,
    *,
    inherit: bool = False,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Object:
    """The metadata of an object that belongs to ``one``. ``inherit``: the labels of ``one`` are taken over, ours win."""
    given = {**(labels or {}), **(one.metadata.labels if inherit else {})}
    about: Object = {
        "name": name,
        "namespace": one.metadata.namespace,
        "labels": dict(sorted({**given, **MANAGED, **selector(one)}.items())),
    }
    if annotations:
        about["annotations"] = dict(sorted(annotations.items()))
    if uid := (one.metadata.model_extra or {}).get("uid"):
        about["ownerReferences"] = [
            {
                "apiVersion": GROUP_VERSION,
                "kind": one.kind,
                "name": one.metadata.name,
                "uid": uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
    return about


def disruption(one: EventBus | EventSource | Sensor, name: str) -> Object:
    """At most one pod of the object is taken away at a time by what drains nodes."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(one, name),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector(one)}},
    }


def texts(value: object) -> dict[str, str]:
    """The entries of a mapping that are text; labels and annotations of a template are free JSON."""
    return {str(key): str(item) for key, item in value.items()} if isinstance(value, dict) else {}


def mappings(value: object) -> list[Object]:
    """The entries of a list that are mappings; lists of a template are free JSON."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
