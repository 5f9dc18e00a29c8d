"""How the ``mqtt`` source comes to its broker: TLS, passwords, refusals, and bytes that are no MQTT."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from argosy.errors import SourceError
from argosy.manifests.fields import Json
from argosy.sources import _mqtt_packets as packets
from tests.brokers.sources.mosquitto import PASSWORD, Mosquitto
from tests.brokers.sources.mqtt_publisher import Publisher
from tests.brokers.sources.server import CLIENT_TLS
from tests.conformance.source import Stage, ended, on_stage, raising


@pytest.fixture
async def upstream(mosquitto: Mosquitto) -> AsyncIterator[Publisher]:
    async with Publisher(mosquitto) as publisher:
        yield publisher


async def test_a_source_is_cancelled_while_the_broker_does_not_answer() -> None:
    # Given a server that accepts connections and says nothing
    came, gone = asyncio.Event(), asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        while await reader.read(100):
            pass
        writer.close()
        gone.set()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with on_stage("mqtt", {"url": f"tcp://127.0.0.1:{port}", "topic": "t", "clientId": "c"}) as stage:
        task = asyncio.create_task(stage.plugin().run(stage.context()))
        await came.wait()
        # When the source is cancelled, then it ends, and its connection with it
        task.cancel()
        await ended(task)
        await gone.wait()
    silent.close()


async def test_tls_with_our_authority_and_our_certificate(upstream: Publisher, stage: Stage) -> None:
    # Given a tls block, and a URL that does not speak of TLS
    broker = upstream.server
    stage.block |= {"url": f"tcp://127.0.0.1:{broker.tls_port}", "tls": CLIENT_TLS}
    stage.secrets |= broker.tls_secrets()
    # When the source starts, then the connection is encrypted, and messages come
    await stage.start()
    assert "ssl://" in stage.listening[0]
    await upstream.send("one")
    await stage.events(1)


async def test_refusals_are_sentences_that_show_no_password(upstream: Publisher) -> None:
    broker, block = upstream.server, upstream.block
    anonymous = {key: value for key, value in block.items() if key != "auth"}
    cases: list[tuple[dict[str, Json], list[str]]] = [
        ({**anonymous, "url": f"tcp://argosy:wrong@127.0.0.1:{broker.port}"}, ["auth"]),
        (anonymous, ["auth"]),
        ({**block, "url": "tcp://127.0.0.1:9"}, ["nothing listens at tcp://127.0.0.1:9"]),
        ({**block, "url": "tcp://no.such.invalid"}, ["no host 'no.such.invalid'"]),
        ({**block, "url": f"tcp://127.0.0.1:{broker.tls_port}"}, ["want TLS"]),
        ({**block, "url": f"ssl://127.0.0.1:{broker.port}"}, ["TLS"]),
        ({**block, "url": f"ssl://127.0.0.1:{broker.tls_port}"}, ["not trusted", "caCertSecret"]),
    ]
    for faulty, named in cases:
        async with raising("mqtt", faulty, secrets=dict(upstream.secrets)) as sentence:
            assert all(text in sentence for text in named), sentence
            assert "wrong" not in sentence and PASSWORD not in sentence


async def test_user_and_password_of_the_url_are_read_percent_decoded(upstream: Publisher, stage: Stage) -> None:
    # Given a URL with both
    del stage.block["auth"]
    stage.block["url"] = f"mqtt://argosy:p%40ss%2Fw%3Ard%2541@127.0.0.1:{upstream.server.port}"
    # When the source starts, then it is let in
    await stage.start()
    await upstream.send("one")
    await stage.events(1)


async def _packet(data: bytes) -> packets.Packet:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return await packets.read_packet(reader)


@pytest.mark.parametrize("size", [0, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, packets.LARGEST])
async def test_a_packet_of_any_length_is_read_back(size: int) -> None:
    text = packets._framed(0x32, b"\0\1t\0\7" + b"x" * size)
    message = packets.published(await _packet(text))
    assert (message.topic, message.packet_id, len(message.payload)) == ("t", 7, min(size, packets.LARGEST - 5))
    assert message.cut == (size + 5 > packets.LARGEST)


@pytest.mark.parametrize(
    "data", [b"\x30\xff\xff\xff\xff\x01", b"\x30\x01\x00", b"\x36\x05\0\1t\0\1", b"\x30\x02\0\x09"]
)
async def test_bytes_that_are_no_mqtt_end_the_connection_with_a_sentence(data: bytes) -> None:
    with pytest.raises(SourceError, match="no MQTT"):
        packets.published(await _packet(data))
