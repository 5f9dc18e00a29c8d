"""One sensor, kept running: its loop over the log, and a worker for each of its triggers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

from argosy.bus._base import At, Bus, Queue, Start
from argosy.errors import ConfigError
from argosy.event import parse_time
from argosy.kubernetes.rights import account_of
from argosy.manifests.sensor import Sensor, TriggerSpec
from argosy.runtime import failpoints
from argosy.runtime.actions import TriggerWorker
from argosy.runtime.duties import TriggerDuties
from argosy.runtime.gauges import SensorGauges
from argosy.runtime.lines import in_flight
from argosy.runtime.story import SensorStory
from argosy.runtime.supervise import keep
from argosy.runtime.suspension import Mode, Switch, Switchboard
from argosy.sensor.loop import Observer, SensorLoop
from argosy.sensor.matching import Matcher

_log = logging.getLogger("argosy.sensor")


def queue_name(namespace: str, sensor: str, trigger: str) -> str:
    """The name of a trigger's action queue on the bus."""
    return f"{namespace}/{sensor}/{trigger}"


def queues_of(sensor: Sensor) -> Iterator[tuple[str, TriggerSpec]]:
    """The queues of a sensor by their last word: its triggers and their dlqTriggers, each with what is run for its actions."""
    for trigger in sensor.triggers:
        yield trigger.name, trigger
        if trigger.dlq_trigger is not None:
            yield f"{trigger.name}/dlq", trigger.dlq_trigger


