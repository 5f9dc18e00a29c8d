"""The ``pulsar`` source against a real Pulsar: the suite of every source, and what is Pulsar's own."""

from __future__ import annotations

import base64
import datetime as dt
import os
import signal
import threading
from collections.abc import AsyncIterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from argosy.errors import EventInvalid, SourceError
from argosy.manifests.fields import Json
from argosy.registry import wrap
from argosy.sources._raw import Raw
from tests.brokers.sources.server import CLIENT_TLS
from tests.brokers.sources.suite import BrokerSuite
from tests.conformance.source import SourceSuite, Stage, eventually, on_stage, raising
from tests.peers.pulsar_publisher import TOKEN, Publisher
from tests.peers.pulsar_server import PulsarServer


@pytest.fixture
async def upstream(pulsar_server: PulsarServer) -> AsyncIterator[Publisher]:
    async with Publisher(pulsar_server) as publisher:
        yield publisher


@pytest.fixture
async def stage(upstream: Publisher) -> AsyncIterator[Stage]:
    async with on_stage("pulsar", dict(upstream.block), secrets=dict(upstream.secrets)) as stage:
        yield stage


class TestPulsar(BrokerSuite, SourceSuite):
    kind = "pulsar"
    server = PulsarServer
    publisher = Publisher
    nobody: ClassVar[dict[str, Json]] = {"url": "pulsar://127.0.0.1:9"}
    by_tls = "pulsar+ssl://{}:6651"
    login_refused = "does not accept our credentials"
    impatient: ClassVar[dict[str, float]] = {
        "pulsar._LOOK_SECONDS": 0.05,
        "pulsar._PROBE_SECONDS": 0.05,
        "pulsar._SILENCE_SECONDS": 1.0,
    }
    _good: ClassVar[dict[str, Json]] = {"url": "pulsar://p", "topics": ["t"]}
    bad_blocks: ClassVar[list[tuple[dict[str, Json], str]]] = [
        ({"topics": ["t"]}, "url"),
        ({"url": "pulsar://p"}, "topics"),
        ({"url": "pulsar://p", "topics": []}, "topics"),
        ({**_good, "topics": [""]}, "topics"),
        ({**_good, "topicsPattern": "t.*"}, "topicsPattern"),
        ({**_good, "url": "p:6650"}, "pulsar+ssl://"),
        ({**_good, "url": "pulsar://p:port"}, "url"),
        ({**_good, "url": "pulsar://user:pass@p"}, "url"),
        ({**_good, "type": "single"}, "type"),
        ({**_good, "tls": {}}, "caCertSecret"),
        ({**_good, "authAthenzSecret": {"name": "a", "key": "k"}}, "authAthenzParams"),
    ]

    async def test_a_rotated_password_is_taken_up_and_no_secret_is_logged(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("DEBUG")
        with PulsarServer(tmp_path) as server:
            async with Publisher(server) as upstream:
                old = server.token()
                async with on_stage("pulsar", dict(upstream.block), secrets=dict(upstream.secrets)) as stage:
                    # Given a server that knows other tokens after a restart
                    await stage.start()
                    server.set_password("another-one")
                    await server.restart()
                    # When the source is refused, and the secret changes
                    await eventually(lambda: bool(stage.errors) and self.login_refused in str(stage.errors[-1]))
                    stage.secrets["pulsar", "token"] = server.token()
                    # Then it receives again
                    await eventually(lambda: len(stage.listening) == 2)
                    told = f"{stage.errors} {stage.listening} {caplog.text}"
                    assert old not in told and server.token() not in told


async def test_the_data_has_upstreams_keys_and_the_body_as_go_embeds_it(upstream: Publisher, stage: Stage) -> None:
    # Given a source with metadata
    stage.block["metadata"] = {"m": "1"}
    await stage.start()
    # When a message with a key comes
    await upstream.publish(b'{ "a" : 1.0, "b": "<x>" }', key="k/1")
    # Then the data is upstream's, to the byte
    (event,) = await stage.events(1)
    when = event.data["publishTime"]
    assert event.raw.decode() == (
        f'{{"key":"k/1","publishTime":"{when}","body":{{"a":1.0,"b":"\\u003cx\\u003e"}},"metadata":{{"m":"1"}}}}'
    )
    written = dt.datetime.fromisoformat(when.removesuffix(" +0000 UTC") + "+00:00")
    assert abs(written - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=5)


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
    when = dt.datetime.fromisoformat(event.data["publishTime"].removesuffix(" +0000 UTC") + "+00:00")
    headers = {"publishTime": str(round(when.timestamp() * 1000)), "messageId": event.id or ""}
    assert wrap("pulsar", stage.context().config, Raw(b"\x00\xff", headers)) == (event.raw, event.id)
    with pytest.raises(EventInvalid, match="publishTime"):
        wrap("pulsar", stage.context().config, Raw(b"", {"publishTime": "x"}))


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "1970-01-01 00:00:00 +0000 UTC"),
        (1700000000120, "2023-11-14 22:13:20.12 +0000 UTC"),
        (1700000000007, "2023-11-14 22:13:20.007 +0000 UTC"),
    ],
)
def test_the_time_is_written_as_go_writes_it(milliseconds: int, text: str) -> None:
    from argosy.registry import source

    plugin: Any = source("pulsar")
    config = plugin.config.model_validate({"url": "pulsar://p", "topics": ["t"]})
    assert (
        f'"publishTime":"{text}"' in wrap("pulsar", config, Raw(b"", {"publishTime": str(milliseconds)})).data.decode()
    )


