"""The ``webhook`` source: the suite of every source, and what a request becomes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import orjson
import pytest

from argosy.errors import BusUnavailable, EventInvalid, EventTooLarge
from argosy.sources._http import MASK, HttpServers
from tests.conformance.source import SourceSuite, Stage, Upstream, eventually, free_port, on_stage


class WebhookCaller(Upstream):
    """A client that posts messages and remembers which were answered 200."""

    def __init__(self) -> None:
        self.port = free_port()
        self.block = {"port": str(self.port), "endpoint": "/example", "method": "POST"}
        self.calls: list[asyncio.Task[None]] = []
        self.statuses: list[int] = []
        self.headers: dict[str, str] = {}

    async def guard(self, secret: str) -> tuple[dict[str, Any], dict[tuple[str, str], str]]:
        self.headers = {"Authorization": f"Bearer {secret}"}
        return {"authSecret": {"name": "hook", "key": "bearer"}}, {("hook", "bearer"): secret}

    async def send(self, text: str) -> None:
        self.calls.append(asyncio.create_task(self._post(text)))

    async def _post(self, text: str) -> None:
        async with httpx2.AsyncClient(timeout=60) as client:
            try:
                url, body = f"http://127.0.0.1:{self.port}/example", {"text": text}
                response = await client.post(url, json=body, headers=self.headers)
            except httpx2.TransportError:
                return  # nobody listens: the message is lost, as the suite allows
            self.statuses.append(response.status_code)

    def text_of(self, data: Any) -> str:
        assert set(data) <= {"header", "body", "metadata"}
        assert data["header"]["Content-Type"] == ["application/json"]
        assert set(data["body"]) == {"text"}
        return str(data["body"]["text"])

    async def acknowledged(self) -> int:
        return self.statuses.count(200)

    async def close(self) -> None:
        for call in self.calls:
            call.cancel()
        await asyncio.gather(*self.calls, return_exceptions=True)


class TestWebhook(SourceSuite):
    kind = "webhook"
    bad_blocks = [  # noqa: RUF012
        ({"endpoint": "/a", "method": "POST"}, "port"),
        ({"port": "12000", "method": "POST"}, "endpoint"),
        ({"port": "http", "endpoint": "/a"}, "'http' is not a port number"),
        ({"port": "65536", "endpoint": "/a"}, "65536"),
        ({"port": "1", "endpoint": "/a", "method": "FETCH"}, "'FETCH'"),
        ({"port": "1", "endpoint": "/a/{b"}, "braces"),
        ({"port": "1", "endpoint": "/a", "serverCertSecret": {"name": "tls", "key": "crt"}}, "serverKeySecret"),
        ({"port": "1", "endpoint": "/a", "endpiont": "/a"}, "endpiont"),
    ]

    @pytest.fixture
    async def upstream(self) -> AsyncIterator[WebhookCaller]:
        caller = WebhookCaller()
        yield caller
        await caller.close()


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(timeout=60) as client:
        yield client


async def listening(stage: Stage) -> str:
    """Start the stage's webhook; its URL."""
    await stage.start()
    return stage.listening[-1]


def block(**fields: Any) -> dict[str, Any]:
    return {"port": str(free_port()), "endpoint": "/example", "method": "POST", **fields}


async def test_a_json_body_is_kept_as_it_was_sent_but_compact_and_escaped(client: httpx2.AsyncClient) -> None:
    # Given a body with blanks, a float that is whole, a huge integer, unsorted keys and characters that Go
    # escapes
    async with on_stage("webhook", block()) as stage:
        url = await listening(stage)
        text = '{ "z" : 1.0,\n "a": [ 12345678901234567890123 , "<b> & \u2028" ], "ü": "\\u00fc" }'
        # When it is posted
        response = await client.post(url, content=text, headers={"Content-Type": "application/json"})
        # Then the event holds the same text, as Go's encoding/json would have embedded it
        assert (response.status_code, response.text) == (200, "success")
        raw = stage.emitted[0].raw
        assert (
            '"body":{"z":1.0,"a":[12345678901234567890123,"\\u003cb\\u003e \\u0026 \\u2028"],"ü":"\\u00fc"}'.encode()
            in raw
        )


async def test_headers_are_lists_under_their_canonical_names_without_host(client: httpx2.AsyncClient) -> None:
    async with on_stage("webhook", block()) as stage:
        url = await listening(stage)
        # When a request repeats a header in two spellings
        await client.post(
            url, content="{}", headers=[("x-github-EVENT", "push"), ("X-GitHub-Event", "tag"), ("dnt", "1")]
        )
        # Then the event has it once, with both values
        header = stage.emitted[0].data["header"]
        assert header["X-Github-Event"] == ["push", "tag"]
        assert header["Dnt"] == ["1"]
        assert header["Content-Length"] == ["2"]
        assert "Host" not in header


