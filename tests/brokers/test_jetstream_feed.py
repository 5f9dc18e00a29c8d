"""Readers of one process on a real server: what they share, what each keeps for itself, and what a new one is told of the old."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from argosy.bus._base import Bus, Subscription
from tests.brokers.nats_server import JetStreamStore, NatsServer
from tests.conformance.bus import OTHER, PAIR, ids, publish, read, read_ids, soon, until


@pytest.fixture
async def bus(server: NatsServer) -> AsyncIterator[Bus]:
    async with JetStreamStore(server).handle() as bus:
        yield bus


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """A feed keeps 64 entries for those that are behind."""
    monkeypatch.setattr("argosy.bus._jetstream_feed._KEPT", 64)
    monkeypatch.setattr("argosy.bus._jetstream_feed._TAIL", 16)
    for module in ("_jetstream_feed", "_jetstream_reader"):
        monkeypatch.setattr(f"argosy.bus.{module}.BATCH", 16)


def texts(numbers: range) -> list[str]:
    return [str(number) for number in numbers]


async def consumers(plain: Any) -> int:
    """How many consumers the server has for the log."""
    return len(await plain.consumers_info("default"))


async def commit_all(subscription: Subscription, count: int) -> list[str]:
    """The ids of the next ``count`` entries, committed."""
    batches, found = aiter(subscription), []
    while len(found) < count:
        batch = await soon(anext(batches))
        found += batch
        await subscription.commit(batch[-1].position)
    return ids(found)


async def test_readers_of_the_same_pairs_share_one_consumer_and_what_it_decodes(bus: Bus, plain: Any) -> None:
    async with AsyncExitStack() as stack:
        readers = [await stack.enter_async_context(bus.subscribe(f"s{number}", [PAIR])) for number in range(5)]
        other = await stack.enter_async_context(bus.subscribe("other", [OTHER]))
        await publish(bus, range(20))
        await publish(bus, ["x"], OTHER)

        found = [await read(aiter(reader), 20) for reader in readers]

        assert [ids(one) for one in found] == [texts(range(20))] * 5
        assert await read_ids(other, 1) == ["x"]
        assert await consumers(plain) == 2
        assert all(mine.event is first.event for one in found for mine, first in zip(one, found[0], strict=True))
    assert await consumers(plain) == 0


async def test_a_position_is_each_readers_own(bus: Bus) -> None:
    async with bus.subscribe("fast", [PAIR]) as fast, bus.subscribe("slow", [PAIR]) as slow:
        await publish(bus, range(10))
        assert await commit_all(fast, 10) == texts(range(10))
        [first, *_] = await read(aiter(slow), 10)
        await slow.commit(first.position)
    async with bus.subscribe("fast", [PAIR]) as fast, bus.subscribe("slow", [PAIR]) as slow:
        await publish(bus, ["new"])
        assert await read_ids(fast, 1) == ["new"]
        assert await read_ids(slow, 10) == [*texts(range(1, 10)), "new"]


async def test_one_that_falls_far_behind_slows_nobody_down_loses_nothing_and_comes_back(
    bus: Bus, plain: Any, brief: None
) -> None:
    async with bus.subscribe("fast", [PAIR]) as fast, bus.subscribe("slow", [PAIR]) as slow:
        await publish(bus, ["first"])
        assert await commit_all(fast, 1) == await commit_all(slow, 1) == ["first"]

        # While one stands still, the other reads more than is kept for it
        await publish(bus, range(300))
        assert await commit_all(fast, 300) == texts(range(300))

        # Then it has everything, in order, through a consumer of its own
        found = await commit_all(slow, 150)
        assert await consumers(plain) == 2
        found += await commit_all(slow, 300 - len(found))
        assert found == texts(range(300))

        # And when it has caught up, one consumer serves both again
        await publish(bus, ["last"])
        assert await commit_all(fast, 1) == await commit_all(slow, 1) == ["last"]
        for number in range(3):
            await publish(bus, [f"more {number}"])
            assert await commit_all(fast, 1) == await commit_all(slow, 1) == [f"more {number}"]
        assert await consumers(plain) == 1


async def test_what_is_kept_for_one_that_stands_still_is_bounded(bus: Bus, brief: None) -> None:
    async with bus.subscribe("fast", [PAIR]) as fast, bus.subscribe("still", [PAIR]) as still:
        await publish(bus, ["first"])
        assert await commit_all(fast, 1) == await read_ids(still, 1) == ["first"]
        for begin in range(0, 400, 50):
            await publish(bus, range(begin, begin + 50))
            await commit_all(fast, 50)
            feed: Any = fast.feed  # type: ignore[attr-defined]
            assert len(feed._entries) <= 64 + 16


async def test_a_log_that_is_removed_under_several_readers_is_read_again_by_all(bus: Bus, plain: Any) -> None:
    async with bus.subscribe("a", [PAIR]) as first, bus.subscribe("b", [PAIR]) as second:
        await publish(bus, [1])
        assert await read_ids(first, 1) == await read_ids(second, 1) == ["1"]
        await plain.delete_stream("default")
        await publish(bus, [2, 3])
        assert await read_ids(first, 2) == await read_ids(second, 2) == ["2", "3"]


async def test_all_readers_go_on_after_the_server_was_killed(server: NatsServer, bus: Bus) -> None:
    async with bus.subscribe("a", [PAIR]) as first, bus.subscribe("b", [PAIR]) as second:
        await publish(bus, range(5))
        assert await read_ids(first, 5) == texts(range(5))
        waiting = asyncio.gather(read_ids(first, 5), read_ids(second, 10))
        server.end()
        await until(lambda: not bus.ready)
        await server.start()
        await publish(bus, range(5, 10))
        assert await soon(waiting) == [texts(range(5, 10)), texts(range(10))]


async def test_a_consumer_that_is_removed_under_several_readers_is_made_anew_for_all(bus: Bus, plain: Any) -> None:
    async with bus.subscribe("a", [PAIR]) as first, bus.subscribe("b", [PAIR]) as second:
        await publish(bus, [1])
        assert await read_ids(first, 1) == await read_ids(second, 1) == ["1"]
        waiting = asyncio.gather(read_ids(first, 1), read_ids(second, 1))
        [consumer] = await plain.consumers_info("default")
        await plain.delete_consumer("default", consumer.name)
        await publish(bus, [2])
        assert await soon(waiting) == [["2"], ["2"]]
        assert await consumers(plain) == 1


# ---------------------------------------------------------------------- what may be repeated


async def test_only_as_many_entries_as_were_handed_out_are_taken_for_repeated(bus: Bus) -> None:
    async with bus.subscribe("c", [PAIR], max_in_flight=4) as subscription:
        await publish(bus, range(20))
        assert len(await read(aiter(subscription), 4)) == 4
    async with bus.subscribe("c", [PAIR]) as subscription:
        found = await read(aiter(subscription), 20)
    assert [delivery.repeated for delivery in found] == [True] * 4 + [False] * 16

    # What this reader may have handed out is remembered, too
    async with bus.subscribe("c", [PAIR], max_in_flight=4) as subscription:
        found = await read(aiter(subscription), 4)
    assert [delivery.repeated for delivery in found] == [True] * 4


async def test_after_a_change_of_pairs_everything_stored_counts_as_repeated_also_after_another_crash(bus: Bus) -> None:
    async with bus.subscribe("c", [PAIR], max_in_flight=4) as subscription:
        await publish(bus, range(10))
        await publish(bus, ["x"], OTHER)
        assert len(await read(aiter(subscription), 4)) == 4
    async with bus.subscribe("c", [PAIR, OTHER], max_in_flight=4) as subscription:
        [first, *_] = await read(aiter(subscription), 1)
        await subscription.commit(first.position)
    async with bus.subscribe("c", [PAIR, OTHER]) as subscription:
        await publish(bus, ["new"])
        found = await read(aiter(subscription), 11)
    assert [delivery.repeated for delivery in found] == [True] * 10 + [False]
