"""The ``bitbucketserver`` source: the suite of every source, and what becomes of a push of several branches."""

from __future__ import annotations

import hmac
import json
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest

from argosy.errors import ConfigError
from tests.conformance.source import SourceSuite, on_stage
from tests.unit.sources.hook_api import hook_api
from tests.unit.sources.hook_sender import Delivery, HookSender, deliver, webhook, wrapped

SECRETS = {("bitbucket", "secret"): "It's a Secret to Everybody", ("bitbucket", "token"): "access"}
SELECTOR = {"name": "bitbucket", "key": "secret"}
TOKEN = {"name": "bitbucket", "key": "token"}
FIELDS: dict[str, Any] = {
    "repositories": [{"projectKey": "PROJ", "repositorySlug": "repo"}],
    "bitbucketserverBaseURL": "https://bitbucket.example/rest",
}


def signed(body: bytes, secret: str = SECRETS["bitbucket", "secret"]) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, "sha256").hexdigest()


def delivery(text: str, secret: str = SECRETS["bitbucket", "secret"]) -> Delivery:
    body = json.dumps({"eventKey": "pr:opened", "pullRequest": {"title": text}}).encode()
    return body, {"X-Event-Key": "pr:opened", "X-Request-Id": f"req-{text}", "X-Hub-Signature": signed(body, secret)}


def push(*changes: tuple[str, str, str]) -> Delivery:
    value = {
        "eventKey": "repo:refs_changed",
        "actor": {"name": "admin", "unknownToUpstream": 1},
        "repository": {"slug": "repo", "project": {"key": "PROJ"}},
        "changes": [
            {"ref": {"displayId": name, "type": kind}, "toHash": name * 3, "type": change}
            for name, kind, change in changes
        ],
    }
    return json.dumps(value).encode(), {"X-Event-Key": "repo:refs_changed", "X-Request-Id": "req-1"}


class _Bitbucket(HookSender):
    secrets: ClassVar[dict[tuple[str, str], str]] = SECRETS

    async def guard(self, secret: str) -> tuple[dict[str, Any], dict[tuple[str, str], str]]:
        self.make = lambda text: delivery(text, secret)
        return {}, {("bitbucket", "secret"): secret}

    def text_of(self, data: Any) -> str:
        assert set(data) <= {"headers", "body", "metadata"}
        assert data["headers"]["X-Event-Key"] == ["pr:opened"]
        return str(data["body"]["pullRequest"]["title"])


class TestBitbucketserver(SourceSuite):
    kind = "bitbucketserver"
    bad_blocks: ClassVar[list[tuple[dict[str, Any], str]]] = [
        (FIELDS, "webhook"),
        ({"webhook": webhook(), "bitbucketserverBaseURL": "https://b/rest"}, "'repositories' or 'projects'"),
        ({"webhook": webhook(), "projects": ["P"]}, "bitbucketserverBaseURL"),
        ({"webhook": webhook(), **FIELDS, "checkInterval": "soon"}, "checkInterval"),
        ({"webhook": webhook(), **FIELDS, "skipBranchRefsChangedOnOpenPR": True}, "'accessToken'"),
        ({"webhook": webhook(url="https://me"), **FIELDS, "accessToken": TOKEN}, "'events'"),
    ]

    @pytest.fixture
    async def upstream(self) -> AsyncIterator[_Bitbucket]:
        sender = _Bitbucket(delivery, webhookSecret=SELECTOR, **FIELDS)
        yield sender
        await sender.close()


async def test_a_wrong_signature_is_refused_though_no_webhook_is_registered() -> None:
    async with on_stage("bitbucketserver", {"webhook": webhook(), "webhookSecret": SELECTOR, **FIELDS}) as stage:
        stage.secrets.update(SECRETS)
        # A short header ends the request upstream; here it is one more wrong signature
        for wrong in ("", "sha", "sha256=", "sha256=00", signed(b"other")):
            response = await deliver(stage, b"{}", {"X-Hub-Signature": wrong})
            assert (response.status_code, "signature" in response.text) == (400, True)
        assert (await deliver(stage, b"{}", {"X-Hub-Signature": signed(b"{}")})).status_code == 200
        assert len(stage.offered) == 1


async def test_a_push_is_one_event_unless_each_change_is_wanted() -> None:
    body, headers = push(("a", "BRANCH", "UPDATE"), ("b", "TAG", "ADD"))
    async with on_stage("bitbucketserver", {"webhook": webhook(), **FIELDS}) as stage:
        response = await deliver(stage, body, headers)
        assert (response.text, len(stage.emitted), stage.emitted[0].id) == ("success", 1, "req-1")
        offline = wrapped(stage, body, headers)
        assert (json.loads(offline.data)["body"], offline.id) == (stage.emitted[0].data["body"], "req-1")
    async with on_stage("bitbucketserver", {"webhook": webhook(), "oneEventPerChange": True, **FIELDS}) as stage:
        response = await deliver(stage, body, headers)
        # Then each event has one change and all the rest, and an id that the same push has again
        assert response.text == "success"
        assert [[change["ref"]["displayId"] for change in each.data["body"]["changes"]] for each in stage.emitted] == [
            ["a"],
            ["b"],
        ]
        assert all(each.data["body"]["actor"]["unknownToUpstream"] == 1 for each in stage.emitted)
        assert [each.id for each in stage.emitted] == ["req-1-0", "req-1-1"]
        with pytest.raises(ConfigError, match="2 events"):
            wrapped(stage, body, headers)


async def test_changes_of_branches_with_an_open_pull_request_are_left_out_if_so_wanted() -> None:
    with hook_api("bitbucketserver") as api:
        commits = "/rest/api/1.0/projects/PROJ/repos/repo/commits"
        api.lists[f"{commits}/aaa/pull-requests"] = [{"state": "MERGED"}, {"state": "DECLINED"}, {"state": "OPEN"}]
        api.lists[f"{commits}/bbb/pull-requests"] = [{"state": "MERGED"}]
        fields = {
            **FIELDS,
            "bitbucketserverBaseURL": f"{api.url}/rest",
            "skipBranchRefsChangedOnOpenPR": True,
            "accessToken": TOKEN,
        }
        block = {"webhook": webhook(), "oneEventPerChange": True, **fields}
        async with on_stage("bitbucketserver", block, secrets=SECRETS) as stage:
            # When branches with and without one are pushed, one is deleted, and a tag comes
            body, headers = push(
                ("a", "BRANCH", "UPDATE"), ("b", "BRANCH", "ADD"), ("c", "BRANCH", "DELETE"), ("d", "TAG", "ADD")
            )
            assert (await deliver(stage, body, headers)).status_code == 200
            # Then the first is left out, and the server was asked for no more than it had to be
            assert [each.data["body"]["changes"][0]["ref"]["displayId"] for each in stage.emitted] == ["b", "c", "d"]
            assert [each.id for each in stage.emitted] == ["req-1-1", "req-1-2", "req-1-3"]
            assert {each.path.split("/")[-2] for each in api.asked} == {"aaa", "bbb"}
            assert all(each.headers["Authorization"] == "Bearer access" for each in api.asked)
            # And a push of which nothing is left is answered well and makes no event
            body, headers = push(("a", "BRANCH", "UPDATE"))
            assert (await deliver(stage, body, headers)).status_code == 200
            assert len(stage.offered) == 3
            # And where the server cannot be asked, nothing is told to be kept
            api.refusing = (500, {})
            assert (await deliver(stage, body, headers)).status_code == 500
            assert len(stage.offered) == 3
