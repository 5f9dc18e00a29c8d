"""Records by name, the newest message of each subject: buckets, positions, failure counts, outcomes, dead letters.

Everything is read from the stream's leader, never from a follower, so that a write is seen by the next read.
A write carries a message id of its own: sent again after a loss it is stored once, and a revision that "does
not fit" because our own first attempt was stored is recognised by that id.

A write takes away what stood there before by the server's rollup, never by the stream's limit for each subject: a server
that was killed reads its files anew, where a removal is written down unless a limit caused it. An older value would come
back once its successor is deleted.
"""

from __future__ import annotations

import secrets
from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from argosy.bus._jetstream_answers import Refused
from argosy.bus._jetstream_link import Link
from argosy.errors import BusError

STREAM = {"max_msgs_per_subject": 16, "allow_rollup_hdrs": True}
"""What a stream of records needs. The limit is not to be reached: a server that is killed between a write and its rollup
leaves one message more. ``nats kv`` wants it to have one.
"""
_NOT_FOUND = (10037, 10057)
_WRONG_REVISION = (10071, 10164)


class Conflict(BusError):
    """A record no longer stands at the revision that the writer saw."""


class Record(NamedTuple):
    """One message of a stream. ``stored_at`` is seconds since the epoch."""

    subject: str
    seq: int
    data: bytes
    headers: dict[str, str]
    stored_at: float


class Records:
    """Reads and writes on one stream. Every method but ``find`` waits through a loss of the bus."""

    def __init__(self, link: Link, stream: str) -> None:
        self._link = link
        self.stream = stream

    async def find(self, query: Mapping[str, Any]) -> Record | None:
        """The message that ``query`` (``last_by_subj`` or ``seq``) names. Raises Lost."""
        try:
            answer = await self._link.api(f"STREAM.MSG.GET.{self.stream}", dict(query))
        except Refused as refused:
            if refused.code in _NOT_FOUND:
                return None
            raise
        return _record(answer["message"])

    async def get(self, subject: str) -> Record | None:
        """The newest message on ``subject``."""
        return await self._link.keep("read a record", lambda: self.find({"last_by_subj": subject}))

    async def next(self, pattern: str, seq: int) -> Record | None:
        """The first message from number ``seq`` on whose subject fits ``pattern``."""
        return await self._link.keep("read a record", lambda: self.find({"next_by_subj": pattern, "seq": seq}))

    async def put(
        self,
        subject: str,
        data: bytes,
        *,
        revision: int | None = None,
        headers: Mapping[str, str] | None = None,
        unique: bool = True,
    ) -> int:
        """Store and return the revision; with ``revision`` only if the record stands at it, else raise
        Conflict.

        ``unique=False`` saves the server remembering a message id, where storing a value twice is harmless.
        """
        ours = secrets.token_urlsafe(12)
        sent = {**(headers or {}), "Nats-Rollup": "sub", **({"Nats-Msg-Id": ours} if unique else {})}
        if revision is not None:
            sent["Nats-Expected-Last-Subject-Sequence"] = str(revision)

        async def attempt() -> int:
            try:
                return (await self._link.store(subject, data, sent)).seq
            except Refused as refused:
                if refused.code not in _WRONG_REVISION:
                    raise
                now = await self.find({"last_by_subj": subject})
                if now and now.headers.get("Nats-Msg-Id") == ours:
                    return now.seq
                raise Conflict(f"expected revision {revision}, found {now.seq if now else 0}") from refused

        return await self._link.keep("write a record", attempt)

    async def delete(self, subject: str) -> bool:
        """Remove the record that stands on ``subject`` now, if any; one that is written meanwhile stays."""
        record = await self.get(subject)
        if record is not None:
            await self.remove(subject, record.seq)
        return record is not None

    async def remove(self, subject: str, revision: int) -> None:
        """Remove the record if it stands at ``revision``, and whatever may be left of it from before."""
        up_to = {"filter": subject, "seq": revision + 1}
        await self._link.keep("delete a record", lambda: self._link.api(f"STREAM.PURGE.{self.stream}", up_to))

    async def drop(self, seq: int) -> None:
        """Remove the message with this number, if it is there, from a stream that never holds two of a subject."""

        async def attempt() -> None:
            try:
                await self._link.api(f"STREAM.MSG.DELETE.{self.stream}", {"seq": seq, "no_erase": True})
            except Refused as refused:
                if refused.code not in _NOT_FOUND:
                    raise

        await self._link.keep("delete a record", attempt)

    async def subjects(self, pattern: str) -> list[str]:
        """All subjects under ``pattern`` that hold a message."""
        found: list[str] = []
        while True:
            offset = len(found)
            answer = await self._link.keep(
                "list records",
                lambda offset=offset: self._link.api(  # type: ignore[misc]
                    f"STREAM.INFO.{self.stream}", {"subjects_filter": pattern, "offset": offset}
                ),
            )
            page = answer["state"].get("subjects") or {}
            found.extend(page)
            if not page or len(found) >= answer.get("total", 0):
                return found


def _record(message: dict[str, Any]) -> Record:
    return Record(
        message["subject"],
        message["seq"],
        b64decode(message.get("data", "")),
        _headers(b64decode(message.get("hdrs", ""))),
        seconds(message["time"]),
    )


def seconds(moment: str) -> float:
    """The server's RFC 3339 text, which has nanoseconds, as seconds since the epoch."""
    return datetime.fromisoformat(moment).timestamp()


def _headers(raw: bytes) -> dict[str, str]:
    lines = raw.decode("utf-8", "replace").split("\r\n")[1:]
    return {name.strip(): value.strip() for name, found, value in (line.partition(":") for line in lines) if found}
