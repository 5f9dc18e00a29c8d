"""How the ``mqtt`` source comes to its broker: TLS, passwords, refusals, and bytes that are no MQTT."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from argosy.errors import SourceError
from argosy.manifests.fields import Json
from argosy.sources import _mqtt_packets as packets
from tests.brokers.sources.mosquitto import PASSWORD, Mosquitto
from tests.brokers.sources.mqtt_publisher import SECRETS, Publisher, raising
from tests.brokers.sources.server import CLIENT_TLS
from tests.conformance.source import Stage, ended, eventually, on_stage


@pytest.fixture
async def upstream(mosquitto: Mosquitto) -> AsyncIterator[Publisher]:
    with Publisher(mosquitto) as publisher:
        yield publisher


@pytest.fixture
async def stage(upstream: Publisher) -> AsyncIterator[Stage]:
    async with on_stage("mqtt", dict(upstream.block), secrets=dict(SECRETS)) as stage:
        yield stage


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


async def test_a_rotated_password_is_taken_up_and_no_secret_is_logged(
    tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with Mosquitto(tmp_path) as broker, Publisher(broker) as upstream:
        async with on_stage("mqtt", dict(upstream.block), secrets=dict(SECRETS)) as stage:
            await stage.start()
            # Given a broker that has a new password
            broker.set_password("the new one")
            await broker.restart()
            # When the source is refused, and the secret changes
            await eventually(lambda: bool(stage.errors) and "auth" in str(stage.errors[-1]))
            stage.secrets["mqtt", "password"] = "the new one"
            # Then it receives again
            await eventually(lambda: len(stage.listening) == 2)
            told = f"{stage.errors} {stage.listening} {caplog.text}"
            assert "the new one" not in told and PASSWORD not in told


async def test_tls_with_our_authority_and_our_certificate(upstream: Publisher, stage: Stage) -> None:
    # Given a tls block, and a URL that does not speak of TLS
    broker = upstream.broker
    stage.block |= {"url": f"tcp://127.0.0.1:{broker.tls_port}", "tls": CLIENT_TLS}
    stage.secrets |= broker.tls_secrets()
    # When the source starts, then the connection is encrypted, and messages come
    await stage.start()
    assert "ssl://" in stage.listening[0]
    await upstream.send("one")
    await stage.events(1)


async def test_a_host_that_is_led_elsewhere_keeps_its_name(
    upstream: Publisher, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given the name of a cluster that the certificate has, and one that it does not have
    broker = upstream.broker
    names = ("kubernetes.default.svc", "other.svc")
    monkeypatch.setenv("ARGOSY_RESOLVE", " ".join(f"{name}:8883=127.0.0.1:{broker.tls_port}" for name in names))
    stage.block |= {"url": "ssl://kubernetes.default.svc", "tls": CLIENT_TLS}
    stage.secrets |= broker.tls_secrets()
    # When the source starts, then it comes to the broker by the first, and does not trust the second
    await stage.start()
    await upstream.send("one")
    await stage.events(1)
    async with raising({**stage.block, "url": "ssl://other.svc"}, stage.secrets) as sentence:
        assert "certificate of ssl://other.svc:8883 is not trusted" in sentence


async def test_refusals_are_sentences_that_show_no_password(upstream: Publisher) -> None:
    broker, block = upstream.broker, upstream.block
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
        async with raising(faulty) as sentence:
            assert all(text in sentence for text in named), sentence
            assert "wrong" not in sentence and PASSWORD not in sentence


async def test_user_and_password_of_the_url_are_read_percent_decoded(upstream: Publisher, stage: Stage) -> None:
    # Given a URL with both
    del stage.block["auth"]
    stage.block["url"] = f"mqtt://argosy:p%40ss%2Fw%3Ard%2541@127.0.0.1:{upstream.broker.port}"
    # When the source starts, then it is let in
    await stage.start()
    await upstream.send("one")
    await stage.events(1)


async def test_connection_backoff_pauses_before_the_failure_is_reported(upstream: Publisher) -> None:
    # Given a broker that is not there, and three tries
    slept: list[float] = []

    class Clock:
        async def sleep(self, seconds: float) -> None:
            slept.append(seconds)

    backoff = {"duration": "10s", "factor": 2, "jitter": 0, "steps": 3}
    block = {**upstream.block, "url": "tcp://127.0.0.1:9", "connectionBackoff": backoff}
    async with on_stage("mqtt", block, secrets=dict(SECRETS), clock=Clock()) as stage:
        # When the source starts, then it pauses as the block says, and gives up
        with pytest.raises(SourceError, match="nothing listens"):
            await stage.plugin().run(stage.context())
    assert slept == [10.0, 20.0]


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
