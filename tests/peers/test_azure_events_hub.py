"""The ``azureEventsHub`` source: Microsoft's library against a double of Event Hubs on a real AMQP 1.0 engine, by TLS."""

from __future__ import annotations

import asyncio
import base64
import itertools
import logging
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar, Self

import orjson
import pytest

from argosy.bus._base import Bucket
from argosy.errors import BusError, EventTooLarge, SourceError
from argosy.manifests.fields import Json
from argosy.registry import wrap
from argosy.sources._raw import Raw
from tests.conformance.source import DictBucket, SourceSuite, Stage, Upstream, eventually, on_stage, raising
from tests.peers.azure_bus import HOST, KEY, AzureBus, by_tls, collect_quietly
from tests.unit.triggers.receivers import Answer, HttpServer

_numbers = itertools.count(1)
_SECRETS = {("azure", "name"): "root", ("azure", "key"): KEY}


class Sender(Upstream):
    """Puts events into one hub of two partitions, which nobody else uses."""

    redelivers = True
    keeps = True
    names_messages = True
    kind = "azureEventsHub"
    secrets = _SECRETS

    def __init__(self, bus: AzureBus) -> None:
        self.bus = bus
        self.hub = f"hub-{next(_numbers)}"
        self.bucket: Bucket = DictBucket()
        self.block = {
            "fqdn": HOST,
            "hubName": self.hub,
            "sharedAccessKeyName": {"name": "azure", "key": "name"},
            "sharedAccessKey": {"name": "azure", "key": "key"},
        }

    async def __aenter__(self) -> Self:
        await self.bus.set(hubs={self.hub: 2})
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    async def put(self, text: str | bytes, partition: int = 0, **fields: Any) -> int:
        return await self.bus.put(f"{self.hub}/Partitions/{partition}", text, **fields)

    async def send(self, text: str) -> None:
        await self.put(text, id=f"id of {text}")

    def text_of(self, data: Json) -> str:
        assert list(data)[:3] == ["id", "partitionKey", "body"] and list(data)[3:] in ([], ["metadata"])
        text = base64.b64decode(data["body"]).decode()
        assert data["id"] == f"id of {text}"
        return text

    async def acknowledged(self) -> int:
        noted = [await self.bucket.get(str(partition)) for partition in range(2)]
        return sum(int(entry.value) + 1 for entry in noted if entry is not None)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Outlives the test's event loop."""
    yield
    collect_quietly()


@pytest.fixture
async def upstream(bus: AzureBus, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sender]:
    async with by_tls(bus, f"DNS:{HOST}") as port, Sender(bus) as sender:
        monkeypatch.setenv("SSL_CERT_FILE", str(bus.folder / "ca.crt"))
        monkeypatch.setenv("ARGOSY_RESOLVE", f"{HOST}:5671=127.0.0.1:{port} other.invalid:5671=127.0.0.1:{port}")
        yield sender


@pytest.fixture
async def stage(upstream: Sender) -> AsyncIterator[Stage]:
    async with on_stage(
        upstream.kind, dict(upstream.block), secrets=dict(upstream.secrets), bucket=upstream.bucket
    ) as stage:
        yield stage


class TestAzureEventsHub(SourceSuite):
    kind = "azureEventsHub"
    bad_blocks: ClassVar[list[tuple[dict[str, Any], str]]] = [
        ({"fqdn": "n"}, "hubName"),
        ({"hubName": "h"}, "fqdn"),
        ({"fqdn": "a b/c", "hubName": "h"}, "is no name of a namespace"),
        ({"fqdn": "n", "hubName": "h", "sharedAccessKey": {"name": "s", "key": "k"}}, "together"),
        ({"fqdn": "n", "hubName": "h", "jsonBody": True}, "jsonBody"),
    ]

    @pytest.fixture
    async def upstream(self, upstream: Sender) -> Sender:
        return upstream


