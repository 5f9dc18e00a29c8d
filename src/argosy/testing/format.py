"""What a ``*.test.yaml`` file can say, as models; ``docs/how-to/test-your-sensors.md`` says it to people.

Short forms (a name instead of a mapping, one entry instead of a list) become the long ones while a file is read, so nothing behind
this module knows them. Names are not looked up here: ``argosy.testing.loading`` does that.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from argosy.errors import EventInvalid, LangError
from argosy.event import parse_time
from argosy.lang import durations
from argosy.manifests.fields import Duration, Json, Model

CONTENTS = ("raw", "raw_file", "data", "data_file", "cloud_event", "cloud_event_file")
PARTS = ("object", "payload", "parameters", "block")
"""What of a firing can be compared, in the order in which it is shown."""

_MOMENT = (
    "is not a moment; write a duration since the start such as 90s or 1h30m, or a time such as 2026-01-01T12:00:00Z"
)


def _moment(value: object) -> float | dt.datetime:
    if isinstance(value, float | dt.datetime):
        return value
    if not isinstance(value, str):
        raise ValueError(_MOMENT)
    try:
        seconds = durations.parse(value)
    except LangError:
        try:
            return parse_time(value)
        except EventInvalid:
            raise ValueError(_MOMENT) from None
    if seconds < 0:
        raise ValueError("is before the start; time only goes forward here")
    return seconds


def _start(value: object) -> dt.datetime:
    if isinstance(value, dt.datetime):
        return value
    try:
        start = parse_time(value).astimezone(dt.UTC) if isinstance(value, str) else parse_time("")
    except (EventInvalid, OverflowError):
        raise ValueError("is not a time; write for example 2026-01-01T12:00:00Z") from None
    if not 1970 <= start.year < 2200:
        raise ValueError("is not between 1970 and 2200")  # durations of centuries fit behind it
    return start


def _listed(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _triggered(value: object) -> object:
    return {"trigger": value} if isinstance(value, str) else value


def _answered(value: object) -> object:
    return {value: ""} if value in ("ok", "fails", "rejected", "denied", "unanswered") else value


Moment = Annotated[Any, BeforeValidator(_moment), WithJsonSchema({"type": "string"})]
"""Seconds since the start of the test, or an aware datetime."""

Start = Annotated[dt.datetime, BeforeValidator(_start, json_schema_input_type=str)]

Texts = Annotated[list[str], BeforeValidator(_listed, json_schema_input_type=str | list[str])]
"""Texts that must all be found."""


class GivenEvent(Model):
    """One event, or ``times`` of it, and when it comes."""

    source: str = Field("", alias="from")
    """``eventSource/event``, as a dependency names them."""
    namespace: str = ""
    """Whose event it is, where sensors of several namespaces wait for it."""
    raw: Json = None
    """What arrives at the source, as JSON or text; it is wrapped as the source would."""
    raw_file: str = ""
    headers: dict[str, str] = Field(default_factory=dict)
    """HTTP header fields, or AMQP properties, of ``raw``."""
    method: str = ""
    """The HTTP method, or the change that a resource source saw, of ``raw``."""
    query: str = ""
    """The query of the URL, of ``raw``."""
    data: Json = None
    """The event's data as the sensor gets it."""
    data_file: str = ""
    cloud_event: dict[str, Json] | None = None
    """A whole CloudEvent."""
    cloud_event_file: str = ""
    at: Moment = None
    """When it comes; one second after the event before if nothing is said."""
    id: str = ""
    type: str = ""
    time: str = ""
    """The event's own time, where it differs from ``at``."""
    times: int = Field(1, ge=1, le=100_000)
    every: Duration = Field(1.0, ge=0)
    """The pause between two of ``times``."""

    @model_validator(mode="after")
    def _one_content(self) -> GivenEvent:
        given = [name for name in CONTENTS if name in self.model_fields_set]
        if len(given) > 1:
            raise ValueError(
                "has several contents; give one of raw, rawFile, data, dataFile, cloudEvent, cloudEventFile"
            )
        whole = bool(given) and given[0].startswith("cloud_event")
        if not self.source and not whole:
            raise ValueError("needs 'from': the eventSource/event that a dependency waits for")
        if (self.headers or self.method or self.query) and not (given and given[0].startswith("raw")):
            raise ValueError("has headers, method or query without 'raw'; they are of a message before it is wrapped")
        return self


