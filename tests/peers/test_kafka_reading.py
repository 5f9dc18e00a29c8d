"""How the ``kafka`` source reads a real topic: what an event looks like, where reading begins and goes on, how partitions are
shared, and what is lost when something dies (nothing).

Longer than 400 lines, for all of it is one broker, which is slow to start, and one way of reading it.
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import signal
from collections.abc import AsyncIterator

import orjson
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete

from argosy.errors import EventInvalid, SourceError
from argosy.registry import wrap
from argosy.sources._raw import Raw
from tests.conformance.source import Stage, ended, eventually, on_stage
from tests.peers.kafka_producer import Producer
from tests.peers.kafka_server import KafkaServer


@pytest.fixture
async def upstream(kafka: KafkaServer) -> AsyncIterator[Producer]:
    async with Producer(kafka) as producer:
        yield producer


@pytest.fixture
async def stage(upstream: Producer) -> AsyncIterator[Stage]:
    async with on_stage("kafka", dict(upstream.block), secrets=dict(upstream.secrets)) as stage:
        yield stage


@pytest.fixture
async def four(kafka: KafkaServer) -> AsyncIterator[Producer]:
    """A topic of four partitions."""
    async with Producer(kafka, 4) as producer:
        yield producer


def _texts(stage: Stage) -> list[str]:
    return [event.data["body"]["text"] for event in stage.emitted]


def _value(text: str) -> bytes:
    return orjson.dumps({"text": text})


async def test_the_data_has_upstreams_keys_and_the_id_names_topic_partition_and_offset(
    upstream: Producer, stage: Stage
) -> None:
    # Given a source with metadata
    stage.block["metadata"] = {"m": "1"}
    await stage.start()
    # When a message comes with a key, a time, and headers of which one stands twice, one has no value and one is no UTF-8
    headers = [("z", b"<1>"), ("a", b"first"), ("a", b"last"), ("none", None), ("broken", b"\xff")]
    moment = dt.datetime(2026, 11, 25, 10, 20, 30, 120_000, dt.UTC)
    stamp = round(moment.timestamp() * 1000)
    offset = await upstream.produce(b'{"n": 1.0}', key="ä".encode(), timestamp_ms=stamp, headers=headers)
    # Then the data is upstream's, to the byte
    (event,) = await stage.events(1)
    written = '"headers":{"a":"last","broken":"\ufffd","none":"","z":"\\u003c1\\u003e"},"metadata":{"m":"1"}'
    assert event.raw.decode() == (
        f'{{"topic":"{upstream.topic}","key":"ä","partition":0,"body":{{"n":1.0}},'
        f'"timestamp":"2026-11-25 10:20:30.12 +0000 UTC",{written}}}'
    )
    assert event.id == f"{upstream.topic}/0/{offset}"
    # And what wrap makes of the same message is the same
    given = {
        "topic": upstream.topic, "partition": "0", "offset": str(offset), "key": "ä", "timestamp": str(stamp),
        "headers.z": "<1>", "headers.a": "last", "headers.none": "", "headers.broken": "\ufffd",
    }  # fmt: skip
    config = stage.context().config
    assert wrap("kafka", config, Raw(b'{"n": 1.0}', given)) == (event.raw, event.id)
    assert wrap("kafka", config, Raw(b"{}")).id is None
    for wrong in ({"offset": "one"}, {"header": "x"}):
        with pytest.raises(EventInvalid, match=next(iter(wrong))):
            wrap("kafka", config, Raw(b"{}", wrong))


async def test_bytes_stand_in_base64_and_a_deleted_value_is_null(upstream: Producer, stage: Stage) -> None:
    # Given a source that takes any bytes
    del stage.block["jsonBody"]
    await stage.start()
    # When bytes come, none, and what deletes a key of a compacted topic
    for value in (b"\x00\xff", b"", None):
        await upstream.produce(value, key=b"k")
    # Then each is an event
    events = await stage.events(3)
    assert [event.data["body"] for event in events] == [base64.b64encode(b"\x00\xff").decode(), "", None]


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_messages_that_were_packed_are_read(upstream: Producer, stage: Stage, codec: str) -> None:
    # Given a source, when a producer packs its messages, then they are events
    await stage.start()
    async with AIOKafkaProducer(**upstream.server.client(), compression_type=codec) as producer:
        await producer.send_and_wait(upstream.topic, _value("x" * 2000), partition=0)
    await stage.events(1)
    assert _texts(stage) == ["x" * 2000]


async def test_a_new_group_begins_with_the_next_message_and_leaves_out_none_from_then_on(
    upstream: Producer, stage: Stage
) -> None:
    # Given a topic with a message, and a group that does not want old ones
    stage.block["consumerGroup"] = {"groupName": upstream.topic}
    await upstream.send("old")
    await stage.start()
    await stage.stop()
    # When a message comes while the source is away that has never stored anything
    await upstream.send("meanwhile")
    await stage.start()
    await upstream.send("new")
    # Then that one is an event, too
    await stage.events(2)
    await upstream.settle()
    assert _texts(stage) == ["meanwhile", "new"]


async def test_sarama_s_name_for_the_oldest_offset_counts(upstream: Producer, stage: Stage) -> None:
    # Given a group without 'oldest', and a 'config' that says it
    stage.block |= {"consumerGroup": {"groupName": upstream.topic}, "config": "Consumer: {Offsets: {Initial: -2}}"}
    await upstream.send("old")
    # When the source starts, then the old message is an event
    await stage.start()
    await stage.events(1)
    assert _texts(stage) == ["old"]


async def test_a_message_is_called_read_only_when_all_before_it_are_stored(upstream: Producer, stage: Stage) -> None:
    # Given a bus that holds back one of several messages
    stage.only = b"second"
    stage.close_gate()
    await stage.start()
    for text in ("first", "second", "third", "fourth"):
        await upstream.send(text)
    # When the others are stored
    await eventually(lambda: sorted(_texts(stage)) == ["first", "fourth", "third"])
    await upstream.settle()
    # Then the group has read the first one
    assert await upstream.committed() == {0: 1}
    # And all of them when the second one is stored
    stage.open_gate()
    await eventually(lambda: _is(upstream, {0: 4}))


async def test_what_failed_is_read_again_with_what_follows_it(upstream: Producer, stage: Stage) -> None:
    # Given a bus that refuses one message
    stage.only, stage.failure = b"bad", SourceError("the bus does not take this one")
    await stage.start()
    for text in ("good", "bad", "fine"):
        await upstream.send(text)
    await eventually(lambda: len(stage.errors) >= 2)
    assert await upstream.committed() == {0: 1}
    # When the bus takes it
    stage.failure = None
    # Then all are there, and what came twice has one id
    await eventually(lambda: _is(upstream, {0: 3}))
    assert set(_texts(stage)) == {"good", "bad", "fine"}
    assert len({event.id for event in stage.emitted}) == 3


@pytest.mark.parametrize("strategy", ["range", "roundrobin", "sticky"])
async def test_two_readers_of_a_group_share_the_partitions(four: Producer, strategy: str) -> None:
    # Given a reader of a group
    block = dict(four.block) | {
        "consumerGroup": {"groupName": four.topic, "oldest": True, "rebalanceStrategy": strategy}
    }
    async with (
        on_stage("kafka", block, secrets=dict(four.secrets)) as one,
        on_stage("kafka", dict(block), secrets=dict(four.secrets)) as other,
    ):
        await one.start()
        for number in range(20):
            await four.produce(_value(f"{number}"), number % 4)
        await one.events(20)
        # When another one joins it
        await other.start()
        for number in range(20, 60):
            await four.produce(_value(f"{number}"), number % 4)
        # Then each gets two partitions, and nothing is left out
        await eventually(lambda: {*_texts(one), *_texts(other)} == {str(number) for number in range(60)})
        assert {event.data["partition"] for event in other.emitted} < {0, 1, 2, 3}
        assert len({event.data["partition"] for event in other.emitted}) == 2
        await eventually(lambda: _is(four, dict.fromkeys(range(4), 15)))
        # And the first has them all again when the other ends
        await other.stop()
        before = len(one.emitted)
        for number in range(60, 64):
            await four.produce(_value(f"{number}"), number % 4)
        await eventually(lambda: len(one.emitted) >= before + 4)
        assert not one.errors and not other.errors


async def test_a_partition_that_was_lost_is_not_called_read_by_who_lost_it(
    four: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a reader with a message of each partition under way, that has little time to hand them over
    monkeypatch.setattr("argosy.sources._kafka_reader._HAND_OVER_SECONDS", 0.2)
    async with (
        on_stage("kafka", dict(four.block), secrets=dict(four.secrets)) as one,
        on_stage("kafka", dict(four.block), secrets=dict(four.secrets)) as other,
    ):
        await one.start()
        one.close_gate()
        other.close_gate()
        for number in range(4):
            await four.produce(_value(f"{number}"), number)
        await eventually(lambda: one.under_way == 4)
        # When another reader takes two of the partitions, and the first one stores what it had
        await other.start()
        await eventually(lambda: other.under_way == 2)
        await eventually(lambda: one.under_way == 6, "the first one reads again what it still has")
        one.open_gate()
        await eventually(lambda: len(one.emitted) == 6)
        lost = {event.data["partition"] for event in other.offered}
        await eventually(lambda: _is(four, {number: 0 if number in lost else 1 for number in range(4)}))
        await four.settle()
        # Then only the two that it still has are called read
        assert await four.committed() == {number: 0 if number in lost else 1 for number in range(4)}
        # And the others once the new reader has stored them, under the same ids
        other.open_gate()
        await eventually(lambda: _is(four, dict.fromkeys(range(4), 1)))
        assert {event.id for event in other.emitted} <= {event.id for event in one.emitted}
        assert not one.errors and not other.errors


async def test_a_partition_that_is_added_is_read_from_its_beginning(upstream: Producer, stage: Stage) -> None:
    # Given a group that begins with the next message, and looks for partitions now and then
    stage.block |= {"consumerGroup": {"groupName": upstream.topic}, "config": "metadata: {refreshFrequency: 300ms}"}
    await stage.start()
    # When the topic gets another partition, and that a message before we know of it
    await stage.stop()
    await upstream.add_partitions(2)
    await eventually(lambda: _has(upstream, 2))
    await upstream.produce(_value("early"), 1)
    await stage.start()
    # Then it is an event
    await stage.events(1)
    assert _texts(stage) == ["early"]
    # And one that is added while the source runs, too
    await upstream.add_partitions(3)
    await eventually(lambda: _has(upstream, 3))
    await upstream.produce(_value("late"), 2)
    await stage.events(2)
    assert sorted(_texts(stage)) == ["early", "late"]


async def test_a_group_that_kafka_has_forgotten_leaves_out_nothing(
    upstream: Producer, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a group that begins with the next message, and is away
    stage.block["consumerGroup"] = {"groupName": upstream.topic}
    await upstream.send("old")
    await stage.start()
    await stage.stop()
    # When Kafka drops its offsets, as it does after a week, and a message comes
    await upstream.forget_group()
    await upstream.send("meanwhile")
    await stage.start()
    # Then it is an event, and what Kafka did is said
    await eventually(lambda: "meanwhile" in _texts(stage))
    assert "has forgotten how far it has read partition 0" in caplog.text
    # And another group begins with the next message
    await stage.stop()
    stage.block["consumerGroup"] = {"groupName": f"{upstream.topic}-other"}
    before = len(stage.emitted)
    await stage.start()
    await upstream.send("new")
    await stage.events(before + 1)
    assert _texts(stage)[before:] == ["new"]


async def test_one_partition_is_read_without_a_group_and_goes_on_where_it_stopped(four: Producer) -> None:
    # Given a partition with an old message
    block = {name: value for name, value in four.block.items() if name != "consumerGroup"} | {"partition": "2"}
    await four.produce(_value("old"), 2)
    async with on_stage("kafka", block, secrets=dict(four.secrets)) as stage:
        await stage.start()
        assert "partition 2" in stage.listening[0]
        await stage.stop()
        # When messages come while it is away, and while it is there, and others to other partitions
        for partition in range(4):
            await four.produce(_value(f"meanwhile {partition}"), partition)
        await stage.start()
        await four.produce(_value("now"), 2)
        # Then those of the partition are events, from the first start on
        await stage.events(2)
        await four.settle()
        assert _texts(stage) == ["meanwhile 2", "now"]
        # And after another start nothing comes again
        await stage.stop()
        await stage.start()
        await four.produce(_value("last"), 2)
        await stage.events(3)
        assert _texts(stage) == ["meanwhile 2", "now", "last"]
        assert not stage.errors


async def test_messages_that_were_deleted_before_they_were_read_are_told_of(
    upstream: Producer, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a source that is away while messages come
    await stage.start()
    await stage.stop()
    for number in range(5):
        await upstream.send(str(number))
    # When the topic loses three of them
    await upstream.admin.delete_records({TopicPartition(upstream.topic, 0): RecordsToDelete(before_offset=3)})
    await stage.start()
    # Then the others are events, and the loss is said
    await stage.events(2)
    assert _texts(stage) == ["3", "4"]
    assert f"3 messages of partition 0 of topic '{upstream.topic}' were deleted" in caplog.text


async def test_messages_of_a_transaction_that_was_broken_off_are_left_out_where_config_says_so(
    upstream: Producer, stage: Stage
) -> None:
    # Given messages of a transaction that is broken off, and of one that is not
    async with AIOKafkaProducer(**upstream.server.client(), transactional_id=upstream.topic) as producer:
        for text in ("broken", "whole"):
            await producer.begin_transaction()
            await producer.send_and_wait(upstream.topic, _value(text), partition=0)
            await (producer.abort_transaction() if text == "broken" else producer.commit_transaction())
    # When a source reads what is committed only
    stage.block["config"] = "consumer: {isolationLevel: 1}"
    await stage.start()
    # Then the other one is an event, and what Kafka itself wrote between them is called read
    await stage.events(1)
    await upstream.send("after")
    await stage.events(2)
    assert _texts(stage) == ["whole", "after"]


async def test_no_more_events_than_the_limit_begin_in_a_second(upstream: Producer, stage: Stage) -> None:
    # Given a limit of four a second, and a clock that shows how long is slept
    slept: list[float] = []

    class Clock:
        def __init__(self) -> None:
            self.moment = dt.datetime(2026, 11, 25, tzinfo=dt.UTC)

        def now(self) -> dt.datetime:
            return self.moment

        async def sleep(self, seconds: float) -> None:
            slept.append(seconds)
            self.moment += dt.timedelta(seconds=seconds)

    stage.block["limitEventsPerSecond"] = 4
    stage.clock = Clock()
    # When eight messages are there
    for number in range(8):
        await upstream.send(str(number))
    await stage.start()
    await stage.events(8)
    # Then a quarter of a second lies between each two
    assert [round(seconds, 6) for seconds in slept[:7]] == [0.25] * 7


async def test_a_killed_broker_is_come_back_to_and_nothing_is_missing(upstream: Producer, stage: Stage) -> None:
    # Given a message whose emit is under way
    await stage.start()
    stage.close_gate()
    await upstream.send("before")
    await eventually(lambda: stage.under_way == 1)
    # When the broker is killed and comes back
    await upstream.server.restart()
    stage.open_gate()
    await upstream.send("after")
    # Then nothing is missing, what came twice has one id, and everything is called read
    await eventually(lambda: set(_texts(stage)) == {"before", "after"})
    await eventually(lambda: _is(upstream, {0: 2}))
    assert len({event.id for event in stage.emitted}) == 2
    assert all("127.0.0.1" in str(error) for error in stage.errors)


@pytest.mark.parametrize("grouped", [True, False])
async def test_a_source_ends_and_leaves_nothing_behind_though_the_broker_stands_still(
    upstream: Producer, stage: Stage, grouped: bool
) -> None:
    # Given a source with something that the broker does not know yet, and a broker that stands still
    if not grouped:
        del stage.block["consumerGroup"]
        stage.block["partition"] = "0"
    before = asyncio.all_tasks()
    await stage.start()
    stage.close_gate()
    await upstream.send("one")
    await eventually(lambda: stage.under_way == 1)
    upstream.server.signal(signal.SIGSTOP)
    try:
        # When the source is told to end
        ending = stage.begin_stop()
        stage.open_gate()
        await ended(ending)
        # Then it does, and none of its tasks goes on
        await eventually(lambda: asyncio.all_tasks() <= before, f"{asyncio.all_tasks() - before}")
    finally:
        upstream.server.signal(signal.SIGCONT)


async def _is(producer: Producer, committed: dict[int, int]) -> bool:
    return await producer.committed() == committed


async def _has(producer: Producer, partitions: int) -> bool:
    (told,) = await producer.admin.describe_topics([producer.topic])
    await producer.producer.client.force_metadata_update()
    found = producer.producer.client.cluster.partitions_for_topic(producer.topic) or ()
    return len(told["partitions"]) == partitions and len(found) == partitions
