"""What every engine of the bus promises, as tests: the sentences of ``argosy.bus._base``, one by one.

An engine inherits ``BusSuite`` and says in the fixture ``store`` how to open its bus; one that can be lost
inherits ``BusLossSuite`` and says how to kill it and bring it back. Nothing here knows an engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

import pytest

from argosy.bus._base import At, Bus, Delivery, Lease, Pair, Subscription
from argosy.errors import BusError, EventTooLarge
from argosy.event import Event, encode

T = TypeVar("T")
PAIR = Pair("webhook", "example")
OTHER = Pair("webhook", "other")
PATIENCE_SECONDS = 60.0
"""How long a test waits for something that must come; it is there only so that a broken engine fails instead
of hanging.
"""

ODD_NAMES = [
    "a.b", "a b", "*", ">", "a*b>c", "%", "%2E", "a/b\\c", "ünïcode ☃", "line\nbreak\ttab",
    "", "=", "==", "$SYS", "..", "x" * 900,
]  # fmt: skip


class Store(ABC):
    """One bus as several processes would see it."""

    @abstractmethod
    def handle(self) -> Bus:
        """Another handle of the same bus, not yet entered."""

    @abstractmethod
    async def write_foreign(self, pair: Pair, text: bytes) -> None:
        """Put bytes on the log that Argosy did not write."""

    async def kill(self) -> None:
        """Take the bus away in the hardest way there is."""
        raise NotImplementedError

    async def restore(self) -> None:
        """Bring it back where it was."""
        raise NotImplementedError


def event(number: int | str, pair: Pair = PAIR, data: bytes = b'{"a":1}') -> Event:
    """An event whose id says which it is."""
    return Event(str(number), pair.source, pair.event, "webhook", "2026-11-23T10:00:00Z", data)


async def soon(waiting: Awaitable[T]) -> T:
    """The result, or a failure instead of a test that hangs."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await waiting


async def publish(bus: Bus, numbers: Iterable[int | str], pair: Pair = PAIR) -> None:
    """Publish one after the other."""
    for number in numbers:
        await soon(bus.publish(event(number, pair)))


async def read(batches: AsyncIterator[list[Delivery]], count: int) -> list[Delivery]:
    """The next entries, at least ``count``."""
    found: list[Delivery] = []
    while len(found) < count:
        found += await soon(anext(batches))
    return found


def ids(deliveries: Iterable[Delivery]) -> list[str]:
    """The ids of the events, in order."""
    return [delivery.event.id if delivery.event else "?" for delivery in deliveries]


async def read_ids(subscription: Subscription, count: int) -> list[str]:
    """The ids of the next ``count`` entries."""
    return ids(await read(aiter(subscription), count))


async def look(
    bus: Bus, pairs: Iterable[Pair] = (), *, at: At | None = None, until: int | None = None
) -> list[Delivery]:
    """What the log holds."""
    found: list[Delivery] = []
    async with contextlib.aclosing(bus.history(list(pairs), at=at, until=until)) as batches:
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for batch in batches:
                found += batch
    return found


async def take(leases: AsyncIterator[Lease]) -> Lease:
    """The next lease."""
    return await soon(anext(leases))


