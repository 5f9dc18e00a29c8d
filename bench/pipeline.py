"""What ``argosy run`` does with its embedded bus: ingest, matching, actions, latency, start and idling, each in real processes.

Wall time on a shared machine is the neighbours' as well, so beside each rate stands the processor time that one event
costs the process of Argosy. Rates through the log are measured on a log that was filled before, from the first event handled to the last.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import NamedTuple

import uvloop

from argosy.bus.embedded import EmbeddedServer
from argosy.bus.jetstream import StreamSettings
from argosy.event import Event
from bench.load import PADDING
from bench.running import Running, children, cpu_seconds, free_port, load, resident_megabytes

_SOURCE = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: {name}}}
spec:
  webhook:
    in: {{port: "{port}", endpoint: /{name}, method: POST}}
---"""
_SENSOR = """
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: {name}}}
spec:
  dependencies:
    - name: in
      eventSourceName: {source}
      eventName: in
      filters:
        data:
          - {{path: body.kind, type: string, value: ["^{kind}$"]}}
          - {{path: body.number, type: number, comparator: ">=", value: ["0"]}}
  triggers:
    - template: {{name: act, {trigger}}}
{queue}---"""
_LOG = "log: {}"
_ROOT = Path(__file__).parent.parent
_FILTERED, _TRIGGERED = "argosy_events_filtered_total", "argo_events_action_triggered_total"


class Costs(NamedTuple):
    """A rate, and the processor time of Argosy's own process that one costs."""

    per_second: float
    cpu_microseconds: float

    def named(self, what: str) -> dict[str, float]:
        """As rows of a table."""
        return {f"{what} per second": self.per_second, f"{what}: cpu us": self.cpu_microseconds}


def _sensor(name: str, *, kind: str = "order", trigger: str = _LOG, queue: str = "", source: str = "web") -> str:
    return _SENSOR.format(name=name, kind=kind, trigger=trigger, queue=queue, source=source)


def ingest(folder: Path, count: int) -> dict[str, float]:
    """Requests answered 200 once durable, at 64 connections; no sensor listens."""
    port = free_port()
    with Running(folder, _SOURCE.format(name="web", port=port)) as argosy:
        load(f"127.0.0.1:{port}/web", count=count // 10)
        before = cpu_seconds(argosy.pid)
        numbers = load(f"127.0.0.1:{port}/web", count=count, connections=64)
        cpu = cpu_seconds(argosy.pid) - before
    return {
        **Costs(count / numbers["seconds"], cpu / count * 1e6).named("durable webhook requests"),
        "request p50 ms": numbers["request p50"] * 1000,
        "request p99 ms": numbers["request p99"] * 1000,
    }


def matching(folder: Path, sensors: int, count: int) -> dict[str, float]:
    """Events of the log that all of so many sensors looked at and rejected."""
    manifests = "".join(_sensor(f"s{number}", kind=f"kind-{number}") for number in range(sensors))
    costs = _through_the_log(folder, manifests, count, _FILTERED, sensors)
    return costs.named(f"events rejected by {sensors} sensor{'s' if sensors > 1 else ''}")


def actions(folder: Path, count: int, concurrency: int) -> dict[str, float]:
    """Events that cause one action each, from the log through the action queue to the acknowledged action."""
    queue = f"      queue: {{concurrency: {concurrency}}}\n" if concurrency > 1 else ""
    costs = _through_the_log(folder, _sensor("acting", queue=queue), count, _TRIGGERED, 1)
    return costs.named(f"actions done, concurrency {concurrency}")


def _through_the_log(folder: Path, manifests: str, count: int, metric: str, times: int) -> Costs:
    with Running(folder, manifests):
        pass  # the sensors have their places in the log now
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_fill(folder / "data", count))
    with Running(folder, manifests) as argosy:
        argosy.wait(lambda: argosy.total(metric) > 0, 0.002)
        began, cpu, first = time.perf_counter(), cpu_seconds(argosy.pid), argosy.total(metric)
        argosy.wait(lambda: argosy.total(metric) >= count * times, 0.05)
        seconds, cpu = time.perf_counter() - began, cpu_seconds(argosy.pid) - cpu
    events = count - first / times
    return Costs(events / seconds, cpu / events * 1e6)


