"""Signatures by a sender's private key (``verify.signature``): vendors' published examples, and what must not pass."""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from pydantic import ValidationError

from argosy import registry
from argosy.errors import SourceError
from argosy.sources._verify_signature import public_key, signed_by
from tests.conformance.source import Stage, VirtualClock, free_port, on_stage
from tests.unit.sources.hook_sender import deliver

# SendGrid's own example of its Event Webhook (sendgrid-python, test_eventwebhook.py).
SENDGRID_KEY = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g=="
SENDGRID_TIME = 1600112502
SENDGRID_HEADERS = {
    "X-Twilio-Email-Event-Webhook-Signature": "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM=",
    "X-Twilio-Email-Event-Webhook-Timestamp": str(SENDGRID_TIME),
}
SENDGRID_BODY = (
    b'[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address",'
    b'"sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",'
    b'"sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0",'
    b'"smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]\r\n'
)
SENDGRID = {
    "keys": [{"configMapKeyRef": {"name": "keys", "key": "new"}}, {"secretKeyRef": {"name": "keys", "key": "old"}}],
    "algorithm": "ecdsa-sha256",
    "header": "X-Twilio-Email-Event-Webhook-Signature",
    "encoding": "base64",
    "signed": "{timestamp}{body}",
    "timestampHeader": "X-Twilio-Email-Event-Webhook-Timestamp",
}
NOW = dt.datetime.fromtimestamp(SENDGRID_TIME + 10, dt.UTC)


def pem(key: Any) -> str:
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return str(public.decode())


def receiving(rule: Mapping[str, Any], new: str, old: str, now: dt.datetime = NOW) -> Any:
    block = {"port": str(free_port()), "endpoint": "/in", "method": "POST", "verify": {"signature": rule}}
    config_maps, secrets = {("keys", "new"): new}, {("keys", "old"): old}
    return on_stage("webhook", block, secrets=secrets, config_maps=config_maps, clock=VirtualClock(now))


async def status(stage: Stage, body: bytes, headers: Mapping[str, str]) -> int:
    before = len(stage.offered)
    answer = await deliver(stage, body, headers)
    assert len(stage.offered) - before == (answer.status_code == 200)
    return answer.status_code


async def test_sendgrids_example_passes_by_either_key_and_only_as_it_is() -> None:
    other = pem(ec.generate_private_key(ec.SECP256R1()))
    for new, old in ((SENDGRID_KEY, other), (other, SENDGRID_KEY)):
        async with receiving(SENDGRID, new, old) as stage:
            assert await status(stage, SENDGRID_BODY, SENDGRID_HEADERS) == 200
            assert await status(stage, SENDGRID_BODY[:-2], SENDGRID_HEADERS) == 401
            signature, moment = SENDGRID_HEADERS
            for changed in (
                {
                    signature: "MEUCIQCtIHJeH93Y+qpYeWrySphQgpNGNr/U+UyUlBkU6n7RAwIgJTz2C+8a8xonZGi6BpSzoQsbVRamr2nlxFDWYNH3j/0="
                },
                {signature: "bm8="},
                {signature: "!"},
                {signature: ""},
                {moment: str(SENDGRID_TIME + 1)},
                {moment: "now"},
            ):
                assert await status(stage, SENDGRID_BODY, {**SENDGRID_HEADERS, **changed}) == 401
    # And neither by another key, nor a day later
    async with receiving(SENDGRID, other, other) as stage:
        assert await status(stage, SENDGRID_BODY, SENDGRID_HEADERS) == 401
    async with receiving(SENDGRID, SENDGRID_KEY, other, NOW + dt.timedelta(days=1)) as stage:
        assert await status(stage, SENDGRID_BODY, SENDGRID_HEADERS) == 401
        assert "not of the last 300 seconds" in stage.refused[0]


