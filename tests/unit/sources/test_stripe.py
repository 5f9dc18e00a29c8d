"""The ``stripe`` source: the suite of every source, and Stripe's documented signatures."""

from __future__ import annotations

import hashlib
import hmac
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from argosy.errors import EventInvalid
from argosy.sources import _hooks
from tests.conformance.source import SourceSuite, Stage, eventually, on_stage
from tests.kubernetes import certificates
from tests.unit.sources.hook_api import hook_api
from tests.unit.sources.hook_sender import Delivery, HookSender, deliver, webhook, wrapped

SECRETS = {("stripe", "signing"): "whsec_test_secret", ("stripe", "old"): "whsec_before"}
SIGNING = {"name": "stripe", "key": "signing"}


def event(text: str, kind: str = "charge.succeeded") -> bytes:
    value = {
        "id": f"evt_{text}",
        "object": "event",
        "api_version": "2024-06-20",
        "created": 1716918114,
        "data": {"object": {"id": "ch_1", "description": text, "amount": 1.0}},
        "livemode": False,
        "pending_webhooks": 1,
        "type": kind,
    }
    return json.dumps(value).encode()


def signature(body: bytes, secret: str = "whsec_test_secret", at: float = 0, scheme: str = "v1") -> str:
    when = int(at or time.time())
    text = hmac.new(secret.encode(), f"{when}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={when},{scheme}={text}"


def delivery(text: str, secret: str = SECRETS["stripe", "signing"]) -> Delivery:
    body = event(text)
    return body, {"Content-Type": "application/json; charset=utf-8", "Stripe-Signature": signature(body, secret)}


class _Stripe(HookSender):
    secrets: ClassVar[dict[tuple[str, str], str]] = SECRETS

    async def guard(self, secret: str) -> tuple[dict[str, Any], dict[tuple[str, str], str]]:
        self.make = lambda text: delivery(text, secret)
        return {}, {("stripe", "signing"): secret}

    def text_of(self, data: Any) -> str:
        assert set(data) <= {"event", "metadata"}
        assert data["event"]["type"] == "charge.succeeded"
        return str(data["event"]["data"]["object"]["description"])


class TestStripe(SourceSuite):
    kind = "stripe"
    bad_blocks: ClassVar[list[tuple[dict[str, Any], str]]] = [
        ({}, "webhook"),
        ({"webhook": webhook(url="https://me"), "createWebhook": True}, "'apiKey'"),
        ({"webhook": webhook(), "createWebhook": True, "apiKey": SIGNING}, "'webhook.url'"),
        ({"webhook": webhook(), "tolerance": 0}, "tolerance"),
    ]

    @pytest.fixture
    async def upstream(self) -> AsyncIterator[_Stripe]:
        sender = _Stripe(delivery, webhookSecret=SIGNING, insistent=True)
        yield sender
        await sender.close()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    block = {"webhook": webhook(), "webhookSecret": SIGNING}
    async with on_stage("stripe", block, secrets=dict(SECRETS)) as stage:
        yield stage


@pytest.mark.parametrize(
    "given",
    [
        lambda: "",
        lambda: "t=,v1=",
        lambda: signature(event("one"), secret="whsec_other"),
        lambda: signature(event("one"), at=time.time() - 600),
        lambda: signature(event("one"), at=time.time() + 600),
        lambda: signature(event("one"), scheme="v0"),
        lambda: signature(event("two")),
    ],
    ids=["nothing", "empty", "another secret", "too old", "of the future", "another scheme", "another body"],
)
async def test_an_event_that_is_not_signed_now_by_the_secret_is_refused(stage: Stage, given: Callable[[], str]) -> None:
    response = await deliver(stage, event("one"), {"Stripe-Signature": given()})
    assert (response.status_code, "signature" in response.text) == (400, True)
    assert (stage.offered, len(stage.refused)) == ([], 1)


async def test_one_good_signature_of_several_is_enough(stage: Stage) -> None:
    # Given a secret that was rolled at Stripe, which signs with both for a while
    body = event("one")
    both = signature(body, secret="whsec_rolled") + "," + signature(body).partition(",")[2] + ",v0=6ffbb59b"
    assert (await deliver(stage, body, {"Stripe-Signature": both})).status_code == 200


async def test_both_secrets_are_taken_while_one_is_being_changed() -> None:
    block = {"webhook": webhook(), "webhookSecret": SIGNING, "previousWebhookSecret": {"name": "stripe", "key": "old"}}
    async with on_stage("stripe", block, secrets=dict(SECRETS)) as stage:
        body = event("one")
        for secret in SECRETS.values():
            given = {"Stripe-Signature": signature(body, secret=secret)}
            assert (await deliver(stage, body, given)).status_code == 200


async def test_the_event_is_kept_as_it_was_sent_under_its_own_id(stage: Stage) -> None:
    body, headers = delivery("one")
    response = await deliver(stage, body, headers)
    assert (response.status_code, response.text) == (200, "success")
    assert stage.emitted[0].id == "evt_one"
    assert stage.emitted[0].raw == b'{"event":%b}' % body.replace(b": ", b":").replace(b", ", b",")
    assert wrapped(stage, body, headers) == (stage.emitted[0].raw, "evt_one")


async def test_without_a_secret_any_sender_is_believed_as_upstream_does() -> None:
    async with on_stage("stripe", {"webhook": webhook()}) as stage:
        assert (await deliver(stage, event("one"), {})).status_code == 200


async def test_the_filter_drops_other_types_and_says_200_so_that_stripe_does_not_send_again() -> None:
    async with on_stage("stripe", {"webhook": webhook(), "eventFilter": ["charge.succeeded"]}) as stage:
        response = await deliver(stage, event("one", "charge.failed"), {})
        assert (response.status_code, stage.offered, stage.refused) == (200, [], [])
        assert (await deliver(stage, event("two"), {})).status_code == 200
        assert [each.id for each in stage.emitted] == ["evt_two"]
        with pytest.raises(EventInvalid, match="eventFilter"):
            wrapped(stage, event("one", "charge.failed"), {})


@pytest.mark.parametrize("body", [b"", b"{", b"[]"])
async def test_what_is_no_event_is_refused(body: bytes) -> None:
    async with on_stage("stripe", {"webhook": webhook()}) as stage:
        assert (await deliver(stage, body, {})).status_code == 400


async def test_the_endpoint_is_registered_once_and_set_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"_FIRST_SECONDS": 0.0, "_LOOK_SECONDS": 0.02, "_CHECK_SECONDS": 0.1}.items():
        monkeypatch.setattr(_hooks, name, seconds)
    certificates.authority(tmp_path)
    certificates.server(tmp_path, "stripe", "DNS:api.stripe.com")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "stripe.crt", tmp_path / "stripe.key")
    path = "/v1/webhook_endpoints"
    with hook_api("stripe", context) as api:
        monkeypatch.setenv("ARGOSY_RESOLVE", f"api.stripe.com:443={api.url.removeprefix('http://')}")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.crt"))
        # Given an account with an endpoint of another
        api.add(path, {"url": "https://other", "enabled_events": ["*"]})
        block = {
            "webhook": webhook(url="https://argosy.example"),
            "createWebhook": True,
            "apiKey": {"name": "stripe", "key": "api"},
            "eventFilter": ["charge.succeeded", "charge.failed"],
        }
        async with on_stage("stripe", block, secrets={("stripe", "api"): "sk_test_1"}) as stage:
            await stage.start()
            await eventually(lambda: bool(api.changes()), "the endpoint is made")
            # Then ours was asked for, as a form
            assert api.changes() == [("POST", path)]
            assert api.last("POST").body == {
                "url": ["https://argosy.example/hook"],
                "enabled_events[]": ["charge.succeeded", "charge.failed"],
            }
            assert api.last("POST").headers["Authorization"] == "Bearer sk_test_1"
            # And it is not made again, but set right where it differs
            api.lists[path][1]["enabled_events"] = ["charge.failed"]
            await eventually(lambda: len(api.changes()) > 1, "set right")
            assert api.changes()[1] == ("POST", f"{path}/2")
            # And a rotated key registers it anew, by itself
            stage.secrets["stripe", "api"] = "sk_test_2"
            await eventually(lambda: len(api.changes()) > 2, "registered anew")
            assert api.changes()[2] == ("POST", f"{path}/2")
            assert api.last("POST").headers["Authorization"] == "Bearer sk_test_2"
            assert (len(api.lists[path]), stage.errors) == (2, [])