async def test_several_topics_and_those_of_a_pattern_are_read(upstream: Publisher, stage: Stage) -> None:
    # Given topics, and sources that read them by name and by pattern
    names = [f"{upstream.place}-{end}" for end in "ab"]
    for name in names:
        await upstream.publish(b'"early"', topic=name)
    pattern = {key: value for key, value in upstream.block.items() if key != "topics"}
    pattern |= {"topicsPattern": f"{upstream.place}-.*", "type": "shared"}
    stage.block["topics"] = names
    async with on_stage("pulsar", pattern, secrets=dict(upstream.secrets)) as other:
        await stage.start()
        for name in names:
            await upstream.publish(b'"late"', topic=name)
        # When messages come to both, then both are events; what came before the subscription is not
        await stage.events(2)
        await stage.stop()
        await other.start()
        for name in names:
            await upstream.publish(b'"later"', topic=name)
        await other.events(2)
        assert [event.data["body"] for event in [*stage.emitted, *other.emitted]] == ["late"] * 2 + ["later"] * 2


async def test_readers_of_a_shared_subscription_divide_the_messages_and_an_exclusive_one_is_alone(
    upstream: Publisher, stage: Stage
) -> None:
    stage.block["type"] = "shared"
    async with on_stage("pulsar", dict(stage.block), secrets=dict(upstream.secrets)) as second:
        await stage.start()
        await second.start()
        texts = [f"{number:02}" for number in range(40)]
        for text in texts:
            await upstream.send(text)
        await eventually(lambda: len(stage.emitted) + len(second.emitted) >= 40)
        emitted = [*stage.emitted, *second.emitted]
        assert sorted(upstream.text_of(event.data) for event in emitted) == texts
        assert stage.emitted and second.emitted
    await stage.stop()
    stage.block["type"] = "exclusive"
    await stage.start()
    async with raising("pulsar", dict(stage.block), secrets=dict(upstream.secrets)) as sentence:
        assert "somebody else reads" in sentence


async def test_a_killed_pulsar_is_come_back_to_and_what_comes_again_has_its_id(tmp_path: Path) -> None:
    with PulsarServer(tmp_path) as server:
        async with Publisher(server) as upstream:
            async with on_stage("pulsar", dict(upstream.block), secrets=dict(upstream.secrets)) as stage:
                # Given messages whose emits are under way
                await stage.start()
                stage.close_gate()
                for text in ("one", "two"):
                    await upstream.send(text)
                await eventually(lambda: stage.under_way == 2)
                # When the server is killed, the bus answers meanwhile, and the server comes back
                server.kill()
                stage.open_gate()
                await eventually(lambda: len(stage.errors) >= 1)
                await server.come_back()
                await eventually(lambda: len(stage.listening) >= 2, f"{stage.errors}")
            async with Publisher(server) as again:
                await again.publish(b'{"text": "three"}', topic=upstream.place)
                async with on_stage("pulsar", dict(upstream.block), secrets=dict(upstream.secrets)) as later:
                    await later.start()
                    # Then all are events, and nothing has two ids
                    await eventually(lambda: any(each.data["body"]["text"] == "three" for each in [*later.emitted]))
                    names = {each.id: each.data["body"]["text"] for each in [*stage.emitted, *later.emitted]}
                    assert sorted(names.values()) == ["one", "three", "two"]
                    assert all(isinstance(each, SourceError) and "127.0.0.1" in str(each) for each in stage.errors)


async def test_a_source_that_is_cancelled_while_the_server_stands_still_ends_and_leaves_no_thread(
    upstream: Publisher, stage: Stage
) -> None:
    # Given a source that has run once
    await stage.start()
    await stage.stop()
    before = _native_threads()
    await stage.start()
    # When it is cancelled while the server stands still
    upstream.server.signal(signal.SIGSTOP)
    try:
        await stage.stop()
        # Then it has ended, and the library's threads with it
        await eventually(lambda: _native_threads() <= before)
    finally:
        upstream.server.signal(signal.SIGCONT)


