"""How the ``nats`` source comes to its server: every way to be let in, TLS, refusals, and bytes that are no NATS."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from argosy.errors import ConfigError
from argosy.manifests.fields import Json
from argosy.sources._nats_keys import from_credentials, from_seed
from tests.brokers.nats_server import connect
from tests.brokers.sources.nats_publisher import BASIC, SECRETS, Publisher
from tests.brokers.sources.nats_server import PASSWORD, Key, NatsServer, operator
from tests.brokers.sources.server import CLIENT_TLS
from tests.conformance.source import Stage, on_stage, raising


@pytest.fixture
async def upstream(nats_server: NatsServer) -> AsyncIterator[Publisher]:
    async with Publisher(nats_server) as publisher:
        yield publisher


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


async def test_tls_with_our_certificate_and_a_host_that_is_led_elsewhere(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a server that wants a certificate, and names that lead to it, of which its own has one
    with NatsServer(tmp_path, tls=True) as server:
        names = ("kubernetes.default.svc", "other.svc")
        monkeypatch.setenv("ARGOSY_RESOLVE", " ".join(f"{name}:4222=127.0.0.1:{server.port}" for name in names))
        block = {"url": "nats://kubernetes.default.svc", "subject": "s", "tls": CLIENT_TLS, "auth": BASIC}
        secrets = {**SECRETS, **server.tls_secrets()}
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
        async with raising("nats", {**block, "url": "tls://other.svc:4222"}, secrets=secrets) as sentence:
            assert "certificate of tls://other.svc:4222 is not trusted" in sentence
        only_ca = {"caCertSecret": CLIENT_TLS["caCertSecret"]}
        async with raising("nats", {**block, "tls": only_ca}, secrets=secrets) as sentence:
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
        async with raising("nats", faulty, secrets={**SECRETS, ("nats", "it"): secret}) as sentence:
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
    async with raising("nats", {"url": f"nats://127.0.0.1:{port}", "subject": "s"}) as sentence:
        assert expected in sentence and str(port) in sentence
    server.close()


def test_keys_are_read_as_nats_writes_them() -> None:
    key = Key("user")
    assert from_seed(f" {key.seed}\n", "x").words("n")["nkey"] == key.public
    broken = key.seed[:20] + ("A" if key.seed[20] != "A" else "B") + key.seed[21:]
    for text in (broken, "", "S", Key("operator").seed, key.public):
        with pytest.raises(ConfigError, match="no seed"):
            from_seed(text, "x")
    with pytest.raises(ConfigError, match="no credentials file"):
        from_credentials("-----BEGIN NATS USER JWT-----\nx\n------END NATS USER JWT------\n", "x")
