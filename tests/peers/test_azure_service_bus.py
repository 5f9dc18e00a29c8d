"""The ``azureServiceBus`` source: Microsoft's library against a double of Service Bus on a real AMQP 1.0 engine."""

from __future__ import annotations

import asyncio
import base64
import itertools
import logging
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar, Self

import orjson
import pytest

from argosy.errors import BusError, EventTooLarge, SourceError
from argosy.manifests.fields import Json
from argosy.registry import wrap
from argosy.sources._in_flight import LIMIT
from argosy.sources._raw import Raw
from tests.conformance.source import SourceSuite, Stage, Upstream, eventually, on_stage, raising
from tests.peers.azure_bus import HOST, KEY, AzureBus, by_tls, collect_quietly
from tests.unit.triggers.receivers import Answer, HttpServer

_numbers = itertools.count(1)
_SECRET = ("azure", "connection")


class Sender(Upstream):
    """Puts messages into one queue, which nobody else uses."""

    redelivers = True
    keeps = True
    names_messages = True
    kind = "azureServiceBus"

    def __init__(self, bus: AzureBus) -> None:
        self.bus = bus
        self.queue = f"queue-{next(_numbers)}"
        self.secrets = {_SECRET: bus.connection_string}  # type: ignore[misc]
        self.block = {
            "queueName": self.queue,
            "connectionString": {"name": "azure", "key": "connection"},
            "jsonBody": True,
        }

    async def __aenter__(self) -> Self:
        await self.bus.set(queues=[self.queue], lock_seconds=30.0)
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    async def send(self, text: str) -> None:
        await self.bus.put(self.queue, f'{{"text": "{text}"}}', id=f"id of {text}")

    def text_of(self, data: Json) -> str:
        names = (
            "applicationProperties body contentType correlationID enqueuedTime messageID replyTo sequenceNumber subject"
        )
        assert list(data)[:9] == names.split() and list(data)[9:] in ([], ["metadata"])
        assert data["messageID"] == f"id of {data['body']['text']}" and data["enqueuedTime"].endswith("Z")
        return str(data["body"]["text"])

    async def acknowledged(self) -> int:
        return int((await self.bus.look(self.queue))["accepted"])

    async def look(self) -> dict[str, Any]:
        return await self.bus.look(self.queue)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Outlives the test's event loop."""
    yield
    collect_quietly()


@pytest.fixture
async def upstream(bus: AzureBus) -> AsyncIterator[Sender]:
    async with Sender(bus) as sender:
        yield sender


@pytest.fixture
async def stage(upstream: Sender) -> AsyncIterator[Stage]:
    async with on_stage(upstream.kind, dict(upstream.block), secrets=dict(upstream.secrets)) as stage:
        yield stage


class TestAzureServiceBus(SourceSuite):
    kind = "azureServiceBus"
    bad_blocks: ClassVar[list[tuple[dict[str, Any], str]]] = [
        ({"queueName": "q"}, "needs connectionString or fullyQualifiedNamespace"),
        ({"fullyQualifiedNamespace": "n"}, "needs queueName, or topicName with subscriptionName"),
        ({"fullyQualifiedNamespace": "n", "topicName": "t"}, "needs queueName, or topicName with subscriptionName"),
        ({"fullyQualifiedNamespace": "n", "queueName": "q", "topicName": "t"}, "not both"),
        ({"fullyQualifiedNamespace": "n", "queueName": "q", "tls": {}}, "tls"),
        ({"fullyQualifiedNamespace": "n", "queue": "q"}, "queue"),
    ]

    @pytest.fixture
    async def upstream(self, upstream: Sender) -> Sender:
        return upstream


async def test_no_more_than_the_limit_is_asked_for_and_the_rest_begins_in_order(upstream: Sender, stage: Stage) -> None:
    # Given a bus that does not answer
    await stage.start()
    stage.close_gate()
    texts = [f"{number:03}" for number in range(100)]
    # When more messages come than may be under way
    for text in texts:
        await upstream.send(text)
    await eventually(lambda: stage.under_way == LIMIT)
    await upstream.settle()
    # Then no more are locked than are in work
    assert (stage.under_way, (await upstream.look())["locked"]) == (LIMIT, LIMIT)
    stage.open_gate()
    await stage.events(100)
    assert [upstream.text_of(event.data) for event in stage.offered] == texts
    await eventually(lambda: _accepted(upstream, 100))


@pytest.mark.parametrize("failure", ["not JSON", "too large"])
async def test_a_message_that_cannot_become_an_event_is_dead_lettered_with_the_reason(
    upstream: Sender, stage: Stage, failure: str
) -> None:
    await stage.start()
    if failure == "too large":
        stage.failure = EventTooLarge("the event has 2 MB, the bus takes 1 MB")
        await upstream.send("large")
    else:
        await upstream.bus.put(upstream.queue, "no JSON", id="id of large")
    await eventually(lambda: len(stage.refused) == 1)
    stage.failure = None
    await upstream.send("good")
    (event,) = await stage.events(1)
    assert upstream.text_of(event.data) == "good"
    assert upstream.queue in stage.refused[0] and "dead-lettered" in stage.refused[0]
    assert (await upstream.look())["dead"] == ["id of large"]
    assert not stage.errors