async def test_the_data_is_upstreams_to_the_byte_and_an_event_without_an_id_has_its_number(upstream: Sender) -> None:
    async with on_stage(
        upstream.kind, {**upstream.block, "metadata": {"m": "1"}}, secrets=dict(_SECRETS), bucket=upstream.bucket
    ) as stage:
        await stage.start()
        await upstream.put("<ä>", 1, id="m-1", annotations={"x-opt-partition-key": "<k>"})
        (event,) = await stage.events(1)
        data = '{"id":"m-1","partitionKey":"\\u003ck\\u003e","body":"PMOkPg==","metadata":{"m":"1"}}'
        assert event.raw.decode() == data
        assert event.id is not None and event.id.startswith("1/0/")
        raw = Raw("<ä>".encode(), {"id": "m-1", "partitionKey": "<k>"})
        assert wrap(upstream.kind, stage.context().config, raw).data.decode() == data
        await upstream.put("x", 1)
        (_, bare) = await stage.events(2)
        assert (bare.data["id"], bare.data["partitionKey"]) == ("1/1", "")


async def test_all_partitions_are_read_and_each_goes_on_where_it_stood(upstream: Sender, stage: Stage) -> None:
    # Given events from before the first start, which are not ours
    await upstream.put("old", 0)
    await stage.start()
    for number in range(3):
        await upstream.send(f"a{number}")
        await upstream.put(f"b{number}", 1, id=f"id of b{number}")
    await stage.events(6)
    await eventually(lambda: _noted(upstream, "0", 3))
    await stage.stop()
    # When events come to both while the source is away
    await upstream.send("a3")
    await upstream.put("b3", 1, id="id of b3")
    await stage.start()
    # Then they are there, in the order of their partitions, and nothing is repeated
    await stage.events(8)
    await upstream.settle()
    texts = [upstream.text_of(event.data) for event in stage.offered]
    assert [text for text in texts if text[0] == "a"] == ["a0", "a1", "a2", "a3"]
    assert [text for text in texts if text[0] == "b"] == ["b0", "b1", "b2", "b3"]
    assert len({event.id for event in stage.offered}) == 8


async def test_no_more_than_a_batch_is_under_way_and_reading_stops(upstream: Sender, stage: Stage) -> None:
    await stage.start()
    stage.close_gate()
    for number in range(200):
        await upstream.send(f"{number:03}")
    await eventually(lambda: stage.under_way >= 1)
    await upstream.settle()
    # Then the library has asked for no more than a batch ahead
    assert 1 <= stage.under_way <= 64 and (await upstream.bus.look())["credit"] <= 64
    stage.open_gate()
    await stage.events(200)
    assert [upstream.text_of(event.data) for event in stage.offered] == [f"{number:03}" for number in range(200)]


async def test_what_fails_is_read_again_and_nothing_behind_it_is_noted(upstream: Sender, stage: Stage) -> None:
    stage.only, stage.failure = b"id of bad", BusError("the bus does not take this one")
    await stage.start()
    for text in ("good", "bad", "fine"):
        await upstream.send(text)
    await eventually(lambda: len(stage.errors) >= 2)
    assert await _noted(upstream, "0", 0)
    stage.failure = None
    await eventually(lambda: _noted(upstream, "0", 2))
    assert {upstream.text_of(event.data) for event in stage.emitted} == {"good", "bad", "fine"}


async def test_an_event_that_the_bus_will_never_take_is_passed_over_and_counted(upstream: Sender, stage: Stage) -> None:
    await stage.start()
    stage.failure = EventTooLarge("the event has 2 MB, the bus takes 1 MB")
    await upstream.send("large")
    await eventually(lambda: len(stage.refused) == 1)
    stage.failure = None
    await upstream.send("good")
    (event,) = await stage.events(1)
    assert upstream.text_of(event.data) == "good" and not stage.errors
    assert upstream.hub in stage.refused[0] and "0/0" in stage.refused[0] and "2 MB" in stage.refused[0]


async def test_a_killed_service_is_come_back_to_and_nothing_is_missing(upstream: Sender, stage: Stage) -> None:
    await stage.start()
    stage.close_gate()
    await upstream.send("before")
    await eventually(lambda: stage.under_way == 1)
    await upstream.bus.restart()
    await upstream.send("after")
    stage.open_gate()
    await eventually(lambda: {upstream.text_of(each.data) for each in stage.emitted} == {"before", "after"})
    await eventually(lambda: _noted(upstream, "0", 1))
    assert len({event.id for event in stage.emitted}) == 2
    assert all(isinstance(error, SourceError) and HOST in str(error) for error in stage.errors)


