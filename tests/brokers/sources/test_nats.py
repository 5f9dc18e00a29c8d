"""The ``nats`` source against a real NATS server: the suite of every source, and what is NATS' own."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import logging
import signal
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import orjson
import pytest

from argosy.errors import ArgosyError, ConfigError, EventTooLarge, SourceError
from argosy.manifests.fields import Json
from argosy.sources._nats_keys import from_credentials, from_seed
from argosy.sources._raw import Raw, wrap
from tests.brokers.nats_server import connect
from tests.brokers.sources.nats_server import PASSWORD, Key, NatsServer, operator
from tests.brokers.sources.server import CLIENT_TLS
from tests.conformance.source import SourceSuite, Stage, Upstream, eventually, on_stage

_numbers = itertools.count(1)
_BASIC = {"basic": {"username": {"name": "nats", "key": "user"}, "password": {"name": "nats", "key": "password"}}}
_SECRETS = {("nats", "user"): "argosy", ("nats", "password"): PASSWORD}


class Publisher(Upstream):
    """A client that publishes to one subject, which nobody else uses."""

    secrets = _SECRETS

    def __init__(self, server: NatsServer) -> None:
        self.server = server
        self.subject = f"subject-{next(_numbers)}"
        self.block = {"url": server.url, "subject": f"{self.subject}.>", "jsonBody": True, "auth": _BASIC}

    async def __aenter__(self) -> Publisher:
        self.client = await connect(self.server.url, user="argosy", password=self.server.password)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.client.close()

    async def again(self) -> None:
        """Connect anew, after the server was killed."""
        await self.client.close()
        await self.__aenter__()

    async def publish(self, body: bytes, subject: str = "", headers: dict[str, str] | None = None) -> None:
        """Return once the server has it."""
        await self.client.publish(subject or f"{self.subject}.a", body, headers=headers)
        await self.flush()

    async def flush(self) -> None:
        """Return once the server has all that was published."""
        await self.client.flush()  # its ping overtakes what waits to be written ...
        await self.client.flush()  # ... which is written by now

    async def send(self, text: str) -> None:
        await self.publish(orjson.dumps({"text": text}))

    def text_of(self, data: Json) -> str:
        assert list(data) == ["subject", "body"] or list(data)[2:] == ["metadata"]
        assert data["subject"] == f"{self.subject}.a"
        return str(data["body"]["text"])


@pytest.fixture
async def upstream(nats_server: NatsServer) -> AsyncIterator[Publisher]:
    async with Publisher(nats_server) as publisher:
        yield publisher


@pytest.fixture
async def stage(upstream: Publisher) -> AsyncIterator[Stage]:
    async with on_stage("nats", dict(upstream.block), secrets=dict(_SECRETS)) as stage:
        yield stage


@contextlib.asynccontextmanager
async def _raising(block: dict[str, Json], secrets: Any = None) -> AsyncIterator[str]:
    """What the source says when it starts with this block and cannot."""
    async with on_stage("nats", block, secrets={**_SECRETS, **(secrets or {})}) as stage:
        with pytest.raises(ArgosyError) as raised:
            await stage.plugin().run(stage.context())
        assert stage.listening == []
        yield str(raised.value)


class TestNats(SourceSuite):
    kind = "nats"
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

    @pytest.fixture
    async def upstream(self, nats_server: NatsServer) -> AsyncIterator[Upstream]:
        async with Publisher(nats_server) as publisher:
            yield publisher

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
        await upstream.publish(b"")
    await eventually(lambda: len(stage.refused) == 1)
    stage.failure = None
    # When a good one comes, then it is an event
    await upstream.send("good")
    (event,) = await stage.events(1)
    assert upstream.text_of(event.data) == "good"
    assert upstream.subject in stage.refused[0]
    assert not stage.errors


async def test_a_message_as_large_as_the_server_takes_is_read(upstream: Publisher, stage: Stage) -> None:
    await stage.start()
    await upstream.publish(b'"%b"' % (b"x" * 1_000_000))
    (event,) = await stage.events(1)
    assert len(event.data["body"]) == 1_000_000


async def test_members_of_a_queue_group_share_the_messages(upstream: Publisher, stage: Stage) -> None:
    # Given two members of a group
    stage.block["queue"] = "workers"
    async with on_stage("nats", dict(stage.block), secrets=dict(_SECRETS)) as second:
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


async def test_no_more_than_64_messages_are_under_way_and_they_begin_in_order(
    upstream: Publisher, stage: Stage
) -> None:
    # Given a bus that does not answer
    await stage.start()
    stage.close_gate()
    # When more messages come
    texts = [f"{number:03}" for number in range(150)]
    for text in texts:
        await upstream.send(text)
    await eventually(lambda: stage.under_way == 64)
    await upstream.settle()
    # Then 64 are under way, the rest waits, and all arrive in order
    assert stage.under_way == 64
    stage.open_gate()
    await stage.events(150)
    assert [upstream.text_of(event.data) for event in stage.offered] == texts


async def test_while_the_bus_does_not_answer_the_rest_is_left_to_the_server(tmp_path: Any) -> None:
    # Given a server that keeps 2 MB for a client, and a bus that does not answer
    extra = "max_pending: 2000000\nno_auth_user: argosy\n"
    extra += f'authorization {{ users = [{{ user: argosy, password: "{PASSWORD}" }}] }}\n'
    with NatsServer(tmp_path, extra) as server:
        async with Publisher(server) as upstream:
            async with on_stage("nats", dict(upstream.block), secrets=dict(_SECRETS)) as stage:
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
    await upstream.again()
    await upstream.send("after")
    # Then both are events, each once
    await stage.events(2)
    assert [upstream.text_of(event.data) for event in stage.emitted] == ["before", "after"]
    assert all(isinstance(error, SourceError) and "127.0.0.1" in str(error) for error in stage.errors)


async def test_a_server_that_stands_still_is_noticed(
    upstream: Publisher, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a source that is soon impatient
    monkeypatch.setattr("argosy.sources._nats_protocol._PING_SECONDS", 0.05)
    monkeypatch.setattr("argosy.sources._nats_protocol._SILENCE_SECONDS", 1.0)
    monkeypatch.setattr("argosy.sources._nats_protocol._ANSWER_SECONDS", 1.0)
    await stage.start()
    # When the server stands still, then the run ends with a sentence
    upstream.server.signal(signal.SIGSTOP)
    try:
        await eventually(lambda: len(stage.errors) >= 1)
    finally:
        upstream.server.signal(signal.SIGCONT)
    assert "has not answered" in str(stage.errors[0])


async def test_the_next_server_of_the_url_is_tried(upstream: Publisher, stage: Stage) -> None:
    stage.block["url"] = f"nats://127.0.0.1:9,{upstream.server.url}"
    await stage.start()
    await upstream.send("one")
    await stage.events(1)


@pytest.mark.parametrize("way", ["nkey", "user in the URL", "token", "token in the URL", "credential"])
async def test_every_way_to_be_let_in(way: str, upstream: Publisher, tmp_path: Any) -> None:
    # Given a server and what it wants to see
    extra, creds = operator() if way == "credential" else ("", "")
    if "token" in way:
        extra = 'authorization { token: "t@ken" }'
    server = NatsServer(tmp_path, extra) if extra else upstream.server
    with server if extra else contextlib.nullcontext():
        selector = {"name": "nats", "key": "it"}
        port = server.port
        url, auth, secret = {
            "nkey": (server.url, {"nkey": selector}, upstream.server.nkey.seed),
            "user in the URL": (f"nats://argosy:p%40ss%2Fw%3Ard%2541@127.0.0.1:{port}", None, ""),
            "token": (server.url, {"token": selector}, "t@ken"),
            "token in the URL": (f"nats://t%40ken@127.0.0.1:{port}", None, ""),
            "credential": (server.url, {"credential": selector}, creds),
        }[way]
        block = {"url": url, "subject": "s", **({"auth": auth} if auth else {})}
        async with on_stage("nats", block, secrets={("nats", "it"): secret}) as stage:
            # When the source starts, then it is let in
            await stage.start()
            assert not stage.errors
            assert "127.0.0.1" in stage.listening[0] and "ss%2F" not in stage.listening[0]


async def test_a_rotated_password_is_taken_up_and_no_secret_is_logged(
    tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with NatsServer(tmp_path) as server:
        block = {"url": server.url, "subject": "s", "auth": _BASIC}
        async with on_stage("nats", block, secrets=dict(_SECRETS)) as stage:
            await stage.start()
            # Given a server that has a new password
            server.password = "another one"
            await server.restart()
            # When the source is refused, and the secret changes
            await eventually(lambda: bool(stage.errors) and "credentials" in str(stage.errors[-1]))
            stage.secrets["nats", "password"] = "another one"
            # Then it receives again
            await eventually(lambda: len(stage.listening) == 2)
            told = f"{stage.errors} {stage.listening} {caplog.text}"
            assert "another one" not in told and PASSWORD not in told


async def test_tls_with_our_certificate_and_a_host_that_is_led_elsewhere(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a server that wants a certificate, and names that lead to it, of which its own has one
    with NatsServer(tmp_path, tls=True) as server:
        names = ("kubernetes.default.svc", "other.svc")
        monkeypatch.setenv("ARGOSY_RESOLVE", " ".join(f"{name}:4222=127.0.0.1:{server.port}" for name in names))
        block = {"url": "nats://kubernetes.default.svc", "subject": "s", "tls": CLIENT_TLS, "auth": _BASIC}
        secrets = {**_SECRETS, **server.tls_secrets()}
        async with on_stage("nats", block, secrets=secrets) as stage:
            # When the source starts, then messages of more than one TLS record come
            await stage.start()
            publishing = await connect(
                server.url, user="argosy", password=PASSWORD, tls=_context(server), tls_hostname="localhost"
            )
            for _ in range(200):
                await publishing.publish("s", b"x" * 20_000)
            await publishing.flush()
            await stage.events(200)
            await publishing.close()
        # And the other name is not trusted, nor a client without a certificate let in
        async with _raising({**block, "url": "tls://other.svc:4222"}, secrets) as sentence:
            assert "certificate of tls://other.svc:4222 is not trusted" in sentence
        only_ca = {"caCertSecret": CLIENT_TLS["caCertSecret"]}
        async with _raising({**block, "tls": only_ca}, secrets) as sentence:
            assert "clientCertSecret" in sentence or "lost" in sentence


def _context(server: NatsServer) -> Any:
    import ssl

    context = ssl.create_default_context(cafile=str(server.folder / "ca.crt"))
    context.load_cert_chain(server.folder / "client.crt", server.folder / "client.key")
    return context


async def test_refusals_are_sentences_that_show_no_secret(upstream: Publisher) -> None:
    block, port = upstream.block, upstream.server.port
    selector = {"name": "nats", "key": "it"}
    anonymous = {key: value for key, value in block.items() if key != "auth"}
    reader = {**anonymous, "url": f"nats://reader:reader@127.0.0.1:{port}"}
    cases: list[tuple[dict[str, Json], list[str], str]] = [
        (anonymous, ["does not accept our credentials", "auth"], ""),
        ({**anonymous, "url": f"nats://argosy:wrong@127.0.0.1:{port}"}, ["does not accept"], "wrong"),
        ({**block, "auth": {"nkey": selector}}, ["does not accept"], Key("user").seed),
        ({**block, "auth": {"nkey": selector}}, ["auth.nkey 'nats'", "no seed"], Key("account").seed),
        ({**block, "auth": {"nkey": selector}}, ["no seed"], "no-seed-at-all"),
        ({**block, "auth": {"credential": selector}}, ["auth.credential 'nats'"], "no-file-at-all"),
        ({**reader, "subject": "secret.x"}, ["secret.x", "grant the user"], ""),
        ({**block, "url": "nats://127.0.0.1:9"}, ["nothing listens at nats://127.0.0.1:9"], ""),
        ({**block, "url": "nats://no.such.invalid"}, ["no host 'no.such.invalid'"], ""),
        ({**block, "tls": {"insecureSkipVerify": True}}, ["has no TLS"], ""),
    ]
    for faulty, named, secret in cases:
        async with _raising(faulty, {("nats", "it"): secret}) as sentence:
            assert all(text in sentence for text in named), sentence
            assert PASSWORD not in sentence
            assert not secret or secret not in sentence


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"SSH-2.0-x\r\n", "does not speak NATS"),
        (b"INFO {no}\r\n", "is it a NATS port"),
        (b"", "hung up"),
        (b'INFO {"headers":true}\r\nPONG\r\nMSG s 1 x\r\n', "no NATS"),
        (b'INFO {"headers":true}\r\nPONG\r\nHMSG s 1 9 2\r\n', "no NATS"),
        (b'INFO {"headers":true}\r\nPONG\r\nMSG s 1 99999999999\r\n', "no NATS"),
    ],
)
async def test_a_server_that_does_not_speak_nats_is_named(said: bytes, expected: str) -> None:
    # Given a server that says something else
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        if said.endswith(b"PONG\r\n") or b"MSG" in said:
            await reader.readline()
        writer.close()

    server = await asyncio.start_server(say, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    # When the source comes, then a sentence says so
    async with _raising({"url": f"nats://127.0.0.1:{port}", "subject": "s"}) as sentence:
        assert expected in sentence and str(port) in sentence
    server.close()


async def test_connection_backoff_pauses_before_the_failure_is_reported() -> None:
    # Given a server that is not there, and three tries
    slept: list[float] = []

    class Clock:
        async def sleep(self, seconds: float) -> None:
            slept.append(seconds)

    backoff = {"duration": "10s", "factor": 2, "jitter": 0, "steps": 3}
    block = {"url": "nats://127.0.0.1:9", "subject": "s", "connectionBackoff": backoff}
    async with on_stage("nats", block, clock=Clock()) as stage:
        # When the source starts, then it pauses as the block says, and gives up
        with pytest.raises(SourceError, match="nothing listens"):
            await stage.plugin().run(stage.context())
    assert slept == [10.0, 20.0]


def test_keys_are_read_as_nats_writes_them() -> None:
    key = Key("user")
    assert from_seed(f" {key.seed}\n", "x").words("n")["nkey"] == key.public
    broken = key.seed[:20] + ("A" if key.seed[20] != "A" else "B") + key.seed[21:]
    for text in (broken, "", "S", Key("operator").seed, key.public):
        with pytest.raises(ConfigError, match="no seed"):
            from_seed(text, "x")
    with pytest.raises(ConfigError, match="no credentials file"):
        from_credentials("-----BEGIN NATS USER JWT-----\nx\n------END NATS USER JWT------\n", "x")
