"""Players that post to us what services send: the deliveries that their documents describe, signed where the block has a
secret.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlencode

import httpx2

from tests.conformance.source import Stage, free_port
from tests.corpus.players import Play, Scene, Send, player
from tests.kubernetes import certificates


def _signed(secret: str, body: bytes, prefix: str = "sha256=") -> str:
    return prefix + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def _webhook(scene: Scene) -> tuple[bytes, dict[str, str]]:
    return b'{"text":"one"}', {"Content-Type": "application/json"}


def _alertmanager(scene: Scene) -> tuple[bytes, dict[str, str]]:
    alert = {"status": "firing", "labels": {"alertname": "one"}, "startsAt": "2026-01-01T00:00:00Z", "fingerprint": "f"}
    body = json.dumps({"version": "4", "status": "firing", "receiver": "argosy", "alerts": [alert]}).encode()
    return body, {"Content-Type": "application/json"}


def _github(scene: Scene) -> tuple[bytes, dict[str, str]]:
    body, headers = b'{"ref":"one"}', {"X-GitHub-Event": "push", "X-GitHub-Delivery": "1"}
    if secret := scene.block.get("webhookSecret"):
        headers["X-Hub-Signature-256"] = _signed(scene.secret(secret), body)
    return body, {**headers, "Content-Type": "application/json"}


def _gitlab(scene: Scene) -> tuple[bytes, dict[str, str]]:
    headers = {"Content-Type": "application/json", "X-Gitlab-Event": "Push Hook"}
    if secret := scene.block.get("secretToken"):
        headers["X-Gitlab-Token"] = scene.secret(secret)
    return b'{"object_kind":"push"}', headers


def _bitbucket(scene: Scene) -> tuple[bytes, dict[str, str]]:
    body, headers = b'{"push":{"changes":[]}}', {"X-Event-Key": "repo:push", "X-Request-UUID": "1"}
    if secret := scene.block.get("webhookSecret"):
        headers["X-Hub-Signature"] = _signed(scene.secret(secret), body)
    return body, {**headers, "Content-Type": "application/json"}


def _bitbucketserver(scene: Scene) -> tuple[bytes, dict[str, str]]:
    _, headers = _bitbucket(scene)
    body = b'{"eventKey":"pr:opened","pullRequest":{"title":"one"}}'
    headers |= {"X-Event-Key": "pr:opened", "X-Request-Id": "1"}
    if secret := scene.block.get("webhookSecret"):
        headers["X-Hub-Signature"] = _signed(scene.secret(secret), body)
    return body, headers


def _gerrit(scene: Scene) -> tuple[bytes, dict[str, str]]:
    body = {"type": scene.block["events"][0], "change": {"subject": "one"}, "project": scene.block["projects"][0]}
    return json.dumps(body).encode(), {"Content-Type": "application/json; charset=utf-8"}


def _slack(scene: Scene) -> tuple[bytes, dict[str, str]]:
    event = {"type": "event_callback", "event_id": "Ev1", "event": {"type": "message", "text": "one"}}
    body = json.dumps({**event, "token": scene.secret(scene.block["token"])}).encode()
    now = str(int(time.time()))
    signature = _signed(scene.secret(scene.block["signingSecret"]), f"v0:{now}:".encode() + body, "v0=")
    signed = {"X-Slack-Request-Timestamp": now, "X-Slack-Signature": signature}
    return body, {"Content-Type": "application/json", **signed}


def _stripe(scene: Scene) -> tuple[bytes, dict[str, str]]:
    kind = (scene.block.get("eventFilter") or ["charge.succeeded"])[0]
    body, headers = json.dumps({"id": "evt_1", "object": "event", "type": kind, "data": {"object": {}}}).encode(), {}
    if secret := scene.block.get("webhookSecret"):
        now = str(int(time.time()))
        headers["Stripe-Signature"] = f"t={now},v1=" + _signed(scene.secret(secret), f"{now}.".encode() + body, "")
    return body, {"Content-Type": "application/json", **headers}


def _sns(scene: Scene) -> tuple[bytes, dict[str, str]]:
    message = {"Type": "Notification", "MessageId": "1", "TopicArn": scene.block["topicArn"], "Message": "one"}
    return json.dumps(message).encode(), {"x-amz-sns-message-type": "Notification", "Content-Type": "text/plain"}


def _storage_grid(scene: Scene) -> tuple[bytes, dict[str, str]]:
    kept = scene.block.get("filter") or {}
    key = kept.get("prefix", "") + "one" + kept.get("suffix", "")
    record = {"eventName": "ObjectCreated:Put", "s3": {"object": {"key": key, "sequencer": "14D90402421461C7"}}}
    form = {"Action": "Publish", "Message": json.dumps({"Records": [record]}), "TopicArn": scene.block["topicArn"]}
    return urlencode(form).encode(), {"Content-Type": "application/x-www-form-urlencoded"}


_DELIVERIES: dict[str, Callable[[Scene], tuple[bytes, dict[str, str]]]] = {
    "alertmanager": _alertmanager,
    "bitbucket": _bitbucket,
    "bitbucketserver": _bitbucketserver,
    "gerrit": _gerrit,
    "github": _github,
    "gitlab": _gitlab,
    "slack": _slack,
    "sns": _sns,
    "storageGrid": _storage_grid,
    "stripe": _stripe,
    "webhook": _webhook,
}


def _posting(make: Callable[[Scene], tuple[bytes, dict[str, str]]]) -> Play:
    async def play(scene: Scene) -> AsyncIterator[Send]:
        webhook = scene.block.get("webhook", scene.block)
        webhook["port"] = str(free_port())
        trusted = ssl.create_default_context()
        if "serverCertSecret" in webhook:
            certificates.authority(scene.folder)
            certificates.server(scene.folder, "server")
            trusted.load_verify_locations(scene.folder / "ca.crt")
            for name, file in (("serverCertSecret", "server.crt"), ("serverKeySecret", "server.key")):
                selector = webhook[name]
                scene.secrets[selector["name"], selector["key"]] = (scene.folder / file).read_text()

        async def send(stage: Stage) -> None:
            body, headers = make(scene)
            method = webhook.get("method") or "POST"
            async with httpx2.AsyncClient(verify=trusted, trust_env=False) as client:
                answer = await client.request(method, stage.listening[0], content=body, headers=headers)
            assert answer.status_code == 200, answer.text

        yield send

    return play


for _kind, _make in _DELIVERIES.items():
    player(_kind)(_posting(_make))
