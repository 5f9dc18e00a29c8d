"""Keeps the gauges of one sensor about right: how far it is behind the log, and what waits in its queues. Scrapes must not ask the bus."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from argosy.bus._base import At, Bus, Delivery, Pair, Queue
from argosy.clock import Clock
from argosy.runtime.telemetry import Metrics

EVERY_SECONDS = 5.0


class SensorGauges:
    """Looks every few seconds until cancelled. ``queues`` are those of its triggers, by the trigger's name."""

    def __init__(
        self,
        namespace: str,
        sensor: str,
        *,
        bus: Bus,
        pairs: frozenset[Pair],
        triggers: list[str],
        queue_of: Callable[[str], Queue],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._labels = (namespace, sensor)
        self._bus = bus
        self._pairs = pairs
        self._triggers = triggers
        self._queue_of = queue_of
        self._metrics = metrics
        self._clock = clock

    async def run(self) -> None:
        """Look for ever. Waits through a loss of the bus."""
        while True:
            await self.look()
            await self._clock.sleep(EVERY_SECONDS)

    async def look(self) -> None:
        """Set the gauges to what is so now."""
        for trigger in self._triggers:
            queue, labels = self._queue_of(trigger), (*self._labels, trigger)
            depth, age = await queue.depth(), 0.0
            if depth and (oldest := await queue.items("queued", limit=1)):
                age = self._age(oldest[0].at)
            self._metrics.actions_waiting.labels(*labels).set(depth)
            self._metrics.actions_oldest_seconds.labels(*labels).set(age)
        oldest_event, last = await self._first_unsettled()
        lag = last - oldest_event.position + 1 if oldest_event else 0
        self._metrics.log_lag.labels(*self._labels).set(lag)
        self._metrics.log_lag_seconds.labels(*self._labels).set(
            self._age(oldest_event.stored_at) if oldest_event else 0.0
        )

    async def _first_unsettled(self) -> tuple[Delivery | None, int]:
        """The first entry for this sensor behind its position, and where the log ends."""
        position, last = await self._bus.position("/".join(self._labels)), (await self._bus.extent()).last
        if position is None or position >= last or not self._pairs:
            return None, last
        looking = self._bus.history(self._pairs, at=At(position=position + 1), until=last)
        async with contextlib.aclosing(looking) as batches:
            async for batch in batches:
                if batch:
                    return batch[0], last
        return None, last

    def _age(self, since: float) -> float:
        return max(0.0, self._clock.now().timestamp() - since)
