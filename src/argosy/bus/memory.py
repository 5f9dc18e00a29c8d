"""The reference engine: a bus in the memory of one process, for ``argosy test``, unit tests and property
tests.

It does what the contract says in the plainest way, so that the other engines can be compared with it.
Everything is kept for as long as the object lives: entering it again, or several times at once, shows the
same log, queues and buckets. Nothing survives the process, and nothing is ever forgotten, so it is no engine
for a service that runs on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple, Self

from argosy.bus._base import (
    At,
    Bucket,
    Bus,
    Delivery,
    Entry,
    Extent,
    Pair,
    Queue,
    Start,
    Subscription,
)
from argosy.bus._memory_queue import MemoryQueue, Signal, Store
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
        self._queues: dict[str, Store] = {}
        self._buckets: dict[str, MemoryBucket] = {}
        self._changed = Signal()

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
        store = self._queues.setdefault(name, Store(self._clock))
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

    async def next_batch(self) -> list[Delivery]:
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
