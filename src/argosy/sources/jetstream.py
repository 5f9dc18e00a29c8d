"""``jetstream`` (ours): each message of a stream of NATS JetStream becomes one event, and is acknowledged once the bus
holds the event.

The stream is somebody's; the durable consumer that reads it is ours, made where it is missing. At most 64 messages are
in ``emit`` at a time, and no more are asked for; while one waits for the bus, the server is told that it is worked on,
so that it is not delivered again. A message that cannot become an event is counted and ended (``+TERM``). One whose
event the bus refuses is given back.

Up to where the stream was acknowledged is also kept on the bus, so that a consumer which was deleted, or lost with a
stream in memory, is made again where it stood.

``_jetstream_consumer`` knows the server's API, ``_nats_protocol`` speaks with it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import hashlib
import re
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from argosy.errors import EventInvalid, EventTooLarge, SourceError
from argosy.lang import gojson
from argosy.manifests.fields import Duration
from argosy.sources._base import Source, SourceContext
from argosy.sources._http_body import raw_json
from argosy.sources._in_flight import InFlight
from argosy.sources._jetstream_consumer import Consumer, Floor, Wanted
from argosy.sources._nats_protocol import Message, Pong, Session
from argosy.sources._nats_server import NatsServerConfig, connected, is_subject
from argosy.sources._raw import Raw, Wrapped, tail

_FLOOR = "acknowledged"
_DRAIN_SECONDS = 1.0
_NAME = re.compile(r"[^\s.*>/\\]+")
_POLICIES = {
    "all": "all",
    "new": "new",
    "last": "last",
    "lastPerSubject": "last_per_subject",
    "sequence": "by_start_sequence",
    "time": "by_start_time",
}


class JetstreamConfig(NatsServerConfig):
    """One stream of a server, read by one durable consumer."""

    stream: str
    """The stream's name."""
    subjects: list[str] = Field(default_factory=list)
    """What of the stream is wanted; ``*`` stands for one token and ``>`` for all tokens at the end. Where there is none,
    all of it, or what the consumer that ``durable`` names was made for."""
    durable: str = ""
    """The consumer's name; by default made of the names of namespace, event source and event. One that exists is read on
    where it stands."""
    start: Literal["new", "all", "last", "lastPerSubject", "sequence", "time"] = "new"
    """Where a consumer begins that is made: with what comes from then on, with all that is there, with the last message
    (of each subject), or at ``startSequence`` or ``startTime``."""
    start_sequence: int | None = Field(None, ge=1)
    """The sequence number to begin with."""
    start_time: dt.datetime | None = None
    """With its zone, as ``2026-01-31T12:00:00Z``."""
    ack_wait: Duration | None = Field(None, ge=1)
    """How long the server waits for a sign of life before it delivers a message again; 30s if nobody says."""
    domain: str = ""
    """The domain of JetStream, where it is not the server's own."""
    json_body: bool = False
    """Whether the message is JSON, and stands as such in ``body``; else ``body`` is its bytes in base64."""

    @field_validator("stream", "durable", "domain")
    @classmethod
    def _one_word(cls, name: str, info: Any) -> str:
        if not _NAME.fullmatch(name) and (name or info.field_name == "stream"):
            raise ValueError("is no name: it is empty, or has blanks, '.', '*', '>', '/' or '\\'")
        return name

    @field_validator("subjects")
    @classmethod
    def _tokens(cls, subjects: list[str]) -> list[str]:
        for subject in subjects:
            if not is_subject(subject):
                raise ValueError(f"{subject!r} is no subject: tokens between dots without blanks, '>' alone at the end")
        return subjects

    @model_validator(mode="after")
    def _complete(self) -> JetstreamConfig:
        for word, given in (("sequence", self.start_sequence), ("time", self.start_time)):
            if (self.start == word) != (given is not None):
                raise ValueError(f"start: {word} and 'start{word.capitalize()}' belong together")
        if self.start_time is not None and self.start_time.tzinfo is None:
            raise ValueError("startTime needs a zone; write for example 2026-01-31T12:00:00Z")
        return self


