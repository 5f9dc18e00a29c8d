"""A condition holds one of its two events while the bus dies and comes back: it fires once, and the log stays short."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from argosy.event import Event
from tests.cli.running import Run, free_port
from tests.crash.buses import Address, BusOutside
from tests.crash.receiver import Receiver

pytestmark = pytest.mark.timeout(120)
MANIFESTS = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: web}}
spec:
  webhook:
    a: {{port: "{port}", endpoint: /a}}
    b: {{port: "{port}", endpoint: /b}}
---
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: s}}
spec:
  dependencies:
    - {{name: a, eventSourceName: web, eventName: a}}
    - {{name: b, eventSourceName: web, eventName: b}}
  triggers:
    - template:
        name: pair
        conditions: a && b
        correlate: {{a: key, b: key}}
        http:
          url: {receiver}/pair
          payload: [{{src: {{dependencyName: a, dataKey: "[key]", useRawData: true}}, dest: keys}}]
"""


async def _publish(outside: BusOutside, *names: str) -> None:
    """Store events (``a1``: of event a, with key 1) and wait until the sensor has settled them."""
    async with Address(url=outside.server.url).open() as bus:
        for name in names:
            data = json.dumps({"key": name[1]}).encode()
            await bus.publish(Event(name, "web", name[0], "webhook", "2026-01-01T12:00:00Z", data))
        last = (await bus.extent()).last
        async with asyncio.timeout(60):
            while (await bus.position("default/s") or 0) < last:  # noqa: ASYNC110 - another process commits
                await asyncio.sleep(0.01)


def test_a_bus_that_restarts_in_the_middle_of_a_condition_lets_it_fire_once_with_few_lines(tmp_path: Path) -> None:
    with Receiver() as receiver, BusOutside(tmp_path / "nats") as outside:
        run = Run(tmp_path, *outside.options)
        run.write("all.yaml", MANIFESTS.format(port=free_port(), receiver=receiver.url))
        try:
            # Given a condition that has one of its two events
            run.start()
            run.until_ready()
            asyncio.run(_publish(outside, "a1"))
            before = len(run.said())

            # When the bus dies and comes back, more than once, and then the other one comes
            for _ in range(3):
                outside.kill(run)
                run.until(lambda: run.waiting_for() != [], "the loss was not noticed")
                outside.start(run)
                run.until_ready()
            asyncio.run(_publish(outside, "b1"))

            # Then it fires, once
            run.until(lambda: receiver.count("/pair") == 1)
            asyncio.run(_publish(outside, "a2", "b2"))
            run.until(lambda: receiver.count("/pair") == 2)
            assert [effect.body["keys"] for effect in receiver.at("/pair")] == [["1"], ["2"]]
            # And the log says so in a few lines
            lines = run.said()[before:]
            assert len([line for line in lines if "warning" in line or "error" in line]) <= 20, "\n".join(lines)
        finally:
            run.end()
