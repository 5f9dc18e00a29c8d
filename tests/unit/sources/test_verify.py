"""What requests must prove (``verify``), and kinds side by side on one port. The peer is an HTTP client."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest
from pydantic import ValidationError

from argosy import registry
from argosy.errors import BusError
from argosy.sources._http import HttpServers
from argosy.sources._http_messages import Request
from argosy.sources._verify import sender
from tests.conformance.source import Stage, VirtualClock, eventually, free_port, on_stage
from tests.unit.sources import test_github, test_gitlab, test_slack
from tests.unit.sources.hook_sender import deliver

NOW = dt.datetime.fromtimestamp(1614265330, dt.UTC)
SECRETS = {
    ("s", "new"): "fresh",
    ("s", "old"): "faded",
    ("s", "whsec"): "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    ("s", "user"): "ann",
    ("s", "password"): "p:w",
    ("s", "token"): "let-me-in",
}
NEW, OLD = {"name": "s", "key": "new"}, {"name": "s", "key": "old"}
BASIC = {"username": {"name": "s", "key": "user"}, "password": {"name": "s", "key": "password"}}


def block(verify: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"port": str(free_port()), "endpoint": "/in", "method": "POST", "verify": verify, **fields}


Staged = Callable[..., Any]


@pytest.fixture
async def staged() -> AsyncIterator[Staged]:
    async with AsyncExitStack() as stack:

        async def make(verify: dict[str, Any], **fields: Any) -> Stage:
            stage = on_stage("webhook", block(verify, **fields), secrets=dict(SECRETS), clock=VirtualClock(NOW))
            return await stack.enter_async_context(stage)

        yield make


def digest(secret: str, message: bytes, algorithm: str = "sha256") -> bytes:
    return hmac.new(secret.encode(), message, algorithm).digest()


async def passes(stage: Stage, headers: dict[str, str], body: bytes = b"{}") -> bool:
    """Whether a request passes; asserts that one that does not leaves no event, and says so."""
    before, refused = len(stage.offered), len(stage.refused)
    response = await deliver(stage, body, headers)
    if response.status_code == 200:
        assert len(stage.offered) == before + 1
        return True
    assert response.status_code == 401
    assert len(stage.offered) == before and len(stage.refused) == refused + 1
    assert not any(secret in response.text + stage.refused[-1] for secret in SECRETS.values())
    return False


class TestHmac:
    async def test_header_algorithm_encoding_and_prefix_are_the_manifests(self, staged: Staged) -> None:
        rule = {"secrets": [NEW], "header": "x-MINE", "algorithm": "sha512", "encoding": "base64", "prefix": "v9="}
        stage = await staged({"hmac": rule})
        good = base64.b64encode(digest("fresh", b"{}", "sha512")).decode()
        assert await passes(stage, {"X-Mine": f"v9={good}"})
        # Several signatures may stand in one header
        assert await passes(stage, {"X-Mine": f"v9=AAAA, v9={good}"})
        for wrong in ("", good, "v9=", "v9=!", "v9=" + base64.b64encode(digest("fresh", b"{ }", "sha512")).decode()):
            assert not await passes(stage, {"X-Mine": wrong}), wrong
        assert not await passes(stage, {"Other": f"v9={good}"})

    async def test_two_secrets_count_at_once_and_are_read_at_each_request(self, staged: Staged) -> None:
        stage = await staged({"hmac": {"secrets": [NEW, OLD], "header": "S"}})
        for secret in ("fresh", "faded"):
            assert await passes(stage, {"S": digest(secret, b"{}").hex()})
        # When one of them is changed
        stage.secrets["s", "old"] = "forgotten"
        # Then the next request is judged by it
        assert not await passes(stage, {"S": digest("faded", b"{}").hex()})
        assert await passes(stage, {"S": digest("forgotten", b"{}").hex()})

    async def test_a_signed_time_must_be_now(self, staged: Staged) -> None:
        rule = {
            "secrets": [NEW],
            "header": "S",
            "signed": "{timestamp}.{body}",
            "timestampHeader": "T",
            "tolerance": "1m",
        }
        stage = await staged({"hmac": rule})

        def headers(at: float, claimed: str = "") -> dict[str, str]:
            text = str(int(at))
            return {"S": digest("fresh", f"{text}.".encode() + b"{}").hex(), "T": claimed or text}

        now = NOW.timestamp()
        assert await passes(stage, headers(now - 60))
        assert await passes(stage, headers(now + 60))
        assert not await passes(stage, headers(now - 61))
        assert not await passes(stage, headers(now + 61))
        assert not await passes(stage, headers(now - 100, claimed=str(int(now))))
        for odd in ("-1", "soon", "1e9", "9" * 30, "0x1"):
            assert not await passes(stage, headers(now, claimed=odd))

    @pytest.mark.parametrize(
        ("rule", "said"),
        [
            ({"secrets": [], "header": "S"}, "secrets"),
            ({"secrets": [NEW], "header": "S", "signed": "{timestamp}", "timestampHeader": "T"}, "{body}"),
            ({"secrets": [NEW], "header": "S", "signed": "{timestamp}.{body}"}, "timestampHeader"),
            ({"secrets": [NEW], "header": "S", "timestampHeader": "T"}, "timestampHeader"),
            ({"secrets": [NEW], "header": "S", "algorithm": "md5"}, "algorithm"),
        ],
    )
    def test_a_rule_that_would_prove_nothing_is_refused(self, rule: dict[str, Any], said: str) -> None:
        plugin = registry.source("webhook")
        assert plugin is not None
        with pytest.raises(ValidationError, match=said):
            plugin.config.model_validate(block({"hmac": rule}))


class TestStandardWebhooks:
    # The example of the specification's own libraries.
    BODY = b'{"test": 2432232314}'
    HEADERS = {  # noqa: RUF012
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    RULE = {"standardWebhooks": {"secrets": [OLD, {"name": "s", "key": "whsec"}]}}  # noqa: RUF012

    async def test_the_documented_example_passes(self, staged: Staged) -> None:
        stage = await staged(self.RULE)
        assert await passes(stage, self.HEADERS, self.BODY)
        several = "v1,AAAA v1a,xyz " + self.HEADERS["webhook-signature"]
        assert await passes(stage, {**self.HEADERS, "webhook-signature": several}, self.BODY)

    @pytest.mark.parametrize(
        "change",
        [
            {"webhook-id": "msg_other"},
            {"webhook-id": ""},
            {"webhook-timestamp": "1614265331"},
            {"webhook-signature": "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
            {"webhook-signature": ""},
        ],
    )
    async def test_any_other_does_not(self, staged: Staged, change: dict[str, str]) -> None:
        stage = await staged(self.RULE)
        assert not await passes(stage, {**self.HEADERS, **change}, self.BODY)
        assert not await passes(stage, self.HEADERS, self.BODY + b" ")

    async def test_an_old_one_does_not(self, staged: Staged) -> None:
        stage = await staged(self.RULE)
        assert isinstance(stage.clock, VirtualClock)
        await stage.clock.advance(301)
        assert not await passes(stage, self.HEADERS, self.BODY)


class TestBasic:
    async def test_user_name_and_password_must_be_right(self, staged: Staged) -> None:
        stage = await staged({"basic": [BASIC]})

        def given(text: str, scheme: str = "Basic") -> dict[str, str]:
            return {"Authorization": f"{scheme} {base64.b64encode(text.encode()).decode()}"}

        assert await passes(stage, given("ann:p:w"))
        assert await passes(stage, given("ann:p:w", "basic"))
        # And what was given stands in no event
        assert stage.emitted[0].data["header"]["Authorization"] == ["*** Masked Auth Secret ***"]
        for wrong in (
            given("ann:"),
            given("ann:p"),
            {"Authorization": "Basic"},
            given("ann:p:w", "Bearer"),
            {"Authorization": "x"},
            {},
        ):
            assert not await passes(stage, wrong)

    def test_it_does_not_go_with_a_bearer_token(self) -> None:
        plugin = registry.source("webhook")
        assert plugin is not None
        with pytest.raises(ValidationError, match="authSecret"):
            plugin.config.model_validate(block({"basic": [BASIC]}, authSecret={"name": "s", "key": "token"}))


class TestAddresses:
    async def test_senders_outside_the_networks_are_refused(self, staged: Staged) -> None:
        assert await passes(await staged({"addresses": ["10.0.0.0/8", "127.0.0.0/8"]}), {})
        assert not await passes(await staged({"addresses": ["10.0.0.0/8"]}), {})
        # A header that anybody can send changes nothing
        assert not await passes(await staged({"addresses": ["10.0.0.0/8"]}), {"X-Forwarded-For": "10.0.0.1"})

    async def test_behind_a_proxy_of_ours_its_word_counts(self, staged: Staged) -> None:
        stage = await staged({"addresses": ["192.30.252.0/22"], "trustedProxies": ["127.0.0.1/32"]})
        assert await passes(stage, {"X-Forwarded-For": "192.30.252.1"})
        # But not what the sender had written there before
        assert not await passes(stage, {"X-Forwarded-For": "192.30.252.1, 8.8.8.8"})
        assert not await passes(stage, {"X-Forwarded-For": "junk"})
        assert not await passes(stage, {})

    def test_the_chain_is_read_from_its_end(self) -> None:
        def from_(client: str, *forwarded: str) -> str:
            request = Request("POST", "/", {}, "", {"X-Forwarded-For": list(forwarded)}, b"", client)
            return sender(request, ["10.0.0.0/8", "::1/128"])

        assert from_("10.0.0.9", "1.1.1.1, 2.2.2.2, 10.0.0.8") == "2.2.2.2"
        assert from_("10.0.0.9", "1.1.1.1", "10.0.0.8") == "1.1.1.1"
        assert from_("::ffff:10.0.0.9", "3.3.3.3") == "3.3.3.3"
        assert from_("::1", "4.4.4.4") == "4.4.4.4"
        assert from_("5.5.5.5", "4.4.4.4") == "5.5.5.5"
        assert from_("10.0.0.9") == "10.0.0.9"

    def test_what_is_no_network_is_refused(self) -> None:
        plugin = registry.source("webhook")
        assert plugin is not None
        for wrong in ("example.com", "10.0.0.1/8", ""):
            with pytest.raises(ValidationError, match="is no network"):
                plugin.config.model_validate(block({"addresses": [wrong]}))
        with pytest.raises(ValidationError, match="needs one of"):
            plugin.config.model_validate(block({"trustedProxies": ["10.0.0.0/8"]}))


class TestReplay:
    RULE = {"replay": {"header": "x-delivery", "window": "10m"}}  # noqa: RUF012

    async def test_a_request_that_was_recorded_makes_no_second_event(self, staged: Staged) -> None:
        stage = await staged(self.RULE)
        assert await passes(stage, {"X-Delivery": "1"})
        response = await deliver(stage, b"{}", {"X-Delivery": "1"})
        # The sender is told that all is well: it may not have got the first answer
        assert (response.status_code, len(stage.offered), len(stage.refused)) == (200, 1, 1)
        assert await passes(stage, {"X-Delivery": "2"})
        assert not await passes(stage, {})

    async def test_it_is_remembered_over_a_restart_and_forgotten_after_the_window(self, staged: Staged) -> None:
        stage = await staged(self.RULE)
        assert await passes(stage, {"X-Delivery": "1"})
        await stage.stop()
        await stage.start()
        await deliver(stage, b"{}", {"X-Delivery": "1"})
        assert len(stage.offered) == 1
        assert isinstance(stage.clock, VirtualClock)
        await stage.clock.advance(601)
        assert await passes(stage, {"X-Delivery": "1"})
        # And old names do not stay on the bus
        await passes(stage, {"X-Delivery": "2"})
        await stage.clock.advance(1202)
        await passes(stage, {"X-Delivery": "3"})

        async def alone() -> bool:
            return len(await stage.bucket.keys()) == 1

        await eventually(alone, "one name is left")

    async def test_a_request_that_failed_may_come_again(self, staged: Staged) -> None:
        stage = await staged(self.RULE)
        await stage.start()
        stage.failure = BusError("the stage refuses this event")
        assert (await deliver(stage, b"{}", {"X-Delivery": "1"})).status_code == 500
        assert (await deliver(stage, b"{", {"X-Delivery": "1"})).status_code == 400
        stage.failure = None
        assert (await deliver(stage, b"{}", {"X-Delivery": "1"})).status_code == 200
        assert len(stage.emitted) == 1

    async def test_of_two_at_once_one_is_told_to_come_again(self, staged: Staged) -> None:
        stage = await staged(self.RULE)
        await stage.start()
        stage.close_gate()
        first = asyncio.create_task(deliver(stage, b"{}", {"X-Delivery": "1"}))
        await eventually(lambda: stage.under_way == 1, "the first one is under way")
        assert (await deliver(stage, b"{}", {"X-Delivery": "1"})).status_code == 503
        stage.open_gate()
        assert (await first).status_code == 200
        assert len(stage.offered) == 1


async def test_other_kinds_verify_as_well(staged: Staged) -> None:
    # Given a GitLab source whose webhook block asks for an address, too
    hook = {"port": str(free_port()), "endpoint": "/in", "verify": {"addresses": ["10.0.0.0/8"]}}
    async with on_stage("gitlab", {"webhook": hook, **test_gitlab.FIELDS}) as stage:
        assert (await deliver(stage, *test_gitlab.delivery("one"))).status_code == 401
        assert stage.offered == []


async def test_github_gitlab_slack_and_a_plain_webhook_share_one_port() -> None:
    # Given four kinds at four endpoints of one port
    port = str(free_port())
    hooks = {
        "github": {"repositories": test_github.REPOSITORIES, "webhookSecret": test_github.SELECTOR},
        "gitlab": {"secretToken": test_gitlab.TOKEN, **test_gitlab.FIELDS},
        "slack": test_slack.FIELDS,
    }
    blocks: dict[str, Any] = {
        kind: {"webhook": {"port": port, "endpoint": f"/{kind}", "method": "POST"}, **fields}
        for kind, fields in hooks.items()
    }
    blocks["webhook"] = {"port": port, "endpoint": "/webhook", "method": "POST"}
    secrets = {**test_github.SECRET, **test_gitlab.SECRETS, **test_slack.SECRETS}
    requests = {
        "github": test_github.delivery("one"),
        "gitlab": test_gitlab.delivery("one"),
        "slack": test_slack.signed(json.dumps(test_slack.callback("one")).encode()),
        "webhook": (b"{}", {}),
    }
    async with HttpServers(host="127.0.0.1", linger_seconds=0.0) as http, httpx2.AsyncClient(timeout=60) as client:
        stages: dict[str, Stage] = {}
        for kind, each in blocks.items():
            plugin = registry.source(kind)
            assert plugin is not None
            stages[kind] = Stage(plugin, each, secrets=secrets, http=http)
            await stages[kind].start()
        try:
            # When each is sent its own, all at once
            answers = await asyncio.gather(
                *(
                    client.post(f"http://127.0.0.1:{port}/{kind}", content=body, headers=dict(headers))
                    for kind, (body, headers) in requests.items()
                    for _ in range(8)
                )
            )
            # Then each has its own events and nothing else
            assert {answer.status_code for answer in answers} == {200}
            for stage in stages.values():
                assert len(stage.emitted) == 8
            assert stages["github"].emitted[0].data["body"]["ref"] == "one"
            assert stages["slack"].emitted[0].data["Data"]["text"] == "one"
            # And one that leaves takes none of the others with it
            await stages["slack"].stop()
            assert (await client.post(f"http://127.0.0.1:{port}/slack", content=b"{}")).status_code == 404
            assert (await client.post(f"http://127.0.0.1:{port}/webhook", content=b"{}")).status_code == 200
        finally:
            for stage in stages.values():
                await stage.stop()
