"""The ``redis`` source against a real Redis: the suite of every source, and what is a channel's own."""

from __future__ import annotations

import itertools
import logging
import signal
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import orjson
import pytest

from argosy.errors import EventTooLarge, SourceError
from argosy.manifests.fields import Json
from argosy.sources._raw import Raw, wrap
from tests.brokers.sources.in_flight import wait_beyond_64
from tests.brokers.sources.redis_server import PASSWORD, RedisServer
from tests.brokers.sources.server import CLIENT_TLS
from tests.conformance.source import SourceSuite, Stage, Upstream, eventually, on_stage

_numbers = itertools.count(1)
_SECRETS = {("redis", "password"): PASSWORD}


class Publisher(Upstream):
    """A client that publishes to one channel, which nobody else uses."""

    secrets = _SECRETS

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.channel = f"channel-{next(_numbers)}"
        self.block = {
            "hostAddress": server.address,
            "username": "argosy",
            "password": {"name": "redis", "key": "password"},
            "channels": [self.channel],
            "jsonBody": True,
        }

    async def __aenter__(self) -> Publisher:
        self.client = self.server.client()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.client.aclose()

    async def publish(self, body: bytes, channel: str = "") -> int:
        """How many receive it."""
        return int(await self.client.publish(channel or self.channel, body))

    async def send(self, text: str) -> None:
        await self.publish(orjson.dumps({"text": text}))

    def text_of(self, data: Json) -> str:
        assert list(data) == ["channel", "pattern", "body"] or list(data)[3:] == ["metadata"]
        assert (data["channel"], data["pattern"]) == (self.channel, "")
        return str(data["body"]["text"])


@pytest.fixture
async def upstream(redis_server: RedisServer) -> AsyncIterator[Publisher]:
    async with Publisher(redis_server) as publisher:
        yield publisher


@pytest.fixture
async def stage(upstream: Publisher) -> AsyncIterator[Stage]:
    async with on_stage("redis", dict(upstream.block), secrets=dict(_SECRETS)) as stage:
        yield stage


class TestRedis(SourceSuite):
    kind = "redis"
    bad_blocks: ClassVar[list[tuple[dict[str, Json], str]]] = [
        ({"channels": ["c"]}, "hostAddress"),
        ({"hostAddress": "redis:6379"}, "channels"),
        ({"hostAddress": "redis:6379", "channels": []}, "channels"),
        ({"hostAddress": "redis:6379", "channels": [""]}, "empty name"),
        ({"hostAddress": "redis:port", "channels": ["c"]}, "hostAddress"),
        ({"hostAddress": "redis:6379", "channels": ["c"], "tls": {}}, "caCertSecret"),
    ]

    @pytest.fixture
    async def upstream(self, redis_server: RedisServer) -> AsyncIterator[Upstream]:
        async with Publisher(redis_server) as publisher:
            yield publisher


@pytest.mark.parametrize(
    ("json_body", "body", "embedded"),
    [
        (True, b'{ "a" : 1.0, "b": "<x>" }', '{"a":1.0,"b":"\\u003cx\\u003e"}'),
        (False, b'{ "a" : 1.0 }', '"{ \\"a\\" : 1.0 }"'),
        (False, "ä\n\x00<\ud800".encode("utf-8", "surrogatepass"), '"ä\\n\\u0000\\u003c\ufffd\ufffd\ufffd"'),
    ],
)
async def test_the_data_has_upstreams_keys_and_the_body_as_go_embeds_it(
    upstream: Publisher, stage: Stage, json_body: bool, body: bytes, embedded: str
) -> None:
    # Given a source that reads JSON, or text
    stage.block |= {"jsonBody": json_body, "metadata": {"m": "1"}, "namespace": "ignored"}
    await stage.start()
    # When a message comes
    await upstream.publish(body)
    # Then the data is upstream's, to the byte, and what wrap makes of the same message is the same
    (event,) = await stage.events(1)
    written = f'{{"channel":"{upstream.channel}","pattern":"","body":{embedded},"metadata":{{"m":"1"}}}}'
    assert event.raw.decode() == written
    assert wrap("redis", stage.context().config, Raw(body, {"channel": upstream.channel})) == (event.raw, None)


async def test_every_channel_is_received_once_though_it_is_named_twice(upstream: Publisher, stage: Stage) -> None:
    # Given two channels, one of them named twice
    other = f"other-{upstream.channel}"
    stage.block["channels"] = [upstream.channel, other, upstream.channel]
    await stage.start()
    # When each gets a message
    assert await upstream.publish(b'"1"') == 1
    assert await upstream.publish(b'"2"', other) == 1
    # Then both are events
    events = await stage.events(2)
    assert [event.data["body"] for event in events] == ["1", "2"]


