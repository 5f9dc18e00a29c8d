"""How the ``kafka`` source reads: which messages are under way, and how far each partition may be called read.

Emits overlap, and a partition is called read up to its oldest message that is not stored yet, in order, whatever was
stored behind it. What has been stored is told to the group (or the bucket) by one task at a time, all partitions
together, again whenever there is news.

A partition belongs to a reader for a ``Tenure``, from the moment when the group deals it out until it takes it back. Before
it goes, what is under way gets some time to be stored and told; what is stored later is told to nobody, so
the next owner reads it again, under the same id. Positions are set by hand when a tenure begins, because
the library's own rule would leave out what came between the first start and the first message that was stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any

from argosy.kafka.cluster import ANSWER_SECONDS, Cluster, Failure
from argosy.sources._base import SourceContext
from argosy.sources._in_flight import InFlight
from argosy.sources._kafka_config import KafkaConfig, begins_with_oldest

_HAND_OVER_SECONDS = 10.0
"""How long a rebalance waits for what is under way. The group waits for us no longer than its rebalance timeout."""
_WATCH_SECONDS = 5.0
"""How often a partition's leader is asked, and how long it may take before the cluster is looked at."""
_ANSWER_SECONDS = ANSWER_SECONDS
_TELL_SECONDS = 0.5
"""How long the last word may take when the source ends."""
_PARTITIONS_KEY = "partitions"


class Tenure:
    """One partition while it is ours. ``told`` is how far it was called read."""

    def __init__(self, start: int) -> None:
        self.told = start
        self.under_way: dict[int, asyncio.Task[None]] = {}
        self._next = start

    def began(self, offset: int, task: asyncio.Task[None]) -> None:
        """A message is being stored; offsets come in their order."""
        self.under_way[offset] = task
        self._next = offset + 1

    @property
    def stored(self) -> int:
        """Everything below this offset is stored."""
        return next(iter(self.under_way), self._next)


