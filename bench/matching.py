"""Decoding, transforms, filters and parameters on one core, without a bus: compiled once, against parsed for each event.

The naive way does what Argo Events does: every program, path, pattern and template is parsed anew for every event, and every
sensor reads the event for itself. It runs the same code with empty caches, so the ratio is that of compiling alone.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from argosy.event import Event, decode, encode
from argosy.lang import gojson
from argosy.manifests.bundle import load
from argosy.manifests.sensor import Sensor
from argosy.sensor import parameters
from argosy.sensor.matching import Matcher, Reading
from argosy.testing.loading import Loader

EXAMPLE = Path(__file__).parent.parent / "examples" / "openstack" / "workflows"


@dataclass(frozen=True)
class Case:
    """Sensors, and events as they stand on the log."""

    sensors: list[Sensor]
    events: list[bytes]

    def __str__(self) -> str:
        size = sum(map(len, self.events)) / len(self.events)
        return f"{len(self.sensors)} sensors, {len(self.events)} different events of {size:.0f} bytes on average"


def from_example() -> Case:
    """The sensors of examples/openstack, and the events of their tests."""
    loaded = Loader().load([EXAMPLE])
    assert loaded.trials and not loaded.errors, loaded.errors
    events = [encode(one.event) for trial in loaded.trials for one in trial.arrivals]
    return Case(loaded.trials[0].bundle.sensors, events)


def from_index(index: Path) -> Case:
    """The manifests and payloads beside an ``index.json``: a list with file, eventSource, eventName, type, delivered."""
    events = []
    for number, case in enumerate(json.loads(index.read_text())):
        if case["delivered"]:
            payload = json.loads((index.parent / "events" / case["file"]).read_text())
            data = gojson.dumps(payload if case["type"] == "resource" else {"body": payload})
            pair = {"source": case["eventSource"], "subject": case["eventName"], "type": case["type"]}
            events.append(encode(Event(id=str(number), time="2026-01-01T00:00:00Z", data=data, **pair)))
    return Case(load([str(index.parent / "manifests")]).sensors, events)


def measure(case: Case, seconds: float) -> dict[str, float]:
    """Events per second of processor time: decided by all sensors, and with the parameters of what they start."""
    matchers = [Matcher(sensor) for sensor in case.sensors]
    own = {
        sensor.metadata.name: [
            (trigger.config.source.resource, trigger.config.parameters)  # type: ignore[union-attr]
            for trigger in sensor.triggers
            if getattr(getattr(trigger.config, "source", None), "resource", None)
        ]
        for sensor in case.sensors
    }

    def decide(text: bytes) -> None:
        event = decode(text)
        reading = Reading(event)
        for matcher in matchers:
            matcher.decide(event, reading)

    def render(text: bytes) -> None:
        event = decode(text)
        reading = Reading(event)
        for sensor, matcher in zip(case.sensors, matchers, strict=True):
            _render(own[sensor.metadata.name], matcher.decide(event, reading))

    def naive_decide(text: bytes) -> None:
        for sensor in case.sensors:
            _forget()
            Matcher(sensor).decide(decode(text))

    def naive_render(text: bytes) -> None:
        for sensor in case.sensors:
            _forget()
            _render(own[sensor.metadata.name], Matcher(sensor).decide(decode(text)))

    decided, naively = _rate(decide, case.events, seconds), _rate(naive_decide, case.events, seconds)
    rendered, naively_rendered = _rate(render, case.events, seconds), _rate(naive_render, case.events, seconds)
    return {
        "events decided per second": decided,
        "the same, parsed for each event": naively,
        "ratio": decided / naively,
        "events decided and rendered per second": rendered,
        "the same, parsed for each event (rendered)": naively_rendered,
        "ratio (rendered)": rendered / naively_rendered,
    }


def _render(resources: list[Any], decisions: list[Any]) -> None:
    for decision in decisions:
        if decision.event is not None:
            for resource, entries in resources:
                try:
                    parameters.apply_to(resource, entries, {decision.dependency: decision.event})
                except parameters.Rejected:
                    pass  # a parameter without a value: a dead letter, which costs as much


def _rate(run: Callable[[bytes], None], events: list[bytes], seconds: float) -> float:
    for text in events:
        run(text)  # once for whatever is made when it is first needed
    done, began = 0, time.process_time()
    while (spent := time.process_time() - began) < seconds:
        for text in events:
            run(text)
        done += len(events)
    return done / spent


def _forget() -> None:
    """Empty what the languages remember of programs that they have seen."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("argosy.lang", "argosy.sensor")):
            for value in vars(module).values():
                if hasattr(value, "cache_clear"):
                    value.cache_clear()
