"""``kafka``: each message of a topic becomes one event, and is called read once the bus holds the event.

A consumer group shares the topic's partitions between its readers, and Kafka keeps how far the group has read. Without a
group one partition is read, and the event source's own bucket keeps how far. In both cases reading goes on where it
stopped; only the very first start begins with the next message (or the oldest, with ``oldest``). At most 64 messages are in
``emit`` at a time, begun in order; while they are, nothing more is fetched.

A message that cannot become an event is counted and passed over. One whose schema cannot be asked for now is not: the
source starts anew and tries again. ``_kafka_reader`` knows what is under way, ``argosy.kafka`` the cluster.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
from typing import Any, ClassVar, NamedTuple

from argosy.aws.client import Client
from argosy.aws.credentials import Chain, Named
from argosy.errors import EventInvalid, EventTooLarge, SourceError
from argosy.kafka.cluster import Cluster, Failure, closing
from argosy.kafka.registry import Registry
from argosy.lang import gojson
from argosy.sources._base import Source, SourceContext
from argosy.sources._http_body import raw_json
from argosy.sources._kafka_config import KafkaConfig, cluster_of, group_settings
from argosy.sources._kafka_reader import OneReader, Reader
from argosy.sources._raw import Raw, Wrapped, tail
from argosy.sources._reaching import patiently

_HEADER = "headers."
_RAW = ("topic", "partition", "offset", "key", "timestamp")


class Message(NamedTuple):
    """One record of a topic. ``timestamp`` counts milliseconds, -1 is none; a ``value`` of None is a tombstone."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: tuple[tuple[str, bytes | None], ...]

    @property
    def id(self) -> str:
        """What names it within the cluster."""
        return f"{self.topic}/{self.partition}/{self.offset}"


class Kafka(Source[KafkaConfig]):
    """Receives the messages of one topic. An event's id is made of topic, partition and offset, so a message that is
    read again is the same event."""

    kind: ClassVar[str] = "kafka"
    config = KafkaConfig
    exclusive: ClassVar[bool] = True
    acknowledges: ClassVar[bool] = True
    requires: ClassVar[tuple[str, ...]] = ("aiokafka",)
    extra: ClassVar[str] = "kafka"
    peer: ClassVar[str] = "real: Kafka; double: schema registry"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: kafka
spec:
  kafka:
    example:
      url: kafka-0.kafka.messaging:9092,kafka-1.kafka.messaging:9092
      topic: orders
      jsonBody: true
      consumerGroup:
        groupName: argosy-orders
        oldest: true
      sasl:
        mechanism: SCRAM-SHA-512
        userSecret:
          name: kafka
          key: user
        passwordSecret:
          name: kafka
          key: password
