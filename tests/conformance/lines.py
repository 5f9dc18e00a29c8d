"""What every engine promises a taker that keeps several items in order (``Queue.take(resting=True)``), as tests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable

import pytest

from argosy.bus._base import Bus, Lease, Queue
from tests.conformance.bus import Store, soon, take, until


async def _put(queue: Queue, ids: Iterable[str]) -> None:
    for item in ids:
        await soon(queue.put(item, item.encode()))


async def _take(leases: AsyncIterator[Lease], count: int) -> list[Lease]:
    return [await take(leases) for _ in range(count)]


def _ids(leases: Iterable[Lease]) -> list[str]:
    return [lease.id for lease in leases]


class LinesSuite:
    """Inherit, and give the fixtures ``store`` and ``bus`` of ``BusSuite``."""

    async def test_a_rest_that_is_held_is_counted_and_keeps_the_item_from_everyone_else(self, bus: Bus) -> None:
        queue = bus.queue("q", max_in_flight=4)
        await _put(queue, "ab")
        async with queue.take(resting=True) as leases:
            first, second = await _take(leases, 2)
            began = time.time()

            await first.rest(0.4, "not yet")
            assert await soon(first.rested())

            assert time.time() >= began + 0.38
            assert (first.failures, first.last_error, first.rested_before) == (1, "not yet", True)
            assert (second.failures, second.rested_before) == (0, False)
            await first.done()
            await second.done()
        assert await queue.depth() == 0

    async def test_an_item_that_does_not_rest_is_ready_at_once(self, bus: Bus) -> None:
        queue = bus.queue("q", max_in_flight=4)
        await _put(queue, "a")
        async with queue.take(resting=True) as leases:
            assert await soon((await take(leases)).rested())

    async def test_a_rest_that_is_no_failed_try_is_not_counted(self, bus: Bus) -> None:
        queue = bus.queue("q", max_in_flight=4)
        await _put(queue, "ab")
        async with queue.take(resting=True) as leases:
            held, given_back = await _take(leases, 2)
            await held.rest(0.1, "failed")
            await held.rest(0.1, "", counted=False)
            await given_back.retry_in(0, "", counted=False)
            again = await take(leases)

            assert (held.failures, held.last_error, held.rested_before) == (1, "failed", True)
            assert (again.id, again.failures, again.rested_before) == ("b", 0, True)

    async def test_items_say_when_they_were_put(self, bus: Bus) -> None:
        queue = bus.queue("q", max_in_flight=1)
        before = time.time()
        await _put(queue, "a")
        after = time.time()
        async with queue.take() as leases:
            assert before - 1 <= (await take(leases)).put_at <= after + 1

    async def test_a_later_taker_gets_everything_in_order_also_what_rests(self, store: Store, bus: Bus) -> None:
        queue = bus.queue("q", max_in_flight=8)
        await _put(queue, "abcdef")
        async with queue.take(resting=True) as leases:
            a, b, _, d = await _take(leases, 4)
            await a.rest(60, "a failed")
            await b.done()
            await d.rest(0, "d failed")
        async with store.handle() as other, other.queue("q", max_in_flight=8).take(resting=True) as leases:
            found = await _take(leases, 5)

            assert _ids(found) == ["a", "c", "d", "e", "f"]
            assert [lease.failures for lease in found] == [1, 0, 1, 0, 0]
            ready = await soon(asyncio.gather(*(lease.rested() for lease in found[1:])))
            assert ready == [True] * 4
            waiting = asyncio.ensure_future(found[0].rested())
            await asyncio.sleep(0.05)
            assert not waiting.done()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

    async def test_an_item_that_rests_in_a_takers_hands_can_be_called(self, store: Store, bus: Bus) -> None:
        queue = bus.queue("q", max_in_flight=8)
        await _put(queue, "ab")
        async with queue.take(resting=True) as leases, store.handle() as other:
            first, second = await _take(leases, 2)
            await first.rest(3600, "no")
            waiting = asyncio.ensure_future(first.rested())
            looking = asyncio.ensure_future(anext(leases))  # a taker with room goes on asking
            item = await soon(other.queue("q").find("a"))
            assert item is not None
            assert item.state == "resting"

            assert await soon(other.queue("q").retry_now("a"))

            assert await soon(waiting)
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            await first.done()
            await second.done()

    async def test_an_item_that_rests_in_a_takers_hands_can_be_discarded(self, store: Store, bus: Bus) -> None:
        queue = bus.queue("q", max_in_flight=8)
        await _put(queue, "ab")
        async with queue.take(resting=True) as leases, store.handle() as other:
            first, second = await _take(leases, 2)
            await first.rest(0.5, "no")

            assert await soon(other.queue("q").discard("a", "wrong", "somebody"))

            assert not await soon(first.rested())
            await second.done()
        assert await soon(queue.depth()) == 0
        found = await soon(queue.find("a"))
        assert found is not None
        assert found.state == "discarded"

    async def test_a_queue_may_be_taken_from_in_the_one_way_and_then_in_the_other(self, bus: Bus) -> None:
        strict = bus.queue("q", max_in_flight=1)
        await _put(strict, "abc")
        async with strict.take() as leases:
            await (await take(leases)).retry_in(0.5, "first")
        several = bus.queue("q", max_in_flight=8)
        async with several.take(resting=True) as leases:
            found = await _take(leases, 3)
            assert _ids(found) == ["a", "b", "c"]
            assert await soon(found[0].rested())
            await found[0].rest(0.5, "second")
            await found[1].done()
        strict = bus.queue("q", max_in_flight=1)
        async with strict.take() as leases:
            lease = await take(leases)
            assert (lease.id, lease.failures, lease.last_error) == ("a", 2, "second")
            await lease.done()
            assert (await take(leases)).id == "c"

    async def test_who_opens_a_queue_without_taking_leaves_how_many_may_be_out(self, store: Store, bus: Bus) -> None:
        queue = bus.queue("q", max_in_flight=3)
        await _put(queue, "abc")
        async with queue.take(resting=True) as leases, store.handle() as other:
            await take(leases)
            assert await other.queue("q").depth() == 3

            assert _ids(await _take(leases, 2)) == ["b", "c"]


class LinesLossSuite(LinesSuite):
    """``LinesSuite`` for an engine that can be killed and brought back."""

    async def test_what_is_held_stays_held_while_the_bus_is_killed_and_nothing_overtakes_it(
        self, store: Store, bus: Bus
    ) -> None:
        queue = bus.queue("q", max_in_flight=8)
        await _put(queue, "abcdefgh")
        async with queue.take(resting=True) as leases:
            held = await _take(leases, 4)
            await held[1].rest(0.2, "no")
            await store.kill()
            await store.restore()

            later = await _take(leases, 4)
            assert _ids([*held, *later]) == list("abcdefgh")
            assert await soon(held[1].rested())
            for lease in reversed([*held, *later]):
                await soon(lease.done(lease.id.encode()))
        assert await soon(queue.depth()) == 0
        assert [await soon(queue.outcome(item)) for item in "abcdefgh"] == [item.encode() for item in "abcdefgh"]

    async def test_endings_right_after_the_bus_was_killed_let_no_item_be_skipped(self, store: Store, bus: Bus) -> None:
        queue = bus.queue("q", max_in_flight=100)
        names = [f"{number:03}" for number in range(60)]
        await _put(queue, names)
        found: list[str] = []
        async with queue.take(resting=True) as leases:
            held = await _take(leases, 20)
            found += _ids(held)
            await store.kill()
            await store.restore()
            await asyncio.gather(*(soon(lease.done()) for lease in held[10:]))
        async with store.handle() as other, other.queue("q", max_in_flight=100).take(resting=True) as leases:
            rest = await _take(leases, 50)
            assert _ids(rest) == names[:10] + names[20:]
            for lease in rest:
                await soon(lease.done())
        assert await soon(queue.depth()) == 0

    @pytest.mark.parametrize("kills", [3])
    async def test_work_side_by_side_loses_nothing_and_keeps_the_order_of_each_key_while_the_bus_is_killed(
        self, store: Store, bus: Bus, kills: int
    ) -> None:
        total, keys = 300, 5
        queue = bus.queue("q", max_in_flight=40)
        began: list[int] = []
        done: set[int] = set()

        async def put() -> None:
            for first in range(0, total, 50):
                await asyncio.gather(*(queue.put(str(number), b"") for number in range(first, first + 50)))

        async def work() -> None:
            lines: dict[int, asyncio.Queue[Lease]] = {key: asyncio.Queue() for key in range(keys)}

            async def follow(line: asyncio.Queue[Lease]) -> None:
                while True:
                    lease = await line.get()
                    began.append(int(lease.id))
                    if int(lease.id) % 17 == 0:
                        await lease.rest(0.01, "once")
                        await lease.rested()
                    await lease.done()
                    done.add(int(lease.id))

            async with asyncio.TaskGroup() as group, queue.take(resting=True) as leases:
                followers = [group.create_task(follow(line)) for line in lines.values()]
                for _ in range(total):
                    lease = await anext(leases)
                    lines[int(lease.id) % keys].put_nowait(lease)
                await until(lambda: len(done) == total)
                for follower in followers:
                    follower.cancel()

        tasks = [asyncio.ensure_future(put()), asyncio.ensure_future(work())]
        for number in range(kills):
            await until(lambda number=number: len(done) > (number + 1) * total / (kills + 2))  # type: ignore[misc]
            await store.kill()
            await store.restore()
        await soon(asyncio.gather(*tasks))

        for key in range(keys):
            assert [one for one in began if one % keys == key] == list(range(key, total, keys))
        assert await soon(queue.depth()) == 0
