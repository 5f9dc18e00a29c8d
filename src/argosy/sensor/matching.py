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
from argosy.sensor.verdict import Verdict


@dataclass(frozen=True)
class Decision:
    """What one dependency said to one event. ``event`` is the transformed event where it was accepted."""

    dependency: str
    verdict: Verdict
    event: Event | None = None


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
    def __init__(self, spec: Dependency) -> None:
        self.name = spec.name
        self.pair = Pair(spec.event_source_name, spec.event_name)
        self.transform = transform.compile(spec.transform)
        self.filters = filters.compile(spec.filters, spec.filters_logical_operator)
        self.definition = hashlib.sha256(gojson.dumps(spec.model_dump(mode="json"))).hexdigest()[:16]

    def decide(self, document: Document, event: Event) -> Decision:
        if self.transform is not None:
            try:
                document = self.transform(document)
            except LangError as error:
                return Decision(self.name, Verdict("transform", False, error.message, True))
        if self.filters is not None:
            verdict = self.filters(document, event)
            if not verdict.passed:
                return Decision(self.name, verdict)
        else:
            verdict = Verdict("filters", True, "there is no filter")
        accepted = event if self.transform is None else replace(event, data=document.text)
        return Decision(self.name, verdict, accepted)


class Matcher:
    """A compiled sensor. Raises ConfigError when made, with the dependency or trigger named, if a text does not parse."""

    def __init__(self, sensor: Sensor) -> None:
        self._by_pair: dict[Pair, list[_Dependency]] = {}
        definitions: dict[str, str] = {}
        for spec in sensor.dependencies:
            try:
                dependency = _Dependency(spec)
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
        return list(self._by_pair)

    def decide(self, event: Event) -> list[Decision]:
        """What each dependency on this event's source and name says to it, in the manifest's order."""
        document = Document(event.data)
        pair = Pair(event.source, event.subject)
        return [dependency.decide(document, event) for dependency in self._by_pair.get(pair, ())]
