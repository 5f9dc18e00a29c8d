"""What an EventBus becomes that asks for servers of its own: NATS JetStream, one server or a cluster, reached by TLS only.

Names, labels and the layout of the pods are upstream's (``pkg/reconciler/eventbus/installer/jetstream.go``), so that an
installation which its controller made is taken over with its data.
"""

from __future__ import annotations

import hashlib
from copy import deepcopy
from typing import Any

from argosy.errors import ConfigError
from argosy.kubernetes.names import CONTROLLER, RUNNER
from argosy.kubernetes.workloads import _pod
from argosy.kubernetes.workloads._bus_config import (
    CLIENT_PORT,
    base_name,
    client_secret_name,
    installed,
    replicas_of,
    server_secret_name,
    service_name,
    volume_name,
)
from argosy.kubernetes.workloads._nats_text import CLUSTER_PORT, FILES, METRICS_PORT, MONITOR_PORT, text
from argosy.kubernetes.workloads._owned import disruption, label_value, metadata, selector, texts
from argosy.kubernetes.workloads.credentials import Credentials, client_data, server_data
from argosy.kubernetes.workloads.settings import JetStreamVersion, Settings
from argosy.manifests.checks._walk import mapping
from argosy.manifests.eventbus import EventBus, JetStreamBus

Object = dict[str, Any]
LET_IN = "argosy.dev/event-bus"
"""The label of a pod of somebody else that may reach the bus of this name."""
_CONFIG_KEY = "nats-js"
_CONFIG_FOLDER, _PID_FOLDER, _DATA_FOLDER = "/etc/nats-config", "/var/run/nats", "/data/jetstream"
_CONFIG_FILE, _PID_FILE = f"{_CONFIG_FOLDER}/nats-js.conf", f"{_PID_FOLDER}/nats.pid"
_CLIENTS = ["eventsource-controller", "sensor-controller", RUNNER]
_RESOURCES = {
    "main": {"requests": {"cpu": "50m", "memory": "128Mi"}},
    "reloader": {"requests": {"cpu": "5m", "memory": "16Mi"}},
    "metrics": {"requests": {"cpu": "5m", "memory": "32Mi"}},
}


def event_bus(bus: EventBus, settings: Settings, held: Credentials | None) -> list[Object]:
    """All objects of the installation, Secrets first; none where somebody else runs the servers.

    ``held`` are its credentials (``credentials.made``, ``kept``, ``renewed``); None will do where nothing is installed. Raises
    ConfigError for a version that the settings do not have, and for limits that are none.
    """
    js = installed(bus, settings)
    if js is None:
        return []
    if held is None:
        raise ConfigError(f"EventBus {bus.metadata.name!r} has no credentials yet")
    version = settings.jetstream.version(js.version)
    replicas = replicas_of(js)
    config = text(bus, js, settings, adopted=held.adopted)
    made = [
        _secret(bus, server_secret_name(bus), server_data(held)),
        _secret(bus, client_secret_name(bus), client_data(held)),
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata(bus, f"{base_name(bus)}-config"),
            "data": {_CONFIG_KEY: config},
        },
        _service(bus),
        _stateful_set(bus, js, version, settings, config, held.adopted),
    ]
    if replicas >= 3:
        made.append(disruption(bus, base_name(bus)))
    if settings.network_policy:
        made.append(_network_policy(bus))
    # The manifest's own parts are in it, and belong to the manifest.
    return deepcopy(made)


def _secret(bus: EventBus, name: str, data: dict[str, str]) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata(bus, name), "type": "Opaque", "data": data}


def _service(bus: EventBus) -> Object:
    ports = {"tcp-client": CLIENT_PORT, "cluster": CLUSTER_PORT, "metrics": METRICS_PORT, "monitor": MONITOR_PORT}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(bus, service_name(bus)),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "None",
            # Servers look each other up before they are ready.
            "publishNotReadyAddresses": True,
            "ports": [{"name": name, "port": port, "protocol": "TCP"} for name, port in ports.items()],
            "selector": selector(bus),
        },
    }


