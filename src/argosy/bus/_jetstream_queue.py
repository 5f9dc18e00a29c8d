"""The action queue on JetStream: put, lease, and the endings of a lease, each durable before the next step.

All queues of a bus share three streams. ``argosy-actions`` (work queue) holds what waits, one subject for
each id, so that an id that waits or is held is refused by the server itself. ``argosy-outcomes`` remembers
ended ids for a while, and ``argosy-dead`` keeps dead letters until a person acts. A queue's consumer lets
``max_in_flight`` items be out at a time, over all processes. Failures are counted in the bus's key/value
stream, with the time before which the item rests.

An ending writes what ended the item first and takes the item off the queue second. A crash in between hands
the item out again; whoever receives an item that was handed out before asks for its ending first and takes it
off then.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from argosy.bus import _jetstream_names as names
from argosy.bus._base import DeadLetter, Item, Lease, Queue, Shelf
from argosy.bus._jetstream_answers import Lost, Refused, header_size
from argosy.bus._jetstream_bucket import KV
from argosy.bus._jetstream_held import ACTIONS, DEAD, ENDING, ID, OUTCOMES, PUT
from argosy.bus._jetstream_items import Items
from argosy.bus._jetstream_lease import Taker
from argosy.bus._jetstream_line import Line, Turn
from argosy.bus._jetstream_link import Link
from argosy.bus._jetstream_records import Record, Records
from argosy.errors import BusError, EventTooLarge

DUPLICATES_SECONDS = 120.0
"""For how long the server itself knows message ids. Short, as it keeps them in memory; the outcomes know the
ids for longer.
"""
_RESERVE = 16 * 1024
"""Bytes of the largest message that a body leaves free, so that the item can always become a dead letter with
its reason.
"""
_FORGET_SECONDS = 24 * 3600
_PAGE = 1024
_GONE = (10014, 10059)
"""There is no such consumer, or no stream."""


class JetStreamQueue(Queue):
    """One queue of a JetStreamBus."""

    def __init__(
        self,
        link: Link,
        window: asyncio.Semaphore,
        records: Records,
        name: str,
        *,
        max_in_flight: int | None,
        lease_seconds: float,
        takers: Counter[str] | None = None,
    ) -> None:
        """``takers`` counts who takes, by consumer, for all queues of the bus; None where other processes
        may take as well.
        """
        self.name = name
        self._link = link
        self._window = window
        self.kv = records
        self.actions = Records(link, ACTIONS)
        self.outcomes = Records(link, OUTCOMES)
        self.dead = Records(link, DEAD)
        self._max_in_flight = max_in_flight and max(1, max_in_flight)
        self._lease_seconds = lease_seconds
        self._takers = takers
        self._token = names.token(name)
        self.consumer = f"q-{names.digest(name)}"
        self._puts = 0
        self._line = Line(link)
        self._items = Items(self, link)

    async def put(self, item_id: str, body: bytes, *, again: bool = False) -> bool:
        return await self.store(item_id, body, names.digest(self.name, item_id), again=again)

    async def store(self, item_id: str, body: bytes, message_id: str, *, again: bool = False) -> bool:
        """``put`` under a message id of the caller's choice, within which the server stores it once."""
        place = names.digest(item_id)
        self._puts += 1
        ours = f"{id(self):x}.{self._puts:x}.{time.time_ns():x}"
        headers = {"Nats-Msg-Id": message_id, ID: names.header(item_id), PUT: ours}
        size = len(body) + header_size(headers)
        if size > self._link.largest - _RESERVE:
            raise EventTooLarge(
                f"item {item_id!r} of queue {self.name!r} has {size} bytes; the bus accepts "
                f"{self._link.largest - _RESERVE}"
            )
        tries = 0

        async def attempt(turn: Turn) -> bool:
            nonlocal tries
            tries += 1
            # Asked at every try: what the server knew of ids may have been lost together with the connection.
            if await self.outcomes.find({"last_by_subj": self.subject(OUTCOMES, place)}):
                return False
            if again and await self.dead.find({"last_by_subj": self.subject(DEAD, place)}):
                return False
            subject = self.subject(ACTIONS, place)
            await turn()
            try:
                stored = await self._link.store(subject, body, headers)
            except Refused as refused:
                if refused.code != 10077:
                    raise BusError(f"queue {self.name!r} does not take item {item_id!r}: {refused}") from refused
                found = await self.actions.find({"last_by_subj": subject})
                if found is None and "per subject" not in str(refused):
                    raise Lost(f"the action queue is full: {refused}") from refused
                return tries > 1 and found is not None and found.headers.get(PUT) == ours
            if stored.duplicate and tries > 1:
                found = await self.actions.find({"seq": stored.seq})
                return found is not None and found.headers.get(PUT) == ours
            return not stored.duplicate

        async with self._window:
            return await self._line.keep(f"put into queue {self.name!r}", attempt)

    def take(self, *, resting: bool = False) -> AbstractAsyncContextManager[AsyncIterator[Lease]]:
        return self._take(resting)

    @asynccontextmanager
    async def _take(self, resting: bool) -> AsyncIterator[AsyncIterator[Lease]]:
        taker = Taker(self, self._link, self._lease_seconds, resting)
        takers = self._takers if self._takers is not None else Counter[str]()
        takers[self.consumer] += 1
        try:
            await taker.open()
            try:
                yield taker
            finally:
                await taker.close()
        finally:
            takers[self.consumer] -= 1

    async def depth(self) -> int:
        async def attempt() -> int:
            while not (info := await self.consumer_info()):
                await self.ensure_consumer()
            return int(info["num_pending"]) + int(info["num_ack_pending"])

        return await self._link.keep(f"look at queue {self.name!r}", attempt)

    async def outcome(self, item_id: str) -> bytes | None:
        record = await self.outcomes.get(self.subject(OUTCOMES, names.digest(item_id)))
        return record.data if record and record.headers.get(ENDING) == "done" else None

    async def count_dead(self) -> int:
        return len(await self.dead.subjects(self.subject(DEAD, "*")))

    async def dead_letters(self) -> list[DeadLetter]:
        found: list[Item] = []
        while page := await self.items("dead", after=found[-1].place if found else 0, limit=_PAGE):
            found += page
        return [DeadLetter(item.id, item.body or b"", item.error, item.failures, item.at) for item in found]

    async def items(self, shelf: Shelf, *, after: int = 0, limit: int = 100, since: float = 0.0) -> list[Item]:
        return await self._items.items(shelf, after, limit, since)

    async def find(self, item_id: str) -> Item | None:
        return await self._items.find(item_id)

    async def retry_now(self, item_id: str) -> bool:
        return await self._items.retry_now(item_id)

    async def redrive(self, item_id: str) -> bool:
        return await self._items.redrive(item_id)

    async def discard(self, item_id: str, reason: str, by: str) -> bool:
        return await self._items.discard(item_id, reason, by)

    # ------------------------------------------------------------------ what a taker needs

    def subject(self, stream: str, place: str) -> str:
        return f"{stream.replace('-', '.')}.{self._token}.{place}"

    def failures_at(self, place: str) -> str:
        return f"$KV.{KV}.f.{names.key(self.name)}.{place}"

    async def failed_places(self) -> list[str]:
        prefix = self.failures_at("")
        return [subject.removeprefix(prefix) for subject in await self.kv.subjects(prefix + "*")]

    async def failure(self, place: str, possible: bool) -> Record | None:
        return await self.kv.get(self.failures_at(place)) if possible else None

    async def reclaim(self) -> None:
        """Free at once what nobody holds any more: a dead process did, or a delivery to us was lost together
        with the connection. Only where that is certain: for a taker that holds nothing and is the only one.
        Raises Lost.

        The consumer is what knows who holds: without it all items wait in the stream, in their order, and
        the taker looks each of them up as one that may have been handed out before.
        """
        if self._takers is not None and self._takers[self.consumer] == 1:
            await self.forget_consumer()

    @property
    def sole(self) -> bool:
        """Whether nobody outside this process takes from the bus's queues."""
        return self._takers is not None

    async def consumer_info(self) -> dict[str, Any]:
        """What the server says of the consumer; nothing where there is none. Raises Lost."""
        try:
            return await self._link.api(f"CONSUMER.INFO.{ACTIONS}.{self.consumer}")
        except Refused as refused:
            if refused.code not in _GONE:
                raise
            return {}

    async def forget_consumer(self) -> None:
        """Remove the consumer and with it all knowledge of who holds what. Raises Lost."""
        try:
            await self._link.api(f"CONSUMER.DELETE.{ACTIONS}.{self.consumer}")
        except Refused as refused:
            if refused.code not in _GONE:
                raise

    async def ensure_consumer(self) -> None:
        config = {
            "name": self.consumer,
            "durable_name": self.consumer,
            "description": f"argosy queue {names.header(self.name)}"[:1000],
            "deliver_policy": "all",
            "ack_policy": "explicit",
            "ack_wait": round(self._lease_seconds * 1e9),
            "max_deliver": -1,
            "max_ack_pending": self._max_in_flight or 1,
            "replay_policy": "instant",
            "filter_subject": self.subject(ACTIONS, "*"),
            "inactive_threshold": _FORGET_SECONDS * 10**9,
        }
        try:
            await self._link.api(
                f"CONSUMER.CREATE.{ACTIONS}.{self.consumer}.{config['filter_subject']}",
                # Who does not take leaves a consumer as it is.
                {"stream_name": ACTIONS, "config": config, "action": "" if self._max_in_flight else "create"},
            )
        except Refused as refused:
            if refused.code in (10105, 10148) and not self._max_in_flight:
                return
            if refused.code == 10059 and self._link.mend:
                await self._link.mend()
                raise Lost("the action queue was removed; it is made anew") from refused
            if refused.code in (10014, 10149):  # removed by its taker, to be made anew, while we looked at it
                raise Lost(str(refused)) from refused
            raise BusError(f"queue {self.name!r} cannot be opened: {refused}") from refused

    async def last(self) -> int:
        return int((await self._link.api(f"STREAM.INFO.{ACTIONS}"))["state"]["last_seq"])
