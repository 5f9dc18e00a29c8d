"""``redisStream``: each entry of a Redis stream becomes one event, and is acknowledged to its consumer group once the
bus holds the event.

The group is made where it is missing. Entries that were delivered and not acknowledged come first after every start;
then new ones, in batches of ``maxMsgCountPerRead`` a stream. The entries of a batch are in ``emit`` at the same time,
and the next batch is read when all of them are stored. An entry that cannot become an event is acknowledged and
counted.

The id of the last entry that was acknowledged is also kept on the bus, so that a group which is lost with its stream,
or was destroyed, is made again where it stood.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from pydantic import Field, field_validator

from argosy.errors import EventInvalid, EventTooLarge
from argosy.lang import gojson
from argosy.sources._base import Source, SourceContext
from argosy.sources._finishing import to_the_end
from argosy.sources._raw import Raw, Wrapped, known
from argosy.sources._redis import Link, RedisServer, Refusal, connected

_CONSUMER = "argo-events-worker"
"""Upstream's name, so that what its pod left pending is taken over."""
_BLOCK_MILLISECONDS = 2000


class RedisStreamConfig(RedisServer):
    """Streams of a server, read by one consumer group."""

    streams: list[str] = Field(min_length=1)
    """The streams, by their names. One that is not there is made, empty, with its group."""
    max_msg_count_per_read: int = Field(default=0, ge=0)
    """How many entries of each stream are read, and in ``emit``, at a time; 0 means 10."""
    consumer_group: str = ""
    """The group that reads; empty means ``argo-events-cg``. A new group begins with what is added after it was
    made."""

    @field_validator("streams")
    @classmethod
    def _named(cls, streams: list[str]) -> list[str]:
        if "" in streams:
            raise ValueError("has an empty name")
        return streams

    @property
    def group(self) -> str:
        """The group's name."""
        return self.consumer_group or "argo-events-cg"


class Entry(NamedTuple):
    """One entry as the group delivers it; ``values`` is None for one that was deleted meanwhile."""

    stream: str
    id: str
    values: dict[str, str] | None


class RedisStream(Source[RedisStreamConfig]):
    """Receives the entries of streams. An event's id is made of the stream's name and the entry's id.

    ``values`` is also a function of filter expressions, so a filter reads a field as
    ``sprig.get(get($env, 'values'), 'field')``.
    """

    kind: ClassVar[str] = "redisStream"
    config = RedisStreamConfig
    exclusive: ClassVar[bool] = True
    acknowledges: ClassVar[bool] = True
    requires: ClassVar[tuple[str, ...]] = ("redis",)
    extra: ClassVar[str] = "redis"
    peer: ClassVar[str] = "real: Redis"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: redis-stream
spec:
  redisStream:
    example:
      hostAddress: redis.caching:6379
      password:
        name: redis
        key: password
      maxMsgCountPerRead: 50
      streams:
        - orders
