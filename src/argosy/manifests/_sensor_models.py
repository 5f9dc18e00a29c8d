"""The parts of a Sensor manifest that are the same whatever its triggers do.

Dependencies, filters and the frames of triggers, field by field as upstream has them
(``pkg/apis/events/v1alpha1/sensor_types.go``), with those of its rules
(``pkg/reconciler/sensor/validate.go``) that concern one block alone. ``argosy.manifests.sensor`` puts them
together. Slightly over the usual length: it is a list of fields with their texts, which the pages and schemas are read from.
"""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from argosy.errors import EventInvalid
from argosy.event import parse_time
from argosy.manifests._action_models import ApprovalOrWord, Emit, ForEachOrPath
from argosy.manifests._collecting_models import MOST_COUNTED, Absent, Batch, Debounce
from argosy.manifests.fields import (
    OURS,
    Backoff,
    Duration,
    Json,
    Model,
    TriggerParameter,
    TriggerParameterSource,
    TriggerPolicy,
)
from argosy.manifests.findings import Loc, Problem


def _zone(name: str) -> str:
    if name:
        try:
            zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError("is not a time zone; write for example Europe/Berlin or UTC") from error
    return name


class PayloadField(Model):
    """A value of the event's data (a gjson path) under a name that an expression can use."""

    path: str = Field(min_length=1)
    """A gjson path into the event's data."""
    name: str = Field(min_length=1)
    """The name in the expression."""


class ExprFilter(Model):
    """A boolean expression over named values of the event's data."""

    expr: str = Field(min_length=1)
    """An expression, such as ``amount > 10 && kind == "new"``."""
    fields: list[PayloadField] = Field(min_length=1)
    """The values that it names."""


class DataFilter(Model):
    """One value of the event's data compared with any of several."""

    path: str = Field(min_length=1)
    """A gjson path into the event's data."""
    type: Literal["bool", "number", "string"]
    """How the value is compared."""
    value: list[str] = Field(min_length=1)
    """What it is compared with; one must fit."""
    comparator: Literal["", ">=", ">", "=", "!=", "<", "<="] = ""
    """How; empty means equal. Text is matched with regular expressions."""
    template: str = ""
    """A Go template that makes of the value what is compared; ``.Input`` is the value."""

    @field_validator("value")
    @classmethod
    def _no_empty_value(cls, value: list[str]) -> list[str]:
        if not all(value):
            raise ValueError("must not hold an empty text")
        return value


class EventContextFilter(Model):
    """What the event's context must say; only type, subject, source and datacontenttype are compared."""

    id: str = ""
    """Is not compared."""
    source: str = ""
    """The event source's name."""
    specversion: str = ""
    """Is not compared."""
    type: str = ""
    """The event's type."""
    datacontenttype: str = ""
    """The content type of the data."""
    subject: str = ""
    """The event's name."""
    time: str | None = None
    """Is not compared."""

    @model_validator(mode="after")
    def _compares(self) -> EventContextFilter:
        if not (self.type or self.subject or self.source or self.datacontenttype):
            raise ValueError("needs one of type, subject, source and datacontenttype; nothing else is compared")
        return self


class TimeFilter(Model):
    """The part of the day in which the event's time must lie; past midnight where ``start`` is the later."""

    start: str
    """From this time of day on, as ``09:30:00``."""
    stop: str
    """Before this time of day."""
    timezone: str = ""
    """The time zone; empty means UTC."""

    @field_validator("start", "stop")
    @classmethod
    def _clock_time(cls, text: str) -> str:
        # Go's layout 15:04:05 also takes an hour of one digit.
        match = re.fullmatch(r"([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:[.,][0-9]+)?", text)
        if not match or int(match[1]) > 23 or int(match[2]) > 59 or int(match[3]) > 59:
            raise ValueError("is not a time of day; write for example 09:30:00")
        return text

    @field_validator("timezone")
    @classmethod
    def _zone(cls, name: str) -> str:
        return _zone(name)

    @model_validator(mode="after")
    def _differ(self) -> TimeFilter:
        if self.start_time == self.stop_time:
            raise ValueError("'start' and 'stop' are the same time")
        return self

    @property
    def start_time(self) -> dt.time:
        """``start`` as a time of day."""
        return _time(self.start)

    @property
    def stop_time(self) -> dt.time:
        """``stop`` as a time of day."""
        return _time(self.stop)


