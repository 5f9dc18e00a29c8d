"""Where a consumer stands in the log: the record behind ``commit``.

It is ``{"position": n, "log": "<when the stream was created>", "pairs": "<their hash>", "ahead": k, "doubt": d, "seen": m}``.
Up to ``position`` everything is settled. At most ``ahead`` entries of these pairs beyond it were handed out, and, where the
pairs have changed, perhaps all up to ``doubt``. Up to ``seen`` the log held nothing more of these pairs, so that a quiet
consumer on a busy log does not look as if it had fallen off.
"""

from __future__ import annotations

import asyncio
import json
from typing import NamedTuple

from argosy.bus import _jetstream_names as names
from argosy.bus._base import At, Start
from argosy.bus._jetstream_bucket import KV
from argosy.bus._jetstream_records import Conflict, Records
from argosy.errors import BusError


class LogState(NamedTuple):
    """The state of the log: when it was created, its first and its last position."""

    created: str
    first: int
    last: int


async def committed(records: Records, consumer: str) -> int | None:
    """The committed position of a consumer, None if it has none."""
    record = await records.get(f"$KV.{KV}.p.{names.key(consumer)}")
    try:
        return None if record is None else int(json.loads(record.data)["position"])
    except (ValueError, KeyError, TypeError):
        return 0  # it is there and cannot be read; who opens the consumer is told


class Position:
    """The position of one consumer for one set of pairs. ``open`` before anything else."""

    def __init__(self, records: Records, consumer: str, pairs_digest: str, ahead: int) -> None:
        self._records = records
        self._name = consumer
        self._subject = f"$KV.{KV}.p.{names.key(consumer)}"
        self._pairs_digest = pairs_digest
        self._ahead = ahead
        self._lock = asyncio.Lock()
        self.committed = 0
        self.seen = 0
        """Up to here there is nothing that was not handed out and committed."""
        self.log = ""
        """When the stream was created that the numbers belong to."""
        self.doubt = 0
        """Up to here another reader may have acted on anything."""

    async def open(self, state: LogState, start: Start) -> int:
        """Read the record, or write one durably. A place must be given as a position here.

        Returns how many entries an earlier reader of these pairs may have acted on without having committed them.
        """
        record = await self._records.get(self._subject)
        if record is None:
            self.log = state.created
            if isinstance(start, At):
                self.committed = min(max(start.position - 1, state.first - 1, 0), state.last)
            else:
                self.committed = state.last if start == "new" else max(0, state.first - 1)
            try:
                await self._records.put(self._subject, self._spelled(self.committed), revision=0)
            except Conflict:  # another process opened it at the same moment
                record = await self._records.get(self._subject)
        if record is None:
            return 0
        try:
            kept = json.loads(record.data)
            self.committed, self.log = int(kept["position"]), str(kept["log"])
            same = kept.get("pairs") == self._pairs_digest and "ahead" in kept
            self.seen = int(kept.get("seen", 0)) if same else 0
            handed_out = int(kept["ahead"]) if same else 0
            self.doubt = int(kept.get("doubt", 0)) if same else state.last
        except (ValueError, KeyError, TypeError) as error:
            raise BusError(
                f"the position of consumer {self._name!r} cannot be read; delete key "
                f"'p.{names.key(self._name)}' "
                f"of the key/value bucket {KV!r} to start anew"
            ) from error
        if handed_out < self._ahead:  # what is true of this reader has to be known to the next one
            await self._records.put(self._subject, self._spelled(self.committed))
        return handed_out

    async def commit(self, position: int) -> None:
        """Everything up to ``position`` is settled. Durable on return."""
        async with self._lock:
            if position > self.committed:
                # One write at a time, so one that is sent again after a loss overwrites nothing newer.
                await self._records.put(self._subject, self._spelled(position), unique=False)
                self.committed = position

    async def see(self, position: int) -> None:
        """Everything up to ``position`` is settled or belongs to other pairs."""
        async with self._lock:
            self.seen = position
            await self._records.put(self._subject, self._spelled(self.committed))

    def begin_again(self, position: int, created: str, doubt: int) -> None:
        """Stand elsewhere, in a log that is not the one the numbers belonged to; written with the next
        commit.
        """
        self.committed, self.seen, self.log, self.doubt = position, 0, created, doubt

    def _spelled(self, position: int) -> bytes:
        record: dict[str, int | str] = {
            "position": position, "log": self.log, "pairs": self._pairs_digest, "ahead": self._ahead,
        }  # fmt: skip
        if self.doubt > position:
            record["doubt"] = self.doubt
        if self.seen > position:
            record["seen"] = self.seen
        return json.dumps(record).encode()
