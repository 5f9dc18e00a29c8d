"""The ``azureServiceBus`` trigger: Microsoft's library against a double of Service Bus on a real AMQP 1.0 engine."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar

import pytest

from argosy.errors import Rejected, RetryAfter, TriggerError
from argosy.manifests.fields import Json
from tests.conformance.trigger import Stage, TriggerSuite
from tests.peers.azure_bus import HOST, KEY, AzureBus, by_tls, collect_quietly
from tests.peers.azure_receiver import AzureReceiver

_numbers = itertools.count(1)
_SECRET = ("azure", "connection")
_PAYLOAD: list[Json] = [{"src": {"dependencyName": "dep", "dataKey": "n"}, "dest": "n"}]


class Queue(AzureReceiver):
    def __init__(self, bus: AzureBus) -> None:
        super().__init__(bus, f"queue-{next(_numbers)}")
        by_tls = bus.connection_string.replace("UseDevelopmentEmulator=true;", "")
        self.secrets = {_SECRET: bus.connection_string, ("azure", "by-tls"): by_tls}  # type: ignore[misc]
        self.address = f"127.0.0.1:{bus.port}"
        self.block = {
            "queueName": self.place,
            "connectionString": {"name": "azure", "key": "connection"},
            "payload": _PAYLOAD,
        }

    def lead(self, port: int, patch: pytest.MonkeyPatch) -> None:
        self.speak_tls(patch)  # an emulator is where its connection string says
        super().lead(port, patch)

    def speak_tls(self, patch: pytest.MonkeyPatch) -> None:
        self.block = {**self.block, "connectionString": {"name": "azure", "key": "by-tls"}}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Outlives the test's event loop."""
    yield
    collect_quietly()


@pytest.fixture
async def receiver(bus: AzureBus) -> AsyncIterator[Queue]:
    queue = Queue(bus)
    await bus.set(queues=[queue.place], answer="", hold=False)
    yield queue
    await queue.release()


class TestAzureServiceBus(TriggerSuite):
    kind = "azureServiceBus"
    bad_blocks: ClassVar[list[tuple[dict[str, Any], str]]] = [
        ({"queueName": "q", "payload": _PAYLOAD}, "connectionString"),
        ({"connectionString": {"name": "s", "key": "k"}, "payload": _PAYLOAD}, "needs queueName or topicName"),
        ({"connectionString": {"name": "s", "key": "k"}, "queueName": "q"}, "payload"),
        ({"connectionString": {"name": "s", "key": "k"}, "queueName": "q", "payload": []}, "payload"),
    ]

    @pytest.fixture
    async def receiver(self, receiver: Queue) -> Queue:
        return receiver


@pytest.fixture
def stage(receiver: Queue) -> Stage:
    return Stage("azureServiceBus", secrets=dict(receiver.secrets))


async def test_the_message_is_the_payload_with_the_actions_id(receiver: Queue, stage: Stage) -> None:
    async with stage.open() as trigger:
        outcome = await stage.fire(trigger, receiver.block, id="a-1", payload=b'{"a":"\xc3\xa4"}')
        empty = await stage.fire(trigger, receiver.block, id="a-2", payload=b"")
    (first, second) = await receiver.messages()
    assert (first["id"], first["body"], first["contentType"]) == ("a-1", '{"a":"ä"}', "application/json")
    assert second["body"] == ""
    place = f"queue '{receiver.place}' of 127.0.0.1:{receiver.bus.port}"
    assert (outcome.message, outcome.detail) == (f"sent 10 bytes to {place}", {"messageID": "a-1"})
    assert empty.message == f"sent 0 bytes to {place}"


async def test_a_thousand_actions_need_one_connection(receiver: Queue, stage: Stage) -> None:
    before = (await receiver.bus.look())["connections"]
    async with stage.open() as trigger:
        for number in range(1000):
            await stage.fire(trigger, receiver.block, id=f"{number}")
    assert len(await receiver.effects()) == 1000
    assert (await receiver.bus.look())["connections"] == before + 1


