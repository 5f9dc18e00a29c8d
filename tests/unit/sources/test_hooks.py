"""Webhooks registered at a service: what its API is asked, and that processes side by side come out as one.

The service is a double (``hook_api``); the source, the HTTP calls and the bucket are the real ones.

Longer than 400 lines, for each behaviour is shown at every service that has an API of its own.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from argosy.sources import _hooks
from tests.conformance.source import DictBucket, Stage, eventually, on_stage
from tests.unit.sources.hook_api import HookApi, hook_api
from tests.unit.sources.hook_sender import webhook

SECRETS = {("api", "token"): "api-token", ("hook", "secret"): "hook-secret"}
TOKEN, SECRET = {"name": "api", "key": "token"}, {"name": "hook", "key": "secret"}
URL = "https://argosy.example/in/hook"


@dataclass(frozen=True)
class Service:
    """One kind: its block for an API, the path of its list, and what it must send."""

    kind: str
    block: dict[str, Any]
    base: str
    """The field that holds the API's URL."""
    path: str
    """What follows the API's URL there, as manifests write it."""
    list: str
    change: str
    authorization: tuple[str, str]
    sent: dict[str, Any]
    other_events: list[str]
    name: str = ""
    """Of the webhook, where whoever makes it chooses that; then it is made by the call that changes it."""

    @property
    def made(self) -> tuple[str, str]:
        """The call that makes it: method and path."""
        return (self.change, f"{self.list}/{self.name}") if self.name else ("POST", self.list)

    def at(self, api: HookApi, **fields: Any) -> dict[str, Any]:
        hook = webhook(url="https://argosy.example/in/")
        return {"webhook": hook, **self.block, self.base: api.url + self.path, **fields}


