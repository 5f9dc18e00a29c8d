"""Reads a stream backwards: the newest messages of a subject first, without a place of its own that would stay.

JetStream reads only forwards. So a passing consumer is made further and further back until enough lies behind it; the server's
word at its making says how much that is, and only the last such consumer is read.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from argosy.bus import _jetstream_passing as passing
from argosy.bus._jetstream_answers import Lost, numbers
from argosy.bus._jetstream_client import Message
from argosy.bus._jetstream_link import Link
from argosy.bus._jetstream_passing import Passing
from argosy.bus._jetstream_records import Record

_LEAST, _MOST = 64, 4096
"""How many messages are read at a time."""
_SILENT_SECONDS = 5.0


async def newest(link: Link, stream: str, subject: str, *, before: int = 0, about: int = 100) -> AsyncIterator[Record]:
    """Messages of ``stream`` on ``subject`` (may hold wildcards), newest first, those below number ``before`` (0: all).

    ``about`` is how many the caller thinks to take. Waits through a loss of the bus.
    """
    about = max(_LEAST, min(about, _MOST))
    end, step = before, 2 * about
    newer = await link.keep("count records", lambda: _count(link, stream, subject, before)) if before else 0
    while True:
        span = await link.keep(f"look at stream {stream!r}", lambda: _span(link, stream))
        end = min(end, span[1] + 1) if end else span[1] + 1
        if end <= span[0]:
            return
        start = max(span[0], end - step)
        count = await link.keep("count records", lambda start=start: _count(link, stream, subject, start))  # type: ignore[misc]
        if count - newer > _MOST:
            step = max(_LEAST, step // 4)
            continue
        if count > newer:
            found = await link.keep(
                f"read stream {stream!r}",
                lambda start=start, end=end: _read(link, stream, subject, start, end),  # type: ignore[misc]
            )
            for record in reversed(found):
                yield record
        if start <= span[0]:
            return
        # Where this queue is a small part of the stream, go back in larger steps.
        step = step if count - newer > about else min(step * 4, 1 << 40)
        end, newer = start, count


async def _span(link: Link, stream: str) -> tuple[int, int]:
    state = (await link.api(f"STREAM.INFO.{stream}"))["state"]
    return max(1, state["first_seq"]), state["last_seq"]  # an empty stream begins at 0


async def _count(link: Link, stream: str, subject: str, start: int) -> int:
    """How many messages there are from number ``start`` on. Raises Lost."""
    async with _consumer(link, stream, subject, start) as consumer:
        return consumer.waiting


@asynccontextmanager
async def _consumer(link: Link, stream: str, subject: str, start: int) -> AsyncIterator[Passing]:
    made = await passing.make(link, stream, [subject], passing.from_number(start))
    try:
        yield made
    finally:
        await passing.remove(link, stream, made.name)


async def _read(link: Link, stream: str, subject: str, start: int, end: int) -> list[Record]:
    """The messages from number ``start`` to below ``end``, in order. Raises Lost."""
    inbox = link.inbox()
    arrived: asyncio.Queue[Message] = asyncio.Queue()

    async def receive(message: Message) -> None:
        arrived.put_nowait(message)

    found: list[Record] = []
    unsubscribe = await link.subscribe(f"{inbox}.*", receive)
    try:
        async with _consumer(link, stream, subject, start) as consumer:
            body = json.dumps({"batch": min(consumer.waiting, _MOST), "no_wait": True}).encode()
            await link.send(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer.name}", body, f"{inbox}.1")
            while len(found) < consumer.waiting:
                try:
                    async with asyncio.timeout(_SILENT_SECONDS):
                        message = await arrived.get()
                except TimeoutError as error:
                    raise Lost(f"stream {stream!r} fell silent") from error
                if message.is_status and message.subject.startswith(inbox):
                    break  # there is no more
                at = numbers(message.reply)
                if at.stream >= end:
                    break
                found.append(Record(message.subject, at.stream, message.data, message.headers, at.nanoseconds / 1e9))
        return found
    finally:
        await unsubscribe()
