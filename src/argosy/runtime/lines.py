"""Several actions of one trigger side by side, in order where order is wanted.

Actions come off the queue in the order in which they were put. Each joins the line of its key; the head of a line is performed, and the next
one when it has ended, so the actions of one key go one at a time and in order, and another key's pass. A head that is to be tried again
keeps its place while it rests, and takes up no room among those that run.

Who stands in a line is held, so that nobody else is given it; the worker looks no further ahead than it must to keep ``concurrency``
actions going, and never further than ``LOOK_AHEAD`` actions or ``LOOK_AHEAD_BYTES``. So a key that is stuck lets others pass until that many of its own
stand behind it; then the queue waits for it. It moves on at the latest when its tries are used up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from dataclasses import dataclass

from argosy.bus._base import Lease
from argosy.errors import EventInvalid
from argosy.manifests.sensor import TriggerSpec
from argosy.sensor import actions
from argosy.sensor.actions import ActionRecord

LOOK_AHEAD = 1000
"""How many actions of a trigger may be held at once."""
LOOK_AHEAD_BYTES = 32 * 1024 * 1024
"""How large they may be together; one that is larger by itself is held alone."""


def in_flight(spec: TriggerSpec) -> int:
    """How many items the trigger's queue lets out at a time."""
    return LOOK_AHEAD if side_by_side(spec) else 1


def side_by_side(spec: TriggerSpec) -> bool:
    """Whether the trigger's actions stand in lines, and not in one queue behind each other: one that waits for a person holds up none."""
    return spec.queue.concurrency > 1 or spec.approval is not None


@dataclass(frozen=True, eq=False)
class Taken:
    """An action off the queue. ``record`` is None where it cannot be read, and ``fault`` says why."""

    lease: Lease
    record: ActionRecord | None
    fault: str = ""


def taken(lease: Lease) -> Taken:
    """The action that ``lease`` holds."""
    try:
        return Taken(lease, actions.decode(lease.body))
    except EventInvalid as error:
        return Taken(lease, None, str(error))


class Lines:
    """Performs what ``run`` is given until cancelled.

    ``perform`` does one action now and says whether it has ended; if not, its lease rests. ``key_of`` names its line. ``watch`` is told how many
    actions are held and how many of them rest.
    """

    def __init__(
        self,
        concurrency: int,
        perform: Callable[[Taken], Awaitable[bool]],
        key_of: Callable[[Taken], Hashable],
        watch: Callable[[int, int], None],
    ) -> None:
        self._concurrency = concurrency
        self._perform = perform
        self._key_of = key_of
        self._watch = watch
        self._slots = asyncio.Semaphore(concurrency)
        self._lines: dict[Hashable, deque[Taken]] = {}
        self._held = self._bytes = self._resting = 0
        self._room = asyncio.Event()

    async def run(self, leases: AsyncIterator[Lease]) -> None:
        """Perform all that comes. What is under way when this is cancelled is what ``perform`` makes of being cancelled."""
        self._changed()
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    await self._room.wait()
                    self._join(taken(await anext(leases)), group)
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from several

    def _join(self, one: Taken, group: asyncio.TaskGroup) -> None:
        key = self._key_of(one)
        self._held += 1
        self._bytes += len(one.lease.body)
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = deque()
            group.create_task(self._follow(key, line))
        line.append(one)
        self._changed()

    async def _follow(self, key: Hashable, line: deque[Taken]) -> None:
        while line:
            if not await self._rested(line[0].lease) or await self._performed(line[0]):
                self._held -= 1
                self._bytes -= len(line.popleft().lease.body)
            self._changed()
        del self._lines[key]
        self._changed()

    async def _rested(self, lease: Lease) -> bool:
        if not lease.resting:
            return True
        self._resting += 1
        self._changed()
        try:
            return await lease.rested()
        finally:
            self._resting -= 1
            self._changed()

    async def _performed(self, one: Taken) -> bool:
        async with self._slots:
            return await self._perform(one)

    def _changed(self) -> None:
        ready = len(self._lines) - self._resting
        if ready < 2 * self._concurrency and self._held < LOOK_AHEAD and self._bytes < LOOK_AHEAD_BYTES:
            self._room.set()
        else:
            self._room.clear()
        self._watch(self._held, self._resting)
