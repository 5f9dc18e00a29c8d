"""The ``bitbucket`` source: the suite of every source, and Bitbucket Cloud's documented signature."""

from __future__ import annotations

import hmac
import json
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest

from tests.conformance.source import SourceSuite, on_stage
from tests.unit.sources.hook_sender import Delivery, HookSender, deliver, webhook, wrapped

SECRETS = {("bitbucket", "secret"): "It's a Secret to Everybody", ("bitbucket", "old"): "the one before"}
SELECTOR = {"name": "bitbucket", "key": "secret"}
REPOSITORIES = [{"owner": "workspace", "repositorySlug": "repo"}]
# The test vector of Atlassian's page "Manage webhooks".
HELLO_SIGNATURE = "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"


def signed(body: bytes, secret: str = SECRETS["bitbucket", "secret"]) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, "sha256").hexdigest()


def delivery(text: str, secret: str = SECRETS["bitbucket", "secret"]) -> Delivery:
    body = json.dumps({"push": {"changes": []}, "actor": {"nickname": text}}).encode()
    return body, {
        "Content-Type": "application/json",
        "X-Event-Key": "repo:push",
        "X-Hook-UUID": "b7e3c6a0-0000-0000-0000-000000000000",
        "X-Request-UUID": f"req-{text}",
        "X-Attempt-Number": "1",
        "X-Hub-Signature": signed(body, secret),
    }


class _Bitbucket(HookSender):
    secrets: ClassVar[dict[tuple[str, str], str]] = SECRETS

    async def guard(self, secret: str) -> tuple[dict[str, Any], dict[tuple[str, str], str]]:
        self.make = lambda text: delivery(text, secret)
        return {}, {("bitbucket", "secret"): secret}

    def text_of(self, data: Any) -> str:
        assert set(data) <= {"headers", "body", "metadata"}
        assert data["headers"]["X-Event-Key"] == ["repo:push"]
        return str(data["body"]["actor"]["nickname"])


class TestBitbucket(SourceSuite):
    kind = "bitbucket"
    bad_blocks: ClassVar[list[tuple[dict[str, Any], str]]] = [
        ({"repositories": REPOSITORIES}, "webhook"),
        ({"webhook": webhook()}, "'repositories'"),
        ({"webhook": webhook(), "repositories": [{"owner": "o"}]}, "repositorySlug"),
        ({"webhook": webhook(), "repositories": REPOSITORIES, "auth": {"basic": {"username": SELECTOR}}}, "password"),
        (
            {"webhook": webhook(url="https://me"), "repositories": REPOSITORIES, "auth": {"oauthToken": SELECTOR}},
            "'events'",
        ),
    ]

    @pytest.fixture
    async def upstream(self) -> AsyncIterator[_Bitbucket]:
        sender = _Bitbucket(delivery, repositories=REPOSITORIES, webhookSecret=SELECTOR, insistent=True)
        yield sender
        await sender.close()


async def test_the_signature_of_atlassians_documentation_is_taken() -> None:
    block = {"webhook": webhook(), "repositories": REPOSITORIES, "webhookSecret": SELECTOR}
    async with on_stage("bitbucket", block, secrets=SECRETS) as stage:
        # When the documented example comes, then its signature is right, and only its body is no JSON
        response = await deliver(stage, b"Hello World!", {"X-Hub-Signature": HELLO_SIGNATURE})
        assert (response.status_code, "JSON" in response.text) == (400, True)
        for wrong in ("", "sha256=", "sha1=" + "0" * 40, signed(b"other"), HELLO_SIGNATURE[:-1]):
            response = await deliver(stage, b"Hello World!", {"X-Hub-Signature": wrong})
            assert (response.status_code, "signature" in response.text) == (400, True)
        assert stage.offered == []


async def test_without_a_secret_any_sender_is_believed_as_upstream_does() -> None:
    block = {"webhook": webhook(), "owner": "o", "repositorySlug": "r"}
    async with on_stage("bitbucket", block) as stage:
        body, headers = delivery("one")
        assert (await deliver(stage, body, headers)).text == "success"
        assert stage.emitted[0].id == wrapped(stage, body, headers).id == "req-one"


async def test_both_secrets_are_taken_while_one_is_being_changed() -> None:
    previous = {"name": "bitbucket", "key": "old"}
    block = {
        "webhook": webhook(),
        "repositories": REPOSITORIES,
        "webhookSecret": SELECTOR,
        "previousWebhookSecret": previous,
    }
    async with on_stage("bitbucket", block, secrets=SECRETS) as stage:
        for secret in SECRETS.values():
            assert (await deliver(stage, b"{}", {"X-Hub-Signature": signed(b"{}", secret)})).status_code == 200
