"""The ``gitlab`` source: the suite of every source, and GitLab's documented deliveries."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest

from tests.conformance.source import SourceSuite, on_stage
from tests.unit.sources.hook_sender import Delivery, HookSender, deliver, webhook, wrapped

TOKEN = {"name": "gitlab", "key": "token"}
SECRETS = {("gitlab", "token"): "tanuki", ("gitlab", "old"): "fox"}
ACCESS = {"name": "gitlab-access", "key": "token"}
FIELDS: dict[str, Any] = {"events": ["PushEvents"], "accessToken": ACCESS, "gitlabBaseURL": "https://gitlab.example"}


def delivery(text: str, token: str = "tanuki") -> Delivery:
    body = json.dumps({"object_kind": "push", "ref": text, "project_id": 15}).encode()
    return body, {
        "Content-Type": "application/json",
        "X-Gitlab-Event": "Push Hook",
        "X-Gitlab-Token": token,
        "X-Gitlab-Instance": "https://gitlab.example",
        "X-Gitlab-Webhook-UUID": "02affd2d-2cba-4033-917d-ec22d5dc4b38",
        "X-Gitlab-Event-UUID": "13792a34-cac6-4fda-95a8-c58e00a3954e",
        "Idempotency-Key": f"f5e57fe0-{text}",
    }


class _GitLab(HookSender):
    secrets: ClassVar[dict[tuple[str, str], str]] = SECRETS

    async def guard(self, secret: str) -> tuple[dict[str, Any], dict[tuple[str, str], str]]:
        self.make = lambda text: delivery(text, secret)
        return {}, {("gitlab", "token"): secret}

    def text_of(self, data: Any) -> str:
        assert set(data) <= {"headers", "body", "metadata"}
        assert data["headers"]["X-Gitlab-Event"] == ["Push Hook"]
        assert set(data["body"]) == {"object_kind", "ref", "project_id"}
        return str(data["body"]["ref"])


class TestGitlab(SourceSuite):
    kind = "gitlab"
    bad_blocks: ClassVar[list[tuple[dict[str, Any], str]]] = [
        (FIELDS, "webhook"),
        ({"webhook": webhook(), **FIELDS, "events": ["PushEvent"]}, "'PushEvent'"),
        ({"webhook": webhook(), **FIELDS, "gitlabBaseURL": ""}, "gitlabBaseURL"),
        ({"webhook": webhook(), "events": ["PushEvents"], "gitlabBaseURL": "https://g"}, "accessToken"),
        ({"webhook": webhook(), "accessToken": ACCESS, "gitlabBaseURL": "https://g"}, "events"),
    ]

    @pytest.fixture
    async def upstream(self) -> AsyncIterator[_GitLab]:
        sender = _GitLab(delivery, secretToken=TOKEN, projects=["a/b"], **FIELDS)
        yield sender
        await sender.close()


@pytest.mark.parametrize("token", ["", "wolf", "tanuk", "TANUKI"])
async def test_a_delivery_with_another_token_is_refused_though_no_webhook_is_registered(token: str) -> None:
    # Given a source that registers nothing
    async with on_stage("gitlab", {"webhook": webhook(), "secretToken": TOKEN, **FIELDS}, secrets=SECRETS) as stage:
        body, headers = delivery("one")
        # When a delivery has no token, or another one
        response = await deliver(stage, body, {**headers, "X-Gitlab-Token": token})
        # Then it is refused as upstream refuses it where it registers
        assert (response.status_code, response.text) == (400, "token mismatch")
        assert (stage.offered, len(stage.refused)) == ([], 1)


async def test_both_tokens_are_taken_while_one_is_being_changed() -> None:
    block = {"webhook": webhook(), "secretToken": TOKEN, "previousSecretToken": {"name": "gitlab", "key": "old"}}
    async with on_stage("gitlab", block | FIELDS, secrets=dict(SECRETS)) as stage:
        body, headers = delivery("one")
        for token in ("tanuki", "fox"):
            assert (await deliver(stage, body, {**headers, "X-Gitlab-Token": token})).status_code == 200
        stage.secrets["gitlab", "token"] = "owl"
        assert (await deliver(stage, body, {**headers, "X-Gitlab-Token": "owl"})).status_code == 200
        assert (await deliver(stage, body, {**headers, "X-Gitlab-Token": "tanuki"})).status_code == 400


async def test_without_a_token_in_the_manifest_none_is_asked_for() -> None:
    async with on_stage("gitlab", {"webhook": webhook(), **FIELDS}) as stage:
        assert (await deliver(stage, *delivery("one"))).status_code == 200


async def test_the_body_is_kept_as_it_was_sent_and_named_by_its_idempotency_key() -> None:
    async with on_stage("gitlab", {"webhook": webhook(), **FIELDS}) as stage:
        _, headers = delivery("one")
        body = b'{ "z": 1.0, "a": "<&>" }'
        assert (await deliver(stage, body, headers)).text == "success"
        assert b'"body":{"z":1.0,"a":"\\u003c\\u0026\\u003e"}}' in stage.emitted[0].raw
        assert stage.emitted[0].id == wrapped(stage, body, headers).id == "f5e57fe0-one"


async def test_deliveries_that_share_an_event_uuid_are_told_apart_by_their_bodies() -> None:
    # Given a GitLab without idempotency keys, where a webhook sets off another one
    async with on_stage("gitlab", {"webhook": webhook(), **FIELDS}) as stage:
        for text in ("one", "two", "one"):
            body, headers = delivery(text)
            await deliver(stage, body, {name: value for name, value in headers.items() if name != "Idempotency-Key"})
        first, second, again = (event.id for event in stage.emitted)
        assert first and second and first != second
        assert again == first


async def test_a_body_that_is_no_json_is_refused() -> None:
    async with on_stage("gitlab", {"webhook": webhook(), **FIELDS}) as stage:
        response = await deliver(stage, b"{", {})
        assert (response.status_code, "JSON" in response.text) == (400, True)
