"""What serves the objects of a namespace that have no pods of their own: one runner, or several that share them.

Which runner has an object follows from names (``argosy.kubernetes.names.shard_of``): events that listen go by their port, so that
a Service leads to the one runner that listens there.
"""

from __future__ import annotations

import base64
from copy import deepcopy
from typing import Any

from argosy.errors import ConfigError
from argosy.kubernetes.names import API_SECRET, API_TOKEN_KEY, CONTROLLER, OWNER_NAME, RUNNER, Mode, shard_of
from argosy.kubernetes.workloads import _pod
from argosy.kubernetes.workloads._deployments import event_source_service
from argosy.kubernetes.workloads._mounts import Volumes
from argosy.kubernetes.workloads._owned import MANAGED, mappings
from argosy.kubernetes.workloads.settings import Settings
from argosy.manifests.checks._walk import mapping
from argosy.manifests.eventsource import EventSource
from argosy.manifests.sensor import Sensor

Object = dict[str, Any]
SHARD = "argosy.dev/shard"
"""The label of a runner's pods that says which of the runners they are."""


def runners(namespace: str, shards: int, settings: Settings, mode: Mode | None = None) -> list[Object]:
    """The Deployments of a namespace's runners. One that is replaced goes on until the next one is ready; what only one
    process may do passes over by Lease. ``mode`` is that of objects that do not say theirs, where the namespace says it.
    """
    return deepcopy([_runner(namespace, shard, shards, settings, mode or settings.mode) for shard in range(shards)])


def _runner_labels(shard: int) -> dict[str, str]:
    """The labels by which the pods of one runner are found."""
    return {CONTROLLER: RUNNER, OWNER_NAME: RUNNER, SHARD: str(shard)}


def shared_event_source(source: EventSource, shards: int) -> list[Object]:
    """What an EventSource still has of its own where a runner serves it: its Service, if it asks for one.

    Raises ConfigError if its ports belong to different runners, for a Service leads to one of them.
    """
    ports = mappings((source.spec.service or {}).get("ports"))
    wanted = [port.get("targetPort") or port.get("port") for port in ports]
    found = {shard_of(f"port {port}", shards) for port in wanted}
    if len(found) > 1:
        raise ConfigError(
            f"the ports {', '.join(map(str, wanted))} of its Service belong to different runners; give its events one port,"
            ' the namespace one runner (argosy.dev/shards: "1"), or the object pods of its own (argosy.dev/mode: dedicated)',
            path="spec.service.ports",
        )
    service = event_source_service(source, _runner_labels(found.pop() if found else 0))
    return deepcopy([service]) if service else []


def without_effect(one: EventSource | Sensor) -> list[str]:
    """The fields of an object that shape a pod, and so change nothing where a runner serves it; sorted."""
    template = one.spec.template or {}
    given = [
        f"template.{name}"
        for name, value in template.items()
        if name not in ("serviceAccountName", "container") and value
    ]
    inner = [f"template.container.{name}" for name, value in mapping(template, "container").items() if value]
    replicas = ["replicas"] if (one.spec.replicas or 1) > 1 else []
    return sorted([*given, *inner, *replicas])


def _runner(namespace: str, shard: int, shards: int, settings: Settings, mode: Mode) -> Object:
    own = _runner_labels(shard)
    volumes = Volumes()
    volumes.add("tmp", "/tmp", {"emptyDir": {}}, read_only=False)
    env = [
        _pod.field_env("POD_NAME", "metadata.name"),
        _pod.text_env("ARGOSY_SHARD", f"{shard}/{shards}"),
        _pod.text_env("ARGOSY_MODE", mode),
        _pod.text_env("ARGOSY_ELECT", "lease"),
        *_pod.common_env(settings),
    ]
    template = {"serviceAccountName": RUNNER, "container": {"resources": settings.runner_resources}}
    ready = _pod.READY_FOR_REQUESTS
    main = _pod.container("runner-service", env, volumes.all()[1], template, settings, drain=True, ready=ready)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"{RUNNER}-{shard}", "namespace": namespace, "labels": _labels(own)},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": own},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {"metadata": {"labels": own}, "spec": _pod.pod(main, volumes, template, settings, token=True)},
        },
    }


def _labels(more: dict[str, str] | None = None) -> dict[str, str]:
    return dict(sorted({**MANAGED, **(more or {})}.items()))


def api_secret(namespace: str, token: str) -> Object:
    """The Secret whose token opens the API of the namespace's pods."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": API_SECRET, "namespace": namespace, "labels": _labels()},
        "type": "Opaque",
        "data": {API_TOKEN_KEY: base64.b64encode(token.encode()).decode()},
    }
