"""Buckets on JetStream: all of a bus share one key/value stream, so that a thousand buckets cost what one
costs.

``nats kv get argosy b.<bucket>.<key>`` shows an entry. Deleting writes a mark over it, which goes some minutes later: a
server that is killed may bring a value back whose successor was removed, but never one that has a successor.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque

from argosy.bus import _jetstream_names as names
from argosy.bus._base import Bucket, Entry
from argosy.bus._jetstream_records import Conflict, Records
from argosy.errors import BusError, EventTooLarge

KV = "argosy"
STREAM = f"KV_{KV}"
_KEY, _GONE = "Argosy-Key", "Argosy-Gone"
_MARK_SECONDS = 300.0
"""By then the server has written down what it removed; it does so every two minutes."""
_READS = 64


class JetStreamBucket(Bucket):
    """One bucket of a JetStreamBus."""

    def __init__(self, records: Records, name: str) -> None:
        self._records = records
        self._name = name
        self._prefix = f"$KV.{KV}.b.{names.key(name)}."
        self._marks: deque[tuple[float, int]] = deque()
        """When marks were written, by the monotonic clock, and their numbers."""

    async def get(self, key: str) -> Entry | None:
        record = await self._records.get(self._prefix + names.key(key))
        return Entry(record.data, record.seq) if record and _GONE not in record.headers else None

    async def put(self, key: str, value: bytes, *, revision: int | None = None) -> int:
        encoded = names.key(key)
        headers = {_KEY: names.header(key)} if names.too_long(encoded) else None
        if revision == 0:
            record = await self._records.get(self._prefix + encoded)
            if record and _GONE in record.headers:
                revision = record.seq
        try:
            return await self._records.put(self._prefix + encoded, value, revision=revision, headers=headers)
        except Conflict as conflict:
            raise BusError(
                f"key {key!r} of bucket {self._name!r} was written by someone else: {conflict}"
            ) from conflict
        except EventTooLarge as error:
            raise EventTooLarge(f"the value of key {key!r} of bucket {self._name!r} is too large: {error}") from error

    async def delete(self, key: str) -> None:
        encoded = names.key(key)
        record = await self._records.get(self._prefix + encoded)
        if record is None or _GONE in record.headers:
            return
        headers = {_GONE: "1", **({_KEY: names.header(key)} if names.too_long(encoded) else {})}
        with contextlib.suppress(Conflict):  # what is written meanwhile stays
            seq = await self._records.put(self._prefix + encoded, b"", revision=record.seq, headers=headers)
            self._marks.append((time.monotonic(), seq))
        for _ in range(2):
            if self._marks and time.monotonic() - self._marks[0][0] > _MARK_SECONDS:
                await self._records.remove(self._marks.popleft()[1])

    async def keys(self) -> list[str]:
        subjects = await self._records.subjects(self._prefix + "*")
        room = asyncio.Semaphore(_READS)

        async def name(subject: str) -> str | None:
            async with room:
                record = await self._records.get(subject)
            if record is None:
                return None
            if _GONE in record.headers:
                if time.time() - record.stored_at > _MARK_SECONDS:
                    await self._records.remove(record.seq)
                return None
            encoded = subject.removeprefix(self._prefix)
            # What was too long for a subject stands in the entry's header.
            return names.text_of_header(record.headers[_KEY]) if names.too_long(encoded) else names.text_of(encoded)

        return sorted(found for found in await asyncio.gather(*map(name, subjects)) if found is not None)
