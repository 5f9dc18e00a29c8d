"""The ``http`` trigger against a real server on loopback."""

from __future__ import annotations

import base64
import datetime as dt
import email.utils
import re
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from argosy.errors import Rejected, RetryAfter, TriggerError
from argosy.manifests.fields import Json
from argosy.triggers import _http
from tests.conformance.trigger import Receiver, Stage, TriggerSuite
from tests.unit.triggers.receivers import Answer, HttpServer

SECRETS = {
    ("http", "token"): "Bearer s3cr3t-t0ken",
    ("http", "user"): "ship",
    ("http", "password"): "pass  word/+",
}


class _Http(Receiver):
    secrets: ClassVar[dict[tuple[str, str], str]] = SECRETS
    hastened: ClassVar[dict[str, Json]] = {"timeout": 1}
    private = (
        "s3cr3t-t0ken",
        "pass  word/+",
        "pass word",
        base64.b64encode(b"ship:pass  word/+").decode(),
        "plain-k3y",
        "query-t0ken",
    )

    def __init__(self, server: HttpServer) -> None:
        self.server = server
        self.address = f"127.0.0.1:{server.port}"
        server.echo = True
        self.block = {
            "url": f"{server.url}/act?token=query-t0ken",
            "headers": {"X-Api-Key": "plain-k3y"},
            "secureHeaders": [{"name": "X-Token", "valueFrom": {"secretKeyRef": {"name": "http", "key": "token"}}}],
            "basicAuth": {
                "username": {"name": "http", "key": "user"},
                "password": {"name": "http", "key": "password"},
            },
        }

    async def effects(self) -> list[str]:
        return [request.headers["idempotency-key"] for request in self.server.requests]

    async def arrived(self) -> Json:
        return self.server.requests[-1].shown()

    def speak_tls(self, patch: pytest.MonkeyPatch) -> None:
        self.block = {**self.block, "url": str(self.block["url"]).replace("http:", "https:")}

    async def limit(self, patch: pytest.MonkeyPatch) -> float:
        self.server.default = Answer(429, {"Retry-After": "7"})
        return 7

    async def knows(self, private: str) -> bool:
        seen = "".join(f"{request.target} {request.headers}" for request in self.server.requests)
        pairs = [request.headers["authorization"].split()[1] for request in self.server.requests]
        seen += "".join(base64.b64decode(pair).decode() for pair in pairs)
        return private in seen or private in " ".join(seen.split())

    async def refuse(self) -> None:
        self.server.default = Answer(422)

    async def fail(self) -> None:
        self.server.default = Answer(503)

    async def hold(self) -> None:
        self.server.hold()

    async def release(self) -> None:
        self.server.default = Answer()
        self.server.release()

    async def held(self) -> int:
        return self.server.waiting


@pytest.fixture
async def server() -> AsyncIterator[HttpServer]:
    async with HttpServer() as server:
        yield server


@pytest.fixture
async def fire(server: HttpServer) -> AsyncIterator[Any]:
    stage = Stage("http", secrets=SECRETS)
    async with stage.open() as trigger:

        async def fire(block: dict[str, Json], **named: Any) -> Any:
            return await stage.fire(trigger, {"url": f"{server.url}/act", **block}, **named)

        yield fire


class TestHttp(TriggerSuite):
    kind = "http"
    bad_blocks: ClassVar[list[tuple[dict[str, Json], str]]] = [
        ({}, "url"),
        ({"url": "http://a", "method": "TRACE"}, "method"),
        ({"url": "http://a", "timeout": -1}, "timeout"),
        (
            {"url": "http://a", "dynamicHeaders": [{"src": {"dependencyName": "d"}}]},
            "dynamicHeaders.0 needs dest",
        ),
        (
            {"url": "http://a", "secureHeaders": [{"name": "X-A", "valueFrom": {}}]},
            "'X-A' needs one of secretKeyRef",
        ),
    ]

    @pytest.fixture
    async def receiver(self) -> AsyncIterator[_Http]:
        async with HttpServer() as server:
            yield _Http(server)


