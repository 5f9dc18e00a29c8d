"""Reads the event log by position (decision 2).

Opening fixes the position (``_jetstream_position``). What comes after it is brought by a feed, which readers of the same
pairs share (``_jetstream_feed``); how far this one has come, and what it may still hold without having committed it, is kept here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Collection
from dataclasses import replace

from argosy.bus import _jetstream_names as names
from argosy.bus._base import At, Delivery, Pair, Start, Subscription
from argosy.bus._jetstream_answers import Lost, Refused
from argosy.bus._jetstream_feed import BATCH, DEAF_SECONDS, Feed, Feeds, Follower
from argosy.bus._jetstream_history import position_before, subject
from argosy.bus._jetstream_link import Link
from argosy.bus._jetstream_position import LogState, Position
from argosy.bus._jetstream_records import Records
from argosy.bus._jetstream_settings import STREAM
from argosy.errors import BusError

log = logging.getLogger("argosy.bus.jetstream")

_IDLE_SECONDS = 60


class Reader(Subscription, Follower):
    """An open reader. ``open`` before, ``close`` after."""

    def __init__(
        self,
        link: Link,
        feeds: Feeds,
        records: Records,
        consumer: str,
        pairs: Collection[Pair],
        *,
        start: Start,
        max_in_flight: int,
    ) -> None:
        self.name = consumer
        self.place = 0
        self.wake = asyncio.Event()
        self.feed: Feed | None = None
        self._link = link
        self._feeds = feeds
        self._filters = tuple(sorted({subject(pair) for pair in pairs}))
        self._max_in_flight = max(1, max_in_flight)
        self._position = Position(records, consumer, names.digest(*self._filters), self._max_in_flight)
        self._start = start
        self._repeated_to = 0
        self._repeated_most = 0
        self._handed: deque[int] = deque()
        self._idle_look = 0.0
        self._replaced = False

    @property
    def log(self) -> str:
        """When the stream was created that the position belongs to."""
        return self._position.log

    async def open(self) -> None:
        """Read the position, or record one durably. Waits through a loss of the bus."""
        state = await self._state()
        self._repeated_most = await self._position.open(state, await self._placed(self._start))
        self._repeated_to = state.last
        self.place = max(self._position.committed, self._position.seen)
        self._idle_look = asyncio.get_running_loop().time()
        self._link.changed.add(self.wake.set)
        if self._filters:  # from here on the feed keeps for this reader, too
            self.feed = await self._feeds.follow(self, self._filters, None)

    async def close(self) -> None:
        """Follow no longer. Does not wait for a bus that is away."""
        self._link.changed.discard(self.wake.set)
        if self.feed is None:
            return
        # A position that lags only costs a second reading.
        with contextlib.suppress(BusError, TimeoutError):
            async with asyncio.timeout(2):
                if self._link.up:
                    await self._advance(self.feed)
        await self._feeds.leave(self, self.feed)

    async def commit(self, position: int) -> None:
        if self._replaced and position > self.place:
            return  # of the log that is no more; in this one it would skip what was never read
        await self._position.commit(position)
        while self._handed and self._handed[0] <= self._position.committed:
            self._handed.popleft()
        self.wake.set()

    async def caught_up(self) -> bool:
        log = Records(self._link, STREAM)
        newest = await asyncio.gather(*(log.get(subject) for subject in self._filters))
        return all(record is None or record.seq <= self.place for record in newest)

    # ------------------------------------------------------------------ handing out

    async def next_batch(self) -> list[Delivery]:
        if not self._filters:
            await asyncio.Event().wait()
        loop = asyncio.get_running_loop()
        while True:
            self.wake.clear()
            self.place = max(self.place, self._position.committed)
            feed = self.feed = await self._feeds.follow(self, self._filters, self.feed)
            feed.waiting.add(self)
            room = self._max_in_flight - len(self._handed)
            count = min(room, BATCH, feed.ahead(self))
            if count > 0:
                # Ask ahead now: the next entries travel while these are worked on.
                with contextlib.suppress(Lost):
                    await feed.pull(self, taking=count)
                await feed.look_for_overtaking()
                if batch := self._hand_out(feed.take(self, count)):
                    return batch
                continue
            if room > 0:
                try:
                    await feed.listen(self)
                except Lost:
                    await asyncio.sleep(0.05)
                    await self._link.wait_up()
                    continue
                if not feed.pending and not self._handed and loop.time() - self._idle_look > _IDLE_SECONDS:
                    self._idle_look = loop.time()
                    await self._advance(feed)
            seconds = max(0.05, feed.heard + DEAF_SECONDS - loop.time()) if feed.asked else None
            try:
                async with asyncio.timeout(seconds):
                    await self.wake.wait()
            except TimeoutError:
                if feed.asked and loop.time() - feed.heard >= DEAF_SECONDS:
                    feed.doubt = "the bus fell silent"

    def _hand_out(self, batch: list[Delivery]) -> list[Delivery]:
        if not batch:
            return batch
        self.place = batch[-1].position
        self._handed.extend(delivery.position for delivery in batch)
        doubt = self._position.doubt
        if self._repeated_most or batch[0].position <= doubt:
            for index, delivery in enumerate(batch):
                counted = self._repeated_most > 0 and delivery.position <= self._repeated_to
                self._repeated_most = self._repeated_most - 1 if counted else 0
                if counted or delivery.position <= doubt:
                    batch[index] = replace(delivery, repeated=True)
        return batch

    # ------------------------------------------------------------------ the log and the position

    def fit(self, created: str, first: int, last: int) -> bool:
        if created != self._position.log:
            log.warning(
                "the event log was made anew since consumer %r read it; it begins at the first entry", self.name,
                extra={"action": "log_replaced", "consumer": self.name},
            )  # fmt: skip
            self._begin_again(max(0, first - 1), created, last)
        elif self.place > last:
            log.warning(
                "the event log ends at %d although consumer %r has read up to %d (the server lost its "
                "newest entries); it goes on from there", last, self.name, self.place,
                extra={"action": "log_truncated", "consumer": self.name},
            )  # fmt: skip
            self._begin_again(last, created, last)
        else:
            return False
        return True

    def _begin_again(self, position: int, created: str, last: int) -> None:
        self._position.begin_again(position, created, last)
        self.place = position
        self._replaced = True
        self._handed.clear()

    def tell_lost(self, count: int) -> None:
        log.warning(
            "up to %d events were lost to the retention of the event log (maxMsgs, maxAge, maxBytes) "
            "before consumer %r read them",
            count, self.name,
            extra={"action": "events_lost_to_retention", "consumer": self.name, "count": count},
        )  # fmt: skip

    async def _placed(self, start: Start) -> Start:
        """The start with a time made into a position."""
        if isinstance(start, At) and start.time:
            return At(position=await position_before(self._link, start.time) + 1)
        return start

    async def _state(self) -> LogState:
        answer = await self._link.keep("look at the event log", lambda: self._link.api(f"STREAM.INFO.{STREAM}"))
        state = answer["state"]
        return LogState(answer["created"], state["first_seq"], state["last_seq"])

    async def _advance(self, feed: Feed) -> None:
        """Remember beside the position how far a consumer that has read everything has seen.

        Otherwise the position of a quiet consumer falls off a busy log, and looks as if it had lost
        something. The position itself stays: a pair that is named later is read from there on.
        """
        if feed.doubt or not feed.consumer or self._handed or self not in feed.followers or feed.ahead(self):
            return
        state = await self._state()
        try:
            consumer = await self._link.api(f"CONSUMER.INFO.{STREAM}.{feed.consumer}")
        except Refused:
            feed.doubt = "the consumer is gone"
            return
        caught_up = consumer["num_pending"] == 0 and consumer["delivered"]["consumer_seq"] == feed.sequence
        idle = not self._handed and self in feed.followers and not feed.ahead(self)
        if caught_up and idle and state.last > max(self._position.seen, self._position.committed):
            feed.received = max(feed.received, state.last)
            self.place = max(self.place, state.last)
            await self._position.see(state.last)
