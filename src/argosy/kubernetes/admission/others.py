"""What can only be said of an object with the others of its namespace in view: those that it names, and those that are in its way.

Names that lead nowhere are told and do no harm, unless they can only be slips: what is missing may come. Where nobody knows how the
cluster stands (``Known.whole``), nothing of this is an error.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple, get_args

from argosy.kubernetes.admission.known import Ask, Facts, Known, listening
from argosy.kubernetes.client import Object
from argosy.kubernetes.names import MODE, Mode, mode_of, ours
from argosy.manifests.bundle import Key
from argosy.manifests.checks import names
from argosy.manifests.checks._walk import each_trigger, mapping
from argosy.manifests.checks.addresses import addresses
from argosy.manifests.eventbus import EventBus
from argosy.manifests.eventsource import EventSource
from argosy.manifests.findings import Severity, path_text
from argosy.manifests.sensor import Sensor
from argosy.manifests.spelling import did_you_mean

_ADMIN_PORT = "7777"
"""Where every pod of ours serves ``/healthz``, ``/readyz`` and ``/metrics``, unless its template says otherwise."""


class Remark(NamedTuple):
    """Something to say about an object. ``asks`` are those on whose state it rests."""

    path: str
    message: str
    severity: Severity
    code: str
    asks: tuple[Ask, ...] = ()


def beside(item: Object, facts: Facts, made: EventSource | EventBus | Sensor | None, known: Known) -> Iterator[Remark]:
    """What there is to say about ``item`` among the others; ``made`` is what it was read as, None where it has errors."""
    for one in (
        *_mode(facts),
        *_told_at(item, facts),
        *_bus(facts, known),
        *_accounts(item, facts, made, known),
        *_ports(item, facts, known),
    ):
        yield one if known.whole or one.severity != "error" else one._replace(severity="warning")
    if isinstance(made, Sensor):
        for one in _waits(made, facts, known):
            yield one if known.whole or one.severity != "error" else one._replace(severity="warning")


def _mode(facts: Facts) -> Iterator[Remark]:
    said = facts.annotations.get(MODE)
    if said is not None and said not in get_args(Mode) and facts.kind != "EventBus":
        text = f"'{MODE}' must be one of {', '.join(get_args(Mode))}; this does not count{did_you_mean(said, get_args(Mode))}"
        yield Remark(path_text(("metadata", "annotations", MODE)), text, "warning", "")


def _bus(facts: Facts, known: Known) -> Iterator[Remark]:
    if facts.kind == "EventBus" or known.fact("EventBus", facts.bus):
        return
    near = did_you_mean(facts.bus, [one.name for one in known.each("EventBus")])
    text = f"there is no EventBus '{facts.bus}' in namespace '{known.namespace}' yet; nothing runs until there is{near}"
    yield Remark("spec.eventBusName", text, "warning", "unknown-event-bus", (("EventBus", facts.bus),))


def _waits(sensor: Sensor, facts: Facts, known: Known) -> Iterator[Remark]:
    """Events that nobody gives, in lint's words."""
    declared: dict[str, set[str]] = defaultdict(set)
    written: dict[Key, str] = {}
    # An EventSource's own bus counts before that of a sensor that emits in its name.
    for one in sorted([*(each for each in known.facts if each.at != facts.at), facts], key=lambda each: each.kind):
        if one.kind == "EventSource":
            declared[one.name] |= set()
            written[Key("EventSource", known.namespace, one.name)] = one.bus
        for source, event in one.gives:
            declared[source].add(event)
            written.setdefault(Key("EventSource", known.namespace, source), one.bus)
    for problem in names.dependencies(sensor, {known.namespace: declared}, written):
        dependency = sensor.dependencies[int(problem.loc[2])]
        # Lint calls it a note where a set of manifests has no event source at all; a cluster is all there is.
        severity: Severity = "error" if problem.severity == "error" else "warning"
        text = problem.message
        if problem.code == "unknown-event-source" and severity == "warning":
            text += "; the sensor waits until there is one"
        asks = (("EventSource", dependency.event_source_name),)
        yield Remark(path_text(problem.loc), text, severity, problem.code, asks)


def _accounts(
    item: Object, facts: Facts, made: EventSource | EventBus | Sensor | None, known: Known
) -> Iterator[Remark]:
    if known.accounts is None or facts.kind == "EventBus":
        return
    named = {"spec.template.serviceAccountName": mapping(item, "spec", "template").get("serviceAccountName")}
    if isinstance(made, Sensor):
        for loc, trigger in each_trigger(made):
            place = path_text((*loc, "template", trigger.kind, "serviceAccountName"))
            named[place] = getattr(trigger.config, "service_account_name", None)
    for place, name in named.items():
        if isinstance(name, str) and name and name not in known.accounts:
            near = did_you_mean(name, known.accounts)
            text = f"there is no ServiceAccount '{name}' in namespace '{known.namespace}' yet{near}"
            yield Remark(place, text, "warning", "unknown-service-account", (("ServiceAccount", name),))


def _told_at(item: Object, facts: Facts) -> Iterator[Remark]:
    """Events on the port where their pod tells how it is."""
    for one in addresses(item) if facts.kind == "EventSource" else ():
        if one.port == _ADMIN_PORT:
            text = f"port {one.port} is where its pod tells health and metrics, and cannot be had; take another port"
            yield Remark(path_text(one.loc), text, "warning", "")


def _ports(item: Object, facts: Facts, known: Known) -> Iterator[Remark]:
    """Events of two objects that one runner would have to serve at one place. Pods of their own have ports of their own."""
    if facts.kind != "EventSource" or not _shared(facts, known):
        return
    others = [
        one for one in known.each("EventSource") if one.at != facts.at and not one.leaving and _shared(one, known)
    ]
    places: dict[tuple[str, str], tuple[Facts, str]] = {}
    ports: dict[str, tuple[Facts, bool]] = {}
    for other in others:
        for there in other.listens:
            places.setdefault((there.port, there.path), (other, there.event))
            ports.setdefault(there.port, (other, there.tls))
    for address, mine in zip(addresses(item), listening(item), strict=True):
        path = path_text(address.loc)
        if (place := places.get((mine.port, mine.path))) is not None:
            text = (
                f"port {mine.port} with {mine.path} is taken by event '{place[1]}' of {place[0]} already, and one"
                " runner serves both; take another port or path, or pods of its own"
            )
            yield _in_the_way(path, text, "duplicate-endpoint", facts, place[0], known)
        elif (port := ports.get(mine.port)) is not None and port[1] != mine.tls:
            text = (
                f"port {mine.port} has {'a certificate' if port[1] else 'no certificate'} for {port[0]}, and"
                f" {'none' if port[1] else 'one'} here, and one runner serves both; take another port"
            )
            yield _in_the_way(path, text, "duplicate-endpoint", facts, port[0], known)


def _in_the_way(path: str, text: str, code: str, facts: Facts, other: Facts, known: Known) -> Remark:
    # Whether the two are together is not sure before the namespace was asked.
    unsure = known.about is None and not all(MODE in one.annotations for one in (facts, other))
    asks: tuple[Ask, ...] = (other.at, *((("Namespace", known.namespace),) if unsure else ()))
    return Remark(path, text, "error", code, asks)


def _shared(one: Facts, known: Known) -> bool:
    """Whether the runner of the namespace serves it. Where it depends on a namespace that was not asked: perhaps, so yes."""
    metadata = {"annotations": one.annotations}
    if not ours(metadata):
        return False
    unsure = known.whole and known.about is None and MODE not in one.annotations
    return unsure or mode_of(metadata, known.about, known.mode) == "shared"
