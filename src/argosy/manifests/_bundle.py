"""What a set of manifests says, as a value: what can run, what it refers to, and what is wrong.

``argosy.manifests.loading`` makes it. Objects with an error are not in its lists, only in its findings; for a
reload, ``keeping`` puts what ran before in their place. ``argosy.manifests.bundle`` is the public face.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

from argosy.manifests._yaml import Node
from argosy.manifests.eventbus import EventBus
from argosy.manifests.eventsource import EventSource
from argosy.manifests.fields import Metadata
from argosy.manifests.findings import Finding
from argosy.manifests.sensor import Sensor

ObjectT = TypeVar("ObjectT", EventSource, Sensor, EventBus)

UNREADABLE = frozenset({"yaml", "encoding", "too-large", "unreadable"})
"""Codes of findings after which a file's objects may be there although they were not seen."""


class Key(NamedTuple):
    """What tells one object from another."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True)
class Origin:
    """Where an object stands. ``root`` finds line and column of a path inside it."""

    file: str
    root: Node = field(repr=False)


class Values(dict[str, str]):
    """What a Secret or a ConfigMap holds, decoded, by key. Its values never show.

    Bytes that are no UTF-8 are escaped (``surrogateescape``).
    """

    def __repr__(self) -> str:
        return f"<{len(self)} hidden values>"


@dataclass(frozen=True)
class WorkflowTemplate:
    """A WorkflowTemplate or ClusterWorkflowTemplate, as it was read."""

    kind: str
    metadata: Metadata
    raw: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class AccessObject:
    """An object that says who may do what, or which kinds there are, as it was read: a ServiceAccount, a Role or binding, a
    CustomResourceDefinition, a User or Permission of RabbitMQ's operator.
    """

    kind: str
    metadata: Metadata
    raw: dict[str, Any] = field(repr=False)


@dataclass
class Bundle:
    """What a set of manifests says. ``ignored`` counts, by kind, documents of no interest here."""

    event_sources: list[EventSource] = field(default_factory=list)
    sensors: list[Sensor] = field(default_factory=list)
    event_buses: list[EventBus] = field(default_factory=list)
    secrets: dict[tuple[str, str], Values] = field(default_factory=dict)
    """By (namespace, name)."""
    config_maps: dict[tuple[str, str], Values] = field(default_factory=dict)
    """By (namespace, name)."""
    workflow_templates: list[WorkflowTemplate] = field(default_factory=list)
    access: list[AccessObject] = field(default_factory=list, compare=False)
    """What tells who may do what in a cluster; only checked against, never run."""
    definitions: list[AccessObject] = field(default_factory=list, compare=False)
    """The CustomResourceDefinitions."""
    broker_access: list[AccessObject] = field(default_factory=list, compare=False)
    """Users and Permissions of RabbitMQ, as its topology operator knows them."""
    findings: list[Finding] = field(default_factory=list)
    files: list[str] = field(default_factory=list, compare=False)
    ignored: Counter[str] = field(default_factory=Counter, compare=False)
    whole: frozenset[str] = field(default=frozenset(), compare=False)
    """The kinds of which all objects are here, because a cluster was asked for them: what is not here is nowhere."""
    origins: dict[Key, Origin] = field(default_factory=dict, repr=False, compare=False)
    """Where each object stands, those with errors included."""
    declared: dict[tuple[str, str], set[str]] = field(default_factory=dict, repr=False, compare=False)
    """The event names of every EventSource, and of every ``emit``, by (namespace, name), those with errors included."""

    def event_source(self, namespace: str, name: str) -> EventSource | None:
        """The EventSource of this name, or None."""
        return _find(self.event_sources, namespace, name)

    def sensor(self, namespace: str, name: str) -> Sensor | None:
        """The Sensor of this name, or None."""
        return _find(self.sensors, namespace, name)

    def event_bus(self, namespace: str, name: str = "default") -> EventBus | None:
        """The EventBus of this name, or None."""
        return _find(self.event_buses, namespace, name)

    def workflow_template(self, namespace: str, name: str, kind: str = "WorkflowTemplate") -> WorkflowTemplate | None:
        """The WorkflowTemplate of this name, or None; a ClusterWorkflowTemplate has no namespace."""
        for one in self.workflow_templates:
            same_place = kind == "ClusterWorkflowTemplate" or one.metadata.namespace == namespace
            if one.kind == kind and one.metadata.name == name and same_place:
                return one
        return None

    def keeping(self, before: Bundle) -> Bundle:
        """This bundle, where what is broken now stays as it was ``before``: a reload must not stop what runs.

        That is every object that has an error now, and every object of a file that cannot be read any more.
        """
        torn = {finding.file for finding in self.findings if finding.code in UNREADABLE}

        def stays(kind: str, namespace: str, name: str) -> bool:
            key = Key(kind, namespace, name)
            return key in self.origins or (key in before.origins and before.origins[key].file in torn)

        def merged(kind: str, now: list[ObjectT], then: list[ObjectT]) -> list[ObjectT]:
            here = {(one.metadata.namespace, one.metadata.name) for one in now}
            places = [(one, one.metadata.namespace, one.metadata.name) for one in then]
            return now + [one for one, space, name in places if (space, name) not in here and stays(kind, space, name)]

        def values(
            kind: str, now: dict[tuple[str, str], Values], then: dict[tuple[str, str], Values]
        ) -> dict[tuple[str, str], Values]:
            return {**{at: held for at, held in then.items() if stays(kind, *at)}, **now}

        return replace(
            self,
            event_sources=merged("EventSource", self.event_sources, before.event_sources),
            sensors=merged("Sensor", self.sensors, before.sensors),
            event_buses=merged("EventBus", self.event_buses, before.event_buses),
            secrets=values("Secret", self.secrets, before.secrets),
            config_maps=values("ConfigMap", self.config_maps, before.config_maps),
            origins={**before.origins, **self.origins},
        )

    @property
    def here(self) -> str:
        """Where the objects are, for a sentence about one that is not."""
        return "among these manifests or on the cluster" if self.whole else "among these manifests"

    def count(self, severity: str) -> int:
        """How many findings of this severity there are."""
        return sum(finding.severity == severity for finding in self.findings)


def _find(objects: list[ObjectT], namespace: str, name: str) -> ObjectT | None:
    return next((one for one in objects if one.metadata.name == name and one.metadata.namespace == namespace), None)
