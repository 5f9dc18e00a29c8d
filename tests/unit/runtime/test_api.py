"""Who is let in to the local API, and which way a question may take to it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from argosy.runtime.api import Api
from argosy.runtime.buses import Buses
from argosy.runtime.operations._base import System
from argosy.runtime.secrets import Secrets


async def ask(api: Api, path: str, *headers: tuple[bytes, bytes]) -> tuple[int, str]:
    """Status and sentence of the answer to GET."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    scope = {"method": "GET", "path": path, "query_string": b"", "headers": list(headers)}
    await api(scope, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])["error"]


def api(token: str | None = "t0ken") -> Api:
    secrets = Secrets()
    return Api(System(Buses("memory", secrets), secrets), token)


@pytest.mark.parametrize("header", [(b"authorization", b"Bearer t0ken"), (b"x-argosy-token", b"t0ken")])
async def test_the_token_opens_by_either_header(header: tuple[bytes, bytes]) -> None:
    assert (await ask(api(), "/api/v1/nothing", header))[0] == 404


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ((b"authorization", b"t0ken"),),
        ((b"x-argosy-token", b"Bearer t0ken"),),
        ((b"x-argosy-token", b""),),
        ((b"authorization", b"Bearer t0ke"), (b"x-argosy-token", b"\xff")),
    ],
)
async def test_nothing_else_opens(headers: tuple[tuple[bytes, bytes], ...]) -> None:
    status, sentence = await ask(api(), "/api/v1/nothing", *headers)
    assert status == 401
    assert "t0ken" not in sentence


async def test_the_environment_may_give_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGOSY_API_TOKEN", "given")
    assert (await ask(api(None), "/api/v1/nothing", (b"x-argosy-token", b"given")))[0] == 404


async def test_a_path_that_a_proxy_would_unpack_comes_as_a_header() -> None:
    # Given an id with a slash, past a proxy that makes two steps of it
    headers = (b"x-argosy-token", b"t0ken"), (b"x-argosy-path", b"/api/v1/events/a%2Fbcdefgh")
    # Then it is the operation for one event that answers: that it does not know its manifests yet
    status, sentence = await ask(api(), "/api/v1/-", *headers)
    assert (status, sentence) == (503, "the manifests are being applied; ask again in a moment")
