"""The ``kafka`` trigger: one message per action, which counts as performed when the brokers have answered for it.

Producers are kept open between actions, one for each cluster, login and way of sending; a secret that changes opens another one.
They are idempotent, so what the library itself repeats is stored once; an action that is tried again is a second message,
and both have the action's id in the header ``Idempotency-Key``. A key leads to the partition that upstream's
client would choose for it.

Different from upstream: an action waits for the brokers' answer and fails with it; certificates are verified; a secret
that changes is taken up; ``flushFrequency`` is in milliseconds, and none without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import Field, model_validator

from argosy.errors import ConfigError, Rejected, TriggerError
from argosy.kafka.cluster import ANSWER_SECONDS, Cluster, Failure, Login, brokers, closing
from argosy.kafka.fields import KafkaAccess, SchemaRegistryConfig
from argosy.kafka.registry import Registry
from argosy.manifests.fields import TriggerParameter
from argosy.tls import client_context, material
from argosy.triggers._base import Action, Outcome, Trigger, TriggerConfig, TriggerContext
from argosy.triggers._http_config import SecureHeader
from argosy.triggers._kept import Held, Kept, digest

_LARGEST_BYTES = 64 * 1024 * 1024
"""What the client sends at most; what a topic takes, its broker says."""
_LOOK_SECONDS = 2.0
T = TypeVar("T")
_ACTION = "Idempotency-Key"


class KafkaTriggerConfig(KafkaAccess, TriggerConfig):
    """The ``kafka`` block."""

    partition: int = 0
    """Has no effect, as in Argo Events since 1.8: ``partitioningKey`` leads to a partition, and without it chance."""
    partitioning_key: str | None = None
    """The message's key. Messages of one key stay in order, in one partition."""
    payload: list[TriggerParameter] = Field(min_length=1)
    """What is sent: values out of events, each at its ``dest``."""
    parameters: list[TriggerParameter] = Field(default_factory=list)
    """Values out of events that are set on this block before it is used."""
    required_acks: Literal[-1, 0, 1] = 0
    """Whose answer an action waits for: 0 or -1 all replicas that are in sync, 1 the partition's leader, who may be lost
    with the message."""
    compress: bool = False
    """Whether messages are compressed (snappy)."""
    flush_frequency: int = Field(default=0, ge=0)
    """How many milliseconds a message may wait for others that are sent at the same time; 0 for not at all. It pays only
    where actions run side by side."""
    schema_registry: SchemaRegistryConfig | None = None
    """Writes the payload as Avro, by the schema ``schemaId``."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Headers of the message."""
    secure_headers: list[SecureHeader] = Field(default_factory=list)
    """Headers whose values are in Secrets or ConfigMaps."""

    @model_validator(mode="after")
    def _complete(self) -> KafkaTriggerConfig:
        for secure in self.secure_headers:
            if (secure.value_from.secret_key_ref is None) == (secure.value_from.config_map_key_ref is None):
                raise ValueError(f"secureHeaders {secure.name!r} needs one of secretKeyRef and configMapKeyRef")
        return self

    @property
    def no_effect(self) -> dict[str, str]:
        return (
            {"partition": "'partition' is read by nobody, upstream included; 'partitioningKey' leads to one"}
            if self.partition
            else {}
        )


@dataclass
class _Open:
    """An open producer. ``topics`` are those that it was seen to know."""

    cluster: Cluster
    producer: Any
    close: contextlib.AsyncExitStack
    topics: set[str] = field(default_factory=set)


class Kafka(Trigger[KafkaTriggerConfig]):
    """Sends a message."""

    kind: ClassVar[str] = "kafka"
    config = KafkaTriggerConfig
    requires: ClassVar[tuple[str, ...]] = ("aiokafka",)
    extra: ClassVar[str] = "kafka"
    peer: ClassVar[str] = "real: Kafka; double: schema registry"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata:
  name: kafka
spec:
  dependencies:
    - name: order
      eventSourceName: webhook
      eventName: orders
  triggers:
    - template:
        name: tell-billing
        kafka:
          url: kafka-0.kafka.messaging:9092,kafka-1.kafka.messaging:9092
          topic: billing
          partitioningKey: unknown
          parameters:
            - src:
                dependencyName: order
                dataKey: body.customer
              dest: partitioningKey
          payload:
            - src:
                dependencyName: order
                dataKey: body
                useRawData: true
              dest: order
          headers:
            origin: argosy
