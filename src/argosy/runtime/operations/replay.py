"""Events that came, driven through a sensor once more: what would run now, how that differs from what did, and putting it into the queues.

The sensor's own loop runs, in a thread, on a tape: a bus in memory that gets the events of the log at the times at which they were stored, by a
clock of its own. So conditions, windows and absences come out as they would have, the states of a replay are its own, and nothing of it
touches what the running sensor holds or the sources' log.

An action of a replay has the same id as in the first run, so one that was done, waits or is dead is recognised and left alone. ``again`` runs
those that ended once more, under an id derived from the first one and the name of the replay: the same replay never does it twice.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import queue
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from argosy import event as events
from argosy.bus._base import Bus, Delivery, Item, Pair, Queue
from argosy.bus.memory import MemoryBus
from argosy.clock import VirtualClock, run_virtually
from argosy.errors import ConfigError
from argosy.manifests.sensor import Sensor
from argosy.runtime.duties import TriggerDuties
from argosy.runtime.operations import _log
from argosy.runtime.operations._base import Ask, Operation, System
from argosy.runtime.operations._log import Choice
from argosy.runtime.operations._queues import message_of
from argosy.runtime.secrets import Secrets
from argosy.runtime.sensors import SensorRunner, queue_name
from argosy.runtime.sinks import Sink
from argosy.runtime.story import SensorStory
from argosy.runtime.telemetry import Metrics
from argosy.sensor import actions
from argosy.sensor.loop import Caused, Waiting
from argosy.sensor.matching import Decision, Matcher

_CHUNK = 256
_CHUNK_BYTES = 8 * 1024 * 1024
_MOST_AT_ONCE = 16
_PROGRESS_SECONDS = 1.0
_ENDED = ("done", "dead", "discarded")


# ---------------------------------------------------------------------- the tape


@dataclass
class _Put:
    trigger: str
    id: str
    body: bytes


@dataclass
class _Outcome:
    """What the sensor made of one event; ``delivery`` is None for what time alone brought about."""

    delivery: Delivery | None
    puts: list[_Put] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    waits: list[str] = field(default_factory=list)


class _Tape:
    """The sensor's loop in a thread of its own. ``play`` hands it entries and returns what came of them."""

    def __init__(self, sensor: Sensor) -> None:
        self._sensor = sensor
        self._entries: queue.SimpleQueue[Sequence[Delivery] | float | None] = queue.SimpleQueue()
        self._made: queue.SimpleQueue[list[_Outcome] | BaseException] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._outcomes: list[_Outcome] = []
        self._now = _Outcome(None)

    async def play(self, entries: Sequence[Delivery]) -> list[_Outcome]:
        """What came of these entries, and of the time before them. Raises what the loop raised."""
        if self._thread is None:
            start = dt.datetime.fromtimestamp(entries[0].stored_at, dt.UTC)
            self._thread = threading.Thread(target=self._run, args=(start,), name="argosy-replay", daemon=True)
            self._thread.start()
        return await self._answer(entries)

    async def until(self, time: float) -> list[_Outcome]:
        """Let time pass up to ``time`` (seconds since the epoch): what came of that."""
        return await self._answer(time) if self._thread is not None else []

    def end(self) -> None:
        """Stop the thread."""
        self._entries.put(None)

    async def _answer(self, entries: Sequence[Delivery] | float) -> list[_Outcome]:
        self._entries.put(entries)
        made = await asyncio.get_running_loop().run_in_executor(None, self._made.get)
        if isinstance(made, BaseException):
            raise made
        return made

    def _run(self, start: dt.datetime) -> None:
        try:
            run_virtually(start, self._loop)
        except BaseException as error:  # noqa: BLE001 - it is raised where the answer is waited for
            self._made.put(error)

    async def _loop(self, clock: VirtualClock) -> None:
        duties = TriggerDuties(secrets=Secrets(), clock=clock, metrics=_metrics(), grace_seconds=0.0)
        namespace, name = self._sensor.metadata.namespace, self._sensor.metadata.name
        async with MemoryBus(clock=clock, max_bytes=64 * 1024 * 1024) as bus:
            observer = _Observer(self, namespace, name)
            runner = SensorRunner(self._sensor, bus, duties, observer, put_into=self._sink)
            matching = asyncio.create_task(runner.match())
            try:
                await runner.opened.wait()
                loop = asyncio.get_running_loop()
                while True:
                    entries = await loop.run_in_executor(None, self._entries.get)
                    if entries is None:
                        return
                    self._outcomes = []
                    if isinstance(entries, float):
                        await self._reach(clock, entries, matching)
                    else:
                        for delivery in entries:
                            await self._step(clock, bus, delivery, matching)
                        bus.forget_texts()
                    self._made.put(self._outcomes)
            finally:
                matching.cancel()
                await asyncio.gather(matching, return_exceptions=True)

    async def _step(
        self, clock: VirtualClock, bus: MemoryBus, delivery: Delivery, matching: asyncio.Task[None]
    ) -> None:
        await self._reach(clock, delivery.stored_at, matching)
        event = delivery.event
        assert event is not None
        self._now = _Outcome(delivery)
        self._outcomes.append(self._now)
        bus.store_text(Pair(event.source, event.subject), events.encode(event))
        await _settled(clock, matching)

    async def _reach(self, clock: VirtualClock, time: float, matching: asyncio.Task[None]) -> None:
        self._now = _Outcome(None)
        if (wait := time - clock.now().timestamp()) > 0:
            await clock.sleep(wait)
            await _settled(clock, matching)
        if self._now.puts:
            self._outcomes.append(self._now)

    def _sink(self, trigger: str) -> Queue:
        async def keep(item_id: str, body: bytes, again: bool) -> None:
            self._now.puts.append(_Put(trigger, item_id, body))

        return Sink(trigger, keep)

    def matched(self, decisions: Sequence[Decision], waiting: Sequence[Waiting]) -> None:
        """The loop looked at an event."""
        for decision in decisions:
            if decision.event is None:
                self._now.refused.append(f"{decision.dependency}: {decision.verdict.reason}")
        self._now.waits += [one.trigger for one in waiting]


