"""``nsq``: each message of a channel becomes one event, and is finished once the bus holds the event.

The nsqds that have the topic are asked of ``nsqlookupd``, again every quarter of a minute, and each is read over a connection
of its own. At most 64 messages are in ``emit`` at a time; nsqd is told so (``RDY``), and keeps the rest. A message that
cannot become an event is finished and counted; one that the bus refused otherwise is given back.

An nsqd that is lost while others are there is a warning, and looked for again; with the last one the run ends.
``_nsq_protocol`` speaks with an nsqd.
"""

from __future__ import annotations

import asyncio
import base64
import random
import re
import ssl
from typing import Any, ClassVar

from pydantic import ConfigDict, Field, field_validator

from argosy.addresses import Address, host_and_port
from argosy.errors import EventInvalid, EventTooLarge, SourceError
from argosy.lang import gojson
from argosy.manifests.fields import OURS, Backoff, SecretKeySelector, TLSConfig
from argosy.sources._base import Source, SourceConfig, SourceContext
from argosy.sources._http_body import raw_json
from argosy.sources._http_client import HttpClient
from argosy.sources._in_flight import LIMIT, InFlight
from argosy.sources._nsq_protocol import LARGEST, Login, Message, Session
from argosy.sources._raw import Raw, Wrapped, known, tail
from argosy.sources._reaching import patiently

_LOOKUP_SECONDS = 15.0
_NAME = re.compile(r"[.a-zA-Z0-9_-]{1,64}(#ephemeral)?")


