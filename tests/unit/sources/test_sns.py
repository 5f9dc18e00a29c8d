"""The ``sns`` source: the suite of every source, signatures as AWS documents them, and what its API is asked.

The API and the certificate's host are a double, reached as the real ones are (``ARGOSY_RESOLVE``, TLS); messages
are signed with a key made here.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import ssl
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from argosy.aws.signing import Credentials, signature
from argosy.errors import EventInvalid
from argosy.sources import _hooks
from tests.conformance.source import DictBucket, SourceSuite, eventually, on_stage
from tests.kubernetes import certificates
from tests.unit.sources.hook_sender import Delivery, HookSender, deliver, webhook, wrapped

TOPIC = "arn:aws:sns:us-east-1:123456789012:my-topic"
CERTIFICATE_URL = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-test.pem"
KEYS = {"accessKey": {"name": "aws", "key": "id"}, "secretKey": {"name": "aws", "key": "secret"}}
SECRETS = {("aws", "id"): "AKIDEXAMPLE", ("aws", "secret"): "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
FIELDS: dict[str, Any] = {"topicArn": TOPIC, "region": "us-east-1"}


def message(text: str, **fields: str) -> dict[str, str]:
    return {
        "Type": "Notification",
        "MessageId": str(uuid.uuid5(uuid.NAMESPACE_URL, text)),
        "TopicArn": TOPIC,
        "Message": text,
        "Timestamp": "2012-05-02T00:54:06.655Z",
        "UnsubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe",
        **fields,
    }


def delivery(value: dict[str, str]) -> Delivery:
    headers = {"Content-Type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": value["Type"]}
    return json.dumps(value).encode(), headers


class _Sns(HookSender):
    def text_of(self, data: Any) -> str:
        assert set(data) <= {"header", "body", "metadata"}
        assert data["header"]["X-Amz-Sns-Message-Type"] == ["Notification"]
        return str(data["body"]["Message"])


class TestSns(SourceSuite):
    kind = "sns"
    bad_blocks: ClassVar[list[tuple[dict[str, Any], str]]] = [
        (FIELDS, "webhook"),
        ({"webhook": webhook(), "region": "us-east-1"}, "topicArn"),
        ({"webhook": webhook(), "topicArn": TOPIC}, "region"),
        ({"webhook": webhook(), **FIELDS, "namespaces": "x"}, "namespaces"),
    ]

    @pytest.fixture
    async def upstream(self) -> AsyncIterator[_Sns]:
        sender = _Sns(lambda text: delivery(message(text)), **FIELDS, insistent=True)
        yield sender
        await sender.close()


class Signer:
    """A key as AWS has one, and its certificate."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
        now = dt.datetime.now(dt.UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(1)
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .sign(self.key, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
        )

    def signed(self, value: dict[str, str], version: str = "1", url: str = CERTIFICATE_URL) -> dict[str, str]:
        # The order of the documentation, written out here and not taken from the product.
        names = {
            "Notification": ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"],
            "SubscriptionConfirmation": [
                *("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
            ],
        }[value["Type"]]
        text = "".join(f"{name}\n{value[name]}\n" for name in names if name in value)
        algorithm = hashes.SHA1() if version == "1" else hashes.SHA256()
        found = self.key.sign(text.encode(), padding.PKCS1v15(), algorithm)
        return {
            **value,
            "SignatureVersion": version,
            "Signature": base64.b64encode(found).decode(),
            "SigningCertURL": url,
        }


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer()


class Cloud:
    """What stands for AWS: the certificate's host, and the query API of SNS, at one address."""

    def __init__(self, certificate: bytes) -> None:
        self.certificate = certificate
        self.port = 0
        self.fetched: list[str] = []
        self.calls: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.subscriptions: dict[str, str] = {}

    def actions(self) -> list[str]:
        return [call["Action"] for call in self.calls if call["Action"] != "ListSubscriptionsByTopic"]

    def answer(self, call: dict[str, str]) -> str:
        self.calls.append(call)
        if call["Action"] == "Subscribe":
            self.subscriptions.setdefault(call["Endpoint"], "PendingConfirmation")
        elif call["Action"] == "ConfirmSubscription":
            self.subscriptions = {url: f"{TOPIC}:{number}" for number, url in enumerate(self.subscriptions)}
        elif call["Action"] == "Unsubscribe":
            self.subscriptions = {url: arn for url, arn in self.subscriptions.items() if arn != call["SubscriptionArn"]}
        members = "".join(
            f"<member><SubscriptionArn>{arn}</SubscriptionArn><Endpoint>{url}</Endpoint></member>"
            for url, arn in self.subscriptions.items()
        )
        return f'<A xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Subscriptions>{members}</Subscriptions></A>'


@contextmanager
def serving(cloud: Cloud, folder: Path) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            cloud.fetched.append(self.path)
            self._say(cloud.certificate)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            cloud.headers.append(dict(self.headers))
            self._say(cloud.answer({name: values[0] for name, values in parse_qs(body).items()}).encode())

        def _say(self, data: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Tests read what was asked."""

    certificates.authority(folder)
    certificates.server(folder, "aws", "DNS:sns.us-east-1.amazonaws.com")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "aws.crt", folder / "aws.key")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.socket = context.wrap_socket(server.socket, server_side=True)
        cloud.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def cloud(signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    cloud = Cloud(signer.certificate)
    with serving(cloud, tmp_path):
        monkeypatch.setenv("ARGOSY_RESOLVE", f"sns.us-east-1.amazonaws.com:443=127.0.0.1:{cloud.port}")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.crt"))
        yield cloud


def checked(**fields: Any) -> dict[str, Any]:
    return {"webhook": webhook(), "validateSignature": True, **FIELDS, **fields}


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", [{}, {"Subject": "My First Message"}])
async def test_a_message_that_aws_signed_is_taken(
    cloud: Cloud, signer: Signer, version: str, subject: dict[str, str]
) -> None:
    async with on_stage("sns", checked()) as stage:
        body, headers = delivery(signer.signed(message("Hello world!", **subject), version))
        response = await deliver(stage, body, headers)
        assert (response.status_code, response.text) == (200, "success")
        # Then it is named by its message id, and offline the same is made of it
        (event,) = stage.emitted
        assert event.id == json.loads(body)["MessageId"] == wrapped(stage, body, headers).id
        assert event.data["body"] == json.loads(body)
        # And the certificate is fetched once
        await deliver(stage, *delivery(signer.signed(message("two"), version)))
        assert cloud.fetched == ["/SimpleNotificationService-test.pem"]


async def test_a_message_that_aws_did_not_sign_is_refused(cloud: Cloud, signer: Signer) -> None:
    async with on_stage("sns", checked()) as stage:
        good = signer.signed(message("one"))
        for change, said in (
            ({"Message": "two"}, "signature is wrong"),
            ({"MessageId": "x"}, "signature is wrong"),
            ({"Subject": "added"}, "signature is wrong"),
            ({"SignatureVersion": "2"}, "signature is wrong"),
            ({"SignatureVersion": "3"}, "version"),
            ({"Signature": "%"}, "no base64"),
            ({"Signature": ""}, "signature is wrong"),
        ):
            response = await deliver(stage, *delivery({**good, **change}))
            assert (response.status_code, said in response.text) == (400, True), change
        response = await deliver(stage, *delivery(message("unsigned")))
        assert response.status_code == 400
        other = Signer().signed(message("one"))
        assert (await deliver(stage, *delivery(other))).status_code == 400
        assert stage.offered == []


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.us-east-1.amazonaws.com/c.pem",
        "https://sns.us-east-1.amazonaws.com.evil.example/c.pem",
        "https://evil.example/sns.us-east-1.amazonaws.com.pem",
        "https://sns.us-east-1.amazonaws.com@evil.example/c.pem",
        "https://sns.us-east-1.amazonaws.com:8443/c.pem",
        "https://s3.us-east-1.amazonaws.com/c.pem",
        "",
    ],
)
async def test_a_certificate_from_elsewhere_is_never_fetched(cloud: Cloud, signer: Signer, url: str) -> None:
    async with on_stage("sns", checked()) as stage:
        response = await deliver(stage, *delivery(signer.signed(message("one"), url=url)))
        assert (response.status_code, "AWS's own host" in response.text) == (400, True)
        assert cloud.fetched == []


def confirmation(**fields: str) -> dict[str, str]:
    url = "https://evil.example/confirm"
    return message("You have chosen…", Type="SubscriptionConfirmation", Token="t-1", SubscribeURL=url, **fields)


async def test_a_subscription_is_confirmed_by_our_own_call(cloud: Cloud, signer: Signer) -> None:
    async with on_stage("sns", checked()) as stage:
        # When the confirmation is asked for, then it is given at the API, whatever URL the message names
        response = await deliver(stage, *delivery(signer.signed(confirmation())))
        assert (response.status_code, response.text) == (200, "")
        assert cloud.calls == [
            {"Action": "ConfirmSubscription", "Version": "2010-03-31", "TopicArn": TOPIC, "Token": "t-1"}
        ]
        # But one of another topic is not
        response = await deliver(stage, *delivery(signer.signed(confirmation(TopicArn=TOPIC + "-other"))))
        assert (response.status_code, len(cloud.calls)) == (400, 1)
        # And what is told besides makes no event
        goodbye = await deliver(stage, *delivery({**signer.signed(confirmation()), "Type": "Other"}))
        assert goodbye.status_code == 400
        assert stage.offered == []


async def test_what_sns_tells_besides_is_answered_without_an_event() -> None:
    async with on_stage("sns", {"webhook": webhook(), **FIELDS}) as stage:
        goodbye = {**confirmation(), "Type": "UnsubscribeConfirmation"}
        assert (await deliver(stage, *delivery(goodbye))).status_code == 200
        with pytest.raises(EventInvalid, match="no Notification"):
            wrapped(stage, *delivery(goodbye))
        # And raw delivery, which carries no envelope, is refused with the way out
        response = await deliver(stage, b'{"a": 1}', {})
        assert (response.status_code, "raw message delivery" in response.text) == (400, True)
        assert stage.offered == []


async def test_the_url_is_subscribed_confirmed_and_taken_back_by_the_last_process(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in {"_FIRST_SECONDS": 0.0, "_LOOK_SECONDS": 0.02, "_CHECK_SECONDS": 0.1}.items():
        monkeypatch.setattr(_hooks, name, seconds)
    monkeypatch.setattr(_hooks, "_WRITE_PAUSE_SECONDS", 0.0)
    block = {"webhook": webhook(url="https://argosy.example"), **FIELDS, **KEYS}
    bucket = DictBucket()
    async with (
        on_stage("sns", block, secrets=SECRETS, bucket=bucket) as stage,
        on_stage(
            "sns", {**block, "webhook": webhook(url="https://argosy.example")}, secrets=SECRETS, bucket=bucket
        ) as twin,
    ):
        await stage.start()
        # Given a subscription that was asked for
        await eventually(lambda: "Subscribe" in cloud.actions(), "subscribed")
        asked = next(call for call in cloud.calls if call["Action"] == "Subscribe")
        assert (asked["Protocol"], asked["Endpoint"]) == ("https", "https://argosy.example/hook")
        assert "Credential=AKIDEXAMPLE/" in cloud.headers[0]["Authorization"]
        # When it is confirmed, and another process comes and goes
        await deliver(stage, *delivery(confirmation()))
        await twin.start()
        await eventually(lambda: sum("alive" in key for key in bucket.entries) == 2, "both have signed")
        await twin.stop()
        # Then the subscription stands
        assert "Unsubscribe" not in cloud.actions()
        # And when the last one ends, it is taken back
        await stage.stop()
        assert (cloud.actions()[-1], cloud.subscriptions) == ("Unsubscribe", {})
        assert stage.errors == []


async def test_without_credentials_the_sentence_says_where_they_are_looked_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_hooks, "_FIRST_SECONDS", 0.0)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    async with on_stage("sns", {"webhook": webhook(url="https://me"), **FIELDS}) as stage:
        await stage.start()
        await eventually(lambda: "there are no AWS credentials" in caplog.text, "it was said")
        # And messages are received all the same
        assert (await deliver(stage, *delivery(message("one")))).status_code == 200


class TestSignature:
    """Two examples of AWS's own test suite for Signature Version 4."""

    NOW = dt.datetime(2015, 8, 30, 12, 36, tzinfo=dt.UTC)
    WHO = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")

    def test_get_vanilla(self) -> None:
        found = signature("GET", "https://example.amazonaws.com/", {}, b"", self.WHO, "us-east-1", "service", self.NOW)
        assert found["Authorization"] == (
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request,"
            " SignedHeaders=host;x-amz-date,"
            " Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
        )

    def test_post_form(self) -> None:
        found = signature(
            "POST",
            "https://example.amazonaws.com/",
            {"Content-Type": "application/x-www-form-urlencoded"},
            b"Param1=value1",
            self.WHO,
            "us-east-1",
            "service",
            self.NOW,
        )
        assert found["Authorization"].endswith(
            "Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
        )