async def test_a_get_request_carries_its_query(client: httpx2.AsyncClient) -> None:
    async with on_stage("webhook", block(method="GET")) as stage:
        url = await listening(stage)
        # When a GET has parameters that repeat, are blank, or are broken as Go sees it
        await client.get(url + "?a=1&b=x+y&a=%C3%BC&c&d=%zz&e;f=1")
        await client.get(url)
        # Then the body holds the sound ones as lists
        assert stage.emitted[0].data["body"] == {"a": ["1", "ü"], "b": ["x y"], "c": [""]}
        assert stage.emitted[1].data["body"] == {}


async def test_a_form_becomes_an_object_of_lists(client: httpx2.AsyncClient) -> None:
    async with on_stage("webhook", block()) as stage:
        url = await listening(stage)
        # When a form is posted
        response = await client.post(url, data={"payload": '{"a": 1}', "x": ["1", "2"]})
        # Then its fields stand in the body
        assert response.status_code == 200
        assert stage.emitted[0].data["body"] == {"payload": ['{"a": 1}'], "x": ["1", "2"]}
        # But a content type that says more is not the form type, and the body must be JSON
        response = await client.post(
            url, content="a=1", headers={"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        )
        assert response.status_code == 400
        # And a broken form is refused with a reason
        response = await client.post(
            url, content="a=%zz", headers={"Content-Type": "application/x-www-form-urlencoded"}
        )
        assert (response.status_code, "form body" in response.text) == (400, True)
        assert len(stage.emitted) == 1


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "put"])
async def test_other_methods_work_where_they_are_configured(method: str, client: httpx2.AsyncClient) -> None:
    async with on_stage("webhook", block(method=method)) as stage:
        url = await listening(stage)
        response = await client.request(method.upper(), url, content='{"a":1}')
        assert (response.status_code, stage.emitted[0].data["body"]) == (200, {"a": 1})


async def test_a_delete_without_a_body_carries_its_query(client: httpx2.AsyncClient) -> None:
    async with on_stage("webhook", block(method="DELETE")) as stage:
        url = await listening(stage)
        await client.delete(url + "?id=7")
        assert stage.emitted[0].data["body"] == {"id": ["7"]}


async def test_no_method_means_post(client: httpx2.AsyncClient) -> None:
    async with on_stage("webhook", block(method="")) as stage:
        url = await listening(stage)
        assert (await client.post(url, content="{}")).status_code == 200
        response = await client.get(url)
        assert (response.status_code, response.text) == (400, "http method does not match")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty"),
        (b"{", "not JSON"),
        (b'{"a":1}{', "not JSON"),
        (b'"\xff"', "UTF-8"),
        (b'"\\ud800"', "surrogate"),
        (b"[" * 600 + b"]" * 600, "deeper than 512"),
        (b'{"a":' * 100_000, "not JSON"),
        (b"NaN", "not JSON"),
        (b"1e999", "not JSON"),
    ],
)
async def test_a_body_that_is_not_json_is_refused_with_a_reason(
    body: bytes, says: str, client: httpx2.AsyncClient
) -> None:
    # Given a webhook
    async with on_stage("webhook", block()) as stage:
        url = await listening(stage)
        # When nonsense is posted
        response = await client.post(url, content=body)
        # Then the caller reads why, the refusal is counted, and nothing is emitted
        assert response.status_code == 400
        assert says in response.text
        assert len(stage.refused) == 1
        assert not stage.offered
        # And the next request is served
        assert (await client.post(url, content="[" * 512 + "]" * 512)).status_code == 200


async def test_a_body_over_the_limit_is_refused(client: httpx2.AsyncClient) -> None:
    # Given the default limit of 1 MiB
    async with on_stage("webhook", block()) as stage:
        url = await listening(stage)
        # When 2 MiB are posted, announced or in chunks
        large = b'"' + b"x" * (2 << 20) + b'"'

        async def chunks() -> AsyncIterator[bytes]:
            for start in range(0, len(large), 65536):
                yield large[start : start + 65536]

        for content in (large, chunks()):
            response = await client.post(url, content=content)
            # Then the caller reads 413 and the limit
            assert (response.status_code, "1048576 bytes" in response.text) == (413, True)
        # And the connection is still of use, up to the limit itself
        response = await client.post(url, content=b'"' + b"x" * ((1 << 20) - 2) + b'"')
        assert response.status_code == 200
        assert len(stage.offered) == 1
        assert len(stage.refused) == 2