class Place(NamedTuple):
    """Where a message stands in its stream: what the subject says that acknowledgements go to."""

    stream: str
    sequence: int
    nanoseconds: int
    """When the stream took it, since 1970."""


class Jetstream(Source[JetstreamConfig]):
    """Receives the messages of a stream. An event's id is made of the stream's name, the message's sequence number, and
    its time, which tells it from one of a later stream of that name.

    Its user publishes to ``$JS.API.STREAM.INFO.<stream>``, ``$JS.API.CONSUMER.INFO.<stream>.<durable>``,
    ``$JS.API.CONSUMER.MSG.NEXT.<stream>.<durable>`` and ``$JS.ACK.<stream>.<durable>.>``, subscribes to ``_INBOX.>``, and
    needs ``$JS.API.CONSUMER.CREATE.<stream>.>`` where the consumer is not there or must change.
    """

    kind: ClassVar[str] = "jetstream"
    config = JetstreamConfig
    exclusive: ClassVar[bool] = True
    acknowledges: ClassVar[bool] = True
    peer: ClassVar[str] = "real: NATS 2.15"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: jetstream
spec:
  jetstream:
    example:
      url: nats://nats.messaging:4222
      stream: ORDERS
      subjects:
        - orders.*.paid
      start: all
      jsonBody: true
      auth:
        credential:
          name: nats
          key: user.creds
