"""One sensor, compiled: which of its dependencies accept an event, and which triggers then have what they wait for.

Everything is parsed when the manifest is loaded and nothing after that. ``decide`` is a pure function of the event; ``Plan.advance`` is a pure
function of the event and the join state. Production, tests and explanations run this same code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from argosy.bus._base import Pair
from argosy.errors import ConfigError, LangError
from argosy.event import Event
from argosy.lang import conditions, cron, gojson
from argosy.lang.conditions import Condition
from argosy.lang.cron import Schedule
from argosy.lang.gjson import Document
from argosy.manifests.sensor import Dependency, Sensor
from argosy.sensor import filters, transform
from argosy.sensor.join import JoinState
from argosy.sensor.transform import Transform
from argosy.sensor.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Decision:
    """What one dependency said to one event. ``event`` is the transformed event where it was accepted."""

    dependency: str
    verdict: Verdict
    event: Event | None = None


class Reading:
    """One event, read once for all sensors that look at it: its parsed data, and what each transform made of it."""

    __slots__ = ("_accepted", "_transformed", "document", "event")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.document = Document(event.data)
        self._transformed: dict[Transform, Document | LangError] = {}
        self._accepted: dict[Transform, Event] = {}

    def transformed(self, transform: Transform) -> Document | LangError:
        """The data after the transform, or why there is none."""
        found = self._transformed.get(transform)
        if found is None:
            try:
                found = transform(self.document)
            except LangError as error:
                found = error
            self._transformed[transform] = found
        return found

    def accepted(self, transform: Transform, document: Document) -> Event:
        """The event with the transformed data; what it carries then is JSON."""
        event = self._accepted.get(transform)
        if event is None:
            event = replace(self.event, data=document.text, datacontenttype="application/json")
            self._accepted[transform] = event
        return event


@dataclass(frozen=True)
class Plan:
    """One trigger: when it runs."""

    trigger: str
    condition: Condition
    definitions: Mapping[str, str]
    resets: Sequence[Schedule]

    def advance(
        self, state: JoinState | None, dependency: str, event: Event, *, position: int, at: float
    ) -> dict[str, Event] | None:
        """The events to run with, if this accepted event completes the condition; ``state`` only where it joins."""
        if dependency not in self.condition.names:
            return None
        if state is None:
            return {dependency: event}
        return state.take(dependency, event, position=position, at=at)


class _Dependency:
    def __init__(self, spec: Dependency, strict: bool) -> None:
        self.name = spec.name
        self.pair = Pair(spec.event_source_name, spec.event_name)
        self.transform = transform.compile(spec.transform, strict=strict)
        self.filters = filters.compile(spec.filters, spec.filters_logical_operator, strict=strict)
        # Fields that a later version adds must not change what an unchanged manifest says.
        said = spec.model_dump(mode="json", exclude_defaults=True)
        self.definition = hashlib.sha256(gojson.dumps([said, "strict"] if strict else said)).hexdigest()[:16]

    def decide(self, reading: Reading) -> Decision:
        event, document = reading.event, reading.document
        transform = self.transform if event.data else None
        if transform is not None:
            made = reading.transformed(transform)
            if isinstance(made, LangError):
                return Decision(self.name, Verdict("transform", False, made.message, True))
            document = made
            if event.datacontenttype != "application/json":
                event = reading.accepted(transform, document)
        if self.filters is None:
            verdict = _NO_FILTER
        else:
            verdict = self.filters(document, event)
            if not verdict.passed:
                return Decision(self.name, verdict)
        if transform is not None:
            event = reading.accepted(transform, document)
        return Decision(self.name, verdict, event)


_NO_FILTER = Verdict("filters", True, "there is no filter")


class Matcher:
    """A compiled sensor. Raises ConfigError when made, with the dependency or trigger named, if a text does not parse."""

    def __init__(self, sensor: Sensor) -> None:
        self._by_pair: dict[tuple[str, str], list[_Dependency]] = {}
        definitions: dict[str, str] = {}
        for spec in sensor.dependencies:
            try:
                dependency = _Dependency(spec, sensor.spec.strict)
            except LangError as error:
                raise ConfigError(f"dependency {spec.name!r}: {error.message}") from error
            self._by_pair.setdefault(dependency.pair, []).append(dependency)
            definitions[spec.name] = dependency.definition
        self.plans: list[Plan] = []
        for trigger in sensor.triggers:
            try:
                condition = conditions.compile(trigger.conditions, list(definitions))
                resets = [
                    cron.compile(reset.by_time.cron, reset.by_time.timezone or "UTC")
                    for reset in trigger.conditions_reset
                ]
            except LangError as error:
                raise ConfigError(f"trigger {trigger.name!r}: {error.message}") from error
            known = {name: definitions[name] for name in condition.names}
            self.plans.append(Plan(trigger.name, condition, known, resets))

    @property
    def pairs(self) -> list[Pair]:
        """What the sensor listens to."""
        return [Pair(*pair) for pair in self._by_pair]

    def decide(self, event: Event, reading: Reading | None = None) -> list[Decision]:
        """What each dependency on this event's source and name says to it, in the manifest's order. Never raises, whatever the event holds.

        ``reading`` is the event's, where several sensors look at it.
        """
        concerned = self._by_pair.get((event.source, event.subject))
        if concerned is None:
            return []
        if reading is None:
            reading = Reading(event)
        return [dependency.decide(reading) for dependency in concerned]