@pytest.mark.parametrize("failure", ["not JSON", "too large"])
async def test_a_message_that_cannot_become_an_event_is_counted_and_the_next_is_served(
    upstream: Publisher, stage: Stage, failure: str
) -> None:
    await stage.start()
    # Given a message that is no JSON, or that the bus will never take
    if failure == "too large":
        stage.failure = EventTooLarge("the event has 2 MB, the bus takes 1 MB")
        await upstream.send("large")
    else:
        await upstream.publish(b"{no")
    await eventually(lambda: len(stage.refused) == 1)
    stage.failure = None
    # When a good one comes, then it is an event
    await upstream.send("good")
    (event,) = await stage.events(1)
    assert upstream.text_of(event.data) == "good"
    assert upstream.channel in stage.refused[0]
    assert not stage.errors


async def test_no_more_than_64_messages_are_under_way_and_they_begin_in_order(
    upstream: Publisher, stage: Stage
) -> None:
    await wait_beyond_64(upstream, stage, 100)


async def test_while_the_bus_does_not_answer_the_rest_is_left_to_the_server(tmp_path: Any) -> None:
    # Given a server that keeps 200 kB for a client, and a bus that does not answer
    with RedisServer(tmp_path) as server:
        async with Publisher(server) as upstream:
            async with on_stage("redis", dict(upstream.block), secrets=dict(_SECRETS)) as stage:
                await upstream.client.config_set("client-output-buffer-limit", "pubsub 200kb 0 0")
                await stage.start()
                stage.close_gate()
                # When far more is published than it and the network hold
                while await upstream.publish(b'"%b"' % (b"x" * 500_000)):
                    pass
                # Then the server has ended the connection: nothing piled up in the source
                assert stage.under_way <= 64
                stage.open_gate()
                # And the source comes back, and says why it went
                await eventually(lambda: len(stage.listening) == 2)
                assert isinstance(stage.errors[0], SourceError) and "was lost" in str(stage.errors[0])
                await upstream.send("after")
                await eventually(lambda: any(each.data["body"] == {"text": "after"} for each in stage.emitted))


async def test_a_killed_server_is_come_back_to(upstream: Publisher, stage: Stage) -> None:
    # Given a message whose emit is under way
    await stage.start()
    stage.close_gate()
    await upstream.send("before")
    await eventually(lambda: stage.under_way == 1)
    # When the server is killed and comes back
    await upstream.server.restart()
    stage.open_gate()
    await eventually(lambda: len(stage.listening) == 2)
    await upstream.send("after")
    # Then both are events, each once
    await stage.events(2)
    assert [upstream.text_of(event.data) for event in stage.emitted] == ["before", "after"]
    assert all(isinstance(error, SourceError) and "127.0.0.1" in str(error) for error in stage.errors)


async def test_a_silent_server_is_asked_whether_it_is_there(
    upstream: Publisher, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a source that asks soon
    monkeypatch.setattr("argosy.sources.redis._SILENCE_SECONDS", 0.05)
    await stage.start()
    # When nothing comes for long, then nothing ends
    await upstream.settle()
    await upstream.send("one")
    await stage.events(1)
    assert not stage.errors
    # And when the server stands still, the source says so
    upstream.server.signal(signal.SIGSTOP)
    try:
        await eventually(lambda: len(stage.errors) >= 1)
    finally:
        upstream.server.signal(signal.SIGCONT)
    assert "has not answered" in str(stage.errors[0])


async def test_a_rotated_password_is_taken_up_and_no_secret_is_logged(
    tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with RedisServer(tmp_path) as server:
        async with Publisher(server) as upstream:
            async with on_stage("redis", dict(upstream.block), secrets=dict(_SECRETS)) as stage:
                await stage.start()
                # Given a server that has a new password
                server.password = "another-one"
                await server.restart()
                # When the source is refused, and the secret changes
                await eventually(lambda: bool(stage.errors) and "refuses the user" in str(stage.errors[-1]))
                stage.secrets["redis", "password"] = "another-one"
                # Then it receives again
                await eventually(lambda: len(stage.listening) == 2)
                told = f"{stage.errors} {stage.listening} {caplog.text}"
    assert "another-one" not in told and PASSWORD not in told


async def test_tls_with_our_authority_and_our_certificate(upstream: Publisher, stage: Stage) -> None:
    stage.block |= {"hostAddress": f"127.0.0.1:{upstream.server.tls_port}", "tls": CLIENT_TLS}
    stage.secrets |= upstream.server.tls_secrets()
    await stage.start()
    await upstream.send("one")
    await stage.events(1)