class TestTheRequest:
    async def test_it_is_a_post_of_the_payload_as_json(self, server: HttpServer, fire: Any) -> None:
        outcome = await fire({}, payload=b'{"a":1}', id="a-1")
        (request,) = server.requests
        assert (request.method, request.target, request.body) == ("POST", "/act", b'{"a":1}')
        assert request.headers["content-type"] == "application/json"
        assert request.headers["idempotency-key"] == "a-1"
        assert outcome.message == f"POST {server.url}/act answered 200 Because"
        assert outcome.detail == {"status": 200, "body": ""}

    async def test_without_payload_it_has_no_content_type(self, server: HttpServer, fire: Any) -> None:
        for method in ("GET", "DELETE", "PATCH", "PUT"):
            await fire({"method": method}, payload=b"")
        assert [request.method for request in server.requests] == ["GET", "DELETE", "PATCH", "PUT"]
        assert all("content-type" not in request.headers for request in server.requests)

    async def test_all_tries_of_an_action_are_one_trace_and_each_is_a_span_of_it(
        self, server: HttpServer, fire: Any
    ) -> None:
        action = "0123456789abcdef0123456789abcdef"
        for attempt in (1, 2, 1):
            await fire({}, id=action, attempt=attempt)
        await fire({}, id="of another form")
        traces = [request.headers["traceparent"] for request in server.requests]
        assert all(re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", trace) for trace in traces)
        assert [trace.split("-")[1] == action for trace in traces] == [True, True, True, False]
        assert traces[0] == traces[2] != traces[1]
        assert not any("baggage" in request.headers for request in server.requests)

    async def test_a_trace_that_the_manifest_gives_is_left_alone(self, server: HttpServer, fire: Any) -> None:
        given = f"00-{'a' * 32}-{'b' * 16}-00"
        await fire({"headers": {"Traceparent": given}})
        (request,) = server.requests
        assert request.headers["traceparent"] == given
        assert [name.lower() for name in request.names].count("traceparent") == 1

    async def test_given_headers_win_over_ours_whatever_their_case(self, server: HttpServer, fire: Any) -> None:
        await fire({"headers": {"content-TYPE": "text/plain", "IDEMPOTENCY-key": "mine"}})
        (request,) = server.requests
        assert (request.headers["content-type"], request.headers["idempotency-key"]) == ("text/plain", "mine")
        assert {"content-TYPE", "IDEMPOTENCY-key"} <= set(request.names)
        assert len({name.lower() for name in request.names}) == len(request.names)

    async def test_headers_come_in_upstreams_order_and_the_later_wins(self, server: HttpServer, fire: Any) -> None:
        block = {
            "headers": {"X-A": "header", "X-B": "header", "X-C": "größe", "Authorization": "header"},
            "dynamicHeaders": [
                {"src": {"dependencyName": "dep", "dataKey": "b"}, "dest": "X-B"},
                {"src": {"dependencyName": "dep", "dataKey": "none"}, "dest": "X-None"},
                {"src": {"dependencyName": "dep", "dataKey": "b"}, "dest": "x-token"},
            ],
            "secureHeaders": [{"name": "X-Token", "valueFrom": {"secretKeyRef": {"name": "http", "key": "token"}}}],
            "basicAuth": {
                "username": {"name": "http", "key": "user"},
                "password": {"name": "http", "key": "password"},
            },
        }
        await fire(block, values={"b": "dynamic"})
        headers = server.requests[0].headers
        assert headers["x-a"] == "header"
        assert headers["x-b"] == "dynamic"
        assert headers["x-c"].encode("latin-1").decode() == "größe"
        assert "x-none" not in headers
        assert headers["x-token"] == "Bearer s3cr3t-t0ken"
        assert base64.b64decode(headers["authorization"].removeprefix("Basic ")) == b"ship:pass  word/+"

    async def test_host_is_what_the_block_says(self, server: HttpServer, fire: Any) -> None:
        await fire({"host": "inner.example"})
        assert server.requests[0].headers["host"] == "inner.example"
        assert [name.lower() for name in server.requests[0].names].count("host") == 1

    @pytest.mark.parametrize(("name", "value"), [("X-A", "a\r\nX-B: b"), ("X A", "a"), ("", "a"), ("X-A", "\0")])
    async def test_a_header_that_would_break_the_request_is_rejected(
        self, server: HttpServer, fire: Any, name: str, value: str
    ) -> None:
        with pytest.raises(Rejected) as raised:
            await fire({"headers": {name: value}})
        assert repr(name) in str(raised.value)
        assert server.requests == []

    async def test_connections_are_used_again(self, server: HttpServer, fire: Any) -> None:
        server.default = Answer(body=b"x" * 5000)
        for _ in range(5):
            await fire({})
        assert server.connections == 1

    async def test_cookies_of_an_answer_are_not_sent_with_the_next(self, server: HttpServer, fire: Any) -> None:
        server.default = Answer(headers={"Set-Cookie": "session=1; Path=/"})
        await fire({})
        await fire({})
        assert "cookie" not in server.requests[1].headers


class TestTheAnswer:
    @pytest.mark.parametrize("status", [200, 201, 204, 299, 304])
    async def test_a_status_below_400_is_a_success(self, server: HttpServer, fire: Any, status: int) -> None:
        server.default = Answer(status)
        assert (await fire({})).detail["status"] == status

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422])
    async def test_other_4xx_is_rejected_with_what_was_said(self, server: HttpServer, fire: Any, status: int) -> None:
        server.default = Answer(status, body=b"  no\n such   thing ")
        with pytest.raises(Rejected, match=rf"/act answered {status} Because: no such thing$"):
            await fire({})

    @pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
    async def test_a_status_that_may_pass_is_tried_again(self, server: HttpServer, fire: Any, status: int) -> None:
        server.default = Answer(status)
        with pytest.raises(TriggerError) as raised:
            await fire({})
        assert type(raised.value) is TriggerError

    async def test_retry_after_is_passed_on(self, server: HttpServer, fire: Any) -> None:
        server.default = Answer(429, {"Retry-After": "7"})
        with pytest.raises(RetryAfter) as raised:
            await fire({})
        assert raised.value.seconds == 7
        soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=100)
        server.default = Answer(503, {"Retry-After": email.utils.format_datetime(soon, usegmt=True)})
        with pytest.raises(RetryAfter) as raised:
            await fire({})
        assert 80 < raised.value.seconds <= 100
        server.default = Answer(503, {"Retry-After": "soon"})
        with pytest.raises(TriggerError) as other:
            await fire({})
        assert not isinstance(other.value, RetryAfter)

    async def test_the_status_policy_decides_where_there_is_one(self, server: HttpServer, fire: Any) -> None:
        policy = {"status": {"allow": [404, 500]}}
        for status in (404, 500):
            server.default = Answer(status)
            assert (await fire({}, policy=policy)).detail["status"] == status
        server.default = Answer(200)
        with pytest.raises(TriggerError, match=r"which policy.status does not allow \(404, 500\)") as raised:
            await fire({}, policy=policy)
        assert not isinstance(raised.value, Rejected)
        server.default = Answer(403)
        with pytest.raises(Rejected):
            await fire({}, policy=policy)

    async def test_a_short_excerpt_of_the_body_is_kept(self, server: HttpServer, fire: Any) -> None:
        server.default = Answer(body=b"a" * 2_000_000)
        assert (await fire({})).detail["body"] == "a" * 500

    async def test_a_body_that_breaks_off_changes_nothing(self, server: HttpServer, fire: Any) -> None:
        server.default = Answer(body=b"abcdef", cut=3)
        outcome = await fire({})
        assert outcome.detail == {"status": 200, "body": "abc"}

    async def test_no_answer_in_time_is_a_failure(self, server: HttpServer, fire: Any) -> None:
        server.hold()
        with pytest.raises(TriggerError, match="no answer within 1 s") as raised:
            await fire({"timeout": 1})
        assert not isinstance(raised.value, Rejected)

    async def test_nobody_there_is_a_failure(self, fire: Any) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        with pytest.raises(TriggerError, match=f"POST http://127.0.0.1:{port}/: ") as raised:
            await fire({"url": f"http://user:s3cr3t@127.0.0.1:{port}/?token=s3cr3t"})
        assert not isinstance(raised.value, Rejected)
        assert "s3cr3t" not in str(raised.value)

    @pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "127.0.0.1:80", "http://", "http://[::1"])
    async def test_a_url_that_is_none_is_rejected(self, fire: Any, url: str) -> None:
        with pytest.raises(Rejected):
            await fire({"url": url})