def _time(text: str) -> dt.time:
    whole, _, part = text.replace(",", ".").partition(".")
    hour, minute, second = whole.split(":")
    return dt.time(int(hour), int(minute), int(second), int(part[:6].ljust(6, "0")))


class Filters(Model):
    """What an event of a dependency must satisfy. An empty list or text is the same as an absent one."""

    dropped: ClassVar[Mapping[str, str]] = {"name": "1.1; nothing took its place"}

    exprs: list[ExprFilter] = Field(default_factory=list)
    """Expressions over values of the data."""
    expr_logical_operator: Literal["", "and", "or"] = ""
    """Whether all (``and``, the default) or one (``or``) of ``exprs`` must hold."""
    data: list[DataFilter] = Field(default_factory=list)
    """Comparisons of values of the data."""
    data_logical_operator: Literal["", "and", "or"] = ""
    """Whether all (``and``, the default) or one (``or``) of ``data`` must hold."""
    context: EventContextFilter | None = None
    """What the event's context must say."""
    time: TimeFilter | None = None
    """When the event must have come."""
    script: str = ""
    """A Lua script that returns true for events that pass; ``event`` is the data."""


class Transform(Model):
    """A program that rewrites the event's data before it is filtered; ``jq`` counts where both are given."""

    jq: str = ""
    """A jq program."""
    script: str = ""
    """A Lua script that returns the new data; ``event`` is the data."""


class Dependency(Model):
    """An event that the sensor waits for."""

    dropped: ClassVar[Mapping[str, str]] = {"gatewayName": "1.0; write 'eventSourceName'"}

    name: str = Field(min_length=1)
    """The name by which conditions and parameters speak of it."""
    event_source_name: str = Field(min_length=1)
    """The EventSource."""
    event_name: str = Field(min_length=1)
    """The event's name in it."""
    filters: Filters | None = None
    """Which of its events count."""
    transform: Transform | None = None
    """What is made of the data first."""
    filters_logical_operator: Literal["", "and", "or"] = ""
    """Whether all groups of filters (``and``, the default) or one (``or``) must hold."""


class ConditionsResetByTime(Model):
    """When to forget what a condition has collected: five cron fields, in a time zone."""

    cron: str = Field(min_length=1)
    """When."""
    timezone: str = ""
    """In which time zone; empty means UTC."""

    @field_validator("timezone")
    @classmethod
    def _zone(cls, name: str) -> str:
        return _zone(name)


class ConditionsReset(Model):
    """One occasion to forget what a condition has collected."""

    by_time: ConditionsResetByTime
    """At these times."""


class RateLimit(Model):
    """At most so many attempts of a trigger per unit of time."""

    unit: Literal["", "Second", "Minute", "Hour"] = "Second"
    """The unit of time."""
    requests_per_unit: int = Field(ge=1)
    """How many attempts at most."""
    burst: int = Field(1, ge=1, le=1_000_000, json_schema_extra=OURS)
    """How many attempts may follow each other at once after a quiet time (ours). Attempts are evenly spaced with 1; with more there are at
    most ``requestsPerUnit + burst - 1`` in any span of one unit.
    """

    @property
    def per_second(self) -> float:
        """Attempts per second."""
        return self.requests_per_unit / {"Minute": 60, "Hour": 3600}.get(self.unit, 1)


class ActionQueue(Model):
    """How the actions of a trigger leave their queue (ours)."""

    concurrency: int = Field(default=1, ge=1, le=256)
    """How many actions run side by side. With 1 they run strictly one after the other, and one that is tried again holds up those
    behind it.
    """
    key: TriggerParameterSource | None = None
    """A value of the action's events, such as ``{dependencyName: order, dataKey: body.id}``. Where several actions run side by side, those
    of one key run one after the other, in order; without a key nothing is said about the order.
    """
    delay: Duration = Field(default=0.0, ge=0)
    """Each action waits so long after its event was stored, as ``10m``."""
    suspend: Literal["queue", "drop"] | None = None
    """The trigger starts suspended: its actions wait in the queue, or are discarded. ``argosy sensor resume`` says otherwise, until this
    field changes.
    """

    @field_validator("key")
    @classmethod
    def _selects(cls, key: TriggerParameterSource | None) -> TriggerParameterSource | None:
        if key is not None and not key.dependency_name:
            raise ValueError("needs dependencyName")
        if key is not None and not (key.data_key or key.data_template or key.context_key or key.context_template):
            raise ValueError("needs one of dataKey, dataTemplate, contextKey and contextTemplate")
        return key


