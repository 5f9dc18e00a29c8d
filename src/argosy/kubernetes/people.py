"""The rights of people who look into what runs, and who act on it, with the commands of Argosy.

The commands ask pods through the API server's proxy, which looks at the method alone: ``get`` of ``pods/proxy`` is enough to look, ``create``
lets people give orders. Neither can be bound to pods by name, for their names change; so both roles reach every port of every pod
of the namespace.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from argosy.kubernetes import names

VIEW, OPERATE = "argosy-view", "argosy-operate"


def roles(namespace: str) -> Iterator[dict[str, Any]]:
    """Two Roles: to look, and to look and act."""
    look = [
        {"apiGroups": ["argoproj.io"], "resources": ["eventbus", "eventsources", "sensors"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [names.API_SECRET], "verbs": ["get"]},
    ]
    for name, verbs in ((VIEW, ["get"]), (OPERATE, ["get", "create"])):
        about = {"name": name, **({"namespace": namespace} if namespace else {})}
        rules = [*look, {"apiGroups": [""], "resources": ["pods/proxy"], "verbs": verbs}]
        yield {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": about, "rules": rules}
