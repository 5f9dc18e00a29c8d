"""The ``redis`` source against a real Redis: the suite of every source, and what is a channel's own."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import Any, ClassVar, Self

import orjson
import pytest

from argosy.errors import SourceError
from argosy.manifests.fields import Json
from argosy.registry import wrap
from argosy.sources._raw import Raw
from tests.brokers.sources.redis_server import PASSWORD, RedisServer
from tests.brokers.sources.suite import BrokerSuite, BrokerUpstream
from tests.conformance.source import SourceSuite, Stage, eventually, on_stage

_numbers = itertools.count(1)
_SECRETS = {("redis", "password"): PASSWORD}


class Publisher(BrokerUpstream):
    """A client that publishes to one channel, which nobody else uses."""

    kind = "redis"
    server: RedisServer
    secrets = _SECRETS

    def __init__(self, server: RedisServer) -> None:
        super().__init__(server)
        self.channel = self.place = f"channel-{next(_numbers)}"
        self.block = {
            "hostAddress": server.address,
            "username": "argosy",
            "password": {"name": "redis", "key": "password"},
            "channels": [self.channel],
            "jsonBody": True,
        }

    async def __aenter__(self) -> Self:
        self.client = self.server.client()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.client.aclose()

    async def publish(self, body: bytes, channel: str = "") -> int:
        """How many receive it."""
        return int(await self.client.publish(channel or self.channel, body))

    async def send(self, text: str) -> None:
        await self.publish(orjson.dumps({"text": text}))

    async def send_bad(self) -> None:
        await self.publish(b"{no")

    def at(self, host: str) -> dict[str, Json]:
        return {"hostAddress": host}

    def text_of(self, data: Json) -> str:
        assert list(data) == ["channel", "pattern", "body"] or list(data)[3:] == ["metadata"]
        assert (data["channel"], data["pattern"]) == (self.channel, "")
        return str(data["body"]["text"])


@pytest.fixture
async def upstream(redis_server: RedisServer) -> AsyncIterator[Publisher]:
    async with Publisher(redis_server) as publisher:
        yield publisher


class TestRedis(BrokerSuite, SourceSuite):
    kind = "redis"
    server = RedisServer
    publisher = Publisher
    nobody: ClassVar[dict[str, Json]] = {"hostAddress": "127.0.0.1:9"}
    by_tls = "rediss://{}:6379"
    login_refused = "refuses the user"
    impatient: ClassVar[dict[str, float]] = {"redis._SILENCE_SECONDS": 0.05}
    bad_blocks: ClassVar[list[tuple[dict[str, Json], str]]] = [
        ({"channels": ["c"]}, "hostAddress"),
        ({"hostAddress": "redis:6379"}, "channels"),
        ({"hostAddress": "redis:6379", "channels": []}, "channels"),
        ({"hostAddress": "redis:6379", "channels": [""]}, "empty name"),
        ({"hostAddress": "redis:port", "channels": ["c"]}, "hostAddress"),
        ({"hostAddress": "redis:6379", "channels": ["c"], "tls": {}}, "caCertSecret"),
    ]


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
