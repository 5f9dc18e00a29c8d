"""Where AWS's credentials come from, in which order, and how long they are remembered.

The metadata services and STS are a double: an HTTP server that answers as their documents say.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from argosy.aws.client import AwsError, Client
from argosy.aws.credentials import Chain, Named
from argosy.aws.signing import Credentials
from argosy.errors import ConfigError
from argosy.manifests.fields import SecretKeySelector
from tests.conformance.source import VirtualClock
from tests.unit.triggers.receivers import Answer, HttpServer

START = dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC)
VARIABLES = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_PROFILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_STS",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_ROLE_SESSION_NAME",
]
KEYS = Named(SecretKeySelector(name="aws", key="id"), SecretKeySelector(name="aws", key="secret"))
TOKEN = SecretKeySelector(name="aws", key="token")
SECRETS = {"id": "AKID", "secret": "S3CRET", "token": "T0KEN"}


@pytest.fixture(autouse=True)
def nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without credentials, whose metadata service nobody asks."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setattr("argosy.aws.credentials._METADATA_SECONDS", 20.0)


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HttpServer]:
    async with HttpServer() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
        yield server


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(START)


async def found(named: Named, clock: VirtualClock, secrets: dict[str, str] | None = None) -> Credentials:
    async with Client("a test", clock) as client:  # type: ignore[arg-type]
        return await chain(client, named, clock, secrets).get()


def chain(client: Client, named: Named, clock: VirtualClock, secrets: dict[str, str] | None = None) -> Chain:
    held = SECRETS if secrets is None else secrets
    return Chain(client, named, lambda selector: held[selector.key], clock, "eu-west-1")  # type: ignore[arg-type]


def document(key: str, seconds: float) -> Answer:
    """What a metadata service answers."""
    expires = (START + dt.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    value = {"AccessKeyId": key, "SecretAccessKey": "s", "Token": "t", "Expiration": expires, "Code": "Success"}
    return Answer(body=json.dumps(value).encode())


def sts(key: str, seconds: float) -> Answer:
    """What STS answers."""
    expires = (START + dt.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    inner = (
        f"<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
        f"<SessionToken>t</SessionToken><Expiration>{expires}</Expiration>"
    )
    return Answer(body=f'<R xmlns="x"><Result><Credentials>{inner}</Credentials></Result></R>'.encode())


async def test_keys_of_the_manifest_are_read_for_every_call(clock: VirtualClock) -> None:
    # Given keys, once with a session token
    assert await found(KEYS, clock) == ("AKID", "S3CRET", "")
    secrets = dict(SECRETS)
    async with Client("a test", clock) as client:  # type: ignore[arg-type]
        who = chain(client, KEYS._replace(session_token=TOKEN), clock, secrets)
        assert await who.get() == ("AKID", "S3CRET", "T0KEN")
        # When they rotate, then the next call is signed with the new ones
        secrets |= {"id": "NEW", "token": "NEWER"}
        assert await who.get() == ("NEW", "S3CRET", "NEWER")


async def test_the_first_place_that_has_some_counts(
    server: HttpServer, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Given a machine where all places have credentials
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.url)
    place = "/latest/meta-data/iam/security-credentials/"
    server.answers |= {
        "/latest/api/token": Answer(body=b"imds-token"),
        place: Answer(body=b"my-role\n"),
        f"{place}my-role": document("INSTANCE", 3600),
        "/container": document("CONTAINER", 3600),
        "/": sts("WEB", 3600),
    }
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{server.url}/container")
    (tmp_path / "container-token").write_text("pod-token\n")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "container-token"))
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = FILE\naws_secret_access_key = %s\n[other]\naws_access_key_id=OTHER\n"
        "aws_secret_access_key=s\naws_session_token=t\n"
    )
    (tmp_path / "web").write_text("web.identity.token\n")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "web"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/web")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    # When they are taken away one after the other, then the next one counts
    assert await found(Named(), clock) == ("ENV", "s", "")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "t")
    assert await found(Named(), clock) == ("ENV", "s", "t")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert await found(Named(), clock) == ("WEB", "s", "t")
    asked = server.requests[-1]
    assert b"Action=AssumeRoleWithWebIdentity" in asked.body and b"WebIdentityToken=web.identity.token" in asked.body
    assert "authorization" not in asked.headers
    monkeypatch.delenv("AWS_WEB_IDENTITY_TOKEN_FILE")
    assert await found(Named(), clock) == ("FILE", "%s", "")
    monkeypatch.setenv("AWS_PROFILE", "other")
    assert await found(Named(), clock) == ("OTHER", "s", "t")
    monkeypatch.setenv("AWS_PROFILE", "none")
    with pytest.raises(ConfigError, match="AWS_PROFILE 'none' has no keys"):
        await found(Named(), clock)
    monkeypatch.delenv("AWS_PROFILE")
    (tmp_path / "credentials").unlink()
    assert await found(Named(), clock) == ("CONTAINER", "s", "t")
    assert server.requests[-1].headers["authorization"] == "pod-token"
    monkeypatch.delenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    assert await found(Named(), clock) == ("INSTANCE", "s", "t")
    token, listed, asked = server.requests[-3:]
    assert (token.method, token.headers["x-aws-ec2-metadata-token-ttl-seconds"]) == ("PUT", "60")
    assert listed.headers["x-aws-ec2-metadata-token"] == asked.headers["x-aws-ec2-metadata-token"] == "imds-token"
    # And where there is none at all, a sentence says what can be done
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(AwsError, match="there are no AWS credentials"):
        await found(Named(), clock)


async def test_a_machine_without_a_metadata_service_has_no_credentials(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(AwsError, match="there are no AWS credentials"):
        await found(Named(), clock)


async def test_metadata_is_not_asked_for_through_a_proxy(
    server: HttpServer, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a proxy in the environment
    async with HttpServer() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{server.url}/container")
        server.answers["/container"] = document("CONTAINER", 3600)
        # When credentials are taken, then not through it
        assert (await found(Named(), clock)).key == "CONTAINER"
        assert proxy.requests == []


@pytest.mark.parametrize("url", ["http://evil.example/x", "http://169.254.170.99/x", "ftp://127.0.0.1/x"])
async def test_only_a_trusted_place_gives_container_credentials(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
    with pytest.raises(ConfigError, match="neither https nor this machine's"):
        await found(Named(), clock)


async def test_what_runs_out_is_taken_anew_before_it_does(
    server: HttpServer, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a role for an hour
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    server.queue += [sts("FIRST", 3600), sts("SECOND", 7200), sts("THIRD", 7200)]
    async with Client("a test", clock) as client:  # type: ignore[arg-type]
        who = chain(client, Named(role_arn="arn:aws:iam::1:role/r"), clock)
        assert (await who.get()).key == "FIRST"
        assert "Credential=ENV/20261125/eu-west-1/sts/" in server.requests[0].headers["authorization"]
        # When five minutes are left, then it is taken again, and not before
        await clock.advance(3299)
        assert (await who.get()).key == "FIRST"
        await clock.advance(1)
        assert (await who.get()).key == "SECOND"
        # And when AWS says that it has run out, at once
        who.forget()
        assert (await who.get()).key == "THIRD"


async def test_a_role_is_taken_with_the_manifests_keys_where_the_process_has_none(
    server: HttpServer, clock: VirtualClock
) -> None:
    server.default = sts("ROLE", 3600)
    assert (await found(KEYS._replace(role_arn="arn:aws:iam::1:role/r"), clock)).key == "ROLE"
    assert "Credential=AKID/" in server.requests[0].headers["authorization"]
    assert b"RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr" in server.requests[0].body


async def test_a_refusal_of_sts_is_a_sentence(
    server: HttpServer, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/web")
    # Given a token that is not there
    with pytest.raises(AwsError, match="AWS_WEB_IDENTITY_TOKEN_FILE .* No such file"):
        await found(Named(), clock)
    # Or one that STS does not take, whose words repeat a secret
    (tmp_path / "none").write_text("x")
    error = "<Error><Code>AccessDenied</Code><Message>Not  authorized</Message></Error>"
    server.default = Answer(403, body=f"<ErrorResponse>{error}</ErrorResponse>".encode())
    with pytest.raises(AwsError, match="AssumeRoleWithWebIdentity at .* answered 403 AccessDenied: Not authorized$"):
        await found(Named(), clock)
    # Or an answer that is none
    for body in (b"<R/>", b"", b"{}", b"<!DOCTYPE x><R/>"):
        server.default = Answer(body=body)
        with pytest.raises(AwsError):
            await found(Named(), clock)


async def test_half_a_document_of_the_metadata_service_is_no_leak(
    server: HttpServer, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{server.url}/container")
    for text in (b'{"SecretAccessKey": "hush', b'{"SecretAccessKey": "hush"}', b'["hush"]'):
        server.answers["/container"] = Answer(body=text)
        with pytest.raises(AwsError) as raised:
            await found(Named(), clock)
        assert "hush" not in f"{raised.value} {raised.value.__cause__!r}"


def test_credentials_do_not_show_their_secrets() -> None:
    assert repr(Credentials("AKID", "S3CRET", "T0KEN")) == "Credentials('AKID')"
