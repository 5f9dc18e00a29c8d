"""The ``cloudevents`` source: the suite of every source, and the three modes of the HTTP binding."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar

import httpx2
import pytest

from argosy.errors import ConfigError
from tests.conformance.source import SourceSuite, Stage, on_stage
from tests.unit.sources.hook_sender import Delivery, HookSender, deliver, webhook, wrapped

STRUCTURED = {"Content-Type": "application/cloudevents+json; charset=UTF-8"}
BATCHED = {"Content-Type": "application/cloudevents-batch+json"}
HEADERS = {"ce-specversion": "1.0", "ce-type": "com.example.someevent", "ce-source": "/mycontext", "ce-id": "A234-1"}


def event(text: str, **fields: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"id-{text}",
        "source": "/mycontext",
        "type": "com.example.someevent",
        "datacontenttype": "application/json",
        "data": {"text": text},
        **fields,
    }


def structured(text: str) -> Delivery:
    return json.dumps(event(text)).encode(), STRUCTURED


class _Sender(HookSender):
    def text_of(self, data: Any) -> str:
        assert set(data) <= {"event", "metadata"}
        assert data["event"]["type"] == "com.example.someevent"
        return str(data["event"]["data"]["text"])


class TestCloudevents(SourceSuite):
    kind = "cloudevents"
    bad_blocks: ClassVar[list[tuple[dict[str, Any], str]]] = [
        ({}, "webhook"),
        ({"webhook": {"port": "1"}}, "endpoint"),
        ({"webhook": webhook(), "allowedOrigins": "example.com"}, "allowedOrigins"),
    ]

    @pytest.fixture
    async def upstream(self) -> AsyncIterator[_Sender]:
        sender = _Sender(structured)
        yield sender
        await sender.close()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with on_stage("cloudevents", {"webhook": webhook(), "allowedOrigins": ["eventgrid.azure.net"]}) as stage:
        yield stage


async def test_all_three_modes_make_the_same_event(stage: Stage) -> None:
    # Given one CloudEvent in binary, structured and batched mode
    wanted = event("one", id="A234-1", subject="ü & <b>")
    binary = {**HEADERS, "Content-Type": "application/json", "ce-subject": "%C3%BC%20%26 <b>"}
    for body, headers in (
        (b'{ "text": "one" }', binary),
        (json.dumps(wanted).encode(), STRUCTURED),
        (json.dumps([wanted]).encode(), BATCHED),
    ):
        # When it comes, then the data are the same, and so is the id
        assert (await deliver(stage, body, headers)).text == "success"
        assert stage.emitted[-1].data == {"event": wanted}
        assert wrapped(stage, body, headers).id == stage.emitted[-1].id
    (name,) = {each.id for each in stage.emitted}
    assert name and name.endswith("-A234-1")
    # And the same id of another source is another event
    await deliver(stage, json.dumps({**wanted, "source": "/other"}).encode(), STRUCTURED)
    assert stage.emitted[-1].id != name


@pytest.mark.parametrize(
    ("body", "kind", "data"),
    [
        (b"", "application/json", {}),
        (b"[1]", "application/vnd.example+json", {"data": [1]}),
        (b"hello", "text/plain; charset=utf-8", {"data": "hello"}),
        (b"<a/>", "application/soap+xml", {"data": "<a/>"}),
        (b"\xff\xfe", "text/plain", {"data_base64": base64.b64encode(b"\xff\xfe").decode()}),
        (b"\x00\x01", "application/octet-stream", {"data_base64": "AAE="}),
    ],
)
async def test_data_of_any_sort_are_carried(stage: Stage, body: bytes, kind: str, data: Mapping[str, Any]) -> None:
    assert (await deliver(stage, body, {**HEADERS, "Content-Type": kind})).status_code == 200
    found = stage.emitted[0].data["event"]
    assert {name: found[name] for name in found if name.startswith("data")} == {"datacontenttype": kind, **data}


async def test_a_quoted_header_and_extensions_are_read(stage: Stage) -> None:
    headers = {**HEADERS, "ce-traceparent": "00-4bf9-00f0-01", "ce-comment": '"say \\"hi\\""'}
    assert (await deliver(stage, b"{}", headers)).status_code == 200
    found = stage.emitted[0].data["event"]
    assert (found["traceparent"], found["comment"]) == ("00-4bf9-00f0-01", 'say "hi"')


async def test_a_batch_is_checked_before_any_of_it_is_kept(stage: Stage) -> None:
    body = json.dumps([event("one"), event("two")]).encode()
    assert (await deliver(stage, body, BATCHED)).status_code == 200
    assert [each.data["event"]["data"]["text"] for each in stage.emitted] == ["one", "two"]
    with pytest.raises(ConfigError, match="2 events"):
        wrapped(stage, body, BATCHED)
    assert (await deliver(stage, b"[]", BATCHED)).status_code == 200
    bad = json.dumps([event("three"), {**event("four"), "id": ""}]).encode()
    assert (await deliver(stage, bad, BATCHED)).status_code == 400
    assert len(stage.offered) == 2


@pytest.mark.parametrize(
    ("body", "headers", "said"),
    [
        (b"{}", {"Content-Type": "application/json"}, "no CloudEvent"),
        (b"{", STRUCTURED, "JSON"),
        (b"[]", STRUCTURED, "object"),
        (b"{}", BATCHED, "array"),
        (b"[1]", BATCHED, "no CloudEvent"),
        (b"{}", {"Content-Type": "application/cloudevents+avro"}, "avro"),
        (json.dumps(event("x", specversion="0.3")).encode(), STRUCTURED, "version"),
        (json.dumps(event("x", source=1)).encode(), STRUCTURED, "'source'"),
        (json.dumps(event("x", type="")).encode(), STRUCTURED, "'type'"),
        (json.dumps(event("x", data_base64="")).encode(), STRUCTURED, "both"),
        (json.dumps(event("x", camelCase="")).encode(), STRUCTURED, "'camelCase'"),
        (b"{", {**HEADERS, "Content-Type": "application/json"}, "JSON"),
        (b"{}", {name: value for name, value in HEADERS.items() if name != "ce-id"}, "'id'"),
    ],
)
async def test_what_is_no_cloudevent_is_refused_with_a_reason(
    stage: Stage, body: bytes, headers: Mapping[str, str], said: str
) -> None:
    response = await deliver(stage, body, headers)
    assert (response.status_code, said in response.text) == (400, True), response.text
    assert (stage.offered, len(stage.refused)) == ([], 1)


async def test_senders_that_ask_are_told_whether_they_may(stage: Stage) -> None:
    await stage.start()
    async with httpx2.AsyncClient() as client:

        async def asked(**headers: str) -> httpx2.Response:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            return await client.request("OPTIONS", stage.listening[0], headers=given)

        response = await asked(WebHook_Request_Origin="eventgrid.azure.net", WebHook_Request_Rate="120")
        assert response.status_code == 200
        assert response.headers["WebHook-Allowed-Origin"] == "eventgrid.azure.net"
        assert response.headers["WebHook-Allowed-Rate"] == "*"
        for refused in (await asked(WebHook_Request_Origin="evil.example"), await asked()):
            assert (refused.status_code, "WebHook-Allowed-Origin" in refused.headers) == (403, False)
        assert (await client.get(stage.listening[0])).status_code == 405
    assert stage.offered == []
