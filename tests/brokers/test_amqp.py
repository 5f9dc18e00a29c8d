"""The ``amqp`` source against a real RabbitMQ: the suite of every source, and what is AMQP's own.

Each test uses an exchange and a queue that nobody else uses; the broker is shared.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import itertools
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import aiormq
import orjson
import pytest
from pamqp import commands

from argosy.errors import EventTooLarge, SourceError
from argosy.manifests.fields import Json
from tests.brokers.oslo_notify import notify
from tests.brokers.rabbitmq import Consumer, Depth, RabbitMQ
from tests.conformance.source import SourceSuite, Stage, Upstream, eventually, on_stage, raising

_numbers = itertools.count(1)
KEYS = [
    "contentType",
    "contentEncoding",
    "deliveryMode",
    "priority",
    "correlationId",
    "replyTo",
    "expiration",
    "messageId",
    "timestamp",
    "type",
    "appId",
    "exchange",
    "routingKey",
    "body",
]


class Publisher(Upstream):
    """A publisher with confirms beside the source: one exchange, one queue, both named by nobody else."""

    redelivers = True
    keeps = True
    names_messages = True

    def __init__(self, broker: RabbitMQ) -> None:
        number = next(_numbers)
        self.broker = broker
        self.exchange, self.queue = f"exchange-{number}", f"queue-{number}"
        self.sent = 0
        self.block = {
            "url": broker.url,
            "exchangeName": self.exchange,
            "exchangeType": "topic",
            "routingKey": "messages.*",
            "queueDeclare": {"name": self.queue, "durable": True},
            "jsonBody": True,
        }

    async def __aenter__(self) -> Publisher:
        self._connection = await aiormq.connect(self.broker.url)
        self.channel = await self._connection.channel()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._connection.close()

    async def again(self) -> None:
        """Connect anew, after the broker was killed."""
        await self._connection.close()
        await self.__aenter__()

    async def publish(
        self, body: bytes, *, key: str = "messages.test", exchange: str | None = None, **properties: Any
    ) -> None:
        """Return once the broker has confirmed that it keeps the message."""
        properties = {"delivery_mode": 2, "message_id": f"message-{next(_numbers)}"} | properties
        await self.channel.basic_publish(
            body,
            exchange=self.exchange if exchange is None else exchange,
            routing_key=key,
            properties=commands.Basic.Properties(**properties),
        )
        self.sent += 1

    async def guard(self, secret: str) -> tuple[dict[str, Json], dict[tuple[str, str], str]]:
        user = f"user-of-{self.queue}"
        self.broker.set_password(user, secret)
        self.broker.add_vhost("/", (user,))
        self.broker.end_connections()
        await self.again()
        auth = {key: {"name": "amqp", "key": key} for key in ("username", "password")}
        url = f"amqp://{self.broker.url.rpartition('@')[2]}"
        return {"url": url, "auth": auth}, {("amqp", "username"): user, ("amqp", "password"): secret}

    async def send(self, text: str) -> None:
        await self.publish(orjson.dumps({"text": text}))

    def text_of(self, data: Json) -> str:
        assert list(data) == KEYS or list(data) == [*KEYS, "metadata"]
        return str(data["body"]["text"])

    def depth(self) -> Depth:
        try:
            return self.broker.depth(self.queue)
        except LookupError:
            return Depth(0, 0)

    async def acknowledged(self) -> int:
        return self.sent - sum(self.depth())


@pytest.fixture
async def upstream(rabbitmq: RabbitMQ) -> AsyncIterator[Publisher]:
    async with Publisher(rabbitmq) as publisher:
        yield publisher


@pytest.fixture
async def stage(upstream: Publisher) -> AsyncIterator[Stage]:
    async with on_stage("amqp", dict(upstream.block)) as stage:
        yield stage


class TestAmqp(SourceSuite):
    kind = "amqp"
    _good: ClassVar[dict[str, Json]] = {
        "url": "amqp://b",
        "exchangeType": "topic",
        "exchangeName": "e",
        "routingKey": "k",
    }
    bad_blocks: ClassVar[list[tuple[dict[str, Json], str]]] = [
        ({**_good, "url": ""}, "urlSecret"),
        ({**_good, "urlSecret": {"name": "s", "key": "k"}}, "urlSecret"),
        ({**_good, "url": "http://broker"}, "amqps://"),
        ({**_good, "url": "amqp://user:pass/word@broker:5672"}, "percent-encode"),
        ({**_good, "exchangeType": ""}, "exchangeType"),
        ({**_good, "routingKey": ""}, "routingKey"),
        ({**_good, "prefetch": 0}, "prefetch"),
        ({**_good, "hosts": ["amqp://other"]}, "hosts"),
        ({**_good, "queueDeclare": {"arguments": "[1]"}}, "YAML mapping"),
        ({**_good, "queueDeclare": {"arguments": "a: [1"}}, "arguments"),
        ({**_good, "queueDeclare": {"passive": True}}, "passive"),
        ({**_good, "auth": {"username": {"name": "s", "key": "k"}}}, "auth"),
        ({**_good, "tls": {}}, "caCertSecret"),
        ({**_good, "exchangeDeclare": {"durabel": True}}, "durabel"),
    ]

    @pytest.fixture
    async def upstream(self, rabbitmq: RabbitMQ) -> AsyncIterator[Upstream]:
        async with Publisher(rabbitmq) as publisher:
            yield publisher

    def test_the_password_of_a_url_that_cannot_be_read_is_not_shown(self) -> None:
        # Given a URL whose password was not encoded
        block = {**self._good, "url": "amqp://user:pass/word@broker:5672"}
        # When the manifest is read
        with pytest.raises(ValueError) as raised:
            self.plugin().config.model_validate(block)
        # Then the error does not show it
        assert "word@" not in str(raised.value)


async def test_all_properties_stand_in_the_data_as_upstream_has_them(upstream: Publisher, stage: Stage) -> None:
    # Given a source that receives
    await stage.start()
    # When a message with every property comes
    await upstream.publish(
        b'{ "a" : 1.0, "b": "<x>" }',
        content_type="application/json",
        content_encoding="utf-8",
        priority=7,
        correlation_id="c",
        reply_to="r",
        expiration="60000",
        message_id="m",
        timestamp=dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC),
        message_type="t",
        user_id="argosy",
        app_id="a",
        headers={"x": "y"},
    )
    # Then the data has upstream's keys, types and order, and the body as Go embeds it
    (event,) = await stage.events(1)
    assert event.raw == (
        b'{"contentType":"application/json","contentEncoding":"utf-8","deliveryMode":2,"priority":7,"correlationId":"c",'
        b'"replyTo":"r","expiration":"60000","messageId":"m","timestamp":"2026-01-02 03:04:05 +0000 UTC","type":"t",'
        b'"appId":"a","exchange":"%b","routingKey":"messages.test","body":{"a":1.0,"b":"\\u003cx\\u003e"}}'
        % upstream.exchange.encode()
    )
    assert event.id == "m"


async def test_a_bare_message_has_zero_values_and_a_body_in_base64(upstream: Publisher, stage: Stage) -> None:
    # Given a source without jsonBody
    stage.block["jsonBody"] = False
    await stage.start()
    # When a message without properties comes
    await upstream.publish(b"\x00\xff", delivery_mode=None)
    # Then absent values are Go's zero values, and the bytes are base64
    (event,) = await stage.events(1)
    body = base64.b64encode(b"\x00\xff").decode()
    zero = dict.fromkeys(KEYS, "") | {"deliveryMode": 0, "priority": 0, "timestamp": "0001-01-01 00:00:00 +0000 UTC"}
    assert event.data == zero | {
        "messageId": event.id,  # the library that publishes names every message
        "exchange": upstream.exchange,
        "routingKey": "messages.test",
        "body": body,
    }


async def test_a_body_that_is_not_json_goes_to_the_dead_letters_and_never_comes_again(
    upstream: Publisher, stage: Stage
) -> None:
    # Given a queue with a dead-letter exchange
    letters = f"dead-{upstream.queue}"
    await upstream.channel.queue_declare(letters, durable=True)
    arguments = f"x-dead-letter-exchange: ''\nx-dead-letter-routing-key: {letters}\n"
    stage.block["queueDeclare"]["arguments"] = arguments
    await stage.start()
    # When a message that is not JSON comes between two good ones
    await upstream.send("before")
    await upstream.publish(b"{not json")
    await upstream.send("after")
    # Then the good ones become events, the bad one is counted with one sentence, and lies with the dead letters
    await stage.events(2)
    await eventually(lambda: upstream.broker.depth(letters) == Depth(1, 0))
    await eventually(lambda: upstream.depth() == Depth(0, 0))
    assert [upstream.text_of(event.data) for event in stage.offered] == ["before", "after"]
    (sentence,) = stage.refused
    assert "not JSON" in sentence and upstream.queue in sentence and "messages.test" in sentence
    assert not stage.errors


async def test_an_event_too_large_for_the_bus_is_refused_and_the_rest_goes_on(
    upstream: Publisher, stage: Stage
) -> None:
    # Given a bus that will never take an event
    await stage.start()
    stage.failure = EventTooLarge("the event has 2 MB, the bus takes 1 MB")
    # When a message comes
    await upstream.send("large")
    await eventually(lambda: len(stage.refused) == 1)
    # Then it is refused upstream, and the next one is served
    stage.failure = None
    await upstream.send("small")
    (event,) = await stage.events(1)
    assert upstream.text_of(event.data) == "small"
    assert "2 MB" in stage.refused[0]
    await eventually(lambda: upstream.depth() == Depth(0, 0))
    assert not stage.errors


@pytest.mark.parametrize("fault", ["routing key", "timestamp", "header"])
async def test_a_message_that_the_client_library_cannot_decode_does_not_block_the_queue(
    upstream: Publisher, stage: Stage, fault: str
) -> None:
    # Given a message that is right for the broker, and that the library's decoder raises for
    class Odd(commands.Basic.Properties):
        def marshal(self) -> bytes:
            text = b"\x02\xff\xfe"  # a short text that is not UTF-8
            if fault == "routing key":
                return (0x8000).to_bytes(2, "big") + text
            if fault == "timestamp":
                return (0x0040).to_bytes(2, "big") + (2**62).to_bytes(8, "big")
            table = b"\x01\xffI\x00\x00\x00\x01"  # a name that is not UTF-8
            return (0x2000).to_bytes(2, "big") + len(table).to_bytes(4, "big") + table

    await stage.start()
    # When it comes, and a good one after it
    await upstream.channel.basic_publish(
        b'{"text": "odd"}', exchange=upstream.exchange, routing_key="messages.x", properties=Odd(message_id="m")
    )
    await upstream.send("good")
    # Then both are events, and nothing was started anew
    assert {upstream.text_of(event.data) for event in await stage.events(2)} == {"odd", "good"}
    assert not stage.errors


async def test_no_more_than_prefetch_messages_are_in_emit_and_they_begin_in_order(
    upstream: Publisher, stage: Stage
) -> None:
    # Given a bus that does not answer
    stage.block["prefetch"] = 5
    await stage.start()
    stage.close_gate()
    # When more messages come than are prefetched
    texts = [f"{number:03}" for number in range(40)]
    for text in texts:
        await upstream.send(text)
    # Then as many as prefetch are under way at once, and the rest waits in the broker
    await eventually(lambda: upstream.depth() == Depth(35, 5))
    await upstream.settle()
    assert stage.under_way == 5
    # And all arrive, in the queue's order
    stage.open_gate()
    await stage.events(40)
    assert [upstream.text_of(event.data) for event in stage.offered] == texts


async def test_all_routing_keys_are_bound(upstream: Publisher, stage: Stage) -> None:
    # Given a source with more keys
    stage.block["routingKeys"] = ["audit.#", "port.*.end"]
    await stage.start()
    # When messages come by each, and by one that nobody asked for
    for key in ("messages.a", "audit.x.y", "port.create.end", "port.create.start", "other"):
        await upstream.publish(b"1", key=key)
    # Then those asked for are events
    await stage.events(3)
    await upstream.settle()
    assert {event.data["routingKey"] for event in stage.emitted} == {"messages.a", "audit.x.y", "port.create.end"}


async def test_without_an_exchange_the_queue_receives_what_carries_its_name(upstream: Publisher, stage: Stage) -> None:
    # Given a source on the default exchange
    del stage.block["exchangeName"], stage.block["exchangeType"]
    await stage.start()
    # When a message is sent to the queue's name
    await upstream.publish(b"1", exchange="", key=upstream.queue)
    # Then it becomes an event
    (event,) = await stage.events(1)
    assert (event.data["exchange"], event.data["routingKey"]) == ("", upstream.queue)


async def test_without_a_queue_block_the_queue_is_exclusive_and_its_name_the_brokers(
    upstream: Publisher, stage: Stage
) -> None:
    # Given a manifest as small as it can be
    del stage.block["queueDeclare"]
    await stage.start()
    # When a message comes
    await upstream.send("one")
    # Then it becomes an event, and the queue is gone with the source
    await stage.events(1)
    assert "amq.gen-" in stage.listening[0]
    assert "keeps nothing while this source is away" in stage.listening[0]
    queue = stage.listening[0].split("'")[1]
    await stage.stop()
    with pytest.raises(LookupError):
        upstream.broker.depth(queue)


async def test_a_password_with_special_characters_and_one_from_secrets_reach_the_broker(upstream: Publisher) -> None:
    # Given the user nobody, by URL and by secret, who may log in and nothing else
    broker = upstream.broker
    by_url = {**upstream.block, "url": f"amqp://nobody:p%40ss%2Fw%3Ard%2541@127.0.0.1:{broker.port}/%2F"}
    keys = {"username": {"name": "s", "key": "user"}, "password": {"name": "s", "key": "password"}}
    by_secret = {**upstream.block, "auth": keys}
    secrets = {("s", "user"): "nobody", ("s", "password"): broker.passwords["nobody"]}
    # When the source starts
    for block in (by_url, by_secret):
        async with raising("amqp", block, secrets=secrets) as sentence:
            # Then the broker knows who it is, and says what that user may not
            assert "ACCESS_REFUSED" in sentence and "'nobody'" in sentence
            assert f"exchange '{upstream.exchange}'" in sentence
            assert broker.passwords["nobody"] not in sentence


async def test_refusals_are_sentences_that_name_the_thing_and_never_the_password(upstream: Publisher) -> None:
    broker = upstream.broker
    await upstream.channel.exchange_declare(upstream.exchange, exchange_type="fanout", durable=True)
    await upstream.channel.queue_declare(upstream.queue, durable=False)
    taken = {**upstream.block, "exchangeName": ""}
    good = {**upstream.block, "exchangeDeclare": {"passive": True}}
    port = str(broker.port)
    cases: list[tuple[dict[str, Json], list[str]]] = [
        ({**good, "exchangeName": "unheard"}, ["exchange 'unheard'", "NOT_FOUND", "make it first"]),
        (
            {**good, "queueDeclare": {"name": "unheard", "passive": True}},
            ["queue 'unheard'", "NOT_FOUND", "make it first"],
        ),
        (upstream.block, [upstream.exchange, "inequivalent arg 'type'", "exchangeDeclare", "passive"]),
        (taken, [upstream.queue, "inequivalent arg 'durable'", "queueDeclare"]),
        ({**good, "exchangeType": "tropic", "exchangeName": "new", "exchangeDeclare": {}}, ["'tropic'"]),
        ({**good, "url": f"{broker.url}/unheard"}, ["virtual host 'unheard'", "'argosy'"]),
        ({**good, "url": broker.url.replace("only%20for", "none%20for")}, ["refuses user 'argosy'", "auth"]),
        ({**good, "url": broker.url.replace(port, "9")}, ["nothing listens at amqp://127.0.0.1:9"]),
        ({**good, "url": broker.url.replace("127.0.0.1", "no.such.invalid")}, ["no host 'no.such.invalid'"]),
        ({**good, "url": broker.url.replace(port, str(broker.tls_port))}, ["amqps)?"]),
        ({**good, "url": broker.url, "tls": {"insecureSkipVerify": True}}, ["is it a TLS port"]),
        ({**good, "url": broker.tls_url}, ["certificate", "caCertSecret"]),
    ]
    # Given one fault each
    for block, named in cases:
        # When the source starts
        async with raising("amqp", block) as sentence:
            # Then one sentence names the thing, and shows no password
            assert all(text in sentence for text in named), sentence
            assert "for%20tests" not in sentence and "for tests" not in sentence


async def test_a_named_exclusive_queue_of_another_connection_is_refused_with_the_reason(upstream: Publisher) -> None:
    # Given an exclusive queue of somebody else
    await upstream.channel.queue_declare(upstream.queue, exclusive=True)
    block = {**upstream.block, "queueDeclare": {"name": upstream.queue, "exclusive": True}}
    # When the source starts
    async with raising("amqp", block) as sentence:
        # Then it says so
        assert "RESOURCE_LOCKED" in sentence and upstream.queue in sentence


async def test_the_next_host_is_tried_when_one_does_not_answer(upstream: Publisher, stage: Stage) -> None:
    # Given a URL where nobody listens, and hosts of which the second does
    stage.block["url"] = upstream.broker.url.replace(str(upstream.broker.port), "9")
    stage.block["hosts"] = ["127.0.0.1:10", f"127.0.0.1:{upstream.broker.port}"]
    # When the source starts
    await stage.start()
    # Then it receives from there
    assert f"127.0.0.1:{upstream.broker.port}" in stage.listening[0]
    await upstream.send("one")
    await stage.events(1)


async def test_connection_backoff_pauses_before_the_failure_is_reported(upstream: Publisher) -> None:
    # Given a broker that is not there, and three tries
    block = {
        **upstream.block,
        "url": "amqp://127.0.0.1:9",
        "connectionBackoff": {"duration": "10s", "factor": 2, "jitter": 0, "steps": 3},
    }
    slept: list[float] = []

    class Clock:
        def now(self) -> dt.datetime:
            return dt.datetime.now(dt.UTC)

        async def sleep(self, seconds: float) -> None:
            slept.append(seconds)

    # When the source starts
    async with raising("amqp", block, clock=Clock()) as sentence:
        # Then it paused as the block says, and then gave up
        assert slept == [10.0, 20.0]
        assert "nothing listens" in sentence


async def test_tls_with_our_authority_and_our_certificate(upstream: Publisher, stage: Stage) -> None:
    # Given a URL without TLS on the TLS port, and a tls block
    folder = upstream.broker.folder
    stage.block["url"] = upstream.broker.tls_url.replace("amqps:", "amqp:")
    stage.block["tls"] = {
        "caCertSecret": {"name": "tls", "key": "ca"},
        "clientCertSecret": {"name": "tls", "key": "crt"},
        "clientKeySecret": {"name": "tls", "key": "key"},
    }
    for key, file in (("ca", "ca.crt"), ("crt", "client.crt"), ("key", "client.key")):
        stage.secrets["tls", key] = (folder / file).read_text()
    # When the source starts
    await stage.start()
    # Then the connection is encrypted, and messages come
    assert "amqps://" in stage.listening[0]
    await upstream.send("one")
    await stage.events(1)


async def test_a_host_that_is_led_elsewhere_keeps_its_name(
    upstream: Publisher, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given manifests that name hosts of a cluster, one of them that of the certificate, and rules for both
    broker = upstream.broker
    rules = " ".join(f"{name}:5671=127.0.0.1:{broker.tls_port}" for name in ("kubernetes.default.svc", "other.svc"))
    monkeypatch.setenv("ARGOSY_RESOLVE", f"{rules} away.svc:5672=127.0.0.1:1")
    user = broker.tls_url.partition("@")[0]
    stage.block |= {"url": f"{user}@kubernetes.default.svc:5671", "tls": {"caCertSecret": {"name": "tls", "key": "ca"}}}
    stage.secrets["tls", "ca"] = (broker.folder / "ca.crt").read_text()
    # When the source starts
    await stage.start()
    # Then messages come from where the rule leads, by the name of the manifest
    assert "amqps://kubernetes.default.svc:5671" in stage.listening[0]
    await upstream.send("one")
    await stage.events(1)
    await stage.stop()
    # And a name that the certificate does not have is not trusted
    stage.block["url"] = f"{user}@other.svc:5671"
    async with raising("amqp", stage.block, secrets=stage.secrets) as sentence:
        assert "certificate of amqps://other.svc:5671 is not trusted" in sentence
    # And where nobody listens, the sentence says where the rule led
    async with raising("amqp", {**upstream.block, "url": "amqp://away.svc:5672"}) as sentence:
        assert "amqp://away.svc:5672" in sentence and "--resolve leads to 127.0.0.1:1" in sentence


async def test_a_deleted_queue_ends_the_run_and_the_next_one_makes_it_anew(upstream: Publisher, stage: Stage) -> None:
    # Given a source that receives
    await stage.start()
    # When its queue is deleted
    await upstream.channel.queue_delete(upstream.queue)
    # Then run raises a sentence, and the next run serves again
    await eventually(lambda: len(stage.listening) == 2)
    (error,) = stage.errors
    assert isinstance(error, SourceError) and upstream.queue in str(error)
    await upstream.send("one")
    await stage.events(1)


async def test_a_broker_that_is_killed_loses_nothing_and_repeats_by_the_same_ids(
    upstream: Publisher, stage: Stage
) -> None:
    # Given messages under way in emit, and more in the queue
    stage.block["prefetch"] = 20
    await stage.start()
    stage.close_gate()
    for number in range(100):
        await upstream.publish(orjson.dumps({"text": str(number)}), message_id=f"id-{number}")
    await eventually(lambda: stage.under_way == 20)
    first = {event.id for event in stage.offered}
    # When the broker is killed with SIGKILL, and comes back
    await upstream.broker.restart()
    await eventually(lambda: bool(stage.errors))
    stage.open_gate()
    # Then every message is an event, and those repeated have the ids they had
    await eventually(lambda: len({event.id for event in stage.emitted}) == 100, "every message")
    assert {upstream.text_of(event.data) for event in stage.emitted} == {str(number) for number in range(100)}
    offered = [event.id for event in stage.offered]
    assert first == {f"id-{number}" for number in range(20)}
    assert all(offered.count(name) >= 2 for name in first)
    await eventually(lambda: upstream.depth() == Depth(0, 0))
    assert isinstance(stage.errors[0], SourceError) and "was lost" in str(stage.errors[0])
    await upstream.again()


async def test_a_killed_broker_in_a_running_stream_of_messages_loses_none(upstream: Publisher, stage: Stage) -> None:
    # Given a publisher that sends again what was not confirmed
    await stage.start()
    total = 2000
    confirmed = 0

    async def stream() -> None:
        nonlocal confirmed
        while confirmed < total:
            try:
                await upstream.publish(orjson.dumps({"text": str(confirmed)}), message_id=f"id-{confirmed}")
            except (aiormq.AMQPError, RuntimeError, OSError, asyncio.CancelledError):
                with contextlib.suppress(aiormq.AMQPError, OSError):
                    await upstream.again()
                await asyncio.sleep(0.05)
            else:
                confirmed += 1

    sending = asyncio.create_task(stream())
    # When the broker is killed in the middle, twice
    for mark in (500, 1200):
        await eventually(lambda mark=mark: confirmed >= mark)  # type: ignore[misc]
        await upstream.broker.restart()
    await sending
    # Then every confirmed message is an event
    await eventually(lambda: len({event.id for event in stage.emitted}) == total, "every message")
    await eventually(lambda: upstream.depth() == Depth(0, 0))


async def test_oslo_notifications_are_unwrapped_and_their_message_id_is_the_events_id(
    upstream: Publisher, stage: Stage
) -> None:
    # Given a source that asks for notifications of an oslo.messaging service
    stage.block |= {"oslo": True, "routingKey": "notifications.info"}
    await stage.start()
    # When the real notifier sends some, with and without envelope
    await notify(upstream.broker.url, exchange=upstream.exchange, count=3)
    await notify(upstream.broker.url, exchange=upstream.exchange, count=1, driver="messaging")
    # Then the bodies are the notifications, and the ids theirs
    events = await stage.events(4)
    for event in events:
        body = event.data["body"]
        assert body["event_type"] == "port.create.end"
        assert body["payload"]["port"]["name"] == "größe <b> & co"
        assert event.id == body["message_id"]
    assert [event.data["body"]["payload"]["port"]["id"] for event in events] == ["port-0", "port-1", "port-2", "port-0"]
    assert len({event.id for event in events}) == 4
    assert not stage.refused


async def test_an_oslo_envelope_is_kept_by_default_and_still_names_the_event(upstream: Publisher, stage: Stage) -> None:
    # Given a manifest as upstream runs it
    stage.block["routingKey"] = "notifications.info"
    await stage.start()
    # When the real notifier sends
    await notify(upstream.broker.url, exchange=upstream.exchange, count=1)
    # Then the body is the envelope, whose inner text names the event
    (event,) = await stage.events(1)
    assert set(event.data["body"]) == {"oslo.version", "oslo.message"}
    name = orjson.loads(event.data["body"]["oslo.message"])["message_id"]
    assert event.id is not None and event.id.startswith(f"{name}/")


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"nothing", "not JSON"),
        (b"[1]", "not an object"),
        (b'{"a": 1}', "neither 'oslo.message' nor 'event_type'"),
        (b'{"oslo.version": "3.0", "oslo.message": "{}"}', "version '3.0'"),
        (b'{"oslo.version": "2.0", "oslo.message": {}}', "not text"),
        (b'{"oslo.version": "2.0", "oslo.message": "{"}', "not JSON"),
        (b'{"oslo.version": "2.0", "oslo.message": "[]"}', "not an object"),
    ],
)
async def test_a_malformed_oslo_envelope_is_refused_with_a_sentence(
    upstream: Publisher, stage: Stage, body: bytes, named: str
) -> None:
    # Given a source that asks for oslo.messaging
    stage.block["oslo"] = True
    await stage.start()
    # When something else comes
    await upstream.publish(body)
    # Then it is refused, once, and the queue is empty
    await eventually(lambda: len(stage.refused) == 1)
    await eventually(lambda: upstream.depth() == Depth(0, 0))
    assert named in stage.refused[0] and "oslo" in stage.refused[0]
    assert stage.offered == []


async def test_a_restarted_source_consumes_by_the_tag_that_the_manifest_names(
    upstream: Publisher, stage: Stage
) -> None:
    # Given a consumer tag
    stage.block["consume"] = {"consumerTag": "argo-events", "autoAck": True, "exclusive": True}
    await stage.start()
    # When the source has stopped and started
    await stage.stop()
    assert upstream.broker.consumers(upstream.queue) == []
    await stage.start()
    # Then one consumer of that tag is there, which acknowledges whatever autoAck says
    assert upstream.broker.consumers(upstream.queue) == [Consumer("argo-events", True, 64)]
