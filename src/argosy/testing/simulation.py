"""Plays a trial in virtual time, with the parts that run in production: loop, joins, queues, workers, memory bus.

Only the last step differs: a trigger's ``fire`` is written down (``Fired``) and answers what the test says. What it would read from
outside (a cluster, a URL) comes from the test too. Nothing is sent, no secret is read, no plug-in's library is imported.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from argosy import registry
from argosy.bus._base import Delivery
from argosy.bus.memory import MemoryBus
from argosy.clock import VirtualClock, run_virtually
from argosy.errors import Rejected, RetryAfter, TriggerError
from argosy.event import Event
from argosy.manifests.fields import ConfigMapKeySelector, Json
from argosy.manifests.sensor import Sensor, TriggerSpec
from argosy.runtime.approval import Ruling
from argosy.runtime.duties import TriggerDuties
from argosy.runtime.secrets import Secrets
from argosy.runtime.sensors import SensorRunner, queues_of
from argosy.runtime.telemetry import Metrics
from argosy.sensor import rendering, waiting
from argosy.sensor.loop import Caused, Waiting
from argosy.sensor.matching import Decision, Matcher
from argosy.sensor.remembering import TriggerMemory
from argosy.sensor.rendering import Offline, Setting
from argosy.sensor.stores import Store
from argosy.testing.format import Answer
from argosy.testing.given import Arrival
from argosy.testing.loading import Trial, TriggerName
from argosy.triggers._base import Action, Outcome, Trigger, TriggerConfig, TriggerContext

_OK = Answer.model_validate({"ok": ""})
_LONGEST_SECONDS = 10 * 366 * 86400.0
"""Where a simulation without ``until`` ends that does not come to rest."""


@dataclass
class Fired:
    """One action that was tried. ``tries`` are the times of its attempts, in seconds since the start."""

    name: TriggerName
    id: str
    events: dict[str, Event]
    kind: str
    block: dict[str, Any]
    object: Json | None
    payload: bytes | None
    unknown: str
    """Why its object is not known, where it is not."""
    settings: Sequence[Setting]
    tries: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def at(self) -> float:
        """When it was first tried."""
        return self.tries[0]


@dataclass(frozen=True)
class Dead:
    """An action that was given up."""

    name: TriggerName
    id: str
    reason: str
    tries: int
    at: float


@dataclass(frozen=True)
class Seen:
    """What one sensor made of one event."""

    sensor: tuple[str, str]
    event: Event
    at: float
    decisions: Sequence[Decision]
    caused: Sequence[Caused]
    waiting: Sequence[Waiting]


@dataclass(frozen=True)
class Held:
    """What a trigger holds at the end: the event of each dependency, what it still waits for, and both in sentences."""

    events: dict[str, Event]
    waits_for: Sequence[str]
    sentences: Sequence[str] = ()


@dataclass
class Transcript:
    """All that happened, in order."""

    seen: list[Seen] = field(default_factory=list)
    fired: list[Fired] = field(default_factory=list)
    dead: list[Dead] = field(default_factory=list)
    waiting: dict[TriggerName, int] = field(default_factory=dict)
    """How many actions had not ended at the end."""
    held: dict[TriggerName, Held] = field(default_factory=dict)
    due: list[tuple[TriggerName, float, str]] = field(default_factory=list)
    """What time alone caused: the trigger, when, and why."""
    refused: list[Arrival] = field(default_factory=list)
    problems: list[tuple[tuple[str, str], str]] = field(default_factory=list)  # what a sensor could not do with the log
    ended_at: float = 0.0


def simulate(trial: Trial) -> Transcript:
    """Play the trial to its end. Raises ArgosyError if a sensor cannot run at all."""
    return run_virtually(trial.start, _Simulation(trial).run)


@cache
def _metrics() -> Metrics:
    return Metrics()  # nobody reads them, and making them takes longer than a test


class _Observer:
    """Listens to one sensor's loop."""

    def __init__(self, simulation: _Simulation, sensor: Sensor) -> None:
        self._simulation = simulation
        self._sensor = (sensor.metadata.namespace, sensor.metadata.name)

    def matched(
        self, delivery: Delivery, decisions: Sequence[Decision], caused: Sequence[Caused], waiting: Sequence[Waiting]
    ) -> None:
        assert delivery.event is not None
        at = self._simulation.now
        self._simulation.transcript.seen.append(Seen(self._sensor, delivery.event, at, decisions, caused, waiting))

    def came_due(self, caused: Caused, why: str) -> None:
        name = TriggerName(*self._sensor, caused.trigger)
        self._simulation.transcript.due.append((name, self._simulation.now, why))

    def gave_up(self, trigger: str, values: Sequence[str]) -> None:
        self.problem(f"trigger '{trigger}' gave up what waited longest, because too many wait: {', '.join(values)}")

    def unreadable(self, delivery: Delivery) -> None:
        self.problem(f"an entry of the log is no event and was skipped: {delivery.error}")

    def problem(self, sentence: str) -> None:
        self._simulation.transcript.problems.append((self._sensor, sentence))


