"""What of the ``pubSub`` source an emulator does not ask for: TLS, tokens and permissions, against a gRPC server and a token
server of our own; and what needs no server at all.

The rest runs against Google's emulator: ``tests/peers/test_pub_sub.py``.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import grpclib.const
import grpclib.server
import orjson
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from argosy.manifests.fields import Json
from argosy.sources import pub_sub
from argosy.sources._pub_sub_messages import ANSWERS, IAM, PUBLISHER, SUBSCRIBER, TYPES
from tests.conformance.source import eventually, on_stage, raising
from tests.kubernetes import certificates
from tests.unit.triggers.receivers import Answer, HttpServer

_REQUESTS = {
    "CreateSubscription": "Subscription", "GetSubscription": "GetSubscriptionRequest",
    "DeleteSubscription": "DeleteSubscriptionRequest", "Pull": "PullRequest", "Acknowledge": "AcknowledgeRequest",
    "ModifyAckDeadline": "ModifyAckDeadlineRequest", "CreateTopic": "Topic",
    "TestIamPermissions": "TestIamPermissionsRequest",
}  # fmt: skip
_SECRET = ("google", "key.json")
_BLOCK: dict[str, Json] = {
    "projectID": "p",
    "subscriptionID": "s",
    "jsonBody": True,
    "credentialSecret": {"name": "google", "key": "key.json"},
}
_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Service:
    """Pub/Sub by TLS: one subscription, and whoever has a token in ``tokens`` may pull from it."""

    def __init__(self) -> None:
        self.tokens = {"token-1"}
        self.permissions = ["pubsub.subscriptions.consume"]
        self.called: list[str] = []
        self.waiting: asyncio.Queue[Any] = asyncio.Queue()
        self.acknowledged: list[str] = []

    def __mapping__(self) -> dict[str, Any]:
        unary = grpclib.const.Cardinality.UNARY_UNARY
        return {
            method: grpclib.const.Handler(
                self._of(method.rpartition("/")[2]), unary, TYPES[_REQUESTS[method.rpartition("/")[2]]], TYPES[answer]
            )
            for method, answer in ANSWERS.items()
        }

    def _of(self, name: str) -> Any:
        async def handle(stream: Any) -> None:
            request = await stream.recv_message()
            self.called.append(name)
            if stream.metadata.get("authorization") not in {f"Bearer {token}" for token in self.tokens}:
                raise grpclib.GRPCError(grpclib.const.Status.UNAUTHENTICATED, "invalid authentication credentials")
            await stream.send_message(await getattr(self, f"_{name}")(request))

        return handle

    async def _TestIamPermissions(self, request: Any) -> Any:
        assert request.resource == "projects/p/subscriptions/s"
        return TYPES["TestIamPermissionsResponse"](permissions=self.permissions)

    async def _GetSubscription(self, request: Any) -> Any:
        return TYPES["Subscription"](name=request.subscription, topic="projects/p/topics/t")

    async def _Pull(self, request: Any) -> Any:
        answer = TYPES["PullResponse"]()
        text = await self.waiting.get()
        message = TYPES["PubsubMessage"](data=text.encode(), message_id=f"id-{text}")
        answer.received_messages.add(ack_id=f"ack-{text}", message=message)
        return answer

    async def _ModifyAckDeadline(self, request: Any) -> Any:
        return TYPES["Empty"]()

    async def _Acknowledge(self, request: Any) -> Any:
        self.acknowledged += request.ack_ids
        return TYPES["Empty"]()


@pytest.fixture
async def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    certificates.authority(tmp_path)
    certificates.server(tmp_path, "google", "DNS:pubsub.googleapis.com")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "google.crt", tmp_path / "google.key")
    context.set_alpn_protocols(["h2"])
    service = Service()
    server = grpclib.server.Server([service])
    await server.start("127.0.0.1", 0, ssl=context)
    port = server._server.sockets[0].getsockname()[1]
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("ARGOSY_RESOLVE", f"pubsub.googleapis.com:443=127.0.0.1:{port}")
    for name in ("PUBSUB_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS", "GCE_METADATA_HOST"):
        monkeypatch.delenv(name, raising=False)
    yield service
    server.close()
    await server.wait_closed()


@pytest.fixture
async def tokens() -> AsyncIterator[HttpServer]:
    async with HttpServer() as server:
        server.answers["/token"] = Answer(body=orjson.dumps({"access_token": "token-1", "expires_in": 3600}))
        yield server


def _key(tokens: HttpServer, **more: Any) -> str:
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = _RSA.private_bytes(serialization.Encoding.PEM, *form).decode()
    key = {"type": "service_account", "client_email": "me@p.example", "private_key_id": "k-1", "private_key": pem}
    return orjson.dumps({**key, "token_uri": f"{tokens.url}/token", "project_id": "p", **more}).decode()


async def test_a_service_accounts_key_becomes_a_token_and_messages_come_by_tls(
    service: Service, tokens: HttpServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    secret = _key(tokens)
    async with on_stage("pubSub", {**_BLOCK, "projectID": ""}, secrets={_SECRET: secret}) as stage:
        # Given a source with a key, and no project but the key's
        await stage.start()
        assert stage.listening == ["subscription 'projects/p/subscriptions/s' of Pub/Sub at pubsub.googleapis.com"]
        # When messages come, then they are events, and acknowledged
        for text in ("1", "2"):
            service.waiting.put_nowait(text)
        await stage.events(2)
        await eventually(lambda: service.acknowledged == ["ack-1", "ack-2"])
        # And who may pull was not asked to be allowed more
        assert "GetSubscription" not in service.called
    # And the token was asked for once, by a signed assertion
    (request,) = tokens.requests
    form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    head, claims, signature = (base64.urlsafe_b64decode(part + "==") for part in form["assertion"].split("."))
    assert orjson.loads(head) == {"alg": "RS256", "typ": "JWT", "kid": "k-1"}
    said = orjson.loads(claims)
    assert (said["iss"], said["aud"]) == ("me@p.example", f"{tokens.url}/token")
    assert said["scope"] == "https://www.googleapis.com/auth/pubsub" and said["exp"] == said["iat"] + 3600
    signed = form["assertion"].rpartition(".")[0].encode()
    _RSA.public_key().verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    assert "token-1" not in caplog.text and "PRIVATE KEY" not in caplog.text


async def test_a_key_that_changes_is_taken_up_at_the_next_call(service: Service, tokens: HttpServer) -> None:
    async with on_stage("pubSub", _BLOCK, secrets={_SECRET: _key(tokens)}) as stage:
        await stage.start()
        # Given a token that is taken back
        service.tokens = {"token-2"}
        service.waiting.put_nowait("0")
        await eventually(lambda: any("UNAUTHENTICATED" in str(error) for error in stage.errors))
        assert "check the credentials" in str(stage.errors[0]) and "token-1" not in str(stage.errors)
        # When the Secret has another key
        tokens.answers["/token"] = Answer(body=orjson.dumps({"access_token": "token-2", "expires_in": 3600}))
        stage.secrets[_SECRET] = _key(tokens, private_key_id="k-2")
        # Then messages come again
        service.waiting.put_nowait("1")
        await eventually(lambda: "ack-1" in service.acknowledged)


async def test_a_refresh_token_and_the_machines_identity_give_tokens_too(
    service: Service, tokens: HttpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = {key: value for key, value in _BLOCK.items() if key != "credentialSecret"}
    # The file of a developer
    file = tmp_path / "adc.json"
    user = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
    file.write_bytes(orjson.dumps({**user, "token_uri": f"{tokens.url}/token"}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    async with on_stage("pubSub", block) as stage:
        await stage.start()
    form = {name: values[0] for name, values in parse_qs(tokens.requests[0].body.decode()).items()}
    assert form == {"grant_type": "refresh_token", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
    # The metadata server, for the project, too
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("GCE_METADATA_HOST", tokens.url.removeprefix("http://"))
    base = "/computeMetadata/v1"
    tokens.answers[f"{base}/project/project-id"] = Answer(body=b"p")
    tokens.answers[f"{base}/instance/service-accounts/default/token"] = tokens.answers["/token"]
    async with on_stage("pubSub", {**block, "projectID": ""}) as stage:
        await stage.start()
    assert [request.headers["metadata-flavor"] for request in tokens.requests[1:]] == ["Google", "Google"]


async def test_what_is_missing_is_said(service: Service, tokens: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [
        ("no JSON", "are not JSON"),
        ('{"type": "external_account"}', "'external_account' are not understood"),
        (_key(tokens, private_key="no key"), "private_key is no unencrypted key in PEM"),
    ]
    for secret, said in cases:
        async with raising("pubSub", _BLOCK, secrets={_SECRET: secret}) as sentence:
            assert said in sentence
    service.permissions = []
    async with raising("pubSub", _BLOCK, secrets={_SECRET: _key(tokens)}) as sentence:
        assert "may not pull from 'projects/p/subscriptions/s'" in sentence and "roles/pubsub.subscriber" in sentence
    tokens.answers["/token"] = Answer(400, body=b'{"error": "invalid_grant", "error_description": "PRIVATE"}')
    async with raising("pubSub", _BLOCK, secrets={_SECRET: _key(tokens)}) as sentence:
        assert "gives no token: 400 invalid_grant" in sentence and "PRIVATE" not in sentence
    for answer in (b"<html>", b"[]", b'{"token": "PRIVATE"}', b'{"access_token": "PRIVATE", "expires_in": "soon"}'):
        tokens.answers["/token"] = Answer(body=answer)
        async with raising("pubSub", _BLOCK, secrets={_SECRET: _key(tokens)}) as sentence:
            assert sentence == "Google answered without a token when asked for one"
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:9")
    async with raising("pubSub", {"subscriptionID": "s"}) as sentence:
        assert "give projectID" in sentence


@pytest.mark.parametrize(
    ("seconds", "nanos", "text"),
    [
        (0, 0, "1970-01-01 00:00:00 +0000 UTC"),
        (1763892000, 500_000_000, "2025-11-23 10:00:00.5 +0000 UTC"),
        (1763892000, 120, "2025-11-23 10:00:00.00000012 +0000 UTC"),
    ],
)
def test_times_are_as_go_writes_them(seconds: int, nanos: int, text: str) -> None:
    assert pub_sub._go_time(seconds, nanos) == text


def test_the_hash_is_fnv_1a() -> None:
    # The vectors of the FNV authors (isthe.com/chongo/tech/comp/fnv).
    assert [pub_sub._fnv(text) for text in (b"", b"a", b"foobar")] == [0x811C9DC5, 0xE40C292C, 0xBF9CF968]


def test_the_methods_are_those_of_the_contract() -> None:
    assert {method.rpartition("/")[0] for method in ANSWERS} == {SUBSCRIBER, PUBLISHER, IAM}


@pytest.mark.parametrize(
    ("block", "name"),
    [
        ({"topic": "t"}, "example-1540997543"),
        (
            {
                "topic": "t",
                "topicProjectID": "o",
                "credentialSecret": {"name": "s", "key": "k"},
                "deleteSubscriptionOnFinish": True,
                "jsonBody": True,
                "metadata": {"b": "<1>", "a": "ä"},
                "filter": {"expression": "body.a > 1 && true"},
            },
            "example-566450580",
        ),
    ],
)
async def test_the_name_of_a_subscription_is_the_one_that_argo_events_makes(block: dict[str, Json], name: str) -> None:
    # The numbers are those of Go: encoding/json of upstream's struct, hash/fnv.
    async with on_stage("pubSub", block) as stage:
        assert pub_sub._made_name(stage.context(), "p") == name