async def _fill(data: Path, count: int) -> None:
    async with (
        EmbeddedServer(data) as server,
        server.bus("default/default", StreamSettings(max_messages=-1)) as bus,
    ):
        left = iter(range(count))

        async def publish() -> None:
            for number in left:
                body = b'{"header":{},"body":{"kind":"order","number":%d,"item":"%s"}}' % (number, PADDING.encode())
                await bus.publish(Event(f"{number}", "web", "in", "webhook", "2026-01-01T00:00:00Z", body))

        await asyncio.gather(*(publish() for _ in range(256)))


def latency(folder: Path, rate: int, seconds: int, kind: str = "python") -> dict[str, float]:
    """From the moment a request is due to the moment its action's effect is seen outside, at an even rate.

    ``kind`` is the trigger's: a ``python`` handler that sends a datagram, or ``http``, whose client costs more than all the rest.
    """
    port, receiver = free_port(), free_port()
    payload = "payload: [{src: {dependencyName: in, dataKey: body.sent}, dest: sent}]"
    trigger = {
        "http": f'http: {{url: "http://127.0.0.1:{receiver}/", method: POST, {payload}}}',
        "python": f"python: {{handler: bench.arrival:arrived, path: {_ROOT}, args: {{port: {receiver}}}}}",
    }[kind]
    with Running(folder, _SOURCE.format(name="web", port=port) + _sensor("acting", trigger=trigger)) as argosy:
        load(f"127.0.0.1:{port}/web", count=rate, rate=rate, receive=receiver)
        before = cpu_seconds(argosy.pid)
        numbers = load(f"127.0.0.1:{port}/web", count=rate * seconds, rate=rate, receive=receiver)
        cpu = cpu_seconds(argosy.pid) - before
    what = f"to the effect of {kind} at {rate}/s"
    return {
        f"{what}: p50 ms": numbers["end to end p50"] * 1000,
        f"{what}: p99 ms": numbers["end to end p99"] * 1000,
        f"{what}: cpu us": cpu / (rate * seconds) * 1e6,
    }


def start(folder: Path) -> dict[str, float]:
    """From the command to the first request whose action is done."""
    port = free_port()
    manifests = _SOURCE.format(name="web", port=port) + _sensor("acting")
    seconds = []
    for _ in range(3):
        with Running(folder, manifests) as argosy:
            began = time.perf_counter()
            load(f"127.0.0.1:{port}/web", count=1, connections=1)
            argosy.wait(lambda argosy=argosy: argosy.total(_TRIGGERED) >= 1)
            seconds.append(argosy.seconds_to_ready + time.perf_counter() - began)
    return {"start to first action done s": min(seconds)}


def idle(folder: Path, count: int) -> dict[str, float]:
    """Memory and processor time of one process with so many sources and sensors that have nothing to do."""
    port = free_port()
    sources = "".join(_SOURCE.format(name=f"web-{number}", port=port) for number in range(count))
    sensors = "".join(_sensor(f"s{number}", source=f"web-{number}") for number in range(count))
    with Running(folder, sources + sensors) as argosy:
        time.sleep(3)
        before = cpu_seconds(argosy.pid)
        time.sleep(5)
        cpu = cpu_seconds(argosy.pid) - before
        bus = sum(resident_megabytes(pid) for pid in children(argosy.pid))
        return {
            f"ready with {count} + {count} s": argosy.seconds_to_ready,
            f"idle RSS MB, {count} + {count}": resident_megabytes(argosy.pid),
            "its bus: RSS MB": bus,
            "idle: cpu %": cpu / 5 * 100,
        }