async def test_the_data_is_upstreams_to_the_byte(upstream: Sender) -> None:
    async with on_stage(
        upstream.kind, {**upstream.block, "jsonBody": False, "metadata": {"m": "1"}}, secrets=dict(upstream.secrets)
    ) as stage:
        await stage.start()
        fields = {"subject": "<s>", "reply_to": "r", "correlation_id": "c", "content_type": "text/plain"}
        number = await upstream.bus.put(
            upstream.queue, "<ä>", id="m-1", properties={"z": 1, "a": "ä", "f": 0.5, "t": True}, **fields
        )
        (event,) = await stage.events(1)
        time = event.data["enqueuedTime"]
        assert event.raw.decode() == (
            '{"applicationProperties":{"a":"ä","f":0.5,"t":true,"z":1},"body":"PMOkPg==","contentType":"text/plain",'
            f'"correlationID":"c","enqueuedTime":"{time}","messageID":"m-1","replyTo":"r","sequenceNumber":{number},'
            '"subject":"\\u003cs\\u003e","metadata":{"m":"1"}}'
        )
        assert event.id is not None and event.id.startswith(f"{number}/")
        # What is not there is null
        await upstream.bus.put(upstream.queue, "x")
        (_, bare) = await stage.events(2)
        assert [name for name, value in bare.data.items() if value is None] == [
            "applicationProperties", "contentType", "correlationID", "replyTo", "subject",
        ]  # fmt: skip
        assert bare.data["messageID"] == ""
        config = stage.context().config
        headers = {"messageID": "m-1", "sequenceNumber": "7", "subject": "s"}
        made = orjson.loads(wrap(upstream.kind, config, Raw(b"<x>", headers)).data)
        assert (made["messageID"], made["sequenceNumber"], made["subject"]) == ("m-1", 7, "s")
        assert base64.b64decode(made["body"]) == b"<x>"


async def test_a_subscription_of_a_topic_is_received_from(bus: AzureBus) -> None:
    topic = f"topic-{next(_numbers)}"
    await bus.set(queues=[f"{topic}/Subscriptions/mine", f"{topic}/Subscriptions/others"])
    block: dict[str, Json] = {
        "topicName": topic,
        "subscriptionName": "mine",
        "connectionString": {"name": "azure", "key": "connection"},
    }
    async with on_stage("azureServiceBus", block, secrets={_SECRET: bus.connection_string}) as stage:
        await stage.start()
        assert stage.listening == [f"subscription 'mine' of topic '{topic}' of 127.0.0.1:{bus.port}"]
        await bus.put(topic, "one")
        await stage.events(1)
        await eventually(lambda: _accepted_at(bus, f"{topic}/Subscriptions/mine", 1))
        assert len((await bus.look(f"{topic}/Subscriptions/others"))["messages"]) == 1


async def test_the_lock_of_a_message_whose_event_waits_is_renewed(upstream: Sender, stage: Stage) -> None:
    # Given a lock of two seconds, and a bus that does not answer
    await upstream.bus.set(lock_seconds=2.0)
    renewed = (await upstream.look())["renewed"]
    await stage.start()
    stage.close_gate()
    await upstream.send("one")

    async def often() -> bool:
        return bool((await upstream.look())["renewed"] >= renewed + 3)

    # When it was renewed for longer than it lasts, then the message has not come again
    await eventually(often)
    stage.open_gate()
    await stage.events(1)
    await eventually(lambda: _accepted(upstream, 1))
    assert len(stage.offered) == 1


async def test_what_the_bus_refuses_is_abandoned_and_its_neighbours_are_completed(
    upstream: Sender, stage: Stage
) -> None:
    stage.only, stage.failure = b"bad", BusError("the bus does not take this one")
    for text in ("good", "bad", "fine"):
        await upstream.send(text)
    await stage.start()
    await eventually(lambda: len(stage.errors) >= 2 and len(stage.emitted) == 2)
    await eventually(lambda: _accepted(upstream, 2))
    stage.failure = None
    await stage.events(3)
    await eventually(lambda: _accepted(upstream, 3))


async def test_a_killed_service_is_come_back_to_and_nothing_is_missing(upstream: Sender, stage: Stage) -> None:
    # Given a message whose event waits, under a lock of three seconds
    await upstream.bus.set(lock_seconds=3.0)
    await stage.start()
    stage.close_gate()
    await upstream.send("before")
    await eventually(lambda: stage.under_way == 1)
    # When the service is killed and comes back
    await upstream.bus.restart()
    stage.open_gate()
    await upstream.send("after")
    # Then both are events, what came twice has one id, and all is completed
    await eventually(lambda: {upstream.text_of(each.data) for each in stage.emitted} == {"before", "after"})
    await eventually(lambda: _none_left(upstream))
    assert len({event.id for event in stage.emitted}) == 2
    assert all(isinstance(error, SourceError) and "127.0.0.1" in str(error) for error in stage.errors)


