"""The ``redisStream`` source against a real Redis: the suite of every source, and what is a stream's own."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import Any, ClassVar, Self

import orjson
import pytest

from argosy.errors import EventInvalid, SourceError
from argosy.manifests.fields import Json
from argosy.registry import wrap
from argosy.sources._raw import Raw
from tests.brokers.sources.redis_server import PASSWORD, RedisServer
from tests.brokers.sources.suite import BrokerSuite, BrokerUpstream
from tests.conformance.source import SourceSuite, Stage, eventually, raising

_numbers = itertools.count(1)
_GROUP = "argo-events-cg"
_SECRETS = {("redis", "password"): PASSWORD}


class Writer(BrokerUpstream):
    """A client that adds to one stream, which nobody else uses."""

    redelivers = True
    keeps = True
    names_messages = True
    kind = "redisStream"
    server: RedisServer
    secrets = _SECRETS

    def __init__(self, server: RedisServer) -> None:
        super().__init__(server)
        self.stream = self.place = f"stream-{next(_numbers)}"
        self.block = {
            "hostAddress": server.address,
            "username": "argosy",
            "password": {"name": "redis", "key": "password"},
            "streams": [self.stream],
        }

    async def __aenter__(self) -> Self:
        self.client = self.server.client()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.client.aclose()

    async def add(self, *, id: str = "*", **values: str | bytes) -> str:
        """Add an entry; its id."""
        return str((await self.client.xadd(self.stream, dict(values), id)).decode())  # type: ignore[arg-type]

    async def send(self, text: str) -> None:
        await self.add(text=text)

    def at(self, host: str) -> dict[str, Json]:
        return {"hostAddress": host}

    def text_of(self, data: Json) -> str:
        assert list(data) == ["stream", "message_id", "values"] or list(data)[3:] == ["metadata"]
        assert data["stream"] == self.stream
        return str(data["values"]["text"])

    async def group(self) -> dict[str, Any]:
        """The group as the server sees it."""
        (found,) = await self.client.xinfo_groups(self.stream)
        return dict(found)

    async def pending(self) -> int:
        """How many entries were delivered and not acknowledged."""
        return int((await self.group())["pending"])

    async def acknowledged(self) -> int:
        group = await self.group()
        return int(group["entries-read"] or 0) - int(group["pending"])


@pytest.fixture
async def upstream(redis_server: RedisServer) -> AsyncIterator[Writer]:
    async with Writer(redis_server) as writer:
        yield writer


class TestRedisStream(BrokerSuite, SourceSuite):
    kind = "redisStream"
    server = RedisServer
    publisher = Writer
    nobody: ClassVar[dict[str, Json]] = {"hostAddress": "127.0.0.1:9"}
    by_tls = "rediss://{}:6379"
    login_refused = "refuses the user"
    impatient: ClassVar[dict[str, float]] = {"_redis._ANSWER_SECONDS": 1.0, "redis_stream._BLOCK_MILLISECONDS": 200}
    bounded = False
    bad_blocks: ClassVar[list[tuple[dict[str, Json], str]]] = [
        ({"streams": ["s"]}, "hostAddress"),
        ({"hostAddress": "redis:6379"}, "streams"),
        ({"hostAddress": "redis:6379", "streams": []}, "streams"),
        ({"hostAddress": "redis:6379", "streams": [""]}, "empty name"),
        ({"hostAddress": "redis://redis:6379", "streams": ["s"]}, "hostAddress"),
        ({"hostAddress": "redis:6379", "streams": ["s"], "db": -1}, "db"),
        ({"hostAddress": "redis:6379", "streams": ["s"], "maxMsgCountPerRead": -1}, "maxMsgCountPerRead"),
        ({"hostAddress": "redis:6379", "streams": ["s"], "tls": {}}, "caCertSecret"),
        ({"hostAddress": "redis:6379", "streams": ["s"], "jsonBody": True}, "jsonBody"),
    ]


async def test_the_data_has_upstreams_keys_and_the_id_names_stream_and_entry(upstream: Writer, stage: Stage) -> None:
    # Given a source with metadata
    stage.block["metadata"] = {"m": "1"}
    await stage.start()
    # When an entry with several fields comes, one of them no UTF-8
    entry = await upstream.add(z="<1>", a="ä", broken=b"\xff")
    # Then the data is upstream's, to the byte, and what wrap makes of the same entry is the same
    (event,) = await stage.events(1)
    head = f'"stream":"{upstream.stream}","message_id":"{entry}"'
    values = '"values":{"a":"ä","broken":"\ufffd","z":"\\u003c1\\u003e"}'
    assert event.raw.decode() == f'{{{head},{values},"metadata":{{"m":"1"}}}}'
    assert event.id == f"{upstream.stream}/{entry}"
    config, headers = stage.context().config, {"stream": upstream.stream, "messageId": entry}
    written = orjson.dumps({"z": "<1>", "a": "ä", "broken": "\ufffd"})
    assert wrap("redisStream", config, Raw(written, headers)) == (event.raw, event.id)
    for wrong in (b"no", b"[]", b'{"a": 1}'):
        with pytest.raises(EventInvalid, match="JSON object of texts"):
            wrap("redisStream", config, Raw(wrong))


async def test_a_new_group_begins_with_what_comes_after_it_as_in_argo_events(upstream: Writer, stage: Stage) -> None:
    # Given a stream that has an entry, and no group
    await upstream.send("old")
    # When the source starts, and another entry comes
    await stage.start()
    await upstream.send("new")
    # Then only that one is an event
    await stage.events(1)
    await upstream.settle()
    assert [upstream.text_of(event.data) for event in stage.offered] == ["new"]
    assert (await upstream.group())["name"] == _GROUP.encode()


async def test_what_upstreams_pod_left_pending_is_taken_over(upstream: Writer, stage: Stage) -> None:
    # Given entries that upstream's consumer has read and not acknowledged
    await upstream.client.xgroup_create(upstream.stream, _GROUP, "$", mkstream=True)
    for number in range(25):
        await upstream.send(f"{number:02}")
    await upstream.client.xreadgroup(_GROUP, "argo-events-worker", {upstream.stream: ">"}, count=25)
    # When the source starts
    await stage.start()
    # Then they are events, in order, and acknowledged, and new ones follow
    await upstream.send("25")
    events = await stage.events(26)
    assert [upstream.text_of(event.data) for event in events] == [f"{number:02}" for number in range(26)]
    await eventually(lambda: _none_pending(upstream))


async def test_a_failed_entry_stays_pending_while_its_neighbours_are_acknowledged(
    upstream: Writer, stage: Stage
) -> None:
    # Given a bus that refuses one entry of a batch
    await stage.start()
    await stage.stop()
    stage.only, stage.failure = b"bad", SourceError("the bus does not take this one")
    for text in ("good", "bad", "fine"):
        await upstream.send(text)
    # When the batch was read
    await stage.start()
    await eventually(lambda: len(stage.errors) >= 2)
    # Then the others are stored once and acknowledged, and it alone is read again and again
    assert [upstream.text_of(event.data) for event in stage.emitted] == ["good", "fine"]
    assert await upstream.pending() == 1
    # And once the bus takes it, it is there
    stage.failure = None
    await stage.events(3)
    await eventually(lambda: _none_pending(upstream))
    assert [upstream.text_of(event.data) for event in stage.emitted] == ["good", "fine", "bad"]


async def test_a_pending_entry_that_was_deleted_is_counted_and_not_read_for_ever(
    upstream: Writer, stage: Stage
) -> None:
    # Given an entry that was delivered, and deleted before it was stored
    await stage.start()
    await stage.stop()
    entry = await upstream.add(text="gone")
    await upstream.client.xreadgroup(_GROUP, "argo-events-worker", {upstream.stream: ">"})
    await upstream.client.xdel(upstream.stream, entry)
    # When the source starts
    await stage.start()
    await upstream.send("next")
    # Then it says so and goes on
    (event,) = await stage.events(1)
    assert upstream.text_of(event.data) == "next"
    (sentence,) = stage.refused
    assert entry in sentence and "deleted" in sentence
    await eventually(lambda: _none_pending(upstream))


async def test_no_more_than_one_batch_is_taken_while_the_bus_does_not_answer(upstream: Writer, stage: Stage) -> None:
    # Given batches of five, and a bus that does not answer
    stage.block["maxMsgCountPerRead"] = 5
    await stage.start()
    stage.close_gate()
    await stage.stop()
    texts = [f"{number:02}" for number in range(12)]
    for text in texts:
        await upstream.send(text)
    # When twelve entries are there
    await stage.start()
    await eventually(lambda: stage.under_way == 5)
    await upstream.settle()
    # Then five are under way, and the server has delivered no more
    assert (stage.under_way, await upstream.pending()) == (5, 5)
    # And all arrive in order
    stage.open_gate()
    await stage.events(12)
    assert [upstream.text_of(event.data) for event in stage.offered] == texts


async def test_several_streams_and_a_group_of_another_name_in_another_database(
    upstream: Writer, stage: Stage, redis_server: RedisServer
) -> None:
    # Given two streams in database 3
    stage.block |= {"streams": ["one", "two"], "db": 3, "consumerGroup": "mine"}
    await stage.start()
    # When each gets an entry of the same id
    client = redis_server.client(db=3)
    for stream in ("one", "two"):
        await client.xadd(stream, {"text": stream}, "5-1")
    # Then both are events, with ids of their own
    events = await stage.events(2)
    assert {event.id for event in events} == {"one/5-1", "two/5-1"}
    assert [group["name"] for group in await client.xinfo_groups("two")] == [b"mine"]
    await client.aclose()


@pytest.mark.parametrize("loss", ["the group", "the stream", "the stream, and ids begin anew"])
async def test_a_group_that_was_lost_is_made_again_where_it_stood(upstream: Writer, stage: Stage, loss: str) -> None:
    # Given a source that has read an entry, and is away
    await stage.start()
    await upstream.add(id="100-1", text="before")
    await stage.events(1)
    await eventually(lambda: _none_pending(upstream))
    await stage.stop()
    # When its group is lost, with or without the stream, and an entry comes
    if loss == "the group":
        await upstream.client.xgroup_destroy(upstream.stream, _GROUP)
    else:
        await upstream.client.delete(upstream.stream)
    await upstream.add(id="1-1" if "anew" in loss else "100-2", text="meanwhile")
    await stage.start()
    # Then that entry is an event, and nothing is repeated
    await stage.events(2)
    await upstream.settle()
    assert [upstream.text_of(event.data) for event in stage.offered] == ["before", "meanwhile"]


async def test_a_stream_that_is_deleted_under_the_source_is_followed_by_the_next(
    upstream: Writer, stage: Stage
) -> None:
    # Given a source that waits
    await stage.start()
    first = await upstream.add(text="before")
    await stage.events(1)
    # When the stream is deleted and made again, later than in the millisecond that names the entry
    await upstream.client.delete(upstream.stream)
    milliseconds, _, _ = first.partition("-")
    await upstream.add(id=f"{int(milliseconds) + 1}-0", text="after")
    # Then the entry of the new one arrives
    events = await stage.events(2)
    assert [upstream.text_of(event.data) for event in events] == ["before", "after"]
    assert all(isinstance(error, SourceError) for error in stage.errors)


async def test_a_killed_server_is_come_back_to_and_nothing_is_missing(upstream: Writer, stage: Stage) -> None:
    # Given an entry whose emit is under way
    await stage.start()
    stage.close_gate()
    await upstream.send("before")
    await eventually(lambda: stage.under_way == 1)
    # When the server is killed and comes back
    await upstream.server.restart()
    stage.open_gate()
    await upstream.send("after")
    # Then nothing is missing, what came twice has one id, and everything is acknowledged
    await eventually(lambda: {upstream.text_of(each.data) for each in stage.emitted} == {"before", "after"})
    assert len({event.id for event in stage.emitted}) == 2
    await eventually(lambda: _none_pending(upstream))
    assert all("127.0.0.1" in str(error) for error in stage.errors)


async def test_refusals_are_sentences_that_show_no_password(upstream: Writer) -> None:
    server, block = upstream.server, upstream.block
    anonymous = {key: value for key, value in block.items() if key != "password"}
    await upstream.client.set(f"text-{upstream.stream}", "no stream")
    cases: list[tuple[dict[str, Json], list[str]]] = [
        ({**block, "username": "nobody"}, ["refuses the user", "'password'"]),
        (anonymous | {"username": ""}, ["refuses the user", "'password'"]),
        ({**block, "username": "reader"}, ["grant the user", "xgroup"]),
        ({**block, "db": 99}, ["DB index"]),
        ({**block, "streams": [f"text-{upstream.stream}"]}, ["WRONGTYPE"]),
        ({**block, "hostAddress": "127.0.0.1:9"}, ["nothing listens at redis://127.0.0.1:9"]),
        ({**block, "hostAddress": "no.such.invalid:6379"}, ["no host 'no.such.invalid'"]),
        ({**block, "hostAddress": f"127.0.0.1:{server.tls_port}"}, ["TLS"]),
    ]
    for faulty, named in cases:
        async with raising("redisStream", faulty, secrets=dict(upstream.secrets)) as sentence:
            assert all(text in sentence for text in named), sentence
            assert PASSWORD not in sentence


async def test_a_port_that_does_not_speak_tls_is_named(upstream: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a server that waits for the end of what it takes for a command
    monkeypatch.setattr("argosy.sources._reaching._CONNECT_SECONDS", 0.5)
    # When the source greets by TLS, then it gives up and says what may be wrong
    async with raising(
        "redisStream", {**upstream.block, "tls": {"insecureSkipVerify": True}}, secrets=dict(upstream.secrets)
    ) as sentence:
        assert "did not answer" in sentence and "TLS" in sentence


async def _none_pending(upstream: Writer) -> bool:
    return await upstream.pending() == 0