"""

    def __init__(self, ctx: TriggerContext) -> None:
        super().__init__(ctx)
        self._kept: Kept[_Open] = Kept(lambda held: held.close.aclose())
        self._registries: Kept[Registry] = Kept(lambda registry: registry.__aexit__())

    async def __aexit__(self, *exc: object) -> None:
        await self._kept.close()
        await self._registries.close()

    async def fire(self, config: KafkaTriggerConfig, action: Action) -> Outcome:
        try:
            value = await self._value(config, action)
            headers = self._headers(config, action)
            async with self._use(config) as held:
                return await self._send(config, held, value, headers)
        except Failure as error:
            raise (Rejected if error.lasting else TriggerError)(str(error)) from error
        except ConfigError as error:
            raise Rejected(str(error)) from error

    async def _send(
        self, config: KafkaTriggerConfig, held: Held[_Open], value: bytes, headers: Sequence[tuple[str, bytes]]
    ) -> Outcome:
        opened, topic = held.connection, config.topic
        cluster = opened.cluster
        key = None if config.partitioning_key is None else config.partitioning_key.encode()
        try:
            if topic not in opened.topics:
                await cluster.look(topic)
                opened.topics.add(topic)
            with cluster.sentences(seconds=ANSWER_SECONDS):
                async with asyncio.timeout(ANSWER_SECONDS):
                    sent = await _answered(
                        opened.producer.send_and_wait(topic, value, key=key, headers=headers),
                        lambda: cluster.look(topic),
                    )
        except Failure as error:
            opened.topics.discard(topic)
            if not error.lasting:
                held.broken = True  # It would go on sending what counts as failed here.
            raise Failure(f"cannot send to topic {topic!r}: {error}", lasting=error.lasting) from error
        where = f"partition {sent.partition}, offset {sent.offset}"
        detail = {"topic": topic, "partition": sent.partition, "offset": sent.offset}
        return Outcome(f"sent {len(value)} bytes to topic {topic!r} of {cluster}: {where}", detail)

    async def _value(self, config: KafkaTriggerConfig, action: Action) -> bytes:
        payload = action.payload or b""
        if (wanted := config.schema_registry) is None:
            return payload
        user, password = wanted.auth.username, wanted.auth.password
        login = (self.ctx.secret(user), self.ctx.secret(password)) if user and password else None

        async def begin() -> Registry:
            return Registry(wanted.url, login)

        async with self._registries.use(digest(wanted.url, login), begin) as held:
            return await held.connection.encoded(payload, wanted.schema_id)

    def _headers(self, config: KafkaTriggerConfig, action: Action) -> list[tuple[str, bytes]]:
        headers = [(name, value.encode()) for name, value in config.headers.items()]
        for secure in config.secure_headers:
            secret, item = secure.value_from.secret_key_ref, secure.value_from.config_map_key_ref
            if secret is not None:
                headers.append((secure.name, self.ctx.secret(secret).encode()))
            elif item is not None:
                headers.append((secure.name, self.ctx.config_map(item).encode()))
        if all(name != _ACTION for name, _ in headers):
            headers.append((_ACTION, action.id.encode()))
        return headers

    def _use(self, config: KafkaTriggerConfig) -> contextlib.AbstractAsyncContextManager[Held[_Open]]:
        """A producer for this block, by the secrets as they are now; entering raises Failure."""
        user, password, sasl = "", "", config.sasl
        if sasl is not None:
            user, password = self.ctx.secret(sasl.user_secret), self.ctx.secret(sasl.password_secret)
        login = Login(sasl.mechanism or "PLAIN", user, password) if sasl else None
        way = {
            "acks": config.required_acks or -1,
            "compression_type": "snappy" if config.compress else None,
            "linger_ms": config.flush_frequency,
        }
        name = digest(config.url, way, sasl and sasl.mechanism, user, password, material(config.tls, self.ctx.secret))
        return self._kept.use(name, lambda: self._opened(config, login, way))

    async def _opened(self, config: KafkaTriggerConfig, login: Login | None, way: Mapping[str, Any]) -> _Open:
        from aiokafka import AIOKafkaProducer

        cluster = Cluster(
            brokers=brokers(config.url),
            client_id=f"argosy-{self.ctx.sensor}-{self.ctx.trigger}",
            tls=await asyncio.to_thread(client_context, config.tls, self.ctx.secret) if config.tls else None,
            login=login,
        )
        await cluster.look(config.topic)
        producer = AIOKafkaProducer(
            **cluster.settings,
            **way,
            enable_idempotence=way["acks"] == -1,
            partitioner=_partition,
            max_request_size=_LARGEST_BYTES,
        )
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(closing(producer))
            with cluster.sentences():
                async with asyncio.timeout(ANSWER_SECONDS):
                    await producer.start()
            return _Open(cluster, producer, stack.pop_all(), {config.topic})


async def _answered(sending: Coroutine[Any, Any, T], look: Callable[[], Awaitable[object]]) -> T:
    """What ``sending`` yields. While it takes long, see whether that is because of what will not pass by itself: the
    library tries for ever and says nothing."""
    task = asyncio.ensure_future(sending)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=_LOOK_SECONDS)
            if not task.done():
                await look()
        return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _partition(key: bytes | None, every: Sequence[int], available: Sequence[int]) -> int:
    """sarama's choice: FNV-1a of the key as a signed number, its amount modulo the count; by chance without a key."""
    if key is None:
        return random.choice(available or every)
    number = 0x811C9DC5
    for byte in key:
        number = (number ^ byte) * 0x01000193 & 0xFFFFFFFF
    return sorted(every)[abs(number - (number >> 31 << 32)) % len(every)]
