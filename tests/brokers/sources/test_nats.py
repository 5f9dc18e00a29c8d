"""The ``nats`` source against a real NATS server: the suite of every source, and what is NATS' own."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import orjson
import pytest

from argosy.errors import SourceError
from argosy.manifests.fields import Json
from argosy.registry import wrap
from argosy.sources._raw import Raw
from tests.brokers.sources.nats_publisher import SECRETS, Publisher
from tests.brokers.sources.nats_server import PASSWORD, NatsServer
from tests.brokers.sources.suite import BrokerSuite
from tests.conformance.source import SourceSuite, Stage, ended, eventually, on_stage


@pytest.fixture
async def upstream(nats_server: NatsServer) -> AsyncIterator[Publisher]:
    async with Publisher(nats_server) as publisher:
        yield publisher


class TestNats(BrokerSuite, SourceSuite):
    kind = "nats"
    server = NatsServer
    publisher = Publisher
    nobody: ClassVar[dict[str, Json]] = {"url": "nats://127.0.0.1:9"}
    by_tls = "nats://{}:4222"
    login_refused = "credentials"
    impatient: ClassVar[dict[str, float]] = {
        "_nats_protocol._PING_SECONDS": 0.05,
        "_nats_protocol._SILENCE_SECONDS": 1.0,
        "_nats_protocol._ANSWER_SECONDS": 1.0,
    }
    has_tls_port = False
    bad_blocks: ClassVar[list[tuple[dict[str, Json], str]]] = [
        ({"subject": "s"}, "url"),
        ({"url": "nats://n:4222"}, "subject"),
        ({"url": "", "subject": "s"}, "url"),
        ({"url": "http://n", "subject": "s"}, "nats://"),
        ({"url": "nats://n:port", "subject": "s"}, "url"),
        ({"url": "nats://n:4222", "subject": "a b"}, "subject"),
        ({"url": "nats://n:4222", "subject": "a..b"}, "subject"),
        ({"url": "nats://n:4222", "subject": "a.>.b"}, "subject"),
        ({"url": "nats://n:4222", "subject": "s\r\nPUB x 0"}, "subject"),
        ({"url": "nats://n:4222", "subject": "s", "queue": ""}, "queue"),
        ({"url": "nats://n:4222", "subject": "s", "queue": "a b"}, "queue"),
        ({"url": "nats://n:4222", "subject": "s", "auth": {"basic": {"username": {"name": "s", "key": "k"}}}}, "basic"),
        ({"url": "nats://n:4222", "subject": "s", "tls": {}}, "caCertSecret"),
    ]

    def test_the_password_of_a_url_that_cannot_be_read_is_not_shown(self) -> None:
        with pytest.raises(ValueError) as raised:
            self.plugin().config.model_validate({"url": "nats://user:pass/word@n:4222", "subject": "s"})
        assert "word@" not in str(raised.value)


async def test_the_data_has_upstreams_keys_all_headers_and_the_body_as_go_embeds_it(
    upstream: Publisher, stage: Stage
) -> None:
    # Given a source with metadata
    stage.block["metadata"] = {"m": "1"}
    await stage.start()
    # When a message comes with a header that has two values, written as on the wire
    head = b"NATS/1.0\r\nX-one: a\r\nx-two: 1\r\nx-two: 2\r\nNats-Msg-Id: id-7\r\n\r\n"
    body = b'{ "a" : 1.0, "b": "<x>" }'
    command = f"HPUB {upstream.subject}.b {len(head)} {len(head) + len(body)}\r\n".encode()
    await upstream.client._send_command(command + head + body + b"\r\n")
    await upstream.flush()
    # Then the data is upstream's, to the byte, and the publisher's id is the event's
    (event,) = await stage.events(1)
    assert event.raw.decode() == (
        f'{{"subject":"{upstream.subject}.b","body":{{"a":1.0,"b":"\\u003cx\\u003e"}},'
        '"header":{"Nats-Msg-Id":["id-7"],"X-one":["a"],"x-two":["1","2"]},"metadata":{"m":"1"}}'
    )
    assert event.id == "id-7"


async def test_without_json_body_the_bytes_are_base64_and_test_tools_make_the_same(
    upstream: Publisher, stage: Stage
) -> None:
    # Given a source without jsonBody
    stage.block["jsonBody"] = False
    await stage.start()
    # When bytes come, with a header
    await upstream.publish(b"\x00\xff", headers={"a": "b"})
    # Then they are base64, and what wrap makes of the same message is the same
    (event,) = await stage.events(1)
    assert event.data["body"] == base64.b64encode(b"\x00\xff").decode()
    raw = Raw(b"\x00\xff", {"subject": f"{upstream.subject}.a", "a": "b"})
    assert wrap("nats", stage.context().config, raw) == (event.raw, None)


async def test_a_message_as_large_as_the_server_takes_is_read(upstream: Publisher, stage: Stage) -> None:
    await stage.start()
    await upstream.publish(b'"%b"' % (b"x" * 1_000_000))
    (event,) = await stage.events(1)
    assert len(event.data["body"]) == 1_000_000


async def test_members_of_a_queue_group_share_the_messages(upstream: Publisher, stage: Stage) -> None:
    # Given two members of a group
    stage.block["queue"] = "workers"
    async with on_stage("nats", dict(stage.block), secrets=dict(SECRETS)) as second:
        await stage.start()
        await second.start()
        # When messages come
        texts = [f"{number:02}" for number in range(40)]
        for text in texts:
            await upstream.send(text)
        # Then each is an event of one of them
        await eventually(lambda: len(stage.emitted) + len(second.emitted) >= 40)
        await upstream.settle()
        emitted = [*stage.emitted, *second.emitted]
        assert sorted(upstream.text_of(event.data) for event in emitted) == texts
        assert stage.emitted and second.emitted


async def test_what_the_server_sent_before_the_source_ends_is_still_taken(upstream: Publisher, stage: Stage) -> None:
    # Given a source that stands still while messages come to it
    await stage.start()
    loop_stands = [f"{number:02}" for number in range(20)]
    for text in loop_stands:
        await upstream.client.publish(f"{upstream.subject}.a", orjson.dumps({"text": text}))
    await upstream.flush()
    # When it is cancelled at once
    await stage.stop()
    # Then all are events
    assert [upstream.text_of(event.data) for event in stage.emitted] == loop_stands


async def test_a_message_that_comes_before_the_subscription_is_confirmed_is_finished_like_any_other() -> None:
    # Given a server that sends a message at once and confirms late, which no real one can be made to do
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"headers":true}\r\nPONG\r\n')
        while line := await reader.readline():
            if line.startswith(b"SUB"):
                writer.write(b"MSG s 1 1\r\nx\r\n")
            elif line.startswith(b"UNSUB"):
                writer.write(b"PONG\r\n")
        writer.close()

    server = await asyncio.start_server(say, "127.0.0.1", 0)
    url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with on_stage("nats", {"url": url, "subject": "s"}) as stage:
        stage.close_gate()
        task = asyncio.create_task(stage.plugin().run(stage.context()))
        await eventually(lambda: stage.under_way == 1)
        # When the source is cancelled, then it waits for the emit under way
        task.cancel()
        await asyncio.sleep(0.15)
        assert not task.done()
        # And ends when that has
        stage.open_gate()
        await ended(task)
        assert (len(stage.emitted), stage.cut_off) == (1, 0)
    server.close()


async def test_while_the_bus_does_not_answer_the_rest_is_left_to_the_server(tmp_path: Any) -> None:
    # Given a server that keeps 2 MB for a client, and a bus that does not answer
    extra = "max_pending: 2000000\nno_auth_user: argosy\n"
    extra += f'authorization {{ users = [{{ user: argosy, password: "{PASSWORD}" }}] }}\n'
    with NatsServer(tmp_path, extra) as server:
        async with Publisher(server) as upstream:
            async with on_stage("nats", dict(upstream.block), secrets=dict(SECRETS)) as stage:
                await stage.start()
                stage.close_gate()
                # When far more is published than it and the network hold
                while "Slow Consumer" not in server.output():
                    await upstream.publish(b'"%b"' % (b"x" * 500_000))
                # Then the server has given the source up: nothing piled up in it
                assert stage.under_way <= 64
                stage.open_gate()
                # And the source comes back
                await eventually(lambda: len(stage.listening) == 2)
                assert isinstance(stage.errors[0], SourceError)
                await upstream.send("after")
                await eventually(lambda: any(each.data["body"] == {"text": "after"} for each in stage.emitted))