class Reader:
    """One consumer of the library, reading one topic. ``keep`` stores a message and returns."""

    def __init__(self, ctx: SourceContext[KafkaConfig], cluster: Cluster, consumer: Any) -> None:
        self._ctx = ctx
        self._cluster = cluster
        self._consumer = consumer
        self._topic = ctx.config.topic
        group = ctx.config.consumer_group
        self._who = f"group {group.group_name!r}" if group else f"partition {ctx.config.partition}"
        self._about = f"{self._who}\n{self._topic}"
        self._tenures: dict[Any, Tenure] = {}
        self._in_flight = InFlight()
        self._settled = asyncio.Event()
        self._news = asyncio.Event()
        self._telling = asyncio.Lock()
        self._fault: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self._due = 0.0

    async def join(self) -> None:
        """Be given partitions. Raises Failure."""
        # The group lets us in once its other members have come back for their partitions.
        seconds = _ANSWER_SECONDS + self._consumer._rebalance_timeout_ms / 1000
        with self._cluster.sentences(seconds=seconds):
            async with asyncio.timeout(seconds):
                await self._begin()
                await self._one_of(self._settled.wait())

    async def _begin(self) -> None:
        self._consumer.subscribe([self._topic], listener=_listener(self))
        await self._consumer.start()

    async def run(self, keep: Any) -> None:
        """Read until cancelled, or until something fails. What is under way is stored and told in each case."""
        try:
            await self._in_flight.run(self._one_of(self._read(keep), self._tell_news(), self._watch()))
        finally:
            # What could not be told is read again, under the same ids.
            with contextlib.suppress(TimeoutError, Failure):
                async with asyncio.timeout(_TELL_SECONDS):
                    await self._tell()

    async def _one_of(self, *works: Coroutine[Any, Any, Any]) -> None:
        """Until the first of them ends, or a rebalance fails."""
        tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(work) for work in works]
        try:
            await asyncio.wait([*tasks, self._fault], return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
            if self._fault.done():
                raise self._fault.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, keep: Any) -> None:
        while True:
            await self._in_flight.free()
            await self._pace()
            record, tenure = await self._next()
            tenure.began(record.offset, self._in_flight.begin(self._keep(keep, record, tenure)))

    async def _next(self) -> tuple[Any, Tenure]:
        while True:
            with self._cluster.sentences():
                record = await self._consumer.getone()
            tenure = self._tenures.get(_place(record))
            # What was fetched before the position was set that its partition has now will be fetched again.
            if tenure is not None and self._settled.is_set():
                return record, tenure

    async def _keep(self, keep: Any, record: Any, tenure: Tenure) -> None:
        await keep(record)
        del tenure.under_way[record.offset]
        self._news.set()

    async def _pace(self) -> None:
        if limit := self._ctx.config.limit_events_per_second:
            now = self._ctx.clock.now().timestamp()
            self._due = max(self._due, now)
            if self._due > now:
                await self._ctx.clock.sleep(self._due - now)
            self._due += 1.0 / limit

    async def _tell_news(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            await self._tell()

    async def _tell(self) -> None:
        async with self._telling:
            tenures = dict(self._tenures)
            news = {place: tenure.stored for place, tenure in tenures.items() if tenure.stored > tenure.told}
            if news and await self._told(news):
                for place, offset in news.items():
                    tenures[place].told = offset

    async def _told(self, offsets: Mapping[Any, int]) -> bool:
        """Whether the group took it; it does not where it is dealing out partitions anew."""
        from aiokafka.errors import CommitFailedError, IllegalStateError

        with self._cluster.sentences():
            try:
                await self._consumer.commit(dict(offsets))
            except (CommitFailedError, IllegalStateError):
                return False
        return True

    async def _watch(self) -> None:
        """See that brokers answer: the library tries for ever and says nothing."""
        from aiokafka import TopicPartition
        from aiokafka.errors import KafkaError

        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            number = random.choice(sorted(self._consumer.partitions_for_topic(self._topic) or {0}))
            try:
                async with asyncio.timeout(_WATCH_SECONDS):
                    await self._consumer.end_offsets([TopicPartition(self._topic, number)])
            except (TimeoutError, KafkaError, OSError):
                await self._cluster.look(self._topic, _ANSWER_SECONDS)  # which says why, if that lasts

    async def take(self, places: Iterable[Any]) -> None:
        """These partitions are ours from now on."""
        try:
            with self._cluster.sentences():
                await self._take(sorted(places))
        except Exception as error:  # noqa: BLE001 - the library would log and forget it; it ends the run instead
            if not self._fault.done():
                self._fault.set_result(error)

    async def _take(self, places: list[Any]) -> None:
        if not places:
            self._settled.set()
            return
        consumer = self._consumer
        first, end = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        known = await self._known()
        starts: dict[Any, int] = {}
        pinned: dict[Any, int] = {}
        for place in places:
            read = await self._read_so_far(place)
            if read is None:
                oldest = known is not None or begins_with_oldest(self._ctx.config)
                starts[place] = pinned[place] = first[place] if oldest else end[place]
                if known is not None and place.partition < known:
                    self._ctx.log.warning(
                        "%s has forgotten how far it has read partition %d of topic %r; read from its start",
                        self._who, place.partition, place.topic
                    )  # fmt: skip
            else:
                starts[place] = self._start(place, read, first[place], end[place])
        if pinned:
            # So that a start after a loss begins here and not at what is then the end.
            await self._told(pinned)
        await self._remember(known)
        # All at once, and nothing is awaited from here until messages count: what the library hands out before is passed
        # over, and behind a position that is set by then nobody would fetch it again.
        for place, start in starts.items():
            consumer.seek(place, start)
            self._tenures[place] = Tenure(start)
        self._settled.set()

    async def _read_so_far(self, place: Any) -> int | None:
        offset: int | None = await self._consumer.committed(place)
        return offset

    def _start(self, place: Any, read: int, first: int, end: int) -> int:
        if first <= read <= end:
            return read
        what = f"partition {place.partition} of topic {place.topic!r}"
        if read < first:
            self._ctx.log.error("%d messages of %s were deleted before they could be read", first - read, what)
        else:
            self._ctx.log.warning("%s ends before what was read of it, so it is another one; read from its start", what)
        return first

    async def _known(self) -> int | None:
        """How many partitions the topic had when we last looked; None at the first time. From then on nothing is left out: a
        partition that was added is read from its beginning, and so is one whose offset Kafka has dropped."""
        entry = await self._ctx.bucket.get(_PARTITIONS_KEY)
        about, _, count = entry.value.decode().rpartition("\n") if entry else ("", "", "")
        return int(count) if about == self._about else None

    async def _remember(self, known: int | None) -> None:
        count = len(self._consumer.partitions_for_topic(self._topic) or ())
        if count and count != known:
            await self._ctx.bucket.put(_PARTITIONS_KEY, f"{self._about}\n{count}".encode())

    async def give_up(self) -> None:
        """All partitions are dealt out anew."""
        self._settled.clear()
        if tasks := [task for tenure in self._tenures.values() for task in tenure.under_way.values()]:
            await asyncio.wait(tasks, timeout=_HAND_OVER_SECONDS)
        try:
            async with asyncio.timeout(_HAND_OVER_SECONDS):
                await self._tell()
        except Exception as error:  # noqa: BLE001 - what could not be told is read again
            self._ctx.log.debug("what was stored before a rebalance could not be told: %s", error)
        self._tenures.clear()


class OneReader(Reader):
    """Reads one partition, and keeps how far in the bucket."""

    async def _begin(self) -> None:
        from aiokafka import TopicPartition

        place = TopicPartition(self._topic, int(self._ctx.config.partition))
        self._consumer.assign([place])
        await self._consumer.start()
        await self.take([place])

    async def _read_so_far(self, place: Any) -> int | None:
        entry = await self._ctx.bucket.get(_key(place))
        return int(entry.value) if entry else None

    async def _told(self, offsets: Mapping[Any, int]) -> bool:
        for place, offset in offsets.items():
            await self._ctx.bucket.put(_key(place), str(offset).encode())
        return True


def _key(place: Any) -> str:
    return f"offset/{place.topic}/{place.partition}"


def _place(record: Any) -> Any:
    from aiokafka import TopicPartition

    return TopicPartition(record.topic, record.partition)


def _listener(reader: Reader) -> Any:
    from aiokafka.abc import ConsumerRebalanceListener

    class Listener(ConsumerRebalanceListener):  # type: ignore[misc]
        async def on_partitions_revoked(self, revoked: Any) -> None:
            await reader.give_up()

        async def on_partitions_assigned(self, assigned: Any) -> None:
            await reader.take(assigned)

    return Listener()
