"""What objects name of the namespace around them: Secrets and ConfigMaps, and the service account as which they act.

A runner serves many objects in one pod, so nothing is mounted for it: it reads from the API what its objects name, each by its name, and
may read nothing else (``argosy.kubernetes.controller.access``).
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

from argosy.kubernetes.kinds import Kinds
from argosy.kubernetes.rights import Account, account_of
from argosy.manifests.bundle import Bundle
from argosy.manifests.checks._needs import parts
from argosy.manifests.eventsource import EventSource
from argosy.manifests.fields import ConfigMapKeySelector, SecretKeySelector
from argosy.manifests.sensor import Sensor, TriggerSpec


@dataclass(frozen=True)
class References:
    """Names, all of the objects' own namespace."""

    secrets: frozenset[str] = frozenset()
    config_maps: frozenset[str] = frozenset()


def references(bundle: Bundle) -> References:
    """Everything that the objects of one namespace name."""
    secrets: set[str] = set()
    config_maps: set[str] = set()
    for source in bundle.event_sources:
        for event in source.events:
            _look(event.config, secrets, config_maps)
    for sensor in bundle.sensors:
        for trigger in sensor.triggers:
            _look_at_trigger(trigger, secrets, config_maps)
    for bus in bundle.event_buses:
        _look(bus.spec, secrets, config_maps)
    return References(frozenset(secrets), frozenset(config_maps))


def acting(one: EventSource | Sensor) -> Account | None:
    """The service account as which the object asks the Kubernetes API; None if it asks for nothing there."""
    if any(part.rights.required or part.rights.unknown for part in parts(one, Kinds())):
        return account_of(one.metadata.namespace, one.spec.template)
    return None


def _look_at_trigger(trigger: TriggerSpec | None, secrets: set[str], config_maps: set[str]) -> None:
    while trigger is not None:
        if trigger.config is not None:
            _look(trigger.config, secrets, config_maps)
        else:
            # Its parameters complete it; what they do not write is there as text.
            _guess(trigger.template_raw, "", secrets, config_maps)
        trigger = trigger.dlq_trigger


def _look(block: object, secrets: set[str], config_maps: set[str]) -> None:
    if isinstance(block, SecretKeySelector):
        secrets.update([block.name] if block.name else ())
    elif isinstance(block, ConfigMapKeySelector):
        config_maps.update([block.name] if block.name else ())
    elif isinstance(block, BaseModel):
        for name in type(block).model_fields:
            _look(getattr(block, name), secrets, config_maps)
    elif isinstance(block, list | tuple):
        for item in block:
            _look(item, secrets, config_maps)
    elif isinstance(block, dict):
        for item in block.values():
            _look(item, secrets, config_maps)


def _guess(block: object, word: str, secrets: set[str], config_maps: set[str]) -> None:
    """The same in a block that no model has read: selectors are mappings of a name and a key, and their field says which kind."""
    if isinstance(block, dict):
        name = block.get("name")
        if set(block) - {"optional"} == {"name", "key"} and isinstance(name, str) and name:
            (config_maps if "configmap" in word.lower() else secrets).add(name)
            return
        for key, item in block.items():
            _guess(item, str(key), secrets, config_maps)
    elif isinstance(block, list):
        for item in block:
            _guess(item, word, secrets, config_maps)
