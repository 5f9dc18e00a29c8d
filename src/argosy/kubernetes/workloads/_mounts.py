"""Which Secrets and ConfigMaps a pod has to see, and the volumes that bring them to where its process looks.

The places are upstream's (``pkg/shared/util/util.go``): ``/argo-events/secrets/NAME/KEY``, ``/argo-events/config/NAME/KEY`` and
``/etc/eventbus/auth/auth.yaml``. The kubelet renews what is mounted, so a rotated value is seen without a restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from argosy.kubernetes.names import dns_label
from argosy.kubernetes.references import Named, named, selectors
from argosy.manifests.eventbus import JetStreamConfig, KafkaBus
from argosy.manifests.eventsource import EventSource
from argosy.manifests.fields import SecretKeySelector
from argosy.manifests.sensor import Sensor

SECRETS, CONFIG_MAPS, BUS_ACCESS = "/argo-events/secrets", "/argo-events/config", "/etc/eventbus/auth"
Object = dict[str, Any]
BusConfig = Mapping[str, Any]
"""What the status of an EventBus says of how it is reached: ``jetstream`` or ``kafka``."""


def named_by_bus(config: BusConfig) -> tuple[SecretKeySelector | None, Named]:
    """What lets a client into the bus (mounted on its own), and what else the bus' configuration names."""
    if jetstream := config.get("jetstream"):
        block = JetStreamConfig.model_validate(jetstream)
        access = block.access_secret
        return (access if access and access.name else None), _of(block.tls)
    if kafka := config.get("kafka"):
        return None, _of(KafkaBus.model_validate(kafka))
    return None, Named()


def _of(block: object) -> Named:
    found = Named()
    found.take(selectors(block))
    return found


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
    access, bus = named_by_bus(config)
    if access:
        source = {"secretName": access.name, "items": [{"key": access.key, "path": "auth.yaml"}]}
        volumes.add("auth-volume", BUS_ACCESS, {"secret": source})
    own = named(one)
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
