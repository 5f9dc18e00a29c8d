"""The ``mns`` source against a double of Alibaba Cloud MNS that checks every signature."""

from __future__ import annotations

import itertools
import logging
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest

from argosy.errors import BusError, EventTooLarge, SourceError
from argosy.manifests.fields import Json
from argosy.registry import wrap
from argosy.sources._in_flight import LIMIT
from argosy.sources._raw import Raw
from argosy.sources.mns import signature
from tests.conformance.source import SourceSuite, Stage, Upstream, eventually, on_stage, raising
from tests.unit.sources.mns_double import MnsDouble

_numbers = itertools.count(1)


class Sender(Upstream):
    """Puts messages into one queue."""

    redelivers = True
    keeps = True
    names_messages = True

    def __init__(self, double: MnsDouble) -> None:
        self.double = double
        self.queue = f"queue-{next(_numbers)}"
        double.queues[self.queue] = []
        self.secrets = {("mns", "id"): double.key, ("mns", "secret"): double.secret}  # type: ignore[misc]
        self.block = {
            "queue": self.queue,
            "endpoint": f"http://127.0.0.1:{double.port}",
            "accessKey": {"name": "mns", "key": "id"},
            "secretKey": {"name": "mns", "key": "secret"},
            "jsonBody": True,
        }

    async def send(self, text: str) -> None:
        self.double.put(self.queue, f'{{"text": "{text}"}}')

    def text_of(self, data: Json) -> str:
        assert list(data)[:2] == ["messageId", "body"] and list(data)[2:] in ([], ["metadata"])
        return str(data["body"]["text"])

    async def acknowledged(self) -> int:
        return self.double.deleted


@pytest.fixture
async def upstream() -> AsyncIterator[Sender]:
    async with MnsDouble() as double:
        yield Sender(double)


@pytest.fixture
async def stage(upstream: Sender) -> AsyncIterator[Stage]:
    async with on_stage("mns", dict(upstream.block), secrets=dict(upstream.secrets)) as stage:
        yield stage


class TestMns(SourceSuite):
    kind = "mns"
    bad_blocks: ClassVar[list[tuple[dict[str, Any], str]]] = [
        ({"endpoint": "http://a"}, "queue"),
        ({"queue": "q"}, "endpoint"),
        ({"queue": "q", "endpoint": "a.example"}, "is no URL"),
        ({"queue": "q", "endpoint": "http://a", "region": "r"}, "region"),
    ]

    @pytest.fixture
    async def upstream(self, upstream: Sender) -> Sender:
        return upstream


def test_the_signature_is_that_of_the_vendors_example() -> None:
    # alibabacloud.com "How do I obtain the signature string of an API request", whose last characters are masked.
    headers = {"Date": "Thu, 09 Jul 2015 03:01:34 GMT", "x-mns-version": "2015-06-06"}
    assert signature("GET", "/MyQueue", headers, "TestAccessSecret").startswith("uwx3yeWoILzgmvesW0BQSgfM")


async def test_the_data_is_upstreams_to_the_byte_and_json_is_json_where_asked_for(upstream: Sender) -> None:
    async with on_stage("mns", {**upstream.block, "jsonBody": False}, secrets=dict(upstream.secrets)) as stage:
        await stage.start()
        name = upstream.double.put(upstream.queue, '{"a": "<ä>"}')
        (event,) = await stage.events(1)
        assert event.raw.decode() == f'{{"messageId":"{name}","body":"{{\\"a\\": \\"\\u003cä\\u003e\\"}}"}}'
        assert event.id == name
        raw = Raw('{"a": "<ä>"}'.encode(), {"messageId": name})
        assert wrap("mns", stage.context().config, raw) == (event.raw, name)


async def test_no_more_than_the_limit_is_taken(upstream: Sender, stage: Stage) -> None:
    await stage.start()
    stage.close_gate()
    for number in range(100):
        await upstream.send(f"{number:03}")
    await eventually(lambda: stage.under_way == LIMIT)
    await upstream.settle()
    assert stage.under_way == sum(each.taken for each in upstream.double.queues[upstream.queue]) == LIMIT
    stage.open_gate()
    await stage.events(100)
    assert [upstream.text_of(event.data) for event in stage.offered] == [f"{number:03}" for number in range(100)]


