"""Which Secrets and ConfigMaps a pod has to see, and the volumes that bring them to where its process looks.

The places are upstream's (``pkg/shared/util/util.go``): ``/argo-events/secrets/NAME/KEY``, ``/argo-events/config/NAME/KEY`` and
``/etc/eventbus/auth/auth.yaml``. The kubelet renews what is mounted, so a rotated value is seen without a restart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from argosy.kubernetes.names import dns_label
from argosy.manifests.checks._walk import each_trigger
from argosy.manifests.eventbus import JetStreamConfig, KafkaBus
from argosy.manifests.eventsource import EventSource
from argosy.manifests.fields import ConfigMapKeySelector, SecretKeySelector
from argosy.manifests.sensor import Sensor

SECRETS, CONFIG_MAPS, BUS_ACCESS = "/argo-events/secrets", "/argo-events/config", "/etc/eventbus/auth"
Object = dict[str, Any]
BusConfig = Mapping[str, Any]
"""What the status of an EventBus says of how it is reached: ``jetstream`` or ``kafka``."""
Selector = SecretKeySelector | ConfigMapKeySelector


@dataclass
class Named:
    """The Secrets and ConfigMaps that something names, sorted."""

    secrets: dict[str, set[str]] = field(default_factory=dict)
    """Keys by Secret."""
    config_maps: dict[str, set[str]] = field(default_factory=dict)
    """Keys by ConfigMap."""

    def take(self, selector: Selector) -> None:
        """Add what one selector names; one without a name names nothing."""
        names = self.secrets if isinstance(selector, SecretKeySelector) else self.config_maps
        if selector.name:
            names.setdefault(selector.name, set()).add(selector.key)


def named(one: EventSource | Sensor) -> Named:
    """What an object names in all its events or triggers, dead-letter triggers included."""
    found = Named()
    if isinstance(one, EventSource):
        for event in one.events:
            for selector in _selectors(event.config):
                found.take(selector)
        return found
    for _, trigger in each_trigger(one):
        # Where the trigger's own parameters complete it there is no model yet, and the manifest is read as it stands.
        for selector in _selectors(trigger.config) if trigger.config else _written(trigger.config_raw, ""):
            found.take(selector)
    return found


def named_by_bus(config: BusConfig) -> tuple[SecretKeySelector | None, Named]:
    """What lets a client into the bus (mounted on its own), and what else the bus' configuration names."""
    found = Named()
    access: SecretKeySelector | None = None
    if jetstream := config.get("jetstream"):
        block = JetStreamConfig.model_validate(jetstream)
        access = block.access_secret
        for selector in _selectors(block.tls):
            found.take(selector)
    elif kafka := config.get("kafka"):
        for selector in _selectors(KafkaBus.model_validate(kafka)):
            found.take(selector)
    return (access if access and access.name else None), found


def _selectors(block: object) -> Iterator[Selector]:
    if isinstance(block, SecretKeySelector | ConfigMapKeySelector):
        yield block
    elif isinstance(block, BaseModel):
        for name in type(block).model_fields:
            yield from _selectors(getattr(block, name))
    elif isinstance(block, Mapping):
        for item in block.values():
            yield from _selectors(item)
    elif isinstance(block, list | tuple):
        for item in block:
            yield from _selectors(item)


def _written(block: object, key: str) -> Iterator[Selector]:
    if isinstance(block, list):
        for item in block:
            yield from _written(item, key)
    elif isinstance(block, dict):
        name, entry = block.get("name"), block.get("key")
        if isinstance(name, str) and isinstance(entry, str) and set(block) <= {"name", "key", "optional"}:
            model = ConfigMapKeySelector if key.lower().startswith("configmap") else SecretKeySelector
            yield model(name=name, key=entry)
            return
        for inner, item in block.items():
            yield from _written(item, inner)


class Volumes:
    """The volumes and mounts of one container. What the object's template has comes first and is never contradicted."""

    def __init__(self, volumes: list[Object], mounts: list[Object]) -> None:
        self._given = [one for one in volumes if isinstance(one, dict)]
        self._given_mounts = [one for one in mounts if isinstance(one, dict)]
        self._names = {str(one.get("name")) for one in self._given}
        self._paths = {str(one.get("mountPath")).rstrip("/") for one in self._given_mounts}
        self._ours: list[tuple[Object, Object]] = []

    def add(self, name: str, path: str, source: Object, *, read_only: bool = True) -> None:
        """Mount ``source`` at ``path``, unless the template mounts something of its own there."""
        if path in self._paths:
            return
        self._paths.add(path)
        label = dns_label(name)
        while label in self._names:
            label = dns_label(f"argosy-{label}")
        self._names.add(label)
        mount = {"name": label, "mountPath": path, **({"readOnly": True} if read_only else {})}
        self._ours.append(({"name": label, **source}, mount))

    def secret(self, name: str, keys: set[str] | None) -> None:
        """A Secret where sources and triggers look; only some of its keys, if they are given."""
        items = {"items": [{"key": key, "path": key} for key in sorted(keys)]} if keys else {}
        self.add(f"secret-{name}", f"{SECRETS}/{name}", {"secret": {"secretName": name, **items}})

    def config_map(self, name: str) -> None:
        """A ConfigMap, as ``secret``."""
        self.add(f"cm-{name}", f"{CONFIG_MAPS}/{name}", {"configMap": {"name": name}})

    def all(self) -> tuple[list[Object], list[Object]]:
        """Volumes and mounts: those of the template as they stand, then ours by name."""
        ours = sorted(self._ours, key=lambda pair: str(pair[0]["name"]))
        return (
            [*self._given, *(volume for volume, _ in ours)],
            [*self._given_mounts, *(mount for _, mount in ours)],
        )


def mounted(one: EventSource | Sensor, config: BusConfig, volumes: Volumes) -> None:
    """Give a pod all that its object and the bus name."""
    volumes.add("tmp", "/tmp", {"emptyDir": {}}, read_only=False)
    access, bus = named_by_bus(config)
    if access:
        source = {"secretName": access.name, "items": [{"key": access.key, "path": "auth.yaml"}]}
        volumes.add("auth-volume", BUS_ACCESS, {"secret": source})
    own = named(one)
    for name in sorted(own.secrets):
        volumes.secret(name, None)
    for name in sorted(bus.secrets):
        # Of the bus' Secrets only what a client needs: the same Secret holds the servers' keys.
        volumes.secret(name, bus.secrets[name])
    for name in sorted(own.config_maps):
        volumes.config_map(name)
