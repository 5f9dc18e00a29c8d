"""An EventBus as pods use it: the way to a server that runs, whoever installed it.

The controller writes that way into ``status.config`` of an EventBus and into ``EVENTBUS_CONFIG`` of the pods, in upstream's words
(``BusConfig`` of ``pkg/apis/events/v1alpha1/eventbus_types.go``). Here it becomes a manifest that names the server, as a person would
write it for a server of somebody else: the same engine then serves pods of one object, runners and ``argosy run``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from argosy.errors import ConfigError
from argosy.kubernetes.names import GROUP_VERSION

_FIELDS = {
    "jetstream": ("jetstreamExotic", ("url", "accessSecret", "streamConfig", "tls")),
    "kafka": ("kafka", ("url", "topic", "version", "tls", "sasl", "consumerGroup", "partitioner")),
}
"""What each engine of a BusConfig is in a spec, and what is said of it."""
_INSTALLED = ("nats", "jetstream", "kafka")
"""Engines of a spec that come before ``jetstreamExotic``, as upstream's controller looks for them."""
Object = dict[str, Any]


def bus_manifest(namespace: str, name: str, config: Mapping[str, Any]) -> Object:
    """The EventBus that names the server of this BusConfig. Raises ConfigError if there is none that we speak to."""
    for engine, (word, fields) in _FIELDS.items():
        said = config.get(engine)
        if isinstance(said, Mapping) and said:
            spec = {word: {field: said[field] for field in fields if said.get(field)}}
            return {
                "apiVersion": GROUP_VERSION,
                "kind": "EventBus",
                "metadata": {"namespace": namespace, "name": name},
                "spec": spec,
            }
    if config.get("nats"):
        raise ConfigError(
            f"EventBus {name!r} is a server of NATS Streaming, which is at its end of life and which Argosy does not speak;"
            " let Argosy's controller install it anew (spec.jetstream), or name a NATS server in spec.jetstreamExotic"
        )
    raise ConfigError(f"the configuration of EventBus {name!r} names neither 'jetstream' nor 'kafka'")


def with_authority(namespace: str, name: str, config: Mapping[str, Any]) -> Object:
    """The BusConfig with who signed the server's certificate, where Argo Events' controller has installed it and does not say: its clients
    do not look, and its servers show one of an authority of their own (``pkg/reconciler/eventbus/installer/jetstream.go``).
    """
    said = config.get("jetstream") or {}
    base = f"eventbus-{name}-js"
    if said.get("tls") or urlsplit(str(said.get("url") or "")).hostname != f"{base}-svc.{namespace}.svc":
        return dict(config)
    authority = {"caCertSecret": {"name": f"{base}-server", "key": "ca-cert"}}
    return {**config, "jetstream": {**said, "tls": authority}}


def access_of(config: Mapping[str, Any]) -> tuple[str, str] | None:
    """Name of the Secret and key in it that let clients in, as this BusConfig says; None where nobody is asked."""
    said = (config.get("jetstream") or {}).get("accessSecret") or {}
    return (said["name"], said["key"]) if said.get("name") and said.get("key") else None


def reachable(item: Object) -> Object | None:
    """The EventBus of the API as clients use it; None while nothing is installed yet. Raises ConfigError as ``bus_manifest``."""
    about, spec = item["metadata"], item.get("spec") or {}
    if spec.get("jetstreamExotic") and not any(spec.get(engine) for engine in _INSTALLED):
        return item
    config = (item.get("status") or {}).get("config")
    if not config:
        return None
    place = about["namespace"], about["name"]
    return bus_manifest(*place, with_authority(*place, config))
