"""Who the runners of a namespace are, and what they may do: what the objects that they serve need of them, name by name.

What a sensor's triggers do is no right of theirs: they ask for short-lived tokens of the sensors' own service accounts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from argosy.errors import ConfigError
from argosy.kubernetes.buses import reachable
from argosy.kubernetes.names import RUNNER
from argosy.kubernetes.references import acting, references
from argosy.kubernetes.workloads import MANAGED
from argosy.manifests.bundle import Bundle
from argosy.manifests.eventbus import EventBus, parse_event_bus
from argosy.manifests.eventsource import EventSource, parse_event_source
from argosy.manifests.sensor import Sensor, parse_sensor

Object = dict[str, Any]
_RBAC = "rbac.authorization.k8s.io"


def runner_access(namespace: str, objects: Iterable[Object], buses: Iterable[Object]) -> list[Object]:
    """The runners' service account, their Role and its binding, for these objects as the API server has them."""
    about = {"name": RUNNER, "namespace": namespace, "labels": dict(MANAGED)}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": about, "automountServiceAccountToken": False},
        {"apiVersion": f"{_RBAC}/v1", "kind": "Role", "metadata": about, "rules": _rules(objects, buses)},
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": about,
            "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": RUNNER},
            "subjects": [{"kind": "ServiceAccount", "name": RUNNER, "namespace": namespace}],
        },
    ]


def _rules(objects: Iterable[Object], buses: Iterable[Object]) -> list[Object]:
    bundle = Bundle()
    for item in objects:
        if item["kind"] == "EventSource":
            source, _ = parse_event_source(item)
            bundle.event_sources += [source] if source else []
        else:
            sensor, _ = parse_sensor(item)
            bundle.sensors += [sensor] if sensor else []
    bundle.event_buses = [bus for item in buses if (bus := _bus(item)) is not None]
    named = references(bundle)
    served: list[EventSource | Sensor] = [*bundle.event_sources, *bundle.sensors]
    accounts = {account.name for one in served if (account := acting(one)) is not None}
    rules: list[Object] = [
        {
            "apiGroups": ["argoproj.io"],
            "resources": ["eventbus", "eventsources", "sensors"],
            "verbs": ["get", "list", "watch"],
        },
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "verbs": ["get", "create", "update"],
        },
    ]
    for resource, names, verbs in (
        ("secrets", named.secrets, ["get", "list", "watch"]),
        ("configmaps", named.config_maps, ["get", "list", "watch"]),
        ("serviceaccounts/token", accounts, ["create"]),
    ):
        if names:
            rules.append({"apiGroups": [""], "resources": [resource], "resourceNames": sorted(names), "verbs": verbs})
    return rules


def _bus(item: Object) -> EventBus | None:
    """The bus as a runner reads it: with what it takes to reach an installed one."""
    try:
        return parse_event_bus(reachable(item) or item)[0]
    except ConfigError:
        return None
