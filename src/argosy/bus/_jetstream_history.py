"""Looks into the event log without being a consumer of it: ranges, and single events by their id.

A range is read through a pull consumer without acknowledgements, in the server's memory, that is removed at the end and made anew after a loss. The
server says with each entry how many follow, so the end is known without waiting for it.

An id is no subject, so the server cannot be asked for it in general. Two things are cheaper than reading the log. Within the
duplicate window the server knows the ids itself: a message with this id *and* a last sequence that cannot be expected is never stored, and is answered
with the sequence of the first one if there is one. Beyond that only headers travel, which hold the id; the newest come first.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from argosy.bus import _jetstream_names as names
from argosy.bus import _jetstream_passing as passing
from argosy.bus._base import At, Delivery, Pair
from argosy.bus._jetstream_answers import Lost, Numbers, Refused, numbers
from argosy.bus._jetstream_client import Message
from argosy.bus._jetstream_link import Link
from argosy.bus._jetstream_records import Records
from argosy.bus._jetstream_settings import STREAM
from argosy.errors import EventInvalid
from argosy.event import decode

_BATCH = 256
_AHEAD_BYTES = 8 * 1024 * 1024
_PULL_SECONDS = 5.0
_FORGET_SECONDS = 30
_NEVER = 2**62
"""A last sequence that no stream has."""
_PROBES = 512
"""Ids are probed for at most so many pairs."""
_WINDOW = 4096
_LARGEST_WINDOW = 65536
_MOST_FOUND = 10


class Entry(NamedTuple):
    """A message of the log as it came."""

    message: Message
    at: Numbers

    @property
    def delivery(self) -> Delivery:
        """The entry, read."""
        return delivery(self.message.subject, self.message.data, self.at.stream, self.at.nanoseconds / 1e9)


def subject(pair: Pair) -> str:
    """Where the events of this pair stand."""
    return f"{STREAM}.{names.token(pair.source)}.{names.token(pair.event)}"


def delivery(subject: str, data: bytes, position: int, stored_at: float) -> Delivery:
    """The entry, read."""
    try:
        return Delivery(position, stored_at, decode(data))
    except EventInvalid as error:
        return Delivery(position, stored_at, None, f"{error} (on subject {subject!r})")


async def position_before(link: Link, time: float) -> int:
    """The position before the first entry that was stored at or after ``time`` (seconds since the epoch)."""

    async def attempt() -> int:
        start = {"deliver_policy": "by_start_time", "opt_start_time": _moment(time)}
        consumer = await passing.make(link, STREAM, (), start, forget_seconds=_FORGET_SECONDS)
        await passing.remove(link, STREAM, consumer.name)
        return consumer.before

    return await link.keep("find a time in the event log", attempt)


class History:
    """Messages of the log from a place on. ``until`` is the last position; with ``follow`` there is no end."""

    def __init__(
        self,
        link: Link,
        pairs: Collection[Pair],
        *,
        at: At,
        until: int | None = None,
        follow: bool = False,
        headers_only: bool = False,
    ) -> None:
        self._link = link
        self._filters = sorted({subject(pair) for pair in pairs})
        self._at = at
        self._until = until
        self._follow = follow
        self._headers_only = headers_only
        self._received = 0
        self._pending = 0
        self._coming: asyncio.Queue[Entry | None] = asyncio.Queue()

    async def read(self) -> AsyncGenerator[list[Entry], None]:
        """Batches of messages. Waits through a loss of the bus and goes on after the last one received."""
        while True:
            try:
                async with aclosing(self._through_one_consumer()) as batches:
                    async for batch in batches:
                        yield batch
                return
            except Lost:
                await asyncio.sleep(0.05)
                await self._link.wait_up()

    async def _through_one_consumer(self) -> AsyncGenerator[list[Entry], None]:
        """Until the end; raises Lost where another consumer must go on."""
        epoch, inbox, self._coming = self._link.epoch, self._link.inbox(), asyncio.Queue()
        end = await self._link.subscribe(f"{inbox}.*", self._receive)
        consumer = ""
        try:
            made = await passing.make(
                self._link, STREAM, self._filters, self._start(), forget_seconds=_FORGET_SECONDS, reader="of the log"
            )
            consumer, self._pending, sequence, pulls = made.name, made.waiting, 0, 0
            while self._pending or self._follow:
                pulls += 1
                want = min(_BATCH, self._pending) or _BATCH
                await self._pull(consumer, f"{inbox}.{pulls}", want, wait=not self._pending)
                taken: list[Entry] = []
                while want > 0:
                    entry = await self._next(epoch)
                    if entry is None:
                        break
                    if entry.at.consumer != sequence + 1:
                        raise Lost(f"a gap after delivery {sequence}")
                    sequence, self._received, self._pending = entry.at.consumer, entry.at.stream, entry.at.pending
                    want -= 1
                    if self._until is not None and entry.at.stream > self._until:
                        self._pending = want = 0
                        break
                    taken.append(entry)
                    if self._follow and self._coming.empty():
                        yield taken
                        taken = []
                if taken:
                    yield taken
                if self._until is not None and self._received >= self._until:
                    return
        finally:
            await end()
            if consumer and self._link.up and epoch == self._link.epoch:
                await passing.remove(self._link, STREAM, consumer)

    async def _next(self, epoch: int) -> Entry | None:
        """The next entry of the request under way, None where it is over. Raises Lost where it will never be answered."""
        for _ in range(20):
            try:
                async with asyncio.timeout(_PULL_SECONDS / 10):
                    return await self._coming.get()
            except TimeoutError:
                if epoch != self._link.epoch or not self._link.up:
                    raise Lost("the connection was lost") from None
        raise Lost("the bus fell silent")

    def _start(self) -> dict[str, Any]:
        if self._received or not self._at.time:
            start = passing.from_number(max(self._at.position, self._received + 1, 1))
        else:
            start = {"deliver_policy": "by_start_time", "opt_start_time": _moment(self._at.time)}
        return {**start, "headers_only": self._headers_only}

    async def _pull(self, consumer: str, reply: str, want: int, *, wait: bool) -> None:
        body = {
            "batch": want,
            "max_bytes": max(_AHEAD_BYTES, 2 * self._link.largest),
            # A request that need not wait has its time only for a server that is slow.
            "expires": int((_PULL_SECONDS if wait else 2 * _PULL_SECONDS / 3) * 1e9),
        }
        await self._link.send(f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{consumer}", json.dumps(body).encode(), reply)

    async def _receive(self, message: Message) -> None:
        # A status says that the request is over: its time is up, the next entry would exceed its bytes, or the consumer is gone.
        over = message.is_status and not message.reply
        self._coming.put_nowait(None if over else Entry(message, numbers(message.reply)))


def _moment(seconds: float) -> str:
    """The time for the server, cut to microseconds: a float that stands for nanoseconds may lie a little behind them."""
    whole = math.floor(seconds * 1e6 - 0.25)
    return (datetime.fromtimestamp(0, UTC) + timedelta(microseconds=whole)).isoformat().replace("+00:00", "Z")


# ---------------------------------------------------------------------- one event by its id


async def find(link: Link, first: int, last: int, id: str, likely: Collection[Pair]) -> list[Delivery]:
    """The entries with this event id, else those whose id begins with it, newest first, at most ten."""
    log = Records(link, STREAM)
    known = list(likely)[:_PROBES]
    probed = await asyncio.gather(*(_probe(link, pair, id) for pair in known))
    sequences = {sequence for sequence in probed if sequence}
    if not sequences:
        sequences = await _scan(link, first, last, id)
    found = []
    for sequence in sorted(sequences, reverse=True)[:_MOST_FOUND]:
        record = await link.keep("read an event", lambda sequence=sequence: log.find({"seq": sequence}))  # type: ignore[misc]
        if record is not None:
            entry = delivery(record.subject, record.data, record.seq, record.stored_at)
            if entry.event is not None and entry.event.id.startswith(id):
                found.append(entry)
    return found


async def _probe(link: Link, pair: Pair, id: str) -> int:
    """The position of an event that the server remembers the id of; 0 where it does not."""
    headers = {
        "Nats-Msg-Id": names.event_id(pair.source, pair.event, id),
        "Nats-Expected-Last-Sequence": str(_NEVER),
    }
    try:
        stored = await link.store(subject(pair), b"", headers)
    except (Refused, Lost):  # not remembered, or we may not publish: the log itself is asked
        return 0
    return stored.seq if stored.duplicate else 0


async def _scan(link: Link, first: int, last: int, id: str) -> set[int]:
    beginning: set[int] = set()
    size, high = _WINDOW, last
    while high >= first:
        low = max(first, high - size + 1)
        exact, prefixed = await _scan_window(link, low, high, id)
        if exact:
            return exact
        beginning |= prefixed
        high, size = low - 1, min(size * 2, _LARGEST_WINDOW)
    return beginning


async def _scan_window(link: Link, low: int, high: int, id: str) -> tuple[set[int], set[int]]:
    exact: set[int] = set()
    prefixed: set[int] = set()
    foreign = False
    for headers_only in (True, False):
        history = History(link, (), at=At(position=low), until=high, headers_only=headers_only)
        async with aclosing(history.read()) as batches:
            async for batch in batches:
                for message, at in batch:
                    known = _id_in_header(message) if headers_only else _id_in_body(message)
                    if known is None:
                        foreign = True
                    elif known == id:
                        exact.add(at.stream)
                    elif known.startswith(id):
                        prefixed.add(at.stream)
        if not foreign:
            break
        # Somebody else writes to this log, too, and spells ids in another way: these entries have to be read.
    return exact, prefixed


def _id_in_header(message: Message) -> str | None:
    source, _, rest = message.headers.get("Nats-Msg-Id", "").partition("/")
    name, slash, id = rest.partition("/")
    if not slash or message.subject != f"{STREAM}.{source}.{name}":
        return None
    return names.text_of_header(id)


def _id_in_body(message: Message) -> str | None:
    try:
        return decode(message.data).id
    except EventInvalid:
        return ""
