"""Who the runners of a namespace are, and what they may do: what the objects that they serve need of them, name by name.

What a sensor's triggers do is no right of theirs: they ask for short-lived tokens of the sensors' own service accounts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

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
_REMEMBERED = 20_000
_RBAC = "rbac.authorization.k8s.io"


class Names(NamedTuple):
    """What one object needs of the runner that serves it."""

    secrets: frozenset[str]
    config_maps: frozenset[str]
    accounts: frozenset[str]


class Reader:
    """Reads what objects name, and each object once: of what it was made says its generation."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[object, Names]] = {}

    def of(self, objects: Iterable[Object]) -> list[Names]:
        """What each of these objects names, as far as it is valid."""
        found = []
        for item in objects:
            uid, generation = str(item["metadata"].get("uid") or ""), item["metadata"].get("generation")
            before = self._known.get(uid) if uid else None
            names = before[1] if before and before[0] == generation else _names(item)
            if uid:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[uid] = (generation, names)
            found.append(names)
        return found


def runner_access(
    namespace: str, objects: Iterable[Object], buses: Iterable[Object], reader: Reader | None = None
) -> list[Object]:
    """The runners' service account, their Role and its binding, for these objects as the API server has them."""
    about = {"name": RUNNER, "namespace": namespace, "labels": dict(MANAGED)}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": about, "automountServiceAccountToken": False},
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "Role",
            "metadata": about,
            "rules": _rules([*(reader or Reader()).of(objects), *map(_names_of_bus, buses)]),
        },
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": about,
            "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": RUNNER},
            "subjects": [{"kind": "ServiceAccount", "name": RUNNER, "namespace": namespace}],
        },
    ]


def _rules(all_: list[Names]) -> list[Object]:
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
        ("secrets", {name for one in all_ for name in one.secrets}, ["get", "list", "watch"]),
        ("configmaps", {name for one in all_ for name in one.config_maps}, ["get", "list", "watch"]),
        ("serviceaccounts/token", {name for one in all_ for name in one.accounts}, ["create"]),
    ):
        if names:
            rules.append({"apiGroups": [""], "resources": [resource], "resourceNames": sorted(names), "verbs": verbs})
    return rules


def _names(item: Object) -> Names:
    one: EventSource | Sensor | None
    bundle = Bundle()
    if item["kind"] == "EventSource":
        one, _ = parse_event_source(item)
        bundle.event_sources = [one] if one else []
    else:
        one, _ = parse_sensor(item)
        bundle.sensors = [one] if one else []
    named, account = references(bundle), acting(one) if one else None
    return Names(frozenset(named.secrets), frozenset(named.config_maps), frozenset({account.name} if account else ()))


def _names_of_bus(item: Object) -> Names:
    bus = _bus(item)
    named = references(Bundle(event_buses=[bus] if bus else []))
    return Names(frozenset(named.secrets), frozenset(named.config_maps), frozenset())


def _bus(item: Object) -> EventBus | None:
    """The bus as a runner reads it: with what it takes to reach an installed one."""
    try:
        return parse_event_bus(reachable(item) or item)[0]
    except ConfigError:
        return None
