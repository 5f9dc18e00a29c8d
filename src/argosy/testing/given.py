"""The events of a test: what they say in the file, as CloudEvents at their times.

A raw message is wrapped by its source's own code (``argosy.registry.wrap``), with the settings that its EventSource has among the manifests.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from argosy import event as events
from argosy import registry
from argosy.bus._base import Pair
from argosy.errors import ConfigError, EventInvalid, LangError
from argosy.event import Event
from argosy.lang import gojson
from argosy.manifests.bundle import Bundle
from argosy.manifests.eventsource import EventSpec
from argosy.manifests.findings import Loc, Problem
from argosy.manifests.sensor import Sensor
from argosy.manifests.spelling import did_you_mean
from argosy.sources._filter import decision
from argosy.sources._http_body import raw_json
from argosy.sources._raw import Raw
from argosy.testing.format import Case, GivenEvent


@dataclass(frozen=True)
class Arrival:
    """An event that comes ``at`` so many seconds after the start. ``refused`` says why its source would not take it."""

    at: float
    namespace: str
    bus_name: str
    """The event bus that it goes to; empty where the manifests do not say it, and it goes to all."""
    event: Event
    refused: str = ""


class _Wrong(Exception):
    """A problem that ends the reading of one event."""

    def __init__(self, code: str, message: str, *loc: str | int) -> None:
        super().__init__(message)
        self.problem = Problem(code, message, loc)


def arrivals(
    case: Case, bundle: Bundle, sensors: Sequence[Sensor], folder: Path, start: dt.datetime
) -> tuple[list[Arrival], list[Problem]]:
    """The events of the test in the order in which they come, and what is wrong with them."""
    found: list[Arrival] = []
    problems: list[Problem] = []
    for index, given in enumerate(case.given):
        loc: Loc = ("event",) if case.event is not None else ("events", index)
        previous = found[-1].at if found else None
        if given.at is None:
            at = 0.0 if previous is None else previous + 1.0
        else:
            at = (given.at - start).total_seconds() if isinstance(given.at, dt.datetime) else given.at
        if at < (previous or 0.0):
            text = "is before the event above it; write them in the order of time" if found else "is before the start"
            problems.append(Problem("invalid-value", f"'at' {text}", (*loc, "at")))
            continue
        try:
            wholes = _wholes(given, folder)
            for number in range(given.times * len(wholes)):
                whole, moment = wholes[number % len(wholes)], at + number * given.every
                found.append(_arrival(given, whole, len(found) + 1, moment, bundle, sensors, folder, start))
        except _Wrong as wrong:
            problems.append(wrong.problem.inside(*loc))
    return found, problems


def _arrival(
    given: GivenEvent,
    whole: Event | None,
    number: int,
    at: float,
    bundle: Bundle,
    sensors: Sequence[Sensor],
    folder: Path,
    start: dt.datetime,
) -> Arrival:
    moment = events.format_time(start + dt.timedelta(seconds=at))
    if whole is not None and not given.source:
        pair, key = Pair(whole.source, whole.subject), "cloudEvent" if given.cloud_event else "cloudEventFile"
    else:
        source, _, name = given.source.partition("/")
        pair, key = Pair(source, name), "from"
    namespace = _namespace(given, pair, key, bundle, sensors)
    found = bundle.event_source(namespace, pair.source)
    spec = next((one for one in found.events if one.name == pair.event), None) if found else None
    refused = ""
    if whole is not None:
        event = Event(
            id=given.id or whole.id,
            source=pair.source,
            subject=pair.event,
            type=given.type or whole.type,
            time=given.time or whole.time or moment,
            data=whole.data,
            datacontenttype=whole.datacontenttype,
            specversion=whole.specversion,
            extensions=whole.extensions,
        )
    else:
        data, own, refused = _data(given, pair, spec, folder)
        event = Event(
            id=given.id or own or f"event-{number}",
            source=pair.source,
            subject=pair.event,
            type=given.type or (registry.event_type(spec.kind) if spec else "test"),
            time=given.time or moment,
            data=data,
        )
    return Arrival(at, namespace, found.event_bus_name if found else "", event, refused)


def _namespace(given: GivenEvent, pair: Pair, key: str, bundle: Bundle, sensors: Sequence[Sensor]) -> str:
    waiting = {
        sensor.metadata.namespace: None
        for sensor in sensors
        if any(Pair(one.event_source_name, one.event_name) == pair for one in sensor.dependencies)
    }
    declaring = {
        namespace: None
        for (namespace, source), names in bundle.declared.items()
        if source == pair.source and pair.event in names
    }
    places = list({**waiting, **declaring})
    if given.namespace:
        if given.namespace not in places:
            text = (
                f"namespace '{given.namespace}' has neither an event '{pair.source}/{pair.event}' nor a sensor for it"
            )
            raise _Wrong("unknown-event", text, "namespace")
        return given.namespace
    if not places:
        words = {f"{source}/{name}" for (_, source), names in bundle.declared.items() for name in names}
        words |= {f"{one.event_source_name}/{one.event_name}" for sensor in sensors for one in sensor.dependencies}
        word = f"{pair.source}/{pair.event}"
        text = (
            f"no event source here has an event '{word}' and no sensor waits for it{did_you_mean(word, sorted(words))}"
        )
        raise _Wrong("unknown-event", text, key)
    # Where the sensors wait is what counts; an event source of the same name elsewhere is another one.
    likely = list(waiting) or places
    if len(likely) > 1:
        raise _Wrong("ambiguous-event", f"'namespace' must say which one is meant: {', '.join(likely)}", key)
    return likely[0]


def _read(folder: Path, name: str, key: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise _Wrong("no-file", f"{str(folder / name)!r} cannot be read: {error.strerror}", key) from error


def _wholes(given: GivenEvent, folder: Path) -> list[Event | None]:
    """The CloudEvents that are given whole: one, or those of a file of JSON lines; a single None where none is."""
    if given.cloud_event is not None:
        key, texts = "cloudEvent", [gojson.dumps(given.cloud_event, sort_keys=False)]
    elif given.cloud_event_file:
        key, texts = "cloudEventFile", [_read(folder, given.cloud_event_file, "cloudEventFile")]
        lines = [line.strip() for line in texts[0].splitlines() if line.strip()]
        if len(lines) > 1 and all(line.startswith(b"{") and line.endswith(b"}") for line in lines):
            texts = lines
    else:
        return [None]
    try:
        return [events.decode(text) for text in texts]
    except EventInvalid as error:
        raise _Wrong("invalid-value", f"'{key}' holds {error}", key) from error


def _data(given: GivenEvent, pair: Pair, spec: EventSpec | None, folder: Path) -> tuple[bytes, str | None, str]:
    """The event's data, its own id if it has one, and why the source would refuse it."""
    if given.data_file:
        held = _read(folder, given.data_file, "dataFile")
        try:
            # As sources write it: a parameter that is an object would show the file's line breaks.
            return raw_json(held), None, ""
        except EventInvalid as error:
            text = str(error).removeprefix("the body ")
            raise _Wrong("invalid-value", f"{given.data_file!r} {text}", "dataFile") from error
    if "raw" not in given.model_fields_set and not given.raw_file:
        return gojson.dumps(given.data, sort_keys=False), None, ""
    key = "rawFile" if given.raw_file else "raw"
    if spec is None:
        text = (
            f"event '{pair.source}/{pair.event}' is not among the manifests, so nobody knows how to wrap '{key}';"
            " give 'data' instead"
        )
        raise _Wrong("unknown-event", text, key)
    if given.raw_file:
        body = _read(folder, given.raw_file, key)
    elif isinstance(given.raw, str):
        body = given.raw.encode()
    else:
        body = gojson.dumps(given.raw, sort_keys=False, escape_html=False)
    raw = Raw(body, given.headers, given.method, given.query)
    try:
        data, own = registry.wrap(spec.kind, spec.config, raw)
    except EventInvalid as error:
        return b"null", None, str(error)
    except ConfigError as error:
        raise _Wrong("invalid-value", str(error), key) from error
    return data, own, _filtered(spec, data)


def _filtered(spec: EventSpec, data: bytes) -> str:
    """Why the event's own filter drops it; empty where it does not."""
    try:
        wanted = decision(spec.config)
        if wanted is None or wanted.accepts(data):
            return ""
    except LangError as error:
        return f"its filter fails on it: {error.message}"
    return f"its filter `{spec.config.filter.expression if spec.config.filter else ''}` is not true of it"