def _network_policy(bus: EventBus) -> Object:
    """Who may reach the servers: pods of the namespace that use the bus, each other, and who collects metrics."""
    clients = [
        {"podSelector": {"matchExpressions": [{"key": CONTROLLER, "operator": "In", "values": _CLIENTS}]}},
        {"podSelector": {"matchLabels": {LET_IN: label_value(bus.metadata.name)}}},
    ]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(bus, base_name(bus)),
        "spec": {
            "podSelector": {"matchLabels": selector(bus)},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": clients, "ports": [{"protocol": "TCP", "port": CLIENT_PORT}]},
                {
                    "from": [{"podSelector": {"matchLabels": selector(bus)}}],
                    "ports": [{"protocol": "TCP", "port": CLUSTER_PORT}],
                },
                {"ports": [{"protocol": "TCP", "port": METRICS_PORT}]},
            ],
        },
    }


def _stateful_set(
    bus: EventBus, js: JetStreamBus, version: JetStreamVersion, settings: Settings, config: str, adopted: bool
) -> Object:
    own = selector(bus)
    replicas = replicas_of(js)
    # The server takes some changes only when it starts, so it is started anew, one after the other, for each of them.
    notes = {
        **texts(mapping(js.metadata, "annotations")),
        "argosy.dev/config": hashlib.sha256(config.encode()).hexdigest()[:16],
    }
    spec: Object = {
        "replicas": replicas,
        "serviceName": service_name(bus),
        "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "RollingUpdate"},
        "selector": {"matchLabels": own},
        "template": {
            "metadata": {
                "labels": _pod.labels({"metadata": js.metadata or {}}, own),
                "annotations": dict(sorted(notes.items())),
            },
            "spec": _pod_spec(bus, js, version, settings, replicas, adopted),
        },
    }
    if js.persistence is not None:
        about, claim = {"name": volume_name(bus)}, claimed(js.persistence)
        spec["volumeClaimTemplates"] = [
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": about, "spec": claim}
        ]
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata(bus, base_name(bus), inherit=True),
        "spec": spec,
    }


def claimed(given: Object) -> Object:
    """What ``persistence`` asks of a volume: the part of a StatefulSet that no cluster lets change."""
    spec: Object = {
        "accessModes": [given.get("accessMode") or "ReadWriteOnce"],
        "volumeMode": "Filesystem",
        "resources": {"requests": {"storage": given.get("volumeSize") or "20Gi"}},
    }
    if given.get("storageClassName") is not None:
        spec["storageClassName"] = given["storageClassName"]
    return spec


def _pod_spec(
    bus: EventBus, js: JetStreamBus, version: JetStreamVersion, settings: Settings, replicas: int, adopted: bool
) -> Object:
    secret = server_secret_name(bus)
    config = [
        {"configMap": {"name": f"{base_name(bus)}-config", "items": [{"key": _CONFIG_KEY, "path": "nats-js.conf"}]}},
        {"secret": {"name": secret, "items": [{"key": key, "path": path} for key, path in FILES.items()]}},
    ]
    volumes: list[Object] = [
        {"name": "config-volume", "projected": {"sources": config}},
        {"name": "pid", "emptyDir": {}},
    ]
    data = volume_name(bus) if js.persistence is not None else "js-data"
    if js.persistence is None:
        volumes.append({"name": data, "emptyDir": {}})
    containers = [_main(bus, js, version, secret, data)]
    if version.config_reloader_image:
        containers.append(_reloader(js, version))
    if version.metrics_exporter_image:
        containers.append(_metrics(js, version))
    spec: Object = {
        "containers": containers,
        "volumes": volumes,
        # The reloader signals the server, as the same user.
        "shareProcessNamespace": True,
        "terminationGracePeriodSeconds": 60,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # What upstream's servers wrote is root's, and not every kind of volume changes hands.
        "securityContext": _pod.confined_pod(js.security_context or {}, settings.run_as_user, root=adopted),
    }
    for field, value in (
        ("nodeSelector", js.node_selector),
        ("tolerations", js.tolerations),
        ("affinity", js.affinity),
        ("imagePullSecrets", _pod.pull_secrets(js.image_pull_secrets, settings)),
        ("priorityClassName", js.priority_class_name),
        ("priority", js.priority),
        ("serviceAccountName", js.service_account_name),
    ):
        if value not in (None, "", [], {}):
            spec[field] = value
    _pod.spread(spec, selector(bus), replicas)
    return spec