class SensorRunner:
    """Runs one sensor until cancelled. Raises ConfigError when made if a text of the sensor does not parse.

    With ``put_into``, which gives a queue for a trigger's name, actions are put there and nothing is performed.
    """

    def __init__(
        self,
        sensor: Sensor,
        bus: Bus,
        duties: TriggerDuties,
        observer: Observer | None = None,
        *,
        put_into: Callable[[str], Queue] | None = None,
    ) -> None:
        self.name = sensor.metadata.name
        self.opened = asyncio.Event()
        """Set once no event can be missed any more."""
        self._sensor = sensor
        self._bus = bus
        self._duties = duties
        self._matcher = Matcher(sensor)
        self._queues: dict[str, Queue] = {}
        self._put_into = put_into
        self._in_flight = {name: in_flight(spec) for name, spec in queues_of(sensor)}
        self._pulse = duties.pulses.of("Sensor", sensor.metadata.namespace, self.name)
        self._observer = observer or SensorStory(
            sensor.metadata.namespace, self.name, duties.metrics, pulse=self._pulse
        )

    def queue(self, trigger: str) -> Queue:
        """The action queue of this trigger; one object per name, so that its order is kept in one place."""
        if trigger not in self._queues and self._put_into is not None:
            self._queues[trigger] = self._put_into(trigger)
        if trigger not in self._queues:
            name = queue_name(self._sensor.metadata.namespace, self.name, trigger)
            self._queues[trigger] = self._bus.queue(name, max_in_flight=self._in_flight[trigger])
        return self._queues[trigger]

    async def run(self) -> None:
        """Match and act until cancelled. The loop is stopped first, so that no action is written that nobody takes.

        Raises ConfigError where the sensor shall start at an event that the log does not have.
        """
        if self._sensor.spec.start != "new":
            await self._begin()
        running = self._duties.metrics.sensors_running.labels(self._sensor.metadata.namespace)
        async with self._acting():
            with running.track_inprogress():
                await keep(
                    f"sensor '{self.name}'",
                    self.match,
                    self._duties.clock,
                    failed=lambda error: self._pulse.failed("reading the log", error),
                )

    @asynccontextmanager
    async def _acting(self) -> AsyncIterator[None]:
        """A worker for each trigger, and the gauges, while the context is open; nothing where actions are only put."""
        if self._put_into is not None:
            yield
            return
        clock = self._duties.clock
        async with self._duties.switchboards.of(self._bus, clock).kept() as board:
            tasks = [
                *(
                    asyncio.create_task(keep(f"trigger '{name}' of sensor '{self.name}'", worker.run, clock))
                    for name, worker in self.workers(board)
                ),
                asyncio.create_task(keep(f"the gauges of sensor '{self.name}'", self._gauges().run, clock)),
                asyncio.create_task(self._show_suspended(board)),
            ]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _begin(self) -> None:
        """Fix the place where a sensor starts that the bus has never seen; nothing happens for one that it has."""
        consumer, start = f"{self._sensor.metadata.namespace}/{self.name}", self._sensor.spec.start
        if await self._bus.position(consumer) is not None:
            return
        place: Start
        if isinstance(start, str):
            place = start
        elif start.time:
            place = At(time=parse_time(start.time).timestamp())
        else:
            found = [one for one in await self._bus.find(start.event) if one.event and one.event.id == start.event]
            if not found:
                raise ConfigError(
                    f"it cannot start at event {start.event!r}, which is not on the log (any more); write another start"
                )
            place = At(position=min(one.position for one in found))
        async with self._bus.subscribe(consumer, self._matcher.pairs, start=place):
            pass  # the position is durable now

    async def match(self) -> None:
        """Read the log and write actions until cancelled; ``run`` does it, and the workers beside it."""
        loop = SensorLoop(
            namespace=self._sensor.metadata.namespace,
            sensor=self.name,
            matcher=self._matcher,
            bus=self._bus,
            queue_of=self.queue,
            observer=self._observer,
            failpoint=failpoints.reach,
            clock=self._duties.clock,
        )
        loop.opened = self.opened
        await loop.run()

    def workers(self, board: Switchboard | None = None) -> list[tuple[str, TriggerWorker]]:
        """A worker for each trigger and each ``dlqTrigger``, with the trigger's name. Without a board none is suspended."""
        workers = []
        for trigger in self._sensor.triggers:
            give_up_to = None
            switch = self._switch(board, trigger)
            if trigger.dlq_trigger is not None:
                give_up_to = self.queue(f"{trigger.name}/dlq")
                workers.append((f"{trigger.name}/dlq", self._worker(trigger.dlq_trigger, give_up_to, None, switch)))
            workers.append((trigger.name, self._worker(trigger, self.queue(trigger.name), give_up_to, switch)))
        return workers

    def _switch(self, board: Switchboard | None, trigger: TriggerSpec) -> Switch:
        name = queue_name(self._sensor.metadata.namespace, self.name, trigger.name)
        return Switch(board, name, trigger.queue.suspend or "run")

    def _worker(self, spec: TriggerSpec, queue: Queue, give_up_to: Queue | None, switch: Switch) -> TriggerWorker:
        place = (self._sensor.metadata.namespace, self.name)
        account = account_of(place[0], self._sensor.spec.template) if self._duties.acts_for_accounts else None
        return TriggerWorker(*place, spec, self._bus, queue, self._duties, give_up_to, switch=switch, account=account)

    def _gauges(self) -> SensorGauges:
        return SensorGauges(
            self._sensor.metadata.namespace,
            self.name,
            bus=self._bus,
            pairs=frozenset(self._matcher.pairs),
            triggers=[trigger.name for trigger in self._sensor.triggers],
            queue_of=self.queue,
            metrics=self._duties.metrics,
            clock=self._duties.clock,
        )

    async def _show_suspended(self, board: Switchboard) -> None:
        """Keep the gauge of suspended triggers right, and tell each change once."""
        labels, before = (self._sensor.metadata.namespace, self.name), dict[str, Mode]()
        while True:
            for trigger in self._sensor.triggers:
                mode = self._switch(board, trigger).mode
                self._duties.metrics.trigger_suspended.labels(*labels, trigger.name).set(mode != "run")
                if mode != before.get(trigger.name, "run"):
                    does = {
                        "run": "goes on",
                        "queue": "is suspended, its actions wait",
                        "drop": "is suspended and drops",
                    }
                    _log.info(
                        "trigger '%s' of sensor '%s' %s", trigger.name, self.name, does[mode],
                        extra={"action": "trigger.suspended", "sensorName": self.name, "triggerName": trigger.name},
                    )  # fmt: skip
                before[trigger.name] = mode
            await board.changed()