async def test_a_service_that_stands_still_is_noticed(
    upstream: Sender, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("argosy.sources.azure_events_hub._LOOK_SECONDS", 1.0)
    monkeypatch.setattr("argosy.sources.azure_events_hub._ANSWER_SECONDS", 2.0)
    await stage.start()
    await upstream.send("one")
    await stage.events(1)
    assert not stage.errors
    upstream.bus.signal(signal.SIGSTOP)
    try:
        await eventually(lambda: len(stage.errors) >= 1)
    finally:
        upstream.bus.signal(signal.SIGCONT)
    assert "has not answered" in str(stage.errors[0])


async def test_a_hub_that_was_made_anew_is_read_from_its_beginning(upstream: Sender, stage: Stage) -> None:
    # Given a place that the hub's numbers have not reached
    await upstream.bucket.put("0", b"100")
    await upstream.send("first")
    # When the source starts, then it reads what is there
    await stage.start()
    (event,) = await stage.events(1)
    assert upstream.text_of(event.data) == "first"


async def test_a_partition_that_is_added_is_read_from_its_beginning(
    upstream: Sender, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("argosy.sources.azure_events_hub._LOOK_SECONDS", 0.5)
    await stage.start()
    # When a partition is added, and has an event before anybody has seen it
    await upstream.bus.set(hubs={upstream.hub: 3})
    await upstream.put("new", 2, id="id of new")
    # Then that event is there
    (event,) = await stage.events(1)
    assert upstream.text_of(event.data) == "new" and "other partitions" in str(stage.errors[0])


async def test_a_rotated_secret_is_taken_up_and_no_key_is_logged(
    upstream: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = {**_SECRETS, ("azure", "key"): "an-old-key"}
    async with on_stage(upstream.kind, dict(upstream.block), secrets=secrets, bucket=upstream.bucket) as stage:
        stage._task = asyncio.create_task(stage._run_for_ever())
        await eventually(lambda: bool(stage.errors))
        assert "refuses us" in str(stage.errors[0]) and upstream.hub in str(stage.errors[0])
        stage.secrets["azure", "key"] = KEY
        await eventually(lambda: bool(stage.listening))
        await upstream.send("one")
        await stage.events(1)
        told = f"{stage.errors} {stage.listening} {caplog.text}"
        assert KEY not in told and "an-old-key" not in told and "sig=" not in told


async def test_the_identity_of_the_process_is_enough(upstream: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    block = {"fqdn": HOST, "hubName": upstream.hub}
    async with HttpServer() as authority:
        await upstream.bus.set(jwt="t-1")
        token = Answer(body=orjson.dumps({"access_token": "t-1", "expires_in": 3600}))
        authority.answers["/metadata/identity/oauth2/token"] = token
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", authority.url)
        for name in ("TENANT_ID", "CLIENT_ID", "CLIENT_SECRET"):
            monkeypatch.delenv(f"AZURE_{name}", raising=False)
        async with on_stage(upstream.kind, block, bucket=upstream.bucket) as stage:
            await stage.start()
            await upstream.send("one")
            await stage.events(1)


async def test_failures_are_sentences(upstream: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    cases: list[tuple[dict[str, Json], str]] = [
        ({"hubName": "no-such-hub"}, "has no hub 'no-such-hub'"),
        ({"fqdn": "other.invalid"}, "certificate of other.invalid is not trusted"),
        ({"fqdn": "127.0.0.1:9"}, "nothing listens at 127.0.0.1:9"),
    ]
    for block, said in cases:
        async with raising(upstream.kind, {**upstream.block, **block}, secrets=dict(_SECRETS)) as sentence:
            assert said in sentence and KEY not in sentence


async def _noted(upstream: Sender, partition: str, number: int) -> bool:
    entry = await upstream.bucket.get(partition)
    return entry is not None and int(entry.value) == number
