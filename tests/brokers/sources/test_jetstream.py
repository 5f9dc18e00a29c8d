"""The ``jetstream`` source against a real NATS server: the suite of every source, and what is JetStream's own."""

from __future__ import annotations

import base64
import datetime as dt
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from argosy.errors import EventTooLarge, SourceError
from argosy.manifests.fields import Json
from argosy.registry import wrap
from argosy.sources._raw import Raw
from tests.brokers.nats_server import connect
from tests.brokers.sources.jetstream_publisher import DURABLE, JetstreamServer, StreamPublisher
from tests.brokers.sources.nats_publisher import BASIC, SECRETS
from tests.brokers.sources.nats_server import PASSWORD
from tests.brokers.sources.server import CLIENT_TLS
from tests.brokers.sources.suite import BrokerSuite
from tests.conformance.source import DictBucket, SourceSuite, Stage, ended, eventually, on_stage, raising


@pytest.fixture(scope="module")
def jetstream_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JetstreamServer]:
    with JetstreamServer(tmp_path_factory.mktemp("jetstream")) as server:
        yield server


@pytest.fixture
async def upstream(jetstream_server: JetstreamServer) -> AsyncIterator[StreamPublisher]:
    async with StreamPublisher(jetstream_server) as publisher:
        yield publisher


class TestJetstream(BrokerSuite, SourceSuite):
    kind = "jetstream"
    server = JetstreamServer
    publisher = StreamPublisher
    nobody: ClassVar[dict[str, Json]] = {"url": "nats://127.0.0.1:9"}
    by_tls = "nats://{}:4222"
    login_refused = "credentials"
    impatient: ClassVar[dict[str, float]] = {
        "_nats_protocol._PING_SECONDS": 0.05,
        "_nats_protocol._SILENCE_SECONDS": 1.0,
        "_nats_protocol._ANSWER_SECONDS": 1.0,
    }
    has_tls_port = False
    bad_blocks: ClassVar[list[tuple[dict[str, Any], str]]] = [
        ({"stream": "S"}, "url"),
        ({"url": "nats://n"}, "stream"),
        ({"url": "nats://n", "stream": "a.b"}, "stream"),
        ({"url": "nats://n", "stream": ""}, "stream"),
        ({"url": "nats://n", "stream": "S", "durable": "a b"}, "durable"),
        ({"url": "nats://n", "stream": "S", "domain": "*"}, "domain"),
        ({"url": "nats://n", "stream": "S", "subjects": ["a.>.b"]}, "a.>.b"),
        ({"url": "nats://n", "stream": "S", "start": "first"}, "start"),
        ({"url": "nats://n", "stream": "S", "start": "sequence"}, "startSequence"),
        ({"url": "nats://n", "stream": "S", "startSequence": 3}, "startSequence"),
        ({"url": "nats://n", "stream": "S", "start": "time"}, "startTime"),
        ({"url": "nats://n", "stream": "S", "start": "time", "startTime": "2026-01-31T12:00:00"}, "zone"),
        ({"url": "nats://n", "stream": "S", "ackWait": "1ms"}, "ackWait"),
        ({"url": "nats://n", "stream": "S", "auth": {"basic": {}}}, "basic"),
    ]


