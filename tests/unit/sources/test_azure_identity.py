"""Tokens for Azure by each way that the environment may offer, asked of an HTTP server that stands for Entra ID and for
the machine's metadata service.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from argosy.errors import ConfigError, SourceError
from argosy.sources._azure_identity import Identity
from tests.conformance.source import on_stage
from tests.unit.triggers.receivers import Answer, HttpServer

SCOPE = "https://storage.azure.com/.default"
OF_TENANT, OF_MACHINE = "/tenant-1/oauth2/v2.0/token", "/metadata/identity/oauth2/token"


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HttpServer]:
    for name in ("TENANT_ID", "CLIENT_ID", "CLIENT_SECRET", "FEDERATED_TOKEN_FILE"):
        monkeypatch.delenv(f"AZURE_{name}", raising=False)
    async with HttpServer() as server:
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", f"{server.url}/")
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", server.url)
        yield server


@pytest.fixture
async def identity() -> AsyncIterator[Identity]:
    async with on_stage("azureQueueStorage", {"queueName": "q", "storageAccountName": "a"}) as stage:
        async with Identity(stage.context(), SCOPE) as identity:
            yield identity


def _gives(token: str, **more: Any) -> Answer:
    return Answer(body=orjson.dumps({"access_token": token, "expires_in": "3599", **more}))


async def test_a_client_secret_comes_first_and_the_token_is_kept(
    server: HttpServer, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("TENANT_ID", "tenant-1"), ("CLIENT_ID", "client-1"), ("CLIENT_SECRET", "s&3")):
        monkeypatch.setenv(f"AZURE_{name}", value)
    server.answers[OF_TENANT] = _gives("t-1")
    assert [(await identity.token()).text for _ in range(3)] == ["t-1"] * 3
    (request,) = server.requests
    assert parse_qs(request.body.decode()) == {
        "grant_type": ["client_credentials"], "scope": [SCOPE], "client_id": ["client-1"], "client_secret": ["s&3"],
    }  # fmt: skip


async def test_a_token_that_is_about_to_end_is_asked_for_again(
    server: HttpServer, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers[OF_MACHINE] = Answer(body=orjson.dumps({"access_token": "short", "expires_in": "200"}))
    assert (await identity.token()).text == "short"
    server.answers[OF_MACHINE] = _gives("long")
    assert [(await identity.token()).text for _ in range(2)] == ["long"] * 2
    assert len(server.requests) == 2


async def test_calls_at_the_same_time_ask_once(server: HttpServer, identity: Identity) -> None:
    server.answers[OF_MACHINE] = _gives("shared")
    found = await asyncio.gather(*(identity.token() for _ in range(20)))
    assert {token.text for token in found} == {"shared"} and len(server.requests) == 1
    # And none of them shows itself
    assert "shared" not in repr(found)


async def test_a_token_without_a_readable_end_is_refused_in_a_sentence(server: HttpServer, identity: Identity) -> None:
    server.answers[OF_MACHINE] = _gives("odd", expires_in="soon")
    with pytest.raises(ConfigError, match="ends at no time") as refused:
        await identity.token()
    assert "odd" not in str(refused.value)


async def test_a_workload_identity_hands_in_its_token_as_it_stands_now(
    server: HttpServer, identity: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text("of.the.pod\n")
    for name, value in (("TENANT_ID", "tenant-1"), ("CLIENT_ID", "c"), ("FEDERATED_TOKEN_FILE", str(file))):
        monkeypatch.setenv(f"AZURE_{name}", value)
    server.answers[OF_TENANT] = _gives("t-2")
    assert (await identity.token()).text == "t-2"
    form = parse_qs(server.requests[0].body.decode())
    assert form["client_assertion"] == ["of.the.pod"]
    assert form["client_assertion_type"] == ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"]
    file.unlink()
    monkeypatch.setattr(identity, "_held", None)
    with pytest.raises(SourceError, match="AZURE_FEDERATED_TOKEN_FILE"):
        await identity.token()


@pytest.mark.parametrize("client", ["", "client-1"])
async def test_the_machine_is_asked_last(
    server: HttpServer, identity: Identity, client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if client:
        monkeypatch.setenv("AZURE_CLIENT_ID", client)
    server.answers[OF_MACHINE] = _gives("t-3")
    assert (await identity.token()).text == "t-3"
    (request,) = server.requests
    assert request.headers["metadata"] == "true"
    query = {"api-version": ["2018-02-01"], "resource": ["https://storage.azure.com"]}
    assert parse_qs(urlsplit(request.target).query) == query | ({"client_id": [client]} if client else {})


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            Answer(401, body=b'{"error":"invalid_client","error_description":"secret s3cr3t is wrong"}'),
            "401 invalid_client",
        ),
        (Answer(200, body=b"<html>"), "without JSON"),
        (Answer(200, body=b"[]"), "gives no token"),
    ],
)
async def test_a_refusal_is_a_sentence_without_the_secret(
    server: HttpServer, identity: Identity, answer: Answer, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("TENANT_ID", "tenant-1"), ("CLIENT_ID", "client-1"), ("CLIENT_SECRET", "s3cr3t")):
        monkeypatch.setenv(f"AZURE_{name}", value)
    server.answers[OF_TENANT] = answer
    with pytest.raises(SourceError, match=said) as raised:
        await identity.token()
    assert "s3cr3t" not in str(raised.value) and "127.0.0.1" in str(raised.value)


async def test_where_nobody_can_be_asked_the_ways_are_named(
    identity: Identity, server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="there is no identity for Azure.*AZURE_CLIENT_SECRET"):
        await identity.token()