"""

    @classmethod
    def wrap(cls, config: JetstreamConfig, raw: Raw) -> Wrapped:
        ours = {"subject": "", "sequence": "", "time": ""}
        headers = {name: [value] for name, value in raw.headers.items() if name not in ours}
        subject = raw.headers.get("subject", (config.subjects or [config.stream])[0])
        try:
            moment = dt.datetime.fromisoformat(raw.headers.get("time", "1970-01-01T00:00:00Z"))
            place = Place(config.stream, int(raw.headers.get("sequence", "1")), round(moment.timestamp() * 1e9))
        except ValueError as error:
            raise EventInvalid("'sequence' is a number and 'time' as 2026-01-31T12:00:00Z") from error
        data = _read(config, Message(subject, raw.body, headers), place)
        return Wrapped(data, _id(place) if {"sequence", "time"} <= raw.headers.keys() else None)

    async def run(self, ctx: SourceContext[JetstreamConfig]) -> None:
        session = await connected(ctx)
        try:
            consumer = Consumer(session, _wanted(ctx))
            kept = await ctx.bucket.get(_FLOOR)
            await consumer.settle(Floor.decode(kept.value) if kept is not None else None)
            if consumer.gives_up_after > 0:
                ctx.log.warning(
                    "the server gives a message up after %d deliveries, as the consumer's max_deliver says",
                    consumer.gives_up_after,
                    extra={"action": "jetstream.max_deliver"},
                )
            reader = _Reader(ctx, session, consumer)
            of = f" ({', '.join(ctx.config.subjects)})" if ctx.config.subjects else ""
            ctx.listening(f"stream {ctx.config.stream!r}{of} of {session.where}, as consumer {_durable(ctx)!r}")
            await reader.run()
        finally:
            await session.end()


class _Reader:
    """One run: messages from the consumer to ``emit``, and back what became of them."""

    def __init__(self, ctx: SourceContext[JetstreamConfig], session: Session, consumer: Consumer) -> None:
        self._ctx = ctx
        self._session = session
        self._consumer = consumer
        self._work = InFlight()
        self._floor: Floor | None = None
        self._waiting: dict[str, Message] = {}

    async def run(self) -> None:
        """Until cancelled."""
        signs = asyncio.create_task(self._give_signs())
        try:
            await self._work.run(self._read())
        finally:
            signs.cancel()
            await asyncio.gather(signs, return_exceptions=True)

    async def _read(self) -> None:
        self._consumer.ask_floor()
        try:
            while True:
                await self._work.free()
                self._work.begin(self._keep(await self._next()))
        except asyncio.CancelledError:
            # What the server has sent already is given back, or it would come again only after ackWait.
            with contextlib.suppress(TimeoutError, SourceError):
                async with asyncio.timeout(_DRAIN_SECONDS):
                    self._session.unsubscribe()
                    while isinstance(found := await self._session.next(), Message):
                        if self._consumer.is_message(found):
                            self._consumer.tell(found, b"-NAK")
            raise

    async def _next(self) -> Message:
        while True:
            self._consumer.pull(self._work.left)
            found = await self._session.next()
            if isinstance(found, Pong):
                self._consumer.ask_floor()
            elif self._consumer.is_message(found):
                return found
            elif (floor := self._consumer.floor(found)) is not None and floor != self._floor:
                await self._ctx.bucket.put(_FLOOR, floor.encode())
                self._floor = floor

    async def _keep(self, message: Message) -> None:
        self._waiting[message.reply] = message
        try:
            place = _place(message)
            await self._ctx.emit(_read(self._ctx.config, message, place), id=_id(place))
        except (EventInvalid, EventTooLarge) as error:
            at = f"stream {self._ctx.config.stream!r}, subject {message.subject!r}"
            self._ctx.refused(f"{error} ({at}); ended")
            self._consumer.tell(message, b"+TERM")
        except BaseException:
            # Given back at once, or it would come only after ackWait.
            self._consumer.tell(message, b"-NAK")
            raise
        else:
            self._consumer.tell(message, b"+ACK")
        finally:
            del self._waiting[message.reply]

    async def _give_signs(self) -> None:
        while True:
            await asyncio.sleep(self._consumer.ack_seconds / 3)
            for message in self._waiting.values():
                self._consumer.tell(message, b"+WPI")


def _wanted(ctx: SourceContext[JetstreamConfig]) -> Wanted:
    config = ctx.config
    start: dict[str, Any] = {"deliver_policy": _POLICIES[config.start]}
    if config.start_sequence is not None:
        start["opt_start_seq"] = config.start_sequence
    if config.start_time is not None:
        start["opt_start_time"] = config.start_time.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
    prefix = f"$JS.{config.domain}.API" if config.domain else "$JS.API"
    subjects = None if config.durable and not config.subjects else config.subjects
    if config.start == "lastPerSubject" and not config.subjects:
        subjects = [">"]  # the server wants one then
    return Wanted(config.stream, _durable(ctx), subjects, config.ack_wait, start, prefix)


def _durable(ctx: SourceContext[JetstreamConfig]) -> str:
    if ctx.config.durable:
        return ctx.config.durable
    names = (ctx.namespace, ctx.event_source, ctx.event_name)
    # Names of Kubernetes may have dots, of consumers not; the digest keeps apart what is then the same.
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", "-".join(names))
    return f"argosy-{plain}-{hashlib.sha256('/'.join(names).encode()).hexdigest()[:8]}"


def _place(message: Message) -> Place:
    """Raises EventInvalid where the server writes otherwise than it should."""
    words = message.reply.split(".")
    # $JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.<consumer sequence>.<time>.<pending>, or with a domain
    # and an account's hash behind ACK, and then one word more at the end.
    if len(words) >= 11:
        words = [*words[:2], *words[4:11]]
    try:
        return Place(words[2], int(words[5]), int(words[7]))
    except (ValueError, IndexError):
        raise EventInvalid("the message does not say where it stands in its stream") from None


def _read(config: JetstreamConfig, message: Message, place: Place) -> bytes:
    """The event's data as JSON text. Raises EventInvalid if the body is not what it should be."""
    body = raw_json(message.body) if config.json_body else b'"%b"' % base64.b64encode(message.body)
    head = gojson.dumps({"subject": message.subject}, sort_keys=False)[:-1]
    headers = b',"header":%b' % gojson.dumps(message.headers) if message.headers else b""
    seconds, fraction = divmod(place.nanoseconds, 1_000_000_000)
    moment = f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%dT%H:%M:%S}"
    moment += f".{fraction:09}".rstrip("0") + "Z" if fraction else "Z"
    where = gojson.dumps({"stream": place.stream, "sequence": place.sequence, "time": moment}, sort_keys=False)[1:-1]
    return b'%b,"body":%b%b,%b%b}' % (head, body, headers, where, tail(config.metadata))


def _id(place: Place) -> str:
    return f"{place.stream}/{place.sequence}/{place.nanoseconds}"