async def test_the_data_says_where_the_message_stands_and_has_all_headers(
    upstream: StreamPublisher, stage: Stage
) -> None:
    # Given a source with metadata
    stage.block["metadata"] = {"m": "1"}
    await stage.start()
    # When a message comes with a header of two values
    head = b"NATS/1.0\r\nX-one: a\r\nx-two: 1\r\nx-two: 2\r\n\r\n"
    body = b'{ "a" : 1.0, "b": "<x>" }'
    command = f"HPUB {upstream.subject}.b.c {len(head)} {len(head) + len(body)}\r\n".encode()
    await upstream.client._send_command(command + head + body + b"\r\n")
    await upstream.client.flush()
    (event,) = await stage.events(1)
    # Then its data is that of the nats kind and its place, to the byte, and the place is the event's id
    assert event.raw.decode() == (
        f'{{"subject":"{upstream.subject}.b.c","body":{{"a":1.0,"b":"\\u003cx\\u003e"}},'
        '"header":{"X-one":["a"],"x-two":["1","2"]},'
        f'"stream":"{upstream.stream}","sequence":1,"time":"{event.data["time"]}","metadata":{{"m":"1"}}}}'
    )
    nanoseconds = int(event.id.removeprefix(f"{upstream.stream}/1/"))
    assert dt.datetime.fromisoformat(event.data["time"][:26].rstrip("Z") + "+00:00").timestamp() == pytest.approx(
        nanoseconds / 1e9, abs=1e-5
    )
    # And what test tools make of the same message is the same, but for the nanoseconds
    headers = {"subject": f"{upstream.subject}.b.c", "X-one": "a", "sequence": "1", "time": "2026-01-31T12:00:00Z"}
    data, name = wrap("jetstream", stage.context().config, Raw(body, headers))
    assert data.decode() == event.raw.decode().replace(',"x-two":["1","2"]', "").replace(
        event.data["time"], "2026-01-31T12:00:00Z"
    )
    assert name == f"{upstream.stream}/1/1769860800000000000"


async def test_without_json_body_the_bytes_are_base64(upstream: StreamPublisher, stage: Stage) -> None:
    stage.block["jsonBody"] = False
    await stage.start()
    await upstream.publish(b"\x00\xff")
    (event,) = await stage.events(1)
    assert event.data["body"] == base64.b64encode(b"\x00\xff").decode()


@pytest.mark.parametrize(
    ("start", "seen"),
    [
        ({"start": "new"}, ["a4"]),
        ({"start": "all"}, ["a1", "b2", "a3", "a4"]),
        ({"start": "last"}, ["a3", "a4"]),
        ({"start": "lastPerSubject"}, ["b2", "a3", "a4"]),
        ({"start": "sequence", "startSequence": 2}, ["b2", "a3", "a4"]),
        ({"start": "time", "startTime": "2020-01-01T00:00:00+01:00"}, ["a1", "b2", "a3", "a4"]),
        ({"start": "all", "subjects": ["a"]}, ["a1", "a3", "a4"]),
        ({"start": "all", "subjects": ["a", "c.*"]}, ["a1", "a3", "a4"]),
    ],
)
async def test_a_new_consumer_begins_where_the_manifest_says(
    start: dict[str, Any], seen: list[str], upstream: StreamPublisher, stage: Stage
) -> None:
    # Given a stream that holds messages
    for text in ("a1", "b2", "a3"):
        await upstream.publish(b'"%b"' % text.encode(), text[0])
    stage.block.update(start)
    if "subjects" in start:
        stage.block["subjects"] = [f"{upstream.subject}.{each}" for each in start["subjects"]]
    # When the source starts, and one more comes
    await stage.start()
    await upstream.publish(b'"a4"')
    # Then it has what the manifest asks for
    await eventually(lambda: [event.data["body"] for event in stage.emitted] == seen, f"{seen} of {stage.emitted}")
    assert not stage.errors


