"""What runs: the Deployments of the controller and of the admission server, hardened, and what stands around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from argosy.kubernetes.install.settings import ADMIN_PORT, USER, Installation, Object, named, selecting

_GRACE_SECONDS = 30


def deployment(
    name: str,
    component: str,
    installation: Installation,
    *,
    args: Sequence[Any],
    env: Sequence[Object],
    ports: dict[str, int],
    resources: Object,
    replicas: Any = 2,
    files: dict[str, Object] | None = None,
) -> Object:
    """A Deployment of one container that runs as nobody in particular, changes nothing but ``/tmp``, and is asked how it is.

    ``files`` are volumes by the folder where they are mounted, read only.
    """
    about = named(name, installation.namespace, component=component)
    volumes = [
        {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
        *({"name": f"files-{place}", **volume} for place, volume in enumerate((files or {}).values())),
    ]
    mounts = [
        {"name": "tmp", "mountPath": "/tmp"},
        *({"name": f"files-{place}", "mountPath": path, "readOnly": True} for place, path in enumerate(files or {})),
    ]
    probe = {"port": "metrics", "scheme": "HTTP"}
    container = {
        "name": component,
        "image": installation.image,
        "imagePullPolicy": installation.pull_policy,
        "args": list(args),
        "env": [
            {"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            *env,
        ],
        "ports": [{"name": port, "containerPort": number} for port, number in ports.items()],
        # A start reads the certificates and lists what is there; a large cluster takes a while.
        "startupProbe": {"httpGet": {"path": "/healthz", **probe}, "periodSeconds": 2, "failureThreshold": 60},
        "livenessProbe": {
            "httpGet": {"path": "/healthz", **probe},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        "readinessProbe": {"httpGet": {"path": "/readyz", **probe}, "periodSeconds": 5, "timeoutSeconds": 5},
        "resources": resources,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": about,
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": selecting(component)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {
                    "labels": about["labels"],
                    "annotations": {"kubectl.kubernetes.io/default-container": component},
                },
                "spec": {
                    "serviceAccountName": name,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": USER,
                        "runAsGroup": USER,
                        "fsGroup": USER,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "terminationGracePeriodSeconds": _GRACE_SECONDS,
                    "topologySpreadConstraints": [
                        {
                            "maxSkew": 1,
                            "topologyKey": "kubernetes.io/hostname",
                            "whenUnsatisfiable": "ScheduleAnyway",
                            "labelSelector": {"matchLabels": selecting(component)},
                        }
                    ],
                    "containers": [container],
                    "volumes": volumes,
                },
            },
        },
    }


def service(name: str, component: str, namespace: Any, ports: dict[str, tuple[int, str]]) -> Object:
    """A Service: its ports by name, each with the container's."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": named(name, namespace, component=component),
        "spec": {
            "selector": selecting(component),
            "ports": [{"name": port, "port": number, "targetPort": target} for port, (number, target) in ports.items()],
        },
    }


def budget(name: str, component: str, namespace: Any) -> Object:
    """Nodes are emptied one pod of it at a time, also where there is only one."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": named(name, namespace, component=component),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selecting(component)}},
    }


def fence(name: str, component: str, namespace: Any, ports: Sequence[int]) -> Object:
    """Nothing but these ports can be reached. Who asks cannot be said: the API server and the kubelet have no labels."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": named(name, namespace, component=component),
        "spec": {
            "podSelector": {"matchLabels": selecting(component)},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"port": number, "protocol": "TCP"} for number in ports]}],
        },
    }


METRICS = {"metrics": ADMIN_PORT}
SMALL: Object = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
