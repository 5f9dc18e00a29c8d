"""What each part of an installation needs to be allowed. The one place that is to be changed when a part says it itself."""

from __future__ import annotations

from argosy.kubernetes.install.settings import ADMISSION, Object

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


def admission_rules() -> list[Object]:
    """In the namespaces whose objects it judges."""
    return [
        {"apiGroups": ["argoproj.io"], "resources": ["eventbus", "eventsources", "sensors"], "verbs": _READ},
        {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": _READ},
    ]


def runner_rules() -> list[Object]:
    """In its namespace."""
    return [
        {"apiGroups": ["argoproj.io"], "resources": ["eventbus", "eventsources", "sensors"], "verbs": _READ},
        {"apiGroups": [""], "resources": ["secrets", "configmaps"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]},
    ]


def admission_own_rules() -> list[Object]:
    """In the namespace where it runs: its certificate."""
    return [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": [f"{ADMISSION}-certificate"],
            "verbs": ["get", "update", "patch"],
        },
    ]


def admission_cluster_rules() -> list[Object]:
    """What it asks of no namespace: its own configuration, to keep the certificate there."""
    return [
        {
            "apiGroups": ["admissionregistration.k8s.io"],
            "resources": ["validatingwebhookconfigurations"],
            "resourceNames": [ADMISSION],
            "verbs": ["get", "patch"],
        }
    ]


def configuration(namespace: str, watched: tuple[str, ...]) -> Object:
    """Which requests the API server asks about."""
    selector = (
        {
            "namespaceSelector": {
                "matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": list(watched)}]
            }
        }
        if watched
        else {}
    )
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": ADMISSION},
        "webhooks": [
            {
                "name": "admission.argosy.dev",
                "admissionReviewVersions": ["v1"],
                "clientConfig": {
                    "service": {"name": ADMISSION, "namespace": namespace, "port": 443, "path": "/validate"}
                },
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "timeoutSeconds": 10,
                **selector,
                "rules": [
                    {
                        "apiGroups": ["argoproj.io"],
                        "apiVersions": ["v1alpha1"],
                        "operations": ["CREATE", "UPDATE", "DELETE"],
                        "resources": ["eventbus", "eventsources", "sensors"],
                        "scope": "Namespaced",
                    }
                ],
            }
        ],
    }