class _Recording(Trigger[TriggerConfig]):
    """Stands in for a plug-in: its ``fetch`` reads what can be read offline, its ``fire`` writes down and answers."""

    def __init__(self, kind: str, ctx: TriggerContext, simulation: _Simulation) -> None:
        super().__init__(ctx)
        self._kind = kind
        self._simulation = simulation
        self._name = TriggerName(ctx.namespace, ctx.sensor, ctx.trigger)
        self._offline = _offline(simulation.trial, self._name)

    async def fetch(self, config: TriggerConfig) -> Json | None:
        found, unknown = self._offline.fetch(config)
        return {} if unknown else found  # something must stand there for the parameters to be set on

    async def fire(self, config: TriggerConfig, action: Action) -> Outcome:
        simulation = self._simulation
        rehearsal = rendering.rehearse(simulation.specs[self._name], action.events, self._offline)
        fired = simulation.tried(self._name, action, self._kind, rehearsal)
        if rehearsal.failure:  # a list that its kind resolves while it fires
            fired.failures.append(rehearsal.failure)
            raise Rejected(rehearsal.failure)
        answer = next(simulation.answers(self._name))
        if answer.takes:
            await simulation.clock.sleep(answer.takes)
        try:
            return _answered(answer)
        except TriggerError as error:
            fired.failures.append(str(error))
            raise


def _answered(answer: Answer) -> Outcome:
    if answer.fails is not None:
        raise TriggerError(answer.fails or "the test says that it fails")
    if answer.rejected is not None:
        raise Rejected(answer.rejected or "the test says that it is rejected")
    if answer.ok is None and answer.retry_after is None:
        raise Rejected("the test says what a person decides, and the trigger asks nobody for approval")
    if answer.retry_after is not None:
        raise RetryAfter(f"the test says: come back in {answer.retry_after:g} s", answer.retry_after)
    return Outcome(answer.ok or "done", dict(answer.detail))


@dataclass(frozen=True)
class _Given(Offline):
    """Reads offline, but for the object that the test gives."""

    given: dict[str, Any] | None = None

    def fetch(self, config: TriggerConfig) -> tuple[Json | None, str]:
        return (copy.deepcopy(self.given), "") if self.given is not None else super().fetch(config)


def _offline(trial: Trial, name: TriggerName) -> Offline:
    def config_map(selector: ConfigMapKeySelector) -> str | None:
        held = trial.bundle.config_maps.get((name.namespace, selector.name))
        return None if held is None else held.get(selector.key)

    return _Given(trial.folder, config_map, trial.fetched(name))


