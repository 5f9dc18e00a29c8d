"""What objects name of the namespace around them: Secrets and ConfigMaps, and the service account as which they act.

A runner serves many objects in one pod, so nothing is mounted for it: it reads from the API what its objects name, each by its name, and
may read nothing else (``argosy.kubernetes.controller.access``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from argosy.kubernetes.kinds import Kinds
from argosy.kubernetes.rights import Account, account_of
from argosy.manifests.bundle import Bundle
from argosy.manifests.checks._needs import parts
from argosy.manifests.checks._walk import Selector, each_selector, each_trigger
from argosy.manifests.eventbus import EventBus
from argosy.manifests.eventsource import EventSource
from argosy.manifests.fields import ConfigMapKeySelector, SecretKeySelector
from argosy.manifests.sensor import Sensor


@dataclass
class Named:
    """The Secrets and ConfigMaps that something names."""

    secrets: dict[str, set[str]] = field(default_factory=dict)
    """Keys by Secret."""
    config_maps: dict[str, set[str]] = field(default_factory=dict)
    """Keys by ConfigMap."""

    def take(self, selectors: Iterator[Selector]) -> None:
        """Add what these name; one without a name names nothing."""
        for selector in selectors:
            names = self.secrets if isinstance(selector, SecretKeySelector) else self.config_maps
            if selector.name:
                names.setdefault(selector.name, set()).add(selector.key)


def named(*objects: EventSource | Sensor | EventBus) -> Named:
    """What the objects name in all their events or triggers, dead-letter triggers included."""
    found = Named()
    for one in objects:
        if isinstance(one, EventSource):
            for event in one.events:
                found.take(_selectors(event.config))
        elif isinstance(one, EventBus):
            found.take(_selectors(one.spec))
        else:
            for _, trigger in each_trigger(one):
                # Where the trigger's own parameters complete it there is no model yet, and the manifest is read as it stands.
                found.take(_selectors(trigger.config) if trigger.config else _written(trigger.template_raw, ""))
    return found


def references(bundle: Bundle) -> Named:
    """Everything that the objects of one namespace name."""
    return named(*bundle.event_sources, *bundle.sensors, *bundle.event_buses)


def _selectors(block: object) -> Iterator[Selector]:
    """The keys of Secrets and ConfigMaps that a configuration names."""
    return (selector for _, selector in each_selector(block))


def acting(one: EventSource | Sensor) -> Account | None:
    """The service account as which the object asks the Kubernetes API; None if it asks for nothing there."""
    if any(part.rights.required or part.rights.unknown for part in parts(one, Kinds())):
        return account_of(one.metadata.namespace, one.spec.template)
    return None


def _written(block: object, word: str) -> Iterator[Selector]:
    """The same in a block that no model has read: a mapping of a name and a key, whose field says which kind it is."""
    if isinstance(block, list):
        for item in block:
            yield from _written(item, word)
    elif isinstance(block, dict):
        name, key = block.get("name"), block.get("key")
        if isinstance(name, str) and isinstance(key, str) and set(block) <= {"name", "key", "optional"}:
            model = ConfigMapKeySelector if "configmap" in word.lower() else SecretKeySelector
            yield model(name=name, key=key)
            return
        for inner, item in block.items():
            if inner != "resource":  # an object to make: what it names is read where it runs
                yield from _written(item, str(inner))
