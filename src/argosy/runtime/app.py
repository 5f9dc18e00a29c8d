"""The whole process on one page.

``apply`` makes what runs equal to what the manifests say, in three steps: end the units (a source, a sensor) that went, and the sensors whose
text changed; start the new sensors; end the sources whose text changed, and start the new ones, so that no event comes before somebody keeps a
place in the log for it. Loading manifests again and applying them is all that hot reload is; what did not change is not touched. With
``--workers`` several processes take the same steps together, each for its shard (``argosy.runtime.workers``).

Stopping follows the flow backwards: not ready → sources stop receiving → sensors and triggers finish what they hold → buses are closed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

from argosy.bus._base import Bus
from argosy.clock import Clock, SystemClock
from argosy.errors import ArgosyError
from argosy.kubernetes.names import shard_of
from argosy.kubernetes.rights import account_of
from argosy.manifests.bundle import Bundle
from argosy.manifests.eventsource import EventSource, EventSpec
from argosy.manifests.sensor import Sensor
from argosy.runtime.buses import Buses
from argosy.runtime.duties import TriggerDuties
from argosy.runtime.secrets import Secrets
from argosy.runtime.sensors import SensorRunner
from argosy.runtime.sinks import ShadowBook
from argosy.runtime.sources import SourceDuties, SourceRunner
from argosy.runtime.status import Key, Pulses, Status, told
from argosy.runtime.story import SensorStory
from argosy.runtime.supervise import end
from argosy.runtime.telemetry import Metrics
from argosy.runtime.turns import Turns
from argosy.sources._http import HttpServers

_log = logging.getLogger("argosy.runtime")
_OPENING_SECONDS = 15.0
_LOOK_SECONDS = 0.1

Step = Literal["end", "sensors", "sources"]
STEPS: tuple[Step, ...] = get_args(Step)
"""How a change is applied, in this order."""


@dataclass(frozen=True)
class Shard:
    """Which part of the units this process runs: ``index`` of ``count``."""

    index: int = 0
    count: int = 1

    def has(self, key: str) -> bool:
        """Whether the unit (or port) of this name belongs here; the same answer in every process."""
        return shard_of(key, self.count) == self.index


@dataclass
class _Unit:
    """Something that runs: a source or a sensor, of the object that ``key`` names."""

    what: str
    digest: str
    key: Key
    bus: str
    task: asyncio.Task[None] | None = None
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    given_up: bool = False
    """Whether sources have waited for this sensor long enough."""
    late: Callable[[], str] = lambda: "does not run yet"
    """Why it does not do its work, as a clause; empty where it does, or stands by."""
    stands_by: Callable[[], str] = lambda: ""
    """That another process does its work, as a clause."""


class App:
    """Runs event sources and sensors until closed. An async context manager; ``apply`` may be called again at any time."""

    def __init__(
        self,
        buses: Buses,
        *,
        secrets: Secrets | None = None,
        metrics: Metrics | None = None,
        clock: Clock | None = None,
        shard: Shard | None = None,
        host: str = "0.0.0.0",
        grace_seconds: float = 20.0,
        listening: Callable[[str], None] = _log.info,
        acts_for_accounts: bool = False,
        turns: Turns | None = None,
    ) -> None:
        """``turns``: of several processes that run the same sources each exclusive one receives when it is its turn. ``acts_for_accounts``: what asks the Kubernetes API does so as the service account of its object, and not as the process."""
        self.metrics = metrics or Metrics()
        self.secrets = secrets or Secrets()
        self._buses = buses
        self._shard = shard or Shard()
        self._grace_seconds = grace_seconds
        self._http = HttpServers(host=host)
        self._clock = clock or SystemClock()
        self._pulses = Pulses(self.secrets.hidden)
        self._sources = SourceDuties(
            http=self._http,
            secrets=self.secrets,
            clock=self._clock,
            metrics=self.metrics,
            listening=listening,
            acts_for_accounts=acts_for_accounts,
            turns=turns,
            pulses=self._pulses,
        )
        self._triggers = TriggerDuties(
            secrets=self.secrets,
            clock=self._clock,
            metrics=self.metrics,
            grace_seconds=grace_seconds,
            acts_for_accounts=acts_for_accounts,
            pulses=self._pulses,
        )
        self._units: dict[tuple[str, ...], _Unit] = {}
        self._applying = asyncio.Lock()
        self._stopping = False
        self._rotated = False
        """Whether the change that is being applied brought other secrets."""

    async def __aenter__(self) -> App:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Drain: sources, then sensors with their triggers, then the buses. Each within the grace time."""
        await self.stop_receiving()
        await self._end("sensor", [key for key in self._units if key[0] == "sensor"])
        await self._buses.close()

    async def stop_receiving(self) -> None:
        """The first half of the end: sources finish what they have received, nothing new is taken in."""
        self._stopping = True
        await self._end("source", [key for key in self._units if key[0] == "source"])
        await self._http.__aexit__(None, None, None)

    async def exposition(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return self.metrics.exposition()

    async def waiting_for(self) -> list[str]:
        """What is not ready, in words; empty if everything that the manifests name does its work."""
        if self._stopping:
            return ["the process is stopping"]
        late = [unit.what for unit in self._units.values() if unit.late()]
        return [*self._buses.unreachable(), *late]

    async def status(self) -> dict[Key, Status]:
        """How each object is that runs here, as far as it does."""
        found: dict[Key, Status] = {}
        for unit in self._units.values():
            late, stands_by = unit.late(), unit.stands_by()
            one = Status(
                not late and not self._stopping,
                (self.secrets.hidden(f"{unit.what} {late}"),) if late else (),
                (f"{unit.what} {stands_by}",) if stands_by else (),
                self._pulses.of(*unit.key).told(),
            )
            found[unit.key] = found[unit.key] + one if unit.key in found else one
        return found

    async def apply(self, bundle: Bundle) -> None:
        """Make what runs equal to ``bundle``. Objects with errors are not in it; whatever is, is started by itself."""
        for step in STEPS:
            await self.take(step, bundle)

    async def take(self, step: Step, bundle: Bundle) -> None:
        """One step of ``apply``. All are taken for one bundle before the first is taken for another."""
        async with self._applying:
            if self._stopping:
                return
            if step == "end":
                self._rotated = self.secrets.update(bundle.secrets, bundle.config_maps)
                self._buses.update(bundle)
                self.metrics.objects_invalid.set(bundle.count("error"))
            wanted = self._wanted(bundle)
            changed = [key for key, unit in self._units.items() if key in wanted and wanted[key][0] != unit.digest]
            if step == "end":
                gone = [key for key in self._units if key not in wanted]
                await self._end("source", gone)
                await self._end("sensor", gone + changed)
                self._pulses.forget_but([unit.key for unit in self._units.values()])
                return
            if step == "sources":
                if self._rotated:
                    # What cannot receive may have waited for just this secret; it need not wait for its next try.
                    changed += [key for key, unit in self._units.items() if key[0] == "source" and unit.late()]
                # They received until now, so that nobody has to wait for what sensors do at their end and at their start.
                await self._end("source", changed)
                await self._buses.retire()
            started = {
                key: start(digest)
                for key, (digest, start) in wanted.items()
                if key[0] == step.removesuffix("s") and key not in self._units
            }
            self._units.update(started)
            if step == "sensors" and started:
                await self._all_open(list(started.values()))

    async def _end(self, kind: str, keys: list[tuple[str, ...]]) -> None:
        ending = [self._units.pop(key) for key in dict.fromkeys(keys) if key[0] == kind]
        await end([unit.task for unit in ending if unit.task], self._grace_seconds)

    async def _all_open(self, units: list[_Unit]) -> None:
        """Wait until these sensors read the log, but not for those whose bus is away: no event can come before it is back, and then each
        source lets the sensors of its bus go first (``_after_sensors``).
        """
        clock = asyncio.get_running_loop().time
        until = clock() + _OPENING_SECONDS
        opening = {asyncio.create_task(unit.opened.wait()): unit for unit in units}
        try:
            while late := [
                task
                for task, unit in opening.items()
                # One that cannot run is not waited for.
                if not task.done() and not (unit.task and unit.task.done()) and not self._buses.waits_for(unit.bus)
            ]:
                if clock() > until:
                    _log.warning("%d sensors are not reading the log yet; they go on trying", len(late))
                    for task in late:
                        opening[task].given_up = True
                    return
                await asyncio.wait(late, timeout=_LOOK_SECONDS)
        finally:
            for task in opening:
                task.cancel()

    async def _after_sensors(self, bus: str) -> None:
        """Wait until the sensors on this bus keep their places in its log."""
        sensors = [unit for key, unit in self._units.items() if key[0] == "sensor" and unit.bus == bus]
        await self._all_open([unit for unit in sensors if not unit.opened.is_set() and not unit.given_up])

    def _wanted(self, bundle: Bundle) -> dict[tuple[str, ...], tuple[str, Callable[[str], _Unit]]]:
        wanted: dict[tuple[str, ...], tuple[str, Callable[[str], _Unit]]] = {}
        for sensor in bundle.sensors:
            name = f"{sensor.metadata.namespace}/{sensor.metadata.name}"
            if self._shard.has(name):
                bus = self._buses.digest(sensor.metadata.namespace, sensor.event_bus_name)
                wanted["sensor", name] = (sensor.digest + bus, self._sensor_starter(sensor))
        for source in bundle.event_sources:
            for spec in source.events:
                name = f"{source.metadata.namespace}/{source.metadata.name}/{spec.name}"
                if self._shard.has(_port_of(spec) or name):
                    bus = self._buses.digest(source.metadata.namespace, source.event_bus_name)
                    account = self._account(source)
                    wanted["source", name] = (spec.digest + bus + account, self._source_starter(source, spec))
        return wanted

    def _account(self, source: EventSource) -> str:
        """The account that a source acts as, which its own text does not say; that of a sensor is part of its digest."""
        if not self._sources.acts_for_accounts:
            return ""
        return account_of(source.metadata.namespace, source.spec.template).name

    def _sensor_starter(self, sensor: Sensor) -> Callable[[str], _Unit]:
        def start(digest: str) -> _Unit:
            name = sensor.metadata.name
            space = sensor.metadata.namespace
            place = self._buses.key(space, sensor.event_bus_name)
            unit = _Unit(f"sensor '{name}'", digest, ("Sensor", space, name), place)
            unit.late = lambda: "" if unit.opened.is_set() else "does not read the log yet"

            async def run() -> None:
                bus = await self._buses.get(space, sensor.event_bus_name)
                runner = self._shadow(sensor, bus) if sensor.spec.shadow else SensorRunner(sensor, bus, self._triggers)
                runner.opened = unit.opened
                await runner.run()

            unit.task = asyncio.create_task(self._start(unit, run))
            return unit

        return start

    def _shadow(self, sensor: Sensor, bus: Bus) -> SensorRunner:
        """The runner of a sensor that only decides."""
        namespace, name = sensor.metadata.namespace, sensor.metadata.name

        def count(trigger: str) -> None:
            self.metrics.actions_shadowed.labels(namespace, name, trigger).inc()

        book = ShadowBook(bus, namespace, name, self._clock, count)
        story = SensorStory(
            namespace, name, self.metrics, pulse=self._pulses.of("Sensor", namespace, name), shadow=True
        )
        return SensorRunner(sensor, bus, self._triggers, story, put_into=book.sink)

    def _source_starter(self, source: EventSource, spec: EventSpec) -> Callable[[str], _Unit]:
        def start(digest: str) -> _Unit:
            key = ("EventSource", source.metadata.namespace, source.metadata.name)
            place = self._buses.key(source.metadata.namespace, source.event_bus_name)
            unit = _Unit(f"source '{source.metadata.name}/{spec.name}'", digest, key, place)

            async def run() -> None:
                bus = await self._buses.get(source.metadata.namespace, source.event_bus_name)
                await self._after_sensors(place)
                runner = SourceRunner(source, spec, bus, self._sources)
                unit.late, unit.stands_by = (lambda: runner.late), (lambda: runner.stands_by)
                await runner.run()

            unit.task = asyncio.create_task(self._start(unit, run))
            return unit

        return start

    async def _start(self, unit: _Unit, run: Callable[[], Awaitable[None]]) -> None:
        """What cannot be started says so once and leaves the others alone."""
        try:
            await run()
        except ArgosyError as error:
            _log.error("%s does not run: %s", unit.what, error, extra={"action": "unit.refused"})
            self._refused(unit, error)
        except Exception as error:  # noqa: BLE001 - a fault of ours in one unit must not end the others
            _log.exception("%s does not run", unit.what, extra={"action": "unit.refused"})
            self._refused(unit, error)

    def _refused(self, unit: _Unit, error: Exception) -> None:
        reason = told(error)
        unit.late = lambda: f"does not run: {reason}"
        self._pulses.of(*unit.key).failed(unit.what, error)


def _port_of(spec: EventSpec) -> str:
    """Sources that share a port must share a process: what they are sharded by."""
    port = getattr(spec.config, "port", None) or getattr(getattr(spec.config, "webhook", None), "port", None)
    return f"port {port}" if port else ""