class _Simulation:
    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.transcript = Transcript()
        self.clock: VirtualClock
        self.specs: dict[TriggerName, TriggerSpec] = {}
        self._answers: dict[TriggerName, _Answers] = {}
        self._decided: dict[tuple[str, str], Ruling | None] = {}
        self._by_id: dict[tuple[TriggerName, str], Fired] = {}
        self._queues: dict[str, TriggerName] = {}

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return self.clock.monotonic()

    def answers(self, name: TriggerName) -> _Answers:
        """What the receiver of this trigger answers from now on, without end."""
        if name not in self._answers:
            self._answers[name] = _Answers(self.trial.answers(name))
        return self._answers[name]

    def approve(self, queue: str, action_id: str) -> Ruling | None:
        """What the person says who is asked for approval."""
        key, answers = (queue, action_id), self.answers(self._queues[queue])
        if key not in self._decided and answers.coming.denied is None and answers.coming.unanswered is None:
            self._decided[key] = Ruling("approved", 0.0, self.now, "the test")
        elif key not in self._decided:
            no = next(answers).denied
            self._decided[key] = None if no is None else Ruling("denied", 0.0, self.now, "the test", no)
        return self._decided[key]

    def tried(self, name: TriggerName, action: Action, kind: str, rehearsal: rendering.Rehearsal) -> Fired:
        """Write an attempt down."""
        fired = self._by_id.get((name, action.id))
        if fired is None:
            fired = Fired(
                name,
                action.id,
                dict(action.events),
                kind,
                rehearsal.block,
                None if rehearsal.unknown else action.resource,
                action.payload,
                rehearsal.unknown,
                rehearsal.trace,
            )
            self._by_id[name, action.id] = fired
            self.transcript.fired.append(fired)
        fired.tries.append(self.now)
        return fired

    async def run(self, clock: VirtualClock) -> Transcript:
        self.clock = clock
        buses: dict[tuple[str, str], MemoryBus] = {}
        runners: list[tuple[SensorRunner, Sensor]] = []
        tasks: list[asyncio.Task[None]] = []
        duties = TriggerDuties(
            secrets=Secrets(),
            clock=clock,
            metrics=_metrics(),
            grace_seconds=0.0,
            make=self._make,
            chance=lambda: 0.0,
            approver=self.approve,
        )
        for sensor in self.trial.sensors:
            key = (sensor.metadata.namespace, sensor.event_bus_name)
            if key not in buses:
                buses[key] = await MemoryBus(clock=clock).__aenter__()
            runner = SensorRunner(sensor, buses[key], duties, _Observer(self, sensor))
            runners.append((runner, sensor))
            self.specs |= {TriggerName(key[0], runner.name, spec.name): spec for _, spec in queues_of(sensor)}
            self._queues |= {runner.queue(queue).name: name for queue, name in _queues(sensor)}
        try:
            for runner, _ in runners:
                tasks.append(asyncio.create_task(runner.match()))
                tasks += [asyncio.create_task(worker.run()) for _, worker in runner.workers()]
                await runner.opened.wait()
            await self._play(buses)
            await self._rest(runners, tasks)
            await self._collect(buses, runners)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return self.transcript

    def _make(self, kind: str, context: TriggerContext) -> Trigger[Any]:
        if registry.trigger(kind) is None:
            raise Rejected(f"there is no trigger kind {kind!r} in this version of Argosy")
        return _Recording(kind, context, self)

    async def _play(self, buses: dict[tuple[str, str], MemoryBus]) -> None:
        for arrival in self.trial.arrivals:
            if arrival.at > self.now:
                await self.clock.sleep(arrival.at - self.now)
            if arrival.refused:
                self.transcript.refused.append(arrival)
                continue
            for (namespace, name), bus in buses.items():
                if namespace == arrival.namespace and arrival.bus_name in ("", name):
                    await bus.publish(arrival.event)

    async def _rest(self, runners: list[tuple[SensorRunner, Sensor]], tasks: list[asyncio.Task[None]]) -> None:
        """Let time pass until there is nothing left to do, or until the test says so."""
        until = self.trial.until
        if until is not None and until > self.now:
            await self.clock.sleep(until - self.now)
        await self._settled(tasks)
        pause = 1.0
        while until is None and self.now < _LONGEST_SECONDS and await self._busy(runners):
            await self.clock.sleep(pause)
            pause = min(pause * 2, 3600.0)
            await self._settled(tasks)

    async def _settled(self, tasks: list[asyncio.Task[None]]) -> None:
        await self.clock.settle()
        for task in tasks:
            if task.done():  # they never end by themselves, so this raises what ended them
                task.result()

    async def _busy(self, runners: list[tuple[SensorRunner, Sensor]]) -> bool:
        if self.clock.sleeping:
            return True  # an action that runs at most once has left its queue before it waits for its turn
        for runner, sensor in runners:
            for queue, _ in _queues(sensor):
                if await runner.queue(queue).depth():
                    return True
        return False

    async def _collect(
        self, buses: dict[tuple[str, str], MemoryBus], runners: list[tuple[SensorRunner, Sensor]]
    ) -> None:
        transcript, start = self.transcript, self.trial.start.timestamp()
        for runner, sensor in runners:
            for queue, name in _queues(sensor):
                for letter in await runner.queue(queue).dead_letters():
                    at = letter.died_at - start
                    transcript.dead.append(Dead(name, letter.id, letter.reason, letter.failures + 1, at))
                if count := await runner.queue(queue).depth():
                    transcript.waiting[name] = count
        transcript.dead.sort(key=lambda dead: dead.at)
        times = [moment for fired in transcript.fired for moment in fired.tries]
        times += [dead.at for dead in transcript.dead] + [arrival.at for arrival in self.trial.arrivals]
        transcript.ended_at = self.trial.until if self.trial.until is not None else max(times, default=0.0)
        for runner, sensor in runners:
            bus = buses[sensor.metadata.namespace, sensor.event_bus_name]
            store = Store(bus, f"{sensor.metadata.namespace}/{runner.name}")
            memories = await store.look(Matcher(sensor).plans, lambda sentence: None)
            for trigger, memory in memories.items():
                memory.forget_to(start + transcript.ended_at)
                name = TriggerName(sensor.metadata.namespace, runner.name, trigger)
                transcript.held[name] = _held(memory)


def _held(memory: TriggerMemory) -> Held:
    events: dict[str, Event] = {}
    waits_for: list[str] = []
    sentences = []
    for _, state in memory.held():
        wait = waiting.of(state)
        events.update(state.events())
        waits_for += [name for name in wait.for_dependencies if name not in waits_for]
        sentences.append(f"it {wait.sentence}")
    return Held(events, waits_for, sentences)


def _queues(sensor: Sensor) -> list[tuple[str, TriggerName]]:
    """The queues of a sensor, each with the trigger whose actions it holds."""
    place = (sensor.metadata.namespace, sensor.metadata.name)
    return [(queue, TriggerName(*place, spec.name)) for queue, spec in queues_of(sensor)]


class _Answers(Iterator[Answer]):
    """The answers as they are given, then ``ok`` without end. ``coming`` is the next one."""

    def __init__(self, given: Sequence[Answer]) -> None:
        self._left = itertools.chain.from_iterable(itertools.repeat(answer, answer.times) for answer in given)
        self.coming = next(self._left, _OK)

    def __next__(self) -> Answer:
        answer, self.coming = self.coming, next(self._left, _OK)
        return answer
