"""The rights that the controller needs, and no more: the rules of its Role, or of its ClusterRole.

Secrets can be read and made one by one, and not be listed or watched: the controller knows the names of those that it makes. Only the
shared mode needs more, for nobody can give what he does not have: the runners watch the Secrets that their objects name, and ask for
tokens of the Sensors' service accounts.
"""

from __future__ import annotations

from typing import Any

Rule = dict[str, Any]

_OURS = ["eventbus", "eventsources", "sensors"]
_KEPT = ["get", "list", "watch", "create", "patch", "delete"]
"""For what the controller makes: server-side apply needs ``patch``, and ``create`` where there is nothing yet."""


def controller_rules(namespaced: bool, *, shared: bool = True) -> list[Rule]:
    """The rules. ``namespaced``: of a Role in each namespace that it manages; else of a ClusterRole.
    ``shared``: with what it takes to run and to entitle the runners of the shared mode.
    """
    reviews = "localsubjectaccessreviews" if namespaced else "subjectaccessreviews"
    rules = [
        _rule("argoproj.io", _OURS, ["list", "watch", "patch"]),
        _rule("argoproj.io", ["eventbus/status", "eventsources/status", "sensors/status"], ["patch"]),
        # Where the API server checks who may set blockOwnerDeletion (OwnerReferencesPermissionEnforcement).
        _rule("argoproj.io", ["eventbus/finalizers", "eventsources/finalizers", "sensors/finalizers"], ["update"]),
        _rule("apps", ["deployments", "statefulsets"], _KEPT),
        _rule("", ["services", "configmaps"], _KEPT),
        _rule("policy", ["poddisruptionbudgets"], _KEPT),
        _rule("networking.k8s.io", ["networkpolicies"], _KEPT),
        _rule("", ["pods"], ["list", "watch"]),
        _rule("", ["secrets"], ["get", "create", "patch", "delete"]),
        _rule("", ["persistentvolumeclaims"], ["list", "delete"]),
        _rule("events.k8s.io", ["events"], ["create"]),
        _rule("authorization.k8s.io", [reviews], ["create"]),
        _rule("rbac.authorization.k8s.io", ["roles", "rolebindings"], ["list", "watch"]),
    ]
    if not namespaced:
        rules.append(_rule("", ["namespaces"], ["list", "watch"]))
        rules.append(_rule("rbac.authorization.k8s.io", ["clusterroles", "clusterrolebindings"], ["list", "watch"]))
    if shared:
        rules += [
            _rule("", ["serviceaccounts"], ["get", "create", "patch", "delete"]),
            _rule("rbac.authorization.k8s.io", ["roles", "rolebindings"], ["get", "create", "patch", "delete"]),
            # What the runners' Role gives has to be had by who makes it.
            _rule("argoproj.io", _OURS, ["get"]),
            _rule("", ["secrets", "configmaps"], ["get", "list", "watch"]),
            _rule("", ["serviceaccounts/token"], ["create"]),
            _rule("coordination.k8s.io", ["leases"], ["get", "create", "update"]),
        ]
    return rules


def controller_own_rules() -> list[Rule]:
    """The rules of a Role in the namespace in which it runs: its Lease."""
    return [_rule("coordination.k8s.io", ["leases"], ["get", "create", "update"])]


def _rule(group: str, resources: list[str], verbs: list[str]) -> Rule:
    return {"apiGroups": [group], "resources": resources, "verbs": verbs}
