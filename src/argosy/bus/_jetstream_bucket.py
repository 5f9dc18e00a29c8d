"""Buckets on JetStream: all of a bus share one key/value stream, so that a thousand buckets cost what one
costs.

``nats kv get argosy b.<bucket>.<key>`` shows an entry. Deleting removes the message itself, without the
tombstone of the key/value convention, so that keys that come and go leave nothing behind.
"""

from __future__ import annotations

import asyncio

from argosy.bus import _jetstream_names as names
from argosy.bus._base import Bucket, Entry
from argosy.bus._jetstream_records import Conflict, Records
from argosy.errors import BusError, EventTooLarge

KV = "argosy"
STREAM = f"KV_{KV}"
_KEY = "Argosy-Key"


class JetStreamBucket(Bucket):
    """One bucket of a JetStreamBus."""

    def __init__(self, records: Records, name: str) -> None:
        self._records = records
        self._name = name
        self._prefix = f"$KV.{KV}.b.{names.key(name)}."

    async def get(self, key: str) -> Entry | None:
        record = await self._records.get(self._prefix + names.key(key))
        return Entry(record.data, record.seq) if record else None

    async def put(self, key: str, value: bytes, *, revision: int | None = None) -> int:
        encoded = names.key(key)
        headers = {_KEY: names.header(key)} if names.too_long(encoded) else None
        try:
            return await self._records.put(self._prefix + encoded, value, revision=revision, headers=headers)
        except Conflict as conflict:
            raise BusError(
                f"key {key!r} of bucket {self._name!r} was written by someone else: {conflict}"
            ) from conflict
        except EventTooLarge as error:
            raise EventTooLarge(f"the value of key {key!r} of bucket {self._name!r} is too large: {error}") from error

    async def delete(self, key: str) -> None:
        await self._records.delete(self._prefix + names.key(key))

    async def keys(self) -> list[str]:
        subjects = await self._records.subjects(self._prefix + "*")
        encoded = [subject.removeprefix(self._prefix) for subject in subjects]
        # What was too long for a subject stands in the entry's header.
        long = [each for each in encoded if names.too_long(each)]
        records = await asyncio.gather(*(self._records.get(self._prefix + each) for each in long))
        spelled = [names.text_of_header(record.headers[_KEY]) for record in records if record]
        return sorted([names.text_of(each) for each in encoded if not names.too_long(each)] + spelled)
