"""The configuration of the servers of a bus, as nats-server 2.10 and newer reads it.

A variable in quotes is plain text to the server, so ``$JS_KEY`` and the like stand without them. Accounts come from the
Secret (``auth.conf``), which stands beside this text in the pod, as the certificates do.
"""

from __future__ import annotations

from argosy.kubernetes.workloads._bus_config import CLIENT_PORT, base_name, replicas_of, service_name
from argosy.kubernetes.workloads.settings import Settings
from argosy.manifests.eventbus import EventBus, JetStreamBus

CLUSTER_PORT, MONITOR_PORT, METRICS_PORT = 6222, 8222, 7777
FILES = {
    "auth": "auth.conf",
    "private-key": "server-key.pem",
    "cert": "server-cert.pem",
    "ca-cert": "ca-cert.pem",
    "cluster-private-key": "cluster-server-key.pem",
    "cluster-cert": "cluster-server-cert.pem",
    "cluster-ca-cert": "cluster-ca-cert.pem",
}
"""Keys of the servers' Secret, and the files that they are in the pod."""
_FOLDER = "/etc/nats-config"


def text(bus: EventBus, js: JetStreamBus, settings: Settings, *, adopted: bool) -> str:
    """The whole text. ``adopted``: the store was encrypted by upstream's installation."""
    given = settings.jetstream.settings if js.settings is None else js.settings
    lines = [line for line in given.splitlines() if line.strip()]
    # Upstream writes the variable in quotes, so that is what the store was encrypted with. A cluster cannot change that: with
    # ``prev_encryption_key`` servers convert their streams, but not what they agree in (nats-server 2.15: "Can't start JetStream").
    key = '"$JS_KEY"' if adopted else "$JS_KEY"
    inner = [f"encryption_key: {key}", 'store_dir: "/data/jetstream/store"', *lines]
    parts = [
        "server_name: $POD_NAME",
        f"port: {CLIENT_PORT}",
        f"http: {MONITOR_PORT}",
        'pid_file: "/var/run/nats/nats.pid"',
        f"max_payload: {js.max_payload or '1MB'}",
        "lame_duck_duration: 30s",
        "jetstream {",
        *(f"  {line}" for line in inner),
        "}",
        *_tls("server", indent=""),
        *(_cluster(bus, js) if replicas_of(js) > 2 else []),
        "include ./auth.conf",
    ]
    return "\n".join(parts) + "\n"


def _tls(name: str, *, indent: str) -> list[str]:
    prefix = "cluster-" if name == "cluster" else ""
    files = {
        "cert_file": f"{prefix}server-cert.pem",
        "key_file": f"{prefix}server-key.pem",
        "ca_file": f"{prefix}ca-cert.pem",
    }
    return [f"{indent}tls {{", *(f'{indent}  {key}: "{_FOLDER}/{file}"' for key, file in files.items()), f"{indent}}}"]


def _cluster(bus: EventBus, js: JetStreamBus) -> list[str]:
    within = f"{service_name(bus)}.{bus.metadata.namespace}.svc"
    routes = [f'"nats://{base_name(bus)}-{index}.{within}:{CLUSTER_PORT}"' for index in range(replicas_of(js))]
    return [
        # Clients hear of the other servers by names that the certificate has.
        "client_advertise: $CLUSTER_ADVERTISE",
        "cluster {",
        f'  name: "{bus.metadata.name}"',
        f"  port: {CLUSTER_PORT}",
        "  routes: [",
        *(f"    {route}" for route in routes),
        "  ]",
        "  cluster_advertise: $CLUSTER_ADVERTISE",
        "  connect_retries: 120",
        *_tls("cluster", indent="  "),
        "}",
    ]