class TestRedirects:
    async def test_they_are_followed_with_method_and_body_where_the_status_says_so(
        self, server: HttpServer, fire: Any
    ) -> None:
        server.answers["/act"] = Answer(307, {"Location": "/other"})
        outcome = await fire({}, payload=b"{}")
        assert [(each.method, each.target, each.body) for each in server.requests] == [
            ("POST", "/act", b"{}"),
            ("POST", "/other", b"{}"),
        ]
        assert outcome.detail["status"] == 200

    async def test_a_circle_is_rejected(self, server: HttpServer, fire: Any) -> None:
        server.answers["/act"] = Answer(302, {"Location": "/act"})
        with pytest.raises(Rejected, match="more than 10 redirects"):
            await fire({"method": "GET"})
        assert len(server.requests) == 11

    async def test_secrets_do_not_follow_to_another_origin(self, server: HttpServer) -> None:
        async with HttpServer() as elsewhere:
            server.answers["/act"] = Answer(307, {"Location": f"{elsewhere.url}/there"})
            receiver = _Http(server)
            receiver.block["headers"] = {"X-Plain": "goes along"}
            stage = Stage("http", secrets=SECRETS)
            async with stage.open() as trigger:
                await stage.fire(trigger, receiver.block, id="a-1")
        assert "x-token" in server.requests[0].headers
        (request,) = elsewhere.requests
        assert not {"x-token", "authorization"} & request.headers.keys()
        assert request.headers["x-plain"] == "goes along"
        assert request.headers["idempotency-key"] == "a-1"

    async def test_they_do_not_lead_to_a_forbidden_address(self, server: HttpServer, fire: Any) -> None:
        server.answers["/act"] = Answer(302, {"Location": "http://169.254.169.254/latest"})
        with pytest.raises(Rejected, match=r"'169.254.169.254' is a link-local or metadata address"):
            await fire({})


