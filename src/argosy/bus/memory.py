"""The reference engine: a bus in the memory of one process, for ``argosy test``, unit tests and property
tests.

It does what the contract says in the plainest way, so that the other engines can be compared with it.
Everything is kept for as long as the object lives: entering it again, or several times at once, shows the
same log, queues and buckets. Nothing survives the process, and nothing is ever forgotten, so it is no engine
for a service that runs on.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple, Self

from argosy.bus._base import (
    At,
    Bucket,
    Bus,
    DeadLetter,
    Delivery,
    Entry,
    Extent,
    Item,
    Lease,
    Pair,
    Queue,
    Shelf,
    Start,
    State,
    Subscription,
    discarded_because,
)
from argosy.clock import Clock, SystemClock
from argosy.errors import BusError, BusUnavailable, EventInvalid, EventTooLarge
from argosy.event import Event, decode, encode

_BATCH = 256
_MOST_FOUND = 10


class MemoryBus(Bus):
    """A bus that lives in this object. ``max_bytes`` is the largest event, item or value."""

    def __init__(self, *, clock: Clock | None = None, max_bytes: int = 1024 * 1024) -> None:
        self._clock = clock or SystemClock()
        self._max_bytes = max_bytes
        self._users = 0
        self._log: list[tuple[Pair, bytes, float]] = []
        self._ids: set[tuple[str, str, str]] = set()
        self._forgotten = 0
        self._positions: dict[str, int] = {}
        self._handed_out: dict[str, _HandedOut] = {}
        """By consumer, what its readers may have handed out beyond its position."""
        self._queues: dict[str, _Store] = {}
        self._buckets: dict[str, MemoryBucket] = {}
        self._changed = _Signal()

    async def __aenter__(self) -> Self:
        self._users += 1
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._users -= 1
        if not self._users:
            self._changed.tell()
            for store in self._queues.values():
                store.changed.tell()

    @property
    def ready(self) -> bool:
        return self._users > 0

    async def publish(self, event: Event) -> None:
        self._check_open()
        text = encode(event)
        if len(text) > self._max_bytes:
            raise EventTooLarge(
                f"event {event.id!r} of {event.source!r}/{event.subject!r} has {len(text)} bytes; "
                f"the bus accepts {self._max_bytes}"
            )
        key = (event.source, event.subject, event.id)
        if key not in self._ids:
            self._ids.add(key)
            self.store_text(Pair(event.source, event.subject), text)

    def store_text(self, pair: Pair, text: bytes) -> None:
        """Append bytes to the log as a foreign process could, whether they are an event or not."""
        self._log.append((pair, text, self._clock.now().timestamp()))
        self._changed.tell()

    def forget_texts(self) -> None:
        """Keep of the entries so far only that they were there: for one that plays a long log through this bus and looks at nothing twice."""
        for number in range(self._forgotten, len(self._log)):
            pair, _, stored_at = self._log[number]
            self._log[number] = (pair, b"", stored_at)
        self._forgotten = len(self._log)

    def subscribe(
        self, consumer: str, pairs: Collection[Pair], *, start: Start = "new", max_in_flight: int = 256
    ) -> AbstractAsyncContextManager[Subscription]:
        return self._subscribed(consumer, frozenset(pairs), start, max_in_flight)

    @asynccontextmanager
    async def _subscribed(
        self, consumer: str, pairs: frozenset[Pair], start: Start, max_in_flight: int
    ) -> AsyncIterator[Subscription]:
        self._check_open()
        max_in_flight = max(1, max_in_flight)
        known = consumer in self._positions
        if not known:
            self._positions[consumer] = self._before(start)
        before = self._handed_out.get(consumer) if known else _HandedOut(pairs, 0, 0)
        if before is None or before.pairs != pairs:
            before = _HandedOut(pairs, 0, len(self._log))
        self._handed_out[consumer] = before._replace(most=max(before.most, max_in_flight))
        yield _Reader(self, consumer, pairs, max_in_flight, before)

    async def position(self, consumer: str) -> int | None:
        return self._positions.get(consumer)

    async def extent(self) -> Extent:
        return Extent(1, len(self._log))

    async def history(
        self, pairs: Collection[Pair] = (), *, at: At | None = None, until: int | None = None, follow: bool = False
    ) -> AsyncGenerator[list[Delivery], None]:
        position = self._before(at or At())
        while True:
            self._check_open()
            last = min(len(self._log), position + _BATCH, *(() if until is None else (until,)))
            batch = [
                delivery(number, text, stored_at)
                for number, (pair, text, stored_at) in enumerate(self._log[position:last], position + 1)
                if not pairs or pair in pairs
            ]
            if batch:
                yield batch
            ended = last <= position
            position = max(position, last)
            if until is not None and position >= until:
                return
            if ended and not follow:
                return
            if ended:
                await self._changed.wait()

    async def find(self, event_id: str, likely: Collection[Pair] = ()) -> list[Delivery]:
        exact: list[Delivery] = []
        beginning: list[Delivery] = []
        for number in range(len(self._log), 0, -1):
            _, text, stored_at = self._log[number - 1]
            found = delivery(number, text, stored_at)
            if found.event is not None:
                if found.event.id == event_id:
                    exact.append(found)
                elif found.event.id.startswith(event_id):
                    beginning.append(found)
        return (exact or beginning)[:_MOST_FOUND]

    def _before(self, start: Start) -> int:
        """The position before the first entry that ``start`` means."""
        if start == "new":
            return len(self._log)
        if start == "earliest":
            return 0
        if start.time:
            later = (number for number, (_, _, at) in enumerate(self._log) if at >= start.time)
            return next(later, len(self._log))
        return min(max(0, start.position - 1), len(self._log))

    def queue(self, name: str, *, max_in_flight: int | None = None) -> Queue:
        store = self._queues.setdefault(name, _Store(self._clock))
        if max_in_flight is not None:
            store.max_in_flight = max(1, max_in_flight)
        return MemoryQueue(self, name, store)

    async def queues(self) -> list[str]:
        self._check_open()
        return sorted(
            name
            for name, store in self._queues.items()
            if store.items or any(item.state == "dead" for item in store.ended.values())
        )

    def bucket(self, name: str) -> Bucket:
        return self._buckets.setdefault(name, MemoryBucket(self, name))

    def _check_open(self) -> None:
        if not self._users:
            raise BusUnavailable("the bus is closed")


def delivery(position: int, text: bytes, stored_at: float, repeated: bool = False) -> Delivery:
    """The entry, read."""
    try:
        return Delivery(position, stored_at, decode(text), "", repeated)
    except EventInvalid as error:
        return Delivery(position, stored_at, None, str(error), repeated)


class _Signal:
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


class _HandedOut(NamedTuple):
    """At most ``most`` entries of ``pairs`` beyond the position, and perhaps all up to ``doubt``."""

    pairs: frozenset[Pair]
    most: int
    doubt: int


class _Reader(Subscription):
    """An open reader; positions count from 1."""

    def __init__(
        self, bus: MemoryBus, consumer: str, pairs: frozenset[Pair], max_in_flight: int, before: _HandedOut
    ) -> None:
        self._bus = bus
        self._consumer = consumer
        self._pairs = pairs
        self._max_in_flight = max_in_flight
        self._before = before
        self._repeated_to = len(bus._log)
        self._read = bus._positions[consumer]
        self._handed: deque[int] = deque()

    def __aiter__(self) -> AsyncIterator[list[Delivery]]:
        return _Batches(self)

    async def next_batch(self) -> list[Delivery]:
        """What ``async for`` yields next. Cancelling it loses nothing."""
        bus = self._bus
        while True:
            bus._check_open()
            batch: list[Delivery] = []
            self._read = max(self._read, bus._positions[self._consumer])
            room = min(_BATCH, self._max_in_flight - len(self._handed))
            while self._read < len(bus._log) and len(batch) < room:
                pair, text, stored_at = bus._log[self._read]
                self._read += 1
                if pair in self._pairs:
                    batch.append(delivery(self._read, text, stored_at, self._repeated(self._read)))
            if batch:
                self._handed.extend(delivery.position for delivery in batch)
                return batch
            await bus._changed.wait()

    def _repeated(self, position: int) -> bool:
        most = self._before.most if position <= self._repeated_to else 0
        self._before = self._before._replace(most=max(0, most - 1))
        return most > 0 or position <= self._before.doubt

    async def caught_up(self) -> bool:
        self._bus._check_open()
        return not any(pair in self._pairs for pair, *_ in self._bus._log[self._read :])

    async def commit(self, position: int) -> None:
        self._bus._check_open()
        positions = self._bus._positions
        positions[self._consumer] = max(positions[self._consumer], position)
        handed_out = self._bus._handed_out
        handed_out[self._consumer] = handed_out[self._consumer]._replace(most=self._max_in_flight)
        while self._handed and self._handed[0] <= position:
            self._handed.popleft()
        self._bus._changed.tell()


class _Batches(AsyncIterator[list[Delivery]]):
    """An iterator that survives its own cancellation, which a generator does not."""

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader

    async def __anext__(self) -> list[Delivery]:
        return await self._reader.next_batch()


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


class _Store:
    """What one queue holds, whoever opened it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.max_in_flight = 1
        self.items: dict[str, _Item] = {}
        """In the order in which they were put."""
        self.ended: dict[str, Item] = {}
        """What is done, dead or discarded, in the order in which it ended."""
        self.places = 0
        self.changed = _Signal()

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

    def __init__(self, bus: MemoryBus, name: str, store: _Store) -> None:
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
    def __init__(self, bus: MemoryBus, store: _Store, held: set[_Lease], resting: bool) -> None:
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
    def __init__(self, store: _Store, item: _Item) -> None:
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


class MemoryBucket(Bucket):
    """One bucket of a MemoryBus."""

    def __init__(self, bus: MemoryBus, name: str) -> None:
        self._bus = bus
        self._name = name
        self._entries: dict[str, Entry] = {}
        self._revision = 0

    async def get(self, key: str) -> Entry | None:
        return self._entries.get(key)

    async def put(self, key: str, value: bytes, *, revision: int | None = None) -> int:
        if len(value) > self._bus._max_bytes:
            raise EventTooLarge(f"the value of key {key!r} of bucket {self._name!r} is too large: {len(value)} bytes")
        found = self._entries[key].revision if key in self._entries else 0
        if revision is not None and revision != found:
            raise BusError(
                f"key {key!r} of bucket {self._name!r} was written by someone else: "
                f"expected revision {revision}, found {found}"
            )
        self._revision += 1
        self._entries[key] = Entry(value, self._revision)
        return self._revision

    async def delete(self, key: str) -> None:
        self._entries.pop(key, None)

    async def keys(self) -> list[str]:
        return sorted(self._entries)
