"""The ``slack`` source: the suite of every source, and what Slack's documentation says that it sends."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar
from urllib.parse import urlencode

import pytest

from argosy.errors import EventInvalid
from tests.conformance.source import SourceSuite, Stage, VirtualClock, on_stage
from tests.unit.sources.hook_sender import Delivery, HookSender, deliver, webhook, wrapped

# The example of Slack's page "Verifying requests from Slack".
DOCUMENTED_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
DOCUMENTED_TIME = 1531420618
DOCUMENTED_SIGNATURE = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
DOCUMENTED_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
SECRETS = {("slack", "signing"): DOCUMENTED_SECRET, ("slack", "token"): "verify-me", ("slack", "old"): "before"}
FIELDS = {"token": {"name": "slack", "key": "token"}, "signingSecret": {"name": "slack", "key": "signing"}}
FORM = "application/x-www-form-urlencoded"


def signed(body: bytes, *, kind: str = "application/json", secret: str = DOCUMENTED_SECRET, at: int = 0) -> Delivery:
    when = at or int(time.time())
    text = hmac.new(secret.encode(), f"v0:{when}:".encode() + body, hashlib.sha256).hexdigest()
    return body, {
        "Content-Type": kind,
        "X-Slack-Request-Timestamp": str(when),
        "X-Slack-Signature": f"v0={text}",
    }


def callback(text: str) -> dict[str, Any]:
    return {
        "token": "verify-me",
        "team_id": "T123ABC456",
        "api_app_id": "A123ABC456",
        "event": {"type": "message", "channel": "C123ABC456", "user": "U123ABC456", "text": text, "ts": "1355517523.5"},
        "type": "event_callback",
        "event_id": f"Ev-{text}",
        "event_time": 1355517523,
    }


class _Slack(HookSender):
    secrets: ClassVar[dict[tuple[str, str], str]] = SECRETS

    async def guard(self, secret: str) -> tuple[dict[str, Any], dict[tuple[str, str], str]]:
        self.make = lambda text: signed(json.dumps(callback(text)).encode(), secret=secret)
        return {}, {("slack", "signing"): secret}

    def text_of(self, data: Any) -> str:
        assert set(data) <= {"type", "Data", "metadata"}
        assert data["type"] == data["Data"]["type"] == "message"
        return str(data["Data"]["text"])


class TestSlack(SourceSuite):
    kind = "slack"
    bad_blocks: ClassVar[list[tuple[dict[str, Any], str]]] = [
        (FIELDS, "webhook"),
        ({"webhook": webhook(), "signingSecret": FIELDS["signingSecret"]}, "token"),
        ({"webhook": webhook(), "token": FIELDS["token"]}, "signingSecret"),
        ({"webhook": {"endpoint": "/"}, **FIELDS}, "port"),
    ]

    @pytest.fixture
    async def upstream(self) -> AsyncIterator[_Slack]:
        sender = _Slack(lambda text: signed(json.dumps(callback(text)).encode()), **FIELDS, insistent=True)
        yield sender
        await sender.close()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with on_stage("slack", {"webhook": webhook(), **FIELDS}, secrets=dict(SECRETS)) as stage:
        yield stage


def at_documented_time(**offset: float) -> VirtualClock:
    return VirtualClock(dt.datetime.fromtimestamp(DOCUMENTED_TIME, dt.UTC) + dt.timedelta(**offset))


DOCUMENTED_HEADERS = {
    "Content-Type": FORM,
    "X-Slack-Request-Timestamp": str(DOCUMENTED_TIME),
    "X-Slack-Signature": DOCUMENTED_SIGNATURE,
}


async def test_the_signed_command_of_slacks_documentation_becomes_an_event() -> None:
    # Given the moment of Slack's example
    block = {"webhook": webhook(), **FIELDS}
    async with on_stage("slack", block, secrets=SECRETS, clock=at_documented_time(minutes=4)) as stage:
        # When its request comes
        response = await deliver(stage, DOCUMENTED_BODY, DOCUMENTED_HEADERS)
        # Then it is answered without text, which Slack would show to the user
        assert (response.status_code, response.text) == (200, "")
        # And the event has every field that upstream's has, under Slack's names
        (event,) = stage.emitted
        assert event.id == "398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
        assert event.data == {
            "token": "xyzz0WbapA4vBCDEFasx0q6G",
            "team_id": "T1DC2JH3J",
            "team_domain": "testteamnow",
            "is_enterprise_install": False,
            "channel_id": "G8PSS9T3V",
            "channel_name": "foobar",
            "user_id": "U2CERLKJA",
            "user_name": "roadrunner",
            "command": "/webhook-collect",
            "text": "",
            "response_url": "https://hooks.slack.com/commands/T1DC2JH3J/397700885554/96rGlfmibIGlgcZRskXaIFfN",
            "trigger_id": event.id,
            "api_app_id": "",
        }
        assert wrapped(stage, DOCUMENTED_BODY, DOCUMENTED_HEADERS) == (event.raw, event.id)


@pytest.mark.parametrize("minutes", [-6, 6])
async def test_a_signature_of_another_time_is_refused(minutes: int) -> None:
    block = {"webhook": webhook(), **FIELDS}
    async with on_stage("slack", block, secrets=SECRETS, clock=at_documented_time(minutes=minutes)) as stage:
        response = await deliver(stage, DOCUMENTED_BODY, DOCUMENTED_HEADERS)
        assert (response.status_code, "300 seconds" in response.text) == (401, True)
        assert (stage.offered, len(stage.refused)) == ([], 1)


@pytest.mark.parametrize(
    "change",
    [
        {"X-Slack-Signature": "v0=" + "0" * 64},
        {"X-Slack-Signature": DOCUMENTED_SIGNATURE.replace("v0=", "v1=")},
        {"X-Slack-Signature": ""},
        {"X-Slack-Request-Timestamp": str(DOCUMENTED_TIME + 1)},
        {"X-Slack-Request-Timestamp": "now"},
    ],
)
async def test_a_request_that_slack_did_not_sign_is_refused(change: Mapping[str, str]) -> None:
    block = {"webhook": webhook(), **FIELDS}
    async with on_stage("slack", block, secrets=SECRETS, clock=at_documented_time()) as stage:
        response = await deliver(stage, DOCUMENTED_BODY, {**DOCUMENTED_HEADERS, **change})
        assert response.status_code == 401
        assert (stage.offered, len(stage.refused)) == ([], 1)


async def test_the_challenge_is_answered_and_nothing_else(stage: Stage) -> None:
    body = json.dumps(
        {"token": "verify-me", "challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gm", "type": "url_verification"}
    )
    # When Slack asks whether this is the app's URL
    response = await deliver(stage, *signed(body.encode()))
    # Then the answer is the challenge alone (upstream writes "success" behind it), and there is no event
    assert (response.status_code, response.text) == (200, "3eZbrw1aBm2rZgRNFdxV2595E9CY3gm")
    assert response.headers["content-type"].startswith("text/plain")
    assert stage.offered == []


@pytest.mark.parametrize("kind", ["event_callback", "url_verification"])
async def test_the_events_api_must_carry_the_verification_token(stage: Stage, kind: str) -> None:
    body = {**callback("one"), "token": "guessed", "type": kind, "challenge": "c"}
    response = await deliver(stage, *signed(json.dumps(body).encode()))
    assert (response.status_code, "verification token" in response.text) == (401, True)
    assert stage.offered == []


async def test_an_event_that_is_sent_again_has_the_id_that_it_had(stage: Stage) -> None:
    body, headers = signed(json.dumps(callback("one")).encode())
    await deliver(stage, body, headers)
    await deliver(stage, body, {**headers, "X-Slack-Retry-Num": "1", "X-Slack-Retry-Reason": "http_timeout"})
    assert [event.id for event in stage.emitted] == ["Ev-one", "Ev-one"]
    assert stage.emitted[0].raw == stage.emitted[1].raw


async def test_an_interaction_becomes_an_event_as_it_was_sent(stage: Stage) -> None:
    payload = '{"type": "block_actions", "trigger_id": "12.34", "actions": [{"value": "a<b"}], "container": {}}'
    response = await deliver(stage, *signed(urlencode({"payload": payload}).encode(), kind=FORM))
    assert (response.status_code, response.text) == (200, "")
    assert stage.emitted[0].id == "12.34"
    assert stage.emitted[0].raw == (
        b'{"type":"block_actions","trigger_id":"12.34","actions":[{"value":"a\\u003cb"}],"container":{}}'
    )


async def test_what_the_app_is_told_besides_is_answered_without_an_event(stage: Stage) -> None:
    body = {"token": "verify-me", "type": "app_rate_limited", "minute_rate_limited": 1518467820}
    response = await deliver(stage, *signed(json.dumps(body).encode()))
    assert (response.status_code, response.text) == (200, "success")
    assert (stage.offered, stage.refused) == ([], [])
    with pytest.raises(EventInvalid, match="no event_callback"):
        wrapped(stage, json.dumps(body).encode(), {"Content-Type": "application/json"})


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "application/json"),
        (b"[]", "application/json"),
        (b'{"token": "verify-me", "type": "event_callback", "event": []}', "application/json"),
        (b"text=hello", FORM),
        (b"payload=%7B", FORM),
    ],
)
async def test_what_slack_does_not_send_is_refused(stage: Stage, body: bytes, kind: str) -> None:
    assert (await deliver(stage, *signed(body, kind=kind))).status_code == 400
    assert stage.offered == []


async def test_both_signing_secrets_are_taken_while_one_is_being_changed() -> None:
    block = {"webhook": webhook(), **FIELDS, "previousSigningSecret": {"name": "slack", "key": "old"}}
    async with on_stage("slack", block, secrets=dict(SECRETS)) as stage:
        body = json.dumps(callback("one")).encode()
        for secret in (DOCUMENTED_SECRET, "before"):
            assert (await deliver(stage, *signed(body, secret=secret))).status_code == 200
        stage.secrets["slack", "signing"] = "after"
        assert (await deliver(stage, *signed(body, secret="after"))).status_code == 200
        assert (await deliver(stage, *signed(body))).status_code == 401
