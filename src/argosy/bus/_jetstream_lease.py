"""Taking items off a queue, one process's side of it: leases, what keeps them alive, and what ends them.

A taker asks the queue's consumer for one item each time it is asked itself, so nobody hoards. A message that
may have been handed out before (the server says so, or it is older than the connection) is first looked up:
an ended one is taken off, a resting one is put back, a failed one gets its count. ``_jetstream_held`` is a lease,
``_jetstream_queue`` owns the streams and the consumer.

A taker that keeps several items in order (``resting``) is the only one, so it makes the consumer anew whenever it
connects: everything that has not ended then comes in the order of the stream, what it holds included, and nothing
overtakes an item that a predecessor held or that was lost on its way. Until an item that it holds has come again, the
new consumer is told nothing of it: an acknowledgement for what it has not delivered would make it skip all before.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from argosy.bus import _jetstream_names as names
from argosy.bus._base import Lease
from argosy.bus._jetstream_answers import Lost, NoAnswer, NoResponder, Numbers, numbers
from argosy.bus._jetstream_client import Message
from argosy.bus._jetstream_held import ACTIONS, ID, OUTCOMES, HeldItem, nak
from argosy.bus._jetstream_link import Link
from argosy.bus._jetstream_records import Conflict
from argosy.errors import BusError

if TYPE_CHECKING:
    from argosy.bus._jetstream_queue import JetStreamQueue

_PULL_SECONDS = 30
_HEARTBEAT_SECONDS = 4
_DEAF_SECONDS = 3 * _HEARTBEAT_SECONDS
_REMEMBERED = 64
_AHEAD = 16
"""How many items are asked for at a time where nobody else takes."""
_ACK_TRIES, _ACK_SECONDS = 2, 1.0
"""A server that was killed does not answer for deliveries that it forgot."""


class Taker(AsyncIterator[Lease]):
    """Takes items for one process: one request for each item that is asked for, so that nobody hoards.

    With ``resting`` nobody else takes, and several are asked for at a time.
    """

    def __init__(self, queue: JetStreamQueue, link: Link, lease_seconds: float, resting: bool = False) -> None:
        self._queue = queue
        self._resting = resting
        self._link = link
        self._lease_seconds = lease_seconds
        self._held: dict[int, HeldItem] = {}
        self._waiting: deque[tuple[Message, Numbers]] = deque()
        self._taken_off: deque[str] = deque(maxlen=_REMEMBERED)
        """Where the newest items were acknowledged that have ended."""
        self._epoch = -1
        self._inbox = ""
        self._pulls = 0
        self._asked = 0
        """How many items are under way to us as far as is known."""
        self._heard = 0.0
        self._known_to = 0
        """Items up to here may have been handed out before by someone whose deliveries the server forgot."""
        self._failed: set[str] = set()
        """Places of the items up to there that have failed before."""
        self._wake = asyncio.Event()
        self._end_inbox: Any = None
        self._alive: asyncio.Task[None] | None = None
        self._order = asyncio.Lock()

    async def open(self) -> None:
        await self._link.keep(f"open queue {self._queue.name!r}", self._connect)
        self._link.changed.add(self._wake.set)
        self._alive = asyncio.create_task(self._keep_alive(), name=f"argosy-leases-{self._queue.name}")

    async def close(self) -> None:
        self._link.changed.discard(self._wake.set)
        if self._alive:
            self._alive.cancel()
            await asyncio.gather(self._alive, return_exceptions=True)
        # What is not handed back now comes back by itself when its lease has run out.
        with contextlib.suppress(BusError, TimeoutError):
            async with asyncio.timeout(2):
                if self._link.up and self._epoch == self._link.epoch:
                    if self._end_inbox:
                        await self._end_inbox()
                    await self._link.flush()
                for message, _ in self._waiting:
                    await self._link.send(message.reply, b"-NAK")
                for lease in self._held.values():
                    if not lease.ending:
                        await self._link.send(lease.reply, b"-NAK")
                if self._link.up:
                    await self._link.flush()
                    if self._resting:
                        await self._queue.forget_consumer()
                    elif not self._held:
                        await self._queue.reclaim()  # nobody holds anything, and it shows
        self._inbox = ""

    def __aiter__(self) -> AsyncIterator[Lease]:
        return self

    async def __anext__(self) -> Lease:
        loop = asyncio.get_running_loop()
        async with self._order:
            while True:
                self._wake.clear()
                # After a loss of the bus everything comes anew, in order, where that is promised.
                while self._waiting and not (self._resting and self._epoch != self._link.epoch):
                    message, at = self._waiting[0]
                    lease = await self._admit(message, at)
                    self._waiting.popleft()
                    if lease:
                        self._held[at.stream] = lease
                        if self._resting and len(self._waiting) < _AHEAD // 2:
                            await self._pull_early()
                        return lease
                try:
                    if self._epoch != self._link.epoch or not self._inbox:
                        await self._link.keep(f"take from queue {self._queue.name!r}", self._connect)
                    if not self._asked:
                        await self._pull()
                except Lost:
                    await asyncio.sleep(0.05)
                    await self._link.wait_up()
                    continue
                try:
                    async with asyncio.timeout(max(0.05, self._heard + _DEAF_SECONDS - loop.time())):
                        await self._wake.wait()
                except TimeoutError:
                    self._inbox = ""

    async def _connect(self) -> None:
        epoch = self._link.epoch
        if self._end_inbox and self._epoch == epoch:
            await self._end_inbox()
        if self._resting:
            await self._begin_anew()
        elif not self._held and not self._waiting:
            await self._queue.reclaim()
        await self._queue.ensure_consumer()
        # A server that was killed may not remember that an item was taken off, and lets nothing else out for
        # it until its lease runs out. Telling it again harms nothing: the item has ended.
        for reply in self._taken_off:
            await self._link.send(reply, b"+ACK")
        self._known_to = await self._queue.last()
        # Asked once for all that waits; who fails from now on is delivered again, which shows.
        self._failed = set(await self._queue.failed_places())
        inbox = self._link.inbox()

        async def receive(message: Message) -> None:
            if inbox == self._inbox or not message.subject.startswith("_INBOX."):
                self._receive(message)

        self._end_inbox = await self._link.subscribe(f"{inbox}.*", receive)
        self._inbox, self._epoch, self._asked = inbox, epoch, 0
        self._heard = asyncio.get_running_loop().time()

    async def _begin_anew(self) -> None:
        if self._epoch < 0 and not self._queue.sole and (await self._queue.consumer_info()).get("num_ack_pending"):
            # A predecessor that is not quite dead may be about to end what it holds.
            await asyncio.sleep(self._lease_seconds)
        await self._queue.forget_consumer()
        self._waiting.clear()
        self._taken_off.clear()
        for lease in self._held.values():
            lease.known = False

    async def _pull(self) -> None:
        self._pulls += 1
        self._asked = _AHEAD if self._resting else 1
        self._heard = asyncio.get_running_loop().time()
        body = {"batch": self._asked, "expires": _PULL_SECONDS * 10**9, "idle_heartbeat": _HEARTBEAT_SECONDS * 10**9}
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{ACTIONS}.{self._queue.consumer}"
        await self._link.send(subject, json.dumps(body).encode(), f"{self._inbox}.{self._pulls}")

    async def _pull_early(self) -> None:
        """Ask before somebody waits for it, where that is harmless: the request travels with what is sent in this moment."""
        if not self._asked and self._inbox and self._epoch == self._link.epoch:
            with contextlib.suppress(Lost):
                await self._pull()

    def _receive(self, message: Message) -> None:
        self._heard = asyncio.get_running_loop().time()
        if message.is_status and message.subject.startswith("_INBOX."):
            status = message.headers["Status"]
            if status == "100":
                return
            self._asked = 0
            if status not in ("404", "408"):
                self._inbox = ""  # the consumer is gone or its leader has changed: look again
        else:
            self._asked = max(0, self._asked - 1)
            self._waiting.append((message, numbers(message.reply)))
        self._wake.set()

    async def _admit(self, message: Message, at: Numbers) -> HeldItem | None:
        """The lease of a message that arrived, or None where it is not to be handed out now."""
        queue = self._queue
        held = self._held.get(at.stream)
        if held:
            # The server forgot that we hold it (it was killed), or somebody ends its rest; hold on with the new delivery.
            held.reply, held.known = message.reply, True
            held.stirred.set()
            return None
        place = message.subject.rpartition(".")[2]
        failures, error, rest, rested_before = 0, "", 0.0, False
        if at.delivered > 1 or at.stream <= self._known_to:
            ended, failed = await asyncio.gather(
                queue.outcomes.get(queue.subject(OUTCOMES, place)),
                queue.failure(place, at.delivered > 1 or place in self._failed),
            )
            if ended:
                with contextlib.suppress(Lost):  # it will come again, and be recognised again
                    await self._link.request(message.reply, b"+ACK")
                return None
            if failed:
                kept = json.loads(failed.data)
                failures, error, rested_before = int(kept["failures"]), str(kept["error"]), True
                rest = min(float(kept["not_before"]) - time.time(), float(kept["seconds"]))
                if rest > 0.005 and (not self._resting or kept.get("reply") != message.reply):
                    try:
                        # Where the rest can be ended from, see ``Queue.retry_now``.
                        # After the clock was set back it rests once more, not until the clock has caught up.
                        now_at = json.dumps({**kept, "reply": message.reply, "not_before": time.time() + rest}).encode()
                        await queue.kv.put(queue.failures_at(place), now_at, revision=failed.seq)
                    except Conflict:
                        return await self._admit(message, at)
                if rest > 0.005 and not self._resting:
                    with contextlib.suppress(Lost):
                        await self._link.request(message.reply, nak(rest))
                    return None
        lease = HeldItem(self, at.stream, place, message.reply)
        lease.id = names.text_of_header(message.headers.get(ID, place))
        lease.body = message.data
        lease.put_at = at.nanoseconds / 1e9
        lease.failures, lease.last_error, lease.rested_before = failures, error, rested_before
        if rest > 0:
            lease.rests_until = asyncio.get_running_loop().time() + rest
        return lease

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            with contextlib.suppress(Lost):
                for message, _ in list(self._waiting):
                    await self._link.send(message.reply, b"+WPI")
                for lease in list(self._held.values()):
                    if lease.known:
                        await self._link.send(lease.reply, b"+WPI")

    # ------------------------------------------------------------------ endings

    async def _end(self, lease: HeldItem, word: bytes) -> None:
        """Tell the server what becomes of the item, until it confirms.

        What matters is durable already; if the server does not know the delivery any more, the item is handed
        out again and then recognised. So this ends after a few tries.
        """
        tries, epoch = 0, self._epoch

        async def attempt() -> None:
            nonlocal tries, epoch
            if not lease.known or (self._resting and self._epoch != self._link.epoch):
                return  # it comes again with the new consumer, and is recognised
            if epoch != self._link.epoch:
                # A server that has just started answers for no consumer yet; giving up then would leave the
                # item held by nobody until its lease runs out.
                await self._queue.ensure_consumer()
                epoch = self._link.epoch
            if word == b"+ACK" and not self._waiting:
                await self._pull_early()
            try:
                await self._link.request(lease.reply, word, seconds=_ACK_SECONDS)
            except (NoAnswer, NoResponder) as lost:
                tries += 1
                if tries < _ACK_TRIES:
                    raise Lost(str(lost)) from lost  # not NoResponder: do not make streams for this

        await self._link.keep(f"end item {lease.id!r} of queue {self._queue.name!r}", attempt)
        if word == b"+ACK" and lease.known:
            self._taken_off.append(lease.reply)
        self._held.pop(lease.stream, None)
        self._wake.set()
