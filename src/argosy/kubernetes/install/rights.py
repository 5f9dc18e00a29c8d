"""Who of an installation may do what: accounts, roles and bindings.

What each part needs, the part says itself; here it becomes Roles in the namespaces that are served, or one ClusterRole where all are. What
lives in no namespace is bound once for the cluster in either case, and bound to names where the part can be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from argosy.kubernetes.install.settings import Object, named

_GROUP = "rbac.authorization.k8s.io"
KINDS = ["eventbus", "eventsources", "sensors"]


def account(name: str, namespace: str, component: str) -> Object:
    """A service account."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": named(name, namespace, component=component)}


def in_namespace(
    name: str, component: str, rules: Sequence[Object], where: str, holder: tuple[str, str]
) -> list[Object]:
    """A Role of this name in a namespace, and who (name, namespace) has it."""
    about = named(name, where, component=component)
    return [
        {"apiVersion": f"{_GROUP}/v1", "kind": "Role", "metadata": about, "rules": list(rules)},
        _binding("Role", about, holder),
    ]


def in_cluster(name: str, component: str, rules: Sequence[Object], holder: tuple[str, str]) -> list[Object]:
    """A ClusterRole of this name, and who (name, namespace) has it."""
    about = named(name, component=component)
    return [
        {"apiVersion": f"{_GROUP}/v1", "kind": "ClusterRole", "metadata": about, "rules": list(rules)},
        _binding("ClusterRole", about, holder),
    ]


def _binding(kind: str, about: Object, holder: tuple[str, str]) -> Object:
    return {
        "apiVersion": f"{_GROUP}/v1",
        "kind": f"{kind}Binding",
        "metadata": about,
        "roleRef": {"apiGroup": _GROUP, "kind": kind, "name": about["name"]},
        "subjects": [{"kind": "ServiceAccount", "name": holder[0], "namespace": holder[1]}],
    }


def for_people() -> Iterator[Object]:
    """What is added to the roles ``admin``, ``edit`` and ``view`` that every cluster has."""
    every = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
    for role, verbs in (("admin", every), ("edit", every), ("view", ["get", "list", "watch"])):
        about = named(f"argosy-aggregate-to-{role}")
        about["labels"] |= {f"{_GROUP}/aggregate-to-{role}": "true"}
        yield {
            "apiVersion": f"{_GROUP}/v1",
            "kind": "ClusterRole",
            "metadata": about,
            "rules": [{"apiGroups": ["argoproj.io"], "resources": KINDS, "verbs": verbs}],
        }
