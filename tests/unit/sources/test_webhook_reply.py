"""What a ``webhook`` answers (``reply``), seen by a client."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from pydantic import ValidationError

from argosy import registry
from argosy.errors import BusUnavailable
from tests.conformance.source import Stage, eventually, free_port, on_stage


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(timeout=60) as client:
        yield client


def replying(**reply: Any) -> Any:
    return on_stage("webhook", {"port": str(free_port()), "endpoint": "/in", "method": "POST", "reply": reply})


async def posted(client: httpx2.AsyncClient, stage: Stage, text: str, **headers: str) -> httpx2.Response:
    if not stage.listening:
        await stage.start()
    return await client.post(stage.listening[-1], content=text, headers=headers)


async def test_status_headers_and_body_come_from_the_manifest_and_the_event(client: httpx2.AsyncClient) -> None:
    async with replying(
        status=202,
        contentType="application/json",
        headers={"X-Event-Id": "{{ .id }}", "Location": "/orders/{{ .body.order }}"},
        body='{"id": "{{ .id }}", "order": {{ .body.order | toJson }}, "by": {{ index .header "X-By" 0 | toJson }}}',
    ) as stage:
        # When a request is posted
        answer = await posted(client, stage, '{"order": "a\\"b"}', **{"X-By": "me"})
        # Then the answer is what the templates make of it, and its id is the event's
        (event,) = stage.emitted
        assert event.id
        assert answer.status_code == 202
        assert answer.json() == {"id": event.id, "order": 'a"b', "by": "me"}
        assert answer.headers["content-type"] == "application/json"
        assert (answer.headers["x-event-id"], answer.headers["location"]) == (event.id, '/orders/a"b')
        # And another request has another id
        await posted(client, stage, '{"order": 1}', **{"X-By": "me"})
        assert stage.emitted[1].id != event.id


async def test_only_the_id_is_changed_where_nothing_else_is_said(client: httpx2.AsyncClient) -> None:
    async with replying() as stage:
        answer = await posted(client, stage, "{}")
        assert (answer.status_code, answer.text, answer.headers["content-type"]) == (
            200,
            "success",
            "text/plain; charset=utf-8",
        )


async def test_no_content_is_no_content(client: httpx2.AsyncClient) -> None:
    async with replying(status=204, body="ignored") as stage:
        answer = await posted(client, stage, "{}")
        assert (answer.status_code, answer.content) == (204, b"")
        assert "content-length" not in answer.headers and "content-type" not in answer.headers
        # And the connection goes on
        assert (await posted(client, stage, "{}")).status_code == 204


async def test_a_value_out_of_a_request_brings_no_header_of_its_own() -> None:
    async with replying(headers={"X-Said": "{{ .body.said }}"}) as stage:
        await stage.start()
        body = b'{"said": "a\\r\\nSet-Cookie: b=c\\r\\n\\r\\nHTTP/1.1 500"}'
        head = b"POST /in HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)

        def ask() -> bytes:
            with socket.create_connection(("127.0.0.1", int(str(stage.block["port"])))) as connection:
                connection.sendall(head + body)
                return b"".join(iter(lambda: connection.recv(4096), b""))

        answer = await asyncio.to_thread(ask)
        assert b"x-said: a Set-Cookie: b=c HTTP/1.1 500\r\n" in answer
        assert answer.count(b"HTTP/1.1 200") == 1 and b"\r\nset-cookie" not in answer.lower()


async def test_nothing_of_it_is_said_before_the_event_is_kept(client: httpx2.AsyncClient) -> None:
    async with replying(status=201, body="{{ .id }}") as stage:
        await stage.start()
        stage.close_gate()
        call = asyncio.create_task(posted(client, stage, "{}"))
        await eventually(lambda: stage.under_way == 1)
        await asyncio.sleep(0.15)
        assert not call.done()
        stage.open_gate()
        answer = await call
        assert (answer.status_code, answer.text) == (201, stage.emitted[0].id)


async def test_what_is_not_kept_is_answered_as_without(client: httpx2.AsyncClient) -> None:
    async with replying(status=202, body="{{ .id }}") as stage:
        assert (await posted(client, stage, "no JSON")).status_code == 400
        stage.failure = BusUnavailable("away")
        assert (await posted(client, stage, "{}")).status_code == 503


async def test_a_template_that_fails_costs_the_reply_and_not_the_event(
    client: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    async with replying(status=202, body='{{ index .header "X-By" 0 }}') as stage:
        for _ in range(2):
            answer = await posted(client, stage, "{}")
            assert (answer.status_code, answer.text) == (200, "success")
        assert len(stage.emitted) == 2
        assert caplog.text.count("a template of 'reply' fails") == 1
        assert (await posted(client, stage, "{}", **{"X-By": "me"})).text == "me"


@pytest.mark.parametrize(
    ("reply", "named"),
    [
        ({"status": 404}, "status"),
        ({"status": 199}, "status"),
        ({"status": 304}, "304"),
        ({"contentType": "a\r\nb"}, "contentType"),
        ({"headers": {"a b": "c"}}, "'a b'"),
        ({"headers": {"Content-Length": "1"}}, "Content-Length"),
        ({"headers": {"transfer-encoding": "chunked"}}, "transfer-encoding"),
        ({"headers": {"X-A": "{{ .id"}}, "headers.X-A"),
        ({"body": '{{ env "HOME" }}'}, "body"),
    ],
)
def test_a_reply_that_cannot_be_is_refused(reply: dict[str, Any], named: str) -> None:
    webhook = registry.source("webhook")
    assert webhook is not None
    with pytest.raises(ValidationError) as raised:
        webhook.config.model_validate({"port": "1", "endpoint": "/", "reply": reply})
    assert named in str(raised.value)