"""

    @classmethod
    def wrap(cls, config: RedisStreamConfig, raw: Raw) -> Wrapped:
        known(raw, {"stream": "", "messageId": ""}, "property of an entry of a stream")
        values = gojson.loads(raw.body) if gojson.valid(raw.body) else None
        if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
            raise EventInvalid("an entry of a stream is written down as a JSON object of texts, its fields")
        stream = raw.headers.get("stream", config.streams[0])
        entry = Entry(stream, raw.headers.get("messageId", "0-1"), values)
        return Wrapped(_read(config, entry), _name(entry) if "messageId" in raw.headers else None)

    async def run(self, ctx: SourceContext[RedisStreamConfig]) -> None:
        streams = list(dict.fromkeys(ctx.config.streams))
        async with connected(ctx) as link:
            reader = _Reader(ctx, link)
            for stream in streams:
                await reader.join(stream)
            names = ", ".join(map(repr, streams))
            ctx.listening(f"streams {names} of {link.where}, as group {ctx.config.group!r}")
            for stream in streams:
                await reader.finish_pending(stream)
            while True:
                await reader.read(streams, ">")


class _Reader:
    """One consumer of the group."""

    def __init__(self, ctx: SourceContext[RedisStreamConfig], link: Link) -> None:
        self._ctx = ctx
        self._link = link
        self._group = ctx.config.group

    async def join(self, stream: str) -> None:
        """Make the group of a stream where it is missing."""
        start = await self._start(stream)
        try:
            await self._link.ask("XGROUP", "CREATE", stream, self._group, start, "MKSTREAM")
        except Refusal as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def _start(self, stream: str) -> str:
        """Where a group that is made now begins: at the end the first time, later where it stood."""
        cursor = await self._ctx.bucket.get(stream)
        if cursor is None:
            return "$"
        try:
            told = await self._link.ask("XINFO", "STREAM", stream)
        except Refusal as error:
            if "no such key" not in str(error):
                raise
            return "0"
        about = dict(zip(told[::2], told[1::2], strict=False))
        # A stream whose newest id is older than the last one that we have seen is another stream of that name. One
        # whose only entry has that very id, because it was made anew within its millisecond, cannot be told from the
        # old one: the entry would be the same event for the bus, too.
        stood = cursor.value.decode()
        return stood if _order(stood) <= _order(_text(about[b"last-generated-id"])) else "0"

    async def finish_pending(self, stream: str) -> None:
        """Read again what was delivered to us and not acknowledged."""
        after = "0-0"
        while entries := await self.read([stream], after):
            after = entries[-1].id

    async def read(self, streams: Sequence[str], after: str) -> list[Entry]:
        """Read one batch, store it and acknowledge it; what it was."""
        count = self._ctx.config.max_msg_count_per_read or 10
        answer = await self._link.ask(
            *("XREADGROUP", "GROUP", self._group, _CONSUMER, "COUNT", count, "BLOCK", _BLOCK_MILLISECONDS),
            *("STREAMS", *streams, *(after for _ in streams)),
        )
        entries = [_entry(_text(stream), found) for stream, batch in answer or () for found in batch]
        if entries:
            await to_the_end(self._keep_all(entries))
        return entries

    async def _keep_all(self, entries: Sequence[Entry]) -> None:
        results = await asyncio.gather(*map(self._keep, entries), return_exceptions=True)
        failures = [result for result in results if result is not None]
        kept: dict[str, list[str]] = {}
        for entry, result in zip(entries, results, strict=True):
            if result is None:
                kept.setdefault(entry.stream, []).append(entry.id)
        for stream, ids in kept.items():
            await self._link.ask("XACK", stream, self._group, *ids)
            if not failures:
                await self._ctx.bucket.put(stream, max(ids, key=_order).encode())
        if failures:
            # What failed stays pending, and is read first by the next run.
            raise failures[0]

    async def _keep(self, entry: Entry) -> None:
        where = f"entry {entry.id} of stream {entry.stream!r}"
        if entry.values is None:
            self._ctx.refused(f"{where} was deleted before it could be read")
            return
        try:
            await self._ctx.emit(_read(self._ctx.config, entry), id=_name(entry))
        except (EventInvalid, EventTooLarge) as error:
            self._ctx.refused(f"{error} ({where}); acknowledged and left in the stream")


def _entry(stream: str, found: Sequence[Any]) -> Entry:
    id_, fields = found
    if fields is None:
        return Entry(stream, _text(id_), None)
    return Entry(
        stream, _text(id_), {_text(key): _text(value) for key, value in zip(fields[::2], fields[1::2], strict=True)}
    )


def _read(config: RedisStreamConfig, entry: Entry) -> bytes:
    """The event's data as JSON text, in upstream's shape."""
    data: dict[str, Any] = {
        "stream": entry.stream,
        "message_id": entry.id,
        "values": dict(sorted((entry.values or {}).items())),
    }
    if config.metadata:
        data["metadata"] = dict(sorted(config.metadata.items()))
    return gojson.dumps(data, sort_keys=False)


def _name(entry: Entry) -> str:
    return f"{entry.stream}/{entry.id}"


def _text(value: bytes | str) -> str:
    # Bytes that are no UTF-8 become U+FFFD in Go's JSON, too.
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _order(id_: str) -> tuple[int, int]:
    milliseconds, _, number = id_.partition("-")
    return int(milliseconds), int(number or 0)
