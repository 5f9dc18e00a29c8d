"""Brings the event log into the process once, for all readers that stand at about the same place.

A *feed* is one pull consumer without acknowledgements, in the server's memory; entries arrive in batches that are asked for
ahead, are decoded once, and stay while a follower still has to take them (within bounds). Readers of the same pairs follow
one feed. One that falls further behind than the feed remembers gets a feed of its own, and comes back when that has caught
up: so a sensor that is slow slows nobody else down, and no reader costs more than its place in a list.

The consumer numbers what it delivers, so a gap shows; so does silence, because a waiting pull is answered by heartbeats.
After a gap, silence, a lost connection or a lost consumer the feed makes another consumer that starts after the last entry
it received. The server removes an abandoned one by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from bisect import bisect_right
from typing import Any, Protocol

from argosy.bus import _jetstream_names as names
from argosy.bus import _jetstream_passing as passing
from argosy.bus._base import Delivery
from argosy.bus._jetstream_answers import numbers
from argosy.bus._jetstream_client import Message
from argosy.bus._jetstream_history import delivery
from argosy.bus._jetstream_link import Link
from argosy.bus._jetstream_settings import STREAM
from argosy.errors import BusError

log = logging.getLogger("argosy.bus.jetstream")

BATCH = 256
"""Entries that are asked for ahead, and the largest batch."""
_KEPT, _KEPT_BYTES = 2048, 32 * 1024 * 1024
"""What is kept at most for followers that are behind."""
_TAIL = 512
"""What is kept for readers that have a feed of their own and may come back, where there are any."""
_AHEAD_BYTES = 32 * 1024 * 1024
_PULL_SECONDS = 30
_HEARTBEAT_SECONDS = 4
DEAF_SECONDS = 3 * _HEARTBEAT_SECONDS
_LAG_LOOK_SECONDS = 5
_CONSUMER_GONE = ("consumer deleted", "leadership change", "server shutdown")
_RENEW_PAUSE_SECONDS = 0.5


class Follower(Protocol):
    """A reader, as its feed sees it."""

    place: int
    """Everything up to here that matches has been taken."""
    wake: asyncio.Event

    @property
    def log(self) -> str:
        """When the stream was created that ``place`` belongs to."""
        ...

    def fit(self, created: str, first: int, last: int) -> bool:
        """Look whether ``place`` still means something in this log; move it and return True if it does not."""

    def tell_lost(self, count: int) -> None:
        """So many entries were removed before they could be taken."""


class Feed:
    """One consumer and what it brought. Made by ``Feeds``; opens itself when it is listened to."""

    def __init__(self, link: Link, filters: tuple[str, ...], start: int, log_created: str) -> None:
        self._link = link
        self.filters = filters
        self.followers: dict[Follower, int] = {}
        """Who follows, and the number of the entry that is next for each."""
        self.waiting: set[Follower] = set()
        """Woken by the next entry."""
        self.log = log_created
        self.received = start
        """The last entry that arrived here; everything before it that matches has arrived too."""
        self.sequence = 0
        """How many entries the present consumer has delivered."""
        self.pending = 0
        self.asked = 0
        self.heard = 0.0
        self.doubt = "it was not made yet"
        self.shared = False
        """Whether there are, or were, other feeds of these pairs."""
        self._since = start
        """Of what came after this, and up to ``received``, everything is here that ``_entries`` does not lack."""
        self._fitted = False
        self._entries: list[Delivery] = []
        self._sizes: list[int] = []
        self._size = 0
        self._first = 0
        """The number of the first of ``_entries``."""
        self.consumer = ""
        self._epoch = -1
        self._inbox = ""
        self._pulls = 0
        self.end_inbox: Any = None
        self._lag_look = asyncio.get_running_loop().time()
        self._renewed = 0.0
        self._renewing = asyncio.Lock()
        self._jump: tuple[int, int] | None = None

    # ------------------------------------------------------------------ followers

    def has(self, follower: Follower) -> bool:
        """Whether everything after the follower's place is here or will come."""
        if follower.log != self.log:
            return False
        # One that stands further on is right only if the log was looked at with it: it may have lost its end.
        return self._since <= follower.place and (follower.place <= self.received or not self._fitted)

    def add(self, follower: Follower) -> None:
        """Let it follow from its place on; ``has`` it before."""
        self.followers[follower] = self._first + bisect_right(
            self._entries, follower.place, key=lambda delivery: delivery.position
        )

    def remove(self, follower: Follower) -> None:
        self.followers.pop(follower, None)
        self.waiting.discard(follower)
        self._forget()

    def keeps(self, follower: Follower) -> bool:
        """Whether what is next for the follower was not forgotten."""
        return self.followers[follower] >= self._first

    def ahead(self, follower: Follower) -> int:
        """How many entries are here that the follower has not taken."""
        return self._first + len(self._entries) - self.followers[follower]

    def take(self, follower: Follower, count: int) -> list[Delivery]:
        """The next entries of this follower, at most ``count``; none if they were forgotten."""
        at = self.followers.get(follower, -1) - self._first
        if at < 0:
            return []
        batch = self._entries[at : at + count]
        self.followers[follower] += len(batch)
        self._forget()
        if batch and batch[0].position <= follower.place:
            batch = [delivery for delivery in batch if delivery.position > follower.place]
        return batch

    def _forget(self) -> None:
        """Drop what every follower has taken, and what is beyond the bounds for those that are far behind."""
        count = len(self._entries)
        slowest = min(self.followers.values(), default=self._first + count) - self._first
        drop = slowest if not self.shared else min(slowest, count - _TAIL)
        if count > _KEPT or self._size > _KEPT_BYTES:
            fastest = max(self.followers.values(), default=self._first + count) - self._first
            drop = max(drop, min(fastest, count - _KEPT if self._size <= _KEPT_BYTES else count // 2))
        if drop > 0:
            self._since = self._entries[drop - 1].position
            self._size -= sum(self._sizes[:drop])
            del self._entries[:drop], self._sizes[:drop]
            self._first += drop

    # ------------------------------------------------------------------ listening

    async def listen(self, follower: Follower) -> None:
        """See to it that a consumer is there and has been asked. Raises Lost."""
        if self._epoch != self._link.epoch or not self._link.up:
            self.doubt = self.doubt or "the connection was lost"
        if self.doubt:
            await self._link.keep("read the event log", self._renew)
        await self.pull(follower)

    async def pull(self, follower: Follower, taking: int = 0) -> None:
        """Ask for entries, where this follower will soon have none. Raises Lost."""
        if not self._inbox or follower not in self.followers:
            return
        want = BATCH - self.ahead(follower) + taking - self.asked
        if self.doubt or self._epoch != self._link.epoch or (self.asked and want < BATCH // 2) or want <= 0:
            return
        self._pulls += 1
        if not self.asked:
            self.heard = asyncio.get_running_loop().time()
        self.asked += want
        body = {
            "batch": want,
            "max_bytes": max(_AHEAD_BYTES, 2 * self._link.largest),
            "expires": _PULL_SECONDS * 10**9,
            "idle_heartbeat": _HEARTBEAT_SECONDS * 10**9,
        }
        await self._link.send(
            f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{self.consumer}",
            json.dumps(body).encode(),
            f"{self._inbox}.{self._pulls}",
        )

    async def look_for_overtaking(self) -> None:
        """Tell when the log's retention took entries that waited for this feed while it was reading.

        More was waiting, and yet the next entry to arrive stood further on: either what is between belongs to
        other pairs, or it was removed. The log's first entry tells which, if it is looked at soon.
        """
        now = asyncio.get_running_loop().time()
        if self._jump is None or now - self._lag_look < _LAG_LOOK_SECONDS:
            return
        self._lag_look = now
        (before, after), self._jump = self._jump, None
        answer = await self._link.keep("look at the event log", lambda: self._link.api(f"STREAM.INFO.{STREAM}"))
        first = answer["state"]["first_seq"]
        if first > before + 1:
            for follower in self.followers:
                follower.tell_lost(min(first, after) - before - 1)

    # ------------------------------------------------------------------ the consumer

    async def _renew(self) -> None:
        """Make a consumer that starts after the last entry received. Raises Lost."""
        async with self._renewing:
            if not self.doubt:
                return  # another follower has seen to it
            if self._inbox:
                log.debug("the event log is read anew after %d: %s", self.received, self.doubt)
            await self.close()
            now = asyncio.get_running_loop().time()
            if now - self._renewed < _RENEW_PAUSE_SECONDS:  # whatever keeps breaking it must not be made to spin
                await asyncio.sleep(_RENEW_PAUSE_SECONDS)
            self._renewed = now
            epoch = self._link.epoch
            await self._fit_to_log()
            inbox = self._link.inbox()
            self._inbox, self._epoch = inbox, epoch
            self.asked = self.sequence = self._pulls = self.pending = 0
            self.heard = asyncio.get_running_loop().time()

            async def receive(message: Message) -> None:
                if self._inbox == inbox:
                    self.receive(message)

            self.end_inbox = await self._link.subscribe(f"{inbox}.*", receive)
            readers = ", ".join(sorted(names.header(getattr(one, "name", "")) for one in self.followers))
            start = passing.from_number(self.received + 1)
            self.consumer = (await passing.make(self._link, STREAM, self.filters, start, reader=readers)).name
            self.doubt = ""

    async def close(self) -> None:
        """Remove the consumer."""
        end, self.end_inbox, self._inbox = self.end_inbox, None, ""
        if end and self._epoch == self._link.epoch:
            await end()
        name, self.consumer = self.consumer, ""
        if name:
            await passing.remove(self._link, STREAM, name)

    def receive(self, message: Message) -> None:
        """Take in one message of the consumer."""
        self.heard = asyncio.get_running_loop().time()
        if message.is_status and message.subject.startswith(self._inbox):
            self._receive_status(message.headers)
            return
        at = numbers(message.reply)
        if at.consumer != self.sequence + 1:
            self._in_doubt(f"a gap after delivery {self.sequence}")
            return
        if self.pending and at.stream - self.received > (self._jump[1] - self._jump[0] if self._jump else 1):
            self._jump = (self.received, at.stream)
        self.sequence, self.received, self.pending = at.consumer, at.stream, at.pending
        self.asked -= 1
        self._entries.append(delivery(message.subject, message.data, at.stream, at.nanoseconds / 1e9))
        self._sizes.append(len(message.data))
        self._size += len(message.data)
        if len(self._entries) > _KEPT + BATCH or self._size > 2 * _KEPT_BYTES:
            self._forget()
        self._wake()

    def _receive_status(self, headers: dict[str, str]) -> None:
        status = headers["Status"]
        if status == "100":
            if int(headers.get("Nats-Last-Consumer", self.sequence)) > self.sequence:
                self.doubt = self.doubt or f"a gap after delivery {self.sequence}"
        elif status in ("404", "408", "409"):
            # The request is over: its time is up, or the next entry would exceed its bytes. Ask again.
            self.asked = max(0, self.asked - int(headers.get("Nats-Pending-Messages", self.asked)))
            if headers.get("Description", "").lower() in _CONSUMER_GONE:
                self.doubt = self.doubt or headers["Description"].lower()
        else:
            self.doubt = self.doubt or headers.get("Description", f"status {status}").lower()
        self._wake()

    def _in_doubt(self, why: str) -> None:
        self.doubt = self.doubt or why
        self._wake()

    def _wake(self) -> None:
        if self.waiting:
            for follower in self.waiting:
                follower.wake.set()
            self.waiting.clear()

    async def _fit_to_log(self) -> None:
        """Notice a log that is no longer the one the places belong to, or that has forgotten entries."""
        answer = await self._link.api(f"STREAM.INFO.{STREAM}")
        created, first, last = answer["created"], answer["state"]["first_seq"], answer["state"]["last_seq"]
        moved = [follower.fit(created, first, last) for follower in self.followers]
        if any(moved):
            self._first += len(self._entries)
            self._entries, self._sizes, self._size, self._jump = [], [], 0, None
            self._since = self.received = min(follower.place for follower in self.followers)
            self.followers = dict.fromkeys(self.followers, self._first)
        elif first > self.received + 1:
            for follower in self.followers:
                if (lost := first - 1 - max(follower.place, self.received)) > 0:
                    follower.tell_lost(lost)
            self.received, self._jump = first - 1, None
        self.log, self._fitted = created, True


class Feeds:
    """The feeds of one bus."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._feeds: dict[tuple[str, ...], list[Feed]] = {}

    async def follow(self, follower: Follower, filters: tuple[str, ...], present: Feed | None) -> Feed:
        """The feed for this reader: the present one while it serves, one that is further on if there is any."""
        same = self._feeds.setdefault(filters, [])
        if present is not None and len(same) == 1 and present.keeps(follower):
            return present
        found = max(
            (feed for feed in same if (feed is present and feed.keeps(follower)) or feed.has(follower)),
            key=lambda feed: feed.received,
            default=None,
        )
        if found is None:
            found = Feed(self._link, filters, follower.place, follower.log)
            same.append(found)
            for feed in same:
                feed.shared = len(same) > 1
        if found is not present:
            found.add(follower)
            if present is not None:
                await self.leave(follower, present)
        return found

    async def leave(self, follower: Follower, feed: Feed) -> None:
        """Follow no longer. Without followers a feed ends; does not wait for a bus that is away."""
        feed.remove(follower)
        same = self._feeds.get(feed.filters, [])
        if feed.followers or feed not in same:
            return
        same.remove(feed)
        if not same:
            del self._feeds[feed.filters]
        with contextlib.suppress(BusError, TimeoutError):  # the server forgets the consumer by itself
            async with asyncio.timeout(2):
                if self._link.up:
                    await feed.close()
