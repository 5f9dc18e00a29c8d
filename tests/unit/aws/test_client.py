"""Calls of AWS's APIs: what connections are like, whom they go by, and which failures are which."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from argosy.aws import s3
from argosy.aws.client import AwsError, Client, endpoint
from argosy.aws.signing import Credentials
from argosy.clock import SystemClock
from argosy.connecting import Connecting
from tests.unit.triggers.receivers import Answer, HttpServer


async def _get(client: Client, url: str) -> Any:
    return await client.request("lambda", "us-east-1", "GET", url, {}, b"", None)


async def test_connections_are_kept_alive_while_nothing_is_said() -> None:
    # Given who looks at each connection that is made
    found: list[tuple[int, int]] = []

    class Looking(Connecting):
        async def __call__(self, event: str, info: dict[str, Any]) -> None:
            if event == "connection.connect_tcp.complete":
                raw = info["return_value"].get_extra_info("socket")
                idle = raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
                found.append((raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), idle))
            await super().__call__(event, info)

    async with HttpServer() as server, Client("a test", SystemClock(), trace=Looking) as client:
        await _get(client, server.url)
    # Then the system asks the other side every minute whether it is there
    assert found == [(1, 60)]


async def test_proxies_of_the_environment_are_used_and_rules_of_resolve_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    async with HttpServer() as proxy, HttpServer() as server:
        # Given a proxy, and an address that --resolve leads elsewhere
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("ARGOSY_RESOLVE", f"led.example:80=127.0.0.1:{server.port}")
        async with Client("a test", SystemClock()) as client:
            await _get(client, "http://other.example/x")
            await _get(client, "http://led.example/y")
    # Then each is followed, the rule before the proxy
    assert [request.target for request in proxy.requests] == ["http://other.example/x"]
    assert [(request.target, request.headers["host"]) for request in server.requests] == [("/y", "led.example")]


async def test_redirects_are_not_followed() -> None:
    async with HttpServer() as server, Client("a test", SystemClock()) as client:
        server.default = Answer(307, {"Location": f"{server.url}/elsewhere"})
        with pytest.raises(AwsError, match="answered 307") as raised:
            await _get(client, server.url)
        assert (raised.value.status, len(server.requests)) == (307, 1)


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (Answer(400, {"x-amzn-ErrorType": "TooBig:http://x/"}, b'{"Message":"so\\n big"}'), "TooBig", "TooBig: so big"),
        (Answer(400, body=b'{"__type":"com.amazonaws.sqs#NoQueue","message":"m"}'), "NoQueue", "NoQueue: m"),
        (Answer(403, body=b"<E><Error><Code>Denied</Code><Message>m</Message></Error></E>"), "Denied", "Denied: m"),
        (Answer(403, body=b"<Error><Code>SignatureDoesNotMatch</Code><Message>x-amz-security-token:t</Message></Error>"),
         "SignatureDoesNotMatch", "SignatureDoesNotMatch"),
        (Answer(400, body=b'{"__type":"InvalidSignatureException","message":"canonical"}'), "InvalidSignatureException",
         "InvalidSignatureException"),
        (Answer(502, body=b"<html>Bad gateway"), "", ""),
        (Answer(500, body=b"{"), "", ""),
    ],
)  # fmt: skip
async def test_a_failure_has_its_code_and_its_words_unless_those_repeat_what_was_signed(
    answer: Answer, code: str, said: str
) -> None:
    async with HttpServer() as server, Client("a test", SystemClock()) as client:
        server.default = answer
        with pytest.raises(AwsError) as raised:
            await _get(client, server.url)
        assert (raised.value.status, raised.value.code) == (answer.status, code)
        assert str(raised.value) == f"AWS GET at 127.0.0.1:{server.port} answered {answer.status} {said}".rstrip()


def test_where_a_service_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS"):
        monkeypatch.delenv(name, raising=False)
    assert endpoint("sqs", "eu-west-1") == "https://sqs.eu-west-1.amazonaws.com/"
    assert endpoint("sqs", "cn-north-1") == "https://sqs.cn-north-1.amazonaws.com.cn/"
    assert endpoint("sqs", "us-gov-west-1") == "https://sqs.us-gov-west-1.amazonaws.com/"
    assert endpoint("sqs", "us-iso-east-1") == "https://sqs.us-iso-east-1.c2s.ic.gov/"
    assert endpoint("sqs", "x", "localhost:9324") == "https://localhost:9324/"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert endpoint("sqs", "x") == "http://127.0.0.1:1/"
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:2/")
    assert endpoint("sqs", "x") == "http://127.0.0.1:2/"
    assert endpoint("sqs", "x", "http://127.0.0.1:3") == "http://127.0.0.1:3/"


def test_where_an_object_is() -> None:
    assert s3.url("http://minio:9000", "b", "a b/ü+?") == "http://minio:9000/b/a%20b/%C3%BC%2B%3F"
    assert s3.url("http://minio:9000", "b", query=[("prefix", "a b&")]) == "http://minio:9000/b/?prefix=a%20b%26"
    # AWS's own host is that of the bucket's region
    for host in ("s3.amazonaws.com", "s3.us-west-2.amazonaws.com", "s3-eu-west-1.amazonaws.com"):
        assert s3.url(f"https://{host}", "b", "k", region="eu-west-1") == "https://s3.eu-west-1.amazonaws.com/b/k"
    assert s3.url("https://s3.cn-north-1.amazonaws.com.cn", "b", region="cn-north-1").startswith(
        "https://s3.cn-north-1.amazonaws.com.cn/"
    )
    assert s3.url("https://s3.amazonaws.com.evil.example", "b", region="r").startswith("https://s3.amazonaws.com.evil")


@pytest.mark.parametrize("place", ["http://MinIO.Example:80", "http://minio.example", "http://minio.example:8080"])
async def test_what_is_signed_as_the_host_is_what_is_sent_as_the_host(
    monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    # Given names with and without a port that goes without saying
    class Who:
        async def get(self) -> Credentials:
            return Credentials("AKID", "secret")

        def forget(self) -> None: ...

    async with HttpServer() as server:
        rules = (f"minio.example:{port}=127.0.0.1:{server.port}" for port in (80, 8080))
        monkeypatch.setenv("ARGOSY_RESOLVE", " ".join(rules))
        async with Client("a test", SystemClock()) as client:
            await client.request("s3", "us-east-1", "GET", f"{place}/b/k", {}, b"", Who())
    # When the signature is made again by botocore of what came, then it is the one that came
    (request,) = server.requests
    names = request.headers["authorization"].partition("SignedHeaders=")[2].split(",")[0].split(";")
    again = AWSRequest("GET", f"http://{request.headers['host']}/b/k", {name: request.headers[name] for name in names})
    again.context["timestamp"] = request.headers["x-amz-date"]
    signer = S3SigV4Auth(BotoCredentials("AKID", "secret"), "s3", "us-east-1")
    wanted = signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)
    assert request.headers["authorization"].endswith(f"Signature={wanted}")