"""

    @classmethod
    def wrap(cls, config: KafkaConfig, raw: Raw) -> Wrapped:
        message = _written(config, raw)
        body = _body(config, message.value)
        return Wrapped(_data(config, message, body), message.id if "offset" in raw.headers else None)

    async def run(self, ctx: SourceContext[KafkaConfig]) -> None:
        from aiokafka import AIOKafkaConsumer

        config = ctx.config
        who: Chain | None = None

        async def look() -> Cluster:
            # Secrets are read for every try, so that a new password is taken up.
            cluster = cluster_of(ctx, who)
            with _ours():
                count = await cluster.look(config.topic)
            if config.consumer_group is None and int(config.partition) >= count:
                raise SourceError(
                    f"topic {config.topic!r} of {cluster} has {count} partitions, none is {config.partition}"
                )
            return cluster

        async with contextlib.AsyncExitStack() as stack:
            if config.aws_msk_iam_auth is not None:
                aws = await stack.enter_async_context(Client("'awsMskIamAuth'", ctx.clock))
                who = Chain(aws, Named(), ctx.secret, ctx.clock, config.aws_msk_iam_auth.region)
            cluster = await patiently(ctx, config.connection_backoff, look)
            registry = await stack.enter_async_context(_registry(ctx)) if config.schema_registry else None
            consumer = AIOKafkaConsumer(
                **{**cluster.settings, **group_settings(config)}, enable_auto_commit=False, auto_offset_reset="earliest"
            )
            await stack.enter_async_context(closing(consumer))
            reader = (Reader if config.consumer_group else OneReader)(ctx, cluster, consumer)

            async def keep(record: Any) -> None:
                message = Message(*(getattr(record, name) for name in Message._fields))
                try:
                    value = message.value
                    if registry is not None and value is not None:
                        value = await registry.decoded(value)
                    await ctx.emit(_data(config, message, _body(config, value)), id=message.id)
                except (EventInvalid, EventTooLarge) as error:
                    ctx.refused(f"{error} (message {message.id})")

            with _ours():
                await reader.join()
                group = config.consumer_group
                how = f"as group {group.group_name!r}" if group else f"partition {config.partition}"
                ctx.listening(f"topic {config.topic!r} of {cluster}, {how}")
                await reader.run(keep)


@contextlib.contextmanager
def _ours() -> Any:
    try:
        yield
    except Failure as error:
        raise SourceError(str(error)) from error


def _registry(ctx: SourceContext[KafkaConfig]) -> Registry:
    config = ctx.config.schema_registry
    assert config is not None
    user, password = config.auth.username, config.auth.password
    return Registry(config.url, (ctx.secret(user), ctx.secret(password)) if user and password else None)


def _body(config: KafkaConfig, value: bytes | None) -> bytes:
    """The JSON text of ``body``; what a compacted topic has in place of a deleted value is null, as in Go."""
    if value is None:
        return b"null"
    return raw_json(value) if config.json_body else b'"%b"' % base64.b64encode(value)


def _data(config: KafkaConfig, message: Message, body: bytes) -> bytes:
    """The event's data as JSON text, in upstream's shape."""
    head = gojson.dumps(
        {"topic": message.topic, "key": _text(message.key), "partition": message.partition}, sort_keys=False
    )
    headers = gojson.dumps({name: _text(value) for name, value in message.headers})
    end = gojson.dumps(_go_time(message.timestamp))
    return b'%b,"body":%b,"timestamp":%b,"headers":%b%b}' % (head[:-1], body, end, headers, tail(config.metadata))


def _go_time(milliseconds: int) -> str:
    """A time as Go's ``Time.String`` writes it in UTC."""
    if milliseconds < 0:
        return "0001-01-01 00:00:00 +0000 UTC"
    seconds, rest = divmod(milliseconds, 1000)
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)
    fraction = f".{rest:03}".rstrip("0").rstrip(".")
    return f"{moment:%Y-%m-%d %H:%M:%S}{fraction} +0000 UTC"


def _text(value: bytes | None) -> str:
    # Bytes that are no UTF-8 become U+FFFD in Go's JSON, too.
    return (value or b"").decode("utf-8", "replace")


def _written(config: KafkaConfig, raw: Raw) -> Message:
    """A message as it is written down for tests: its value, and the rest as headers. With a schema registry the value is
    the JSON that it stands for."""
    given = dict(raw.headers)
    headers = tuple((name.removeprefix(_HEADER), text.encode()) for name, text in given.items() if _HEADER in name)
    for name in given:
        if name not in _RAW and not name.startswith(_HEADER):
            raise EventInvalid(f"{name!r} is no property of a message; there is {', '.join(_RAW)}, headers.NAME")
    numbers = {
        name: given.get(name, standard) for name, standard in (("partition", "0"), ("offset", "0"), ("timestamp", "-1"))
    }
    for name, text in numbers.items():
        if not text.removeprefix("-").isdecimal():
            raise EventInvalid(f"{name} {text!r} is no number")
    key = given["key"].encode() if "key" in given else None
    return Message(
        given.get("topic", config.topic), int(numbers["partition"]), int(numbers["offset"]), key, raw.body,
        int(numbers["timestamp"]), headers,
    )  # fmt: skip