GITHUB = Service(
    kind="github",
    block={
        "repositories": [{"owner": "octo", "names": ["repo"]}],
        "events": ["push", "delete"],
        "apiToken": TOKEN,
        "webhookSecret": SECRET,
        "contentType": "json",
        "active": True,
        "githubUploadURL": "https://uploads.example",
    },
    base="githubBaseURL",
    path="/",
    list="/api/v3/repos/octo/repo/hooks",
    change="PATCH",
    authorization=("Authorization", "Bearer api-token"),
    sent={
        "name": "web",
        "active": True,
        "events": ["push", "delete"],
        "config": {"url": URL, "content_type": "json", "insecure_ssl": "0", "secret": "hook-secret"},
    },
    other_events=["push"],
)
GITLAB = Service(
    kind="gitlab",
    block={
        "projects": ["group/pro ject"],
        "events": ["PushEvents", "ReleasesEvents"],
        "accessToken": TOKEN,
        "secretToken": SECRET,
        "enableSSLVerification": True,
    },
    base="gitlabBaseURL",
    path="",
    list="/api/v4/projects/group%2Fpro%20ject/hooks",
    change="PUT",
    authorization=("PRIVATE-TOKEN", "api-token"),
    sent={
        "url": URL,
        "enable_ssl_verification": True,
        "push_events": True,
        "tag_push_events": False,
        "issues_events": False,
        "confidential_issues_events": False,
        "merge_requests_events": False,
        "note_events": False,
        "confidential_note_events": False,
        "job_events": False,
        "pipeline_events": False,
        "wiki_page_events": False,
        "emoji_events": False,
        "releases_events": True,
        "token": "hook-secret",
    },
    other_events=["TagPushEvents"],
)
BITBUCKET = Service(
    kind="bitbucket",
    block={
        "repositories": [{"owner": "space", "repositorySlug": "repo"}],
        "events": ["repo:push"],
        "auth": {"basic": {"username": {"name": "api", "key": "token"}, "password": SECRET}},
        "webhookSecret": SECRET,
    },
    base="bitbucketBaseURL",
    path="/2.0",
    list="/2.0/repositories/space/repo/hooks",
    change="PUT",
    authorization=("Authorization", f"Basic {base64.b64encode(b'api-token:hook-secret').decode()}"),
    sent={
        "description": "webhook managed by Argosy",
        "url": URL,
        "active": True,
        "events": ["repo:push"],
        "secret": "hook-secret",
    },
    other_events=["repo:fork"],
)
BITBUCKETSERVER = Service(
    kind="bitbucketserver",
    block={
        "repositories": [{"projectKey": "PROJ", "repositorySlug": "repo"}],
        "events": ["repo:refs_changed"],
        "accessToken": TOKEN,
        "webhookSecret": SECRET,
        "checkInterval": "100ms",
    },
    base="bitbucketserverBaseURL",
    path="/rest",
    list="/rest/api/1.0/projects/PROJ/repos/repo/webhooks",
    change="PUT",
    authorization=("Authorization", "Bearer api-token"),
    sent={
        "name": "Argo Events",
        "url": URL,
        "active": True,
        "events": ["repo:refs_changed"],
        "configuration": {"secret": "hook-secret"},
    },
    other_events=["pr:opened"],
)
GERRIT = Service(
    kind="gerrit",
    block={
        "hookName": "the hook",
        "projects": ["plat form/build"],
        "events": ["patchset-created", "change-merged"],
        "auth": {"username": {"name": "api", "key": "token"}, "password": SECRET},
        "sslVerify": True,
        "maxTries": 7,
    },
    base="gerritBaseURL",
    path="/r/",
    list="/r/a/config/server/webhooks~projects/plat%20form%2Fbuild/remotes",
    change="PUT",
    authorization=("Authorization", f"Basic {base64.b64encode(b'api-token:hook-secret').decode()}"),
    sent={"url": URL, "events": ["patchset-created", "change-merged"], "sslVerify": True, "maxTries": 7},
    other_events=["ref-updated"],
    name="the%20hook",
)


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses that spare services are short here."""
    for name, seconds in {
        "_FIRST_SECONDS": 0.0,
        "_LOOK_SECONDS": 0.02,
        "_LEASE_LOOK_SECONDS": 0.02,
        "_CHECK_SECONDS": 0.1,
        "_WRITE_PAUSE_SECONDS": 0.0,
        "_FIRST_PAUSE_SECONDS": 0.05,
    }.items():
        monkeypatch.setattr(_hooks, name, seconds)


@pytest.fixture(params=[GITHUB, GITLAB, BITBUCKET, BITBUCKETSERVER, GERRIT], ids=lambda service: service.kind)
def service(request: pytest.FixtureRequest) -> Service:
    found: Service = request.param
    return found


@pytest.fixture
def api(request: pytest.FixtureRequest) -> Iterator[HookApi]:
    with hook_api(request.getfixturevalue("service").kind if "service" in request.fixturenames else "github") as api:
        yield api


@pytest.fixture
async def process() -> AsyncIterator[Any]:
    """Starts a process that receives: a stage of its own, with a bucket that others may share."""
    async with AsyncExitStack() as stack:

        async def start(kind: str, block: dict[str, Any], bucket: DictBucket | None = None, **given: Any) -> Stage:
            given = {"secrets": dict(SECRETS), "bucket": bucket or DictBucket(), **given}
            stage: Stage = await stack.enter_async_context(on_stage(kind, block, **given))
            await stage.start()
            return stage

        yield start


def shown(api: HookApi, path: str) -> int:
    return len(api.lists.get(path, []))


async def test_a_missing_webhook_is_created_as_the_service_documents_it(
    service: Service, api: HookApi, process: Any
) -> None:
    # Given a list with webhooks of others, on more than one page
    for number in range(5):
        api.add(service.list, {"url": f"https://other/{number}", "config": {"url": f"https://other/{number}"}})
    # When the source starts
    await process(service.kind, service.at(api))
    await eventually(lambda: shown(api, service.list) == 6, "the webhook is there")
    # Then it was asked for once, with all that the manifest says
    assert api.changes() == [service.made]
    call = api.last(service.made[0])
    assert call.body == service.sent
    name, value = service.authorization
    assert {key.lower(): text for key, text in call.headers.items()}[name.lower()] == value
    # And looking again changes nothing
    looked = len(api.asked)
    await eventually(lambda: len(api.asked) > looked + 5, "looked again several times")
    assert len(api.changes()) == 1


async def test_a_webhook_that_somebody_changed_is_set_right(service: Service, api: HookApi, process: Any) -> None:
    stage = await process(service.kind, service.at(api))
    await eventually(lambda: shown(api, service.list) == 1, "the webhook is there")
    # When somebody changes its events
    hook = api.lists[service.list][0]
    hook.update({"events": ["other"], "push_events": False})
    # Then they are what the manifest says again
    await eventually(lambda: len(api.changes()) == 2, "the webhook was set right")
    assert api.changes()[1][0] == service.change
    assert api.last(service.change).body == service.sent
    # And one that somebody deleted is made anew
    api.lists[service.list].clear()
    await eventually(lambda: shown(api, service.list) == 1, "the webhook is there again")
    assert stage.errors == []


async def test_other_events_in_the_manifest_change_the_webhook_and_make_no_second_one(
    service: Service, api: HookApi, process: Any
) -> None:
    bucket = DictBucket()
    first = await process(service.kind, service.at(api), bucket)
    await eventually(lambda: shown(api, service.list) == 1, "the webhook is there")
    await first.stop()
    await process(service.kind, service.at(api, events=service.other_events), bucket)
    await eventually(lambda: len(api.changes()) == 2, "the webhook was changed")
    assert (api.changes()[1][0], shown(api, service.list)) == (service.change, 1)


@pytest.mark.parametrize("rotated", [("hook", "secret"), ("api", "token")])
async def test_a_rotated_secret_or_token_registers_the_webhook_anew(
    service: Service, api: HookApi, process: Any, rotated: tuple[str, str]
) -> None:
    stage = await process(service.kind, service.at(api))
    await eventually(lambda: shown(api, service.list) == 1, "the webhook is there")
    # When a Secret changes under the running source
    stage.secrets[rotated] = "rotated"
    # Then the service is told, though it shows no secrets
    await eventually(lambda: len(api.changes()) == 2, "the webhook was changed")
    changed = api.last(service.change)
    scheme, _, credentials = changed.headers.get("Authorization", "").partition(" ")
    user = base64.b64decode(credentials).decode() if scheme == "Basic" else ""
    assert "rotated" in json.dumps(changed.body) + str(dict(changed.headers)) + user
    assert (stage.errors, shown(api, service.list)) == ([], 1)
    # And no secret stands on the bus
    kept = b" ".join(entry.value for entry in stage.bucket.entries.values()).decode()
    assert not any(secret in kept for secret in [*SECRETS.values(), "rotated"])


async def test_the_webhook_is_deleted_at_the_end_only_if_the_manifest_says_so(
    service: Service, api: HookApi, process: Any
) -> None:
    stage = await process(service.kind, service.at(api))
    await eventually(lambda: shown(api, service.list) == 1, "the webhook is there")
    await stage.stop()
    assert shown(api, service.list) == 1
    stage = await process(service.kind, service.at(api, deleteHookOnFinish=True), stage.bucket)
    await eventually(lambda: any("hooks/alive" in key for key in stage.bucket.entries), "the process has signed")
    await stage.stop()
    assert shown(api, service.list) == 0
    assert [key for key in stage.bucket.entries if "alive" in key] == []


async def test_a_dying_twin_leaves_the_webhook_to_the_living_one(service: Service, api: HookApi, process: Any) -> None:
    # Given two processes that receive the same event and share a bus
    bucket = DictBucket()
    twins = [await process(service.kind, service.at(api, deleteHookOnFinish=True), bucket) for _ in range(2)]
    await eventually(lambda: sum("alive" in key for key in bucket.entries) == 2, "both have signed")
    await eventually(lambda: shown(api, service.list) > 0, "the webhook is there")
    looked = len(api.asked)
    await eventually(lambda: len(api.asked) >= looked + 4, "both have looked")
    # Then they made one webhook
    assert shown(api, service.list) == 1
    # When one of them ends, then the webhook stays
    await twins[0].stop()
    assert shown(api, service.list) == 1
    assert "DELETE" not in {method for method, _ in api.changes()}
    # And when the last one ends, it goes
    await twins[1].stop()
    assert shown(api, service.list) == 0


async def test_one_that_ends_sees_its_successor_before_that_has_registered_anything(
    service: Service, api: HookApi, process: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a process that registered, and a successor that still waits for its turn
    bucket = DictBucket()
    first = await process(service.kind, service.at(api, deleteHookOnFinish=True), bucket)
    await eventually(lambda: shown(api, service.list) == 1, "the webhook is there")
    monkeypatch.setattr(_hooks, "_FIRST_SECONDS", 3600.0)
    await process(service.kind, service.at(api, deleteHookOnFinish=True), bucket)
    await eventually(lambda: sum("alive" in key for key in bucket.entries) == 2, "both have signed")
    # When the first one ends, then the webhook stays for the other
    await first.stop()
    assert (shown(api, service.list), "DELETE" in {method for method, _ in api.changes()}) == (1, False)


async def test_a_successor_that_deletes_nothing_is_not_left_without_the_webhook(
    service: Service, api: HookApi, process: Any
) -> None:
    # Given a process that deletes at its end, and one of the next manifest, which does not
    bucket = DictBucket()
    first = await process(service.kind, service.at(api, deleteHookOnFinish=True), bucket)
    await eventually(lambda: shown(api, service.list) == 1, "the webhook is there")
    second = await process(service.kind, service.at(api), bucket)
    await eventually(lambda: sum("alive" in key for key in bucket.entries) == 2, "both have signed")
    # When each ends, then the webhook stays, and no mark of them does
    await first.stop()
    await second.stop()
    assert shown(api, service.list) == 1
    assert [key for key in bucket.entries if "alive" in key] == []


@pytest.mark.parametrize("delete", [True, False])
async def test_one_that_ends_while_it_gives_its_lease_back_leaves_none(
    api: HookApi, process: Any, delete: bool
) -> None:
    # Given a bus that is slow just when a process that has registered gives its lease back
    class Slow(DictBucket):
        def __init__(self) -> None:
            super().__init__()
            self.asked = asyncio.Event()

        async def put(self, key: str, value: bytes, *, revision: int | None = None) -> int:
            if key == "hooks/lease" and json.loads(value)["owner"] == "" and not self.asked.is_set():
                self.asked.set()
                await asyncio.Event().wait()
            return await super().put(key, value, revision=revision)

    bucket = Slow()
    stage = await process("github", GITHUB.at(api, deleteHookOnFinish=delete), bucket)
    await eventually(bucket.asked.is_set, "the lease is given back")
    # When the process ends, then it does what it has to, and nobody has to wait for the lease to run out
    await stage.stop()
    assert shown(api, GITHUB.list) == (0 if delete else 1)
    assert json.loads(bucket.entries["hooks/lease"].value)["owner"] == ""


async def test_a_twin_that_was_killed_is_forgotten_after_a_while(api: HookApi, process: Any) -> None:
    # Given the mark of a process that died long ago
    bucket = DictBucket()
    await bucket.put("hooks/alive/dead", b"1.0")
    stage = await process("github", GITHUB.at(api, deleteHookOnFinish=True), bucket)
    await eventually(lambda: shown(api, GITHUB.list) == 1, "the webhook is there")
    await stage.stop()
    assert (shown(api, GITHUB.list), [key for key in bucket.entries if "alive" in key]) == (0, [])


async def test_the_lease_of_a_process_that_was_killed_runs_out(api: HookApi, process: Any) -> None:
    bucket = DictBucket()
    await bucket.put("hooks/lease", json.dumps({"owner": "dead", "until": 1.0}).encode())
    await process("github", GITHUB.at(api), bucket)
    await eventually(lambda: shown(api, GITHUB.list) == 1, "the webhook is there")


async def test_a_service_that_refuses_is_asked_again_and_the_receiving_goes_on(
    service: Service, api: HookApi, process: Any, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a service that is down
    caplog.set_level(logging.DEBUG)
    api.refusing = (500, {})
    stage = await process(service.kind, service.at(api))
    await eventually(lambda: len(api.asked) >= 2, "asked again")
    assert (stage.errors, len(stage.listening)) == ([], 1)
    assert "is not registered: GET" in caplog.text and "answered 500" in caplog.text
    # When it is there again
    api.refusing = None
    # Then the webhook is
    await eventually(lambda: shown(api, service.list) == 1, "the webhook is there")
    assert not any(secret in caplog.text for secret in SECRETS.values())


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (429, {"Retry-After": "3600"}),
        (403, {"Retry-After": "3600"}),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "99999999999"}),
        (429, {"RateLimit-Remaining": "0", "RateLimit-Reset": "99999999999"}),
    ],
)
async def test_a_spent_quota_is_respected(
    api: HookApi, process: Any, status: int, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    api.refusing = (status, headers)
    await process("github", GITHUB.at(api))
    await eventually(lambda: "next try in" in caplog.text, "the refusal was said")
    seconds = float(caplog.text.partition("next try in ")[2].split()[0])
    assert seconds >= 3600
    assert len(api.asked) == 1


async def test_a_limit_that_is_said_in_words_alone_is_respected(
    api: HookApi, process: Any, caplog: pytest.LogCaptureFixture
) -> None:
    # Given GitHub's secondary limit, which may come without headers
    api.refusing, api.says = (403, {}), "You have exceeded a secondary rate limit."
    await process("github", GITHUB.at(api))
    await eventually(lambda: "next try in" in caplog.text, "the refusal was said")
    assert float(caplog.text.partition("next try in ")[2].split()[0]) >= 60


async def test_an_answer_that_nobody_expects_does_not_end_the_receiving(
    service: Service, api: HookApi, process: Any, caplog: pytest.LogCaptureFixture
) -> None:
    api.answers["GET", service.list] = "odd" if service.kind in ("github", "gitlab") else ["odd"]
    stage = await process(service.kind, service.at(api))
    await eventually(lambda: "answers oddly" in caplog.text, "it was said")
    assert stage.errors == []


async def test_a_page_elsewhere_is_not_followed_with_our_credentials(api: HookApi, process: Any) -> None:
    with hook_api("github") as elsewhere:
        api.url, real = elsewhere.url, api.url  # the links of the pages lead there
        for number in range(5):
            api.add(GITHUB.list, {"config": {"url": f"https://other/{number}"}})
        block = GITHUB.at(api)
        block["githubBaseURL"] = f"{real}/"
        await process("github", block)
        await eventually(lambda: bool(api.changes()), "the webhook is made")
        assert elsewhere.asked == []


async def test_nothing_is_registered_where_no_public_url_is_named(service: Service, api: HookApi, process: Any) -> None:
    block = service.at(api)
    del block["webhook"]["url"]
    await process(service.kind, block)
    await asyncio.sleep(0.15)  # a window in which it would have registered several times
    assert api.asked == []


async def test_organizations_and_groups_have_lists_of_their_own(process: Any) -> None:
    with hook_api("github") as github, hook_api("gitlab") as gitlab:
        block = GITHUB.at(github, organizations=["octo org"])
        del block["repositories"]
        await process("github", block)
        await process("gitlab", GITLAB.at(gitlab, groups=["a/b"]))
        await eventually(lambda: len(github.changes()) == 1 and len(gitlab.changes()) == 2, "all are made")
        assert [path for _, path in github.changes()] == ["/api/v3/orgs/octo%20org/hooks"]
        assert [path for _, path in gitlab.changes()] == ["/api/v4/groups/a%2Fb/hooks", GITLAB.list]
        # And a group is asked for every event that the manifest names, which upstream forgets
        assert gitlab.lists["/api/v4/groups/a%2Fb/hooks"][0]["releases_events"] is True


async def test_a_project_of_a_bitbucket_server_means_all_its_repositories(process: Any) -> None:
    with hook_api("bitbucketserver") as api:
        api.lists["/rest/api/1.0/projects/ALL/repos"] = [{"slug": f"r{number}"} for number in range(3)]
        await process("bitbucketserver", BITBUCKETSERVER.at(api, projects=["ALL"]))
        await eventually(lambda: len(api.changes()) == 4, "all are made")
        assert {path.split("/repos/")[1] for _, path in api.changes()} == {
            f"{slug}/webhooks" for slug in ("repo", "r0", "r1", "r2")
        }


async def test_a_github_app_asks_with_the_token_of_its_installation(api: HookApi, process: Any) -> None:
    # Given an app's private key
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()
    path = "/api/v3/app/installations/42/access_tokens"
    api.answers["POST", path] = {"token": "ghs_installed", "expires_at": "2099-01-01T00:00:00Z"}
    app = {"privateKey": {"name": "app", "key": "pem"}, "appID": 7, "installationID": 42}
    block = GITHUB.at(api, githubApp=app)
    del block["apiToken"]
    await process("github", block, secrets={**SECRETS, ("app", "pem"): pem})
    await eventually(lambda: shown(api, GITHUB.list) == 1, "the webhook is there")
    # Then it said who it is by a token that its key signed
    assertion = next(each for each in api.asked if each.path == path).headers["Authorization"].removeprefix("Bearer ")
    head, claims, signature = assertion.split(".")

    def unpacked(text: str) -> bytes:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

    key.public_key().verify(unpacked(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
    assert json.loads(unpacked(head))["alg"] == "RS256"
    found = json.loads(unpacked(claims))
    assert (found["iss"], 0 < found["exp"] - found["iat"] <= 600) == ("7", True)
    # And asked with what it got for that, once for all calls
    assert api.last("POST").headers["Authorization"] == "Bearer ghs_installed"
    looked = len(api.asked)
    await eventually(lambda: len(api.asked) > looked + 2, "looked again")
    assert sum(each.path == path for each in api.asked) == 1