async def _settled(clock: VirtualClock, matching: asyncio.Task[None]) -> None:
    await clock.settle()
    if matching.done():
        matching.result()


class _Observer(SensorStory):
    """Tells the tape instead of the log."""

    def __init__(self, tape: _Tape, namespace: str, sensor: str) -> None:
        super().__init__(namespace, sensor, _metrics())
        self._tape = tape

    def matched(
        self, delivery: Delivery, decisions: Sequence[Decision], caused: Sequence[Caused], waiting: Sequence[Waiting]
    ) -> None:
        self._tape.matched(decisions, waiting)


@cache
def _metrics() -> Metrics:
    return Metrics()  # nobody reads them


# ---------------------------------------------------------------------- what did run, and what shall


@dataclass(frozen=True)
class _Plan:
    """What a replay is to do beside looking."""

    dry: bool
    again: bool
    name: str


class _Replay:
    def __init__(self, sensor: Sensor, bus: Bus, plan: _Plan) -> None:
        self._sensor = sensor
        self._bus = bus
        self._plan = plan
        self._matcher = Matcher(sensor)
        self._place = (sensor.metadata.namespace, sensor.metadata.name)
        self._queues: dict[str, Queue] = {}
        self._gate = asyncio.Semaphore(_MOST_AT_ONCE)
        self.counts: Counter[str] = Counter()

    @property
    def pairs(self) -> list[Pair]:
        """What the sensor listens to."""
        return self._matcher.pairs

    async def told(self, outcomes: Sequence[_Outcome]) -> list[dict[str, Any]]:
        """Each outcome as a line. Outside a dry run their actions are put, in order, before this returns."""
        if self._plan.dry:
            return list(await asyncio.gather(*(self._told(outcome) for outcome in outcomes)))
        return [await self._told(outcome) for outcome in outcomes]

    async def _told(self, outcome: _Outcome) -> dict[str, Any]:
        line: dict[str, Any] = {"kind": "time"}
        if outcome.delivery is not None:
            line = {"kind": "event", **_log.told(outcome.delivery, "", whole=False)}
            del line["bus"], line["bytes"]
        line["actions"] = [await self._action(put) for put in outcome.puts]
        line["gone"] = await self._gone(outcome) if self._plan.dry else []
        line["refused"], line["waits"] = outcome.refused, outcome.waits
        self.counts["events"] += outcome.delivery is not None
        self.counts["gone"] += len(line["gone"])
        return line

    async def _action(self, put: _Put) -> dict[str, Any]:
        found = await self._find(put.trigger, put.id)
        told: dict[str, Any] = {"trigger": put.trigger, "id": put.id, "was": found.state if found else "never"}
        if found is not None:
            told |= {"at": _log.spoken(found.at), "said": found.error or message_of(found)}
        id, body = put.id, put.body
        if found is not None and found.state in _ENDED and self._plan.again:
            id = once_more(put.id, self._plan.name)
            told["again"] = id
            found = await self._find(put.trigger, id)
        if found is None and not self._plan.dry:
            new = await self._queue(put.trigger).put(id, body, again=True)
            told["does"] = "put" if new else "known"
        else:
            told["does"] = "would put" if found is None else "known"
        self.counts[told["does"]] += 1
        self.counts[f"was {told['was']}"] += 1
        return told

    async def _gone(self, outcome: _Outcome) -> list[dict[str, Any]]:
        """Actions that one event alone caused in the first run and does not cause now: of other conditions nobody knows the id."""
        if outcome.delivery is None or (event := outcome.delivery.event) is None:
            return []
        now = {put.id for put in outcome.puts}
        told = []
        for plan in self._matcher.plans:
            for one in self._sensor.dependencies:
                if (one.event_source_name, one.event_name) != (event.source, event.subject):
                    continue
                if one.name not in plan.condition.names or not plan.condition.evaluate([one.name]):
                    continue
                whole = actions.action_id(*self._place, plan.trigger, {one.name: event})
                parts = plan.fan_out(whole, {one.name: event}).parts if plan.fan_out else ()
                for id in (whole, *(part.id for part in parts)):
                    if id not in now and (found := await self._find(plan.trigger, id)) is not None:
                        was = {"was": found.state, "at": _log.spoken(found.at)}
                        told.append({"trigger": plan.trigger, "id": id, **was})
        return told

    async def _find(self, trigger: str, id: str) -> Item | None:
        async with self._gate:
            return await self._queue(trigger).find(id)

    def _queue(self, trigger: str) -> Queue:
        if trigger not in self._queues:
            self._queues[trigger] = self._bus.queue(queue_name(*self._place, trigger))
        return self._queues[trigger]


