"""The loop that drives a sensor: log → match → actions → join state → position, in this order, a batch at a time.

Each arrow is durable before the next begins, so a process may die anywhere: what was not committed is read again, and everything it causes has
the same id as before. See ``docs/decisions/0002-sensors-read-the-log-by-position.md``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from argosy.bus._base import Bucket, Bus, Delivery, Queue
from argosy.errors import EventInvalid, EventTooLarge
from argosy.event import Event
from argosy.sensor import actions
from argosy.sensor.actions import ActionRecord
from argosy.sensor.join import JoinState
from argosy.sensor.matching import Decision, Matcher, Plan


@dataclass(frozen=True)
class Caused:
    """An action that an event caused."""

    trigger: str
    id: str


@dataclass(frozen=True)
class Waiting:
    """A trigger that took the event in and waits for others."""

    trigger: str
    for_dependencies: Sequence[str]


class Observer(Protocol):
    """Is told what the loop did; for logs, metrics and explanations. Must not block or raise."""

    def matched(
        self, delivery: Delivery, decisions: Sequence[Decision], caused: Sequence[Caused], waiting: Sequence[Waiting]
    ) -> None:
        """An event was decided on, and what it causes is about to be stored; after a crash it is told again."""

    def unreadable(self, delivery: Delivery) -> None:
        """An entry of the log is not an event; it is skipped."""

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

    ``consumer`` names its position and its join states on the bus and must stay the same over restarts. ``queue_of`` gives the action
    queue of a trigger. ``failpoint`` is called between the durable steps; it does nothing outside crash tests.
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
        max_in_flight: int = 256,
    ) -> None:
        self.consumer = f"{namespace}/{sensor}"
        self.opened = asyncio.Event()
        self._namespace = namespace
        self._sensor = sensor
        self._matcher = matcher
        self._bus = bus
        self._queues: dict[str, Queue] = {plan.trigger: queue_of(plan.trigger) for plan in matcher.plans}
        self._observer = observer
        self._failpoint = failpoint
        self._max_in_flight = max_in_flight
        self._joins: Bucket = bus.bucket("joins")
        self._states: dict[str, JoinState] = {}

    async def run(self) -> None:
        """Match until cancelled. ``opened`` is set once no event can be missed any more."""
        for plan in self._matcher.plans:
            if plan.condition.joins:
                self._states[plan.trigger] = await self._load(plan)
        async with self._bus.subscribe(
            self.consumer, self._matcher.pairs, max_in_flight=self._max_in_flight
        ) as subscription:
            self.opened.set()
            async for batch in subscription:
                await self._settle(batch)
                position = batch[-1].position
                await subscription.commit(position)
                for state in self._states.values():
                    state.committed(position)
                self._failpoint("position.committed")

    async def _load(self, plan: Plan) -> JoinState:
        entry = await self._joins.get(self._key(plan.trigger))
        text = entry.value if entry else None
        try:
            return JoinState.load(text, plan.condition, plan.definitions, plan.resets)
        except EventInvalid as error:
            self._observer.problem(f"trigger {plan.trigger!r} starts with an empty join state: {error}")
            return JoinState.load(None, plan.condition, plan.definitions, plan.resets)

    def _key(self, trigger: str) -> str:
        return f"{self.consumer}/{trigger}"

    async def _settle(self, batch: Sequence[Delivery]) -> None:
        puts: list[_Put] = []
        told: list[tuple[Delivery, list[Decision], list[Caused], list[Waiting]]] = []
        for number, delivery in enumerate(batch):
            if delivery.event is None:
                self._observer.unreadable(delivery)
                continue
            decisions = self._matcher.decide(delivery.event)
            caused, waiting = self._advance(delivery, decisions, puts)
            told.append((delivery, decisions, caused, waiting))
            if number % 16 == 15:
                await asyncio.sleep(0)  # matching is pure CPU; let others run between events
        # Told first: an action that is stored is performed at once, and its story must not come before its cause.
        for delivery, decisions, caused, waiting in told:
            self._observer.matched(delivery, decisions, caused, waiting)
        await self._put(puts)
        if puts:
            self._failpoint("actions.put")
        await self._save()

    def _advance(
        self, delivery: Delivery, decisions: Sequence[Decision], puts: list[_Put]
    ) -> tuple[list[Caused], list[Waiting]]:
        caused: list[Caused] = []
        waiting: dict[str, Waiting] = {}
        for decision in decisions:
            if decision.event is None:
                continue
            for plan in self._matcher.plans:
                if decision.dependency not in plan.condition.names:
                    continue
                state = self._states.get(plan.trigger)
                together = plan.advance(
                    state, decision.dependency, decision.event, position=delivery.position, at=delivery.stored_at
                )
                if together is not None:
                    waiting.pop(plan.trigger, None)
                    caused.append(self._cause(plan, together, delivery, puts))
                elif state is not None:
                    missing = plan.condition.waiting_for(state.pending.keys())
                    waiting[plan.trigger] = Waiting(plan.trigger, missing)
        return caused, list(waiting.values())

    def _cause(self, plan: Plan, together: Mapping[str, Event], delivery: Delivery, puts: list[_Put]) -> Caused:
        item = actions.action_id(self._namespace, self._sensor, plan.trigger, together)
        assert delivery.event is not None
        record = ActionRecord(delivery.event.time, together, at=delivery.stored_at)
        puts.append(_Put(self._queues[plan.trigger], item, record, delivery.repeated))
        return Caused(plan.trigger, item)

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
        for plan in self._matcher.plans:
            state = self._states.get(plan.trigger)
            if state is not None and state.changed:
                try:
                    await self._joins.put(self._key(plan.trigger), state.dump())
                except EventTooLarge as error:
                    await self._give_up_waiting(plan, state, error)
                state.changed = False
                self._failpoint("join.written" if state.pending else "join.cleared")

    async def _give_up_waiting(self, plan: Plan, state: JoinState, error: EventTooLarge) -> None:
        """Events that cannot be remembered together become an action that cannot be performed: a dead letter, which a person sees."""
        held = state.forget()
        reason = f"the events that wait for {str(plan.condition)!r} are together too large for the bus: {error}"
        self._observer.problem(f"trigger {plan.trigger!r} gives up the events of {', '.join(held)}: {reason}")
        record = actions.stripped(ActionRecord(next(reversed(held.values())).time, held), reason)
        item = actions.action_id(self._namespace, self._sensor, plan.trigger, held)
        await self._queues[plan.trigger].put(item, actions.encode(record), again=True)
        await self._joins.put(self._key(plan.trigger), state.dump())
