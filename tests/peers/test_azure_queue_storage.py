"""The ``azureQueueStorage`` source against a real Azurite: the suite of every source, and what is a queue's own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import logging
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import quote

import orjson
import pytest

from argosy.clock import SystemClock
from argosy.errors import BusError
from argosy.manifests.fields import Json
from argosy.registry import wrap
from argosy.sources._azure_storage import Message, Queue
from argosy.sources._raw import Raw
from tests.brokers.sources.suite import BrokerSuite, BrokerUpstream
from tests.conformance.source import SourceSuite, Stage, eventually, on_stage, raising
from tests.peers.azurite import ACCOUNT, HOST, KEY, Azurite, QueueClient
from tests.unit.triggers.receivers import Answer, HttpServer

_numbers = itertools.count(1)
_SECRET = ("azure", "connection")


class _Restless(SystemClock):
    """Waits no seconds where a queue is empty, but a moment."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(min(seconds, 0.05))


class Sender(BrokerUpstream):
    """A client that puts messages into one queue, which nobody else uses."""

    redelivers = True
    keeps = True
    names_messages = True
    kind = "azureQueueStorage"
    server: Azurite

    def __init__(self, server: Azurite) -> None:
        super().__init__(server)
        self.queue = self.place = f"queue-{next(_numbers)}"
        self.clock = _Restless()
        self.secrets = {_SECRET: server.connection_string}  # type: ignore[misc]
        self.block = {
            "queueName": self.queue,
            "connectionString": {"name": "azure", "key": "connection"},
            "jsonBody": True,
        }
        self.sent = 0

    async def __aenter__(self) -> Self:
        self.client = await QueueClient(self.server, self.queue).__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.client.__aexit__(*exc)

    async def send(self, text: str) -> None:
        await self.client.put(f'{{"text": "{text}"}}')
        self.sent += 1

    async def send_bad(self) -> None:
        await self.client.put("no JSON")
        self.sent += 1

    def at(self, host: str) -> dict[str, Json]:
        raise NotImplementedError

    def text_of(self, data: Json) -> str:
        assert list(data)[:3] == ["body", "messageID", "insertionTime"]
        assert list(data)[3:] in ([], ["metadata"])
        assert len(data["messageID"]) == 36 and data["insertionTime"].endswith("Z")
        return str(data["body"]["text"])

    async def acknowledged(self) -> int:
        return self.sent - await self.client.count()


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    with Azurite(tmp_path_factory.mktemp("azurite")) as server:
        yield server


@pytest.fixture
async def upstream(azurite: Azurite) -> AsyncIterator[Sender]:
    async with Sender(azurite) as sender:
        yield sender


@pytest.fixture
async def stage(upstream: Sender) -> AsyncIterator[Stage]:
    async with _staged(upstream) as stage:
        yield stage


def _staged(upstream: Sender, **block: Json) -> Any:
    given = {"secrets": dict(upstream.secrets), "clock": upstream.clock}
    return on_stage(upstream.kind, {**upstream.block, **block}, **given)


