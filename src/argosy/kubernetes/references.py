"""What objects name of the cluster around them: Secrets, ConfigMaps, service accounts; and the rights of the runner that reads them.

A runner serves many objects in one pod, so nothing is mounted for it: it reads from the API what its objects name, each by its name, and
may read nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from argosy.kubernetes.rights import account_of
from argosy.manifests.bundle import Bundle, from_objects
from argosy.manifests.checks._needs import kinds_of, parts
from argosy.manifests.eventsource import EventSource
from argosy.manifests.fields import ConfigMapKeySelector, SecretKeySelector
from argosy.manifests.sensor import Sensor, TriggerSpec

Object = dict[str, Any]


@dataclass(frozen=True)
class References:
    """Names, all of the objects' own namespace."""

    secrets: frozenset[str] = frozenset()
    config_maps: frozenset[str] = frozenset()
    accounts: frozenset[str] = frozenset()
    """The service accounts as which something is asked of the Kubernetes API."""


def references(bundle: Bundle) -> References:
    """Everything that the objects of one namespace name."""
    secrets: set[str] = set()
    config_maps: set[str] = set()
    accounts: set[str] = set()
    kinds = kinds_of(bundle)
    objects: list[EventSource | Sensor] = [*bundle.event_sources, *bundle.sensors]
    for one in objects:
        if any(part.rights.required or part.rights.unknown for part in parts(one, kinds)):
            accounts.add(account_of(one.metadata.namespace, one.spec.template).name)
    for source in bundle.event_sources:
        for event in source.events:
            _look(event.config, secrets, config_maps)
    for sensor in bundle.sensors:
        for trigger in sensor.triggers:
            _look_at_trigger(trigger, secrets, config_maps)
    for bus in bundle.event_buses:
        _look(bus.spec, secrets, config_maps)
    return References(frozenset(secrets), frozenset(config_maps), frozenset(accounts))


def runner_rules(objects: Iterable[Object]) -> list[Object]:
    """The rules of the Role of a namespace's runner: what it needs to serve these EventSources, Sensors and EventBuses, as the API
    has them, and no more. What its sensors do with other objects they do as their own service accounts.

    A rule with ``resourceNames`` covers ``list`` and ``watch`` of just that name (Kubernetes documentation, "Referring to resources").
    """
    named = references(from_objects(objects))
    rules: list[Object] = [
        {
            "apiGroups": ["argoproj.io"],
            "resources": ["eventbus", "eventsources", "sensors"],
            "verbs": ["list", "watch"],
        }
    ]
    for resource, names, verbs in (
        ("secrets", named.secrets, ["list", "watch"]),
        ("configmaps", named.config_maps, ["list", "watch"]),
        ("serviceaccounts/token", named.accounts, ["create"]),
    ):
        if names:
            rules.append({"apiGroups": [""], "resources": [resource], "resourceNames": sorted(names), "verbs": verbs})
    return rules


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