async def test_changed_subjects_change_the_consumer_and_it_goes_on_where_it_stood(
    upstream: StreamPublisher, stage: Stage
) -> None:
    # Given a source whose consumer has a name that is made for it, and that has read one subject
    stage.block |= {"durable": "", "subjects": [f"{upstream.subject}.a"]}
    texts: list[Any] = []

    async def read(*expected: str) -> None:
        await eventually(lambda: [event.data["body"] for event in stage.emitted] == [*texts, *expected])
        texts.extend(expected)

    await upstream.publish(b'"a1"', "a")
    await stage.start()
    await read("a1")
    await stage.stop()
    await upstream.publish(b'"b2"', "b")
    await upstream.publish(b'"c3"', "c")
    # When the manifest names two, then what comes behind is read of both
    stage.block["subjects"] = [f"{upstream.subject}.a", f"{upstream.subject}.b"]
    await stage.start()
    await read("b2")
    await stage.stop()
    # And when it names none, then of all
    stage.block["subjects"] = []
    await upstream.publish(b'"c4"', "c")
    await stage.start()
    await read("c4")
    name = stage.listening[-1].rpartition("consumer ")[2].strip("'")
    assert name.startswith("argosy-default-stage-example-")
    assert (await upstream.consumer(name)).config.filter_subject is None


async def test_a_consumer_of_somebody_else_is_read_as_it_stands(upstream: StreamPublisher, stage: Stage) -> None:
    # Given a consumer that was made beforehand, for one subject
    await upstream.api.add_consumer(
        upstream.stream, durable_name=DURABLE, ack_policy="explicit", filter_subject=f"{upstream.subject}.a", ack_wait=7
    )
    await stage.start()
    # When messages come, then it reads that subject, and the consumer is not changed
    await upstream.publish(b'"b1"', "b")
    await upstream.publish(b'"a2"', "a")
    (event,) = await stage.events(1)
    assert event.data["body"] == "a2"
    assert (await upstream.consumer()).config.ack_wait == 7
    # And where the manifest has a time of its own, that is its time from then on
    await stage.stop()
    stage.block["ackWait"] = "9s"
    await stage.start()
    assert (await upstream.consumer()).config.ack_wait == 9


@pytest.mark.parametrize("config", [{"deliver_subject": "somewhere", "ack_policy": "explicit"}, {"ack_policy": "none"}])
async def test_a_consumer_that_proves_nothing_is_refused(
    config: dict[str, Any], upstream: StreamPublisher, stage: Stage
) -> None:
    await upstream.api.add_consumer(upstream.stream, durable_name=DURABLE, **config)
    async with raising("jetstream", stage.block, secrets=SECRETS) as sentence:
        assert f"consumer 'reader' of stream {upstream.stream!r} is no pull consumer with explicit" in sentence


async def test_a_message_that_waits_for_the_bus_is_not_delivered_again(upstream: StreamPublisher, stage: Stage) -> None:
    # Given a consumer that delivers again after a second without a sign
    stage.block["ackWait"] = "1s"
    await stage.start()
    stage.close_gate()
    # When an emit takes longer than that
    await upstream.send("one")
    await eventually(lambda: stage.under_way == 1)
    for _ in range(9):
        await upstream.settle()
    # Then the message is not delivered again
    found = await upstream.consumer()
    assert (found.num_redelivered, found.delivered.consumer_seq) == (0, 1)
    stage.open_gate()
    await eventually(lambda: len(stage.emitted) == 1)
    assert len(stage.offered) == 1


async def test_what_was_sent_and_not_begun_is_given_back_at_the_end(upstream: StreamPublisher, stage: Stage) -> None:
    # Given a source that is full, and the server has more
    await stage.start()
    stage.close_gate()
    for number in range(70):
        await upstream.send(f"{number:02}")
    await eventually(lambda: stage.under_way == 64)
    # When it is cancelled, then those under way are acknowledged, and the rest is there for the next run
    task = stage.begin_stop()
    stage.open_gate()
    await ended(task)
    await eventually(lambda: _is(upstream, 64))
    await stage.start()
    await stage.events(70)
    assert [upstream.text_of(event.data) for event in stage.emitted] == [f"{number:02}" for number in range(70)]


async def _is(upstream: StreamPublisher, count: int) -> bool:
    return await upstream.acknowledged() == count