class Answer(Model):
    """What the receiver of a trigger answers, or the person who is asked for approval. Exactly one of the first six is given."""

    ok: str | None = None
    fails: str | None = None
    """The attempt failed; it is tried again as the manifest says."""
    rejected: str | None = None
    """It failed, and another try cannot help."""
    retry_after: Duration | None = None
    """It failed, and the receiver said when to come back."""
    denied: str | None = None
    """Of a trigger with ``approval``: somebody denied it. Without this it is approved at once."""
    unanswered: str | None = None
    """Of a trigger with ``approval``: nobody decides."""
    detail: dict[str, Json] = Field(default_factory=dict)
    """With ``ok``: what a trigger's ``emit`` publishes of the answer."""
    times: int = Field(1, ge=1, le=100_000)
    takes: Duration = Field(0.0, ge=0)
    """How long the attempt takes."""

    @model_validator(mode="after")
    def _one(self) -> Answer:
        if len(self.model_fields_set & {"ok", "fails", "rejected", "retry_after", "denied", "unanswered"}) != 1:
            raise ValueError("needs one of ok, fails, rejected, retryAfter, denied and unanswered")
        if self.detail and self.ok is None:
            raise ValueError("has 'detail' without 'ok'")
        return self


AnswerOrWord = Annotated[Answer, BeforeValidator(_answered, json_schema_input_type=str | Answer)]
Answers = Annotated[
    list[AnswerOrWord], BeforeValidator(_listed, json_schema_input_type=AnswerOrWord | list[AnswerOrWord])
]


class Parts(Model):
    """What an action became."""

    object: dict[str, Json] | None = None
    """The Kubernetes object with its parameters."""
    payload: Json = None
    """The document that is sent."""
    parameters: dict[str, Json] | None = None
    """A Workflow's arguments, or a Python function's."""
    block: dict[str, Json] | None = None
    """The trigger's block with its parameters."""

    def given(self) -> dict[str, Json]:
        """The parts that are compared."""
        return {name: getattr(self, name) for name in PARTS if name in self.model_fields_set}


class Firing(Parts):
    """An action that is expected."""

    trigger: str
    at: Moment = None
    """When it was first tried."""
    tries: Annotated[int, Field(ge=1)] | list[Moment] | None = None
    """How often, or at which times."""
    events: dict[str, str] | None = None
    """The event of each dependency, by id."""
    contains: Parts | None = None
    golden: str = ""
    """A file with everything that is found."""


FiringOrName = Annotated[Firing, BeforeValidator(_triggered, json_schema_input_type=str | Firing)]


class NoFiring(Model):
    """A trigger that must not fire."""

    trigger: str
    because: Texts = Field(default_factory=list)


NoFiringOrName = Annotated[NoFiring, BeforeValidator(_triggered, json_schema_input_type=str | NoFiring)]


class DeadLetter(Model):
    """An action that must have been given up."""

    trigger: str
    because: Texts = Field(default_factory=list)
    tries: int | None = None
    at: Moment = None


DeadLetterOrName = Annotated[DeadLetter, BeforeValidator(_triggered, json_schema_input_type=str | DeadLetter)]


class Around(Model):
    """What can be said for a whole file or for one test."""

    manifests: list[str] | None = None
    """Files and folders, seen from the test's file; its own folder if nothing is said."""
    sensors: list[str] | None = None
    """Only these sensors run."""
    namespace: str | None = None
    """Only sensors of this namespace run."""
    start: Start | None = None
    """When the test begins; 2026-01-01T00:00:00Z if nothing is said."""


class Case(Around):
    """One test."""

    name: str = Field(min_length=1)
    event: GivenEvent | None = None
    events: list[GivenEvent] | None = Field(None, min_length=1)
    answers: dict[str, Answers] = Field(default_factory=dict)
    """What a trigger's receiver answers, by trigger; used up one by one, then ``ok``."""
    fetched: dict[str, dict[str, Json]] = Field(default_factory=dict)
    """The object that a trigger would read from a cluster or a URL, by trigger."""
    until: Moment = None
    """When the test ends; when nothing is left to do if nothing is said."""
    fires: list[FiringOrName] | None = None
    """All actions that are tried, in the order of time."""
    not_fires: list[NoFiringOrName] | None = None
    because: Texts | None = None
    """Why nothing fires."""
    dead_letters: list[DeadLetterOrName] | None = None
    """All actions that are given up; none if nothing is said."""
    pending: dict[str, list[str]] | None = None
    """The dependencies that a trigger's condition still waits for at the end."""

    @model_validator(mode="after")
    def _complete(self) -> Case:
        if (self.event is None) == (self.events is None):
            raise ValueError("needs 'event' or 'events', and not both")
        if all(part is None for part in (self.fires, self.not_fires, self.dead_letters, self.pending)):
            raise ValueError("needs an expectation: fires, notFires, deadLetters or pending")
        if self.because is not None and self.fires != []:
            raise ValueError("has 'because' without 'fires: []'; write it into an entry of notFires or deadLetters")
        return self

    @property
    def given(self) -> list[GivenEvent]:
        """The events."""
        return [self.event] if self.event is not None else self.events or []


class CaseFile(Around):
    """A ``*.test.yaml`` file."""

    tests: list[Case] = Field(min_length=1)


def schema() -> dict[str, Any]:
    """JSON Schema of the format."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **CaseFile.model_json_schema(by_alias=True),
        "title": "Argosy test",
    }
