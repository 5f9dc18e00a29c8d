"""The pod that all of ours have in common: safe by default, probed on one port, and shaped by an object's ``template``.

What the template says always counts; defaults fill in only what it leaves open, field by field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from argosy.kubernetes.names import API_SECRET, API_TOKEN_KEY
from argosy.kubernetes.workloads._mounts import Volumes
from argosy.kubernetes.workloads._owned import mappings, texts
from argosy.kubernetes.workloads.settings import Settings
from argosy.manifests.checks._walk import mapping

Object = dict[str, Any]
ADMIN_PORT = 7777
"""Probes, metrics and the API of a pod; upstream's number for metrics."""
READY, READY_FOR_REQUESTS = "/readyz", "/readyz/once"
"""What is asked whether a pod may get requests: the second one where several sources or sensors are in it, of which one whose broker or
Secret is away must not keep requests from the others, nor a new pod from taking over (``argosy.runtime.admin``).
"""
_PORT = "metrics"
_DRAIN_SECONDS = 5
"""How long a pod that ends still takes requests: until then everybody knows that it is not to be asked any more."""


def labels(template: Mapping[str, Any], own: Mapping[str, str]) -> dict[str, str]:
    """The labels of a pod: those of the template, ours win."""
    return dict(sorted({**texts(mapping(dict(template), "metadata", "labels")), **own}.items()))


def pod_annotations(template: Mapping[str, Any]) -> dict[str, str]:
    """The annotations of a pod."""
    return dict(sorted(texts(mapping(dict(template), "metadata", "annotations")).items()))


def field_env(name: str, path: str) -> Object:
    """A variable that holds a field of the pod."""
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def text_env(name: str, value: str) -> Object:
    """A variable with a text."""
    return {"name": name, "value": value}


def common_env(settings: Settings) -> list[Object]:
    """What all pods of ours are told."""
    grace = settings.grace_seconds
    return [
        field_env("POD_NAMESPACE", "metadata.namespace"),
        _token_env(),
        *([] if grace == Settings().grace_seconds else [text_env("ARGOSY_GRACE", f"{grace:g}")]),
    ]


def _token_env() -> Object:
    """The token that opens the pod's API; a pod without it starts all the same."""
    reference = {"name": API_SECRET, "key": API_TOKEN_KEY, "optional": True}
    return {"name": "ARGOSY_API_TOKEN", "valueFrom": {"secretKeyRef": reference}}


def container(
    verb: str,
    env: Sequence[Object],
    mounts: list[Object],
    template: Mapping[str, Any],
    settings: Settings,
    *,
    drain: bool,
    ready: str = READY,
) -> Object:
    """The container ``main``. ``drain``: somebody sends requests to it. ``ready``: what says that it may get them."""
    given = mapping(dict(template), "container")
    made: Object = {
        "name": "main",
        "image": settings.image,
        "imagePullPolicy": given.get("imagePullPolicy") or settings.image_pull_policy,
        "args": [verb],
        "ports": [{"name": _PORT, "containerPort": ADMIN_PORT, "protocol": "TCP"}],
        "env": _merged(given.get("env"), env),
        "resources": given.get("resources") or settings.resources,
        "securityContext": confined(mapping(given, "securityContext")),
        "volumeMounts": mounts,
        "startupProbe": {**_probe("/healthz"), "periodSeconds": 2, "failureThreshold": 60},
        "livenessProbe": {**_probe("/healthz"), "periodSeconds": 10, "failureThreshold": 6},
        "readinessProbe": {**_probe(ready), "periodSeconds": 5, "failureThreshold": 2},
    }
    if given.get("envFrom"):
        made["envFrom"] = given["envFrom"]
    if drain:
        made["lifecycle"] = {"preStop": {"exec": {"command": ["sleep", str(_DRAIN_SECONDS)]}}}
    return made


def _probe(path: str) -> Object:
    return {"httpGet": {"path": path, "port": _PORT}, "timeoutSeconds": 5}


def _merged(given: object, ours: Sequence[Object]) -> list[Object]:
    """The template's variables first, as upstream has them. A name stands once (the API server's rule); the last one counts."""
    found: dict[str, Object] = {}
    for one in [*mappings(given), *ours]:
        name = str(one.get("name"))
        found.pop(name, None)
        found[name] = one
    return list(found.values())


def confined(given: Mapping[str, Any]) -> Object:
    """The security context of a container: nothing that it does not ask for."""
    made: Object = {"readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    added = mapping(dict(given), "capabilities").get("add")
    admin = isinstance(added, list) and ("SYS_ADMIN" in added or "CAP_SYS_ADMIN" in added)
    if not given.get("privileged") and not admin:
        # The API server refuses this beside rights that cannot be had without it.
        made["allowPrivilegeEscalation"] = False
    if given.get("runAsUser") == 0:
        # The pod's own context says that nobody is root, and the kubelet would not start the container.
        made["runAsNonRoot"] = False
    return {**made, **given}


def confined_pod(given: Mapping[str, Any], user: int, *, root: bool = False) -> Object:
    """The security context of a pod: the runtime's filter of system calls, and no root, unless ``root`` leaves that to the image."""
    made: Object = {"seccompProfile": {"type": "RuntimeDefault"}}
    if given.get("runAsUser") != 0 and not root:
        made["runAsNonRoot"] = True
        if user and not given.get("windowsOptions"):
            made |= {"runAsUser": user, "runAsGroup": user, "fsGroup": user}
    return {**made, **given}


def pod(main: Object, volumes: Volumes, template: Mapping[str, Any], settings: Settings, *, token: bool) -> Object:
    """A pod's spec. ``token``: it is given a token of its service account."""
    volumes_all, _ = volumes.all()
    secrets = pull_secrets(template.get("imagePullSecrets"), settings)
    spec: Object = {
        "containers": [main],
        "volumes": volumes_all,
        "securityContext": confined_pod(mapping(dict(template), "securityContext"), settings.run_as_user),
        "automountServiceAccountToken": token,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": settings.termination_seconds + (_DRAIN_SECONDS if "lifecycle" in main else 0),
    }
    if secrets:
        spec["imagePullSecrets"] = secrets
    for field in ("serviceAccountName", "nodeSelector", "tolerations", "affinity", "priorityClassName", "priority"):
        if template.get(field) not in (None, "", [], {}):
            spec[field] = template[field]
    return spec


def pull_secrets(given: object, settings: Settings) -> list[Object]:
    """What images are pulled with: the object's own, and the cluster's; each once, as the API server wants it."""
    every = [*mappings(given), *({"name": name} for name in settings.image_pull_secrets)]
    return list({str(one.get("name")): one for one in every}.values())


def spread(spec: Object, own: Mapping[str, str], replicas: int) -> None:
    """Several pods of one object rather run on different nodes, unless the template says where they run."""
    if replicas > 1 and "affinity" not in spec:
        spec["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": dict(own)},
            }
        ]
