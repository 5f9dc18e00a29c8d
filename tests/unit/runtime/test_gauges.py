"""What the gauges of a sensor say: how far it is behind the log, and what waits in its queues; in virtual time on a bus in memory."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable

import pytest

from argosy.bus._base import Pair
from argosy.bus.memory import MemoryBus
from argosy.clock import VirtualClock, run_virtually
from argosy.event import Event
from argosy.runtime.gauges import SensorGauges
from argosy.runtime.telemetry import Metrics

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
PAIR = Pair("web", "in")
Scene = Callable[[MemoryBus, VirtualClock], Awaitable[None]]


def _event(number: int, pair: Pair = PAIR) -> Event:
    return Event(str(number), pair.source, pair.event, "webhook", "2026-01-01T00:00:00Z", b"{}")


def _after(scene: Scene) -> Callable[[str], float | None]:
    """Reads a gauge as it stands after what happened in ``scene``."""
    metrics = Metrics()

    async def main(clock: VirtualClock) -> None:
        async with MemoryBus(clock=clock) as bus:
            gauges = SensorGauges(
                "ns",
                "s",
                bus=bus,
                pairs=frozenset([PAIR]),
                triggers=["t"],
                queue_of=bus.queue,
                metrics=metrics,
                clock=clock,
            )
            await scene(bus, clock)
            await gauges.look()

    run_virtually(START, main)

    def read(name: str) -> float | None:
        labels = {"namespace": "ns", "sensor_name": "s"}
        if "actions" in name:
            labels["trigger_name"] = "t"
        return metrics.registry.get_sample_value(name, labels)

    return read


def test_the_lag_counts_from_the_first_event_that_is_not_settled() -> None:
    async def scene(bus: MemoryBus, clock: VirtualClock) -> None:
        async with bus.subscribe("ns/s", [PAIR]) as subscription:
            for number in range(5):
                await bus.publish(_event(number))
                await clock.sleep(10)
            (batch,) = [await anext(aiter(subscription))]
            await subscription.commit(batch[1].position)

    read = _after(scene)

    assert read("argosy_log_lag") == 3
    assert read("argosy_log_lag_seconds") == pytest.approx(30)


def test_events_for_others_are_no_lag() -> None:
    async def scene(bus: MemoryBus, clock: VirtualClock) -> None:
        async with bus.subscribe("ns/s", [PAIR]):
            for number in range(5):
                await bus.publish(_event(number, Pair("web", "other")))
            await clock.sleep(10)

    read = _after(scene)

    assert (read("argosy_log_lag"), read("argosy_log_lag_seconds")) == (0, 0)


def test_a_sensor_that_the_bus_has_never_seen_is_not_behind() -> None:
    async def scene(bus: MemoryBus, clock: VirtualClock) -> None:
        await bus.publish(_event(1))

    assert _after(scene)("argosy_log_lag") == 0


def test_actions_are_counted_and_the_oldest_has_its_age() -> None:
    async def scene(bus: MemoryBus, clock: VirtualClock) -> None:
        for item in "abc":
            await bus.queue("t").put(item, b"")
            await clock.sleep(60)
        async with bus.queue("t").take() as leases:
            await (await anext(leases)).done()

    read = _after(scene)

    assert read("argosy_actions_waiting") == 2
    assert read("argosy_actions_oldest_seconds") == pytest.approx(120)


def test_an_empty_queue_has_no_age() -> None:
    async def scene(bus: MemoryBus, clock: VirtualClock) -> None:
        await clock.sleep(1)

    read = _after(scene)

    assert (read("argosy_actions_waiting"), read("argosy_actions_oldest_seconds")) == (0, 0)