async def test_a_service_that_stands_still_is_noticed(
    upstream: Sender, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("argosy.sources.azure_service_bus._QUIET_SECONDS", 1.0)
    monkeypatch.setattr("argosy.sources.azure_service_bus._ANSWER_SECONDS", 2.0)
    await stage.start()
    # When nothing comes, the service is asked, and answers
    await upstream.bus.look()
    await upstream.send("one")
    await stage.events(1)
    assert not stage.errors
    # When it stands still, then the run ends with a sentence
    upstream.bus.signal(signal.SIGSTOP)
    try:
        await eventually(lambda: len(stage.errors) >= 1)
    finally:
        upstream.bus.signal(signal.SIGCONT)
    assert "has not answered" in str(stage.errors[0])


async def test_a_rotated_secret_is_taken_up_and_no_key_is_logged(
    upstream: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = {_SECRET: upstream.bus.connection_string.replace(KEY, "an-old-key")}
    async with on_stage(upstream.kind, dict(upstream.block), secrets=secrets) as stage:
        # Given a source whose key is refused
        stage._task = asyncio.create_task(stage._run_for_ever())
        await eventually(lambda: bool(stage.errors))
        assert "refuses us" in str(stage.errors[0]) and upstream.queue in str(stage.errors[0])
        # When the Secret changes, then it receives
        stage.secrets[_SECRET] = upstream.bus.connection_string
        await upstream.send("one")
        await stage.events(1)
        told = f"{stage.errors} {stage.listening} {caplog.text}"
        assert KEY not in told and "an-old-key" not in told and "sig=" not in told


async def test_tls_a_host_that_is_led_elsewhere_and_the_identity_of_the_process(
    upstream: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = upstream.bus
    async with by_tls(bus) as port, HttpServer() as authority:
        monkeypatch.setenv("ARGOSY_RESOLVE", f"{HOST}:5671=127.0.0.1:{port} other.invalid:5671=127.0.0.1:{port}")
        # Given an authority of our own, and a token
        await bus.set(jwt="t-1")
        token = Answer(body=orjson.dumps({"access_token": "t-1", "expires_in": 3600}))
        authority.answers["/metadata/identity/oauth2/token"] = token
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", authority.url)
        for name in ("TENANT_ID", "CLIENT_ID", "CLIENT_SECRET"):
            monkeypatch.delenv(f"AZURE_{name}", raising=False)
        block = {
            "queueName": upstream.queue,
            "fullyQualifiedNamespace": HOST,
            "jsonBody": True,
            "tls": {"caCertSecret": {"name": "tls", "key": "ca"}},
        }
        secrets = {("tls", "ca"): (bus.folder / "ca.crt").read_text()}
        async with on_stage(upstream.kind, block, secrets=secrets) as stage:
            # When a message comes, then it is an event and completed
            await stage.start()
            assert stage.listening == [f"queue '{upstream.queue}' of {HOST}"]
            await upstream.send("one")
            await stage.events(1)
            await eventually(lambda: _accepted(upstream, 1))
        # And a certificate of another host, and one that nobody vouches for, are sentences
        for change, said in (
            ({"fullyQualifiedNamespace": "other.invalid"}, "certificate of other.invalid is not trusted"),
            ({"tls": None}, f"certificate of {HOST} is not trusted"),
        ):
            async with raising(upstream.kind, {**block, **change}, secrets=secrets) as sentence:
                assert said in sentence


async def test_failures_are_sentences(upstream: Sender) -> None:
    text = upstream.bus.connection_string
    cases: list[tuple[dict[str, Json], str, str]] = [
        ({"queueName": "no-such-queue"}, text, "has no queue 'no-such-queue'"),
        ({}, text.replace(str(upstream.bus.port), "9"), "nothing listens at 127.0.0.1:9"),
        ({}, f"{text}EntityPath=another", "is of 'another' (EntityPath)"),
        ({}, "nonsense", "connection string has no Endpoint"),
        ({}, "Endpoint=sb://a/", "no SharedAccessKeyName"),
    ]
    for block, secret, said in cases:
        async with raising(upstream.kind, {**upstream.block, **block}, secrets={_SECRET: secret}) as sentence:
            assert said in sentence and KEY not in sentence


async def _accepted(upstream: Sender, count: int) -> bool:
    return await upstream.acknowledged() == count


async def _accepted_at(bus: AzureBus, address: str, count: int) -> bool:
    return bool((await bus.look(address))["accepted"] == count)


async def _none_left(upstream: Sender) -> bool:
    return not (await upstream.look())["messages"]
