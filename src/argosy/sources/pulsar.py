"""``pulsar``: each message of some topics becomes one event, and is acknowledged once the bus holds the event.

At most 64 messages are in ``emit`` at a time; while they are, no more are taken, and the brokers send no more than 64
ahead. A message that cannot become an event is acknowledged and counted; one that the bus refused is delivered again.

The client library connects again by itself, with the credentials that it was given. So that new ones count and a person
hears of it, the run ends when the connection has been away for five seconds, or the brokers do not answer.
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from argosy.errors import EventInvalid, EventTooLarge, SourceError
from argosy.lang import gojson
from argosy.manifests.fields import OURS
from argosy.pulsar.access import PulsarAccess
from argosy.pulsar.client import Client
from argosy.pulsar.greeting import PulsarError
from argosy.sources._base import Source, SourceConfig, SourceContext
from argosy.sources._http_body import raw_json
from argosy.sources._in_flight import LIMIT, InFlight
from argosy.sources._raw import Raw, Wrapped, known, tail
from argosy.sources._reaching import patiently

_LOOK_SECONDS = 1.0
_LOST_SECONDS = 5.0
_PROBE_SECONDS = 15.0
_SILENCE_SECONDS = 20.0


class PulsarConfig(PulsarAccess, SourceConfig):
    """The topics of one subscription."""

    topics: list[str] = Field(default_factory=list)
    """Names such as ``orders`` or ``persistent://tenant/namespace/orders``."""
    topics_pattern: str = Field(default="", json_schema_extra=OURS)
    """Instead of ``topics``: a regular expression over the whole name, such as
    ``persistent://public/default/order-.*``. New topics are found within a minute."""
    type: Literal["exclusive", "shared", "failover", "key_shared"] = "exclusive"
    """Who may read by the same subscription, whose name is the event's: nobody else (``exclusive``), others in turn (``shared``), others
    if this one is gone (``failover``), others for other keys (``key_shared``). The last two are ours."""
    json_body: bool = False
    """Whether the message is JSON, and stands as such in ``body``; else ``body`` is its bytes in base64."""

    @field_validator("topics")
    @classmethod
    def _named(cls, topics: list[str]) -> list[str]:
        if not all(topics):
            raise ValueError("names an empty topic")
        return topics

    @model_validator(mode="after")
    def _either(self) -> PulsarConfig:
        if bool(self.topics) == bool(self.topics_pattern):
            raise ValueError("needs topics, or topicsPattern instead")
        return self


class Pulsar(Source[PulsarConfig]):
    """Receives the messages of one subscription, which begins with what is published after it was made. An event's id is the
    message's: ledger, entry, partition and place in the batch.
    """

    kind: ClassVar[str] = "pulsar"
    config = PulsarConfig
    exclusive: ClassVar[bool] = True
    acknowledges: ClassVar[bool] = True
    requires: ClassVar[tuple[str, ...]] = ("pulsar",)
    extra: ClassVar[str] = "pulsar"
    peer: ClassVar[str] = "real: Pulsar 4.0 standalone"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: pulsar
spec:
  pulsar:
    example:
      url: pulsar://pulsar-broker.messaging:6650
      topics:
        - persistent://public/default/orders
      type: shared
      jsonBody: true
      authTokenSecret:
        name: pulsar
        key: token