class BusSuite:
    """The contract of the log, the queue and the bucket."""

    @pytest.fixture
    async def bus(self, store: Store) -> AsyncIterator[Bus]:
        """A bus that is open."""
        async with store.handle() as bus:
            yield bus

    # ------------------------------------------------------------------ the event log

    async def test_an_open_bus_is_ready(self, store: Store) -> None:
        bus = store.handle()
        async with bus:
            assert bus.ready
        assert not bus.ready

    async def test_events_come_back_as_they_were_in_the_order_they_were_stored(self, bus: Bus) -> None:
        async with bus.subscribe("c", [PAIR]) as subscription:
            await publish(bus, range(20))
            found = await read(aiter(subscription), 20)
        assert [delivery.event for delivery in found] == [event(number) for number in range(20)]
        assert not any(delivery.error for delivery in found)

    async def test_positions_grow_along_the_log(self, bus: Bus) -> None:
        async with bus.subscribe("c", [PAIR]) as subscription:
            await publish(bus, range(5))
            positions = [delivery.position for delivery in await read(aiter(subscription), 5)]
        assert positions == sorted(set(positions))

    async def test_an_entry_says_when_it_was_stored(self, bus: Bus) -> None:
        before = time.time()
        async with bus.subscribe("c", [PAIR]) as subscription:
            await publish(bus, [1])
            [delivery] = await read(aiter(subscription), 1)
        assert before - 1 <= delivery.stored_at <= time.time() + 1

    async def test_an_entry_that_is_no_cloudevent_says_why_and_does_not_stop_the_others(
        self, store: Store, bus: Bus
    ) -> None:
        async with bus.subscribe("c", [PAIR]) as subscription:
            await store.write_foreign(PAIR, b"not json")
            await publish(bus, [1])
            broken, fine = await read(aiter(subscription), 2)
        assert broken.event is None
        assert "CloudEvent" in broken.error
        assert fine.event == event(1)

    async def test_the_same_source_subject_and_id_is_stored_once(self, bus: Bus) -> None:
        async with bus.subscribe("c", [PAIR]) as subscription:
            await publish(bus, [1, 1, 2, 1, 2, 3])
            assert await read_ids(subscription, 3) == ["1", "2", "3"]

    async def test_one_id_of_two_sources_or_subjects_is_stored_for_each(self, bus: Bus) -> None:
        pairs = [Pair("a", "b"), Pair("a", "c"), Pair("d", "b"), Pair("a/b", "c"), Pair("a", "b/c")]
        async with bus.subscribe("c", pairs) as subscription:
            for pair in pairs:
                await bus.publish(event("same", pair))
            found = await read(aiter(subscription), len(pairs))
        assert [Pair(d.event.source, d.event.subject) for d in found if d.event] == pairs

    @pytest.mark.parametrize("id", [" blank around ", "line\r\nbreak", "ünïcode", "a:b/c", "%0A", "x" * 5000])
    async def test_an_id_may_be_any_text(self, bus: Bus, id: str) -> None:
        async with bus.subscribe("c", [PAIR]) as subscription:
            await publish(bus, [id, id, "end"])
            assert await read_ids(subscription, 2) == [id, "end"]

    async def test_ids_that_differ_only_in_blanks_are_different(self, bus: Bus) -> None:
        different = ["a", "a ", " a", "a\n", "a%0A", "a\r"]
        async with bus.subscribe("c", [PAIR]) as subscription:
            await publish(bus, different)
            assert await read_ids(subscription, len(different)) == different

    async def test_an_event_that_is_too_large_is_refused_and_the_bus_goes_on(self, bus: Bus) -> None:
        async with bus.subscribe("c", [PAIR]) as subscription:
            with pytest.raises(EventTooLarge, match="webhook"):
                await bus.publish(event("big", data=b'"' + b"x" * 70_000_000 + b'"'))
            await publish(bus, [1])
            assert await read_ids(subscription, 1) == ["1"]

    async def test_events_published_at_once_are_all_stored(self, bus: Bus) -> None:
        async with bus.subscribe("c", [PAIR], max_in_flight=2000) as subscription:
            await soon(asyncio.gather(*(bus.publish(event(number)) for number in range(1000))))
            found = await read_ids(subscription, 1000)
        assert sorted(found, key=int) == [str(number) for number in range(1000)]

    async def test_a_new_consumer_begins_after_the_last_event(self, bus: Bus) -> None:
        await publish(bus, ["before"])
        async with bus.subscribe("c", [PAIR], start="new") as subscription:
            await publish(bus, ["after"])
            assert await read_ids(subscription, 1) == ["after"]

    async def test_a_consumer_can_begin_at_the_earliest_event(self, bus: Bus) -> None:
        await publish(bus, range(3))
        async with bus.subscribe("c", [PAIR], start="earliest") as subscription:
            assert await read_ids(subscription, 3) == ["0", "1", "2"]

    async def test_the_position_is_durable_before_the_context_is_entered(self, store: Store, bus: Bus) -> None:
        async with bus.subscribe("c", [PAIR], start="new"):
            pass
        await publish(bus, [1, 2])
        async with store.handle() as later, later.subscribe("c", [PAIR], start="new") as subscription:
            assert await read_ids(subscription, 2) == ["1", "2"]

    async def test_start_counts_only_for_a_consumer_without_a_position(self, bus: Bus) -> None:
        await publish(bus, ["before"])
        async with bus.subscribe("c", [PAIR], start="new"):
            pass
        await publish(bus, ["after"])
        async with bus.subscribe("c", [PAIR], start="earliest") as subscription:
            assert await read_ids(subscription, 1) == ["after"]

    async def test_what_was_committed_is_not_handed_out_again(self, store: Store, bus: Bus) -> None:
        async with bus.subscribe("c", [PAIR]) as subscription:
            await publish(bus, range(5))
            found = await read(aiter(subscription), 5)
            await soon(subscription.commit(found[2].position))
        async with store.handle() as later, later.subscribe("c", [PAIR]) as subscription:
            assert await read_ids(subscription, 2) == ["3", "4"]

    async def test_what_was_not_committed_comes_again_in_the_same_order(self, store: Store, bus: Bus) -> None:
        async with bus.subscribe("c", [PAIR]) as subscription:
            await publish(bus, range(5))
            first = await read_ids(subscription, 5)
        async with store.handle() as later, later.subscribe("c", [PAIR]) as subscription:
            assert await read_ids(subscription, 5) == first

    async def test_an_open_subscription_hands_out_each_entry_once(self, bus: Bus) -> None:
        async with bus.subscribe("c", [PAIR]) as subscription:
            await publish(bus, range(3))
            assert await read_ids(subscription, 3) == ["0", "1", "2"]
            await publish(bus, [3])
            assert await read_ids(subscription, 1) == ["3"]

    async def test_committing_an_earlier_position_takes_nothing_back(self, bus: Bus) -> None:
        async with bus.subscribe("c", [PAIR]) as subscription:
            await publish(bus, range(4))
            found = await read(aiter(subscription), 4)
            await subscription.commit(found[2].position)
            await subscription.commit(found[0].position)
        async with bus.subscribe("c", [PAIR]) as subscription:
            assert await read_ids(subscription, 1) == ["3"]

    async def test_entries_an_earlier_reader_may_have_acted_on_are_marked_repeated(self, bus: Bus) -> None:
        await publish(bus, ["old"])
        async with bus.subscribe("c", [PAIR], start="earliest") as subscription:
            await publish(bus, range(3))
            first = await read(aiter(subscription), 4)
            assert not any(delivery.repeated for delivery in first)
            await subscription.commit(first[1].position)
        async with bus.subscribe("c", [PAIR]) as subscription:
            await publish(bus, [3])
            second = await read(aiter(subscription), 3)
        assert [(i, d.repeated) for i, d in zip(ids(second), second, strict=True)] == [
            ("1", True),
            ("2", True),
            ("3", False),
        ]

    @pytest.mark.parametrize("limit", [1, 3, 300])
    async def test_no_more_than_max_in_flight_is_handed_out_beyond_the_committed_position(
        self, bus: Bus, limit: int
    ) -> None:
        total = 2 * limit + 1
        async with (
            bus.subscribe("c", [PAIR], max_in_flight=limit) as subscription,
            bus.subscribe("other", [PAIR], max_in_flight=2 * total) as everything,
        ):
            await soon(asyncio.gather(*(bus.publish(event(number)) for number in range(total))))
            batches = aiter(subscription)
            found = await read(batches, limit)
            assert len(found) == limit
            waiting = asyncio.ensure_future(anext(batches))
            await read(aiter(everything), total)  # the bus had all the time it takes to hand everything out
            assert not waiting.done()
            await subscription.commit(found[0].position)
            assert len(await soon(waiting)) == 1

    async def test_a_consumer_sees_the_pairs_it_names_and_no_others(self, bus: Bus) -> None:
        async with bus.subscribe("c", [OTHER]) as subscription:
            await publish(bus, [1, 2])
            await publish(bus, [3], OTHER)
            assert await read_ids(subscription, 1) == ["3"]

    async def test_a_consumer_without_pairs_sees_nothing_and_keeps_its_position(self, bus: Bus) -> None:
        async with bus.subscribe("c", []) as subscription, bus.subscribe("d", [PAIR]) as other:
            waiting = asyncio.ensure_future(anext(aiter(subscription)))
            await publish(bus, [1])
            await read_ids(other, 1)
            assert not waiting.done()
            waiting.cancel()
        async with bus.subscribe("c", [PAIR]) as subscription:
            assert await read_ids(subscription, 1) == ["1"]

    async def test_a_new_pair_is_read_from_the_position_on(self, bus: Bus) -> None:
        async with bus.subscribe("c", [PAIR]) as subscription:
            await publish(bus, ["o1"], OTHER)
            await publish(bus, ["p1"])
            [delivery] = await read(aiter(subscription), 1)
            await publish(bus, ["o2"], OTHER)
            await subscription.commit(delivery.position)
        async with bus.subscribe("c", [PAIR, OTHER]) as subscription:
            await publish(bus, ["p2"])
            assert await read_ids(subscription, 2) == ["o2", "p2"]

    async def test_a_reader_knows_whether_it_has_handed_out_all_that_is_stored(self, bus: Bus) -> None:
        async with bus.subscribe("c", [PAIR, OTHER]) as subscription:
            assert await soon(subscription.caught_up())
            await publish(bus, [1])
            await publish(bus, [2], OTHER)
            assert not await soon(subscription.caught_up())
            batches = aiter(subscription)
            found = await read(batches, 2)
            assert await soon(subscription.caught_up())  # handed out, though not committed
            await subscription.commit(found[-1].position)
            # What others wait for is not asked about
            await publish(bus, [3], Pair("webhook", "third"))
            assert await soon(subscription.caught_up())
            await publish(bus, [4], OTHER)
            assert not await soon(subscription.caught_up())
        # A later reader has handed nothing out yet
        async with bus.subscribe("c", [PAIR, OTHER]) as subscription:
            assert not await soon(subscription.caught_up())
            await read(aiter(subscription), 1)
            assert await soon(subscription.caught_up())

    async def test_consumers_do_not_disturb_each_other(self, bus: Bus) -> None:
        async with bus.subscribe("c", [PAIR]) as one, bus.subscribe("d", [PAIR]) as two:
            await publish(bus, [1, 2])
            found = await read(aiter(one), 2)
            await one.commit(found[-1].position)
            assert await read_ids(two, 2) == ["1", "2"]

    async def test_waiting_that_was_cancelled_loses_nothing(self, bus: Bus) -> None:
        async with bus.subscribe("c", [PAIR]) as subscription:
            batches = aiter(subscription)
            found: list[Delivery] = []
            for number in range(20):
                waiting = asyncio.ensure_future(anext(batches))
                sending = asyncio.ensure_future(publish(bus, [number]))
                for _ in range(number % 7):
                    await asyncio.sleep(0)
                waiting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    found += await waiting
                await sending
            found += await read(batches, 20 - len(found)) if len(found) < 20 else []
            assert ids(found) == [str(number) for number in range(20)]

    @pytest.mark.parametrize("name", ODD_NAMES)
    async def test_names_of_sources_events_and_consumers_are_any_text(self, bus: Bus, name: str) -> None:
        pairs = [Pair(name or "-", "e"), Pair("s", name)]
        async with bus.subscribe(name, pairs) as subscription, bus.subscribe(name + "2", pairs) as other:
            await publish(bus, ["not mine"], Pair("s", "e"))
            await publish(bus, [1], pairs[0])
            await publish(bus, [2], pairs[1])
            found = await read(aiter(subscription), 2)
            await subscription.commit(found[0].position)
            assert [(d.event.source, d.event.subject) for d in found if d.event] == pairs
            assert await read_ids(other, 2) == ["1", "2"]
        async with bus.subscribe(name, pairs) as subscription:
            assert await read_ids(subscription, 1) == ["2"]

    # ------------------------------------------------------------------ looking into the event log

    async def test_a_consumer_can_begin_at_a_time(self, bus: Bus) -> None:
        await publish(bus, [0, 1, 2, 3])
        stored = await look(bus)
        for number, delivery in enumerate(stored):
            async with bus.subscribe(f"c{number}", [PAIR], start=At(time=delivery.stored_at)) as subscription:
                # Several may have been stored in one tick of the clock; the first of them is meant.
                first = next(other for other in stored if other.stored_at >= delivery.stored_at)
                [found, *_] = await read(aiter(subscription), 1)
                assert found.position == first.position

    async def test_a_consumer_that_begins_in_the_future_gets_what_comes_from_now_on(self, bus: Bus) -> None:
        await publish(bus, ["before"])
        async with bus.subscribe("c", [PAIR], start=At(time=time.time() + 3600)) as subscription:
            await publish(bus, ["after"])
            assert await read_ids(subscription, 1) == ["after"]

    async def test_a_consumer_can_begin_at_a_position(self, bus: Bus) -> None:
        await publish(bus, range(5))
        stored = await look(bus)
        async with bus.subscribe("c", [PAIR], start=At(position=stored[2].position)) as subscription:
            assert await read_ids(subscription, 3) == ["2", "3", "4"]

    async def test_a_place_counts_only_for_a_consumer_without_a_position(self, bus: Bus) -> None:
        async with bus.subscribe("c", [PAIR], start="new"):
            pass
        await publish(bus, range(3))
        stored = await look(bus)
        async with bus.subscribe("c", [PAIR], start=At(position=stored[2].position)) as subscription:
            assert await read_ids(subscription, 3) == ["0", "1", "2"]

    async def test_the_position_of_a_consumer_can_be_asked_for(self, bus: Bus) -> None:
        assert await bus.position("c") is None
        async with bus.subscribe("c", [PAIR], start="earliest") as subscription:
            await publish(bus, range(3))
            found = await read(aiter(subscription), 3)
            await subscription.commit(found[1].position)
        assert await bus.position("c") == found[1].position

    async def test_an_empty_log_has_no_extent_and_no_history(self, bus: Bus) -> None:
        first, last = await bus.extent()
        assert first > last
        assert await look(bus) == []

    async def test_the_extent_is_the_first_and_the_last_position(self, bus: Bus) -> None:
        await publish(bus, range(3))
        stored = await look(bus)
        assert await bus.extent() == (stored[0].position, stored[-1].position)

    async def test_the_history_is_everything_in_order_and_ends(self, bus: Bus) -> None:
        await soon(asyncio.gather(*(bus.publish(event(number)) for number in range(700))))
        await publish(bus, ["other"], OTHER)
        stored = await look(bus)
        assert sorted(ids(stored)[:-1], key=int) == [str(number) for number in range(700)]
        assert ids(stored)[-1] == "other"
        positions = [delivery.position for delivery in stored]
        assert positions == sorted(set(positions))

    async def test_the_history_shows_the_pairs_that_are_asked_for(self, bus: Bus) -> None:
        await publish(bus, [1, 2])
        await publish(bus, [3], OTHER)
        await publish(bus, [4])
        assert ids(await look(bus, [OTHER])) == ["3"]
        assert ids(await look(bus, [PAIR])) == ["1", "2", "4"]
        assert await look(bus, [Pair("nobody", "here")]) == []

    async def test_the_history_has_a_beginning_and_an_end(self, bus: Bus) -> None:
        await publish(bus, range(6))
        stored = await look(bus)
        at = At(position=stored[1].position)
        assert ids(await look(bus, at=at, until=stored[3].position)) == ["1", "2", "3"]
        assert ids(await look(bus, until=stored[0].position)) == ["0"]
        assert await look(bus, at=At(position=stored[-1].position + 1)) == []
        late = [other for other in stored if other.stored_at >= stored[4].stored_at]
        assert await look(bus, at=At(time=stored[4].stored_at)) == late

    async def test_looking_moves_no_consumer(self, bus: Bus) -> None:
        async with bus.subscribe("c", [PAIR]) as subscription:
            await publish(bus, range(3))
            await look(bus)
            assert await read_ids(subscription, 3) == ["0", "1", "2"]

    async def test_an_entry_that_is_no_cloudevent_is_in_the_history_with_its_reason(
        self, store: Store, bus: Bus
    ) -> None:
        await store.write_foreign(PAIR, b"not json")
        [broken] = await look(bus)
        assert broken.event is None
        assert "CloudEvent" in broken.error

    async def test_a_history_that_follows_waits_for_what_comes(self, bus: Bus) -> None:
        await publish(bus, [0])
        async with contextlib.aclosing(bus.history([PAIR], follow=True)) as batches:
            assert ids(await soon(anext(batches))) == ["0"]
            waiting = asyncio.ensure_future(anext(batches))
            await publish(bus, ["not this"], OTHER)
            await publish(bus, [1])
            assert ids(await soon(waiting)) == ["1"]
            waiting = asyncio.ensure_future(anext(batches))
            await publish(bus, [2])
            assert ids(await soon(waiting)) == ["2"]

    @pytest.mark.parametrize("pairs", [[PAIR, OTHER], []])
    async def test_an_event_is_found_by_its_id(self, bus: Bus, pairs: list[Pair]) -> None:
        await publish(bus, ["a", "b", "c/d e%"])
        await publish(bus, ["b"], OTHER)
        assert [delivery.event for delivery in await bus.find("c/d e%", pairs)] == [event("c/d e%")]
        # One id of two events is two things.
        assert {d.event.subject for d in await bus.find("b", pairs) if d.event} == {PAIR.event, OTHER.event}
        assert await bus.find("nobody", pairs) == []

    async def test_an_event_is_found_by_the_beginning_of_its_id_the_newest_first(self, bus: Bus) -> None:
        await publish(bus, ["1234-old", "other", "1234-new", "12"])
        assert ids(await bus.find("1234-")) == ["1234-new", "1234-old"]
        assert ids(await bus.find("1234-o", [PAIR])) == ["1234-old"]
        # The whole id of one is not also the beginning of another's.
        assert ids(await bus.find("12")) == ["12"]

    async def test_looking_for_an_id_leaves_nothing_on_the_log(self, bus: Bus) -> None:
        await publish(bus, ["there"])
        before = await bus.extent()
        await bus.find("there", [PAIR, OTHER])
        await bus.find("not there", [PAIR, OTHER])
        assert await bus.extent() == before
        await publish(bus, ["not there"])
        assert ids(await look(bus)) == ["there", "not there"]

    async def test_an_event_of_a_process_that_spells_ids_in_another_way_is_found(self, store: Store, bus: Bus) -> None:
        await publish(bus, ["ours"])
        await store.write_foreign(PAIR, encode(event("theirs-1")))
        assert ids(await bus.find("theirs-1")) == ["theirs-1"]
        assert ids(await bus.find("theirs", [PAIR])) == ["theirs-1"]

    # ------------------------------------------------------------------ the action queue

    async def test_an_item_is_handed_out_as_it_was_put(self, bus: Bus) -> None:
        queue = bus.queue("q")
        assert await queue.put("a", b"\x00body\xff")
        async with queue.take() as leases:
            lease = await take(leases)
            assert (lease.id, lease.body, lease.failures, lease.last_error) == ("a", b"\x00body\xff", 0, "")

    async def test_items_come_in_the_order_they_were_put(self, bus: Bus) -> None:
        queue = bus.queue("q")
        for number in range(10):
            await queue.put(f"i{number}", b"")
        found = []
        async with queue.take() as leases:
            for _ in range(10):
                lease = await take(leases)
                found.append(lease.id)
                await lease.done()
        assert found == [f"i{number}" for number in range(10)]

    async def test_items_put_side_by_side_come_in_the_order_in_which_the_puts_began(self, bus: Bus) -> None:
        queue, other = bus.queue("q"), bus.queue("other")
        for first in range(0, 400, 40):
            numbers = range(first, first + 40)
            await asyncio.gather(*(each.put(f"i{number}", b"") for number in numbers for each in (queue, other)))
        found = []
        async with queue.take() as leases:
            for _ in range(400):
                lease = await take(leases)
                found.append(lease.id)
                await lease.done()
        assert found == [f"i{number}" for number in range(400)]

    async def test_an_id_that_waits_is_not_stored_again(self, bus: Bus) -> None:
        queue = bus.queue("q")
        assert await queue.put("a", b"first")
        assert not await queue.put("a", b"second")
        assert not await queue.put("a", b"second", again=True)
        assert await queue.depth() == 1

    async def test_an_id_that_is_held_is_not_stored_again(self, store: Store, bus: Bus) -> None:
        queue = bus.queue("q")
        await queue.put("a", b"")
        async with queue.take() as leases, store.handle() as other:
            await take(leases)
            assert not await other.queue("q").put("a", b"")
            assert not await other.queue("q").put("a", b"", again=True)

    async def test_an_id_that_is_done_is_not_stored_again(self, store: Store, bus: Bus) -> None:
        queue = bus.queue("q")
        await queue.put("a", b"")
        async with queue.take() as leases:
            await (await take(leases)).done(b"ok")
        async with store.handle() as other:
            assert not await other.queue("q").put("a", b"")
            assert not await other.queue("q").put("a", b"", again=True)
            assert await other.queue("q").depth() == 0

    async def test_an_id_that_is_dead_is_not_stored_again(self, store: Store, bus: Bus) -> None:
        queue = bus.queue("q")
        await queue.put("a", b"")
        async with queue.take() as leases:
            await (await take(leases)).dead_letter("no")
        async with store.handle() as other:
            assert not await other.queue("q").put("a", b"")
            assert not await other.queue("q").put("a", b"", again=True)
            assert await other.queue("q").depth() == 0

    async def test_of_many_who_put_one_id_at_once_one_stores_it(self, bus: Bus) -> None:
        queue = bus.queue("q")
        stored = await soon(asyncio.gather(*(queue.put("a", b"") for _ in range(50))))
        assert sorted(stored) == [False] * 49 + [True]
        assert await queue.depth() == 1

    async def test_an_item_that_is_too_large_is_refused(self, bus: Bus) -> None:
        queue = bus.queue("q")
        with pytest.raises(EventTooLarge, match="'a'"):
            await queue.put("a", b"x" * 70_000_000)
        assert await queue.depth() == 0

    async def test_queues_do_not_disturb_each_other(self, bus: Bus) -> None:
        one, two = bus.queue("one"), bus.queue("two")
        assert await one.put("a", b"1")
        assert await two.put("a", b"2")
        async with two.take() as leases:
            lease = await take(leases)
            assert lease.body == b"2"
            await lease.done(b"x")
        assert await one.depth() == 1
        assert await one.outcome("a") is None

    async def test_with_one_in_flight_the_second_waits_for_the_first_over_all_takers(
        self, store: Store, bus: Bus
    ) -> None:
        queue = bus.queue("q", max_in_flight=1)
        await queue.put("a", b"")
        await queue.put("b", b"")
        async with (
            store.handle() as other,
            queue.take() as mine,
            other.queue("q", max_in_flight=1).take() as theirs,
        ):
            first = await take(mine)
            here, there = asyncio.ensure_future(anext(mine)), asyncio.ensure_future(anext(theirs))
            await other.queue("elsewhere").put("x", b"")
            async with other.queue("elsewhere").take() as leases:
                await take(leases)  # the bus had the time that handing out takes
            assert not here.done()
            assert not there.done()
            await first.done()
            done, waiting = await asyncio.wait(
                [here, there], timeout=PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            assert [task.result().id for task in done] == ["b"]
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def test_as_many_items_as_allowed_are_out_at_once(self, bus: Bus) -> None:
        queue = bus.queue("q", max_in_flight=3)
        for name in "abcd":
            await queue.put(name, b"")
        async with queue.take() as leases:
            held = [await take(leases) for _ in range(3)]
            assert [lease.id for lease in held] == ["a", "b", "c"]
            fourth = asyncio.ensure_future(anext(leases))
            await bus.queue("elsewhere").put("x", b"")
            async with bus.queue("elsewhere").take() as others:
                await take(others)
            assert not fourth.done()
            await held[1].done()
            assert (await soon(fourth)).id == "d"

    async def test_a_taker_that_does_not_ask_hoards_nothing(self, store: Store, bus: Bus) -> None:
        queue = bus.queue("q", max_in_flight=2)
        await queue.put("a", b"")
        await queue.put("b", b"")
        async with store.handle() as other, queue.take() as mine:
            assert (await take(mine)).id == "a"
            async with other.queue("q", max_in_flight=2).take() as theirs:
                assert (await take(theirs)).id == "b"

    async def test_what_is_done_is_gone_and_its_outcome_is_kept(self, store: Store, bus: Bus) -> None:
        queue = bus.queue("q")
        await queue.put("a", b"")
        await queue.put("b", b"")
        async with queue.take() as leases:
            await (await take(leases)).done(b"\x00answer")
            await (await take(leases)).done()
        assert await queue.depth() == 0
        async with store.handle() as other:
            assert await other.queue("q").outcome("a") == b"\x00answer"
            assert await other.queue("q").outcome("b") == b""
            assert await other.queue("q").outcome("unknown") is None
            await other.queue("q").put("c", b"")
            async with other.queue("q").take() as leases:
                assert (await take(leases)).id == "c"

    async def test_an_item_that_waits_has_no_outcome(self, bus: Bus) -> None:
        queue = bus.queue("q")
        await queue.put("a", b"")
        assert await queue.outcome("a") is None

    async def test_a_failed_try_is_counted_and_the_item_comes_again(self, bus: Bus) -> None:
        queue = bus.queue("q")
        await queue.put("a", b"body")
        async with queue.take() as leases:
            for failures in range(3):
                lease = await take(leases)
                assert (lease.failures, lease.body) == (failures, b"body")
                assert lease.last_error == (f"error {failures - 1}\n☃" if failures else "")
                await lease.retry_in(0.01 * failures, f"error {failures}\n☃")

    async def test_failures_are_counted_over_all_processes(self, store: Store, bus: Bus) -> None:
        queue = bus.queue("q")
        await queue.put("a", b"")
        async with queue.take() as leases:
            await (await take(leases)).retry_in(0, "first")
            await (await take(leases)).retry_in(0, "second")
        async with store.handle() as other, other.queue("q").take() as leases:
            lease = await take(leases)
            assert (lease.failures, lease.last_error) == (2, "second")

    async def test_with_one_in_flight_later_items_wait_behind_one_that_rests(self, bus: Bus) -> None:
        queue = bus.queue("q", max_in_flight=1)
        await queue.put("a", b"")
        await queue.put("b", b"")
        async with queue.take() as leases:
            await (await take(leases)).retry_in(0.3, "not yet")
            again = await take(leases)
            assert (again.id, again.failures) == ("a", 1)
            await again.done()
            assert (await take(leases)).id == "b"

    async def test_an_item_that_rests_lets_others_pass_where_more_are_allowed(self, bus: Bus) -> None:
        queue = bus.queue("q", max_in_flight=2)
        await queue.put("a", b"")
        await queue.put("b", b"")
        async with queue.take() as leases:
            await (await take(leases)).retry_in(1.0, "not yet")
            found = [await take(leases), await take(leases)]
        assert [lease.id for lease in found] == ["b", "a"]

    async def test_a_rest_outlives_its_taker(self, store: Store, bus: Bus) -> None:
        queue = bus.queue("q")
        await queue.put("a", b"")
        async with queue.take() as leases:
            lease = await take(leases)
            before = time.time()
            await lease.retry_in(1.0, "not yet")
        async with store.handle() as other, other.queue("q").take() as leases:
            await take(leases)
            assert time.time() >= before + 0.95  # a promise about the earliest moment, not about speed

    async def test_a_dead_letter_stays_where_a_person_finds_it(self, store: Store, bus: Bus) -> None:
        queue = bus.queue("q")
        await queue.put("a", b"body")
        await queue.put("b", b"")
        before = time.time()
        async with queue.take() as leases:
            await (await take(leases)).retry_in(0, "once")
            await (await take(leases)).dead_letter("the receiver said:\nno ☃")
            await (await take(leases)).dead_letter("")
        assert await queue.depth() == 0
        async with store.handle() as other:
            first, second = await other.queue("q").dead_letters()
            assert await other.queue("q").count_dead() == 2
            assert (first.id, first.body, first.reason, first.failures) == (
                "a",
                b"body",
                "the receiver said:\nno ☃",
                1,
            )
            assert before - 1 <= first.died_at <= time.time() + 1
            assert (second.id, second.reason, second.failures) == ("b", "", 0)
            assert await other.queue("q").outcome("a") is None
            assert await other.queue("other").dead_letters() == []
            assert await other.queue("other").count_dead() == 0

    async def test_a_very_long_reason_or_error_does_not_stop_an_ending(self, bus: Bus) -> None:
        queue = bus.queue("q")
        await queue.put("a", b"")
        async with queue.take() as leases:
            await (await take(leases)).retry_in(0, "ü" * 1_000_000)
            lease = await take(leases)
            assert lease.last_error.startswith("üüü")
            await lease.dead_letter("☃" * 1_000_000)
        [dead] = await queue.dead_letters()
        assert dead.reason.startswith("☃☃☃")

    async def test_what_is_handed_back_comes_at_once_to_whoever_takes_without_counting(
        self, store: Store, bus: Bus
    ) -> None:
        queue = bus.queue("q")
        await queue.put("a", b"")
        async with queue.take() as mine, store.handle() as other, other.queue("q").take() as theirs:
            await (await take(mine)).hand_back()
            lease = await take(theirs)
            assert (lease.id, lease.failures, lease.last_error) == ("a", 0, "")

    async def test_what_was_held_when_taking_ended_comes_again_without_counting(self, store: Store, bus: Bus) -> None:
        queue = bus.queue("q")
        await queue.put("a", b"")
        async with queue.take() as leases:
            await take(leases)
        async with store.handle() as other, other.queue("q").take() as leases:
            lease = await take(leases)
            assert (lease.id, lease.failures) == ("a", 0)

    async def test_a_lease_can_be_ended_after_taking_ended(self, bus: Bus) -> None:
        queue = bus.queue("q")
        await queue.put("a", b"")
        await queue.put("b", b"")
        async with queue.take() as leases:
            lease = await take(leases)
        await soon(lease.done(b"late"))
        async with queue.take() as leases:
            assert (await take(leases)).id == "b"
        assert await queue.outcome("a") == b"late"

    async def test_the_depth_counts_what_waits_is_held_or_rests(self, bus: Bus) -> None:
        queue = bus.queue("q", max_in_flight=5)
        assert await queue.depth() == 0
        for name in "abcde":
            await queue.put(name, b"")
        async with queue.take() as leases:
            await (await take(leases)).retry_in(60, "rests")
            await take(leases)
            await (await take(leases)).done()
            await (await take(leases)).dead_letter("dead")
            assert await queue.depth() == 3

    async def test_taking_that_was_cancelled_loses_no_item(self, bus: Bus) -> None:
        queue = bus.queue("q")
        async with queue.take() as leases:
            for number in range(20):
                await queue.put(str(number), b"")
            found: list[str] = []
            for number in range(1000):
                waiting = asyncio.ensure_future(anext(leases))
                for _ in range(number % 17):
                    await asyncio.sleep(0)
                waiting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    lease = await waiting
                    found.append(lease.id)
                    await lease.done()
                if len(found) == 20:
                    break
            while len(found) < 20:
                lease = await take(leases)
                found.append(lease.id)
                await lease.done()
            assert found == [str(number) for number in range(20)]

    async def test_a_wait_for_items_ends_when_one_is_put(self, bus: Bus) -> None:
        queue = bus.queue("q")
        async with queue.take() as leases:
            waiting = asyncio.ensure_future(anext(leases))
            await asyncio.sleep(0)
            await queue.put("a", b"")
            assert (await soon(waiting)).id == "a"

    @pytest.mark.parametrize("name", ODD_NAMES)
    async def test_names_of_queues_and_items_are_any_text(self, store: Store, bus: Bus, name: str) -> None:
        queue = bus.queue(name)
        assert queue.name == name
        assert await queue.put(name, b"body")
        assert await queue.put(name + "2", b"body")
        async with queue.take() as leases:
            lease = await take(leases)
            assert lease.id == name
            await lease.done(b"x")
            await (await take(leases)).dead_letter("dead")
        assert await queue.outcome(name) == b"x"
        assert [letter.id for letter in await queue.dead_letters()] == [name + "2"]

    # ------------------------------------------------------------------ buckets

    async def test_a_value_comes_back_with_its_revision(self, store: Store, bus: Bus) -> None:
        bucket = bus.bucket("b")
        assert await bucket.get("k") is None
        revision = await bucket.put("k", b"\x00v\xff")
        assert revision > 0
        async with store.handle() as other:
            entry = await other.bucket("b").get("k")
        assert entry is not None
        assert (entry.value, entry.revision) == (b"\x00v\xff", revision)

    async def test_the_revision_grows_with_every_write_of_the_bucket(self, bus: Bus) -> None:
        bucket = bus.bucket("b")
        revisions = [await bucket.put(key, b"") for key in ("a", "b", "a", "c", "a")]
        assert revisions == sorted(set(revisions))

    async def test_revision_0_writes_only_what_is_not_there(self, bus: Bus) -> None:
        bucket = bus.bucket("b")
        first = await bucket.put("k", b"1", revision=0)
        with pytest.raises(BusError, match="'k'"):
            await bucket.put("k", b"2", revision=0)
        entry = await bucket.get("k")
        assert entry is not None
        assert (entry.value, entry.revision) == (b"1", first)

    async def test_a_write_with_a_revision_needs_the_key_to_stand_at_it(self, bus: Bus) -> None:
        bucket = bus.bucket("b")
        first = await bucket.put("k", b"1")
        await bucket.put("other", b"")
        second = await bucket.put("k", b"2", revision=first)
        with pytest.raises(BusError, match="'k'"):
            await bucket.put("k", b"3", revision=first)
        entry = await bucket.get("k")
        assert entry is not None
        assert (entry.value, entry.revision) == (b"2", second)

    async def test_of_many_who_write_with_one_revision_one_wins(self, bus: Bus) -> None:
        bucket = bus.bucket("b")
        results = await soon(
            asyncio.gather(*(bucket.put("k", str(n).encode(), revision=0) for n in range(20)), return_exceptions=True)
        )
        assert sum(isinstance(result, int) for result in results) == 1
        assert all(isinstance(result, int | BusError) for result in results)

    async def test_a_deleted_key_is_gone_and_can_be_written_anew(self, bus: Bus) -> None:
        bucket = bus.bucket("b")
        await bucket.delete("k")
        first = await bucket.put("k", b"1")
        await bucket.delete("k")
        assert await bucket.get("k") is None
        assert await bucket.keys() == []
        with pytest.raises(BusError):
            await bucket.put("k", b"2", revision=first)
        assert await bucket.put("k", b"2", revision=0) > first

    async def test_keys_are_all_keys_sorted(self, bus: Bus) -> None:
        bucket = bus.bucket("b")
        assert await bucket.keys() == []
        for key in ("b", "a/c", "a", "B"):
            await bucket.put(key, b"")
        assert await bucket.keys() == ["B", "a", "a/c", "b"]

    async def test_keys_are_any_text_without_nul(self, bus: Bus) -> None:
        bucket = bus.bucket("b")
        for number, key in enumerate(ODD_NAMES):
            await bucket.put(key, str(number).encode())
        assert await bucket.keys() == sorted(ODD_NAMES)
        for number, key in enumerate(ODD_NAMES):
            entry = await bucket.get(key)
            assert entry is not None
            assert entry.value == str(number).encode()

    @pytest.mark.parametrize("name", ODD_NAMES)
    async def test_names_of_buckets_are_any_text(self, bus: Bus, name: str) -> None:
        await bus.bucket(name).put("k", b"1")
        assert await bus.bucket(name + "2").get("k") is None
        assert await bus.bucket(name).keys() == ["k"]

    async def test_buckets_do_not_disturb_each_other(self, bus: Bus) -> None:
        await bus.bucket("one").put("k", b"1")
        await bus.bucket("two").put("k", b"2")
        await bus.bucket("one").delete("k")
        entry = await bus.bucket("two").get("k")
        assert entry is not None
        assert entry.value == b"2"

    async def test_a_value_may_be_empty_or_large(self, bus: Bus) -> None:
        bucket = bus.bucket("b")
        for value in (b"", b"\xff" * 900_000):
            await bucket.put("k", value)
            entry = await bucket.get("k")
            assert entry is not None
            assert entry.value == value

    async def test_a_value_that_is_too_large_is_refused(self, bus: Bus) -> None:
        with pytest.raises(BusError, match="'k'"):
            await bus.bucket("b").put("k", b"x" * 70_000_000)


class BusLossSuite(BusSuite):
    """What an engine promises when its server is killed and comes back. Adds to BusSuite."""

    async def test_a_lost_bus_is_not_ready_until_it_is_back(self, store: Store, bus: Bus) -> None:
        await store.kill()
        await until(lambda: not bus.ready)
        await store.restore()
        await until(lambda: bus.ready)

    async def test_looking_into_the_log_goes_on_after_a_loss(self, store: Store, bus: Bus) -> None:
        await publish(bus, range(400))
        async with contextlib.aclosing(bus.history([PAIR], follow=True)) as batches:
            found = ids(await soon(anext(batches)))
            await store.kill()
            await until(lambda: not bus.ready)
            waiting = [asyncio.ensure_future(bus.extent()), asyncio.ensure_future(bus.find("399", [PAIR]))]
            await store.restore()
            await publish(bus, range(400, 500))
            while len(found) < 500:
                found += ids(await soon(anext(batches)))
            await soon(asyncio.gather(*waiting))
        assert found == [str(number) for number in range(500)]
        assert ids(await bus.find("7")) == ["7"]
        assert len(await look(bus)) == 500

    async def test_everything_waits_through_a_loss_and_then_succeeds(self, store: Store, bus: Bus) -> None:
        queue, bucket = bus.queue("q", max_in_flight=2), bus.bucket("b")
        revision = await bucket.put("k", b"1")
        for name in "abcd":
            await queue.put(name, b"")
        async with bus.subscribe("c", [PAIR]) as subscription, queue.take() as leases:
            await publish(bus, [1])
            [delivery] = await read(aiter(subscription), 1)
            first, second = await take(leases), await take(leases)
            await store.kill()
            waiting = [
                asyncio.ensure_future(attempt)
                for attempt in (
                    bus.publish(event(2)),
                    subscription.commit(delivery.position),
                    queue.put("e", b""),
                    first.done(b"ok"),
                    second.dead_letter("no"),
                    bucket.put("k", b"2", revision=revision),
                    bucket.get("k"),
                    bucket.keys(),
                    queue.outcome("x"),
                    queue.dead_letters(),
                )
            ]
            await until(lambda: not bus.ready)
            assert not any(task.done() for task in waiting)
            await store.restore()
            await soon(asyncio.gather(*waiting))
            assert await read_ids(subscription, 1) == ["2"]
            third = await take(leases)
            assert third.id == "c"
            assert await soon(queue.outcome("a")) == b"ok"
            assert [letter.id for letter in await soon(queue.dead_letters())] == ["b"]
            entry = await soon(bucket.get("k"))
            assert entry is not None
            assert entry.value == b"2"
            assert await soon(queue.depth()) == 3

    async def test_publishing_and_reading_lose_nothing_and_keep_the_order_while_the_bus_is_killed(
        self, store: Store, bus: Bus
    ) -> None:
        total = 3000
        found: list[str] = []

        async def send() -> None:
            for first in range(0, total, 50):  # begun in this order, under way side by side
                await asyncio.gather(*(bus.publish(event(number)) for number in range(first, first + 50)))

        async def receive() -> None:
            async with bus.subscribe("c", [PAIR], max_in_flight=64) as subscription:
                opened.set()
                async for batch in subscription:
                    found.extend(ids(batch))
                    await subscription.commit(batch[-1].position)
                    if len(found) >= total:
                        return

        opened = asyncio.Event()
        receiving = asyncio.ensure_future(receive())
        await soon(opened.wait())
        sending = asyncio.ensure_future(send())
        for share in (0.2, 0.5, 0.8):
            await until(lambda share=share: len(found) > share * total)  # type: ignore[misc]
            await store.kill()
            await store.restore()
        await soon(asyncio.gather(sending, receiving))
        assert found == [str(number) for number in range(total)]

    async def test_queue_work_loses_nothing_and_keeps_the_order_while_the_bus_is_killed(
        self, store: Store, bus: Bus
    ) -> None:
        total = 600
        queue = bus.queue("q", max_in_flight=1)
        found: list[str] = []

        async def put() -> None:
            for first in range(0, total, 50):  # begun in this order, under way side by side
                await asyncio.gather(*(queue.put(str(number), b"") for number in range(first, first + 50)))

        async def work() -> None:
            async with queue.take() as leases:
                async for lease in leases:
                    found.append(lease.id)
                    await lease.done(lease.id.encode())
                    if lease.id == str(total - 1):
                        return

        tasks = [asyncio.ensure_future(put()), asyncio.ensure_future(work())]
        for share in (0.2, 0.5, 0.8):
            await until(lambda share=share: len(found) > share * total)  # type: ignore[misc]
            await store.kill()
            await store.restore()
        await soon(asyncio.gather(*tasks))
        assert list(dict.fromkeys(found)) == [str(number) for number in range(total)]
        assert await soon(queue.depth()) == 0
        outcomes = await soon(asyncio.gather(*(queue.outcome(str(number)) for number in range(total))))
        assert outcomes == [str(number).encode() for number in range(total)]

    async def test_an_ended_id_is_known_after_the_bus_was_killed(self, store: Store, bus: Bus) -> None:
        queue = bus.queue("q")
        await queue.put("done", b"")
        await queue.put("dead", b"")
        await queue.put("waits", b"")
        async with queue.take() as leases:
            await (await take(leases)).done()
            await (await take(leases)).dead_letter("no")
        await store.kill()
        await store.restore()
        assert not await soon(queue.put("done", b""))
        assert not await soon(queue.put("dead", b""))
        assert not await soon(queue.put("waits", b""))
        assert await soon(queue.depth()) == 1

    async def test_failures_and_rests_are_known_after_the_bus_was_killed(self, store: Store, bus: Bus) -> None:
        queue = bus.queue("q")
        await queue.put("a", b"")
        async with queue.take() as leases:
            await (await take(leases)).retry_in(0, "first")
            lease = await take(leases)
            before = time.time()
            await lease.retry_in(1.5, "second")
            await store.kill()
            await store.restore()
            lease = await take(leases)
            assert (lease.failures, lease.last_error) == (2, "second")
            assert time.time() >= before + 1.45


async def until(holds: Callable[[], bool]) -> None:
    """Return once ``holds``; the condition has no event of its own to await."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