def _native_threads() -> int:
    """Threads that are not Python's own."""
    return len(os.listdir("/proc/self/task")) - threading.active_count()


async def test_our_certificate_lets_us_in(upstream: Publisher) -> None:
    # Given a certificate of a role that may everything, and no token
    block = {**upstream.block, "url": f"pulsar+ssl://localhost:{upstream.server.tls_port}", "tls": CLIENT_TLS}
    del block["authTokenSecret"]
    async with on_stage("pulsar", block, secrets=upstream.server.tls_secrets()) as stage:
        # When the source starts, then messages come
        await stage.start()
        await upstream.send("one")
        await stage.events(1)


@pytest.mark.xfail(
    strict=True, reason="pulsar-client 3.13 cannot sign for Athenz: it says 'Failed to sign' of every key"
)
async def test_athenz_is_asked_for_a_token_in_the_name_of_the_manifest(
    upstream: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a token service, which no broker here knows
    monkeypatch.setattr("argosy.pulsar.client._OPERATION_SECONDS", 2)
    asked: list[tuple[str, dict[str, str]]] = []

    class Zts(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, dict(self.headers)))
            answer = b'{"token": "v=Z1;d=provider;n=role", "expiryTime": 4102444800}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    with ThreadingHTTPServer(("127.0.0.1", 0), Zts) as zts:
        threading.Thread(target=zts.serve_forever, daemon=True).start()
        block = {key: value for key, value in upstream.block.items() if key != "authTokenSecret"}
        block["authAthenzParams"] = {
            "tenantDomain": "tenant", "tenantService": "argosy", "providerDomain": "provider", "keyId": "7",
            "ztsUrl": f"http://127.0.0.1:{zts.server_port}",
        }  # fmt: skip
        block["authAthenzSecret"] = {"name": "athenz", "key": "pem"}
        # When the source starts
        async with raising("pulsar", block, secrets={("athenz", "pem"): pem}) as sentence:
            # Then the service was asked, signed by our key, and the broker's refusal is a sentence
            path, headers = asked[0]
            assert path.startswith("/zts/v1/domain/provider/token")
            said = dict(part.split("=", 1) for part in headers["Athenz-Principal-Auth"].split(";"))
            assert (said["d"], said["n"], said["k"]) == ("tenant", "argosy", "7")
            assert upstream.server.url in sentence and "PRIVATE" not in sentence
        zts.shutdown()


@pytest.mark.parametrize("kind", ["failover", "key_shared"])
async def test_the_other_ways_to_read_receive_too(upstream: Publisher, stage: Stage, kind: str) -> None:
    stage.block["type"] = kind
    await stage.start()
    await upstream.publish(b'{"text": "one"}', key="k")
    await stage.events(1)
    found = await upstream.look(f"persistent/public/default/{upstream.topic}/stats")
    (subscription,) = found["subscriptions"].values()
    assert subscription["type"].lower() == kind


async def test_refusals_are_sentences_that_show_no_secret(upstream: Publisher) -> None:
    block, server = upstream.block, upstream.server
    anonymous = {key: value for key, value in block.items() if key != "authTokenSecret"}
    encrypted = {**block, "url": f"pulsar+ssl://127.0.0.1:{server.tls_port}"}
    reader = {("pulsar", "token"): server.token("reader")}
    wrong = {("pulsar", "token"): "wr0ng"}
    good = {**upstream.secrets, ("tls", "bad"): "no certificate"}
    ca = {**encrypted, "tlsTrustCertsSecret": {"name": "tls", "key": "bad"}}
    cases: list[tuple[dict[str, Json], dict[tuple[str, str], str], str]] = [
        (anonymous, {}, "does not accept our credentials"),
        (block, wrong, "does not accept our credentials"),
        (block, reader, "does not let us use topic"),
        ({**block, "topics": ["a://b"]}, good, "no name of a topic"),
        (encrypted, good, "is not trusted"),
        (ca, good, "not PEM"),
        ({**block, "url": f"pulsar+ssl://127.0.0.1:{server.port}"}, good, "TLS"),
        ({**block, "url": "pulsar://127.0.0.1:9,127.0.0.1:10"}, good, "nothing listens at pulsar://127.0.0.1:10"),
    ]
    for changed, secrets, wanted in cases:
        async with raising("pulsar", changed, secrets=secrets) as sentence:
            assert wanted in sentence, changed
            assert "wr0ng" not in sentence and server.token() not in sentence
    # And whoever demands no verification gets none
    loose = {**encrypted, "tlsAllowInsecureConnection": True, "authTokenSecret": TOKEN}
    async with on_stage("pulsar", loose, secrets=good) as stage:
        await stage.start()