async def test_a_topic_and_a_parameter_that_names_another_one(receiver: Queue, stage: Stage) -> None:
    bus, topic = receiver.bus, f"topic-{next(_numbers)}"
    await bus.set(queues=[f"{topic}/Subscriptions/a", f"{topic}/Subscriptions/b", f"{topic}-2/Subscriptions/a"])
    block = {key: value for key, value in receiver.block.items() if key != "queueName"}
    async with stage.open() as trigger:
        await stage.fire(trigger, {**block, "topicName": topic})
        # What parameters make of the block arrives here, so another topic is another sender
        await stage.fire(trigger, {**block, "topicName": f"{topic}-2"})
    for name in (f"{topic}/Subscriptions/a", f"{topic}/Subscriptions/b", f"{topic}-2/Subscriptions/a"):
        assert len((await bus.look(name))["messages"]) == 1


async def test_a_rotated_secret_is_taken_up_at_the_next_action(receiver: Queue, stage: Stage) -> None:
    async with stage.open() as trigger:
        stage.secrets[_SECRET] = receiver.bus.connection_string.replace(KEY, "an-old-key")
        with pytest.raises(Rejected, match="refuses us") as raised:
            await stage.fire(trigger, receiver.block)
        assert "an-old-key" not in str(raised.value)
        stage.secrets[_SECRET] = receiver.bus.connection_string
        await stage.fire(trigger, receiver.block, id="a-1")
    assert await receiver.effects() == ["a-1"]


async def test_a_service_that_was_killed_is_come_back_to(receiver: Queue, stage: Stage) -> None:
    async with stage.open() as trigger:
        await stage.fire(trigger, receiver.block, id="before")
        receiver.bus.kill()
        with pytest.raises(TriggerError) as raised:
            await stage.fire(trigger, receiver.block, id="during")
        assert not isinstance(raised.value, Rejected) and "127.0.0.1" in str(raised.value)
        await receiver.bus.come_back()
        await stage.fire(trigger, receiver.block, id="during", attempt=2)
    assert await receiver.effects() == ["before", "during"]


async def test_failures_are_of_the_right_class_with_a_sentence(receiver: Queue, stage: Stage) -> None:
    text = receiver.bus.connection_string
    cases: list[tuple[str, dict[str, Json], str, type[TriggerError], str]] = [
        ("com.microsoft:server-busy", {}, text, RetryAfter, "busy"),
        ("amqp:not-allowed", {}, text, Rejected, "not-allowed"),
        ("amqp:internal-error", {}, text, TriggerError, "internal-error"),
        # The library does not tell a sender why its link was ended
        ("", {"queueName": "no-such"}, text, TriggerError, "ended the link to queue 'no-such'; is it there"),
        ("", {}, text.replace(str(receiver.bus.port), "9"), TriggerError, "nothing listens at 127.0.0.1:9"),
        ("", {}, "nonsense", Rejected, "has no Endpoint"),
        ("", {}, f"{text}EntityPath=other", Rejected, "is of 'other'"),
    ]
    async with stage.open() as trigger:
        for answer, block, secret, kind, said in cases:
            await receiver.bus.set(answer=answer)
            stage.secrets[_SECRET] = secret
            with pytest.raises(TriggerError) as raised:
                await stage.fire(trigger, {**receiver.block, **block})
            assert type(raised.value) is kind and said in str(raised.value), (answer, block, raised.value)
            assert KEY not in str(raised.value)


async def test_tls_is_verified_by_the_authority_that_the_manifest_names(
    receiver: Queue, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with by_tls(receiver.bus) as port:
        monkeypatch.setenv("ARGOSY_RESOLVE", f"{HOST}:5671=127.0.0.1:{port}")
        stage.secrets[_SECRET] = f"Endpoint=sb://{HOST}/;SharedAccessKeyName=root;SharedAccessKey={KEY}"
        stage.secrets["tls", "ca"] = (receiver.bus.folder / "ca.crt").read_text()
        stage.secrets["tls", "none"] = "no certificate"
        async with stage.open() as trigger:
            tls = {"caCertSecret": {"name": "tls", "key": "ca"}}
            outcome = await stage.fire(trigger, {**receiver.block, "tls": tls}, id="a-1")
            assert outcome.message.endswith(f"of {HOST}")
            with pytest.raises(TriggerError, match=f"certificate of {HOST} is not trusted"):
                await stage.fire(trigger, receiver.block)
            with pytest.raises(Rejected, match="holds no PEM certificate"):
                await stage.fire(trigger, {**receiver.block, "tls": {"caCertSecret": {"name": "tls", "key": "none"}}})
    assert await receiver.effects() == ["a-1"]
