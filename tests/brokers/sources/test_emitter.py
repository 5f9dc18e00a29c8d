"""The ``emitter`` source against a real Mosquitto, whose protocol is Emitter's: the suite of every source, and what Emitter's
documents say of topics.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import ClassVar

import pytest

from argosy.errors import SourceError
from argosy.manifests.fields import Json
from argosy.registry import wrap
from argosy.sources._raw import Raw
from tests.brokers.sources import mqtt_publisher
from tests.brokers.sources.mosquitto import Mosquitto
from tests.brokers.sources.mqtt_publisher import AUTH
from tests.brokers.sources.suite import BrokerSuite
from tests.conformance.source import SourceSuite, Stage, eventually, on_stage

KEY = "xFpmgfqXvEjqVlJGBAqVrfKQ3rzSNgvK"


class Publisher(mqtt_publisher.Publisher):
    """Publishes to one channel, as Emitter's clients do: the key before it and a slash behind it."""

    kind = "emitter"
    redelivers = keeps = False

    def __init__(self, server: Mosquitto) -> None:
        super().__init__(server)
        self.place = self.topic
        self.block = {
            "broker": server.url,
            "channelKey": KEY,
            "channelName": self.topic,
            "jsonBody": True,
            **AUTH,
        }

    async def again(self) -> None:
        await eventually(self._paho.is_connected, "the publisher is back")

    async def publish(self, body: bytes, *, topic: str = "", qos: int = 1, retain: bool = False) -> None:
        await super().publish(body, topic=topic or f"{KEY}/{self.topic}/", qos=qos, retain=retain)

    def at(self, host: str) -> dict[str, Json]:
        return {"broker": f"ssl://{host}"}

    def text_of(self, data: Json) -> str:
        assert list(data) == ["topic", "body"] or list(data)[2:] == ["metadata"]
        assert data["topic"] == f"{self.topic}/"
        return str(data["body"]["text"])


@pytest.fixture
async def upstream(mosquitto: Mosquitto) -> AsyncIterator[Publisher]:
    async with Publisher(mosquitto) as publisher:
        yield publisher


class TestEmitter(BrokerSuite, SourceSuite):
    kind = "emitter"
    server = Mosquitto
    publisher = Publisher
    nobody: ClassVar[dict[str, Json]] = {"broker": "tcp://127.0.0.1:9"}
    by_tls = "ssl://{}:443"
    login_refused = "auth"
    impatient: ClassVar[dict[str, float]] = {"_mqtt_session.KEEP_ALIVE_SECONDS": 1}
    _good: ClassVar[dict[str, Json]] = {"broker": "tcp://b:8080", "channelKey": "k", "channelName": "c"}
    bad_blocks: ClassVar[list[tuple[dict[str, Json], str]]] = [
        ({"channelKey": "k", "channelName": "c"}, "broker"),
        ({"broker": "tcp://b:8080", "channelName": "c"}, "channelKey"),
        ({"broker": "tcp://b:8080", "channelKey": "k"}, "channelName"),
        ({**_good, "channelKey": ""}, "channelKey"),
        ({**_good, "channelKey": "k/#"}, "channelKey"),
        ({**_good, "channelName": ""}, "channelName"),
        ({**_good, "channelName": "a//b"}, "channelName"),
        ({**_good, "channelName": "a+/b"}, "channelName"),
        ({**_good, "broker": "http://b"}, "ssl://"),
        ({**_good, "password": {"name": "s", "key": "k"}}, "username"),
        ({**_good, "tls": {}}, "caCertSecret"),
    ]


async def test_the_data_has_upstreams_keys_and_never_the_key_of_the_channel(upstream: Publisher, stage: Stage) -> None:
    # Given a source of a channel that is written with slashes and without jsonBody
    stage.block |= {"channelName": f"/{upstream.topic}/", "jsonBody": False, "metadata": {"a": "b"}}
    await stage.start()
    # When bytes come, then the data is upstream's, and what wrap makes of the same message is the same
    await upstream.publish(b"\x00\xff")
    (event,) = await stage.events(1)
    body = base64.b64encode(b"\x00\xff").decode()
    assert event.raw.decode() == f'{{"topic":"{upstream.topic}/","body":"{body}","metadata":{{"a":"b"}}}}'
    assert wrap("emitter", stage.context().config, Raw(b"\x00\xff", {})) == (event.raw, None)
    assert KEY not in f"{event.raw!r} {stage.listening}"


@pytest.mark.parametrize("granted", [b"\x00", b"\x80"])
async def test_a_channel_is_written_as_emitter_reads_it_and_a_refusal_shows_no_key(granted: bytes) -> None:
    # Given a broker that notes what is subscribed to, and refuses it with Emitter's words
    asked: list[bytes] = []

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readexactly(2)
        await reader.readexactly(head[1])
        writer.write(b"\x20\x02\x00\x00")
        head = await reader.readexactly(2)
        asked.append(await reader.readexactly(head[1]))
        error = f'{{"status":401,"message":"the key {KEY} is not authorized"}}'.encode()
        topic = b"emitter/error/"
        body = len(topic).to_bytes(2, "big") + topic + error
        writer.write(b"\x90\x03\x00\x01" + granted + b"\x30" + bytes((len(body),)) + body)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say, "127.0.0.1", 0)
    url = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with on_stage("emitter", {"broker": url, "channelKey": KEY, "channelName": "a/+/b?last=5"}) as stage:
        # When the source starts
        with pytest.raises(SourceError) as raised:
            await stage.plugin().run(stage.context())
        # Then the topic is Emitter's, and its error ends the run with a sentence that shows no key
        assert asked[0][4:-1].decode() == f"{KEY}/a/+/b/?last=5"
        assert ("refuses" if granted == b"\x80" else "not authorized") in str(raised.value)
        assert KEY not in str(raised.value)
    server.close()
