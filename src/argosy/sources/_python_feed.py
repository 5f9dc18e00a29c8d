"""What a Python function that is an event source is given: ``Feed`` in the event loop, ``ThreadFeed`` in a thread.

This is the whole of what such a function may use of Argosy; the class ``Message`` is the third.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any, TypeVar

from argosy.errors import ArgosyError, EventInvalid, EventTooLarge, LangError, SourceError
from argosy.lang import gojson
from argosy.manifests.fields import Json, SecretKeySelector
from argosy.sources._base import SourceContext
from argosy.sources._in_flight import LIMIT

T = TypeVar("T")
KEEP: Any = object()
_CURSOR = "cursor"


class Stopped(ArgosyError):
    """The source was told to end. Raised in a thread, so that the function comes out of its loops; do not catch it."""


@dataclass(frozen=True)
class Message:
    """One event to be. ``id`` is what its origin calls it: with it, a repetition is stored once. ``cursor`` is remembered
    once the event is kept.
    """

    data: Json
    id: str | None = None
    cursor: Json = KEEP


class Feed:
    """What an ``async def`` function or generator is given first.

    Events are yielded (a JSON value, or a ``Message``), or handed to ``emit``. The line after either runs once the event
    is kept, so there the origin may be told.
    """

    def __init__(self, ctx: SourceContext[Any], secrets: dict[str, SecretKeySelector], end: bytes) -> None:
        self._ctx = ctx
        self._secrets = secrets
        self._end = end
        self._slots = asyncio.Semaphore(LIMIT)
        self._under_way: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._told: set[str] = set()
        self.name = f"{ctx.event_source}/{ctx.event_name}"
        """The names of event source and event."""
        self.log: logging.LoggerAdapter[logging.Logger] = ctx.log
        """Lines carry the event's names."""
        self.cursor: Json = None
        """What was remembered last; None at first."""

    async def emit(self, data: Json | Message, *, id: str | None = None, cursor: Json = KEEP) -> None:
        """Return once the event is kept. Safe to call concurrently; 64 wait at a time."""
        message = data if isinstance(data, Message) else Message(data, id, cursor)
        async with self._slots:
            if self._stopping:
                raise asyncio.CancelledError("the source was told to end")
            task = asyncio.create_task(self._keep(message))
            self._under_way.add(task)
            task.add_done_callback(self._settled)
            await asyncio.shield(task)

    async def remember(self, cursor: Json) -> None:
        """Keep a JSON value on the bus; the next start finds it as ``cursor``."""
        await self._ctx.bucket.put(_CURSOR, json.dumps(cursor).encode())
        self.cursor = cursor

    def secret(self, name: str) -> str:
        """The text of the Secret's key that the manifest calls ``name``, as it is now."""
        try:
            selector = self._secrets[name]
        except KeyError:
            raise SourceError(f"the manifest has no secret {name!r} for the handler; add it to 'secrets'") from None
        text = self._ctx.secret(selector)
        self._told.add(text)
        return text

    def refuse(self, reason: str) -> None:
        """Count something that cannot become an event, with the reason in a sentence."""
        self._ctx.refused(reason)

    async def _start(self) -> None:
        kept = await self._ctx.bucket.get(_CURSOR)
        self.cursor = json.loads(kept.value) if kept is not None else None

    async def _drain(self) -> bool:
        """Begin no more, and return once what is under way is kept; whether there was any. If cancelled, that is broken
        off.
        """
        self._stopping = True
        busy = bool(self._under_way)
        try:
            while self._under_way:
                await asyncio.wait(self._under_way)
                # A task leaves the set by a callback, a turn of the loop later.
                await asyncio.sleep(0)
        finally:
            for task in self._under_way:
                task.cancel()
        return busy

    async def _keep(self, message: Message) -> None:
        try:
            body = gojson.dumps(message.data, sort_keys=False)
            await self._ctx.emit(b'{"body":%b%b}' % (body, self._end), id=message.id)
        except (EventInvalid, EventTooLarge) as error:
            self._ctx.refused(str(error))
        except LangError as error:
            self._ctx.refused(f"what the handler gave ({type(message.data).__name__}) is no JSON value: {error}")
        if message.cursor is not KEEP:
            await self.remember(message.cursor)

    def _settled(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits for it has it, too

    def _blotted(self, text: str) -> str:
        for secret in sorted(filter(None, self._told), key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


class ThreadFeed:
    """What a plain function or generator is given first: as ``Feed``, for the thread that it runs in."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._loop = asyncio.get_running_loop()
        self._end = threading.Event()
        self.name = feed.name
        self.log = feed.log

    @property
    def cursor(self) -> Json:
        """What was remembered last; None at first."""
        return self._feed.cursor

    @property
    def stopping(self) -> bool:
        """Whether the source was told to end; return soon then."""
        return self._end.is_set()

    def emit(self, data: Json | Message, *, id: str | None = None, cursor: Json = KEEP) -> None:
        """Return once the event is kept. Raises ``Stopped`` once the source was told to end."""
        self._call(lambda: self._feed.emit(data, id=id, cursor=cursor))

    def remember(self, cursor: Json) -> None:
        """Keep a JSON value on the bus; the next start finds it as ``cursor``."""
        self._call(lambda: self._feed.remember(cursor))

    def secret(self, name: str) -> str:
        """The text of the Secret's key that the manifest calls ``name``, as it is now."""
        return self._feed.secret(name)

    def refuse(self, reason: str) -> None:
        """Count something that cannot become an event, with the reason in a sentence."""
        self._loop.call_soon_threadsafe(self._feed.refuse, reason)

    def sleep(self, seconds: float) -> None:
        """Wait. Raises ``Stopped`` at once when the source is told to end; ``time.sleep`` would not."""
        if self._end.wait(seconds):
            raise Stopped("the source was told to end")

    def _stop(self) -> None:
        self._end.set()

    def _call(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if self._end.is_set():
            raise Stopped("the source was told to end")
        future = asyncio.run_coroutine_threadsafe(make(), self._loop)
        try:
            return future.result()
        except CancelledError:
            raise Stopped("the source was told to end") from None
