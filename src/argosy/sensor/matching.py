"""One sensor, compiled: which of its dependencies accept an event, and which triggers then have what they wait for.

Everything is parsed when the manifest is loaded and nothing after that. ``decide`` is a pure function of the event; ``Plan.advance`` is a pure
function of the event and the join state. Production, tests and explanations run this same code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from argosy.bus._base import Pair
from argosy.errors import ConfigError, LangError
from argosy.event import Event
from argosy.lang import cron, gjson, gojson
from argosy.lang.conditions import Condition
from argosy.lang.cron import Schedule
from argosy.lang.gjson import Document, Path
from argosy.manifests._collecting import condition_of
from argosy.manifests._collecting_models import Batch
from argosy.manifests.fields import TriggerParameterSource
from argosy.manifests.sensor import Dependency, Sensor, TriggerSpec, TriggerTemplate
from argosy.sensor import filters, transform
from argosy.sensor.fanout import FanOut
from argosy.sensor.gathering import Rule
from argosy.sensor.join import Absence, JoinState
from argosy.sensor.transform import Transform
from argosy.sensor.verdict import Verdict


class Decision(NamedTuple):
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


class Readings:
    """The newest readings of this process. An engine hands one Event to all sensors of a process, so the event itself is the key."""

    def __init__(self, most: int = 512, most_bytes: int = 4 * 1024 * 1024) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._bytes = 0
        self._found: dict[int, Reading] = {}

    def of(self, event: Event) -> Reading:
        """The reading of this very event, made where nobody has asked for it lately."""
        reading = self._found.get(id(event))  # stands for the event as long as the reading holds it
        if reading is None:
            reading = self._found[id(event)] = Reading(event)
            self._bytes += len(event.data)
            while len(self._found) > self._most or self._bytes > self._most_bytes:
                self._bytes -= len(self._found.pop(next(iter(self._found))).event.data)
        return reading


_readings = Readings()


@dataclass(frozen=True)
class Plan:
    """One trigger: when it runs. Durations are in seconds."""

    trigger: str
    condition: Condition
    definitions: Mapping[str, str]
    resets: Sequence[Schedule]
    correlate: Mapping[str, Path] = field(default_factory=dict)
    within: float | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    absent: Absence | None = None
    rule: Rule | None = None
    """How completions are gathered before they become an action, if they are."""
    gather_key: TriggerParameterSource | None = None
    max_pending: int = 10_000
    fan_out: FanOut | None = None

    @property
    def names(self) -> Sequence[str]:
        """The dependencies whose events the trigger takes in."""
        if self.absent is None:
            return self.condition.names
        return (*self.condition.names, self.absent.dependency)

    @property
    def collects(self) -> bool:
        """Whether the condition has to remember events."""
        return self.condition.joins or bool(self.counts) or self.absent is not None

    @property
    def remembers(self) -> bool:
        """Whether anything of the trigger has to be remembered."""
        return self.collects or self.rule is not None

    @property
    def timed(self) -> bool:
        """Whether more than the names of dependencies says what the trigger waits for."""
        return bool(self.correlate or self.counts) or self.within is not None or not self.plain

    @property
    def plain(self) -> bool:
        """Whether nothing ever comes due by itself."""
        return self.absent is None and self.rule is None

    def join(self, key: str = "", generation: int = 0, text: bytes | None = None) -> JoinState:
        """What the condition has collected for one value, out of the stored text. Raises EventInvalid if that cannot be read."""
        paths = {name: path.text for name, path in sorted(self.correlate.items())}
        also = [f"correlate {gojson.dumps(paths).decode()}"] if paths else []
        also += [f"absent {self.absent.dependency}"] if self.absent else []
        return JoinState.load(
            text,
            self.condition,
            self.definitions,
            self.resets,
            within=self.within,
            counts=self.counts,
            absent=self.absent,
            also=" ".join(also),
            key=key,
            generation=generation,
        )


def _plan(trigger: TriggerSpec, definitions: Mapping[str, str], strict: bool) -> Plan:
    """The trigger compiled. Raises LangError where a text does not parse; parts that do not fit together were found before."""
    frame = trigger.frame or TriggerTemplate(name=trigger.name, conditions=trigger.conditions)
    absent = Absence(frame.absent.dependency, frame.absent.after) if frame.absent else None
    condition = condition_of(frame, list(definitions))
    wanted = (*condition.names, *([absent.dependency] if absent else ()))
    resets = [cron.compile(one.by_time.cron, one.by_time.timezone or "UTC") for one in trigger.conditions_reset]
    rule, key = _rule(trigger)
    return Plan(
        trigger.name,
        condition,
        {name: definitions[name] for name in wanted},
        resets,
        {name: gjson.compile(path) for name, path in (frame.correlate or {}).items()},
        frame.within,
        frame.count or {},
        absent,
        rule,
        key,
        frame.max_pending,
        FanOut(trigger.for_each, strict=strict) if trigger.for_each else None,
    )


def _rule(trigger: TriggerSpec) -> tuple[Rule | None, TriggerParameterSource | None]:
    for name, block in (("batch", trigger.batch), ("debounce", trigger.debounce)):
        if block is not None:
            said = gojson.dumps(block.key.model_dump(mode="json", exclude_defaults=True)).decode() if block.key else ""
            if isinstance(block, Batch):
                return Rule(name, block.window, most=block.max_events, key=said), block.key
            return Rule(name, block.quiet, at_most=block.at_most, key=said), block.key
    return None, None


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
                self.plans.append(_plan(trigger, definitions, sensor.spec.strict))
            except LangError as error:
                raise ConfigError(f"trigger {trigger.name!r}: {error.message}") from error

    @property
    def pairs(self) -> list[Pair]:
        """What the sensor listens to."""
        return [Pair(*pair) for pair in self._by_pair]

    def decide(self, event: Event, reading: Reading | None = None) -> list[Decision]:
        """What each dependency on this event's source and name says to it, in the manifest's order. Never raises, whatever the event holds.

        ``reading`` is the event's; without it, the one that this process has made of the event.
        """
        concerned = self._by_pair.get((event.source, event.subject))
        if concerned is None:
            return []
        if reading is None:
            reading = _readings.of(event)
        return [dependency.decide(reading) for dependency in concerned]
