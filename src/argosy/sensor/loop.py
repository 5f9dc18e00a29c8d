"""The loop that drives a sensor: log → match → actions → memory → position, in this order, a batch at a time.

Each arrow is durable before the next begins, so a process may die anywhere: what was not committed is read again, and everything it causes has
the same id as before. See ``docs/decisions/0002-sensors-read-the-log-by-position.md``.

Between batches it waits for what comes due in a memory (``absent``, ``batch``, ``debounce``), and fires it once everything that the log held by then was read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from argosy.bus._base import Bus, Delivery, Queue, Subscription
from argosy.clock import Clock, SystemClock
from argosy.errors import EventTooLarge
from argosy.event import Event
from argosy.sensor import actions, fanout
from argosy.sensor.actions import ActionRecord
from argosy.sensor.fanout import FanOut
from argosy.sensor.matching import Decision, Matcher, Plan
from argosy.sensor.remembering import Advance, Completed, State, TriggerMemory
from argosy.sensor.stores import Store, consumer_of
from argosy.sensor.timers import Timers
from argosy.sensor.verdict import Verdict

_MOST_PUTS = 2000
"""So many actions of a batch are held in memory before they are stored, an event's own not counted."""
_UNREAD_SECONDS = 0.05
"""How long what the log holds already is waited for, until the bus is asked again."""


@dataclass(frozen=True)
class Caused:
    """An action that an event caused."""

    trigger: str
    id: str


@dataclass(frozen=True)
class Waiting:
    """A trigger that took the event in and waits for others, or for time to pass (``sentence`` says it all then)."""

    trigger: str
    for_dependencies: Sequence[str]
    sentence: str = ""


class Observer(Protocol):
    """Is told what the loop did; for logs, metrics and explanations. Must not block or raise."""

    def matched(
        self, delivery: Delivery, decisions: Sequence[Decision], caused: Sequence[Caused], waiting: Sequence[Waiting]
    ) -> None:
        """An event was decided on, and what it causes is about to be stored; after a crash it is told again."""

    def unreadable(self, delivery: Delivery) -> None:
        """An entry of the log is not an event; it is skipped."""

    def came_due(self, caused: Caused, why: str) -> None:
        """Time alone caused an action, which is about to be stored; after a crash it is told again."""

    def gave_up(self, trigger: str, values: Sequence[str]) -> None:
        """A trigger gave up what it had collected for these values, because too many wait."""

    def problem(self, sentence: str) -> None:
        """Something a person must know; nothing else is harmed by it."""


@dataclass
class _Put:
    queue: Queue
    id: str
    record: ActionRecord
    again: bool


