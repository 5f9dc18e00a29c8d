"""Where the memory of a sensor's triggers stands on the bus, and how it gets there and back.

In bucket ``joins`` the state of each condition without ``correlate``, under ``<namespace>/<sensor>/<trigger>``. In a bucket for each sensor, ``joins/<namespace>/<sensor>``,
the others, under ``<trigger>/<key>`` (``argosy.sensor.remembering.key_of``). In bucket ``joins.cleared``, under ``<namespace>/<sensor>``, how often
persons have cleared the states of each trigger: a state that was written before (its ``generation`` is smaller) counts as empty, so one
write clears them all, and what a running loop writes back of them is as dead as what was there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import msgspec

from argosy.bus._base import Bus
from argosy.errors import BusError, BusUnavailable, EventInvalid, EventTooLarge
from argosy.sensor.gathering import Gathering, Rule
from argosy.sensor.matching import Plan
from argosy.sensor.remembering import CONDITION, GATHERED, State, TriggerMemory

TooLarge = Callable[[TriggerMemory, State, EventTooLarge], Awaitable[None]]
"""What is done about a state that is larger than the bus accepts; it has to empty it."""
_READS = 64
"""So many states are read side by side."""
_TRIES = 20
_decode = msgspec.json.Decoder(dict[str, int]).decode
_encode = msgspec.json.Encoder().encode


def consumer_of(namespace: str, sensor: str) -> str:
    """What a sensor is called on the bus: its position in the log and its memory. Must stay the same over restarts."""
    return f"{namespace}/{sensor}"


class Store:
    """The stored memory of one sensor; ``consumer`` is what ``consumer_of`` says."""

    def __init__(self, bus: Bus, consumer: str) -> None:
        self._bus = bus
        self._consumer = consumer
        self._conditions = bus.bucket("joins")
        self._keyed = bus.bucket(f"joins/{consumer}")
        self._cleared = bus.bucket("joins.cleared")
        self._stored: set[tuple[str, str]] = set()
        """Triggers and keys of which something stands in the sensor's own bucket."""

    async def load(self, plans: Sequence[Plan], problem: Callable[[str], None]) -> dict[str, TriggerMemory]:
        """The memory of every trigger that has one, or of which there is one left; what is of no use any more is removed.

        ``problem`` is told what cannot be read.
        """
        memories, useless = await self._load(plans, problem)
        await asyncio.gather(*(self._remove(trigger, key) for trigger, key in useless))
        return memories

    async def look(self, plans: Sequence[Plan], problem: Callable[[str], None]) -> dict[str, TriggerMemory]:
        """As ``load``, and nothing is removed: for whoever does not run the sensor."""
        return (await self._load(plans, problem))[0]

    async def _load(
        self, plans: Sequence[Plan], problem: Callable[[str], None]
    ) -> tuple[dict[str, TriggerMemory], list[tuple[str, str]]]:
        generations = await self.generations()
        by_name = {plan.trigger: plan for plan in plans}
        memories = {
            plan.trigger: TriggerMemory(plan, generations.get(plan.trigger, 0)) for plan in plans if plan.remembers
        }
        for plan in plans:
            if plan.collects and not plan.correlate:
                entry = await self._conditions.get(self._at(plan.trigger))
                text = entry.value if entry else None
                generation = generations.get(plan.trigger, 0)
                try:
                    state = plan.join("", generation, text)
                except EventInvalid as error:
                    problem(f"trigger {plan.trigger!r} starts with an empty join state: {error}")
                    state = plan.join("", generation)
                memories[plan.trigger].adopt(CONDITION, state)
        useless = []
        heads: list[tuple[str, str, bytes]] = []
        parts: dict[tuple[str, str], dict[str, bytes]] = {}
        for trigger, key, text in await self._read(await self._keyed.keys()):
            head, plus, part = key.partition("+")
            if plus:
                parts.setdefault((trigger, head), {})[plus + part] = text
            else:
                heads.append((trigger, key, text))
        for trigger, key, text in heads:
            plan_of_it = by_name.get(trigger)
            if plan_of_it is None:
                continue  # the trigger may come back
            generation = generations.get(trigger, 0)
            self._stored.add((trigger, key))
            mine = parts.pop((trigger, key), {})
            try:
                kept = _keyed_state(plan_of_it, key, text, mine, generation)
            except EventInvalid as error:
                problem(f"trigger {trigger!r} forgets one of its states: {error}")
                kept = None
            if kept is None or (kept.empty and not kept.applied):
                useless += [(trigger, key), *((trigger, f"{key}{name}") for name in mine)]
                continue
            memories.setdefault(trigger, TriggerMemory(plan_of_it, generation)).adopt(key, kept)
        # Parts whose record is gone: their removal was cut short.
        useless += [
            (trigger, f"{key}{name}") for (trigger, key), names in parts.items() for name in names if trigger in by_name
        ]
        if self._stored:
            committed = await self._bus.position(self._consumer) or 0
            useless += [(trigger, key) for trigger, memory in memories.items() for key in memory.committed(committed)]
        return memories, useless

    async def _read(self, keys: Iterable[str]) -> list[tuple[str, str, bytes]]:
        room = asyncio.Semaphore(_READS)

        async def one(at: str) -> tuple[str, str, bytes] | None:
            async with room:
                entry = await self._keyed.get(at)
            trigger, _, key = at.rpartition("/")
            return (trigger, key, entry.value) if entry else None

        return [found for found in await asyncio.gather(*map(one, keys)) if found]

    async def save(self, memories: Iterable[TriggerMemory], saved: Callable[[str], None], large: TooLarge) -> None:
        """Write what changed: what is gathered before what the conditions hold, because the one comes out of the other.

        ``saved`` is told of each state that was written, and what it is then.
        """
        for stage in (GATHERED, CONDITION):
            for memory in memories:
                keys = [key for key in memory.touched if key[0] == stage]
                if len(keys) == 1:
                    await self._save(memory, keys[0], saved, large)
                elif keys:
                    await asyncio.gather(*(self._save(memory, key, saved, large) for key in keys))
                for key in keys:
                    del memory.touched[key]

    async def _save(self, memory: TriggerMemory, key: str, saved: Callable[[str], None], large: TooLarge) -> None:
        state = memory.states.get(key)
        if state is None:
            return
        state.changed = False
        if not await self._write(memory, key, state, large):
            return
        what = "join" if key[0] == CONDITION else "gathered"
        saved(f"{what}.cleared" if state.empty else f"{what}.written")
        if state.due is not None:
            saved("timer.set")

    async def _write(self, memory: TriggerMemory, key: str, state: State, large: TooLarge) -> bool:
        """Write or remove a state; False where there is nothing to do."""
        trigger = memory.plan.trigger
        if key == CONDITION:
            await self._put(memory, key, state, large)
            return True
        stands = (trigger, key) in self._stored
        if state.empty and not state.applied:
            memory.drop(key)
            if stands:
                await self._remove(trigger, key)
                await self._remove_spent(trigger, key, state)
            return stands
        if state.empty and not stands:
            # All of it came and went since the last commit: reading it again leads to the same.
            return False
        self._stored.add((trigger, key))
        if isinstance(state, Gathering):
            for name, text in state.full_parts():
                await self._keyed.put(f"{trigger}/{key}{name}", text)
        await self._put(memory, key, state, large)
        await self._remove_spent(trigger, key, state)
        return True

    async def _remove_spent(self, trigger: str, key: str, state: State) -> None:
        """Remove the parts of what has closed, now that no record counts them."""
        if isinstance(state, Gathering) and state.spent:
            names, state.spent = state.spent, []
            await asyncio.gather(*(self._keyed.delete(f"{trigger}/{key}{name}") for name in names))

    async def _put(self, memory: TriggerMemory, key: str, state: State, large: TooLarge) -> None:
        trigger = memory.plan.trigger
        bucket, at = (self._conditions, self._at(trigger)) if key == CONDITION else (self._keyed, f"{trigger}/{key}")
        try:
            await bucket.put(at, state.dump())
        except EventTooLarge as error:
            await large(memory, state, error)
            state.changed = False
            await bucket.put(at, state.dump())

    async def remove(self, trigger: str, keys: Sequence[str]) -> bool:
        """Remove states that are no more; False if none of them was ever stored."""
        stored = [key for key in keys if (trigger, key) in self._stored]
        await asyncio.gather(*(self._remove(trigger, key) for key in stored))
        return bool(stored)

    async def _remove(self, trigger: str, key: str) -> None:
        await self._keyed.delete(f"{trigger}/{key}")
        self._stored.discard((trigger, key))

    async def generations(self) -> dict[str, int]:
        """How often each trigger's states were cleared."""
        return (await self._generations())[0]

    async def clear(self, triggers: Iterable[str]) -> None:
        """Forget all that these triggers hold. Durable on return."""
        wanted = list(triggers)
        for _ in range(_TRIES):
            generations, revision = await self._generations()
            for trigger in wanted:
                generations[trigger] = generations.get(trigger, 0) + 1
            try:
                await self._cleared.put(self._consumer, _encode(generations), revision=revision)
            except BusUnavailable:
                raise
            except BusError:
                continue  # somebody else cleared meanwhile
            return
        raise BusError("the states are cleared by too many at once; try again")

    async def _generations(self) -> tuple[dict[str, int], int]:
        entry = await self._cleared.get(self._consumer)
        if entry is None:
            return {}, 0
        try:
            return _decode(entry.value), entry.revision
        except msgspec.DecodeError as error:
            raise BusError(f"the record of cleared states of {self._consumer!r} cannot be read: {error}") from error

    def _at(self, trigger: str) -> str:
        return f"{self._consumer}/{trigger}"


def _keyed_state(plan: Plan, key: str, text: bytes, parts: Mapping[str, bytes], generation: int) -> State | None:
    """The state that stands under this key; None where the trigger has no use for it any more."""
    if key[:1] == GATHERED:
        # What a trigger gathered that gathers no more closes at once: another rule than the one it has.
        return Gathering.load(text, plan.rule or Rule("", 0.0), generation=generation, parts=parts)
    return plan.join("", generation, text) if plan.correlate and key != CONDITION else None
