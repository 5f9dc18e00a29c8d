"""Reads the event log by position (decision 2), through a consumer that is made anew when in doubt.

Opening fixes the position. Reading makes a pull consumer without acknowledgements, in the server's memory,
that starts after it; entries arrive in batches that are asked for ahead. The consumer numbers what it
delivers, so a gap shows; so does silence, because a waiting pull is answered by heartbeats. After a gap,
silence, a lost connection or a lost consumer the reader makes another consumer that starts after the last
entry it received. The server removes an abandoned one by itself. ``_jetstream_position`` says what the
position is.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator, Collection
from typing import Any

from argosy.bus import _jetstream_names as names
from argosy.bus._base import At, Delivery, Pair, Start, Subscription
from argosy.bus._jetstream_answers import Lost, Refused, numbers
from argosy.bus._jetstream_history import position_before
from argosy.bus._jetstream_link import Link
from argosy.bus._jetstream_position import LogState, Position
from argosy.bus._jetstream_records import Records
from argosy.bus._jetstream_settings import STREAM
from argosy.errors import BusError, EventInvalid
from argosy.event import decode

log = logging.getLogger("argosy.bus.jetstream")

_BATCH = 256
"""Entries that are asked for ahead, and the largest batch."""
_AHEAD_BYTES = 32 * 1024 * 1024
_PULL_SECONDS = 30
_HEARTBEAT_SECONDS = 4
_DEAF_SECONDS = 3 * _HEARTBEAT_SECONDS
_FORGET_SECONDS = 60
"""After how long without a pull the server removes a consumer."""
_IDLE_SECONDS = 60
_LAG_LOOK_SECONDS = 5
_CONSUMER_GONE = ("consumer deleted", "leadership change", "server shutdown")
_RENEW_PAUSE_SECONDS = 0.5


class Reader(Subscription):
    """An open reader. ``open`` before, ``close`` after."""

    def __init__(
        self,
        link: Link,
        records: Records,
        consumer: str,
        pairs: Collection[Pair],
        *,
        start: Start,
        max_in_flight: int,
    ) -> None:
        self._link = link
        self._name = consumer
        self._filters = sorted({f"{STREAM}.{names.token(pair.source)}.{names.token(pair.event)}" for pair in pairs})
        self._position = Position(records, consumer, names.digest(*self._filters))
        self._start = start
        self._max_in_flight = max(1, max_in_flight)
        self._received = 0
        """The last entry that arrived here; everything before it that matches has arrived too."""
        self._maybe_repeated_to = 0
        self._buffer: deque[Delivery] = deque()
        self._handed: deque[int] = deque()
        # Of the present consumer:
        self._consumer = ""
        self._epoch = -1
        self._inbox = ""
        self._pulls = 0
        self._asked = 0
        self._sequence = 0
        self._pending = 0
        self._heard = 0.0
        self._doubt = "it was not made yet"
        self._end_inbox: Any = None
        self._wake = asyncio.Event()
        self._idle_look = 0.0
        self._lag_look = 0.0
        self._renewed = 0.0
        self._replaced = False
        self._jump: tuple[int, int] | None = None

    async def open(self) -> None:
        """Read the position, or record one durably. Waits through a loss of the bus."""
        state = await self._state()
        if await self._position.open(state, await self._placed(self._start)):
            self._maybe_repeated_to = state.last
        self._received = max(self._position.committed, self._position.seen)
        self._idle_look = self._lag_look = asyncio.get_running_loop().time()
        self._link.changed.add(self._wake.set)

    async def close(self) -> None:
        """Remove the consumer. Does not wait for a bus that is away."""
        self._link.changed.discard(self._wake.set)
        # The server forgets the consumer by itself, and a position that lags only costs a second reading.
        with contextlib.suppress(BusError, TimeoutError):
            async with asyncio.timeout(2):
                if self._link.up:
                    await self._advance()
                    await self._abandon()

    async def commit(self, position: int) -> None:
        if self._replaced and position > self._received:
            return  # of the log that is no more; in this one it would skip what was never read
        await self._position.commit(position)
        while self._handed and self._handed[0] <= self._position.committed:
            self._handed.popleft()
        self._wake.set()

    def __aiter__(self) -> AsyncIterator[list[Delivery]]:
        return _Batches(self)

    # ------------------------------------------------------------------ handing out

    async def next_batch(self) -> list[Delivery]:
        """What ``async for`` yields next. Cancelling it loses nothing."""
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            while self._buffer and self._buffer[0].position <= self._position.committed:
                self._buffer.popleft()
            room = self._max_in_flight - len(self._handed)
            count = min(room, _BATCH, len(self._buffer))
            if count > 0:
                # Ask ahead now: the next entries travel while these are worked on.
                with contextlib.suppress(Lost):
                    await self._pull(taking=count)
                await self._look_for_overtaking()
                batch = [self._buffer.popleft() for _ in range(min(count, len(self._buffer)))]
                if batch:
                    self._handed.extend(delivery.position for delivery in batch)
                    return batch
                continue
            if not self._filters:
                await asyncio.Event().wait()
            if room > 0:
                try:
                    await self._listen()
                except Lost:
                    await asyncio.sleep(0.05)
                    await self._link.wait_up()
                    continue
            seconds = max(0.05, self._heard + _DEAF_SECONDS - loop.time()) if self._asked else None
            try:
                async with asyncio.timeout(seconds):
                    await self._wake.wait()
            except TimeoutError:
                if self._asked and loop.time() - self._heard >= _DEAF_SECONDS:
                    self._doubt = "the bus fell silent"

    async def _listen(self) -> None:
        """See to it that a consumer is there and has been asked; look after what only shows from time to
        time.
        """
        now = asyncio.get_running_loop().time()
        if self._epoch != self._link.epoch or not self._link.up:
            self._doubt = self._doubt or "the connection was lost"
        if self._doubt:
            await self._link.keep("read the event log", self._renew)
        await self._pull()
        if not self._pending and not self._handed and now - self._idle_look > _IDLE_SECONDS:
            self._idle_look = now
            await self._advance()

    async def _look_for_overtaking(self) -> None:
        """Tell when the log's retention took entries that waited for this reader while it was reading.

        More was waiting, and yet the next entry to arrive stood further on: either what is between belongs to
        other pairs, or it was removed. The log's first entry tells which, if it is looked at soon.
        """
        now = asyncio.get_running_loop().time()
        if self._jump is None or now - self._lag_look < _LAG_LOOK_SECONDS:
            return
        self._lag_look = now
        (before, after), self._jump = self._jump, None
        state = await self._state()
        if state.first > before + 1:
            self._tell_lost(min(state.first, after) - before - 1)

    async def _pull(self, taking: int = 0) -> None:
        if not self._inbox:
            return
        want = _BATCH - len(self._buffer) + taking - self._asked
        if self._doubt or self._epoch != self._link.epoch or (self._asked and want < _BATCH // 2) or want <= 0:
            return
        self._pulls += 1
        if not self._asked:
            self._heard = asyncio.get_running_loop().time()
        self._asked += want
        body = {
            "batch": want,
            "max_bytes": max(_AHEAD_BYTES, 2 * self._link.largest),
            "expires": _PULL_SECONDS * 10**9,
            "idle_heartbeat": _HEARTBEAT_SECONDS * 10**9,
        }
        await self._link.send(
            f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{self._consumer}",
            json.dumps(body).encode(),
            f"{self._inbox}.{self._pulls}",
        )

    # ------------------------------------------------------------------ the consumer

    async def _renew(self) -> None:
        """Make a consumer that starts after the last entry received. Raises Lost."""
        if self._inbox:
            log.debug("consumer %r reads anew after %d: %s", self._name, self._received, self._doubt)
        await self._abandon()
        now = asyncio.get_running_loop().time()
        if now - self._renewed < _RENEW_PAUSE_SECONDS:  # whatever keeps breaking it must not be made to spin
            await asyncio.sleep(_RENEW_PAUSE_SECONDS)
        self._renewed = now
        epoch = self._link.epoch
        await self._fit_to_log()
        inbox = self._link.inbox()
        self._inbox, self._epoch = inbox, epoch
        self._asked = self._sequence = self._pulls = self._pending = 0
        self._heard = asyncio.get_running_loop().time()

        async def receive(message: Any) -> None:
            if self._inbox == inbox:
                self._receive(message)

        self._end_inbox = await self._link.subscribe(f"{inbox}.*", receive)
        name = f"argosy-{secrets.token_hex(8)}"
        config = {
            "name": name,
            "description": f"argosy reader {names.header(self._name)}"[:1000],
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self._received + 1,
            "ack_policy": "none",
            "replay_policy": "instant",
            "filter_subjects": self._filters,
            "inactive_threshold": _FORGET_SECONDS * 10**9,
            "num_replicas": 1,
            "mem_storage": True,
        }
        try:
            await self._link.api(
                f"CONSUMER.CREATE.{STREAM}.{name}",
                {"stream_name": STREAM, "config": config, "action": "create"},
            )
        except Refused as refused:
            if refused.code == 10059 and self._link.mend:  # the stream was removed
                await self._link.mend()
                raise Lost("the event log was removed; it is made anew") from refused
            raise BusError(f"consumer {self._name!r} cannot read the event log: {refused}") from refused
        self._consumer = name
        self._doubt = ""

    async def _abandon(self) -> None:
        end, self._end_inbox, self._inbox = self._end_inbox, None, ""
        if end and self._epoch == self._link.epoch:
            await end()
        name, self._consumer = self._consumer, ""
        if name:
            with contextlib.suppress(Refused):  # gone already
                await self._link.api(f"CONSUMER.DELETE.{STREAM}.{name}")

    def _receive(self, message: Any) -> None:
        self._heard = asyncio.get_running_loop().time()
        headers = message.headers
        if headers and "Status" in headers and message.subject.startswith(self._inbox):
            self._receive_status(headers)
            return
        at = numbers(message.reply)
        if at.consumer != self._sequence + 1:
            self._doubt = self._doubt or f"a gap after delivery {self._sequence}"
            self._wake.set()
            return
        if self._pending and at.stream - self._received > (self._jump[1] - self._jump[0] if self._jump else 1):
            self._jump = (self._received, at.stream)
        self._sequence, self._received, self._pending = at.consumer, at.stream, at.pending
        self._asked -= 1
        repeated = at.stream <= self._maybe_repeated_to
        stored_at = at.nanoseconds / 1e9
        try:
            delivery = Delivery(at.stream, stored_at, decode(message.data), "", repeated)
        except EventInvalid as error:
            delivery = Delivery(at.stream, stored_at, None, f"{error} (on subject {message.subject!r})", repeated)
        self._buffer.append(delivery)
        self._wake.set()

    def _receive_status(self, headers: dict[str, str]) -> None:
        status = headers["Status"]
        if status == "100":
            if int(headers.get("Nats-Last-Consumer", self._sequence)) > self._sequence:
                self._doubt = self._doubt or f"a gap after delivery {self._sequence}"
        elif status in ("404", "408", "409"):
            # The request is over: its time is up, or the next entry would exceed its bytes. Ask again.
            self._asked = max(0, self._asked - int(headers.get("Nats-Pending-Messages", self._asked)))
            if headers.get("Description", "").lower() in _CONSUMER_GONE:
                self._doubt = self._doubt or headers["Description"].lower()
        else:
            self._doubt = self._doubt or headers.get("Description", f"status {status}").lower()
        self._wake.set()

    # ------------------------------------------------------------------ the log and the position

    async def _placed(self, start: Start) -> Start:
        """The start with a time made into a position."""
        if isinstance(start, At) and start.time:
            return At(position=await position_before(self._link, start.time) + 1)
        return start

    async def _state(self) -> LogState:
        answer = await self._link.keep("look at the event log", lambda: self._link.api(f"STREAM.INFO.{STREAM}"))
        state = answer["state"]
        return LogState(answer["created"], state["first_seq"], state["last_seq"])

    async def _fit_to_log(self) -> None:
        """Notice a log that is no longer the one the position belongs to, or that has forgotten entries."""
        answer = await self._link.api(f"STREAM.INFO.{STREAM}")
        created, first, last = answer["created"], answer["state"]["first_seq"], answer["state"]["last_seq"]
        if created != self._position.log:
            log.warning(
                "the event log was made anew since consumer %r read it; it begins at the first "
                "entry", self._name,
                extra={"action": "log_replaced", "consumer": self._name},
            )  # fmt: skip
            self._begin_again(max(0, first - 1), created, last)
        elif self._received > last:
            log.warning(
                "the event log ends at %d although consumer %r has read up to %d (the server lost its "
                "newest entries); "
                "it goes on from there", last, self._name, self._received,
                extra={"action": "log_truncated", "consumer": self._name},
            )  # fmt: skip
            self._begin_again(last, created, last)
        elif first > self._received + 1:
            self._tell_lost(first - self._received - 1)
            self._received, self._jump = first - 1, None

    def _begin_again(self, position: int, created: str, last: int) -> None:
        self._position.begin_again(position, created)
        self._received, self._pending, self._jump = position, 0, None
        self._replaced = True
        self._maybe_repeated_to = last
        self._buffer.clear()
        self._handed.clear()

    def _tell_lost(self, count: int) -> None:
        log.warning(
            "up to %d events were lost to the retention of the event log (maxMsgs, maxAge, maxBytes) "
            "before consumer %r read them",
            count, self._name,
            extra={"action": "events_lost_to_retention", "consumer": self._name, "count": count},
        )  # fmt: skip

    async def _advance(self) -> None:
        """Remember beside the position how far a consumer that has read everything has seen.

        Otherwise the position of a quiet consumer falls off a busy log, and looks as if it had lost
        something. The position itself stays: a pair that is named later is read from there on.
        """
        if self._doubt or not self._consumer or self._buffer or self._handed:
            return
        state = await self._state()
        try:
            consumer = await self._link.api(f"CONSUMER.INFO.{STREAM}.{self._consumer}")
        except Refused:
            self._doubt = "the consumer is gone"
            return
        caught_up = consumer["num_pending"] == 0 and consumer["delivered"]["consumer_seq"] == self._sequence
        idle = not self._buffer and not self._handed
        if caught_up and idle and state.last > max(self._position.seen, self._position.committed):
            self._received = max(self._received, state.last)
            await self._position.see(state.last)


class _Batches(AsyncIterator[list[Delivery]]):
    """An iterator that survives its own cancellation, which a generator does not."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def __anext__(self) -> list[Delivery]:
        return await self._reader.next_batch()
