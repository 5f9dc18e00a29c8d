"""What the controller and the runners need to be allowed."""

from __future__ import annotations

from argosy.kubernetes.install.settings import Object

_EVERY = ["get", "list", "watch", "create", "update", "patch", "delete"]
_READ = ["get", "list", "watch"]


def controller_rules() -> list[Object]:
    """In the namespaces that it serves."""
    kinds = ["eventbus", "eventsources", "sensors"]
    return [
        {"apiGroups": ["argoproj.io"], "resources": kinds, "verbs": [*_READ, "update", "patch"]},
        {
            "apiGroups": ["argoproj.io"],
            "resources": [f"{kind}/{part}" for kind in kinds for part in ("finalizers", "status")],
            "verbs": ["update", "patch"],
        },
        {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": _EVERY},
        {"apiGroups": [""], "resources": ["configmaps", "secrets", "services"], "verbs": _EVERY},
        {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["get", "list", "watch", "delete"]},
        {"apiGroups": [""], "resources": ["pods", "serviceaccounts"], "verbs": _READ},
        {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
        {"apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": _EVERY},
        {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": _EVERY},
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": _READ},
        {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
    ]


def controller_own_rules() -> list[Object]:
    """In the namespace where it runs: its lease."""
    return [
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update", "patch"]}
    ]


def runner_rules() -> list[Object]:
    """In its namespace."""
    return [
        {"apiGroups": ["argoproj.io"], "resources": ["eventbus", "eventsources", "sensors"], "verbs": _READ},
        {"apiGroups": [""], "resources": ["secrets", "configmaps"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]},
    ]
