"""The event log: what came, one event, what comes, and putting one there."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec

from argosy import event as events
from argosy import registry
from argosy.bus._base import At, Bus
from argosy.errors import ConfigError, EventInvalid, LangError, NotFound
from argosy.event import Event
from argosy.lang import gojson
from argosy.manifests.spelling import did_you_mean
from argosy.runtime import story
from argosy.runtime.operations import _log
from argosy.runtime.operations._base import Ask, Operation, System
from argosy.runtime.operations._log import Choice


async def listed(system: System, ask: Ask) -> dict[str, Any]:
    """A page of events, newest first. ``next`` is what ``before`` of the next page is; empty on the last.

    A name that is probably a slip is refused, but with ``anyName``: who asks several pods of one bus knows more names than each of them.
    """
    choice = Choice.of(system, ask)
    if not ask.yes("anyName"):
        _log.check_names(system, choice)
    limit, whole = ask.number("limit", 50, least=1, most=1000), ask.yes("whole")
    before = _cursor(ask.text("before"))
    pages = {}
    for name, bus in (await system.buses(ask.text("namespace"))).items():
        if not before or name in before:
            pages[name] = await _log.backwards(bus, choice, before.get(name, 0), limit)
    merged = sorted(
        ((delivery.stored_at, name, delivery) for name, (found, _) in pages.items() for delivery in found),
        key=lambda each: each[:2],
        reverse=True,
    )
    shown = merged[:limit]
    # Where a bus goes on: before the last entry shown of it, or where the page began.
    going_on = {}
    for name, (found, after) in pages.items():
        mine = [delivery.position for _, bus, delivery in shown if bus == name]
        if len(mine) < len(found):
            going_on[name] = mine[-1] if mine else before.get(name, 0) or found[0].position + 1
        elif after:
            going_on[name] = after
    return {
        "events": [_log.told(delivery, name, whole=whole) for _, name, delivery in shown],
        "next": ",".join(f"{name}@{position}" for name, position in sorted(going_on.items())),
    }


async def logged(system: System, ask: Ask) -> AsyncGenerator[dict[str, Any], None]:
    """Whole entries, oldest first, a line each.

    ``follow``: also those that come, and of those that are there only the ``last`` ones, or all ``since`` a time.
    """
    choice = Choice.of(system, ask)
    if not ask.yes("anyName"):
        _log.check_names(system, choice)
    buses = await system.buses(ask.text("namespace"))
    if ask.yes("follow"):
        return _followed(buses, choice, ask.number("last", 0))
    return _recorded(buses, choice)


async def _recorded(buses: dict[str, Bus], choice: Choice) -> AsyncGenerator[dict[str, Any], None]:
    for name, bus in buses.items():
        async with aclosing(_log.forwards(bus, choice)) as deliveries:
            async for delivery in deliveries:
                yield _log.told(delivery, name, whole=True)


async def _followed(buses: dict[str, Bus], choice: Choice, last: int) -> AsyncGenerator[dict[str, Any], None]:
    coming: asyncio.Queue[dict[str, Any] | Exception] = asyncio.Queue(16)

    async def follow(name: str, bus: Bus) -> None:
        try:
            end = (await bus.extent()).last
            if last:
                newest, _ = await _log.backwards(bus, choice, end + 1, last)
                for delivery in reversed(newest):
                    await coming.put(_log.told(delivery, name, whole=True))
            begin = choice.begin if choice.since else At(position=end + 1)
            async with aclosing(bus.history(choice.pairs, at=begin, follow=True)) as batches:
                async for batch in batches:
                    for delivery in batch:
                        if choice.has(delivery):
                            await coming.put(_log.told(delivery, name, whole=True))
        except Exception as error:  # noqa: BLE001 - told to the one who asked
            await coming.put(error)

    tasks = [asyncio.create_task(follow(name, bus)) for name, bus in buses.items()]
    try:
        while True:
            entry = await coming.get()
            if isinstance(entry, Exception):
                raise entry
            yield entry
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def shown(system: System, ask: Ask) -> dict[str, Any]:
    """One event, whole, and the sensors that listen to it."""
    name, _, delivery = await _log.one(system, ask.path["id"], ask.text("namespace"))
    assert delivery.event is not None
    listening = _listening(system, delivery.event.source, delivery.event.subject)
    return {**_log.told(delivery, name, whole=True), "sensors": [f"{space}/{sensor}" for space, sensor in listening]}


async def published(system: System, ask: Ask) -> dict[str, Any]:
    """Put an event on the log: a whole CloudEvent as it stands (``cloudEvent``), or one made of ``source``, ``event`` and
    ``data`` (or ``dataText``, its JSON text, or ``base64``, for data that are no JSON).

    Answers once it is durable.
    """
    event, namespace = _made(system, ask.body)
    place = _place(system, event, namespace or ask.text("namespace"))
    await (await system.bus(*place)).publish(event)
    story.received(place[0], event)
    listening = _listening(system, event.source, event.subject)
    return {
        "id": event.id,
        "source": event.source,
        "subject": event.subject,
        "time": event.time,
        "namespace": place[0],
        "sensors": [sensor for space, sensor in listening if space == place[0]],
    }


def _made(system: System, body: Any) -> tuple[Event, str]:
    if not isinstance(body, dict):
        raise ConfigError("the body must be a JSON object with 'cloudEvent', or with 'source', 'event' and 'data'")
    namespace = body.get("namespace") or ""
    now = events.format_time(system.clock.now())
    if "cloudEvent" in body:
        return _whole(system, body["cloudEvent"], now), namespace
    source, name = body.get("source"), body.get("event")
    if not isinstance(source, str) or not source:
        raise ConfigError("say whose event it is: 'source', the name of an EventSource")
    if not isinstance(name, str) or not name:
        name = _only_event(system, source)
    if "base64" in body:
        try:
            data = base64.b64decode(str(body["base64"]), validate=True)
        except ValueError as error:
            raise EventInvalid(f"'base64' is not base64: {error}") from error
        kind = "application/octet-stream"
    elif isinstance(text := body.get("dataText"), str):
        data, kind = text.encode("utf-8", "surrogatepass"), "application/json"
        if not gojson.valid(data):
            raise EventInvalid("'dataText' is not JSON")
    else:
        data, kind = _dumps(body.get("data")), "application/json"
    id = body.get("id") or events.new_id()
    return Event(str(id), source, name, _type(system, source, name), now, data, kind), namespace


def _whole(system: System, given: Any, now: str) -> Event:
    """A CloudEvent as it stands: an object, or its JSON text, whose data then keep every digit and blank."""
    text = given.encode("utf-8", "surrogatepass") if isinstance(given, str) else _dumps(given)
    try:
        head = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        source, subject = (str(msgspec.json.decode(head.get(name, b'""')) or "") for name in ("source", "subject"))
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise EventInvalid(f"'cloudEvent' is no JSON object: {error}") from error
    if not source or not subject:
        raise EventInvalid("a CloudEvent needs 'source' (the EventSource) and 'subject' (the event's name)")
    missing = {"specversion": "1.0", "id": events.new_id(), "type": _type(system, source, subject), "time": now}
    for name, value in missing.items():
        if bytes(head.get(name, b'""')) in (b'""', b"null"):
            head[name] = msgspec.Raw(msgspec.json.encode(value))
    return events.decode(msgspec.json.encode(head))


def _dumps(value: Any) -> bytes:
    try:
        return gojson.dumps(value, sort_keys=False, escape_html=False)
    except (LangError, RecursionError) as error:
        raise EventInvalid(f"the data cannot be written as JSON: {error}") from error


def _place(system: System, event: Event, namespace: str) -> tuple[str, str]:
    """The bus of the event's source, else of a sensor that listens to it: namespace and name."""
    bundle = system.bundle
    named = [one for one in bundle.event_sources if one.metadata.name == event.source]
    places = {(one.metadata.namespace, one.event_bus_name) for one in named}
    if not places:
        places = {
            (sensor.metadata.namespace, sensor.event_bus_name)
            for sensor in bundle.sensors
            if any(one.event_source_name == event.source for one in sensor.dependencies)
        }
    if namespace:
        places = {place for place in places if place[0] == namespace}
    if len(places) > 1:
        spaces = ", ".join(sorted(space for space, _ in places))
        raise ConfigError(f"{event.source!r} is in several namespaces: {spaces}; say which")
    if places:
        return places.pop()
    known = [one.metadata.name for one in bundle.event_sources]
    near = did_you_mean(event.source, known)
    where = f" in namespace {namespace!r}" if namespace else ""
    raise NotFound(f"no event source {event.source!r} runs here{where}, and no sensor listens to it{near}")


