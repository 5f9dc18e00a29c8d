"""The ``gerrit`` source: the suite of every source, and what the webhooks plug-in sends. What it registers stands in
``test_hooks``.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest

from tests.conformance.source import DictBucket, SourceSuite, eventually, on_stage
from tests.unit.sources.hook_api import hook_api
from tests.unit.sources.hook_sender import Delivery, HookSender, deliver, webhook, wrapped

AUTH = {"username": {"name": "gerrit", "key": "user"}, "password": {"name": "gerrit", "key": "password"}}
SECRETS = {("gerrit", "user"): "robot", ("gerrit", "password"): "http-password"}
FIELDS: dict[str, Any] = {
    "projects": ["platform/build"],
    "events": ["patchset-created"],
    "auth": AUTH,
    "gerritBaseURL": "https://gerrit.example",
}


def delivery(text: str, created: int = 1541066000) -> Delivery:
    body = {
        "uploader": {"name": "Robot", "email": "robot@gerrit.example", "username": "robot"},
        "patchSet": {"number": 1, "revision": "deb1e0f3", "ref": "refs/changes/01/1/1", "kind": "REWORK"},
        "change": {"project": "platform/build", "branch": "main", "number": 1, "subject": text, "status": "NEW"},
        "project": "platform/build",
        "refName": "refs/heads/main",
        "changeKey": {"key": "I7e4a6e0d"},
        "type": "patchset-created",
        "eventCreatedOn": created,
    }
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "Apache-HttpClient/4.5.14"}
    return json.dumps(body, separators=(",", ":")).encode(), headers


class _Gerrit(HookSender):
    def text_of(self, data: Any) -> str:
        assert set(data) <= {"headers", "body", "metadata"}
        assert data["headers"]["Content-Type"] == ["application/json; charset=utf-8"]
        assert data["body"]["type"] == "patchset-created"
        return str(data["body"]["change"]["subject"])


class TestGerrit(SourceSuite):
    kind = "gerrit"
    bad_blocks: ClassVar[list[tuple[dict[str, Any], str]]] = [
        (FIELDS, "webhook"),
        *(
            ({"webhook": webhook(), **{key: value for key, value in FIELDS.items() if key != missing}}, missing)
            for missing in FIELDS
        ),
        ({"webhook": webhook(), **FIELDS, "projects": []}, "projects"),
        ({"webhook": webhook(), **FIELDS, "gerritBaseURL": ""}, "gerritBaseURL"),
        ({"webhook": webhook(), **FIELDS, "auth": {"username": AUTH["username"]}}, "password"),
        ({"webhook": webhook(), **FIELDS, "maxTries": -1}, "maxTries"),
    ]

    @pytest.fixture
    async def upstream(self) -> AsyncIterator[_Gerrit]:
        sender = _Gerrit(delivery, insistent=True, **FIELDS)
        yield sender
        await sender.close()


async def test_an_event_that_is_sent_again_keeps_its_id_and_others_have_their_own() -> None:
    # Given a source that receives
    async with on_stage("gerrit", {"webhook": webhook(), **FIELDS}) as stage:
        # When two events of one second come, one of them twice, and a later one like the first
        for body, headers in (delivery("a"), delivery("b"), delivery("a"), delivery("a", created=1541066001)):
            assert (await deliver(stage, body, headers)).text == "success"
        # Then the repetition alone has the id of another
        first, second, again, later = (event.id for event in stage.emitted)
        assert first == again and len({first, second, later}) == 3
        assert first is not None and first.startswith("patchset-created-1541066000-")
        # And it is the same that tests and explanations see offline
        assert wrapped(stage, *delivery("a")).id == first


async def test_a_body_that_is_no_event_of_gerrit_is_kept_without_an_id() -> None:
    async with on_stage("gerrit", {"webhook": webhook(), **FIELDS}) as stage:
        body = b'{ "z": 1.0, "a": "<&>" }'
        assert (await deliver(stage, body, {})).text == "success"
        assert b'"body":{"z":1.0,"a":"\\u003c\\u0026\\u003e"}}' in stage.emitted[0].raw
        assert stage.emitted[0].id is None


async def test_a_body_that_is_no_json_is_refused() -> None:
    async with on_stage("gerrit", {"webhook": webhook(), **FIELDS}) as stage:
        response = await deliver(stage, b"{", {})
        assert (response.status_code, "JSON" in response.text) == (400, True)


async def test_without_a_name_in_the_manifest_the_webhook_has_that_of_the_event_and_the_servers_own_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("argosy.sources._hooks._FIRST_SECONDS", 0.0)
    # Given a manifest that names neither hookName nor sslVerify nor maxTries, and wants all events
    with hook_api("gerrit") as api:
        hook = webhook(url="https://argosy.example/in/")
        block = {**FIELDS, "webhook": hook, "gerritBaseURL": f"{api.url}/a/", "events": []}
        async with on_stage("gerrit", block, secrets=SECRETS, bucket=DictBucket()) as stage:
            # When the source starts
            await stage.start()
            await eventually(lambda: len(api.changes()) == 1, "the webhook is there")
    # Then it asks for no more than that
    place = "/a/config/server/webhooks~projects/platform%2Fbuild/remotes"
    assert api.changes() == [("PUT", f"{place}/argosy-default-stage-example")]
    assert api.last("PUT").body == {"url": "https://argosy.example/in/hook"}