class TestForbiddenAddresses:
    @pytest.mark.parametrize(
        "host",
        [
            "169.254.169.254",
            "169.254.0.1",
            "[fe80::1]",
            "[fe80::1%25lo]",
            "[::ffff:169.254.169.254]",
            "[64:ff9b::a9fe:a9fe]",
            "[2002:a9fe:a9fe::]",
            "[fd00:ec2::254]",
            "100.100.100.200",
            "metadata.google.internal",
            "METADATA.google.internal.",
            "metadata",
        ],
    )
    async def test_they_are_rejected_before_anything_is_sent(self, fire: Any, host: str) -> None:
        with pytest.raises(Rejected, match=r"link-local or metadata address.*allowLinkLocal: true"):
            await fire({"url": f"http://{host}/latest/meta-data"})

    @pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1", "fd00::1", "::1", "169.253.1.1", "example.com"])
    def test_others_are_not(self, host: str) -> None:
        assert not _http.is_link_local(host)

    async def test_a_name_that_resolves_there_is_rejected_before_a_byte_is_sent(
        self, server: HttpServer, fire: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Given a server on an address that counts as forbidden, and a name that leads to it
        forbidden = frozenset((_http.ipaddress.ip_address("127.0.0.1"),))
        monkeypatch.setattr(_http, "_METADATA_ADDRESSES", forbidden)
        # When the name is called
        with pytest.raises(Rejected, match=r"'127.0.0.1' is a link-local or metadata address"):
            await fire({"url": f"http://localhost:{server.port}/act"})
        # Then the server saw no request
        assert server.requests == []
        # And it does where the block allows it
        await fire({"url": f"http://localhost:{server.port}/act", "allowLinkLocal": True})
        assert len(server.requests) == 1

    async def test_a_number_for_an_address_is_seen_through(
        self, fire: Any, monkeypatch: pytest.MonkeyPatch, server: HttpServer
    ) -> None:
        forbidden = frozenset((_http.ipaddress.ip_address("127.0.0.1"),))
        monkeypatch.setattr(_http, "_METADATA_ADDRESSES", forbidden)
        with pytest.raises(Rejected, match="link-local"):
            await fire({"url": f"http://2130706433:{server.port}/act"})
        assert server.requests == []


class TestTls:
    @pytest.fixture
    async def secured(self, certificates: Path) -> AsyncIterator[HttpServer]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates / "ca.crt"))
        context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
        context.verify_mode = ssl.CERT_REQUIRED
        async with HttpServer(tls=context) as server:
            yield server

    def _stage(self, certificates: Path) -> Stage:
        names = ("ca.crt", "client.crt", "client.key", "server.key")
        return Stage("http", secrets={("tls", name): (certificates / name).read_text() for name in names})

    async def test_the_server_is_verified_and_sees_our_certificate(
        self, secured: HttpServer, certificates: Path
    ) -> None:
        stage = self._stage(certificates)
        tls = {
            "caCertSecret": {"name": "tls", "key": "ca.crt"},
            "clientCertSecret": {"name": "tls", "key": "client.crt"},
            "clientKeySecret": {"name": "tls", "key": "client.key"},
        }
        async with stage.open() as trigger:
            for _ in range(3):
                await stage.fire(trigger, {"url": secured.url, "tls": tls})
        assert len(secured.requests) == 3
        assert secured.connections == 1

    async def test_a_server_that_nobody_signed_for_is_a_failure(self, secured: HttpServer, certificates: Path) -> None:
        stage = self._stage(certificates)
        async with stage.open() as trigger:
            with pytest.raises(TriggerError, match=r"(?i)certificate"):
                await stage.fire(trigger, {"url": secured.url})
        assert secured.requests == []

    async def test_a_key_of_another_certificate_is_rejected_and_not_shown(
        self, secured: HttpServer, certificates: Path
    ) -> None:
        stage = self._stage(certificates)
        tls = {
            "insecureSkipVerify": True,
            "clientCertSecret": {"name": "tls", "key": "client.crt"},
            "clientKeySecret": {"name": "tls", "key": "server.key"},
        }
        async with stage.open() as trigger:
            with pytest.raises(Rejected, match="tls.clientCertSecret and tls.clientKeySecret are no pair"):
                await stage.fire(trigger, {"url": secured.url, "tls": tls})

    async def test_renewed_certificates_are_used_and_old_clients_closed(
        self, certificates: Path, server: HttpServer
    ) -> None:
        # Given a trigger whose authority changes with every action
        stage = self._stage(certificates)
        tls = {"caCertSecret": {"name": "tls", "key": "ca.crt"}}
        async with stage.open() as trigger:
            for turn in range(20):
                stage.secrets["tls", "ca.crt"] = (certificates / "ca.crt").read_text() + "\n" * turn
                await stage.fire(trigger, {"url": server.url, "tls": tls})
            # Then only a few clients stay open
            assert server.connections == 20
            assert len(trigger._clients._kept._open) <= 9  # type: ignore[attr-defined]