async def test_a_signature_as_discord_makes_it() -> None:
    # Given what Discord documents: a key in hex, a signature in hex, of the time and the body
    key = ed25519.Ed25519PrivateKey.generate()
    shown = key.public_key().public_bytes_raw().hex()
    rule = {
        "keys": [{"configMapKeyRef": {"name": "keys", "key": "new"}}],
        "algorithm": "ed25519",
        "header": "X-Signature-Ed25519",
        "signed": "{timestamp}{body}",
        "timestampHeader": "X-Signature-Timestamp",
    }
    moment, body = str(SENDGRID_TIME), b'{"type":1}'
    headers = {
        "X-Signature-Ed25519": key.sign(moment.encode() + body).hex(),
        "X-Signature-Timestamp": moment,
    }
    async with receiving(rule, shown, "") as stage:
        assert await status(stage, body, headers) == 200
        assert await status(stage, b'{"type":2}', headers) == 401
        assert await status(stage, body, {**headers, "X-Signature-Ed25519": headers["X-Signature-Ed25519"][:-2]}) == 401


def test_ed25519_by_the_vectors_of_rfc_8032() -> None:
    for key, message, signature in (
        (
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
    ):
        given = [bytes.fromhex(signature)]
        assert signed_by([key], "ed25519", bytes.fromhex(message), given)
        assert signed_by([base64.b64encode(bytes.fromhex(key)).decode()], "ed25519", bytes.fromhex(message), given)
        assert not signed_by([key], "ed25519", bytes.fromhex(message) + b"x", given)


@pytest.mark.parametrize(
    ("curve", "algorithm", "digest"),
    [
        (ec.SECP256R1(), "ecdsa-sha256", hashes.SHA256()),
        (ec.SECP384R1(), "ecdsa-sha384", hashes.SHA384()),
        (ec.SECP521R1(), "ecdsa-sha512", hashes.SHA512()),
    ],
)
def test_ecdsa_in_both_forms_on_each_curve(curve: Any, algorithm: Any, digest: Any) -> None:
    key = ec.generate_private_key(curve)
    signature = key.sign(b"message", ec.ECDSA(digest))
    size = (curve.key_size + 7) // 8
    pair = b"".join(number.to_bytes(size, "big") for number in decode_dss_signature(signature))
    for form in (signature, pair):
        assert signed_by([pem(key)], algorithm, b"message", [form])
        assert not signed_by([pem(key)], algorithm, b"massage", [form])
        assert not signed_by([pem(ec.generate_private_key(curve))], algorithm, b"message", [form])
        assert not signed_by([pem(key)], algorithm, b"message", [form[:-1]])
    assert not signed_by([pem(key)], algorithm, b"message", [bytes(2 * size)])


def test_rsa() -> None:
    key = rsa.generate_private_key(65537, 2048)
    signature = key.sign(b"message", padding.PKCS1v15(), hashes.SHA256())
    assert signed_by([pem(key)], "rsa-sha256", b"message", [b"", signature])
    assert not signed_by([pem(key)], "rsa-sha512", b"message", [signature])


@pytest.mark.parametrize("text", ["", "no key", "00" * 31, SENDGRID_KEY, "-----BEGIN PUBLIC KEY-----\nAAAA\n"])
def test_what_is_no_key_of_the_algorithm_is_said(text: str) -> None:
    with pytest.raises(SourceError, match="no public key for ed25519"):
        public_key(text, "ed25519")
    with pytest.raises(SourceError, match="no public key for rsa-sha256"):
        public_key("AAAA", "rsa-sha256")


async def test_a_key_that_is_none_refuses_all_and_is_an_error_of_ours() -> None:
    async with receiving(SENDGRID, "no key", "no key") as stage:
        assert await status(stage, SENDGRID_BODY, SENDGRID_HEADERS) == 500


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"keys": []}, "keys"),
        ({"keys": [{}]}, "keys"),
        ({"algorithm": "hmac"}, "algorithm"),
        ({"signed": "{timestamp}"}, "{body}"),
        ({"timestampHeader": ""}, "timestampHeader"),
        ({"header": ""}, "header"),
    ],
)
def test_a_rule_that_cannot_work_is_refused(changed: dict[str, Any], named: str) -> None:
    webhook = registry.source("webhook")
    assert webhook is not None
    rule = {**json.loads(json.dumps(SENDGRID)), **changed}
    with pytest.raises(ValidationError) as raised:
        webhook.config.model_validate({"port": "1", "endpoint": "/", "verify": {"signature": rule}})
    assert named in str(raised.value)