def _mounts() -> list[Object]:
    return [
        {"name": "config-volume", "mountPath": _CONFIG_FOLDER, "readOnly": True},
        {"name": "pid", "mountPath": _PID_FOLDER},
    ]


def _shaped(name: str, image: str, given: Object | None, made: Object) -> Object:
    """A container with what its template says of it."""
    template = given or {}
    shaped: Object = {
        "name": name,
        "image": image,
        **made,
        "resources": template.get("resources") or _RESOURCES[name],
        "securityContext": _pod.confined(mapping(template, "securityContext")),
    }
    if template.get("imagePullPolicy"):
        shaped["imagePullPolicy"] = template["imagePullPolicy"]
    return shaped


def _main(bus: EventBus, js: JetStreamBus, version: JetStreamVersion, secret: str, data: str) -> Object:
    own_name = f"$(POD_NAME).{service_name(bus)}.$(POD_NAMESPACE).svc"
    env = [
        _pod.field_env("POD_NAME", "metadata.name"),
        _pod.text_env("SERVER_NAME", "$(POD_NAME)"),
        _pod.field_env("POD_NAMESPACE", "metadata.namespace"),
        _pod.text_env("CLUSTER_ADVERTISE", own_name),
        {"name": "JS_KEY", "valueFrom": {"secretKeyRef": {"name": secret, "key": "encryption"}}},
    ]
    ports = {"client": CLIENT_PORT, "cluster": CLUSTER_PORT, "monitor": MONITOR_PORT}
    made: Object = {
        "command": [version.start_command, "--config", _CONFIG_FILE],
        "env": env,
        "ports": [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in ports.items()],
        "volumeMounts": [*_mounts(), {"name": data, "mountPath": _DATA_FOLDER}],
        # A large store takes its time to be read.
        "startupProbe": {**_asked("/healthz"), "periodSeconds": 5, "failureThreshold": 180},
        "livenessProbe": {**_asked("/healthz?js-enabled-only=true"), "periodSeconds": 30},
        "readinessProbe": {**_asked("/healthz?js-server-only=true"), "periodSeconds": 5},
        # Clients are sent to other servers first. The signal that follows does not end it earlier.
        "lifecycle": {"preStop": {"exec": {"command": [version.start_command, f"-sl=ldm={_PID_FILE}"]}}},
    }
    if js.start_args:
        made["args"] = list(js.start_args)
    return _shaped("main", version.nats_image, js.container_template, made)


def _asked(path: str) -> Object:
    return {"httpGet": {"path": path, "port": MONITOR_PORT}, "timeoutSeconds": 5}


def _reloader(js: JetStreamBus, version: JetStreamVersion) -> Object:
    # Every file, for a new certificate changes no other.
    watched = [word for path in ("nats-js.conf", *FILES.values()) for word in ("-config", f"{_CONFIG_FOLDER}/{path}")]
    made = {"args": ["-pid", _PID_FILE, *watched], "volumeMounts": _mounts()}
    return _shaped("reloader", version.config_reloader_image, js.reloader_container_template, made)


def _metrics(js: JetStreamBus, version: JetStreamVersion) -> Object:
    flags = ["-connz", "-routez", "-subz", "-varz", "-prefix=nats", "-use_internal_server_id", "-jsz=all"]
    made = {
        "args": [*flags, f"http://localhost:{MONITOR_PORT}"],
        "ports": [{"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"}],
    }
    return _shaped("metrics", version.metrics_exporter_image, js.metrics_container_template, made)
