"""The ``openWhisk`` trigger against a double of OpenWhisk's documented REST API."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from argosy.errors import Rejected, RetryAfter, TriggerError
from argosy.manifests.fields import Json
from tests.conformance.trigger import Receiver, Stage, TriggerSuite
from tests.unit.triggers.receivers import Answer, HttpServer

TOKEN = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP"
SECRETS = {("whisk", "token"): TOKEN}
_PAYLOAD: list[Json] = [{"src": {"dependencyName": "dep", "dataKey": "n"}, "dest": "n"}]
_WHOLE: dict[str, Json] = {"host": "whisk", "actionName": "a", "payload": _PAYLOAD}
_DONE = Answer(200, {"X-Openwhisk-Activation-Id": "44794bd6"}, b'{"done": true}')


class _Whisk(Receiver):
    secrets: ClassVar[dict[tuple[str, str], str]] = SECRETS
    hastened: ClassVar[dict[str, Json]] = {"argosy.triggers.open_whisk._CALL_SECONDS": 0.3}
    private = (TOKEN, TOKEN.partition(":")[2])

    def __init__(self, server: HttpServer) -> None:
        self.server = server
        self.address = f"127.0.0.1:{server.port}"
        server.default = _DONE
        self.block = {**_WHOLE, "host": server.url, "authToken": {"name": "whisk", "key": "token"}}

    async def effects(self) -> list[str]:
        return [request.headers["idempotency-key"] for request in self.server.requests]

    async def arrived(self) -> Json:
        return self.server.requests[-1].shown()

    def speak_tls(self, patch: pytest.MonkeyPatch) -> None:
        self.block = {**self.block, "host": self.address}

    async def limit(self, patch: pytest.MonkeyPatch) -> float:
        self.server.default = Answer(429, {"Retry-After": "7"})
        return 7

    async def knows(self, private: str) -> bool:
        return any(
            private in base64.b64decode(each.headers["authorization"][6:]).decode() for each in self.server.requests
        )

    async def refuse(self) -> None:
        self.server.default = Answer(404, body=f"no such action for {TOKEN}".encode())

    async def fail(self) -> None:
        self.server.default = Answer(502, body=TOKEN.encode())

    async def hold(self) -> None:
        self.server.hold()

    async def release(self) -> None:
        self.server.default = _DONE
        self.server.release()

    async def held(self) -> int:
        return self.server.waiting


@pytest.fixture
async def server() -> AsyncIterator[HttpServer]:
    async with HttpServer() as server:
        server.default = _DONE
        yield server


@pytest.fixture
async def fire(server: HttpServer) -> AsyncIterator[Any]:
    stage = Stage("openWhisk", secrets=dict(SECRETS))
    async with stage.open() as trigger:

        async def fire(block: dict[str, Json], **named: Any) -> Any:
            return await stage.fire(trigger, {**_WHOLE, "host": server.url, **block}, **named)

        yield fire


class TestOpenWhisk(TriggerSuite):
    kind = "openWhisk"
    bad_blocks: ClassVar[list[tuple[dict[str, Any], str]]] = [
        ({"actionName": "a", "payload": _PAYLOAD}, "host"),
        ({"host": "whisk", "payload": _PAYLOAD}, "actionName"),
        ({"host": "whisk", "actionName": "a"}, "payload"),
        ({**_WHOLE, "payload": []}, "payload"),
        ({**_WHOLE, "host": "ftp://whisk"}, "host"),
        ({**_WHOLE, "host": "user:pass@whisk"}, "host"),
        ({**_WHOLE, "host": "whisk/api"}, "host"),
        ({**_WHOLE, "actionName": "a/b/c"}, "actionName"),
        ({**_WHOLE, "actionName": "../x?y"}, "actionName"),
        ({**_WHOLE, "tls": {}}, "caCertSecret"),
    ]

    @pytest.fixture
    async def receiver(self, server: HttpServer) -> _Whisk:
        return _Whisk(server)


async def test_it_is_a_blocking_invocation_as_the_documents_have_it(server: HttpServer, fire: Any) -> None:
    # When an action of a package in a namespace is invoked
    block = {
        "namespace": "my shop",
        "actionName": "billing/create",
        "version": "v2",
        "authToken": {"name": "whisk", "key": "token"},
    }
    outcome = await fire(block, payload='{"ä": 1}'.encode())
    # Then the request is OpenWhisk's
    (request,) = server.requests
    path = "/api/v2/namespaces/my%20shop/actions/billing/create?blocking=true&result=true"
    assert (request.method, request.target) == ("POST", path)
    assert request.headers["authorization"] == "Basic " + base64.b64encode(TOKEN.encode()).decode()
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == {"ä": 1}
    # And the outcome says which activation it was, and what came of it
    assert outcome.detail == {"status": 200, "body": '{"done": true}', "activationId": "44794bd6"}


async def test_without_token_namespace_and_version_they_are_the_defaults(server: HttpServer, fire: Any) -> None:
    await fire({"namespace": "", "version": ""})
    assert server.requests[0].target.startswith("/api/v1/namespaces/_/actions/a?")
    assert "authorization" not in server.requests[0].headers


async def test_a_payload_that_is_no_object_is_rejected(server: HttpServer, fire: Any) -> None:
    for payload in (b"[1]", b'"text"', b"{no"):
        with pytest.raises(Rejected, match="no JSON object"):
            await fire({}, payload=payload)
    assert server.requests == []


@pytest.mark.parametrize(
    ("status", "wanted"),
    [(200, None), (202, None), (302, Rejected), (400, Rejected), (401, Rejected), (403, Rejected), (404, Rejected),
     (408, TriggerError), (413, Rejected), (429, TriggerError), (500, TriggerError), (502, TriggerError)],
)  # fmt: skip
async def test_a_status_is_a_success_a_rejection_or_tried_again(
    server: HttpServer, fire: Any, status: int, wanted: type[Exception] | None
) -> None:
    server.default = Answer(status, body=b'{"error": "because"}')
    if wanted is None:
        outcome = await fire({})
        assert ("still running" in outcome.message) == (status == 202)
        return
    with pytest.raises(wanted, match=f"answered {status}.*because") as raised:
        await fire({})
    assert isinstance(raised.value, Rejected) == (wanted is Rejected)
    # And policy.status has the last word
    await fire({}, policy={"status": {"allow": [status]}})
    with pytest.raises(TriggerError, match="policy.status"):
        await fire({}, policy={"status": {"allow": [299]}})


async def test_who_throttles_says_when_to_come_back(server: HttpServer, fire: Any) -> None:
    server.default = Answer(429, {"Retry-After": "7"})
    with pytest.raises(RetryAfter) as raised:
        await fire({})
    assert raised.value.seconds == 7


async def test_a_host_that_is_silent_resets_or_is_not_there_is_a_sentence(
    server: HttpServer, fire: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TriggerError, match="127.0.0.1:9"):
        await fire({"host": "http://127.0.0.1:9"})
    server.default = Answer(reset=True)
    with pytest.raises(TriggerError) as raised:
        await fire({})
    assert not isinstance(raised.value, Rejected)
    monkeypatch.setattr("argosy.triggers.open_whisk._CALL_SECONDS", 0.1)
    server.default = _DONE
    server.hold()
    with pytest.raises(TriggerError, match="no answer within 0.1 s"):
        await fire({})


async def test_a_thousand_actions_reuse_connections(server: HttpServer, fire: Any) -> None:
    for start in range(0, 1000, 10):
        await asyncio.gather(*(fire({}, id=f"action-{start + number}") for number in range(10)))
    assert len({request.headers["idempotency-key"] for request in server.requests}) == 1000
    assert server.connections <= 10


async def test_tls_is_the_rule_and_is_verified(certificates: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
    stage = Stage("openWhisk", secrets={("tls", "ca"): (certificates / "ca.crt").read_text()})
    async with HttpServer(context) as server, stage.open() as trigger:
        server.default = _DONE
        block = {**_WHOLE, "host": f"127.0.0.1:{server.port}"}
        await stage.fire(trigger, {**block, "tls": {"caCertSecret": {"name": "tls", "key": "ca"}}})
        with pytest.raises(TriggerError, match="(?i)certificate"):
            await stage.fire(trigger, block)
        assert len(server.requests) == 1
