"""How a bus is reached: what the controller writes into ``status.config`` of an EventBus, in upstream's words.

``nats.native`` is served by the same installation as ``jetstream``: ``installed`` says it in the latter's fields. What somebody else
runs (``jetstreamExotic``, ``kafka``) is passed on as it stands.
"""

from __future__ import annotations

import hashlib
from typing import Any

import yaml
from pydantic import BaseModel

from argosy.bus._jetstream_settings import STREAM_KEYS, StreamSettings
from argosy.errors import BusError, ConfigError
from argosy.kubernetes.names import dns_label
from argosy.kubernetes.workloads.settings import Settings
from argosy.manifests.eventbus import EventBus, JetStreamBus, NativeStrategy

Object = dict[str, Any]
CLIENT_PORT = 4222
CA_KEY, CLIENT_KEY = "ca-cert", "client-auth"
"""Keys of Secrets: whom clients trust, and what lets them in."""
_LONGEST = 52
"""What leaves room for what Kubernetes appends to a StatefulSet's name in a label."""
_LEAST_NATIVE = 3
_DEFAULT_REPLICAS = 3
_NATIVE_ONLY = frozenset(
    ("auth", "max_age", "max_msgs", "max_bytes", "max_subs", "raft_heartbeat_timeout", "raft_election_timeout",
     "raft_lease_timeout", "raft_commit_timeout", "replicas")
)  # fmt: skip


def installed(bus: EventBus, settings: Settings) -> JetStreamBus | None:
    """The installation that the manifest asks for; None where somebody else runs the servers."""
    if bus.spec.engine == "jetstream":
        return bus.spec.jetstream
    if bus.spec.engine == "nats" and bus.spec.nats is not None and bus.spec.nats.native is not None:
        return _native(bus.spec.nats.native, settings)
    return None


def _native(native: NativeStrategy, settings: Settings) -> JetStreamBus:
    # Upstream never installs fewer than three of these servers.
    replicas = max(_LEAST_NATIVE, native.replicas or 0)
    shared = {name: getattr(native, name) for name in type(native).model_fields if name not in _NATIVE_ONLY}
    limits = {"maxAge": native.max_age, "maxMsgs": native.max_msgs, "maxBytes": _bytes(native.max_bytes)}
    config = (
        yaml.safe_dump({key: value for key, value in limits.items() if value is not None})
        if any(limits.values())
        else None
    )
    version = settings.jetstream.newest.version
    return JetStreamBus.model_validate({**shared, "replicas": replicas, "version": version, "stream_config": config})


def _bytes(text: str | None) -> int | None:
    """``1GB`` as a number of bytes; NATS counts in powers of two."""
    if not text:
        return None
    number, unit = text.strip().upper().removesuffix("B"), 1
    for power, letter in enumerate("KMGT", start=1):
        if number.endswith(letter):
            number, unit = number[:-1], 1024**power
    try:
        return int(float(number) * unit)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"{text!r} is no size; write for example 1GB", path="spec.nats.native.maxBytes") from error


def replicas_of(js: JetStreamBus) -> int:
    """How many servers there are."""
    return _DEFAULT_REPLICAS if js.replicas is None else js.replicas


def base_name(bus: EventBus) -> str:
    """What the names of all objects of the installation begin with."""
    whole = f"eventbus-{bus.metadata.name}-js"
    label = dns_label(whole)
    if len(label) <= _LONGEST:
        return label
    return f"{label[: _LONGEST - 9].rstrip('-')}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def service_name(bus: EventBus) -> str:
    """The Service in front of the servers."""
    return f"{base_name(bus)}-svc"


def volume_name(bus: EventBus) -> str:
    """The volumes of the servers, and what the names of their claims begin with."""
    return f"{base_name(bus)}-vol"


def server_secret_name(bus: EventBus) -> str:
    """The Secret of the servers: credentials, keys, certificates."""
    return f"{base_name(bus)}-server"


def client_secret_name(bus: EventBus) -> str:
    """The Secret that lets clients in."""
    return f"{base_name(bus)}-client-auth"


def bus_config(bus: EventBus, settings: Settings) -> Object:
    """The ``status.config`` of an EventBus: ``{"jetstream": …}`` or ``{"kafka": …}``.

    Raises ConfigError for limits of the event log that do not go with the cluster's.
    """
    if js := installed(bus, settings):
        name, namespace = service_name(bus), bus.metadata.namespace
        return {
            "jetstream": {
                "url": f"nats://{name}.{namespace}.svc:{CLIENT_PORT}",
                "accessSecret": {"name": client_secret_name(bus), "key": CLIENT_KEY},
                "streamConfig": stream_config(js, settings),
                # Not out of the servers' Secret: who reads a Secret by the API sees all of it.
                "tls": {"caCertSecret": {"name": client_secret_name(bus), "key": CA_KEY}},
            }
        }
    if bus.spec.engine == "kafka" and bus.spec.kafka is not None:
        config = _written(bus.spec.kafka)
        return {"kafka": {**config, "topic": bus.spec.kafka.topic or f"{bus.metadata.namespace}-{bus.metadata.name}"}}
    if bus.spec.jetstream_exotic is not None:
        return {"jetstream": _written(bus.spec.jetstream_exotic)}
    raise ConfigError(
        "Argosy does not speak to NATS Streaming; name a NATS server in 'jetstreamExotic'", path="spec.nats.exotic"
    )


def stream_config(js: JetStreamBus, settings: Settings) -> str:
    """The limits of the event log as YAML text: the bus' own over the cluster's. A stream has no more copies than there are servers.

    Raises ConfigError where the two do not go together.
    """
    general, own = _limits(settings.jetstream.stream_config), _limits(js.stream_config)
    age = StreamSettings.parse(own).max_age_seconds
    if "duplicates" not in own and age and age < StreamSettings.parse(general).duplicates_seconds:
        general.pop("duplicates", None)  # a window that the bus did not ask for must not fail the age that it did
    merged = {**general, **own}
    try:
        wanted = StreamSettings.parse(merged).replicas or _DEFAULT_REPLICAS
    except BusError as error:
        raise ConfigError(str(error), path="spec.jetstream.streamConfig") from error
    merged["replicas"] = min(wanted, replicas_of(js))
    return yaml.safe_dump(dict(sorted(merged.items())), sort_keys=False)


def _limits(text: str | None) -> dict[str, Any]:
    """What the text of a ``streamConfig`` says, its keys spelt as they are documented."""
    given: dict[Any, Any] = yaml.safe_load(text or "") or {}
    return {_WORDS.get(str(key).lower(), str(key)): value for key, value in given.items()}


_WORDS = {word.lower(): word for word in STREAM_KEYS}


def _written(block: BaseModel) -> Object:
    """A block as a manifest has it, without what it leaves open."""
    return block.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