class TriggerTemplate(Model):
    """A trigger's template without its kind's block."""

    dropped: ClassVar[Mapping[str, str]] = {
        "switch": "1.5; write 'conditions'",
        "openFaas": "0.14; write an 'http' trigger",
    }

    name: str = Field(min_length=1)
    """The trigger's name."""
    conditions: str = ""
    """Which dependencies make it fire, as ``a && (b || c)``; empty means all of them."""
    conditions_reset: list[ConditionsReset] = Field(default_factory=list)
    """When it is forgotten what has come so far."""
    correlate: dict[str, Annotated[str, Field(min_length=1)]] | None = Field(
        default=None, min_length=1, json_schema_extra=OURS
    )
    """Dependencies and gjson paths into their (transformed) data, such as ``{order: body.id, payment: body.order.id}`` (ours): only events
    with the same value belong together, and what the condition has collected is kept for each value. Every dependency of the condition
    needs a path. An event without a value there is not taken in.
    """
    within: Duration | None = Field(default=None, gt=0, json_schema_extra=OURS)
    """An event counts for so long, as ``10m``; by the times at which the events were stored (ours)."""
    count: dict[str, Annotated[int, Field(ge=1, le=MOST_COUNTED)]] | None = Field(
        default=None, min_length=1, json_schema_extra=OURS
    )
    """How often an event of a dependency has to come until the dependency holds, as ``{login-failed: 3}`` (ours). The action sees the newest."""
    absent: Absent | None = Field(default=None, json_schema_extra=OURS)
    """The trigger runs when its condition holds and then another dependency does *not* follow in time (ours)."""
    max_pending: int = Field(default=10_000, ge=1, le=1_000_000, json_schema_extra=OURS)
    """For how many values of ``correlate`` a condition collects at a time (ours). Beyond that the value that has waited longest is
    given up, and that is told.
    """


class TriggerBlock(Model):
    """One entry of ``triggers``, the kind's block in its template left out."""

    template: TriggerTemplate
    """What it does, and when."""
    parameters: list[TriggerParameter] = Field(default_factory=list)
    """Change the template for each action: ``dest`` begins with the kind, as ``http.url``."""
    policy: TriggerPolicy | None = None
    """What counts as a success."""
    retry_strategy: Backoff | None = None
    """How often, and after which pauses, an action that failed is tried again."""
    rate_limit: RateLimit | None = None
    """How many attempts per unit of time."""
    at_least_once: bool | None = None
    """False: an action is given up rather than perhaps done twice."""
    queue: ActionQueue | None = Field(None, json_schema_extra=OURS)
    """How the actions leave their queue: how many at a time, in which order, how long after their event (ours)."""
    batch: Batch | None = Field(default=None, json_schema_extra=OURS)
    """Gathers what the condition lets through and runs one action for all of it (ours). The event that the action sees has all of them as its
    data, in the JSON Batch Format of CloudEvents: ``#`` counts them, ``#.data.body.id`` lists a value of each.
    """
    debounce: Debounce | None = Field(default=None, json_schema_extra=OURS)
    """Waits until it has become quiet and runs one action for the last event (ours)."""
    for_each: ForEachOrPath | None = Field(default=None, json_schema_extra=OURS)
    """Runs one action for each element of an array in the event, such as ``body.alerts`` (ours). Each has an id, tries and a dead letter of its own;
    parameters find the element under ``dependencyName: item``.
    """
    emit: Emit | None = Field(default=None, json_schema_extra=OURS)
    """Publishes what an action came to as an event, so that another sensor can go on from there (ours)."""
    approval: ApprovalOrWord | None = Field(default=None, json_schema_extra=OURS)
    """``required``: each action waits in the queue until ``argosy actions approve`` lets it run, or ``deny`` ends it (ours)."""
    dlq_trigger: TriggerBlock | None = None
    """The trigger that runs instead once all tries have failed."""


