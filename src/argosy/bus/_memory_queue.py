"""The action queues of the reference engine (``argosy.bus.memory``): items, leases, rests and shelves, in the plainest way."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

from argosy.bus._base import (
    DeadLetter,
    Item,
    Lease,
    Queue,
    Shelf,
    State,
    discarded_because,
)
from argosy.clock import Clock
from argosy.errors import EventTooLarge

if TYPE_CHECKING:
    from argosy.bus.memory import MemoryBus


class Signal:
    """Wakes everyone who waits for a change, in the order of their coming, and forgets them: nothing is left on a
    loop that ends.
    """

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], None] = {}

    def tell(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def future(self) -> asyncio.Future[None]:
        """Done at the next change from now on. Who does not await it must cancel it."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[future] = None
        future.add_done_callback(lambda done: self._waiting.pop(done, None))
        return future

    async def wait(self) -> None:
        await self.future()


class _Item:
    def __init__(self, item_id: str, body: bytes, place: int, put_at: float) -> None:
        self.id = item_id
        self.body = body
        self.place = place
        self.put_at = put_at
        self.failures = 0
        self.last_error = ""
        self.rested_before = False
        self.holder: _Lease | None = None
        self.not_before = 0.0
        """Seconds since the epoch; the item rests until then."""


class Store:
    """What one queue holds, whoever opened it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.max_in_flight = 1
        self.items: dict[str, _Item] = {}
        """In the order in which they were put."""
        self.ended: dict[str, Item] = {}
        """What is done, dead or discarded, in the order in which it ended."""
        self.places = 0
        self.changed = Signal()

    def next_item(self, resting: bool) -> _Item | None:
        """The item to hand out now, with ``resting`` also one that rests. Else a resting item counts as out, so that with one in
        flight the others wait behind it.
        """
        now = math.inf if resting else self.clock.now().timestamp()
        out = sum(1 for item in self.items.values() if item.holder or item.not_before > now)
        if out >= self.max_in_flight:
            return None
        return next((item for item in self.items.values() if not item.holder and item.not_before <= now), None)

    def add(self, item_id: str, body: bytes) -> None:
        """Put an item behind what waits."""
        self.places += 1
        self.items[item_id] = _Item(item_id, body, self.places, self.clock.now().timestamp())
        self.changed.tell()

    def end(self, item_id: str, state: State, *, body: bytes | None = None, failures: int = 0, **more: Any) -> None:
        """Take an item off what waits and remember how it ended."""
        if item := self.items.pop(item_id, None):
            item.holder = None
        self.places += 1
        self.ended.pop(item_id, None)
        at = self.clock.now().timestamp()
        self.ended[item_id] = Item(item_id, state, self.places, at, body, failures, **more)
        self.changed.tell()

    def look(self, item_id: str) -> Item | None:
        """What is known of an id."""
        item = self.items.get(item_id)
        if item is None:
            return self.ended.get(item_id)
        rests = item.not_before > self.clock.now().timestamp()
        return Item(
            item_id,
            "resting" if rests else "held" if item.holder else "waiting",
            item.place,
            item.put_at,
            item.body,
            item.failures,
            item.last_error,
            item.not_before if rests else 0.0,
        )

    def first_rest(self) -> float | None:
        """Seconds until the first rest is over; None where nothing rests."""
        now = self.clock.now().timestamp()
        return min((item.not_before - now for item in self.items.values() if item.not_before > now), default=None)

    async def wait(self, seconds: float | None) -> None:
        """Return when something has changed, or after ``seconds``."""
        waits: list[asyncio.Future[None]] = [self.changed.future()]
        if seconds is not None:
            waits.append(asyncio.ensure_future(self.clock.sleep(seconds)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)


class MemoryQueue(Queue):
    """One queue of a MemoryBus."""

    def __init__(self, bus: MemoryBus, name: str, store: Store) -> None:
        self.name = name
        self._bus = bus
        self._store = store

    async def put(self, item_id: str, body: bytes, *, again: bool = False) -> bool:
        self._bus._check_open()
        if len(body) > self._bus._max_bytes:
            raise EventTooLarge(
                f"item {item_id!r} of queue {self.name!r} has {len(body)} bytes; the bus accepts {self._bus._max_bytes}"
            )
        store = self._store
        if item_id in store.items or item_id in store.ended:
            return False
        store.add(item_id, body)
        return True

    def take(self, *, resting: bool = False) -> AbstractAsyncContextManager[AsyncIterator[Lease]]:
        return self._take(resting)

    @asynccontextmanager
    async def _take(self, resting: bool) -> AsyncIterator[AsyncIterator[Lease]]:
        self._bus._check_open()
        held: set[_Lease] = set()
        try:
            yield _Leases(self._bus, self._store, held, resting)
        finally:
            for lease in held:
                lease.release()

    async def depth(self) -> int:
        return len(self._store.items)

    async def outcome(self, item_id: str) -> bytes | None:
        item = self._store.ended.get(item_id)
        return item.outcome if item and item.state == "done" else None

    async def dead_letters(self) -> list[DeadLetter]:
        dead = [item for item in self._store.ended.values() if item.state == "dead"]
        return [DeadLetter(item.id, item.body or b"", item.error, item.failures, item.at) for item in dead]

    async def items(self, shelf: Shelf, *, after: int = 0, limit: int = 100, since: float = 0.0) -> list[Item]:
        store = self._store
        if shelf == "queued":
            found = [item for item_id in store.items if (item := store.look(item_id))]
        else:
            found = [item for item in store.ended.values() if (item.state == "dead") == (shelf == "dead")]
        if shelf == "ended":
            found = [item for item in reversed(found) if not after or item.place < after]
        else:
            found = [item for item in found if item.place > after]
        return [item for item in found if item.at >= since][:limit]

    async def find(self, item_id: str) -> Item | None:
        return self._store.look(item_id)

    async def retry_now(self, item_id: str) -> bool:
        found = self._store.look(item_id)
        if found is None or found.state != "resting":
            return False
        self._store.items[item_id].not_before = 0.0
        self._store.changed.tell()
        return True

    async def redrive(self, item_id: str) -> bool:
        found = self._store.ended.get(item_id)
        if found is None or found.state != "dead":
            return False
        del self._store.ended[item_id]
        self._store.add(item_id, found.body or b"")
        return True

    async def discard(self, item_id: str, reason: str, by: str) -> bool:
        found = self._store.look(item_id)
        if found is None or found.state not in ("waiting", "resting", "dead"):
            return False
        self._store.end(item_id, "discarded", failures=found.failures, error=discarded_because(reason, by))
        return True


class _Leases(AsyncIterator[Lease]):
    def __init__(self, bus: MemoryBus, store: Store, held: set[_Lease], resting: bool) -> None:
        self._bus = bus
        self._store = store
        self._held = held
        self._resting = resting

    async def __anext__(self) -> Lease:
        while True:
            self._bus._check_open()
            item = self._store.next_item(self._resting)
            if item:
                lease = item.holder = _Lease(self._store, item)
                self._held.add(lease)
                return lease
            await self._store.wait(None if self._resting else self._store.first_rest())


class _Lease(Lease):
    def __init__(self, store: Store, item: _Item) -> None:
        self._store = store
        self._item = item
        self.id, self.body, self.put_at = item.id, item.body, item.put_at
        self.failures, self.last_error, self.rested_before = item.failures, item.last_error, item.rested_before

    def release(self) -> None:
        """Let go of the item; nothing happens if it was ended or is somebody else's."""
        if self._item.holder is self:
            self._item.holder = None
            self._store.changed.tell()

    async def done(self, outcome: bytes = b"") -> None:
        self._store.end(self.id, "done", failures=self.failures, outcome=outcome)

    async def retry_in(self, seconds: float, error: str, *, counted: bool = True) -> None:
        await self.rest(seconds, error, counted=counted)
        self.release()

    async def rest(self, seconds: float, error: str, *, counted: bool = True) -> None:
        item = self._item
        if item.holder is self:
            item.rested_before = self.rested_before = True
            if counted:
                item.failures = self.failures = item.failures + 1
                item.last_error = self.last_error = error
            item.not_before = self._store.clock.now().timestamp() + max(0.0, seconds)

    @property
    def resting(self) -> bool:
        return self._item.not_before > self._store.clock.now().timestamp()

    async def rested(self) -> bool:
        while self._item.holder is self:
            left = self._item.not_before - self._store.clock.now().timestamp()
            if left <= 0:
                return True
            await self._store.wait(left)
        return False

    async def dead_letter(self, reason: str) -> None:
        self._store.end(self.id, "dead", body=self.body, failures=self.failures, error=reason)

    async def discard(self, reason: str) -> None:
        self._store.end(self.id, "discarded", failures=self.failures, error=reason)

    async def hand_back(self) -> None:
        self.release()
