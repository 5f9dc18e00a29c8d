"""The ``slack`` trigger against a double of Slack's documented Web API on a real HTTP server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import orjson
import pytest

from argosy.bus.memory import MemoryBus
from argosy.errors import BusError, Rejected, RetryAfter, TriggerError
from argosy.manifests.fields import Json
from tests.conformance.source import DictBucket
from tests.conformance.trigger import Receiver, Stage, TriggerSuite
from tests.unit.triggers.receivers import Answer, HttpServer, Request

TOKEN = "xoxb-s3cr3t"
SECRETS = {("slack", "token"): TOKEN}
BLOCK: dict[str, Json] = {"slackToken": {"name": "slack", "key": "token"}, "channel": "#ops", "message": "hello"}


class SlackApi(HttpServer):
    """What chat.postMessage answers, by its documentation: a token by header, JSON, ``ok`` and ``error``, a time stamp for each message."""

    says: str = ""
    """The error that it answers; empty means none."""

    def __init__(self) -> None:
        super().__init__()
        self.posted: list[dict[str, Any]] = []
        self.broken: Answer | None = None

    def _write(self, writer: asyncio.StreamWriter, request: Request) -> bool:
        self.default = self.broken or Answer(
            headers={"Content-Type": "application/json; charset=utf-8"}, body=orjson.dumps(self._answered(request))
        )
        return super()._write(writer, request)

    def _answered(self, request: Request) -> dict[str, Any]:
        if (request.method, request.target) != ("POST", "/api/chat.postMessage"):
            return {"ok": False, "error": "unknown_method"}
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return {"ok": False, "error": "invalid_auth"}
        if not request.headers["content-type"].startswith("application/json"):
            return {"ok": False, "error": "invalid_post_type"}
        if self.says:
            return {"ok": False, "error": self.says, "response_metadata": {"messages": [f"[ERROR] it is {self.says}"]}}
        message = orjson.loads(request.body)
        if not {"text", "attachments", "blocks"} & set(message):
            return {"ok": False, "error": "no_text"}
        self.posted.append(message)
        return {"ok": True, "channel": "C01", "ts": f"1700000000.{len(self.posted):06}", "message": message}


class _Slack(Receiver):
    secrets: ClassVar[dict[tuple[str, str], str]] = SECRETS
    hastened: ClassVar[dict[str, Json]] = {"argosy.triggers.slack._SECONDS": 0.3}
    private = (TOKEN,)

    def __init__(self, api: SlackApi) -> None:
        self.api = api
        self.address = f"127.0.0.1:{api.port}"
        self.block = {**BLOCK, "apiURL": f"{api.url}/api"}

    async def effects(self) -> list[str]:
        return [message["metadata"]["event_payload"]["action_id"] for message in self.api.posted]

    async def arrived(self) -> Json:
        return self.api.requests[-1].shown()

    def speak_tls(self, patch: pytest.MonkeyPatch) -> None:
        self.block = {**self.block, "apiURL": str(self.block["apiURL"]).replace("http:", "https:")}

    async def limit(self, patch: pytest.MonkeyPatch) -> float:
        self.api.broken = Answer(429, {"Retry-After": "7"})
        return 7

    async def knows(self, private: str) -> bool:
        return any(private in request.headers["authorization"] for request in self.api.requests)

    async def refuse(self) -> None:
        self.api.says = f"channel_not_found for {TOKEN}"

    async def fail(self) -> None:
        self.api.broken = Answer(503, body=TOKEN.encode())

    async def hold(self) -> None:
        self.api.hold()

    async def release(self) -> None:
        self.api.says, self.api.broken = "", None
        self.api.release()

    async def held(self) -> int:
        return self.api.waiting


@pytest.fixture
async def api() -> AsyncIterator[SlackApi]:
    async with SlackApi() as api:
        yield api


@pytest.fixture
async def fire(api: SlackApi) -> AsyncIterator[Any]:
    async with MemoryBus() as bus:
        stage = Stage("slack", secrets=SECRETS, bucket=bus.bucket("trigger"))

        async def fire(*blocks: dict[str, Json]) -> Any:
            """Each in a process of its own, as it were; the last outcome."""
            outcome = None
            for block in blocks:
                async with stage.open() as trigger:
                    outcome = await stage.fire(trigger, {**BLOCK, "apiURL": f"{api.url}/api/", **block})
            return outcome

        yield fire


class TestSlack(TriggerSuite):
    kind = "slack"
    bad_blocks: ClassVar[list[tuple[dict[str, Json], str]]] = [
        ({}, "slackToken"),
        ({**BLOCK, "channel": 1}, "channel"),
        ({**BLOCK, "sender": {"icon": "rocket"}}, "'rocket' is no emoji"),
        ({**BLOCK, "thread": {"key": "a"}}, "thread"),
    ]

    @pytest.fixture
    async def receiver(self, api: SlackApi) -> _Slack:
        return _Slack(api)


async def test_a_message_has_all_that_the_block_says(api: SlackApi, fire: Any) -> None:
    outcome = await fire(
        {
            "attachments": '[{"text": "a"}]',
            "blocks": '[{"type": "divider"}]',
            "sender": {"username": "argosy", "icon": ":rocket:"},
        }
    )
    assert api.posted == [
        {
            "channel": "ops",
            "text": "hello",
            "attachments": [{"text": "a"}],
            "blocks": [{"type": "divider"}],
            "username": "argosy",
            "icon_emoji": ":rocket:",
            "metadata": {"event_type": "argosy_action", "event_payload": {"action_id": "action-1"}},
        }
    ]
    assert outcome.message == "posted to channel 'ops'"
    assert outcome.detail == {"channel": "C01", "ts": "1700000000.000001"}
    await fire({"channel": "C02", "message": "", "blocks": "[]", "sender": {"icon": "https://example.com/a.png"}})
    assert (api.posted[1]["channel"], api.posted[1]["icon_url"]) == ("C02", "https://example.com/a.png")


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"channel": "#"}, "channel is empty"),
        ({"message": ""}, "nothing to post"),
        ({"blocks": "{"}, "blocks is not JSON"),
        ({"attachments": '{"text": "a"}'}, "attachments must be a JSON array"),
    ],
)
async def test_what_cannot_be_posted_is_rejected_before_it_is_sent(
    api: SlackApi, fire: Any, block: dict[str, Json], said: str
) -> None:
    with pytest.raises(Rejected, match=said):
        await fire(block)
    assert api.requests == []


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("not_in_channel", "invite the app to the channel"),
        ("token_revoked", "see slackToken"),
        ("invalid_blocks", r"invalid_blocks: \[ERROR\] it is invalid_blocks"),
    ],
)
async def test_what_slack_refuses_is_rejected_with_a_remedy(api: SlackApi, fire: Any, word: str, said: str) -> None:
    api.says = word
    with pytest.raises(Rejected, match=said):
        await fire({})


async def test_what_slack_cannot_do_now_is_tried_again_when_it_says(api: SlackApi, fire: Any) -> None:
    api.says = "internal_error"
    with pytest.raises(TriggerError, match="internal_error") as error:
        await fire({})
    assert not isinstance(error.value, Rejected)
    api.broken = Answer(429, {"Retry-After": "30"})
    with pytest.raises(RetryAfter) as wait:
        await fire({})
    assert wait.value.seconds == 30
    for answer in (Answer(200, body=b"<html>"), Answer(404, body=b"{}")):
        api.broken = answer
        with pytest.raises(TriggerError, match="something else than Slack's JSON"):
            await fire({})


async def test_messages_of_one_key_are_a_thread_also_after_a_restart(api: SlackApi, fire: Any) -> None:
    one: dict[str, Json] = {"thread": {"messageAggregationKey": "one"}}
    other: dict[str, Json] = {"thread": {"messageAggregationKey": "other", "broadcastMessageToChannel": True}}
    outcome = await fire(one, other, {}, one, other, {**one, "channel": "elsewhere"}, one)
    seen = [(message.get("thread_ts"), message.get("reply_broadcast")) for message in api.posted]
    first, second = "1700000000.000001", "1700000000.000002"
    assert seen == [
        (None, None),
        (None, None),
        (None, None),
        (first, False),
        (second, True),
        (None, None),
        (first, False),
    ]
    assert outcome.message == "answered in a thread of channel 'ops'"


async def test_two_at_once_make_one_thread(api: SlackApi) -> None:
    stage = Stage("slack", secrets=SECRETS)
    block = {**BLOCK, "apiURL": f"{api.url}/api", "thread": {"messageAggregationKey": "one"}}
    async with stage.open() as trigger:
        await asyncio.gather(*(stage.fire(trigger, block, id=str(number)) for number in range(10)))
    assert sum("thread_ts" not in message for message in api.posted) == 1


async def test_a_thousand_messages_need_one_connection(api: SlackApi) -> None:
    stage = Stage("slack", secrets=SECRETS)
    async with stage.open() as trigger:
        for number in range(1000):
            await stage.fire(trigger, {**BLOCK, "apiURL": f"{api.url}/api"}, id=str(number))
    assert (len(api.posted), api.connections) == (1000, 1)


async def test_only_the_threads_used_last_are_remembered(api: SlackApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("argosy.triggers.slack._MOST_THREADS", 3)
    async with MemoryBus() as bus:
        bucket = bus.bucket("trigger")
        stage = Stage("slack", secrets=SECRETS, bucket=bucket)
        async with stage.open() as trigger:
            for number in range(10):
                thread: Json = {"messageAggregationKey": str(number)}
                await stage.fire(trigger, {**BLOCK, "apiURL": f"{api.url}/api", "thread": thread})
        entry = await bucket.get("threads")
        assert entry is not None
        assert list(orjson.loads(entry.value)) == ["ops 7", "ops 8", "ops 9"]


async def test_a_thread_that_the_bus_does_not_keep_posts_no_message_twice(
    api: SlackApi, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a bus that takes nothing as large as what is known of threads
    class Full(DictBucket):
        async def put(self, key: str, value: bytes, *, revision: int | None = None) -> int:
            raise BusError("the value is larger than the bus takes")

    stage = Stage("slack", secrets=SECRETS, bucket=Full())
    async with stage.open() as trigger:
        # When a thread begins, then its message is posted, and the action has succeeded
        thread: Json = {"messageAggregationKey": "one"}
        outcome = await stage.fire(trigger, {**BLOCK, "apiURL": f"{api.url}/api", "thread": thread})
    assert outcome.message == "posted to channel 'ops'"
    assert len(api.posted) == 1
    assert "'one' could not be kept: the value is larger than the bus takes" in caplog.text