async def test_a_server_that_was_killed_loses_nothing(upstream: StreamPublisher, stage: Stage) -> None:
    # Given events under way, and messages that nobody has read
    await stage.start()
    stage.close_gate()
    texts = [f"{number:02}" for number in range(80)]
    for text in texts:
        await upstream.send(text)
    await eventually(lambda: stage.under_way == 64)
    # When the server is killed and comes back
    await upstream.server.restart()
    await upstream.again()
    stage.open_gate()
    await eventually(lambda: len(stage.listening) == 2)
    await upstream.send("80")
    # Then all are events, and what is one twice has the same id
    await eventually(lambda: len({event.id for event in stage.emitted}) == 81)
    assert sorted({upstream.text_of(event.data) for event in stage.emitted}) == [*texts, "80"]
    assert all(isinstance(error, SourceError) for error in stage.errors)


async def test_a_consumer_that_is_lost_is_made_again_where_it_stood(
    upstream: StreamPublisher, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("argosy.sources._nats_protocol._PING_SECONDS", 0.05)
    # Given a source that has read two messages, and wrote down that they are acknowledged
    await stage.start()
    await upstream.send("one")
    await upstream.send("two")
    bucket = stage.bucket
    assert isinstance(bucket, DictBucket)

    def stands_at(sequence: int) -> bool:
        entry = bucket.entries.get("acknowledged")
        return entry is not None and entry.value.endswith(b", %d]" % sequence)

    await eventually(lambda: stands_at(2))
    # When its consumer is deleted while it runs, then it says so, and goes on
    await upstream.api.delete_consumer(upstream.stream, DURABLE)
    await upstream.send("three")
    await stage.events(3)
    assert "Deleted" in str(stage.errors[0])
    # And when the whole stream is another one, then it is read from its beginning
    await eventually(lambda: stands_at(3))
    await stage.stop()
    await upstream.api.delete_stream(upstream.stream)
    await upstream.again()
    await upstream.send("first of the new one")
    await stage.start()
    await stage.events(4)
    assert [event.data["body"]["text"] for event in stage.emitted] == ["one", "two", "three", "first of the new one"]
    assert len({event.id for event in stage.emitted}) == 4


async def test_what_cannot_be_had_is_said(upstream: StreamPublisher, stage: Stage, nats_server: Any) -> None:
    async with raising("jetstream", {**stage.block, "stream": "NONE"}, secrets=SECRETS) as sentence:
        assert f"there is no stream 'NONE' at nats://127.0.0.1:{upstream.server.port}" in sentence
    async with raising("jetstream", {**stage.block, "domain": "hub"}, secrets=SECRETS) as sentence:
        assert "no JetStream at '$JS.hub.API'" in sentence
    async with raising("jetstream", {**stage.block, "url": nats_server.url}, secrets=SECRETS) as sentence:
        assert "has no JetStream" in sentence
    async with raising("jetstream", {**stage.block, "subjects": ["other.>", "other.a"]}, secrets=SECRETS) as sentence:
        assert "consumer 'reader'" in sentence and "overlap" in sentence


async def test_a_message_that_is_too_large_is_ended_and_does_not_come_again(
    upstream: StreamPublisher, stage: Stage
) -> None:
    # Given a message that the bus will never take
    stage.failure = EventTooLarge("too large")
    await stage.start()
    await upstream.send("large")
    await eventually(lambda: _is(upstream, 1))
    await stage.stop()
    # When the source starts again, then it does not come again
    stage.failure = None
    await stage.start()
    await upstream.send("next")
    await eventually(lambda: len(stage.emitted) == 1)
    assert [upstream.text_of(event.data) for event in stage.offered] == ["large", "next"]


async def test_two_streams_with_the_same_manifest_names_have_consumers_of_their_own(
    upstream: StreamPublisher, stage: Stage
) -> None:
    # Given an event source whose name has a dot, which no consumer may have
    stage.block["durable"] = ""
    async with on_stage("jetstream", dict(stage.block), secrets=dict(SECRETS)) as other:
        await stage.start()
        context = other.context()
        object.__setattr__(context, "event_source", "sta.ge")
        from argosy.sources.jetstream import _durable

        assert _durable(context) != _durable(stage.context())
        assert "." not in _durable(context)


async def test_tls_with_our_certificate_and_a_host_that_is_led_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a server that wants to see a certificate, under a name that its own has, and one that it does not have
    server = JetstreamServer(tmp_path, tls=True)
    with server:
        names = ("kubernetes.default.svc", "other.svc")
        rules = (f"{name}:4222=127.0.0.1:{server.port}" for name in names)
        monkeypatch.setenv("ARGOSY_RESOLVE", " ".join(rules))
        tls = server.tls_secrets()
        context = ssl.create_default_context(cadata=tls["tls", "ca"])
        context.load_cert_chain(tmp_path / "client.crt", tmp_path / "client.key")
        client = await connect(server.url, user="argosy", password=PASSWORD, tls=context)
        await client.jetstream().add_stream(name="S", subjects=["s"])
        await client.jetstream().publish("s", b"1")
        block = {"url": f"nats://{names[0]}", "stream": "S", "start": "all", "tls": CLIENT_TLS, "auth": BASIC}
        # When the source starts, then it reads by the first, and does not trust the second
        async with on_stage("jetstream", block, secrets={**SECRETS, **tls}) as stage:
            await stage.start()
            await stage.events(1)
        block["url"] = f"nats://{names[1]}"
        async with raising("jetstream", block, secrets={**SECRETS, **tls}) as sentence:
            assert "certificate of nats://other.svc:4222 is not trusted" in sentence
        await client.close()


async def test_a_user_with_no_more_rights_than_it_takes_in_a_domain(tmp_path: Path) -> None:
    # Given a server with a domain, a consumer that somebody made, and a user who may read by it and nothing else
    rights = [
        "$JS.API.STREAM.INFO.ORDERS",
        "$JS.API.CONSUMER.INFO.ORDERS.reader",
        "$JS.API.CONSUMER.MSG.NEXT.ORDERS.reader",
        "$JS.ACK.>",
    ]
    permissions = f'publish: {json.dumps(rights)}, subscribe: "_INBOX.>"'
    all_rights = f'{{ user: argosy, password: "{PASSWORD}" }}'
    users = f"{all_rights}, {{ user: small, password: small, permissions: {{ {permissions} }} }}"
    server = JetstreamServer(tmp_path, f"authorization {{ users = [ {users} ] }}\n")
    server.settings = ", domain: hub"
    block = {"url": server.url, "stream": "ORDERS", "durable": "reader", "domain": "hub"}
    block["auth"] = {"basic": {each: {"name": "nats", "key": "small"} for each in ("username", "password")}}
    with server:
        block["url"] = server.url
        client = await connect(server.url, user="argosy", password=PASSWORD)
        api = client.jetstream(domain="hub")
        await api.add_stream(name="ORDERS", subjects=["orders.*"])
        await api.add_consumer("ORDERS", durable_name="reader", ack_policy="explicit", max_deliver=7)
        async with on_stage("jetstream", block, secrets={("nats", "small"): "small"}) as stage:
            # When messages come, then they are events, and acknowledged
            await stage.start()
            await api.publish("orders.a", b"1")
            (event,) = await stage.events(1)
            assert (event.data["stream"], event.data["sequence"]) == ("ORDERS", 1)
            assert event.id.startswith("ORDERS/1/17")

            async def told() -> bool:
                return (await api.consumer_info("ORDERS", "reader")).num_ack_pending == 0

            await eventually(told)
            # And without the right to make one, another consumer cannot be had, in a sentence
            await stage.stop()
            async with raising("jetstream", {**block, "durable": "mine"}, secrets=stage.secrets) as sentence:
                assert "Permissions Violation" in sentence and "grant the user this right" in sentence
        await client.close()
