"""The ``kafka`` trigger against a real Kafka: the suite of all triggers, and what is Kafka's own."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from argosy.errors import Rejected, TriggerError
from argosy.manifests.fields import Json
from argosy.triggers.kafka import _partition
from tests.brokers.sources.server import CLIENT_TLS
from tests.conformance.sent import text_of
from tests.conformance.trigger import Receiver, Stage, TriggerSuite, eventually
from tests.peers import schema_registry
from tests.peers.kafka_producer import SASL, Producer, received
from tests.peers.kafka_server import PASSWORD, KafkaServer
from tests.peers.proxy import Proxy
from tests.peers.schema_registry import SchemaRegistry

_PAYLOAD: list[Json] = [{"src": {"dependencyName": "dep", "dataKey": "body"}, "dest": "body"}]
_HIDDEN = "of-a-header"
_WHOLE: dict[str, Json] = {"url": "kafka:9092", "topic": "t", "payload": _PAYLOAD}


class Topic(Receiver):
    """A topic of its own behind a proxy, and who reads it."""

    secrets: ClassVar[dict[tuple[str, str], str]] = {
        ("kafka", "user"): "argosy",
        ("kafka", "password"): PASSWORD,
        ("kafka", "header"): _HIDDEN,
    }
    private = (PASSWORD, _HIDDEN)
    never: ClassVar[dict[str, str]] = {
        "limited": "a Kafka broker lets a client wait that is over its quota, and refuses nothing"
    }
    hastened: ClassVar[dict[str, Json]] = {"argosy.kafka.cluster.ANSWER_SECONDS": 1.0}

    def __init__(self, topic: Producer, proxy: Proxy) -> None:
        self.topic = topic
        self.proxy = proxy
        self.secrets = {**self.secrets, ("tls", "ca"): (topic.server.folder / "ca.crt").read_text()}  # type: ignore[misc]
        self.address = f"127.0.0.1:{topic.server.port}"
        self._held_from = 0
        self.block = {
            "url": f"127.0.0.1:{topic.server.port}",
            "topic": topic.topic,
            "payload": _PAYLOAD,
            "flushFrequency": 50,
            "sasl": SASL,
            "headers": {"origin": "tests"},
            "secureHeaders": [{"name": "token", "valueFrom": {"secretKeyRef": {"name": "kafka", "key": "header"}}}],
        }

    async def count(self) -> int:
        """How many messages the topic has."""
        from aiokafka import AIOKafkaConsumer, TopicPartition

        consumer = AIOKafkaConsumer(**self.topic.server.client())
        await consumer.start()
        try:
            places = [TopicPartition(self.topic.topic, number) for number in range(self.topic.partitions)]
            return sum((await consumer.end_offsets(places)).values())
        finally:
            await consumer.stop()

    async def messages(self) -> list[Any]:
        return await received(self.topic.server, self.topic.topic, await self.count(), self.topic.partitions)

    async def effects(self) -> list[str]:
        return [dict(message.headers)["Idempotency-Key"].decode() for message in await self.messages()]

    async def arrived(self) -> Json:
        message = (await self.messages())[-1]
        return {
            "topic": message.topic,
            "key": None if message.key is None else message.key.decode(),
            "headers": {name: value.decode() for name, value in message.headers},
            "value": text_of(message.value),
        }

    def speak_tls(self, patch: pytest.MonkeyPatch) -> None:
        self.block = {**self.block, "tls": {"insecureSkipVerify": False, "caCertSecret": {"name": "tls", "key": "ca"}}}

    async def knows(self, private: str) -> bool:
        # Nobody is let in without the password.
        return all(private in (PASSWORD, dict(each.headers)["token"].decode()) for each in await self.messages())

    async def refuse(self) -> None:
        self.block = {**self.block, "topic": "no-such-topic"}

    async def fail(self) -> None:
        self.proxy.hang_up()

    async def hold(self) -> None:
        self._held_from = await self.count()
        self.proxy.hold()

    async def release(self) -> None:
        self.proxy.release()

    async def held(self) -> int:
        return await self.count() - self._held_from


@pytest.fixture
async def topic(kafka: KafkaServer) -> AsyncIterator[Producer]:
    async with Producer(kafka) as topic:
        yield topic


@pytest.fixture
async def receiver(topic: Producer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Topic]:
    async with Proxy(topic.server.port) as proxy:
        monkeypatch.setenv("ARGOSY_RESOLVE", f"127.0.0.1:{topic.server.port}=127.0.0.1:{proxy.port}")
        yield Topic(topic, proxy)


@pytest.fixture
def stage(receiver: Topic) -> Stage:
    return Stage("kafka", secrets=dict(receiver.secrets))


class TestKafka(TriggerSuite):
    kind = "kafka"
    bad_blocks: ClassVar[list[tuple[dict[str, Any], str]]] = [
        ({"topic": "t", "payload": _PAYLOAD}, "url"),
        ({"url": "kafka", "payload": _PAYLOAD}, "topic"),
        ({"url": "kafka", "topic": "t"}, "payload"),
        ({**_WHOLE, "payload": []}, "payload"),
        ({**_WHOLE, "url": "kafka://kafka"}, "no list of brokers"),
        ({**_WHOLE, "requiredAcks": 2}, "requiredAcks"),
        ({**_WHOLE, "flushFrequency": -1}, "flushFrequency"),
        ({**_WHOLE, "version": "new"}, "2.8.0"),
        ({**_WHOLE, "tls": {}}, "caCertSecret"),
        ({**_WHOLE, "sasl": {**SASL, "mechanism": "GSSAPI"}}, "SCRAM-SHA-512"),
        ({**_WHOLE, "schemaRegistry": {"url": "registry"}}, "http://"),
        ({**_WHOLE, "secureHeaders": [{"name": "h", "valueFrom": {}}]}, "secretKeyRef"),
    ]

    @pytest.fixture
    async def receiver(self, receiver: Topic) -> Topic:
        """That of the module, which its other tests have, too."""
        return receiver


async def test_the_message_is_what_the_block_says(receiver: Topic, stage: Stage) -> None:
    # Given a block with a key, and one without
    async with stage.open() as trigger:
        # When actions are fired
        outcome = await stage.fire(trigger, {**receiver.block, "partitioningKey": "ä"}, payload=b'{"n": 1}')
        await stage.fire(trigger, {**receiver.block, "partitioningKey": "", "compress": True}, id="action-2")
        await stage.fire(
            trigger, {**receiver.block, "headers": {"Idempotency-Key": "mine"}}, id="action-3", payload=b""
        )
    # Then the messages are so, and the outcome says where
    first, second, third = await receiver.messages()
    assert (first.key, first.value) == ("ä".encode(), b'{"n": 1}')
    assert first.headers == (("origin", b"tests"), ("token", _HIDDEN.encode()), ("Idempotency-Key", b"action-1"))
    assert (second.key, third.key, third.value) == (b"", None, b"")
    assert third.headers[0] == ("Idempotency-Key", b"mine")
    assert outcome.detail == {"topic": receiver.topic.topic, "partition": 0, "offset": 0}
    assert "partition 0, offset 0" in outcome.message


def test_a_key_leads_to_the_partition_that_sarama_chooses() -> None:
    # Given FNV-1a's published values for 32 bits, whose first bit counts as a sign in sarama
    for key, number in ((b"", 0x811C9DC5), (b"a", 0xE40C292C), (b"foobar", 0xBF9CF968)):
        (signed,) = struct.unpack(">i", struct.pack(">I", number))
        # When a partition of seven is chosen, then it is the amount of Go's remainder
        assert _partition(key, list(range(7)), []) == abs(signed) % 7
    assert _partition(None, [0, 1, 2], [2]) == 2


async def test_messages_of_one_key_stay_in_one_partition(kafka: KafkaServer) -> None:
    # Given a topic of four partitions
    async with Producer(kafka, 4) as topic:
        receiver = Topic(topic, Proxy(0))
        stage = Stage("kafka", secrets=dict(receiver.secrets))
        async with stage.open() as trigger:
            # When actions are fired with several keys
            for number in range(20):
                block = {**receiver.block, "partitioningKey": f"key-{number % 5}", "flushFrequency": 0}
                await stage.fire(trigger, block, id=f"action-{number}")
        # Then each key has one partition, and they are in order there
        places: dict[bytes, set[int]] = {}
        for message in await receiver.messages():
            places.setdefault(message.key, set()).add(message.partition)
        assert all(len(found) == 1 for found in places.values())
        assert len(set.union(*places.values())) > 1


@pytest.mark.parametrize("acks", [-1, 1])
async def test_a_thousand_actions_use_the_connections_of_the_first(receiver: Topic, stage: Stage, acks: int) -> None:
    # Given a trigger that has fired once
    block = {**receiver.block, "flushFrequency": 0, "requiredAcks": acks}
    async with stage.open() as trigger:
        await stage.fire(trigger, block, id="first")
        before = receiver.proxy.connections
        # When it fires a thousand times more
        for start in range(0, 1000, 50):
            await asyncio.gather(*(stage.fire(trigger, block, id=f"a-{start + number}") for number in range(50)))
        # Then nobody connected again, and each action arrived once
        assert receiver.proxy.connections == before
    assert len(set(await receiver.effects())) == await receiver.count() == 1001


async def test_a_rotated_secret_is_taken_up(receiver: Topic, stage: Stage) -> None:
    async with stage.open() as trigger:
        # Given a password that is wrong
        stage.secrets["kafka", "password"] = "wrong"
        with pytest.raises(TriggerError, match="refuses the user or the password") as raised:
            await stage.fire(trigger, receiver.block)
        assert not isinstance(raised.value, Rejected)
        # When it is right, then the action is performed
        stage.secrets["kafka", "password"] = PASSWORD
        await stage.fire(trigger, receiver.block, attempt=2)
    assert await receiver.effects() == ["action-1"]


async def test_what_cannot_help_is_rejected_and_what_may_pass_is_not(
    receiver: Topic, stage: Stage, topic: Producer
) -> None:
    server, block = topic.server, receiver.block
    anonymous = {name: value for name, value in block.items() if name != "sasl"}
    stage.secrets |= {("kafka", "nobody"): "nobody"} | server.tls_secrets()
    nobody = {**SASL, "userSecret": {"name": "kafka", "key": "nobody"}}
    certified = {**anonymous, "url": f"127.0.0.1:{server.certified_port}"}
    cases: list[tuple[dict[str, Json], bytes, bool, str]] = [
        ({**block, "topic": "no-such-topic"}, b"{}", True, "no such topic"),
        ({**block, "topic": "no such topic"}, b"{}", True, "does not allow a topic of this name"),
        ({**block, "sasl": nobody}, b"{}", True, "does not let us use the topic"),
        (block, b"x" * 300_000, True, "takes no message of this size"),
        ({**anonymous, "url": "127.0.0.1:9"}, b"{}", False, "nothing listens"),
        ({**anonymous, "url": "no.such.invalid:9092"}, b"{}", False, "no host of"),
        ({**certified, "tls": {"enabled": True}}, b"{}", False, "not trusted"),
        ({**certified, "tls": {"caCertSecret": {"name": "tls", "key": "key"}}}, b"{}", True, "no PEM certificate"),
    ]
    async with stage.open() as trigger:
        for faulty, payload, lasting, named in cases:
            with pytest.raises(TriggerError) as raised:
                await stage.fire(trigger, faulty, payload=payload)
            assert isinstance(raised.value, Rejected) == lasting, (faulty, raised.value)
            assert named in str(raised.value)
        # And afterwards all is well
        await stage.fire(trigger, block)


async def test_a_topic_that_is_deleted_while_it_is_used_is_rejected(
    receiver: Topic, stage: Stage, topic: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a trigger that has sent to a topic, and soon looks what is the matter
    monkeypatch.setattr("argosy.triggers.kafka._LOOK_SECONDS", 0.2)
    async with stage.open() as trigger:
        await stage.fire(trigger, receiver.block)
        # When the topic is deleted
        await topic.admin.delete_topics([topic.topic])
        # Then the next action is rejected
        with pytest.raises(Rejected, match="no such topic"):
            await stage.fire(trigger, receiver.block, id="action-2")


async def test_a_certificate_instead_of_a_login(receiver: Topic, stage: Stage, topic: Producer) -> None:
    # Given a port that knows its clients by their certificates
    block = {name: value for name, value in receiver.block.items() if name != "sasl"}
    block |= {"url": f"127.0.0.1:{topic.server.certified_port}", "tls": CLIENT_TLS}
    stage.secrets |= topic.server.tls_secrets()
    # When an action is fired, then it arrives
    async with stage.open() as trigger:
        await stage.fire(trigger, block)
    assert await receiver.effects() == ["action-1"]


async def test_a_broker_that_does_not_answer_is_given_up_and_come_back_to(
    receiver: Topic, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a trigger that is soon impatient, and a broker that withholds its answers
    monkeypatch.setattr("argosy.triggers.kafka.ANSWER_SECONDS", 0.5)
    monkeypatch.setattr("argosy.kafka.cluster.ANSWER_SECONDS", 0.5)
    async with stage.open() as trigger:
        await stage.fire(trigger, receiver.block, id="before")
        await receiver.hold()
        # When actions are fired, then each fails so that it is tried again
        for attempt in (1, 2):
            with pytest.raises(TriggerError, match="has not answered") as raised:
                await stage.fire(trigger, receiver.block, id="held", attempt=attempt)
            assert not isinstance(raised.value, Rejected)
        # And when it answers again, then the action is performed
        await receiver.release()
        await stage.fire(trigger, receiver.block, id="held", attempt=3)
    assert set(await receiver.effects()) == {"before", "held"}


async def test_a_killed_broker_is_come_back_to(tmp_path: Path) -> None:
    with KafkaServer(tmp_path / "kafka") as server:
        async with Producer(server) as topic:
            receiver = Topic(topic, Proxy(0))
            stage = Stage("kafka", secrets=dict(receiver.secrets))
            async with stage.open() as trigger:
                # Given a trigger that has fired
                await stage.fire(trigger, receiver.block, id="before")
                # When the broker is killed and comes back, and an action is fired until it succeeds
                server.kill()
                with pytest.raises(TriggerError, match="nothing listens"):
                    await asyncio.wait_for(stage.fire(trigger, receiver.block, id="after"), 60)
                await server.come_back()

                async def fired() -> bool:
                    try:
                        await stage.fire(trigger, receiver.block, id="after", attempt=2)
                    except TriggerError as error:
                        assert not isinstance(error, Rejected)
                        return False
                    return True

                await eventually(fired)
            # Then both are there
            assert set(await receiver.effects()) == {"before", "after"}


_SCHEMA = {
    "type": "record",
    "name": "Order",
    "fields": [{"name": "n", "type": "long"}, {"name": "note", "type": ["null", "string"], "default": None}],
}


async def test_the_payload_is_written_as_avro_by_the_schema_of_the_registry(receiver: Topic, stage: Stage) -> None:
    async with SchemaRegistry() as registry:
        # Given a registry with the schema
        registry.put(42, _SCHEMA)
        stage.secrets |= schema_registry.SECRETS
        block = {**receiver.block, "schemaRegistry": {**registry.block, "schemaId": 42}}
        async with stage.open() as trigger:
            # When payloads come with and without the names of a union's types
            await stage.fire(trigger, block, payload=b'{"n": 1, "note": {"string": "x"}, "more": true}')
            await stage.fire(trigger, block, payload=b'{"n": 2, "note": "y"}', id="action-2")
            await stage.fire(trigger, block, payload=b'{"n": 3}', id="action-3")
            # Then they are what a consumer with the registry reads, and it was asked once
            values = [registry.read(message.value) for message in await receiver.messages()]
            assert values == [{"n": 1, "note": "x"}, {"n": 2, "note": "y"}, {"n": 3, "note": None}]
            assert registry.asked == ["/schemas/ids/42"]
            # And what the schema does not allow, or the registry does not have, is rejected
            for payload, number, named in (
                (b'{"n": "one"}', 42, "not what schema 42"),
                (b"<n/>", 42, "not JSON"),
                (b'{"n": 1}', 43, "has no schema 43"),
            ):
                faulty = {**block, "schemaRegistry": {**registry.block, "schemaId": number}}
                with pytest.raises(Rejected, match=named):
                    await stage.fire(trigger, faulty, payload=payload)
    # And a registry that is away may come back
    async with stage.open() as trigger:
        with pytest.raises(TriggerError, match="schema registry") as raised:
            await stage.fire(trigger, block)
        assert not isinstance(raised.value, Rejected)
