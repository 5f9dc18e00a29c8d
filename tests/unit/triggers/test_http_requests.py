"""What the ``http`` trigger sends beyond a payload to a URL: quoted paths and queries, CloudEvents, credentials, proxies; and where it may not go."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import json
import re
from collections.abc import AsyncIterator
from typing import Any, ClassVar
from urllib.parse import parse_qs

import pytest

from argosy.aws.signing import Credentials, signature
from argosy.errors import Rejected, RetryAfter, SecretMissing, TriggerError
from argosy.event import decode
from argosy.manifests.fields import Json
from argosy.triggers import _http
from argosy.triggers._egress import EgressConfig
from tests.conformance.trigger import event
from tests.unit.triggers.receivers import Answer, HttpServer
from tests.unit.triggers.test_http import Stage, fire, server

__all__ = ["fire", "server"]

SECRETS = {
    ("api", "token"): "s3cr3t-t0ken",
    ("api", "id"): "cli ent:1",
    ("api", "secret"): "s3cr3t/p%ss",
    ("aws", "key"): "AKIDEXAMPLE",
    ("aws", "secret"): "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
}


def _src(key: str, dependency: str = "d") -> dict[str, str]:
    return {"dependencyName": dependency, "dataKey": key}


class TestUrl:
    @pytest.mark.parametrize(
        ("value", "path"),
        [
            ("web-1", "/hosts/web-1/tags"),
            ("a/../b", "/hosts/a%2F..%2Fb/tags"),
            ("x?y=1#z", "/hosts/x%3Fy%3D1%23z/tags"),
            ("ü ", "/hosts/%C3%BC%20/tags"),
            ("100%", "/hosts/100%25/tags"),
        ],
    )
    async def test_a_value_out_of_an_event_stays_one_step_of_the_path(
        self, server: HttpServer, fire: Any, value: str, path: str
    ) -> None:
        block = {"url": f"{server.url}/hosts/{{host}}/tags", "pathParameters": [{"src": _src("host"), "dest": "host"}]}

        await fire(block, values={"host": value})

        assert server.requests[0].target == path

    @pytest.mark.parametrize("value", ["", ".", ".."])
    async def test_a_step_that_would_lead_elsewhere_is_rejected(
        self, server: HttpServer, fire: Any, value: str
    ) -> None:
        block = {"url": f"{server.url}/hosts/{{host}}/tags", "pathParameters": [{"src": _src("host"), "dest": "host"}]}

        with pytest.raises(Rejected, match=r"\{host\} is '.*', which leads elsewhere"):
            await fire(block, values={"host": value})

        assert server.requests == []

    async def test_a_name_that_the_path_does_not_have_is_rejected(self, server: HttpServer, fire: Any) -> None:
        block = {"url": f"{server.url}/hosts?x={{host}}", "pathParameters": [{"src": _src("host"), "dest": "host"}]}

        with pytest.raises(Rejected, match=r"the path of the URL has no \{host\}"):
            await fire(block, values={"host": "a"})

    @pytest.mark.parametrize(("url", "target"), [("/a", "/a?q=b%26c%3D1&n=7"), ("/a?k=v#f", "/a?k=v&q=b%26c%3D1&n=7")])
    async def test_the_query_grows_by_quoted_values(self, server: HttpServer, fire: Any, url: str, target: str) -> None:
        query = [{"src": _src("q"), "dest": "q"}, {"src": _src("n"), "dest": "n"}]

        await fire({"url": server.url + url, "queryParameters": query}, values={"q": "b&c=1", "n": "7"})

        assert server.requests[0].target == target

    @pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
    async def test_the_other_methods(self, server: HttpServer, fire: Any, method: str) -> None:
        await fire({"method": method}, payload=b"")

        assert server.requests[0].method == method


class TestCloudEvent:
    EVENT = event({"n": "ü"}, id="e 1", source="shop", subject='or"der')

    async def test_binary_has_the_attributes_in_headers_and_the_data_as_body(
        self, server: HttpServer, fire: Any
    ) -> None:
        await fire({"cloudEvent": {}}, events={"d": self.EVENT}, payload=b"")

        (request,) = server.requests
        assert request.body == self.EVENT.data
        found = {name: value for name, value in request.headers.items() if name.startswith(("ce-", "content-type"))}
        assert found == {
            "ce-specversion": "1.0",
            "ce-id": "e%201",
            "ce-source": "shop",
            "ce-type": "shop",
            "ce-subject": "or%22der",
            "ce-time": "2026-11-23T10:00:00.5Z",
            "content-type": "application/json",
        }

    async def test_structured_is_one_document(self, server: HttpServer, fire: Any) -> None:
        await fire({"cloudEvent": {"mode": "structured"}}, events={"d": self.EVENT}, payload=b"")

        (request,) = server.requests
        assert request.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
        assert decode(request.body) == self.EVENT

    @pytest.mark.parametrize("mode", ["binary", "structured"])
    async def test_a_payload_takes_the_place_of_the_data(self, server: HttpServer, fire: Any, mode: str) -> None:
        await fire({"cloudEvent": {"mode": mode}}, events={"d": self.EVENT}, payload=b'{"a":1}')

        body = json.loads(server.requests[0].body)
        assert (body if mode == "binary" else body["data"]) == {"a": 1}

    async def test_of_several_events_one_is_named(self, server: HttpServer, fire: Any) -> None:
        both = {"d": self.EVENT, "e": event({}, id="other")}

        await fire({"cloudEvent": {"dependencyName": "e"}}, events=both)
        with pytest.raises(Rejected, match="which of d, e is sent"):
            await fire({"cloudEvent": {}}, events=both)
        with pytest.raises(Rejected, match="no event of 'x' is here"):
            await fire({"cloudEvent": {"dependencyName": "x"}}, events=both)

        assert server.requests[0].headers["ce-id"] == "other"

    async def test_headers_of_the_manifest_win(self, server: HttpServer, fire: Any) -> None:
        await fire({"cloudEvent": {}, "headers": {"CE-Type": "mine"}}, events={"d": self.EVENT})

        assert server.requests[0].headers["ce-type"] == "mine"


@contextlib.asynccontextmanager
async def _opened(**secrets: str) -> AsyncIterator[tuple[Any, dict[tuple[str, str], str]]]:
    held = dict(SECRETS)
    stage = Stage("http", secrets=held)
    async with stage.open() as trigger:

        async def fire(block: dict[str, Json], **named: Any) -> Any:
            return await stage.fire(trigger, block, **named)

        yield fire, held


def _token(text: str, lasts: object = 3600) -> Answer:
    return Answer(body=json.dumps({"access_token": text, "token_type": "Bearer", "expires_in": lasts}).encode())


class TestBearer:
    async def test_the_token_is_sent_and_read_anew_for_every_action(self, server: HttpServer) -> None:
        block: dict[str, Json] = {
            "url": server.url,
            "auth": {"bearer": {"tokenSecret": {"name": "api", "key": "token"}}},
        }
        async with _opened() as (fire, held):
            await fire(block)
            held["api", "token"] = "rotated"
            await fire(block)
            del held["api", "token"]
            with pytest.raises(SecretMissing):
                await fire(block)

        assert [one.headers["authorization"] for one in server.requests] == ["Bearer s3cr3t-t0ken", "Bearer rotated"]


class TestOAuth2:
    @pytest.fixture
    async def authority(self) -> AsyncIterator[HttpServer]:
        async with HttpServer() as authority:
            authority.default = _token("t-1")
            yield authority

    def _block(self, server: HttpServer, authority: HttpServer, **more: Json) -> dict[str, Json]:
        client = {"clientId": {"name": "api", "key": "id"}, "clientSecret": {"name": "api", "key": "secret"}}
        return {
            "url": f"{server.url}/act",
            "auth": {"oauth2": {"tokenUrl": f"{authority.url}/token", **client, **more}},
        }

    async def test_a_token_is_asked_for_once_and_used_for_all_actions(
        self, server: HttpServer, authority: HttpServer
    ) -> None:
        async with _opened() as (fire, _):
            block = self._block(server, authority, scopes=["a", "b"], audience="api", parameters={"x": "y"})
            await asyncio.gather(*(fire(block, id=str(number)) for number in range(5)))

        assert [one.headers["authorization"] for one in server.requests] == ["Bearer t-1"] * 5
        (asked,) = authority.requests
        pair = base64.b64decode(asked.headers["authorization"].split()[1]).decode()
        assert (asked.method, asked.target, pair) == ("POST", "/token", "cli+ent%3A1:s3cr3t%2Fp%25ss")
        assert parse_qs(asked.body.decode()) == {
            "grant_type": ["client_credentials"],
            "scope": ["a b"],
            "audience": ["api"],
            "x": ["y"],
        }

    async def test_the_credentials_may_stand_in_the_form(self, server: HttpServer, authority: HttpServer) -> None:
        async with _opened() as (fire, _):
            await fire(self._block(server, authority, credentialsIn="body"))

        (asked,) = authority.requests
        assert "authorization" not in asked.headers
        form = parse_qs(asked.body.decode())
        assert (form["client_id"], form["client_secret"]) == (["cli ent:1"], ["s3cr3t/p%ss"])

    async def test_a_token_that_is_not_accepted_is_renewed_once(
        self, server: HttpServer, authority: HttpServer
    ) -> None:
        authority.queue = [_token("old"), _token("new")]
        server.queue = [Answer(), Answer(401), Answer()]
        async with _opened() as (fire, _):
            await fire(self._block(server, authority))
            outcome = await fire(self._block(server, authority), id="a-2")

        assert outcome.detail["status"] == 200
        sent = [(one.headers["authorization"], one.headers["idempotency-key"]) for one in server.requests[1:]]
        assert sent == [("Bearer old", "a-2"), ("Bearer new", "a-2")]

    async def test_and_not_more_often(self, server: HttpServer, authority: HttpServer) -> None:
        authority.queue = [_token("old"), _token("new")]
        server.default = Answer(401)
        async with _opened() as (fire, _):
            with pytest.raises(Rejected, match="answered 401"):
                await fire(self._block(server, authority))

        assert (len(server.requests), len(authority.requests)) == (2, 2)

    @pytest.mark.parametrize("lasts", [0, "0", -5])
    async def test_a_token_that_has_run_out_is_not_used_again(
        self, server: HttpServer, authority: HttpServer, lasts: object
    ) -> None:
        authority.queue = [_token("t-1", lasts), _token("t-2")]
        async with _opened() as (fire, _):
            await fire(self._block(server, authority))
            await fire(self._block(server, authority))

        assert [one.headers["authorization"] for one in server.requests] == ["Bearer t-1", "Bearer t-2"]

    async def test_a_rotated_secret_asks_for_a_token_of_its_own(
        self, server: HttpServer, authority: HttpServer
    ) -> None:
        async with _opened() as (fire, held):
            await fire(self._block(server, authority))
            held["api", "secret"] = "other"
            await fire(self._block(server, authority))

        assert len(authority.requests) == 2

    @pytest.mark.parametrize(
        ("answer", "kind", "words"),
        [
            (
                Answer(400, body=b'{"error":"invalid_scope"}'),
                Rejected,
                r"answered 400 \(invalid_scope\), so there is no",
            ),
            (
                Answer(401, body=b'{"error":"invalid_client","error_description":"s3cr3t/p%ss"}'),
                Rejected,
                "invalid_client",
            ),
            (Answer(200, body=b"{}"), Rejected, "without an access_token"),
            (Answer(200, body=b"nothing"), Rejected, "without an access_token"),
            (Answer(302, {"Location": "http://127.0.0.1:9/"}), TriggerError, "answered 302"),
            (Answer(503), TriggerError, "answered 503"),
            (Answer(429, {"Retry-After": "9"}), RetryAfter, "answered 429"),
        ],
    )
    async def test_no_token_is_a_failure_of_its_class_and_the_request_is_not_made(
        self, server: HttpServer, authority: HttpServer, answer: Answer, kind: type[Exception], words: str
    ) -> None:
        authority.default = answer
        async with _opened() as (fire, _):
            with pytest.raises(kind, match=words) as raised:
                await fire(self._block(server, authority))

        assert type(raised.value) is kind
        assert "s3cr3t" not in str(raised.value)
        assert server.requests == []

    async def test_the_token_endpoint_is_no_way_to_where_no_trigger_may_go(self, server: HttpServer) -> None:
        client = {"clientId": {"name": "api", "key": "id"}, "clientSecret": {"name": "api", "key": "secret"}}
        oauth = {"tokenUrl": "http://169.254.169.254/token", **client}
        async with _opened() as (fire, _):
            with pytest.raises(Rejected, match="link-local"):
                await fire({"url": server.url, "auth": {"oauth2": oauth}})


class TestAws:
    def _block(self, server: HttpServer, **more: Json) -> dict[str, Json]:
        keys = {"accessKey": {"name": "aws", "key": "key"}, "secretKey": {"name": "aws", "key": "secret"}}
        return {
            "url": f"{server.url}/a/b?y=2&x=1",
            "auth": {"aws": {"region": "eu-west-1", "service": "execute-api", **keys}},
            **more,
        }

    async def test_the_signature_is_that_of_the_request_that_arrived(self, server: HttpServer) -> None:
        async with _opened() as (fire, _):
            await fire(self._block(server), payload=b'{"a":1}')

        (request,) = server.requests
        said = request.headers["authorization"]
        names = re.search(r"SignedHeaders=([^,]+)", said)
        assert names is not None
        signed = {name: request.headers[name] for name in names[1].split(";") if name not in ("host", "x-amz-date")}
        at = dt.datetime.strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
        who = Credentials(SECRETS["aws", "key"], SECRETS["aws", "secret"])
        wanted = signature(
            "POST", server.url + request.target, signed, request.body, who, "eu-west-1", "execute-api", at
        )
        assert said == wanted["Authorization"]
        assert {"host", "content-type", "idempotency-key"} <= set(names[1].split(";"))

    async def test_a_signed_request_follows_no_redirect(self, server: HttpServer) -> None:
        server.default = Answer(307, {"Location": "/other"})
        async with _opened() as (fire, _):
            with pytest.raises(Rejected, match="a redirect to /other that is not followed"):
                await fire(self._block(server))

        assert len(server.requests) == 1


class TestFields:
    @pytest.mark.parametrize(
        ("block", "words"),
        [
            ({"auth": {}}, "needs one of bearer, oauth2 and aws"),
            ({"auth": {"aws": {"region": "r", "service": "s", "accessKey": {"key": "k"}}}}, "accessKey and secretKey"),
            ({"auth": {"bearer": {"tokenSecret": {"key": "k"}}}, "basicAuth": {}}, "made in one name"),
            ({"auth": {"aws": {"region": "r", "service": "s"}}, "redirects": {}}, "a signature is for one place"),
            ({"pathParameters": [{"src": {"value": "x"}}]}, "pathParameters.0 needs dest"),
            ({"maxResponseBytes": 2_000_000}, "less than or equal to"),
            ({"egress": {"to": "nowhere"}}, "'public', 'private' or 'any'"),
            ({"egress": {"allow": ["10.0.0.1/8"]}}, "which is no network"),
            ({"egress": {"allow": ["a*b"]}}, "write a name"),
        ],
    )
    def test_what_cannot_be_meant_is_refused(self, block: dict[str, Json], words: str) -> None:
        from argosy.triggers.http import HttpConfig

        with pytest.raises(ValueError, match=re.escape(words)):
            HttpConfig.model_validate({"url": "http://a", **block})


class TestEgress:
    """Loopback stands for every private address: it is the one that a test can reach."""

    PUBLIC: ClassVar[dict[str, Json]] = {"to": "public"}

    @pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "10.1.2.3", "192.168.0.1", "172.16.0.1", "100.64.0.1", "[fd00::1]", "[::ffff:10.0.0.1]", "0.0.0.0", "224.0.0.1"])  # fmt: skip
    async def test_public_means_that_private_addresses_are_refused_before_anything_is_sent(
        self, fire: Any, host: str
    ) -> None:
        with pytest.raises(Rejected, match="is no address of the public internet.*allow it with 'egress'"):
            await fire({"url": f"http://{host}/", "egress": self.PUBLIC})

    async def test_a_name_that_resolves_there_is_refused_before_a_byte_is_sent(
        self, server: HttpServer, fire: Any
    ) -> None:
        with pytest.raises(Rejected, match="'127.0.0.1' is no address of the public internet"):
            await fire({"url": f"http://localhost:{server.port}/act", "egress": self.PUBLIC})

        assert server.requests == []

    async def test_a_redirect_does_not_lead_there(self, server: HttpServer, fire: Any) -> None:
        # Given a name that is allowed, and sends on to an address that is not
        server.default = Answer(302, {"Location": f"http://127.0.0.1:{server.port}/inside"})
        egress = {"to": "public", "allow": ["localhost"]}

        with pytest.raises(Rejected, match="'127.0.0.1' is no address"):
            await fire({"url": f"http://localhost:{server.port}/act", "egress": egress})

        assert [one.target for one in server.requests] == ["/act"]

    @pytest.mark.parametrize("allow", ["127.0.0.0/8", "127.0.0.1", "localhost", "*.localhost"])
    async def test_what_is_listed_is_allowed(self, server: HttpServer, fire: Any, allow: str) -> None:
        host = "127.0.0.1" if allow == "127.0.0.1" else "a.localhost" if "*" in allow else "localhost"
        egress = {"to": "public", "allow": [allow]}
        with contextlib.suppress(TriggerError) if "*" in allow else contextlib.nullcontext():
            await fire({"url": f"http://{host}:{server.port}/act", "egress": egress})

        if "*" not in allow:
            assert len(server.requests) == 1

    async def test_an_open_connection_of_laxer_rules_is_no_way_in(self, server: HttpServer, fire: Any) -> None:
        url = f"http://localhost:{server.port}/act"
        await fire({"url": url})

        with pytest.raises(Rejected):
            await fire({"url": url, "egress": self.PUBLIC})

        assert len(server.requests) == 1

    async def test_the_process_may_say_it_for_all_triggers_that_do_not(
        self, server: HttpServer, fire: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ARGOSY_EGRESS", "public")
        with pytest.raises(Rejected, match="public internet"):
            await fire({})
        await fire({"egress": {"to": "private"}})
        monkeypatch.setenv("ARGOSY_EGRESS", "everywhere")
        with pytest.raises(Rejected, match="ARGOSY_EGRESS='everywhere' is none of"):
            await fire({})

        assert len(server.requests) == 1

    async def test_a_metadata_address_can_be_allowed_by_itself(
        self, server: HttpServer, fire: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        forbidden = frozenset((_http.ipaddress.ip_address("127.0.0.1"),))
        monkeypatch.setattr(_http, "_METADATA_ADDRESSES", forbidden)
        for egress in ({}, self.PUBLIC):
            with pytest.raises(Rejected, match="link-local"):
                await fire({"egress": egress})
        for egress in ({"allow": ["127.0.0.1"]}, {"to": "any"}):
            await fire({"egress": egress})

        assert len(server.requests) == 2

    async def test_where_the_one_who_started_the_process_leads_a_name_is_allowed(
        self, server: HttpServer, fire: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ARGOSY_RESOLVE", f"shop.example:80=127.0.0.1:{server.port}")

        await fire({"url": "http://shop.example/act", "egress": self.PUBLIC})

        assert server.requests[0].headers["host"] == "shop.example"

    def test_networks_and_names_are_told_apart(self) -> None:
        assert EgressConfig(allow=["10.0.0.0/8", "::1", "a.b", "*.c"]).allow == ["10.0.0.0/8", "::1", "a.b", "*.c"]


class TestProxy:
    async def test_requests_go_through_the_proxy_of_the_manifest(self, server: HttpServer) -> None:
        auth = {"username": {"name": "api", "key": "id"}, "password": {"name": "api", "key": "secret"}}
        async with _opened() as (fire, _):
            await fire({"url": "http://shop.example/act?x=1", "proxy": {"url": server.url, "auth": auth}})

        (request,) = server.requests
        assert request.target == "http://shop.example/act?x=1"
        pair = base64.b64decode(request.headers["proxy-authorization"].split()[1]).decode()
        assert pair == "cli ent:1:s3cr3t/p%ss"

    async def test_or_that_of_the_environment_unless_it_is_named_as_none(
        self, server: HttpServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with HttpServer() as other:
            monkeypatch.setenv("http_proxy", other.url)
            async with _opened() as (fire, _):
                await fire({"url": f"{server.url}/act"})
                await fire({"url": f"{server.url}/act", "proxy": {}})
                monkeypatch.setenv("no_proxy", "127.0.0.1")
                await fire({"url": f"{server.url}/act"})

            assert [one.target for one in other.requests] == [f"{server.url}/act"]
        assert len(server.requests) == 2

    async def test_behind_a_proxy_names_and_literal_addresses_are_judged_all_the_same(self, server: HttpServer) -> None:
        async with _opened() as (fire, _):
            block: dict[str, Json] = {"proxy": {"url": server.url}, "egress": {"to": "public"}}
            with pytest.raises(Rejected, match="public internet"):
                await fire({"url": "http://10.0.0.1/", **block})
            with pytest.raises(Rejected, match="link-local"):
                await fire({"url": "http://metadata.google.internal/", **block})
            await fire({"url": "http://shop.example/", **block})

        assert len(server.requests) == 1

    async def test_a_proxy_that_is_none_is_rejected(self, server: HttpServer) -> None:
        async with _opened() as (fire, _):
            with pytest.raises(Rejected, match="is no http, https or socks5 URL"):
                await fire({"url": server.url, "proxy": {"url": "gopher://127.0.0.1"}})


class TestConnections:
    async def test_a_thousand_actions_one_after_the_other_need_one_connection(
        self, server: HttpServer, fire: Any
    ) -> None:
        for number in range(1000):
            await fire({}, id=f"a-{number}")

        assert (len(server.requests), server.connections) == (1000, 1)

    async def test_side_by_side_they_need_as_many_as_run_at_a_time(self, server: HttpServer, fire: Any) -> None:
        places = asyncio.Semaphore(8)

        async def one(number: int) -> None:
            async with places:
                await fire({}, id=f"a-{number}")

        await asyncio.gather(*(one(number) for number in range(1000)))

        assert len(server.requests) == 1000
        assert server.connections <= 8