class NsqConfig(SourceConfig):
    """One channel of a topic."""

    model_config = ConfigDict(hide_input_in_errors=True)

    host_address: str
    """The HTTP address of nsqlookupd, ``host:4161``, which names the nsqds that have the topic; ``https://`` before it for
    TLS. Ours: ``nsqd://host:4150`` is one nsqd itself."""
    topic: str
    """The topic to read."""
    channel: str
    """Of all the readers of a channel, one receives each message. What is published while none is there waits in it."""
    connection_backoff: Backoff | None = None
    """Pauses between the tries to connect, before the failure is reported and the runtime's own pauses begin."""
    json_body: bool = False
    """Whether the message is JSON, and stands as such in ``body``; else ``body`` is its bytes in base64."""
    tls: TLSConfig | None = None
    """With this block the connections to the nsqds are encrypted."""
    auth_secret: SecretKeySelector | None = Field(default=None, json_schema_extra=OURS)
    """What nsqd shows to its authentication server (``nsqd --auth-http-address``)."""

    @field_validator("host_address")
    @classmethod
    def _readable(cls, address: str) -> str:
        _address(address)
        return address

    @field_validator("topic", "channel")
    @classmethod
    def _named(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(
                "is no name of NSQ: up to 64 letters, digits, '.', '_' and '-', with '#ephemeral' behind it where meant"
            )
        return name


class Nsq(Source[NsqConfig]):
    """Receives the messages of one channel. An event's id is the message's, together with its time: two nsqds whose
    ``--node-id`` is the same give the same id to different messages.
    """

    kind: ClassVar[str] = "nsq"
    config = NsqConfig
    exclusive: ClassVar[bool] = True
    acknowledges: ClassVar[bool] = True
    requires: ClassVar[tuple[str, ...]] = ("httpx2",)
    extra: ClassVar[str] = "http"
    peer: ClassVar[str] = "real: nsqd and nsqlookupd 1.3"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: nsq
spec:
  nsq:
    example:
      hostAddress: nsqlookupd.messaging:4161
      topic: orders
      channel: argosy
      jsonBody: true
"""

    @classmethod
    def wrap(cls, config: NsqConfig, raw: Raw) -> Wrapped:
        known(raw, {"timestamp": "", "nsqdAddress": "", "id": ""}, "property of an NSQ message")
        when = raw.headers.get("timestamp", "0")
        if not (when.isascii() and when.isdigit()):
            raise EventInvalid(f"timestamp {when!r} is no number of nanoseconds since 1970")
        message = Message(raw.headers.get("id", ""), int(when), raw.body)
        data = _read(config, message, raw.headers.get("nsqdAddress", "127.0.0.1:4150"))
        return Wrapped(data, _name(message) if message.id else None)

    async def run(self, ctx: SourceContext[NsqConfig]) -> None:
        await _Channel(ctx).read()


class _Channel:
    """One channel, read from each nsqd that has the topic."""

    def __init__(self, ctx: SourceContext[NsqConfig]) -> None:
        self._ctx = ctx
        self._config = ctx.config
        self._what = f"channel {ctx.config.channel!r} of topic {ctx.config.topic!r}"
        self._where = _address(ctx.config.host_address)
        self._work = InFlight()
        self._sessions: dict[Address, Session] = {}
        self._reading: set[asyncio.Task[None]] = set()
        self._alone: asyncio.Future[SourceError] = asyncio.get_running_loop().create_future()
        """The last connection was lost, with this reason."""

    async def read(self) -> None:
        """Until cancelled, or until no nsqd is left."""
        try:
            await self._work.run(self._follow())
        finally:
            await asyncio.gather(*(session.end() for session in self._sessions.values()))

    async def _follow(self) -> None:
        look = self._one if self._where.scheme == "nsqd" else self._all
        try:
            places = await patiently(self._ctx, self._config.connection_backoff, look)
            self._ctx.listening(f"{self._what} of {places}")
            while True:
                pause = _LOOKUP_SECONDS * (1 + 0.3 * random.random())  # readers that began together ask one by one
                if (await asyncio.wait({self._alone}, timeout=pause))[0]:
                    raise self._alone.result()
                if look == self._all:
                    await self._again()
        finally:
            for task in self._reading:
                task.cancel()
            await asyncio.gather(*self._reading, return_exceptions=True)

    async def _one(self) -> str:
        await self._open(self._where)
        return str(self._where)

    async def _all(self) -> str:
        """Connect to the nsqds that have the topic now. Raises SourceError if there are some, and none can be reached."""
        found = await self._lookup()
        failures = []
        for address in found:
            if address not in self._sessions:
                try:
                    await self._open(address)
                except SourceError as error:
                    failures.append(str(error))
        if failures and not self._sessions:
            raise SourceError("; ".join(failures))
        for failure in failures:
            self._ctx.log.warning("%s; it is tried again, the other nsqds are read", failure)
        return f"{len(self._sessions)} nsqd that nsqlookupd {self._where} names"

    async def _again(self) -> None:
        try:
            await self._all()
        except SourceError as error:
            if not self._sessions:
                raise
            self._ctx.log.warning("%s; the nsqds that are known are read on", error)

    async def _lookup(self) -> list[Address]:
        import httpx2

        url = f"{self._where}/lookup"
        tls = None
        if self._where.scheme == "https":
            from argosy.tls import client_context

            tls = client_context(self._config.tls, self._ctx.secret)
        try:
            async with _Lookup("'nsq'", tls) as client:
                return await client.producers(url, self._config.topic)
        except httpx2.ConnectError as error:
            raise SourceError(
                f"nothing listens at nsqlookupd {self._where}; is it running, is the port right?"
            ) from error
        except (httpx2.HTTPError, OSError) as error:
            raise SourceError(f"nsqlookupd {self._where} does not answer: {error or type(error).__name__}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise SourceError(
                f"{self._where} does not answer as nsqlookupd does; hostAddress wants its HTTP address (port 4161)"
            ) from error

    async def _open(self, address: Address) -> None:
        from argosy.tls import client_context

        ctx, config = self._ctx, self._config
        tls: ssl.SSLContext | None = client_context(config.tls, ctx.secret) if config.tls is not None else None
        name = f"argosy-{ctx.namespace}-{ctx.event_source}-{ctx.event_name}"
        session = await Session.begin(
            address, tls, Login(name, ctx.secret(config.auth_secret) if config.auth_secret else "")
        )
        # Known from here on, so that it is closed whatever happens.
        self._sessions[address] = session
        try:
            await session.subscribe(config.topic, config.channel)
        except SourceError:
            del self._sessions[address]
            await session.end()
            raise
        task = asyncio.create_task(self._take(session))
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)
        self._share()

    def _share(self) -> None:
        """Divide among the connections what may be under way."""
        for session in self._sessions.values():
            session.ready(LIMIT // len(self._sessions))

    async def _take(self, session: Session) -> None:
        try:
            while True:
                message = await session.next()
                await self._work.free()
                self._work.begin(self._keep(session, message))
        except SourceError as error:
            del self._sessions[session.where]
            await session.end()
            if self._sessions:
                self._ctx.log.warning("%s; it is looked for again, the other nsqds are read on", error)
                self._share()
            elif not self._alone.done():
                self._alone.set_result(error)

    async def _keep(self, session: Session, message: Message) -> None:
        try:
            await self._ctx.emit(_read(self._config, message, _place(session.where)), id=_name(message))
        except (EventInvalid, EventTooLarge) as error:
            self._ctx.refused(f"{error} (message {message.id} of topic {self._config.topic!r}); finished and dropped")
        except BaseException:
            session.requeue(message)
            raise
        session.finish(message)


class _Lookup(HttpClient):
    """A client of nsqlookupd."""

    async def producers(self, url: str, topic: str) -> list[Address]:
        """The nsqds that have the topic. Raises ValueError, KeyError or TypeError if the answer is not nsqlookupd's."""
        # Before version 1.0 the answer stood in an envelope, unless asked for without.
        headers = {"Accept": "application/vnd.nsq; version=1.0"}
        answer = await self._answer("GET", url, params={"topic": topic}, headers=headers)
        found: Any = answer.json()
        if answer.status_code == 404 and found["message"] == "TOPIC_NOT_FOUND":
            return []
        if answer.status_code != 200:
            raise ValueError(answer.status_code)
        return [Address("nsqd", str(each["broadcast_address"]), int(each["tcp_port"])) for each in found["producers"]]


def _read(config: NsqConfig, message: Message, place: str) -> bytes:
    """The event's data as JSON text, in upstream's shape. Raises EventInvalid if the body is not what it should be."""
    if message.cut:
        raise EventTooLarge(f"the message is larger than {LARGEST} bytes")
    body = raw_json(message.body) if config.json_body else b'"%b"' % base64.b64encode(message.body)
    rest = gojson.dumps({"timestamp": str(message.timestamp), "nsqdAddress": place}, sort_keys=False)
    return b'{"body":%b,%b%b}' % (body, rest[1:-1], tail(config.metadata))


def _name(message: Message) -> str:
    return f"{message.id}.{message.timestamp}"


def _place(where: Address) -> str:
    return str(where).partition("://")[2]


def _address(text: str) -> Address:
    """What ``hostAddress`` means. Raises ValueError."""
    scheme, found, rest = text.strip().partition("://")
    if not found:
        scheme, rest = "http", text.strip()
    if scheme not in ("http", "https", "nsqd"):
        raise ValueError(
            "is the address of nsqlookupd, host:4161, http:// or https://, or of one nsqd, nsqd://host:4150"
        )
    if scheme != "nsqd":
        rest = rest.rstrip("/")
    host, port = host_and_port(rest, 4150 if scheme == "nsqd" else 4161)
    return Address(scheme, host, port)
