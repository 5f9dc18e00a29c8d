"""What a person may see and do of a queue on JetStream: list, look up, end a rest, redrive, discard.

An id's record can stand on three streams at once while an ending is under way, or after a crash in the middle of one. Which of them counts
follows from one rule: an outcome decides; without one, an item on the queue is alive; without that, a dead letter is dead. So the three are
read in the order queue, outcome, dead letter, which is the order in which an ending leaves the first and enters the second.

A redrive marks the dead letter first, then takes away what would end the item again (what is left of it on the queue, its count of
failures, its outcome), then puts it back, then removes the letter. All removals are by number, so they never hit what
came after; the mark's number is part of the message id, so two who redrive at once store one item. Dying
anywhere leaves the letter dead, or the item queued beside a marked letter that no longer counts.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from argosy.bus import _jetstream_names as names
from argosy.bus._base import Item, Shelf, State, discarded_because
from argosy.bus._jetstream_held import ACTIONS, DEAD, DIED_AT, ENDING, FAILURES, ID, OUTCOMES, REASON, cut
from argosy.bus._jetstream_link import Link
from argosy.bus._jetstream_records import Conflict, Record
from argosy.bus._jetstream_scan import newest

if TYPE_CHECKING:
    from argosy.bus._jetstream_queue import JetStreamQueue

_REDRIVEN = "Argosy-Redriven"
_AT_ONCE = 64


class Items:
    """The items of one queue."""

    def __init__(self, queue: JetStreamQueue, link: Link) -> None:
        self._queue = queue
        self._link = link

    async def items(self, shelf: Shelf, after: int, limit: int, since: float) -> list[Item]:
        if shelf == "ended":
            return await self._ended(after, limit, since)
        found: list[Item] = []
        handed_to = await self._handed_out_to() if shelf == "queued" else 0
        failed = set(await self._queue.failed_places()) if shelf == "queued" else set[str]()
        async for records in self._walk(ACTIONS if shelf == "queued" else DEAD, after, limit):
            if shelf == "queued":
                looks = [self._queued(record, failed, handed_to) for record in records]
            else:
                looks = [self._dead(record) for record in records]
            seen = await asyncio.gather(*looks)
            found += [item for item in seen if item is not None and item.at >= since]
            if len(found) >= limit:
                break
        return found[:limit]

    async def find(self, item_id: str) -> Item | None:
        queue, place = self._queue, names.digest(item_id)
        for _ in range(2):  # a redrive may have moved it from what we had not seen to what we had
            action = await queue.actions.get(queue.subject(ACTIONS, place))
            outcome = await queue.outcomes.get(queue.subject(OUTCOMES, place))
            if outcome and outcome.headers.get(ENDING) != "dead":
                return _ended_item(outcome)
            if action and not outcome:
                failed = {place} if await queue.failure(place, True) else set[str]()
                return await self._queued(action, failed, await self._handed_out_to())
            letter = await queue.dead.get(queue.subject(DEAD, place))
            if letter:
                return _dead_item(letter)
        return None

    async def retry_now(self, item_id: str) -> bool:
        queue, place = self._queue, names.digest(item_id)
        while True:
            record = await queue.failure(place, True)
            kept = json.loads(record.data) if record else {}
            if record is None or float(kept["not_before"]) <= time.time():
                return False
            try:
                rested = json.dumps({**kept, "not_before": 0.0}).encode()
                await queue.kv.put(queue.failures_at(place), rested, revision=record.seq)
            except Conflict:
                continue
            if reply := kept.get("reply"):
                # As its last worker would: the server then hands it out without waiting for the rest to end.
                await self._link.keep("end a rest", lambda: self._link.send(reply, b"-NAK"))
            return True

    async def redrive(self, item_id: str) -> bool:
        queue, place = self._queue, names.digest(item_id)
        subject = queue.subject(DEAD, place)
        while True:
            letter = await queue.dead.get(subject)
            if letter is None:
                return False
            action = await queue.actions.get(queue.subject(ACTIONS, place))
            outcome = await queue.outcomes.get(queue.subject(OUTCOMES, place))
            ending = outcome.headers.get(ENDING, "") if outcome else ""
            marked = _REDRIVEN in letter.headers
            if ending not in ("", "dead"):
                await queue.dead.remove(subject, letter.seq)
                return False
            if action and not ending:
                # Queued: by a redrive that died before its last step; or it is about to become, or never became, this letter.
                if marked:
                    await queue.dead.remove(subject, letter.seq)
                return marked
            mark = letter.seq
            if not marked:
                own = {name: value for name, value in letter.headers.items() if name.startswith("Argosy-")}
                try:
                    mark = await queue.dead.put(
                        subject, letter.data, headers={**own, _REDRIVEN: "1"}, revision=letter.seq
                    )
                except Conflict:
                    continue
            if action:
                await queue.actions.drop(action.seq)
            await queue.kv.delete(queue.failures_at(place))
            if outcome:
                await queue.outcomes.remove(outcome.subject, outcome.seq)
            await queue.store(item_id, letter.data, names.digest(queue.name, item_id, "redriven", str(mark)))
            await queue.dead.remove(subject, mark)
            return True

    async def discard(self, item_id: str, reason: str, by: str) -> bool:
        queue, place = self._queue, names.digest(item_id)
        item = await self.find(item_id)
        if item is None or item.state not in ("waiting", "resting", "dead", "discarded"):
            return False
        if item.state != "discarded":
            await self.write_discarded(item_id, discarded_because(reason, by), item.failures)
        if action := await queue.actions.get(queue.subject(ACTIONS, place)):
            await queue.actions.drop(action.seq)
        letter = await queue.dead.delete(queue.subject(DEAD, place))
        await queue.kv.delete(queue.failures_at(place))
        return bool(action or letter) or item.state != "discarded"

    async def write_discarded(self, item_id: str, why: str, failures: int) -> None:
        """Record that the item was discarded; it is then still where it was."""
        headers = {ID: names.header(item_id), ENDING: "discarded", REASON: cut(why), FAILURES: str(failures)}
        subject = self._queue.subject(OUTCOMES, names.digest(item_id))
        await self._queue.outcomes.put(subject, b"", headers=headers, unique=False)

    # ------------------------------------------------------------------ reading the three streams

    async def _walk(self, stream: str, after: int, limit: int) -> AsyncIterator[list[Record]]:
        """The records of this queue on a stream, from behind ``after`` on, in batches."""
        records = self._queue.actions if stream == ACTIONS else self._queue.dead
        subject, place = self._queue.subject(stream, "*"), after
        while True:
            batch: list[Record] = []
            while len(batch) < min(limit, _AT_ONCE):
                record = await records.next(subject, place + 1)
                if record is None:
                    break
                batch.append(record)
                place = record.seq
            if batch:
                yield batch
            if len(batch) < min(limit, _AT_ONCE):
                return

    async def _queued(self, record: Record, failed: set[str], handed_to: int) -> Item | None:
        queue, place = self._queue, record.subject.rpartition(".")[2]
        outcome, failure = await asyncio.gather(
            queue.outcomes.get(queue.subject(OUTCOMES, place)), queue.failure(place, place in failed)
        )
        if outcome:
            return None
        kept = json.loads(failure.data) if failure else {}
        not_before = float(kept.get("not_before", 0.0))
        state: State = "waiting"
        if not_before > time.time():
            state = "resting"
        elif record.seq <= handed_to:
            state = "held"
        return Item(
            names.text_of_header(record.headers.get(ID, place)),
            state,
            record.seq,
            record.stored_at,
            record.data,
            int(kept.get("failures", 0)),
            str(kept.get("error", "")),
            not_before if state == "resting" else 0.0,
        )

    async def _dead(self, letter: Record) -> Item | None:
        """The dead letter, if it counts: an outcome that says otherwise, or an item that lives, stands above it."""
        queue, place = self._queue, letter.subject.rpartition(".")[2]
        action = await queue.actions.get(queue.subject(ACTIONS, place))
        outcome = await queue.outcomes.get(queue.subject(OUTCOMES, place))
        ending = outcome.headers.get(ENDING) if outcome else None
        alive = action is not None if ending is None else ending != "dead"
        return None if alive else _dead_item(letter)

    async def _ended(self, after: int, limit: int, since: float) -> list[Item]:
        found: list[Item] = []
        subject = self._queue.subject(OUTCOMES, "*")
        async for record in newest(self._link, OUTCOMES, subject, before=after, about=limit):
            if record.stored_at < since:
                break
            if record.headers.get(ENDING) != "dead":
                found.append(_ended_item(record))
                if len(found) >= limit:
                    break
        return found

    async def _handed_out_to(self) -> int:
        """Up to which number of the queue's stream items were handed out that have not ended; 0 if none is out."""
        info = await self._link.keep(f"look at queue {self._queue.name!r}", self._queue.consumer_info)
        return int(info["delivered"]["stream_seq"]) if info.get("num_ack_pending") else 0


def _dead_item(letter: Record) -> Item:
    return Item(
        names.text_of_header(letter.headers.get(ID, "")),
        "dead",
        letter.seq,
        float(letter.headers.get(DIED_AT, letter.stored_at)),
        letter.data,
        int(letter.headers.get(FAILURES, "0")),
        names.text_of_header(letter.headers.get(REASON, "")),
    )


def _ended_item(outcome: Record) -> Item:
    state: State = "discarded" if outcome.headers.get(ENDING) == "discarded" else "done"
    return Item(
        names.text_of_header(outcome.headers.get(ID, "")),
        state,
        outcome.seq,
        outcome.stored_at,
        failures=int(outcome.headers.get(FAILURES, "0")),
        error=names.text_of_header(outcome.headers.get(REASON, "")),
        outcome=outcome.data,
    )
