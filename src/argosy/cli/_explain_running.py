"""Explaining an event of a run that goes on: its manifests and events are fetched, and what really became of the actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from argosy import event as events
from argosy.cli._client import Client, path
from argosy.event import Event
from argosy.manifests.eventsource import EventSource, parse_event_source
from argosy.manifests.fields import ConfigMapKeySelector
from argosy.manifests.sensor import Sensor, parse_sensor
from argosy.sensor.explaining import World
from argosy.sensor.explaining_stories import Explanation
from argosy.sensor.rendering import Offline

Happened = Mapping[str, Mapping[str, Any]]
"""What became of actions, by their id."""


_AT_ONCE = 500
"""So many actions are asked about at a time; one event may have become more."""


@dataclass(frozen=True)
class Fetched:
    """What the run told. ``events`` are in the order in which they came, the one asked for last; ``more``: the log has older ones."""

    world: World
    events: Sequence[Event]
    more: bool


def fetch(client: Client, event_id: str, sensor: str, namespace: str) -> Fetched:
    """The event with this id, or one that begins so. Raises Refused."""
    story = client.get(path("events", event_id, "story"), sensor=sensor, namespace=namespace)
    texts = [*story["before"], story["text"]]
    return Fetched(_world(client.get("/manifests")), [events.decode(one.encode()) for one in texts], story["more"])


def happened(client: Client, world: World, told: Sequence[Explanation]) -> Happened:
    """What became of the actions of these explanations."""
    shadows = {(one.metadata.namespace, one.metadata.name) for one in world.sensors if one.spec.shadow}
    wanted = [
        {"namespace": sensor.namespace, "sensor": sensor.name, "trigger": trigger.name, "id": action.id}
        for one in told
        for sensor in one.sensors
        for trigger in sensor.triggers
        for action in trigger.actions
    ]
    if not wanted:
        return {}
    answers = [
        answer
        for begin in range(0, len(wanted), _AT_ONCE)
        for answer in client.post("/outcomes", {"actions": wanted[begin : begin + _AT_ONCE]})["actions"]
    ]
    return {
        one["id"]: {**answer, "shadow": (one["namespace"], one["sensor"]) in shadows}
        for one, answer in zip(wanted, answers, strict=True)
    }


def sentence(became: Mapping[str, Any]) -> str:
    """What became of an action, for a person."""
    from argosy.cli.events import local

    state, message = became["state"], became.get("message", "") or became.get("error", "")
    at = local(became["at"]) if "at" in became else ""
    said = f": {message}" if message else ""
    if state == "never" and became["shadow"]:
        return "never ran: the sensor is a shadow, which decides and fires nothing"
    if state == "never":
        return "is not known: it never ran (another manifest then, or other events with this one), or it was forgotten"
    tries = f", {became['failures']} failed tries" if became.get("failures") else ""
    due = f", next try {local(became['notBefore'])}" if "notBefore" in became else ""
    words = {
        "done": f"done {at}{said}",
        "dead": f"dead letter since {at}{said}; 'argosy actions redrive' revives it",
        "discarded": f"discarded {at}{said}",
        "held": f"running now, put {at}{tries}",
        "unapproved": f"waits for somebody to approve it, put {at}; 'argosy actions approve' lets it run",
        "resting": f"waits for another try, put {at}{tries}{due}{said}",
        "waiting": f"waits in its queue since {at}{tries}",
        "unknown": "is not told",
    }
    return words.get(state, f"{state} {at}{said}")


def _world(said: Mapping[str, Any]) -> World:
    sensors: list[Sensor] = []
    folders: dict[tuple[str, str], Path | None] = {}
    for one in said["sensors"]:
        sensor, _ = parse_sensor(_placed(one))
        if sensor is not None:
            sensors.append(sensor)
            folder = Path(one["folder"]) if one["folder"] else None
            folders[one["namespace"], one["name"]] = folder if folder is not None and folder.is_dir() else None
    sources: list[EventSource] = []
    for one in said["eventSources"]:
        source, _ = parse_event_source(_placed(one))
        if source is not None:
            sources.append(source)
    declared = {(one["namespace"], one["name"]): set(one["events"]) for one in said["declared"]}
    config_maps = {(one["namespace"], one["name"]): one["data"] for one in said["configMaps"]}

    def offline(sensor: Sensor) -> Offline:
        space = sensor.metadata.namespace

        def config_map(selector: ConfigMapKeySelector) -> str | None:
            held = config_maps.get((space, selector.name))
            return None if held is None else held.get(selector.key)

        return Offline(folders.get((space, sensor.metadata.name)), config_map)

    return World(sensors, sources, declared, offline)


def _placed(one: Mapping[str, Any]) -> dict[str, Any]:
    """The object with its namespace written out, whatever the file left to a default."""
    raw = dict(one["object"])
    raw["metadata"] = {**raw.get("metadata", {}), "namespace": one["namespace"]}
    return raw
