"""What a rebalance must not do to messages that are there already: the library goes on fetching while its partitions are
dealt out, and hands out whatever it has. Only a double of its consumer can be made to do so at the worst moment; real
brokers are in ``tests/peers/test_kafka_reading.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition

from argosy.kafka.cluster import Broker, Cluster
from argosy.sources._kafka_reader import Reader
from tests.conformance.source import ended, eventually, on_stage

PLACES = [TopicPartition("orders", number) for number in range(2)]
_BLOCK = {"url": "127.0.0.1:9092", "topic": "orders", "consumerGroup": {"groupName": "g"}}


class _Consumer:
    """As ``AIOKafkaConsumer``: what was assigned is fetched from where the group stands, before anybody has said so."""

    _rebalance_timeout_ms = 1000

    def __init__(self) -> None:
        self.told: dict[Any, int] = dict.fromkeys(PLACES, 0)
        self.ends: dict[Any, int] = dict.fromkeys(PLACES, 0)
        self.positions: dict[Any, int] = {}
        self.slow: asyncio.Event | None = None
        """Until it is set, the group does not say how far the second partition was read."""
        self._more = asyncio.Event()

    def partitions_for_topic(self, topic: str) -> set[int]:
        return {place.partition for place in PLACES}

    async def beginning_offsets(self, places: Iterable[Any]) -> dict[Any, int]:
        return dict.fromkeys(places, 0)

    async def end_offsets(self, places: Iterable[Any]) -> dict[Any, int]:
        return {place: self.ends[place] for place in places}

    async def committed(self, place: Any) -> int:
        if place == PLACES[1] and self.slow is not None:
            await self.slow.wait()
        return self.told[place]

    async def commit(self, offsets: dict[Any, int]) -> None:
        self.told.update(offsets)

    def assign(self) -> None:
        self.positions = dict(self.told)
        self._more.set()

    def seek(self, place: Any, offset: int) -> None:
        self.positions[place] = offset
        self._more.set()

    def publish(self, place: Any, count: int) -> None:
        self.ends[place] += count
        self._more.set()

    async def getone(self) -> Any:
        while True:
            for place, position in self.positions.items():
                if position < self.ends[place]:
                    self.positions[place] += 1
                    return SimpleNamespace(topic=place.topic, partition=place.partition, offset=position)
            self._more.clear()
            await self._more.wait()


async def _deal(reader: Reader, consumer: _Consumer) -> None:
    await reader.give_up()
    consumer.positions = {}
    consumer.assign()
    await reader.take(PLACES)


async def test_what_is_handed_out_while_partitions_are_dealt_out_anew_is_read_all_the_same() -> None:
    consumer, kept = _Consumer(), list[tuple[int, int]]()
    async with on_stage("kafka", dict(_BLOCK)) as stage:
        cluster = Cluster(brokers=(Broker("127.0.0.1", 9092),), client_id="test")
        reader = Reader(stage.context(), cluster, consumer)

        async def keep(record: Any) -> None:
            kept.append((record.partition, record.offset))

        # Given a reader of two partitions, of which each was read a little
        await _deal(reader, consumer)
        run = asyncio.create_task(reader.run(keep))
        for place in PLACES:
            consumer.publish(place, 2)
        await eventually(lambda: consumer.told == dict.fromkeys(PLACES, 2))
        # When they are dealt out anew, and messages come between what is said of the one and of the other
        consumer.slow = asyncio.Event()
        dealing = asyncio.create_task(_deal(reader, consumer))
        await eventually(lambda: consumer.positions.get(PLACES[0]) == 2)
        consumer.publish(PLACES[0], 1)
        await eventually(lambda: consumer.positions[PLACES[0]] == 3)
        consumer.slow.set()
        await dealing
        consumer.publish(PLACES[0], 1)
        # Then every message is kept before its partition is called read
        await eventually(lambda: consumer.told[PLACES[0]] == 4)
        run.cancel()
        await ended(run)
    assert [offset for partition, offset in kept if partition == 0] == [0, 1, 2, 3]
