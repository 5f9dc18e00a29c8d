"""The ``nsq`` source against real servers of NSQ: the suite of every source, and what is NSQ's own."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, ClassVar

import httpx2
import pytest

from argosy.errors import EventInvalid, SourceError
from argosy.manifests.fields import Json
from argosy.registry import wrap
from argosy.sources._raw import Raw
from tests.brokers.sources.nsq_publisher import SECRETS, Publisher
from tests.brokers.sources.nsq_server import PASSWORD, Nsqd, Nsqlookupd
from tests.brokers.sources.server import CLIENT_TLS
from tests.brokers.sources.suite import BrokerSuite
from tests.conformance.source import SourceSuite, Stage, eventually, on_stage, raising


@pytest.fixture(scope="session")
def nsqd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nsqd]:
    with Nsqd(tmp_path_factory.mktemp("nsqd")) as server:
        yield server


@pytest.fixture(scope="module", autouse=True)
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nsqd]:
    """An nsqd that takes a message for lost after half a second. It looks for new channels every five seconds only, so it is
    started with the module, with the channels of the two tests at its end.
    """
    with Nsqd(tmp_path_factory.mktemp("hasty"), "--msg-timeout=500ms", "--max-msg-timeout=2s") as server:
        for topic in ("touched", "again"):
            for channel in ("argosy", "mute"):
                address = f"http://127.0.0.1:{server.http_port}"
                httpx2.post(f"{address}/topic/create", params={"topic": topic}, trust_env=False)
                httpx2.post(f"{address}/channel/create", params={"topic": topic, "channel": channel}, trust_env=False)
        yield server


@pytest.fixture
async def upstream(nsqd: Nsqd) -> AsyncIterator[Publisher]:
    async with Publisher(nsqd) as publisher:
        yield publisher


class TestNsq(BrokerSuite, SourceSuite):
    kind = "nsq"
    server = Nsqd
    publisher = Publisher
    nobody: ClassVar[dict[str, Json]] = {"hostAddress": "nsqd://127.0.0.1:9"}
    by_tls = "nsqd://{}:4150"
    login_refused = "correct 'authSecret'"
    impatient: ClassVar[dict[str, float]] = {
        "_nsq_protocol._HEARTBEAT_SECONDS": 1.0,
        "_nsq_protocol._SILENCE_SECONDS": 1.5,
    }
    _good: ClassVar[dict[str, Json]] = {"hostAddress": "l:4161", "topic": "t", "channel": "c"}
    bad_blocks: ClassVar[list[tuple[dict[str, Json], str]]] = [
        ({"topic": "t", "channel": "c"}, "hostAddress"),
        ({"hostAddress": "l:4161", "channel": "c"}, "topic"),
        ({"hostAddress": "l:4161", "topic": "t"}, "channel"),
        ({**_good, "hostAddress": ""}, "hostAddress"),
        ({**_good, "hostAddress": "tcp://l:4150"}, "nsqd://host:4150"),
        ({**_good, "hostAddress": "l:port"}, "hostAddress"),
        ({**_good, "hostAddress": "http://l:4161/lookup"}, "hostAddress"),
        ({**_good, "topic": "a b"}, "topic"),
        ({**_good, "topic": "t\nSUB x y"}, "topic"),
        ({**_good, "topic": "x" * 65}, "topic"),
        ({**_good, "channel": "c#durable"}, "channel"),
        ({**_good, "tls": {}}, "caCertSecret"),
    ]


async def test_the_data_has_upstreams_keys_and_the_body_as_go_embeds_it(upstream: Publisher, stage: Stage) -> None:
    # Given a source with metadata
    stage.block["metadata"] = {"m": "1"}
    await stage.start()
    # When a message comes
    await upstream.publish(b'{ "a" : 1.0, "b": "<x>" }')
    # Then the data is upstream's, to the byte, and the id holds the message's time
    (event,) = await stage.events(1)
    when = event.data["timestamp"]
    assert event.raw.decode() == (
        f'{{"body":{{"a":1.0,"b":"\\u003cx\\u003e"}},"timestamp":"{when}",'
        f'"nsqdAddress":"127.0.0.1:{upstream.server.port}","metadata":{{"m":"1"}}}}'
    )
    name, _, time = (event.id or "").partition(".")
    assert (len(name), time) == (16, when)


async def test_without_json_body_the_bytes_are_base64_and_test_tools_make_the_same(
    upstream: Publisher, stage: Stage
) -> None:
    # Given a source without jsonBody
    stage.block["jsonBody"] = False
    await stage.start()
    # When bytes come
    await upstream.publish(b"\x00\xff")
    # Then they are base64, and what wrap makes of the same message is the same
    (event,) = await stage.events(1)
    assert event.data["body"] == base64.b64encode(b"\x00\xff").decode()
    headers = {"timestamp": event.data["timestamp"], "nsqdAddress": event.data["nsqdAddress"]}
    config = stage.context().config
    assert wrap("nsq", config, Raw(b"\x00\xff", headers)) == (event.raw, None)
    named = wrap("nsq", config, Raw(b"\x00\xff", {**headers, "id": (event.id or "").partition(".")[0]}))
    assert named == (event.raw, event.id)
    with pytest.raises(EventInvalid, match="timestamp"):
        wrap("nsq", config, Raw(b"", {"timestamp": "x"}))


async def test_a_message_as_large_as_nsqd_takes_is_read(upstream: Publisher, stage: Stage) -> None:
    await stage.start()
    await upstream.publish(b'"%b"' % (b"x" * 1_000_000))
    (event,) = await stage.events(1)
    assert len(event.data["body"]) == 1_000_000


async def test_a_message_too_large_for_any_bus_is_dropped_and_the_next_is_served(
    upstream: Publisher, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a bound of what is kept
    monkeypatch.setattr("argosy.sources._nsq_protocol.LARGEST", 100_000)
    await stage.start()
    # When a message beyond it comes, and a good one
    await upstream.publish(b'"%b"' % (b"x" * 900_000))
    await upstream.send("good")
    # Then the first is counted and finished
    (event,) = await stage.events(1)
    assert upstream.text_of(event.data) == "good"
    assert "larger than" in stage.refused[0]
    await eventually(lambda: _finished(upstream, 2))


async def _finished(upstream: Publisher, count: int) -> bool:
    return await upstream.acknowledged() == count


async def _empty(upstream: Publisher) -> bool:
    found = await upstream.channel()
    return bool(found) and not found["depth"] + found["in_flight_count"] + found["deferred_count"]


async def test_a_killed_nsqd_is_come_back_to(tmp_path: Path) -> None:
    with Nsqd(tmp_path) as server:
        async with Publisher(server) as upstream:
            async with on_stage("nsq", dict(upstream.block), secrets=dict(SECRETS)) as stage:
                # Given messages whose emits are under way, and one that waits in nsqd
                await stage.start()
                stage.close_gate()
                for text in ("one", "two"):
                    await upstream.send(text)
                await eventually(lambda: stage.under_way == 2)
                # When nsqd is killed, the bus answers meanwhile, and nsqd comes back
                server.kill()
                stage.open_gate()
                await eventually(lambda: len(stage.emitted) == 2)
                await server.come_back()
                await eventually(lambda: len(stage.listening) >= 2, f"{stage.errors}")
                await upstream.send("three")
                # Then all are events; what it delivers again has the id that it had
                await eventually(lambda: {upstream.text_of(event.data) for event in stage.emitted} >= {"three"})
                names = {event.id: upstream.text_of(event.data) for event in stage.emitted}
                assert sorted(names.values()) == ["one", "three", "two"]
                assert all(isinstance(error, SourceError) and "127.0.0.1" in str(error) for error in stage.errors)


async def test_an_nsqd_that_is_stopped_delivers_again_what_was_under_way_with_the_same_id(tmp_path: Path) -> None:
    with Nsqd(tmp_path) as server:
        async with Publisher(server) as upstream:
            async with on_stage("nsq", dict(upstream.block), secrets=dict(SECRETS)) as stage:
                # Given a message whose emit is under way
                await stage.start()
                stage.close_gate()
                await upstream.send("one")
                await eventually(lambda: stage.under_way == 1)
                # When nsqd ends as it is told to, and comes back
                server.signal(signal.SIGTERM)
                await eventually(lambda: "NSQ: bye" in server.output())
                await server.restart()
                stage.open_gate()
                # Then the message comes once more, and is recognised
                await eventually(lambda: len(stage.emitted) == 2, f"{stage.errors}")
                assert len({event.id for event in stage.emitted}) == 1
                await eventually(lambda: _empty(upstream))


async def test_nsqlookupd_names_the_nsqds_and_new_ones_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("argosy.sources.nsq._LOOKUP_SECONDS", 0.1)
    with Nsqlookupd(tmp_path / "lookup") as lookup, contextlib.ExitStack() as servers:

        def nsqd(name: str) -> Nsqd:
            return servers.enter_context(Nsqd(tmp_path / name, lookups=(lookup.tcp,), guarded=False))

        block: dict[str, Any] = {"hostAddress": lookup.url, "topic": "t", "channel": "c", "jsonBody": True}
        async with on_stage("nsq", block) as stage:
            # Given a source that is there before anybody has the topic
            await stage.start()
            assert "0 nsqd that nsqlookupd" in stage.listening[0]
            # When one nsqd gets it, and then another
            async with Publisher(nsqd("one")) as first:
                first.topic = "t"
                await first.send("a")
                await stage.events(1)
                async with Publisher(nsqd("two")) as second:
                    second.topic = "t"
                    await second.send("b")
                    # Then the messages of both are events
                    await stage.events(2)
                    assert sorted(event.data["body"]["text"] for event in stage.emitted) == ["a", "b"]
                    assert len({event.data["nsqdAddress"] for event in stage.emitted}) == 2
                    # And when one of them dies, then the other is read on, and the first again when it is back
                    first.server.kill()
                    await eventually(lambda: "the other nsqds are read" in caplog.text)
                    await second.send("c")
                    await stage.events(3)
                    await first.server.come_back()
                    await first.send("d")
                    await stage.events(4)
                    # And when nsqlookupd dies, then what is known is read on
                    lookup.kill()
                    await eventually(lambda: "nsqds that are known are read on" in caplog.text)
                    await second.send("e")
                    await stage.events(5)
                    assert not stage.errors


async def test_the_last_nsqd_that_is_lost_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("argosy.sources.nsq._LOOKUP_SECONDS", 0.1)
    with Nsqlookupd(tmp_path / "l") as lookup, Nsqd(tmp_path / "d", lookups=(lookup.tcp,), guarded=False) as server:
        async with Publisher(server) as upstream:
            upstream.topic = "t"
            block: dict[str, Any] = {"hostAddress": f"http://{lookup.url}", "topic": "t", "channel": "c"}
            async with on_stage("nsq", {**block, "jsonBody": True}) as stage:
                await upstream.send("a")
                await stage.start()
                await stage.events(1)
                server.kill()
                await eventually(lambda: len(stage.errors) >= 1)
                assert isinstance(stage.errors[0], SourceError) and str(server.port) in str(stage.errors[0])
                await server.come_back()
                await upstream.send("b")
                await stage.events(2)


async def test_a_server_that_wants_our_certificate_gets_it(tmp_path: Path) -> None:
    # Given an nsqd that speaks TLS only, with those whose certificate it knows
    with Nsqd(tmp_path, "--tls-client-auth-policy=require-verify", "--tls-required=tcp-https", guarded=False) as server:
        async with Publisher(server) as upstream:
            block = {**upstream.block, "hostAddress": f"nsqd://localhost:{server.port}"}
            secrets = {**SECRETS, **server.tls_secrets()}
            async with on_stage("nsq", {**block, "tls": CLIENT_TLS}, secrets=secrets) as stage:
                # When the source shows its own, then messages of more than one TLS record come
                await stage.start()
                await upstream.publish(b'"%b"' % (b"x" * 100_000))
                await stage.events(1)
            # And without it, or without TLS, a sentence says what is missing
            only_ca = {"caCertSecret": CLIENT_TLS["caCertSecret"]}
            async with raising("nsq", {**block, "tls": only_ca}, secrets=secrets) as sentence:
                assert "clientCertSecret" in sentence
            async with raising("nsq", block, secrets=secrets) as sentence:
                assert "write a block 'tls'" in sentence


async def test_refusals_are_sentences_that_show_no_secret(upstream: Publisher) -> None:
    block = upstream.block
    anonymous = {key: value for key, value in block.items() if key != "authSecret"}
    cases: list[tuple[dict[str, Json], dict[tuple[str, str], str], str]] = [
        (anonymous, {}, "give 'authSecret'"),
        (block, {("nsq", "password"): "wr0ng-one"}, "correct 'authSecret'"),
        ({**block, "topic": "forbidden"}, SECRETS, "E_UNAUTHORIZED"),
        ({**block, "hostAddress": f"nsqd://127.0.0.1:{upstream.server.http_port}"}, SECRETS, "no NSQ"),
        ({**block, "hostAddress": f"127.0.0.1:{upstream.server.http_port}"}, SECRETS, "HTTP address (port 4161)"),
        ({**block, "hostAddress": f"127.0.0.1:{upstream.server.port}"}, SECRETS, "nsqlookupd"),
        ({**block, "hostAddress": "127.0.0.1:9"}, SECRETS, "nothing listens at nsqlookupd http://127.0.0.1:9"),
    ]
    for changed, secrets, wanted in cases:
        async with raising("nsq", changed, secrets=dict(secrets)) as sentence:
            assert wanted in sentence
            assert "wr0ng" not in sentence and "p@ss" not in sentence


async def test_while_the_bus_does_not_answer_messages_are_touched_and_not_delivered_again(hasty: Nsqd) -> None:
    async with Publisher(hasty) as upstream:
        upstream.topic = "touched"
        block = {**upstream.block, "topic": "touched"}
        async with on_stage("nsq", block, secrets=dict(SECRETS)) as stage, _mute(hasty, "touched"):
            # Given a bus that does not answer
            await stage.start()
            stage.close_gate()
            # When a message comes to two channels, of which one is read by somebody who says nothing
            await upstream.send("one")
            await eventually(lambda: stage.under_way == 1)
            # Then it is delivered again to that one, and not to ours
            await eventually(lambda: _timed_out(upstream, "mute"))
            assert not await _timed_out(upstream, "argosy")
            stage.open_gate()
            await eventually(lambda: _finished(upstream, 1))
            assert (len(stage.offered), stage.errors) == (1, [])


async def test_what_nsqd_delivers_again_while_it_is_under_way_is_no_second_event(hasty: Nsqd) -> None:
    async with Publisher(hasty) as upstream:
        upstream.topic = "again"
        async with on_stage("nsq", {**upstream.block, "topic": "again"}, secrets=dict(SECRETS)) as stage:
            # Given a bus that does not answer for longer than nsqd waits, whatever a reader says
            await stage.start()
            stage.close_gate()
            await upstream.send("one")
            # When nsqd delivers the message again
            await eventually(lambda: _timed_out(upstream, "argosy"))
            await upstream.settle()
            # Then the event under way is the only one, and finishes both
            assert len(stage.offered) == 1
            stage.open_gate()
            await eventually(lambda: _finished(upstream, 1))
            assert (len(stage.offered), stage.errors) == (1, [])


@contextlib.asynccontextmanager
async def _mute(server: Nsqd, topic: str) -> AsyncIterator[None]:
    """A reader of the channel ``mute``, who takes messages and says nothing of them."""
    secret = PASSWORD.encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"  V2AUTH\n" + len(secret).to_bytes(4, "big") + secret)
    writer.write(f"SUB {topic} mute\nRDY 1\n".encode())
    task = asyncio.create_task(_swallow(reader))
    try:
        yield
    finally:
        task.cancel()
        writer.close()


async def _swallow(reader: asyncio.StreamReader) -> None:
    while await reader.read(1000):
        pass


async def _timed_out(upstream: Publisher, channel: str, times: int = 1) -> bool:
    return int((await upstream.channel(channel)).get("timeout_count", 0)) >= times