"""

    @classmethod
    def wrap(cls, config: PulsarConfig, raw: Raw) -> Wrapped:
        known(raw, {"key": "", "publishTime": "", "messageId": ""}, "property of a Pulsar message")
        when = raw.headers.get("publishTime", "0")
        if not (when.isascii() and when.isdigit()):
            raise EventInvalid(f"publishTime {when!r} is no number of milliseconds since 1970")
        data = _read(config, raw.headers.get("key", ""), int(when), raw.body)
        return Wrapped(data, raw.headers.get("messageId") or None)

    async def run(self, ctx: SourceContext[PulsarConfig]) -> None:
        subscription = await patiently(ctx, ctx.config.connection_backoff, lambda: _Subscription.begin(ctx))
        try:
            ctx.listening(f"subscription {ctx.event_name!r} to {subscription.what} of {subscription.client.where}")
            await subscription.receive()
        finally:
            await subscription.client.end()


class _Subscription:
    """A consumer that was let in."""

    def __init__(self, ctx: SourceContext[PulsarConfig], client: Client, consumer: Any, what: str) -> None:
        self._ctx = ctx
        self._config = ctx.config
        self.client = client
        self.what = what
        self._consumer = consumer
        self._work = InFlight()

    @classmethod
    async def begin(cls, ctx: SourceContext[PulsarConfig]) -> _Subscription:
        """Connect, by the secrets as they are now, and subscribe. Raises SourceError with the reason."""
        import pulsar

        config = ctx.config
        what = f"topics {config.topics_pattern!r}" if config.topics_pattern else f"topic {', '.join(config.topics)!r}"
        kinds = {
            "exclusive": pulsar.ConsumerType.Exclusive,
            "shared": pulsar.ConsumerType.Shared,
            "failover": pulsar.ConsumerType.Failover,
            "key_shared": pulsar.ConsumerType.KeyShared,
        }
        try:
            client = await Client.begin(config, ctx.secret, "'pulsar'")
            try:
                with client.sentences(what):
                    consumer = await client.raw.subscribe(
                        config.topics_pattern or (config.topics if len(config.topics) > 1 else config.topics[0]),
                        ctx.event_name,
                        consumer_type=kinds[config.type],
                        consumer_name=f"argosy {ctx.namespace}/{ctx.event_source}/{ctx.event_name}",
                        receiver_queue_size=LIMIT,
                        max_total_receiver_queue_size_across_partitions=LIMIT,
                        is_pattern_topic=bool(config.topics_pattern),
                        # An acknowledgement of one message of a batch counts at once.
                        batch_index_ack_enabled=True,
                    )
            except BaseException:
                await client.end()
                raise
        except PulsarError as error:
            raise SourceError(str(error)) from error
        return cls(ctx, client, consumer, what)

    async def receive(self) -> None:
        """Until cancelled, or until the connection is lost. Raises SourceError."""
        try:
            await self._work.run(self._watched())
        except PulsarError as error:
            raise SourceError(str(error)) from error

    async def _watched(self) -> None:
        tasks = {asyncio.create_task(self._take()), asyncio.create_task(self._watch())}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _take(self) -> None:
        while True:
            await self._work.free()
            with self.client.sentences(self.what):
                message = await self._consumer.receive()
            self._work.begin(self._keep(message))

    async def _keep(self, message: Any) -> None:
        try:
            data = _read(self._config, message.partition_key(), message.publish_timestamp(), message.data())
            await self._ctx.emit(data, id=_name(message.message_id()))
        except (EventInvalid, EventTooLarge) as error:
            self._ctx.refused(f"{error} (message of topic {message.topic_name()!r}); acknowledged and dropped")
        with self.client.sentences(self.what):
            await self._consumer.acknowledge(message)

    async def _watch(self) -> None:
        """Raise SourceError once the connection is away for good, or nobody answers."""
        loop = asyncio.get_running_loop()
        connected = asked = loop.time()
        topic = self._config.topics[0] if self._config.topics else "argosy"
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            now = loop.time()
            if self._consumer._consumer.is_connected():
                connected = now
            elif now - connected > _LOST_SECONDS:
                raise SourceError(f"the connection to {self.client.where} was lost")
            if now - asked > _PROBE_SECONDS:
                asked = now
                try:
                    async with asyncio.timeout(_SILENCE_SECONDS):
                        with self.client.sentences(self.what):
                            await self.client.raw.get_topic_partitions(topic)
                except TimeoutError as error:
                    raise SourceError(f"{self.client.where} has not answered for {_SILENCE_SECONDS:.0f} s") from error
                except PulsarError:
                    continue  # it is an answer; whether we are connected is asked above


def _read(config: PulsarConfig, key: str, published_ms: int, body: bytes) -> bytes:
    """The event's data as JSON text, in upstream's shape. Raises EventInvalid if the body is not what it should be."""
    text = raw_json(body) if config.json_body else b'"%b"' % base64.b64encode(body)
    head = gojson.dumps({"key": key, "publishTime": _go_time(published_ms)}, sort_keys=False)
    return b'%b,"body":%b%b}' % (head[:-1], text, tail(config.metadata))


def _go_time(milliseconds: int) -> str:
    """Milliseconds since 1970 as Go writes a time in UTC."""
    seconds, rest = divmod(milliseconds, 1000)
    fraction = f".{rest:03}".rstrip("0") if rest else ""
    return f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%d %H:%M:%S}{fraction} +0000 UTC"


def _name(id: Any) -> str:
    return f"{id.ledger_id()}:{id.entry_id()}:{id.partition()}:{id.batch_index()}"