class TestAzureQueueStorage(BrokerSuite, SourceSuite):
    kind = "azureQueueStorage"
    server = Azurite
    publisher = Sender
    nobody: ClassVar[dict[str, Json]] = {}
    by_tls = ""
    login_refused = "answered 403 AuthenticationFailed"
    impatient: ClassVar[dict[str, float]] = {"_http_client._CALL_SECONDS": 2.0}
    has_tls_port = False
    bad_blocks: ClassVar[list[tuple[dict[str, Any], str]]] = [
        ({"queueName": "q"}, "needs connectionString or storageAccountName"),
        ({"storageAccountName": "a"}, "queueName"),
        ({"queueName": "", "storageAccountName": "a"}, "queueName"),
        ({"queueName": "q", "storageAccountName": "a", "waitTimeInSeconds": -1}, "waitTimeInSeconds"),
        ({"queueName": "q", "storageAccountName": "a", "queue": "q"}, "queue"),
    ]

    async def test_a_rotated_password_is_taken_up_and_no_secret_is_logged(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("DEBUG")
        another = base64.b64encode(b"another key that is as long as the first one of them is........!").decode()
        with Azurite(tmp_path) as server:
            async with Sender(server) as upstream, _staged(upstream) as stage:
                await stage.start()
                # Given messages that the emulator has written down, one of them under way, and a key that changes
                stage.close_gate()
                await upstream.send("before")
                await eventually(lambda: stage.under_way == 1)
                await eventually(lambda: server.saved('"dequeueCount":1'))
                server.set_password(another)
                await server.restart()
                stage.open_gate()
                # When the source is refused, and the secret changes
                await eventually(lambda: any(self.login_refused in str(error) for error in stage.errors))
                stage.secrets[_SECRET] = server.connection_string
                # Then it receives again, without a restart of its own, and misses nothing
                await upstream.send("after")
                await eventually(lambda: {upstream.text_of(each.data) for each in stage.emitted} == {"before", "after"})
                assert len({event.id for event in stage.emitted}) == 2
                told = f"{stage.errors} {stage.listening} {caplog.text}"
                assert KEY not in told and another not in told


async def test_the_data_is_upstreams_to_the_byte_and_wrap_makes_the_same(upstream: Sender) -> None:
    async with _staged(upstream, jsonBody=False, metadata={"m": "1"}) as stage:
        # Given a source that takes messages as they stand
        await stage.start()
        # When a message comes
        name = await upstream.client.put("<ä&>")
        # Then its bytes stand in base64, and wrap makes the same of it
        (event,) = await stage.events(1)
        time = event.data["insertionTime"]
        body = base64.b64encode("<ä&>".encode()).decode()
        head = f'{{"body":"{body}","messageID":"{name}","insertionTime":"{time}"'
        assert event.raw.decode() == f'{head},"metadata":{{"m":"1"}}}}'
        assert event.id == name
        raw = Raw("<ä&>".encode(), {"messageID": name, "insertionTime": time})
        assert wrap(upstream.kind, stage.context().config, raw) == (event.raw, event.id)


@pytest.mark.parametrize("dlq", [False, True])
async def test_a_message_that_is_no_event_is_deleted_or_left_for_those_who_move_it(
    upstream: Sender, dlq: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("argosy.sources.azure_queue_storage._VISIBILITY_SECONDS", 1)
    async with _staged(upstream, decodeMessage=True, dlq=dlq) as stage:
        # Given a message that is no base64
        await stage.start()
        await upstream.client.put("no base64!")
        await eventually(lambda: len(stage.refused) >= (2 if dlq else 1))
        # Then it is gone, or there and counted each time that it comes
        if dlq:
            assert "taken 1 times); left in the queue" in stage.refused[0] and "taken 2 times" in stage.refused[1]
            assert await upstream.client.count() == 1
        else:
            assert stage.refused[0].endswith("taken 1 times); deleted")
            await eventually(lambda: _is_empty(upstream))
        assert not stage.emitted and not stage.errors


async def test_a_message_whose_event_waits_is_kept_from_others_for_as_long_as_it_takes(
    upstream: Sender, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a message that is invisible for a second only, and a bus that does not answer
    monkeypatch.setattr("argosy.sources.azure_queue_storage._VISIBILITY_SECONDS", 1)
    renewed: list[str] = []
    extend = Queue.extend

    async def noted(self: Queue, message: Message, seconds: int) -> Message:
        after = await extend(self, message, seconds)
        renewed.append(after.receipt)
        return after

    monkeypatch.setattr(Queue, "extend", noted)
    await stage.start()
    stage.close_gate()
    await upstream.send("one")
    # When it was extended several times
    await eventually(lambda: len(renewed) >= 3)
    # Then nobody has got it meanwhile, and in the end it is deleted by its newest receipt
    assert "<MessageId>" not in await upstream.client.peek()
    stage.open_gate()
    await stage.events(1)
    await eventually(lambda: _is_empty(upstream))
    assert len(stage.offered) == 1 and len(set(renewed)) == len(renewed)


async def test_what_the_bus_refuses_is_given_back_at_once_and_its_neighbours_are_deleted(
    upstream: Sender, stage: Stage
) -> None:
    # Given a bus that refuses one of three messages
    stage.only, stage.failure = b"bad", BusError("the bus does not take this one")
    for text in ("good", "bad", "fine"):
        await upstream.send(text)
    await stage.start()
    await eventually(lambda: len(stage.errors) >= 2)
    # Then the others are stored and deleted, and it comes again and again
    await eventually(lambda: _counts(upstream, 1))
    assert sorted(upstream.text_of(event.data) for event in stage.emitted) == ["fine", "good"]
    stage.failure = None
    await stage.events(3)
    await eventually(lambda: _is_empty(upstream))


async def test_a_shared_access_signature_is_enough(upstream: Sender, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    # Given a signature that allows to read and process this account's queues, and no key
    sas = _sas(KEY)
    text = f"QueueEndpoint=http://127.0.0.1:{upstream.server.port}/{ACCOUNT};SharedAccessSignature={sas}"
    async with on_stage(upstream.kind, upstream.block, secrets={_SECRET: text}, clock=upstream.clock) as stage:
        # When a message comes, then it is an event and deleted
        await stage.start()
        await upstream.send("one")
        await stage.events(1)
        await eventually(lambda: _is_empty(upstream))
        assert "sig=" not in f"{stage.listening} {stage.errors} {caplog.text}"


async def test_failures_are_sentences_that_show_no_key(upstream: Sender) -> None:
    wrong_key = base64.b64encode(b"wrong").decode()
    cases: list[tuple[dict[str, Json], str, list[str]]] = [
        ({"queueName": "no-such-queue"}, upstream.secrets[_SECRET], ["'no-such-queue'", "QueueNotFound", "queueName"]),
        ({}, upstream.secrets[_SECRET].replace(KEY, wrong_key), ["AuthenticationFailed", "connection string"]),
        ({}, upstream.secrets[_SECRET].replace(str(upstream.server.port), "9"), ["127.0.0.1:9", "cannot be reached"]),
        ({}, "no connection string", ["names no account"]),
    ]
    for block, secret, named in cases:
        async with raising(upstream.kind, {**upstream.block, **block}, secrets={_SECRET: secret}) as sentence:
            assert all(text in sentence for text in named), sentence
            assert KEY not in sentence and wrong_key not in sentence


async def test_an_account_without_a_key_is_read_by_the_identity_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an account that is reached by its name, by HTTPS, and takes tokens, and somebody who gives them
    with Azurite(tmp_path, by_https=True) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.crt"))
        monkeypatch.setenv("ARGOSY_RESOLVE", f"{HOST}:443=127.0.0.1:{server.port}")
        async with HttpServer() as authority, Sender(server) as upstream:
            answer = {"access_token": _token(), "expires_in": 3600, "token_type": "Bearer"}
            authority.answers["/tenant-1/oauth2/v2.0/token"] = Answer(body=orjson.dumps(answer))
            for name, value in (("TENANT_ID", "tenant-1"), ("CLIENT_ID", "client-1"), ("CLIENT_SECRET", "s3cr3t")):
                monkeypatch.setenv(f"AZURE_{name}", value)
            monkeypatch.setenv("AZURE_AUTHORITY_HOST", authority.url)
            block = {key: value for key, value in upstream.block.items() if key != "connectionString"}
            block["storageAccountName"] = ACCOUNT
            async with on_stage(upstream.kind, block, clock=upstream.clock) as stage:
                # When messages come
                await stage.start()
                assert stage.listening == [f"queue '{upstream.queue}' of {HOST}"]
                await upstream.send("one")
                await upstream.send("two")
                # Then they are events and deleted, by one token
                await stage.events(2)
                await eventually(lambda: _is_empty(upstream))
                assert len(authority.requests) == 1
                # And a token that Azure does not take is a sentence without it
            authority.answers["/tenant-1/oauth2/v2.0/token"] = Answer(body=orjson.dumps({"access_token": "x.y.z"}))
            async with raising(upstream.kind, block) as sentence:
                assert "answered 401" in sentence or "answered 403" in sentence
                assert "what the identity may do" in sentence and "x.y.z" not in sentence


def _token() -> str:
    """What Azurite looks at of a token; it does not check who has signed it."""
    now = int(time.time())
    claims = {
        "aud": "https://storage.azure.com",
        "iss": "https://sts.windows-ppe.net/ab1f708d-50f6-404c-a006-d71b2ac7a606/",
        "iat": now - 60,
        "nbf": now - 60,
        "exp": now + 3600,
    }
    parts = (orjson.dumps({"alg": "none", "typ": "JWT"}), orjson.dumps(claims), b"signature")
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


async def _is_empty(upstream: Sender) -> bool:
    return await upstream.client.count() == 0


async def _counts(upstream: Sender, count: int) -> bool:
    return await upstream.client.count() == count


def _sas(key: str) -> str:
    """An account's shared access signature for queues (learn.microsoft.com "Create an account SAS")."""
    parts = {"sv": "2018-11-09", "ss": "q", "srt": "sco", "sp": "rwdlacup", "se": "2099-01-01T00:00:00Z"}
    text = "\n".join([ACCOUNT, parts["sp"], parts["ss"], parts["srt"], "", parts["se"], "", "", parts["sv"], ""])
    signature = base64.b64encode(hmac.digest(base64.b64decode(key), text.encode(), hashlib.sha256)).decode()
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in {**parts, "sig": signature}.items())
