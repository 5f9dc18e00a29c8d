"""The ``minio`` source against a double of MinIO's stream of notifications: the suite of every source, and what is
the stream's own.

Longer than 400 lines, for the gaps that are caught up need the publisher of the suite and its double.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from argosy.errors import BusError, EventInvalid, EventTooLarge, SourceError
from argosy.manifests.fields import Json
from argosy.registry import wrap
from argosy.sources import minio
from argosy.sources._in_flight import LIMIT
from argosy.sources._raw import Raw
from tests.brokers.sources.minio_double import ACCESS, SECRET, MinioDouble
from tests.conformance.source import SourceSuite, Stage, Upstream, ended, eventually, on_stage, raising
from tests.kubernetes import certificates

KEYS = {"accessKey": {"name": "minio", "key": "user"}, "secretKey": {"name": "minio", "key": "password"}}
SECRETS = {("minio", "user"): ACCESS, ("minio", "password"): SECRET}
GOOD: dict[str, Any] = {"endpoint": "minio.storage:9000", "bucket": {"name": "input"}, **KEYS}


def _without(gone: str) -> dict[str, Any]:
    return {name: value for name, value in GOOD.items() if name != gone}


class Storage(Upstream):
    """The double, and who changes objects in it."""

    names_messages = True
    secrets = SECRETS

    def __init__(self, server: MinioDouble) -> None:
        self.server = server
        self.block = {**GOOD, "endpoint": f"127.0.0.1:{server.port}", "insecure": True}

    async def send(self, text: str) -> None:
        self.server.notify(self.server.record(text))

    def text_of(self, data: Json) -> str:
        assert list(data) in (["notification"], ["notification", "metadata"])
        (record,) = data["notification"]
        assert (record["eventName"], record["s3"]["bucket"]["name"]) == ("s3:ObjectCreated:Put", "input")
        return str(record["s3"]["object"]["key"])


@pytest.fixture
async def server() -> AsyncIterator[MinioDouble]:
    async with MinioDouble() as server:
        yield server


@pytest.fixture
def upstream(server: MinioDouble) -> Storage:
    return Storage(server)


@pytest.fixture
async def stage(upstream: Storage) -> AsyncIterator[Stage]:
    async with on_stage("minio", dict(upstream.block), secrets=dict(SECRETS)) as stage:
        yield stage


class TestMinio(SourceSuite):
    kind = "minio"
    bad_blocks: ClassVar[list[tuple[dict[str, Any], str]]] = [
        *((_without(name), name) for name in GOOD),
        ({**GOOD, "endpoint": "http://minio.storage:9000"}, "endpoint"),
        ({**GOOD, "endpoint": ""}, "endpoint"),
        ({**GOOD, "endpoint": "minio:port"}, "endpoint"),
        ({**GOOD, "bucket": {}}, "bucket"),
        ({**GOOD, "bucket": {"name": "../x"}}, "bucket"),
        ({**GOOD, "events": "s3:ObjectCreated:*"}, "events"),
        ({**GOOD, "jsonBody": True}, "jsonBody"),
        ({**GOOD, "catchUp": True, "events": ["s3:ObjectRemoved:*"]}, "catchUp"),
    ]

    @pytest.fixture
    def upstream(self, upstream: Storage) -> Storage:
        return upstream


async def test_the_data_is_the_notification_as_it_was_sent_and_the_id_names_the_change(
    upstream: Storage, stage: Stage
) -> None:
    # Given a source with metadata
    stage.block["metadata"] = {"m": "1"}
    await stage.start()
    server = upstream.server
    # When an object is put, its name with letters that Go escapes, and put again
    first = server.record("a <b>/ü.txt", size=2**60, userMetadata={"X-Amz-Meta-A": "1.0"})
    server.notify(first)
    server.notify(again := server.record("a <b>/ü.txt"))
    server.notify(other := server.record("c", versionId="v1"))
    events = await stage.events(3)
    # Then the data holds the records, and what wrap makes of the same line is the same
    line = json.dumps({"Records": [first]}).encode()
    assert wrap("minio", stage.context().config, Raw(line)) == (events[0].raw, events[0].id)
    assert b'"key":"a \\u003cb\\u003e/' in events[0].raw and b'"size":1152921504606846976' in events[0].raw
    assert [event.data["notification"] for event in events] == [[first], [again], [other]]
    assert list(events[0].data) == ["notification", "metadata"]
    # And each change has a name of its own
    names = [str(event.id) for event in events]
    assert len(set(names)) == 3
    assert names[0].startswith("s3:ObjectCreated:Put/")
    assert names[0].endswith("/" + first["s3"]["object"]["sequencer"])
    assert names[0].split("/")[1] == names[1].split("/")[1] != names[2].split("/")[1]


async def test_several_records_are_one_event_and_signs_of_life_are_none(upstream: Storage, stage: Stage) -> None:
    await stage.start()
    # Given signs of life, new ones and old ones
    upstream.server.ping()
    upstream.server.old_pings = True
    upstream.server.ping()
    upstream.server.ping()
    # When a notification has two records
    one, two = upstream.server.record("one"), upstream.server.record("two")
    upstream.server.notify(one, two)
    # Then it is one event, without a name, as it is no one change
    (event,) = await stage.events(1)
    assert (event.data, event.id) == ({"notification": [one, two]}, None)
    await upstream.settle()
    assert len(stage.offered) == 1
    config = stage.context().config
    for life in (b'{"Records":null}', b'{"Records":[]}', b"  "):
        with pytest.raises(EventInvalid, match="no event"):
            wrap("minio", config, Raw(life))
    record = upstream.server.record("x")
    del record["s3"]["object"]["sequencer"]
    for odd in ([record], [{"s3": []}], [{}], [1]):
        assert wrap("minio", config, Raw(json.dumps({"Records": odd}).encode())).id is None


async def test_only_what_the_manifest_wants_is_asked_for(upstream: Storage, stage: Stage) -> None:
    # Given a source of two kinds of changes of some objects
    events = ["s3:ObjectCreated:Copy", "s3:ObjectRemoved:*"]
    stage.block |= {"events": events, "filter": {"prefix": "in & out/", "suffix": ".tar+gz"}}
    await stage.start()
    server = upstream.server
    assert server.queries == [{"ping": ["10"], "prefix": ["in & out/"], "suffix": [".tar+gz"], "events": events}]
    # When those and others are changed
    for key, name in (
        ("in & out/a.tar+gz", "s3:ObjectCreated:Put"),
        ("in & out/b.tar+gz", "s3:ObjectRemoved:Delete"),
        ("other/c.tar+gz", "s3:ObjectRemoved:Delete"),
        ("in & out/d.txt", "s3:ObjectRemoved:Delete"),
        ("in & out/e.tar+gz", "s3:ObjectCreated:Copy"),
    ):
        server.notify(server.record(key, name))
    # Then those are events
    found = [event.data["notification"][0]["s3"]["object"]["key"] for event in await stage.events(2)]
    assert found == ["in & out/b.tar+gz", "in & out/e.tar+gz"]


async def test_without_events_all_changes_count(upstream: Storage, stage: Stage) -> None:
    # Given a block that names none, of which MinIO itself would tell nothing
    await stage.start()
    server = upstream.server
    server.notify(server.record("a", "s3:ObjectCreated:CompleteMultipartUpload"))
    server.notify(server.record("b", "s3:ObjectAccessed:Get"))
    server.notify(server.record("c", "s3:ObjectRemoved:DeleteMarkerCreated"))
    found = [event.data["notification"][0]["s3"]["object"]["key"] for event in await stage.events(2)]
    assert found == ["a", "c"]


async def test_what_is_no_notification_is_counted_and_the_next_is_served(
    upstream: Storage, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(minio, "_LONGEST_LINE", 5000)
    await stage.start()
    # Given lines that are none, and one that the bus will never take
    for line in (b"no", b"[]", b'{"Records": 1}', b'{"Records": "' + b"x" * 9000 + b'"}'):
        upstream.server.write(line + b"\n")
    await eventually(lambda: len(stage.refused) == 4)
    stage.failure = EventTooLarge("the event has 2 MB, the bus takes 1 MB")
    await upstream.send("large")
    await eventually(lambda: len(stage.refused) == 5)
    # When a good one comes in pieces
    stage.failure = None
    line = json.dumps({"Records": [upstream.server.record("good")]}).encode() + b"\n"
    for start in range(0, len(line), 100):
        upstream.server.write(line[start : start + 100])
    # Then it is an event, and the others are counted in sentences with their bucket
    (event,) = await stage.events(1)
    assert upstream.text_of(event.data) == "good"
    assert all("'input'" in sentence for sentence in stage.refused)
    assert "longer than 5000" in " ".join(stage.refused) and "2 MB" in stage.refused[-1]
    assert not stage.errors


async def test_no_more_than_the_limit_is_under_way_and_the_rest_begins_in_order(
    upstream: Storage, stage: Stage
) -> None:
    # Given a bus that does not answer
    await stage.start()
    stage.close_gate()
    # When more notifications come
    texts = [f"{number:03}" for number in range(150)]
    for text in texts:
        await upstream.send(text)
    await eventually(lambda: stage.under_way == LIMIT)
    await upstream.settle()
    # Then as many as may be are under way, and all arrive once, in order
    assert stage.under_way == LIMIT
    stage.open_gate()
    await stage.events(150)
    assert [upstream.text_of(event.data) for event in stage.offered] == texts


async def test_a_server_that_comes_back_is_listened_to_and_the_gap_is_told(
    upstream: Storage, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a source that listens for the first time
    await stage.start()
    await upstream.send("before")
    await stage.events(1)
    assert "may not have been seen" not in caplog.text
    # When the server dies, and comes back
    await upstream.server.stop()
    await upstream.send("meanwhile")
    await eventually(lambda: len(stage.errors) >= 2)
    await upstream.server.start()
    await eventually(lambda: len(stage.listening) == 2)
    await upstream.send("after")
    # Then it listens again, and says since when it may have missed something, and that nobody tells it
    events = await stage.events(2)
    assert [upstream.text_of(event.data) for event in events] == ["before", "after"]
    assert "may not have been seen" in caplog.text and "'input'" in caplog.text
    assert all(isinstance(error, SourceError) and "127.0.0.1" in str(error) for error in stage.errors)


async def test_a_server_that_says_nothing_any_more_is_noticed(
    upstream: Storage, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a source that is soon impatient
    monkeypatch.setattr(minio, "_SILENCE_SECONDS", 0.5)
    await stage.start()
    # When nothing comes, not even a sign of life, then it connects again
    await eventually(lambda: len(stage.listening) >= 2)
    assert "no answer in time" in str(stage.errors[0])


@pytest.mark.parametrize("asks", [True, False])
async def test_the_region_of_the_server_is_found_out(upstream: Storage, stage: Stage, asks: bool) -> None:
    # Given a server of a region, which may be asked for, or not; then the refusal names it
    upstream.server.region = "eu-west-7"
    upstream.server.may_ask_for_region = asks
    await stage.start()
    await upstream.send("one")
    await stage.events(1)
    assert not stage.errors


async def test_the_region_of_the_manifest_counts_where_nobody_says_it(upstream: Storage, stage: Stage) -> None:
    upstream.server.may_ask_for_region = False
    stage.block["region"] = "mars-1"
    await stage.start()
    await upstream.send("one")
    await stage.events(1)


async def test_a_rotated_key_is_taken_up_and_no_secret_is_logged(
    upstream: Storage, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    # Given a source that listens
    await stage.start()
    # When the server gets another key and starts again
    upstream.server.secret = "another-one"
    await upstream.server.stop()
    await upstream.server.start()
    await eventually(lambda: bool(stage.errors) and "SignatureDoesNotMatch" in str(stage.errors[-1]))
    # And the Secret has it
    stage.secrets["minio", "password"] = "another-one"
    await eventually(lambda: len(stage.listening) == 2)
    # Then it receives again
    await upstream.send("one")
    await stage.events(1)
    told = f"{stage.errors} {stage.listening} {caplog.text}"
    assert SECRET not in told and "another-one" not in told


async def test_refusals_are_sentences(upstream: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("argosy.aws.client._CONNECT_SECONDS", 0.5)
    cases: list[tuple[dict[str, Json], str]] = [
        ({**upstream.block, "bucket": {"name": "nothing"}}, "404 NoSuchBucket"),
        ({**upstream.block, "events": ["ObjectCreated"]}, "400 InvalidArgument: A specified event is not supported"),
        ({**upstream.block, "accessKey": KEYS["secretKey"]}, "403 InvalidAccessKeyId"),
        ({**upstream.block, "secretKey": KEYS["accessKey"]}, "403 SignatureDoesNotMatch"),
        ({**upstream.block, "endpoint": "127.0.0.1:9"}, "127.0.0.1:9 failed"),
        ({**upstream.block, "insecure": False}, f"127.0.0.1:{upstream.server.port} failed"),
    ]
    for faulty, said in cases:
        async with raising("minio", faulty, secrets=dict(SECRETS)) as sentence:
            assert said in sentence, sentence
            assert SECRET not in sentence


async def test_tls_with_our_certificate_by_a_host_that_is_led_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a server whose certificate has one of two names
    certificates.authority(tmp_path)
    certificates.server(tmp_path, "server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    async with MinioDouble(context) as server:
        upstream = Storage(server)
        names = ("kubernetes.default.svc", "other.svc")
        rules = " ".join(f"{name}:9000=127.0.0.1:{server.port}" for name in names)
        monkeypatch.setenv("ARGOSY_RESOLVE", rules)
        secrets = {**SECRETS, ("tls", "ca"): (tmp_path / "ca.crt").read_text()}
        ours: dict[str, Json] = {**GOOD, "caCertificate": {"name": "tls", "key": "ca"}}
        # When the source is told whom to trust, then it comes to it by that name only
        async with on_stage("minio", {**ours, "endpoint": f"{names[0]}:9000"}, secrets=secrets) as stage:
            await stage.start()
            assert stage.listening == [f"bucket 'input' of https://{names[0]}:9000"]
            await upstream.send("one")
            await stage.events(1)
        for block in ({**ours, "endpoint": f"{names[1]}:9000"}, {**GOOD, "endpoint": f"{names[0]}:9000"}):
            async with raising("minio", block, secrets=secrets) as sentence:
                assert "certificate is not trusted" in sentence


@pytest.mark.parametrize("ahead", [-3600, 0, 3600])
async def test_with_catch_up_what_was_put_in_the_gap_is_found(upstream: Storage, stage: Stage, ahead: int) -> None:
    # Given a source that has listened, to a server whose clock may be wrong, and is away
    server = upstream.server
    server.ahead = dt.timedelta(seconds=ahead)
    server.objects = {"in/old.txt": server.now() - dt.timedelta(minutes=5)}
    stage.block |= {"catchUp": True, "filter": {"prefix": "in/", "suffix": ".txt"}}
    await stage.start()
    server.put("in/seen.txt")
    await stage.events(1)
    await stage.stop()
    assert server.listings == 0
    # When objects are put meanwhile, and it starts again
    for key in ("in/a.txt", "in/b ü&+.txt", "in/c.txt", "in/d.md", "out/e.txt"):
        server.put(key)
    await stage.start()
    server.put("in/live.txt")
    # Then they are events, told from those of the stream, and the old ones are not
    await eventually(lambda: {"in/a.txt", "in/b ü&+.txt", "in/c.txt", "in/live.txt"} <= _keys(stage))
    assert _keys(stage) <= {"in/a.txt", "in/b ü&+.txt", "in/c.txt", "in/live.txt", "in/seen.txt"}
    later = [record for record in _records(stage) if record["source"]["userAgent"] == "argosy/catch-up"]
    assert {"in/a.txt", "in/b ü&+.txt", "in/c.txt"} <= {record["s3"]["object"]["key"] for record in later}
    assert all(set(record) == set(server.record("x")) for record in later)
    assert {record["eventName"] for record in later} == {"s3:ObjectCreated:Put"}
    # And none twice under two names
    names = [event.id for event in stage.emitted if _agent(event.data) == "argosy/catch-up"]
    assert None not in names and len(names) == len(set(names))


async def test_a_gap_stays_one_until_all_that_was_found_is_stored(upstream: Storage, stage: Stage) -> None:
    # Given a gap in which three objects were put, and a bus that refuses
    server = upstream.server
    stage.block |= {"catchUp": True}
    await stage.start()
    await stage.stop()
    stage.failure = BusError("the stage refuses this event")
    for key in ("a", "b", "c"):
        server.put(key)
    # When the source starts, fails, and starts again once the bus takes events
    await stage.start()
    await eventually(lambda: len(stage.errors) >= 2)
    assert not stage.emitted
    stage.failure = None
    # Then all are found again, under the same names
    await eventually(lambda: _keys(stage) == {"a", "b", "c"})
    assert len({event.id for event in stage.offered}) == 3


async def test_what_was_found_and_is_under_way_is_stored_before_the_source_ends(
    upstream: Storage, stage: Stage
) -> None:
    # Given objects of a gap that wait for the bus
    stage.block |= {"catchUp": True}
    await stage.start()
    await stage.stop()
    for key in ("a", "b", "c"):
        upstream.server.put(key)
    stage.close_gate()
    await stage.start()
    await eventually(lambda: stage.under_way == 3)
    # When the source is told to end
    task = stage.begin_stop()
    await asyncio.sleep(0.05)
    assert not task.done()
    # Then it does when they are stored
    stage.open_gate()
    await ended(task)
    assert (_keys(stage), stage.cut_off) == ({"a", "b", "c"}, 0)


async def test_without_catch_up_the_gap_is_only_told(
    upstream: Storage, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    await stage.start()
    await stage.stop()
    upstream.server.put("a")
    await stage.start()
    await upstream.send("b")
    await stage.events(1)
    await upstream.settle()
    assert (_keys(stage), upstream.server.listings) == ({"b"}, 0)
    assert "catchUp: true looks for what was put" in caplog.text


def _records(stage: Stage) -> list[Any]:
    return [record for event in stage.emitted for record in event.data["notification"]]


def _keys(stage: Stage) -> set[str]:
    return {record["s3"]["object"]["key"] for record in _records(stage)}


def _agent(data: Json) -> str:
    return str(data["notification"][0]["source"]["userAgent"])
