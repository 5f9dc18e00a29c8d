"""The line to a NATS server that never gives up: connects, notices a loss, connects again, and asks again.

nats-py's own reconnecting is off: it closes for good on some errors of the server, sends stale requests after
a loss, and pauses evenly. Here one task watches the client; when it is gone, everything under way fails at
once with ``Lost``, and a new client is made with growing pauses of at most two seconds. ``keep`` repeats an
attempt until it is answered, so that who calls it waits through a loss. What a request means, and that
repeating it is harmless, is left to the callers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from argosy.bus._jetstream_answers import (
    ApiError,
    Lost,
    NoAnswer,
    NoResponder,
    Refused,
    Stored,
    decode_json,
    decode_stored,
    encode_json,
    header_size,
)
from argosy.bus._jetstream_client import Message, Receive, new_client, options
from argosy.bus._jetstream_settings import Connection, server_urls, shown_url
from argosy.errors import BusError, BusUnavailable, EventTooLarge

log = logging.getLogger("argosy.bus.jetstream")

T = TypeVar("T")
LONGEST_PAUSE_SECONDS = 2.0
_ANSWER_SECONDS = 5.0
_LOOK_SECONDS = 0.25


@dataclass(slots=True)
class _Waiting:
    future: asyncio.Future[Message]
    until: float


class Link:
    """A connection to one server or cluster, made anew for ever once ``open`` has succeeded."""

    def __init__(
        self, url: str, connection: Connection, *, name: str, anew: Callable[[], Connection] | None = None
    ) -> None:
        """``anew`` says, before every connection, what lets us in by then."""
        self.urls = server_urls(url)
        self.shown = shown_url(url)
        self.epoch = 0
        """Counts connections; another number than before means that there was a loss in between."""
        self.info: dict[str, Any] = {}
        """What the server said of itself when the connection was made."""
        self.changed: set[Callable[[], None]] = set()
        """Called without arguments whenever the connection is lost or back."""
        self.mend: Callable[[], Awaitable[None]] | None = None
        """Called by ``keep`` when nobody listens: makes streams that are missing."""
        self._connection = connection
        self._anew = anew
        self._name = name
        self._next_url = 0
        self._client: Any = None
        self._up = asyncio.Event()
        self._down = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._waiting: dict[str, _Waiting] = {}
        self._count = 0
        self._inbox = ""
        self._trouble = ""

    def let_in_with(self, connection: Connection) -> None:
        """Use these credentials from the next connection on."""
        self._connection = connection

    @property
    def up(self) -> bool:
        """Whether there is a connection now, as far as is known."""
        return self._up.is_set() and not self._closing

    @property
    def clustered(self) -> bool:
        """Whether the server is part of a cluster."""
        return bool(self.info.get("cluster"))

    @property
    def largest(self) -> int:
        """How many bytes a message may have, headers included."""
        return int(self.info.get("max_payload", 1024 * 1024))

    async def open(self, seconds: float) -> None:
        """Connect, or raise BusUnavailable after ``seconds``, BusError if the server refuses us."""
        pause = 0.05
        self._closing = False
        self._up.clear()
        try:
            async with asyncio.timeout(seconds):
                while not await self._connect(first=True):
                    await asyncio.sleep(pause)
                    pause = min(LONGEST_PAUSE_SECONDS, pause * 2)
        except TimeoutError as error:
            raise BusUnavailable(
                f"no NATS server answered at {self.shown} within {seconds:g} s"
                f"{': ' + self._trouble if self._trouble else ''}; is it running, and is the address right?"
            ) from error
        self._task = asyncio.create_task(self._watch(), name="argosy-nats-link")

    async def close(self) -> None:
        """Close the connection; whoever still waits is told."""
        self._closing = True
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._fail("the bus is closed")
        await self._drop(self._client)
        self._client = None
        self._up.set()  # wakes those who wait for the connection; they see that it is closed
        self._tell()

    async def wait_up(self) -> None:
        """Return once there is a connection. Raises BusUnavailable when the link was closed meanwhile."""
        await self._up.wait()
        if self._closing:
            raise BusUnavailable("the bus is closed")

    async def keep(self, what: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """The result of ``attempt``, made again while it raises Lost. ``what`` completes "cannot …"."""
        pause, told = 0.02, False
        while True:
            await self.wait_up()
            try:
                return await attempt()
            except Lost as lost:
                if self._closing:
                    raise BusUnavailable("the bus is closed") from lost
                if self.up and pause >= 1.0 and not told:
                    told = True
                    log.warning(
                        "cannot %s although %s is connected: %s; trying again", what, self.shown, lost,
                        extra={"action": "bus_waits"},
                    )  # fmt: skip
                if isinstance(lost, NoResponder) and self.mend:
                    with contextlib.suppress(BusError):
                        await self.mend()
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE_SECONDS, pause * 2)

    async def request(
        self,
        subject: str,
        payload: bytes = b"",
        headers: dict[str, str] | None = None,
        *,
        seconds: float = _ANSWER_SECONDS,
    ) -> Message:
        """Send and wait for the reply. Raises Lost after ``seconds`` or when the connection goes."""
        client = self._client
        if client is None or not self.up:
            raise Lost("there is no connection")
        size = len(payload) + (header_size(headers) if headers else 0)
        if size > self.largest:
            raise EventTooLarge(f"{size} bytes are more than the {self.largest} that the bus accepts")
        self._count += 1
        token = f"{self._count:x}"
        loop = asyncio.get_running_loop()
        waiting = _Waiting(loop.create_future(), loop.time() + seconds)
        self._waiting[token] = waiting
        try:
            await self._publish(client, subject, payload, self._inbox + token, headers)
            reply = await waiting.future
        finally:
            self._waiting.pop(token, None)
        if reply.is_status and reply.headers.get("Status") == "503":
            raise NoResponder(f"nobody listens at {subject.split('.')[0]!r}")
        return reply

    async def send(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Send without waiting for anything. Raises Lost when there is no connection."""
        client = self._client
        if client is None or not self.up:
            raise Lost("there is no connection")
        await self._publish(client, subject, payload, reply, None)

    async def api(self, verb: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask JetStream. Raises Refused with its error, Lost when it cannot answer now."""
        reply = await self.request(f"$JS.API.{verb}", encode_json(body) if body is not None else b"")
        answer = decode_json(reply.data)
        if error := answer.get("error"):
            self._refuse(ApiError(error.get("code", 0), error.get("err_code", 0), error.get("description", "")))
        return answer

    async def store(self, subject: str, payload: bytes, headers: dict[str, str]) -> Stored:
        """Publish into a stream and return its word. Raises Refused, EventTooLarge or Lost."""
        reply = await self.request(subject, payload, headers)
        try:
            stored = decode_stored(reply.data)
        except msgspec.DecodeError as error:
            raise Lost("something that is not a stream answered") from error
        if stored.error:
            self._refuse(stored.error)
        return stored

    async def subscribe(self, subject: str, receive: Receive) -> Callable[[], Awaitable[None]]:
        """Call ``receive`` with every message, on the present connection only. Returns what ends it (never
        raises).
        """
        client = self._client
        if client is None or not self.up:
            raise Lost("there is no connection")
        try:
            unsubscribe = client.receive(subject, receive)
        except ConnectionError as error:
            raise Lost("the connection broke") from error

        async def end() -> None:
            with contextlib.suppress(ConnectionError):  # nothing is left to end
                unsubscribe()

        return end

    async def flush(self) -> None:
        """Return when everything the server sent before has been received. Raises Lost."""
        client = self._client
        if client is None or not self.up:
            raise Lost("there is no connection")
        try:
            await client.flush(timeout=2)
        except Exception as error:
            raise Lost("no answer to a ping") from error

    def inbox(self) -> str:
        """A subject that nobody else uses."""
        return f"_INBOX.{secrets.token_urlsafe(16)}"

    async def _publish(
        self, client: Any, subject: str, payload: bytes, reply: str, headers: dict[str, str] | None
    ) -> None:
        try:
            client.send(subject, payload, reply, headers)
        except ConnectionError as error:
            raise Lost("the connection broke") from error

    def _refuse(self, error: ApiError) -> None:
        # 503 says "not now" (no leader, no JetStream yet), except for 10077, where a limit of a stream
        # refuses a message.
        if error.code == 503 and error.err_code not in (10039, 10077):
            raise Lost(error.description)
        raise Refused(error.description, error.err_code)

    # ------------------------------------------------------------------ connecting

    async def _connect(self, *, first: bool = False) -> bool:
        url = self.urls[self._next_url % len(self.urls)]
        self._next_url += 1
        client = new_client()
        try:
            if self._anew is not None:
                self._connection = self._anew()
            await client.connect(**self._options(url, client))
            inbox = self.inbox() + "."
            client.receive(inbox + "*", self._on_reply)
            await client.flush(timeout=2)
        except asyncio.CancelledError:
            await self._drop(client)
            raise
        except Exception as error:
            await self._drop(client)
            # nats-py reports "no servers" where the reason went to its callback only.
            said = self._trouble if "no servers" in str(error) else str(error).removeprefix("nats: ").strip("'")
            self._trouble = said or type(error).__name__
            if first and "authorization" in self._trouble.lower():
                raise BusError(
                    f"the NATS server at {self.shown} does not accept our credentials; check them"
                ) from error
            if isinstance(error, ImportError):
                raise BusError(
                    "credentials files and nkeys need a library that is not installed: pip install 'argosy[nkeys]'"
                ) from error
            return False
        self.info = dict(client._server_info)
        for found in client.discovered_servers:
            if (address := found.geturl()) not in self.urls and len(self.urls) < 32:
                self.urls.append(address)
        self._client, self._inbox = client, inbox
        self._down.clear()
        self.epoch += 1
        self._up.set()
        return True

    def _options(self, url: str, client: Any) -> dict[str, Any]:
        async def trouble(error: Exception) -> None:
            self._trouble = str(error).removeprefix("nats: ") or type(error).__name__

        async def gone() -> None:
            if client is self._client:
                self._down.set()

        callbacks = {"error_cb": trouble, "disconnected_cb": gone, "closed_cb": gone}
        return {"servers": [url], "name": self._name, **options(self._connection), **callbacks}

    async def _drop(self, client: Any) -> None:
        if client is None:
            return
        # A client that is broken already may fail while closing; it is thrown away either way.
        with contextlib.suppress(Exception):
            async with asyncio.timeout(2):
                await client.close()
        with contextlib.suppress(Exception):
            if client._transport is not None:
                client._transport.close()
        # Closing breaks off half-way when the transport is gone; what is left of it would be reported by
        # asyncio when it is collected.
        for subscription in list(getattr(client, "_subs", {}).values()):
            if task := getattr(subscription, "_wait_for_msgs_task", None):
                task.cancel()
        for name in ("_reading_task", "_flusher_task", "_ping_interval_task"):
            if task := getattr(client, name, None):
                task.add_done_callback(_looked_at)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._down.wait()
            client = self._client
            now = loop.time()
            for waiting in [waiting for waiting in self._waiting.values() if waiting.until < now]:
                if not waiting.future.done():
                    waiting.future.set_exception(NoAnswer("no answer in time"))
            if not self._down.is_set() and client.is_connected and not client.is_closed:
                continue
            self._up.clear()
            lost_at = now
            log.warning(
                "lost the bus at %s%s; waiting until it is "
                "back", self.shown, f" ({self._trouble})" if self._trouble else "",
                extra={"action": "bus_lost"},
            )  # fmt: skip
            self._fail("the connection was lost")
            self._tell()
            await self._drop(client)
            pause = 0.05
            while not await self._connect():
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE_SECONDS, pause * 2)
            self._trouble = ""
            log.warning(
                "the bus at %s is back after %.1f s",
                self.shown,
                loop.time() - lost_at,
                extra={"action": "bus_back"},
            )
            self._tell()

    def _fail(self, why: str) -> None:
        for waiting in self._waiting.values():
            if not waiting.future.done():
                waiting.future.set_exception(Lost(why))

    def _tell(self) -> None:
        for call in list(self.changed):
            call()

    async def _on_reply(self, message: Message) -> None:
        waiting = self._waiting.get(message.subject.rpartition(".")[2])
        if waiting and not waiting.future.done():
            waiting.future.set_result(message)


def _looked_at(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()