class StartAt(Model):
    """A place in the log (ours). Exactly one of both."""

    time: str = ""
    """At the first event that was stored at this time or after it, as ``2026-01-31T09:30:00Z``."""
    event: str = ""
    """At the event with this id, that one included."""

    @model_validator(mode="after")
    def _one_place(self) -> StartAt:
        if bool(self.time) == bool(self.event):
            raise ValueError("needs either 'time' or 'event'")
        if self.time:
            try:
                parse_time(self.time)
            except EventInvalid as error:
                raise ValueError(
                    f"has a 'time' that is none: {error}; write for example 2026-01-31T09:30:00Z"
                ) from error
        return self


def _word_or_place(value: object) -> str:
    return "place" if isinstance(value, dict | StartAt) else "word"


class SensorSpec(Model):
    """The spec as written, kinds' blocks left out. ``template`` shapes pods and is kept as it stands."""

    dropped: ClassVar[Mapping[str, str]] = {
        "circuit": "1.5; write 'conditions' in the triggers' templates",
        "dependencyGroups": "1.5; write 'conditions' in the triggers' templates",
        "subscription": "0.17; sensors read the EventBus",
        "serviceLabels": "0.17; sensors have no Service",
        "serviceAnnotations": "0.17; sensors have no Service",
    }

    dependencies: list[Dependency] = Field(min_length=1)
    """The events that it waits for."""
    triggers: list[TriggerBlock] = Field(min_length=1)
    """What it then does."""
    template: dict[str, Json] | None = None
    """The pod: service account, resources, volumes and the like."""
    error_on_failed_round: bool = False
    """Read by nobody."""
    event_bus_name: str = ""
    """The EventBus; empty means ``default``."""
    replicas: int | None = None
    """How many pods there are."""
    revision_history_limit: int | None = None
    """How many old versions of the Deployment are kept."""
    logging_fields: dict[str, str] = Field(default_factory=dict)
    """Read by nobody."""
    start: Annotated[
        Annotated[Literal["new", "earliest"], Tag("word")] | Annotated[StartAt, Tag("place")],
        Discriminator(_word_or_place),
    ] = Field("new", json_schema_extra=OURS)
    """Where a sensor begins that the bus has never seen (ours): ``new`` (with what comes), ``earliest`` (with all that the log still has),
    ``{time: …}`` or ``{event: ID}``. A sensor that has read before goes on where it was, whatever stands here.
    """
    shadow: bool = Field(False, json_schema_extra=OURS)
    """The sensor decides and says what it would do, and fires nothing (ours). ``argosy actions list --shadow`` shows it. What it would have
    done is not made up for when this is taken away; ``argosy replay`` does that.
    """
    strict: bool = Field(False, json_schema_extra=OURS)
    """Filters and scripts mean what they seem to say where upstream's meaning is a trap (ours): every value of ``!=``
    must differ, a regular expression must match the whole text, what is no number or boolean passes no
    clause of that type, a filter that could not be decided does not outvote one that passed, and scripts see arrays whole.
    """


def check_whole(spec: SensorSpec) -> Iterator[Problem]:
    """Upstream's rules for the object as a whole, and names that must differ."""
    # Upstream takes two dependencies of one name and then forgets the first; there is no reading in which
    # that is meant.
    yield from _repeated([one.name for one in spec.dependencies], "dependency", ("dependencies",), ("name",))
    yield from _repeated([one.template.name for one in spec.triggers], "trigger", ("triggers",), ("template", "name"))
    for index, trigger in enumerate(spec.triggers):
        yield from _dead_letters(trigger, ("triggers", index))


def _dead_letters(trigger: TriggerBlock, at: Loc) -> Iterator[Problem]:
    below = trigger.dlq_trigger
    if below is None:
        return
    for block, where in ((trigger, at), (below, (*at, "dlqTrigger"))):
        if block.at_least_once is False:
            text = "'dlqTrigger' needs atLeastOnce: true, here and in the trigger that has it"
            yield Problem("invalid-value", text, (*where, "atLeastOnce"))
    yield from _dead_letters(below, (*at, "dlqTrigger"))


def _repeated(names: list[str], what: str, start: Loc, end: Loc) -> Iterator[Problem]:
    for index, name in enumerate(names):
        if name in names[:index]:
            yield Problem("duplicate-name", f"{what} '{name}' stands twice; names must differ", (*start, index, *end))