class SensorLoop:
    """Reads the log for one sensor until cancelled.

    ``consumer`` names its position and its memory on the bus. ``queue_of`` gives the action queue of a trigger. ``failpoint`` is
    called between the durable steps; it does nothing outside crash tests.
    """

    def __init__(
        self,
        *,
        namespace: str,
        sensor: str,
        matcher: Matcher,
        bus: Bus,
        queue_of: Callable[[str], Queue],
        observer: Observer,
        failpoint: Callable[[str], None],
        clock: Clock | None = None,
        max_in_flight: int = 256,
    ) -> None:
        self.consumer = consumer_of(namespace, sensor)
        self.opened = asyncio.Event()
        self._namespace = namespace
        self._sensor = sensor
        self._matcher = matcher
        self._bus = bus
        self._queues: dict[str, Queue] = {plan.trigger: queue_of(plan.trigger) for plan in matcher.plans}
        self._observer = observer
        self._failpoint = failpoint
        self._clock = clock or SystemClock()
        self._max_in_flight = max_in_flight
        self._store = Store(bus, self.consumer)
        self._memories: dict[str, TriggerMemory] = {}
        self._timers: Timers[tuple[str, str]] = Timers(self._clock)
        self._position = 0

    async def run(self) -> None:
        """Match until cancelled. ``opened`` is set once no event can be missed any more."""
        self._timers = Timers(self._clock)
        self._memories = await self._store.load(self._matcher.plans, self._observer.problem)
        for memory in self._memories.values():
            self._watch(memory, list(memory.states))
        async with self._bus.subscribe(
            self.consumer, self._matcher.pairs, max_in_flight=self._max_in_flight
        ) as subscription:
            self.opened.set()
            if self._memories:
                self._position = await self._bus.position(self.consumer) or 0
            reading = _Ahead(aiter(subscription))
            try:
                while True:
                    batch = await self._next(subscription, reading)
                    if batch is None:
                        await self._ring()
                        continue
                    await self._settle(batch)
                    await subscription.commit(self._position)
                    removed = {name: memory.committed(self._position) for name, memory in self._memories.items()}
                    self._failpoint("position.committed")
                    for trigger, keys in removed.items():
                        if keys and await self._store.remove(trigger, keys):
                            self._failpoint("join.removed")
            finally:
                await reading.end()

    async def _next(self, subscription: Subscription, reading: _Ahead) -> list[Delivery] | None:
        """The next batch; None when something is due instead, and all that was stored before was read."""
        while True:
            seconds = self._timers.wait()
            if seconds is None:
                return await reading.next()
            if seconds > 0:
                await reading.wait(self._clock, seconds)
            elif not reading.done and await subscription.caught_up() and not reading.done:
                return None
            else:
                await reading.wait(self._clock, _UNREAD_SECONDS)
            if reading.done:
                return await reading.next()

    def _watch(self, memory: TriggerMemory, keys: Sequence[str]) -> None:
        for key in keys:
            state = memory.states.get(key)
            self._timers.set((memory.plan.trigger, key), state.due if state is not None else None)

    def _concerns_memory(self, delivery: Delivery, decisions: Sequence[Decision]) -> bool:
        """Whether a memory takes the event in, or something in one was due before it."""
        accepted = {one.dependency for one in decisions if one.event is not None}
        return any(
            memory.due_by(delivery.stored_at) or not accepted.isdisjoint(memory.plan.names)
            for memory in self._memories.values()
        )

    async def _heed_clearing(self) -> None:
        """Forget what persons have cleared since the last look, before anything comes of it."""
        generations = await self._store.generations()
        for trigger, memory in self._memories.items():
            if generations.get(trigger, 0) > memory.generation:
                memory.clear(generations[trigger])

    async def _settle(self, batch: Sequence[Delivery]) -> None:
        heeded = not self._memories
        puts: list[_Put] = []
        unsaid = False
        for number, delivery in enumerate(batch):
            decisions = self._matcher.decide(delivery.event) if delivery.event is not None else []
            if not heeded and self._concerns_memory(delivery, decisions):
                await self._heed_clearing()
                heeded = True
            self._ring_to(delivery, puts)
            self._position = delivery.position
            if delivery.event is None:
                self._observer.unreadable(delivery)
                continue
            caused, waiting = self._advance(delivery, decisions, puts)
            # Told first: an action that is stored is performed at once, and its story must not come before its cause.
            # And told now: decisions that live for a whole batch cost more than making them.
            self._observer.matched(delivery, decisions, caused, waiting)
            if len(puts) > _MOST_PUTS:  # an event that became many actions; what is stored early is recognised later
                await self._put(puts)
                puts.clear()
                unsaid = True
            if number % 16 == 15:
                await asyncio.sleep(0)  # matching is pure CPU; let others run between events
        await self._put(puts)
        if puts or unsaid:
            self._failpoint("actions.put")
        await self._save()

    def _ring_to(self, delivery: Delivery, puts: list[_Put]) -> None:
        """Fire what was due before this entry was stored."""
        for memory in self._memories.values():
            for completed in memory.ring_to(delivery.stored_at, self._position):
                self._come_due(memory.plan, completed, puts)

    async def _ring(self) -> None:
        """Fire what the clock says is due."""
        await self._heed_clearing()
        puts: list[_Put] = []
        to: dict[str, float] = {}
        for (trigger, _), due in self._timers.ready().items():
            to[trigger] = max(due, to.get(trigger, 0.0))
        for trigger, due in to.items():
            memory = self._memories[trigger]
            for completed in memory.ring_to(due, self._position):
                self._come_due(memory.plan, completed, puts)
        for trigger, key in self._timers.ready():
            self._watch(self._memories[trigger], [key])
        await self._put(puts)
        if puts:
            self._failpoint("due.put")
        await self._save()
        self._failpoint("due.saved")

    def _come_due(self, plan: Plan, completed: Completed, puts: list[_Put]) -> None:
        # A reader before this one may have noticed it, too.
        found = self._cause(plan, completed, puts, again=True)
        if isinstance(found, Verdict):
            self._observer.problem(f"trigger {plan.trigger!r} was due and does nothing: {found.reason}")
            return
        for caused in found:
            self._observer.came_due(caused, completed.why)

    def _advance(
        self, delivery: Delivery, decisions: list[Decision], puts: list[_Put]
    ) -> tuple[list[Caused], list[Waiting]]:
        """What the accepting dependencies lead to. A trigger that could not take the event in adds a decision."""
        caused: list[Caused] = []
        waiting: dict[str, Waiting] = {}
        at, position, again = delivery.stored_at, delivery.position, delivery.repeated
        for decision in list(decisions):
            if decision.event is None:
                continue
            for plan in self._matcher.plans:
                if decision.dependency not in plan.names:
                    continue
                memory = self._memories.get(plan.trigger)
                if memory is None:
                    advance = Advance([Completed({decision.dependency: decision.event}, at)])
                else:
                    advance = memory.take(decision.dependency, decision.event, position=position, at=at)
                if advance.refused is not None:
                    decisions.append(Decision(decision.dependency, _named(advance.refused)))
                for completed in advance.completed:
                    waiting.pop(plan.trigger, None)
                    found = self._cause(plan, completed, puts, again=again, created=delivery.event)
                    if isinstance(found, Verdict):
                        decisions.append(Decision(decision.dependency, found))
                    else:
                        caused += found
                if advance.waits is not None:
                    sentence = advance.waits.sentence if plan.timed else ""
                    waiting[plan.trigger] = Waiting(plan.trigger, advance.waits.for_dependencies, sentence)
        return caused, list(waiting.values())

    def _cause(
        self, plan: Plan, completed: Completed, puts: list[_Put], *, again: bool, created: Event | None = None
    ) -> list[Caused] | Verdict:
        """The actions that this leads to, or why it leads to none (``forEach``)."""
        item = actions.action_id(self._namespace, self._sensor, plan.trigger, completed.events)
        newest = created or list(completed.events.values())[-1]
        record = ActionRecord(newest.time, completed.events, at=completed.at)
        if plan.fan_out is not None:
            return self._fan_out(plan, plan.fan_out, item, record, puts, again=again)
        puts.append(_Put(self._queues[plan.trigger], item, record, again))
        return [Caused(plan.trigger, item)]

    def _fan_out(
        self, plan: Plan, fan_out: FanOut, whole: str, record: ActionRecord, puts: list[_Put], *, again: bool
    ) -> list[Caused] | Verdict:
        fanned = fan_out(whole, record.events)
        queue = self._queues[plan.trigger]
        if fanned.given_up:
            # Put as a whole, its worker makes a dead letter of it, which can be redriven once the manifest is mended.
            puts.append(_Put(queue, whole, record, again))
            return [Caused(plan.trigger, whole)]
        if not fanned.parts:
            return Verdict(fanout.CLAUSE, False, f"{fanout.CLAUSE}: {fanned.reason}", failed=fanned.failed)
        puts += [_Put(queue, part.id, replace(record, events=part.events), again) for part in fanned.parts]
        return [Caused(plan.trigger, part.id) for part in fanned.parts]

    async def _put(self, puts: Sequence[_Put]) -> None:
        """Write all actions. Queues are written side by side; within one queue the order of the log is kept."""
        by_queue: dict[int, list[_Put]] = {}
        for put in puts:
            by_queue.setdefault(id(put.queue), []).append(put)
        async with asyncio.TaskGroup() as group:
            for same in by_queue.values():
                if any(put.again for put in same):
                    group.create_task(self._one_after_the_other(same))
                else:
                    for put in same:
                        group.create_task(self._write(put))

    async def _one_after_the_other(self, puts: Sequence[_Put]) -> None:
        for put in puts:
            await self._write(put)

    async def _write(self, put: _Put) -> None:
        try:
            await put.queue.put(put.id, actions.encode(put.record), again=put.again)
            self._failpoint("action.put")
        except EventTooLarge as error:
            # The event itself fitted; joined with others, or grown by a transform, it no longer does.
            reason = f"the events of this action are together too large for the bus: {error}"
            await put.queue.put(put.id, actions.encode(actions.stripped(put.record, reason)), again=put.again)

    async def _save(self) -> None:
        for memory in self._memories.values():
            self._watch(memory, list(memory.touched))
            if memory.given_up:
                self._observer.gave_up(memory.plan.trigger, memory.given_up)
                memory.given_up = []
        await self._store.save(self._memories.values(), self._failpoint, self._give_up_waiting)

    async def _give_up_waiting(self, memory: TriggerMemory, state: State, error: EventTooLarge) -> None:
        """Events that cannot be remembered together become an action that cannot be performed: a dead letter, which a person sees."""
        held, plan = state.forget(), memory.plan
        self._watch(memory, list(memory.states))
        reason = f"the events that wait for {str(plan.condition)!r} are together too large for the bus: {error}"
        self._observer.problem(f"trigger {plan.trigger!r} gives up the events of {', '.join(held)}: {reason}")
        record = actions.stripped(ActionRecord(list(held.values())[-1].time, held), reason)
        item = actions.action_id(self._namespace, self._sensor, plan.trigger, held)
        await self._queues[plan.trigger].put(item, actions.encode(record), again=True)


def _named(refused: Verdict) -> Verdict:
    """The verdict with its place in the sentence, because a dependency may have others with other triggers."""
    return Verdict(refused.clause, False, lambda: f"{refused.clause}: {refused.reason}", failed=True)


class _Ahead:
    """Reads the next batch in the background while something else is waited for as well."""

    def __init__(self, batches: AsyncIterator[list[Delivery]]) -> None:
        self._batches = batches
        self._reading: asyncio.Future[list[Delivery]] | None = None

    @property
    def done(self) -> bool:
        """Whether a batch is there."""
        return self._reading is not None and self._reading.done()

    async def next(self) -> list[Delivery]:
        """The next batch."""
        if self._reading is None:
            return await anext(self._batches)
        reading, self._reading = self._reading, None
        try:
            return await reading
        finally:
            reading.cancel()

    async def wait(self, clock: Clock, seconds: float) -> None:
        """Return when a batch is there or the time has passed."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(anext(self._batches))
        sleeping = asyncio.ensure_future(clock.sleep(seconds))
        both: list[asyncio.Future[Any]] = [self._reading, sleeping]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()

    async def end(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