@pytest.mark.parametrize("failure", ["not JSON", "too large"])
async def test_a_message_that_cannot_become_an_event_is_counted_and_deleted(
    upstream: Sender, stage: Stage, failure: str
) -> None:
    await stage.start()
    if failure == "too large":
        stage.failure = EventTooLarge("the event has 2 MB, the bus takes 1 MB")
    upstream.double.put(upstream.queue, '{"text": "x"}' if failure == "too large" else "no JSON")
    await eventually(lambda: len(stage.refused) == 1 and upstream.double.deleted == 1)
    stage.failure = None
    await upstream.send("good")
    (event,) = await stage.events(1)
    assert upstream.text_of(event.data) == "good" and upstream.queue in stage.refused[0] and not stage.errors


async def test_a_message_whose_event_waits_is_kept_from_others(
    upstream: Sender, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("argosy.sources.mns._VISIBILITY_SECONDS", 1)
    monkeypatch.setattr("argosy.sources.mns._SHORTEST_SECONDS", 0.1)
    upstream.double.visibility_seconds = 1.0
    await stage.start()
    stage.close_gate()
    await upstream.send("one")
    await eventually(lambda: len(upstream.double.extended) >= 4)
    stage.open_gate()
    await stage.events(1)
    await eventually(lambda: upstream.double.deleted == 1)
    assert len(stage.offered) == 1


async def test_what_the_bus_refuses_is_given_back_and_its_neighbours_are_deleted(
    upstream: Sender, stage: Stage
) -> None:
    stage.only, stage.failure = b"bad", BusError("the bus does not take this one")
    for text in ("good", "bad", "fine"):
        await upstream.send(text)
    await stage.start()
    await eventually(lambda: len(stage.errors) >= 2 and upstream.double.deleted == 2)
    stage.failure = None
    await stage.events(3)
    await eventually(lambda: upstream.double.deleted == 3)


async def test_a_killed_service_is_come_back_to_and_nothing_is_missing(upstream: Sender, stage: Stage) -> None:
    upstream.double.visibility_seconds = 1.0
    await stage.start()
    stage.close_gate()
    await upstream.send("before")
    await eventually(lambda: stage.under_way == 1)
    await upstream.double.kill()
    stage.open_gate()
    await eventually(lambda: bool(stage.errors))
    await upstream.double.open()
    await upstream.send("after")
    await eventually(lambda: {upstream.text_of(each.data) for each in stage.emitted} == {"before", "after"})
    await eventually(lambda: not upstream.double.queues[upstream.queue])
    assert len({event.id for event in stage.emitted}) == 2
    assert all(isinstance(error, SourceError) and "127.0.0.1" in str(error) for error in stage.errors)


async def test_a_service_that_stands_still_is_noticed(
    upstream: Sender, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("argosy.sources.mns._WAIT_SECONDS", -9)
    await stage.start()
    upstream.double.awake.clear()
    await eventually(lambda: bool(stage.errors))
    upstream.double.awake.set()
    assert "has not answered" in str(stage.errors[0])


async def test_a_rotated_secret_is_taken_up_and_no_secret_is_logged(
    upstream: Sender, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await stage.start()
    old, upstream.double.secret = upstream.double.secret, "another-secret"
    await eventually(lambda: bool(stage.errors))
    assert "403 SignatureNotMatch; check accessKey" in str(stage.errors[0])
    stage.secrets["mns", "secret"] = "another-secret"
    await upstream.send("one")
    await stage.events(1)
    told = f"{stage.errors} {stage.listening} {caplog.text}"
    assert old not in told and "another-secret" not in told


async def test_failures_are_sentences(upstream: Sender) -> None:
    cases: list[tuple[dict[str, Json], str]] = [
        ({"queue": "no-such"}, "404 QueueNotExist; make the queue"),
        ({"endpoint": "http://127.0.0.1:9"}, "queue '{}' of 127.0.0.1:9 cannot be reached"),
        ({"accessKey": None}, "needs accessKey and secretKey"),
    ]
    for block, said in cases:
        async with raising("mns", {**upstream.block, **block}, secrets=dict(upstream.secrets)) as sentence:
            assert said.format(upstream.queue) in sentence
