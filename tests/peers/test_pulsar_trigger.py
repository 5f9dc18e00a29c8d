"""The ``pulsar`` trigger against a real Pulsar: the suite of all triggers, and what is Pulsar's own."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pulsar
import pytest

from argosy.errors import Rejected, TriggerError
from argosy.manifests.fields import Json
from tests.brokers.gate import Gate
from tests.brokers.sources.server import CLIENT_TLS
from tests.conformance.sent import text_of
from tests.conformance.trigger import Receiver, Stage, TriggerSuite
from tests.peers.pulsar_publisher import TOKEN
from tests.peers.pulsar_server import PulsarServer

_PAYLOAD: list[Json] = [{"src": {"dependencyName": "dep", "dataKey": "body"}, "dest": "body"}]
_WHOLE: dict[str, Json] = {"url": "pulsar://p", "topic": "t", "payload": _PAYLOAD}
_numbers = itertools.count(1)


class Topic(Receiver):
    """A topic of its own behind a gate, and who reads it."""

    hastened: ClassVar[dict[str, Json]] = {
        "argosy.pulsar.client._CONNECT_SECONDS": 1.0,
        "argosy.pulsar.greeting._CONNECT_SECONDS": 1.0,
    }
    never: ClassVar[dict[str, str]] = {
        "limited": "a Pulsar broker lets a producer wait that is over its quota, and refuses nothing"
    }

    def __init__(self, server: PulsarServer, gate: Gate) -> None:
        self.server = server
        self.gate = gate
        self.address = f"127.0.0.1:{gate.port}"
        self.topic = f"persistent://public/default/trigger-{next(_numbers)}"
        self.secrets = {("pulsar", "token"): server.token()}  # type: ignore[misc]
        self.private = (server.token(),)
        self.block = {
            "url": f"pulsar://127.0.0.1:{gate.port}",
            "topic": self.topic,
            "payload": _PAYLOAD,
            "authTokenSecret": TOKEN,
        }
        log = pulsar.FileLogger(pulsar.LoggerLevel.Error, os.devnull)
        token = pulsar.AuthenticationToken(server.token())
        self._client = pulsar.Client(server.url, authentication=token, logger=log)
        self._held_from = 0

    async def close(self) -> None:
        await asyncio.to_thread(self._client.close)

    async def messages(self) -> list[Any]:
        return await asyncio.to_thread(self._messages)

    def _messages(self) -> list[Any]:
        reader = self._client.create_reader(self.topic, pulsar.MessageId.earliest)
        found = []
        while reader.has_message_available():
            found.append(reader.read_next(timeout_millis=5000))
        reader.close()
        return found

    async def effects(self) -> list[str]:
        return [message.properties()["Idempotency-Key"] for message in await self.messages()]

    async def arrived(self) -> Json:
        message = (await self.messages())[-1]
        return {
            "topic": message.topic_name(),
            "key": message.partition_key(),
            "properties": message.properties(),
            "data": text_of(message.data()),
        }

    def speak_tls(self, patch: pytest.MonkeyPatch) -> None:
        self.block = {**self.block, "url": f"pulsar+ssl://{self.address}"}

    async def knows(self, private: str) -> bool:
        return True  # nobody is let in without the token

    async def refuse(self) -> None:
        self.block = {**self.block, "topic": "a://b"}

    async def fail(self) -> None:
        self.gate.hang_up()

    async def hold(self) -> None:
        self._held_from = len(await self.messages())
        self.gate.hold()

    async def release(self) -> None:
        self.gate.release()

    async def held(self) -> int:
        return len(await self.messages()) - self._held_from


@pytest.fixture
async def receiver(pulsar_server: PulsarServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Topic]:
    monkeypatch.setattr("argosy.triggers.pulsar._SEND_SECONDS", 3.0)
    async with Gate(pulsar_server.back_port, b'{"n":1}', pulsar_server.gate_listener) as gate:
        topic = Topic(pulsar_server, gate)
        assert await topic.messages() == []  # its own connections stand from here on
        yield topic
        await topic.close()


@pytest.fixture
def stage(receiver: Topic) -> Stage:
    return Stage("pulsar", secrets=dict(receiver.secrets))


class TestPulsar(TriggerSuite):
    kind = "pulsar"
    bad_blocks: ClassVar[list[tuple[dict[str, Any], str]]] = [
        ({"topic": "t", "payload": _PAYLOAD}, "url"),
        ({"url": "pulsar://p", "payload": _PAYLOAD}, "topic"),
        ({"url": "pulsar://p", "topic": "t"}, "payload"),
        ({**_WHOLE, "payload": []}, "payload"),
        ({**_WHOLE, "topic": ""}, "topic"),
        ({**_WHOLE, "url": "p"}, "pulsar+ssl://"),
        ({**_WHOLE, "tls": {}}, "caCertSecret"),
        ({**_WHOLE, "authAthenzSecret": {"name": "a", "key": "k"}}, "authAthenzParams"),
    ]

    @pytest.fixture
    async def receiver(self, receiver: Topic) -> Topic:
        """That of the module, which its other tests have, too."""
        return receiver


async def test_the_message_is_the_payload_and_the_outcome_says_where_it_is(receiver: Topic, stage: Stage) -> None:
    async with stage.open() as trigger:
        outcome = await stage.fire(trigger, receiver.block, payload='{"ä": 1}'.encode())
        await stage.fire(trigger, receiver.block, id="action-2", payload=b"")
    first, second = await receiver.messages()
    assert (first.data(), second.data()) == ('{"ä": 1}'.encode(), b"")
    place = first.message_id()
    assert outcome.detail["messageId"].startswith(f"{place.ledger_id()}:{place.entry_id()}:")


async def test_a_thousand_actions_share_one_client(receiver: Topic, stage: Stage) -> None:
    async with stage.open() as trigger:
        await stage.fire(trigger, receiver.block, id="first")
        opened = receiver.gate.connections
        for start in range(0, 1000, 50):
            await asyncio.gather(
                *(stage.fire(trigger, receiver.block, id=f"action-{start + number}") for number in range(50))
            )
        assert receiver.gate.connections == opened
    assert len(set(await receiver.effects())) == 1001


async def test_tls_by_token_and_by_certificate_is_verified(receiver: Topic) -> None:
    server = receiver.server
    secrets = {**receiver.secrets, **server.tls_secrets()}
    encrypted = {**receiver.block, "url": f"pulsar+ssl://localhost:{server.tls_port}"}
    stage = Stage("pulsar", secrets=secrets)
    by_certificate = {**encrypted, "tls": CLIENT_TLS}
    del by_certificate["authTokenSecret"]
    async with stage.open() as trigger:
        await stage.fire(trigger, {**encrypted, "tlsTrustCertsSecret": {"name": "tls", "key": "ca"}}, id="by-token")
        await stage.fire(trigger, by_certificate, id="by-certificate")
        with pytest.raises(TriggerError, match="is not trusted"):
            await stage.fire(trigger, encrypted)
    assert await receiver.effects() == ["by-token", "by-certificate"]


async def test_failures_are_of_the_right_class_and_say_what_to_do(receiver: Topic, stage: Stage) -> None:
    server, slept = receiver.server, []

    class Clock:
        async def sleep(self, seconds: float) -> None:
            slept.append(seconds)

    stage.clock = Clock()  # type: ignore[assignment]
    async with stage.open() as trigger:
        # Given nobody, with the pauses of the block
        backoff = {"duration": "10s", "factor": 2, "jitter": 0, "steps": 3}
        with pytest.raises(TriggerError, match="nothing listens at pulsar://127.0.0.1:9") as raised:
            await stage.fire(trigger, {**receiver.block, "url": "pulsar://127.0.0.1:9", "connectionBackoff": backoff})
        assert not isinstance(raised.value, Rejected) and slept == [10.0, 20.0]
        # And a role without rights, for which no other try helps
        stage.secrets["pulsar", "token"] = server.token("reader")
        with pytest.raises(Rejected, match="does not let us use topic"):
            await stage.fire(trigger, receiver.block)
        # And a wrong token, which somebody may correct
        stage.secrets["pulsar", "token"] = "wr0ng"
        with pytest.raises(TriggerError, match="does not accept our credentials") as raised:
            await stage.fire(trigger, receiver.block)
        assert not isinstance(raised.value, Rejected) and "wr0ng" not in str(raised.value)
        stage.secrets["pulsar", "token"] = server.token()
        await stage.fire(trigger, receiver.block, attempt=2)
        # And a message above the broker's limit
        with pytest.raises(Rejected, match="larger than it takes"):
            await stage.fire(trigger, receiver.block, payload=b"x" * 6_000_000)


async def test_a_broker_that_does_not_answer_is_tried_again_by_another_client(receiver: Topic, stage: Stage) -> None:
    # Given a broker whose answers do not come
    async with stage.open() as trigger:
        await receiver.hold()
        # When an action is fired, then it fails with a sentence, and the next try succeeds
        with pytest.raises(TriggerError, match="did not confirm a message to topic") as raised:
            await stage.fire(trigger, receiver.block)
        assert not isinstance(raised.value, Rejected)
        await receiver.release()
        await stage.fire(trigger, receiver.block, attempt=2)
    assert set(await receiver.effects()) == {"action-1"}
