"""What a review needs to know of a namespace: a few facts of every object there, and the objects that it must see whole.

The facts are small, so that those of hundreds of objects can be sent along with every question.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from argosy.kubernetes.client import Object
from argosy.kubernetes.names import MODE, RESPONSIBLE, Mode
from argosy.manifests.checks._walk import mapping
from argosy.manifests.checks.addresses import addresses, shape
from argosy.manifests.eventsource import declared_events
from argosy.manifests.sensor import declared_by_emit

KINDS = ("EventBus", "EventSource", "Sensor")
"""The kinds that are judged."""

Ask = tuple[str, str]
"""Kind and name of something in the namespace on whose state an answer rests."""


class Listens(msgspec.Struct, frozen=True):
    """Where an event listens. ``tls`` says whether with a certificate of its own."""

    event: str
    port: str
    path: str
    tls: bool


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What others must know of an object."""

    kind: str
    name: str
    bus: str = ""
    gives: list[tuple[str, str]] = []
    """The events that it puts on the bus: source and event."""
    waits: list[tuple[str, str]] = []
    """The events that it waits for."""
    listens: list[Listens] = []
    annotations: dict[str, str] = {}
    """Those that say whose it is and how it is served."""
    leaving: bool = False
    """It is being deleted."""

    @property
    def at(self) -> Ask:
        """Its kind and name."""
        return self.kind, self.name

    def __str__(self) -> str:
        return f"{self.kind} '{self.name}'"


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What the cluster holds of one namespace."""

    namespace: str
    facts: list[Facts] = []
    sources: list[dict[str, Any]] = []
    """EventSources as they stand: those that a reviewed sensor waits for."""
    accounts: list[str] | None = None
    """The names of the ServiceAccounts; None where nobody knows."""
    about: dict[str, Any] | None = None
    """The metadata of the namespace; None where it was not asked for."""
    mode: Mode = "dedicated"
    """How objects are served that do not say it."""
    whole: bool = True
    """Whether this is how the cluster stands; else nothing is refused for it."""

    def fact(self, kind: str, name: str) -> Facts | None:
        """The facts of an object, or None."""
        return next((one for one in self.facts if one.at == (kind, name)), None)

    def each(self, kind: str) -> Iterator[Facts]:
        """The facts of the objects of a kind."""
        return (one for one in self.facts if one.kind == kind)

    def refreshed(self, found: Mapping[Ask, Object | None]) -> Known:
        """The same, with these objects as they are now; None for those that are not there."""
        facts = [one for one in self.facts if one.at not in found]
        sources = [one for one in self.sources if ("EventSource", mapping(one, "metadata").get("name")) not in found]
        accounts = None if self.accounts is None else set(self.accounts)
        about = self.about
        for (kind, name), item in found.items():
            if kind == "Namespace":
                about = mapping(item, "metadata")
            elif kind == "ServiceAccount" and accounts is not None:
                accounts = accounts | {name} if item else accounts - {name}
            elif item is not None and kind in KINDS:
                facts.append(facts_of(item))
                sources += [item] if kind == "EventSource" else []
        return msgspec.structs.replace(
            self,
            facts=facts,
            sources=sources,
            accounts=None if accounts is None else sorted(accounts),
            about=about,
        )


def known(
    namespace: str,
    objects: Iterable[Object],
    *,
    accounts: Iterable[str] | None = None,
    about: dict[str, Any] | None = None,
    mode: Mode = "dedicated",
    whole: bool = True,
) -> Known:
    """What these objects of a namespace tell."""
    there = list(objects)
    return Known(
        namespace=namespace,
        facts=[facts_of(one) for one in there if one.get("kind") in KINDS],
        sources=[one for one in there if one.get("kind") == "EventSource"],
        accounts=None if accounts is None else sorted(accounts),
        about=about,
        mode=mode,
        whole=whole,
    )


def told(facts: Iterable[Facts], kind: str, item: Object) -> Iterator[Facts]:
    """The facts as far as they matter to an object of this kind: what others have is sent along with each question, and may be much."""
    name = mapping(item, "metadata").get("name")
    named = {source for source, _ in waited_for(item)} if kind == "Sensor" else {name}
    for one in facts:
        listens = one.listens if kind == "EventSource" else []
        waits = [pair for pair in one.waits if pair[0] == name] if kind == "EventSource" else []
        # Of an event source that nobody names here, its own name is enough to see a slip.
        gives = one.gives if kind != "EventBus" and (one.kind == "Sensor" or one.name in named) else []
        yield msgspec.structs.replace(one, gives=gives, waits=waits, listens=listens)


def facts_of(item: Object) -> Facts:
    """What others must know of this object; also of one that is not valid."""
    about, kind = mapping(item, "metadata"), str(item.get("kind"))
    name, annotations = str(about.get("name") or ""), mapping(about, "annotations")
    made: dict[str, Any] = {
        "kind": kind,
        "name": name,
        "annotations": {key: str(annotations[key]) for key in (MODE, RESPONSIBLE) if key in annotations},
        "leaving": bool(about.get("deletionTimestamp")),
    }
    if kind != "EventBus":
        bus = mapping(item, "spec").get("eventBusName")
        made["bus"] = bus if isinstance(bus, str) and bus else "default"
    if kind == "EventSource":
        made |= {"gives": [(name, event) for event in sorted(declared_events(item))], "listens": list(listening(item))}
    elif kind == "Sensor":
        made |= {"gives": list(declared_by_emit(item)), "waits": list(waited_for(item))}
    return Facts(**made)


def listening(source: Object) -> Iterator[Listens]:
    """Where the events of an EventSource listen."""
    for one in addresses(source):
        yield Listens(str(one.loc[-1]), one.port, shape(one.path), one.tls)


def waited_for(sensor: Object) -> Iterator[tuple[str, str]]:
    """The events that a Sensor waits for."""
    dependencies = mapping(sensor, "spec").get("dependencies")
    for one in dependencies if isinstance(dependencies, list) else ():
        pair = (one.get("eventSourceName"), one.get("eventName")) if isinstance(one, dict) else (None, None)
        if isinstance(pair[0], str) and isinstance(pair[1], str):
            yield pair[0], pair[1]