def once_more(id: str, name: str) -> str:
    """The id of an action that the replay ``name`` runs once more: the same for the same replay, another for another."""
    return hashlib.sha256(f"{id}\0replay\0{name}".encode()).hexdigest()[:32]


async def replay(system: System, ask: Ask) -> AsyncGenerator[dict[str, Any], None]:
    """Replay as the body says: a line for each event of interest, for what time brought about, for progress, and one at the end.

    Body: ``sensor``, ``from`` (``earliest`` or a time), and if wanted ``to``, ``source``, ``event``, ``where``, ``dryRun``, ``again`` with ``name``,
    ``all`` (also lines for events that do nothing).
    """
    body = ask.fields
    words = {name: str(body.get(name) or "") for name in ("sensor", "namespace", "from", "to", "name")}
    if not words["sensor"] or not words["from"]:
        raise ConfigError(
            "say through which sensor ('sensor') and from when on ('from': earliest, 1h, 2026-01-31T09:30:00Z)"
        )
    sensor = system.sensor(words["sensor"], words["namespace"])
    plan = _Plan(bool(body.get("dryRun")), bool(body.get("again")), words["name"])
    if plan.again and not plan.name:
        raise ConfigError(
            "running ended actions once more needs a 'name' for this replay, from which their ids are derived"
        )
    if sensor.spec.shadow and not plan.dry:
        raise ConfigError(f"sensor {sensor.metadata.name!r} is a shadow and fires nothing; only a dry run shows it")
    since = "" if words["from"] == "earliest" else words["from"]
    choice = Choice.of(
        system,
        Ask(
            query={
                "source": str(body.get("source") or ""),
                "event": str(body.get("event") or ""),
                "where": str(body.get("where") or ""),
                "since": since,
                "until": words["to"],
            }
        ),
    )
    bus = await system.bus_of(sensor)
    return _replayed(system, sensor, bus, choice, plan, everything=bool(body.get("all")))


async def _replayed(
    system: System, sensor: Sensor, bus: Bus, choice: Choice, plan: _Plan, *, everything: bool
) -> AsyncGenerator[dict[str, Any], None]:
    work, tape, loop = _Replay(sensor, bus, plan), _Tape(sensor), asyncio.get_running_loop()
    last = (await bus.extent()).last
    told_at = loop.time()
    try:
        async with aclosing(_chunks(bus, choice, work.pairs, last)) as chunks:
            async for chunk in chunks:
                for line in await work.told(await tape.play(chunk)):
                    if everything or line["actions"] or line["gone"]:
                        yield line
                if loop.time() - told_at > _PROGRESS_SECONDS:
                    told_at = loop.time()
                    yield {
                        "kind": "progress",
                        "events": work.counts["events"],
                        "position": chunk[-1].position,
                        "of": last,
                    }
        end = choice.until or system.clock.now().timestamp()
        for line in await work.told(await tape.until(end)):
            yield line
    finally:
        tape.end()
    yield {"kind": "end", "dryRun": plan.dry, **{name: count for name, count in sorted(work.counts.items()) if count}}


async def _chunks(bus: Bus, choice: Choice, pairs: Sequence[Pair], until: int) -> AsyncGenerator[list[Delivery], None]:
    """The entries that the sensor listens to, some at a time."""
    chunk: list[Delivery] = []
    size = 0
    async with aclosing(_log.forwards(bus, choice, pairs=pairs, until=until)) as deliveries:
        async for delivery in deliveries:
            if delivery.event is None:
                continue
            chunk.append(delivery)
            size += len(delivery.event.data)
            if len(chunk) == _CHUNK or size > _CHUNK_BYTES:
                yield chunk
                chunk, size = [], 0
    if chunk:
        yield chunk


OPERATIONS = [Operation("POST", "/replay", replay)]
"""It answers in lines; a client that goes breaks it off, and what was put stays put."""