def _only_event(system: System, source: str) -> str:
    names = {event for (_, name), declared in system.bundle.declared.items() if name == source for event in declared}
    if len(names) == 1:
        return names.pop()
    if not names:
        near = did_you_mean(source, [name for _, name in system.bundle.declared])
        raise NotFound(f"no event source {source!r} runs here{near}")
    raise ConfigError(f"{source!r} has several events: {', '.join(sorted(names))}; say which")


def _type(system: System, source: str, name: str) -> str:
    for one in system.bundle.event_sources:
        for spec in one.events if one.metadata.name == source else ():
            if spec.name == name:
                return registry.event_type(spec.kind)
    return "unknown"


def _listening(system: System, source: str, name: str) -> list[tuple[str, str]]:
    return sorted(
        {
            (sensor.metadata.namespace, sensor.metadata.name)
            for sensor in system.bundle.sensors
            for one in sensor.dependencies
            if (one.event_source_name, one.event_name) == (source, name)
        }
    )


def _cursor(text: str) -> dict[str, int]:
    """``next`` of the page before, read."""
    found = {}
    for part in text.split(",") if text else ():
        match = re.fullmatch(r"(.+)@(\d+)", part)
        if match is None:
            raise ConfigError(f"before={text!r} is not what 'next' of a page was")
        found[match[1]] = int(match[2])
    return found


OPERATIONS = [
    Operation("GET", "/events", listed),
    Operation("POST", "/events", published),
    Operation("GET", "/events/{id}", shown),
    Operation("GET", "/log", logged),
]
