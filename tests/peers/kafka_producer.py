"""A producer beside the ``kafka`` source, and what Kafka's own administration says of groups."""

from __future__ import annotations

import itertools
from typing import Any, Self

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import DeleteGroupsRequest

from argosy.manifests.fields import Json
from tests.brokers.sources.suite import BrokerUpstream
from tests.peers.kafka_server import PASSWORD, KafkaServer

_numbers = itertools.count(1)
SASL = {"userSecret": {"name": "kafka", "key": "user"}, "passwordSecret": {"name": "kafka", "key": "password"}}
SECRETS = {("kafka", "user"): "argosy", ("kafka", "password"): PASSWORD}
LIVELY = "consumer: {group: {session: {timeout: 2s}, heartbeat: {interval: 100ms}}}"
"""Members notice each other soon, and one that was killed is soon given up."""


class Producer(BrokerUpstream):
    """Sends to a topic of its own, which a group of the same name reads from its beginning."""

    kind = "kafka"
    server: KafkaServer
    redelivers = True
    keeps = True
    names_messages = True
    secrets = SECRETS

    def __init__(self, server: KafkaServer, partitions: int = 1) -> None:
        super().__init__(server)
        self.topic = self.place = f"topic-{next(_numbers)}"
        self.partitions = partitions
        self.block = {
            "url": f"127.0.0.1:{server.port}",
            "topic": self.topic,
            "jsonBody": True,
            "consumerGroup": {"groupName": self.topic, "oldest": True},
            "config": LIVELY,
            "sasl": SASL,
        }

    async def __aenter__(self) -> Self:
        self.admin = AIOKafkaAdminClient(**self.server.client())
        await self.admin.start()
        await self.admin.create_topics([NewTopic(self.topic, self.partitions, 1)])
        self.producer = AIOKafkaProducer(**self.server.client(), enable_idempotence=True)
        await self.producer.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.producer.stop()
        await self.admin.close()

    async def add_partitions(self, count: int) -> None:
        """From now on the topic has so many."""
        await self.admin.create_partitions({self.topic: NewPartitions(count)})

    async def produce(self, value: bytes | None, partition: int = 0, **parts: Any) -> int:
        """Its offset, once the broker has it."""
        return int((await self.producer.send_and_wait(self.topic, value, partition=partition, **parts)).offset)

    async def send(self, text: str) -> None:
        await self.produce(orjson.dumps({"text": text}))

    async def send_bad(self) -> None:
        await self.produce(b"{no")

    def at(self, host: str) -> dict[str, Json]:
        return {"url": host}

    def text_of(self, data: Json) -> str:
        assert list(data)[:6] == ["topic", "key", "partition", "body", "timestamp", "headers"]
        assert list(data)[6:] in ([], ["metadata"])
        assert data["topic"] == self.topic
        return str(data["body"]["text"])

    async def committed(self) -> dict[int, int]:
        """How far the group has read each partition."""
        offsets = await self.admin.list_consumer_group_offsets(self.topic)
        return {place.partition: entry.offset for place, entry in offsets.items() if entry.offset >= 0}

    async def forget_group(self) -> None:
        """Kafka drops the group and its offsets."""
        node = self.producer.client.get_random_node()
        answer = await self.producer.client.send(node, DeleteGroupsRequest([self.topic]))
        assert answer.results == [(self.topic, 0)], answer

    async def acknowledged(self) -> int:
        try:
            return sum((await self.committed()).values())
        except KafkaError:  # the broker is starting again
            return -1


async def received(server: KafkaServer, topic: str, count: int, partitions: int = 1) -> list[Any]:
    """The first messages of a topic."""
    consumer = AIOKafkaConsumer(**server.client())
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, number) for number in range(partitions)])
        await consumer.seek_to_beginning()
        return [await consumer.getone() for _ in range(count)]
    finally:
        await consumer.stop()
