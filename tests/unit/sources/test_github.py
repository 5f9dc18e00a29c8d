"""The ``github`` source: the suite of every source, and GitHub's documented deliveries and signatures."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar
from urllib.parse import urlencode

import pytest

from tests.conformance.source import SourceSuite, on_stage
from tests.unit.sources.hook_sender import Delivery, HookSender, deliver, webhook, wrapped

SECRET = {("github", "secret"): "It's a Secret to Everybody", ("github", "old"): "the one before"}
SELECTOR = {"name": "github", "key": "secret"}
# The test vector of GitHub's page "Validating webhook deliveries".
HELLO = b"Hello, World!"
HELLO_SIGNATURE = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
REPOSITORIES = [{"owner": "octocat", "names": ["hello-world"]}]


def signed(body: bytes, secret: str = SECRET["github", "secret"], algorithm: str = "sha256") -> str:
    return f"{algorithm}=" + hmac.new(secret.encode(), body, getattr(hashlib, algorithm)).hexdigest()


def delivery(text: str, secret: str = SECRET["github", "secret"]) -> Delivery:
    body = json.dumps({"ref": text, "size": 1.0}).encode()
    return body, {
        "Content-Type": "application/json",
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": f"72d3162e-{text}",
        "X-Hub-Signature-256": signed(body, secret),
        "User-Agent": "GitHub-Hookshot/044aadd",
    }


class _GitHub(HookSender):
    secrets: ClassVar[dict[tuple[str, str], str]] = SECRET

    async def guard(self, secret: str) -> tuple[dict[str, Any], dict[tuple[str, str], str]]:
        self.make = lambda text: delivery(text, secret)
        return {}, {("github", "secret"): secret}

    def text_of(self, data: Any) -> str:
        assert set(data) <= {"headers", "body", "metadata"}
        assert data["headers"]["X-Github-Event"] == ["push"]
        assert data["body"]["X-GitHub-Event"] == "push"
        assert data["body"]["X-GitHub-Delivery"] == data["headers"]["X-Github-Delivery"][0]
        return str(data["body"]["ref"])


class TestGithub(SourceSuite):
    kind = "github"
    bad_blocks: ClassVar[list[tuple[dict[str, Any], str]]] = [
        ({"repositories": REPOSITORIES}, "webhook"),
        ({"webhook": webhook()}, "'repositories' or 'organizations'"),
        ({"webhook": webhook(), "repositories": REPOSITORIES, "organizations": ["o"]}, "keep one"),
        ({"webhook": webhook(), "repositories": REPOSITORIES, "contentType": "xml"}, "contentType"),
        ({"webhook": webhook(), "repositories": REPOSITORIES, "githubBaseURL": "https://g"}, "githubUploadURL"),
        ({"webhook": webhook(url="https://me"), "repositories": REPOSITORIES, "apiToken": SELECTOR}, "'events'"),
        ({"webhook": webhook(), "repositories": REPOSITORIES, "webhookSecrets": SELECTOR}, "webhookSecrets"),
    ]

    @pytest.fixture
    async def upstream(self) -> AsyncIterator[_GitHub]:
        sender = _GitHub(delivery, repositories=REPOSITORIES, webhookSecret=SELECTOR)
        yield sender
        await sender.close()


def block(**fields: Any) -> dict[str, Any]:
    return {"webhook": webhook(), "repositories": REPOSITORIES, "webhookSecret": SELECTOR, **fields}


async def test_the_signature_of_githubs_documentation_is_taken() -> None:
    async with on_stage("github", block(), secrets=dict(SECRET)) as stage:
        headers = {"Content-Type": "application/json", "X-Hub-Signature-256": HELLO_SIGNATURE}
        # When the documented example comes, then its signature is right, and only its body is no JSON
        response = await deliver(stage, HELLO, headers)
        assert (response.status_code, "JSON" in response.text) == (400, True)
        # And with any other byte it is the signature that is wrong
        response = await deliver(stage, HELLO + b" ", headers)
        assert (response.status_code, "signature is wrong" in response.text) == (400, True)


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, "has no signature"),
        ({"X-Hub-Signature-256": "sha256="}, "signature is wrong"),
        ({"X-Hub-Signature-256": "sha256=zz"}, "signature is wrong"),
        ({"X-Hub-Signature-256": signed(b"{}", "another")}, "signature is wrong"),
        ({"X-Hub-Signature-256": "md5=" + "0" * 32}, "none of the sorts"),
        (
            {"X-Hub-Signature-256": signed(b"{}", "another"), "X-Hub-Signature": signed(b"{}", algorithm="sha1")},
            "wrong",
        ),
    ],
)
async def test_a_delivery_that_is_not_signed_by_the_secret_is_refused(headers: Mapping[str, str], said: str) -> None:
    async with on_stage("github", block(), secrets=dict(SECRET)) as stage:
        response = await deliver(stage, b"{}", {"Content-Type": "application/json", **headers})
        assert (response.status_code, said in response.text) == (400, True), response.text
        assert (stage.offered, len(stage.refused)) == ([], 1)
        assert SECRET["github", "secret"] not in str(stage.refused) + response.text


async def test_a_signature_of_the_old_sort_is_taken_where_there_is_no_newer_one() -> None:
    async with on_stage("github", block(), secrets=dict(SECRET)) as stage:
        headers = {"Content-Type": "application/json", "X-Hub-Signature": signed(b"{}", algorithm="sha1")}
        assert (await deliver(stage, b"{}", headers)).status_code == 200


async def test_a_signed_delivery_is_refused_where_no_secret_is_known() -> None:
    async with on_stage("github", {"webhook": webhook(), "repositories": REPOSITORIES}) as stage:
        body, headers = delivery("one")
        response = await deliver(stage, body, headers)
        assert (response.status_code, "webhookSecret" in response.text) == (400, True)
        # But one without a signature is taken, for none was asked for
        unsigned = {name: value for name, value in headers.items() if "Signature" not in name}
        assert (await deliver(stage, body, unsigned)).status_code == 200


async def test_a_secret_is_rotated_without_a_restart_and_both_count_meanwhile() -> None:
    # Given a source whose secret is being changed
    secrets = dict(SECRET)
    previous = {"name": "github", "key": "old"}
    async with on_stage("github", block(previousWebhookSecret=previous), secrets=secrets) as stage:
        json_type = {"Content-Type": "application/json"}
        for secret in ("It's a Secret to Everybody", "the one before"):
            headers = {**json_type, "X-Hub-Signature-256": signed(b"{}", secret)}
            assert (await deliver(stage, b"{}", headers)).status_code == 200
        # When it is another one from one request to the next, and the old one is taken away
        stage.secrets["github", "secret"] = "brand new"
        del stage.secrets["github", "old"]
        # Then the new one counts, and the old one does not
        headers = {**json_type, "X-Hub-Signature-256": signed(b"{}", "brand new")}
        assert (await deliver(stage, b"{}", headers)).status_code == 200
        headers = {**json_type, "X-Hub-Signature-256": signed(b"{}", "the one before")}
        assert (await deliver(stage, b"{}", headers)).status_code == 400


async def test_nothing_is_taken_while_the_secret_is_missing_or_empty() -> None:
    async with on_stage("github", block(), secrets={}) as stage:
        body, headers = delivery("one")
        assert (await deliver(stage, body, headers)).status_code == 500
        # Anybody can sign with the empty secret
        stage.secrets["github", "secret"] = ""
        headers = {**headers, "X-Hub-Signature-256": signed(body, "")}
        assert (await deliver(stage, body, headers)).status_code == 500
        assert stage.offered == []


async def test_a_form_carries_the_same_payload_and_is_signed_as_it_stands() -> None:
    async with on_stage("github", block(contentType="form"), secrets=dict(SECRET)) as stage:
        body = urlencode({"payload": '{"zen": "Keep it <logically> awesome & simple"}'}).encode()
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-GitHub-Event": "ping",
            "X-GitHub-Delivery": "d-1",
            "X-Hub-Signature-256": signed(body),
        }
        # When a ping comes as a form
        response = await deliver(stage, body, headers)
        # Then it is an event as any other, with the body's keys sorted as upstream writes them
        assert (response.status_code, response.text) == (200, "success")
        (event,) = stage.emitted
        assert event.id == "d-1"
        assert (
            b'"body":{"X-GitHub-Delivery":"d-1","X-GitHub-Event":"ping",'
            b'"zen":"Keep it \\u003clogically\\u003e awesome \\u0026 simple"}}' in event.raw
        )
        # And offline the same request makes the same event
        assert wrapped(stage, body, headers).data.partition(b'"body"')[2] == event.raw.partition(b'"body"')[2]


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"[1]", "application/json", "no object"),
        (b"{", "application/json", "not JSON"),
        (b"{}", "text/plain", "'text/plain'"),
        (b"other=1", "application/x-www-form-urlencoded", "empty"),
        (b"payload=%zz", "application/x-www-form-urlencoded", "form"),
    ],
)
async def test_what_is_no_delivery_is_refused_with_a_reason(body: bytes, kind: str, said: str) -> None:
    async with on_stage("github", block(), secrets=dict(SECRET)) as stage:
        response = await deliver(stage, body, {"Content-Type": kind, "X-Hub-Signature-256": signed(body)})
        assert (response.status_code, said in response.text) == (400, True), response.text


async def test_large_integers_keep_their_digits_and_whole_floats_become_integers() -> None:
    async with on_stage("github", block(), secrets=dict(SECRET)) as stage:
        body = b'{"id": 9007199254740993, "size": 1.0}'
        headers = {"Content-Type": "application/json", "X-Hub-Signature-256": signed(body)}
        await deliver(stage, body, headers)
        assert b'"id":9007199254740993,"size":1}' in stage.emitted[0].raw
        assert stage.emitted[0].id is None
