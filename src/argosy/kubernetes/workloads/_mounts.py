"""Which Secrets and ConfigMaps a pod has to see, and the volumes that bring them to where its process looks.

The places are upstream's (``pkg/shared/util/util.go``): ``/argo-events/secrets/NAME/KEY``, ``/argo-events/config/NAME/KEY`` and
``/etc/eventbus/auth/auth.yaml``. The kubelet renews what is mounted, so a rotated value is seen without a restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from argosy.errors import ConfigError
from argosy.kubernetes.buses import access_of, bus_manifest
from argosy.kubernetes.names import dns_label
from argosy.kubernetes.references import Named, named
from argosy.kubernetes.workloads._owned import mappings
from argosy.manifests.eventbus import parse_event_bus
from argosy.manifests.eventsource import EventSource
from argosy.manifests.sensor import Sensor

SECRETS, CONFIG_MAPS, BUS_ACCESS = "/argo-events/secrets", "/argo-events/config", "/etc/eventbus/auth"
Object = dict[str, Any]
BusConfig = Mapping[str, Any]
"""What the status of an EventBus says of how it is reached: ``jetstream`` or ``kafka``."""


def named_by_bus(one: EventSource | Sensor, config: BusConfig) -> Named:
    """What the configuration of an object's bus names beside that which lets a client in. Raises ConfigError for one that no pod could use."""
    name = one.event_bus_name
    if jetstream := config.get("jetstream"):
        config = {"jetstream": {**jetstream, "accessSecret": None}}
    bus, problems = parse_event_bus(bus_manifest(one.metadata.namespace, name, config))
    if bus is None:
        wrong = "; ".join(problem.message for problem in problems)
        raise ConfigError(f"what the status of EventBus {name!r} says of how it is reached cannot be used: {wrong}")
    return named(bus)


class Volumes:
    """The volumes and mounts of one container. What the object's template has comes first and is never contradicted."""

    def __init__(self, volumes: object = None, mounts: object = None) -> None:
        self._given, self._given_mounts = mappings(volumes), mappings(mounts)
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

    def secret(self, name: str, keys: set[str] | None = None, *, optional: bool = False) -> None:
        """A Secret where sources and triggers look; just these ``keys`` of it, if they are given. ``optional``: the pod starts without it,
        and sees it when it comes.
        """
        items = {"items": [{"key": key, "path": key} for key in sorted(keys)]} if keys else {}
        source = {"secretName": name, **items, **({"optional": True} if optional else {})}
        self.add(f"secret-{name}", f"{SECRETS}/{name}", {"secret": source})

    def config_map(self, name: str, *, optional: bool = False) -> None:
        """A ConfigMap, as ``secret``."""
        source = {"name": name, **({"optional": True} if optional else {})}
        self.add(f"cm-{name}", f"{CONFIG_MAPS}/{name}", {"configMap": source})

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
    if access := access_of(config):
        name, key = access
        source = {"secretName": name, "items": [{"key": key, "path": "auth.yaml"}]}
        volumes.add("auth-volume", BUS_ACCESS, {"secret": source})
    own, bus = named(one), named_by_bus(one, config)
    # An event whose Secret is not there yet waits for it, and must not hold up the others. A trigger would fail, and its actions become
    # dead letters: a sensor rather leaves its events on the bus until all is there.
    optional = isinstance(one, EventSource)
    for name in sorted(own.secrets):
        volumes.secret(name, optional=optional)
    for name in sorted(bus.secrets):
        # Without these nobody reaches the bus, so the pod waits for them. Of a Secret of the bus it sees no more than a client needs.
        volumes.secret(name, bus.secrets[name])
    for name in sorted(own.config_maps):
        volumes.config_map(name, optional=optional)