async def test_the_token_is_required_and_never_shows(client: httpx2.AsyncClient) -> None:
    # Given a webhook with a token
    fields = block(authSecret={"name": "hook", "key": "token"})
    async with on_stage("webhook", fields, secrets={("hook", "token"): "s3cret"}) as stage:
        url = await listening(stage)

        async def post(headers: dict[str, str]) -> tuple[int, str]:
            response = await client.post(url, content="{}", headers=headers)
            return response.status_code, response.text

        # When requests come without, with the wrong and with the right token
        # Then only the last becomes an event
        assert await post({}) == (401, "Invalid Authorization Header")
        assert await post({"Authorization": "Basic s3cret"}) == (401, "Invalid Authorization Header")
        assert await post({"Authorization": "Bearer s3cre"}) == (401, "Invalid Auth token")
        assert await post({"Authorization": "Bearer s3cret"}) == (200, "success")
        assert [event.data["header"]["Authorization"] for event in stage.emitted] == [[MASK]]
        # And a rotated token counts at once
        stage.secrets["hook", "token"] = "new"
        assert await post({"Authorization": "Bearer s3cret"}) == (401, "Invalid Auth token")
        assert await post({"Authorization": "Bearer new"}) == (200, "success")
        # And a token that is missing or empty lets nobody in
        stage.secrets["hook", "token"] = ""
        assert await post({"Authorization": "Bearer x"}) == (500, "Error loading auth token")
        del stage.secrets["hook", "token"]
        assert await post({"Authorization": "Bearer new"}) == (500, "Error loading auth token")
        assert not any("s3cre" in reason for reason in stage.refused)


async def test_credentials_are_masked_where_no_token_is_asked_for(client: httpx2.AsyncClient) -> None:
    async with on_stage("webhook", block()) as stage:
        url = await listening(stage)
        await client.post(url, content="{}", headers={"Authorization": "Basic dXNlcjpwYXNz"})
        assert stage.emitted[0].data["header"]["Authorization"] == [MASK]


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (BusUnavailable("gone"), 503, "bus"),
        (EventTooLarge("the event is larger than the bus accepts"), 413, "larger"),
        (EventInvalid("no"), 400, "no"),
        (RuntimeError("password=hunter2"), 500, "failed to record event"),
    ],
)
async def test_a_failing_emit_is_answered_by_what_the_caller_can_do(
    error: Exception, status: int, says: str, client: httpx2.AsyncClient
) -> None:
    async with on_stage("webhook", block()) as stage:
        url = await listening(stage)
        stage.failure = error
        response = await client.post(url, content="{}")
        assert (response.status_code, says in response.text) == (status, True)
        assert "hunter2" not in response.text
        assert ("Retry-After" in response.headers) == (status == 503)
        # The source itself goes on
        stage.failure = None
        assert (await client.post(url, content="{}")).status_code == 200
        assert not stage.errors


async def test_a_bus_that_does_not_answer_gives_503_after_a_bounded_wait(client: httpx2.AsyncClient) -> None:
    # Given servers that wait a twentieth of a second for the bus, and a bus that is away
    async with on_stage("webhook", block()) as stage, HttpServers("127.0.0.1", wait_seconds=0.05) as http:
        stage.http = http
        url = await listening(stage)
        stage.close_gate()
        # When a request comes
        response = await client.post(url, content="{}")
        # Then the caller is told to come back, and the emit was given up
        assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
        assert (stage.cut_off, stage.emitted) == (1, [])
        # And once the bus is back, requests are recorded again
        stage.open_gate()
        assert (await client.post(url, content="{}")).status_code == 200
        await stage.stop()


async def test_requests_of_one_route_are_recorded_side_by_side(client: httpx2.AsyncClient) -> None:
    # Given a bus that takes its time
    async with on_stage("webhook", block()) as stage:
        url = await listening(stage)
        stage.close_gate()
        # When 64 requests come
        calls = [asyncio.create_task(client.post(url, content=b"%d" % number)) for number in range(64)]
        # Then all of them wait for the bus at once
        await eventually(lambda: stage.under_way == 64, "64 emits under way")
        stage.open_gate()
        assert {response.status_code for response in await asyncio.gather(*calls)} == {200}


async def test_what_is_emitted_is_one_json_object_with_upstreams_keys_in_order(client: httpx2.AsyncClient) -> None:
    async with on_stage("webhook", block(metadata={"b": "2", "a": "<1>"})) as stage:
        url = await listening(stage)
        await client.post(url, content="[]")
        raw = stage.emitted[0].raw
        assert list(orjson.loads(raw)) == ["header", "body", "metadata"]
        assert raw.endswith(b'"metadata":{"a":"\\u003c1\\u003e","b":"2"}}')
