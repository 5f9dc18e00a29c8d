"""The messages that sessions of a PostgreSQL database send by ``NOTIFY``, as events."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from argosy.errors import EventInvalid, EventTooLarge, SourceError
from argosy.lang import gojson
from argosy.sources import _postgres
from argosy.sources._base import SourceContext
from argosy.sources._http_body import raw_json
from argosy.sources._in_flight import InFlight
from argosy.sources._raw import tail

if TYPE_CHECKING:
    import asyncpg

    from argosy.sources.postgres import PostgresConfig, PostgresListen

_MOST_WAITING = 1000
_PING_SECONDS = 30.0
_DRAIN_SECONDS = 1.0

Message = tuple[str, str, int]
"""Channel, text, and the process of the session that sent it."""


class Listener:
    """The channels of one connection. While a thousand messages wait nothing more is read from the server, which keeps
    them in a queue of its own."""

    def __init__(
        self, ctx: SourceContext[PostgresConfig], connection: asyncpg.Connection, listen: PostgresListen
    ) -> None:
        self._ctx = ctx
        self._connection = connection
        self._listen = listen
        self._waiting: asyncio.Queue[Message | None] = asyncio.Queue()
        self._paused = False
        self._flight = InFlight()

    async def run(self) -> None:
        """Hear until cancelled, or until the connection is lost."""
        self._connection.add_termination_listener(lambda _: self._waiting.put_nowait(None))
        for channel in self._listen.channels:
            await self._connection.add_listener(channel, self._heard)
        channels = ", ".join(map(repr, self._listen.channels))
        self._ctx.listening(f"channels {channels} of {self._ctx.config.where}/{self._ctx.config.database}")
        pings = asyncio.create_task(self._ping())
        try:
            await self._flight.run(self._read())
        finally:
            pings.cancel()
            await asyncio.gather(pings, return_exceptions=True)

    def _heard(self, _: object, sender: int, channel: str, text: object) -> None:
        self._waiting.put_nowait((channel, str(text), sender))
        self._hold()

    def _hold(self) -> None:
        """Stop reading while too much waits. The driver has no public way to say so."""
        transport = self._connection._transport
        paused = self._waiting.qsize() >= _MOST_WAITING
        if paused != self._paused and not transport.is_closing():
            self._paused = paused
            (transport.pause_reading if paused else transport.resume_reading)()

    async def _ping(self) -> None:
        # A server that is gone without a word would be waited for for ever.
        while True:
            await asyncio.sleep(_PING_SECONDS)
            if not self._paused:
                try:
                    await self._connection.execute("SELECT 1", timeout=_postgres._ANSWER_SECONDS)
                except Exception:  # noqa: BLE001 - whatever it is, the connection is of no use any more
                    self._waiting.put_nowait(None)
                    return

    async def _read(self) -> None:
        try:
            while True:
                await self._flight.free()
                message = await self._waiting.get()
                self._hold()
                if message is None:
                    raise SourceError(f"the connection to {self._ctx.config.where} was lost")
                self._flight.begin(self._keep(message))
        except asyncio.CancelledError:
            # The server has handed these over, and keeps them no more.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DRAIN_SECONDS):
                    while not self._waiting.empty():
                        await self._flight.free()
                        if (message := self._waiting.get_nowait()) is not None:
                            self._flight.begin(self._keep(message))
            raise

    async def _keep(self, message: Message) -> None:
        channel, text, sender = message
        try:
            payload = raw_json(text.encode()) if self._listen.json_body else gojson.dumps(text)
            head = b'{"channel":%b,"payload":%b,"pid":%d' % (gojson.dumps(channel), payload, sender)
            await self._ctx.emit(head + tail(self._ctx.config.metadata) + b"}")
        except (EventInvalid, EventTooLarge) as error:
            self._ctx.refused(f"{error} (channel {channel!r})")
