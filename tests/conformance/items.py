"""What every engine promises to a person who looks into a queue and acts there: list, look up, end a rest, redrive, discard."""

from __future__ import annotations

import time

import pytest

from argosy.bus._base import Bus, Item, Queue
from tests.conformance.bus import Store, take


async def put(queue: Queue, *ids: str) -> None:
    """Put items whose body says which they are."""
    for each in ids:
        assert await queue.put(each, f"body of {each}".encode())


async def kill(queue: Queue, *ids: str, reason: str = "no") -> None:
    """Put items and make dead letters of them, after one failed try each."""
    await put(queue, *ids)
    async with queue.take() as leases:
        for _ in ids:
            await (await take(leases)).retry_in(0, "first")
            await (await take(leases)).dead_letter(reason)


async def done(queue: Queue, *ids: str) -> None:
    """Put items and finish them."""
    await put(queue, *ids)
    async with queue.take() as leases:
        for each in ids:
            await (await take(leases)).done(f"did {each}".encode())


def shown(items: list[Item]) -> list[tuple[str, str]]:
    """Ids and states."""
    return [(item.id, item.state) for item in items]


class ItemsSuite:
    """For a class that has the fixtures of ``BusSuite``."""

    async def test_a_bus_that_nobody_used_has_no_items(self, bus: Bus) -> None:
        queue = bus.queue("q")
        for shelf in ("queued", "dead", "ended"):
            assert await queue.items(shelf) == []  # type: ignore[arg-type]
        assert await queue.find("a") is None
        assert not await queue.retry_now("a")
        assert not await queue.redrive("a")
        assert not await queue.discard("a", "of no use", "ann")

    async def test_what_is_queued_is_listed_in_its_order_with_its_state(self, bus: Bus, store: Store) -> None:
        queue = bus.queue("q", max_in_flight=2)
        before = time.time()
        await put(queue, "a", "b", "c", "d")
        async with queue.take() as leases:
            await (await take(leases)).retry_in(600, "not now")
            await take(leases)
            async with store.handle() as other:
                found = await other.queue("q").items("queued")
        assert shown(found) == [("a", "resting"), ("b", "held"), ("c", "waiting"), ("d", "waiting")]
        rests = found[0]
        assert (rests.body, rests.failures, rests.error) == (b"body of a", 1, "not now")
        assert before + 500 < rests.not_before < time.time() + 601
        assert all(before - 1 <= item.at <= time.time() + 1 for item in found)
        assert (found[2].failures, found[2].error, found[2].not_before) == (0, "", 0.0)

    async def test_the_queues_in_which_something_waits_or_is_dead_are_known(self, bus: Bus, store: Store) -> None:
        await kill(bus.queue("ns/a/b c.d"), "1")
        await put(bus.queue("waits"), "1")
        await done(bus.queue("finished"), "1")
        async with store.handle() as other:
            assert await other.queues() == ["ns/a/b c.d", "waits"]
            await other.queue("ns/a/b c.d").discard("1", "of no use", "ann")
            assert await other.queues() == ["waits"]

    async def test_shelves_are_read_page_by_page(self, bus: Bus) -> None:
        queue = bus.queue("q")
        for shelf in ("ended", "dead", "queued"):
            ids = [f"{shelf}{number}" for number in range(7)]
            await {"ended": done, "dead": kill, "queued": put}[shelf](queue, *ids)
            seen: list[str] = []
            after = 0
            while page := await queue.items(shelf, after=after, limit=3):  # type: ignore[arg-type]
                assert len(page) <= 3
                seen += [item.id for item in page]
                after = page[-1].place
            assert seen == (ids if shelf != "ended" else ids[::-1])

    async def test_what_ended_is_listed_newest_first_and_not_what_ended_before_since(self, bus: Bus) -> None:
        queue = bus.queue("q")
        await done(queue, *(f"old{number}" for number in range(300)))
        [latest] = await queue.items("ended", limit=1)
        await done(queue, "x", "y")
        assert shown(await queue.items("ended", limit=2)) == [("y", "done"), ("x", "done")]
        found = await queue.items("ended", since=latest.at + 1e-6)
        assert [item.id for item in found] == ["y", "x"]
        assert found[0].outcome == b"did y"
        assert found[0].body is None
        every = await queue.items("ended", limit=1000)
        assert [item.id for item in every] == ["y", "x", *(f"old{number}" for number in reversed(range(300)))]

    async def test_queues_are_listed_apart(self, bus: Bus) -> None:
        await done(bus.queue("other"), *(f"n{number}" for number in range(200)))
        await done(bus.queue("q"), "a")
        await kill(bus.queue("other"), "d")
        await done(bus.queue("other"), *(f"m{number}" for number in range(200)))
        assert shown(await bus.queue("q").items("ended")) == [("a", "done")]
        assert await bus.queue("q").items("dead") == []
        assert await bus.queue("nobody used it").items("ended") == []
        assert await bus.queue("nobody used it").items("queued") == []

    async def test_an_id_can_be_looked_up_in_every_state(self, bus: Bus, store: Store) -> None:
        queue = bus.queue("q")
        await done(queue, "done")
        await kill(queue, "dead", reason="the reason ☃")
        await put(queue, "held", "waits", "goes")
        assert await queue.discard("goes", "of no use", "ann")
        async with queue.take() as leases, store.handle() as other:
            await take(leases)
            look = other.queue("q").find
            finished, dead, held, waits, gone = [await look(each) for each in ("done", "dead", "held", "waits", "goes")]
            assert await look("never") is None
        assert finished is not None
        assert (finished.state, finished.outcome, finished.failures) == ("done", b"did done", 0)
        assert dead is not None
        assert (dead.state, dead.body, dead.error, dead.failures) == ("dead", b"body of dead", "the reason ☃", 1)
        assert held is not None
        assert (held.state, held.body) == ("held", b"body of held")
        assert waits is not None
        assert waits.state == "waiting"
        assert gone is not None
        assert (gone.state, gone.error) == ("discarded", "of no use (discarded by ann)")

    async def test_a_rest_can_be_ended(self, bus: Bus, store: Store) -> None:
        queue = bus.queue("q")
        await put(queue, "a", "b")
        async with queue.take() as leases, store.handle() as other:
            await (await take(leases)).retry_in(3600, "not now")
            assert not await other.queue("q").retry_now("b")
            assert await other.queue("q").retry_now("a")
            lease = await take(leases)
            assert (lease.id, lease.failures, lease.last_error) == ("a", 1, "not now")
            assert not await other.queue("q").retry_now("a")

    async def test_a_rest_that_outlived_its_taker_can_be_ended(self, bus: Bus, store: Store) -> None:
        queue = bus.queue("q")
        await put(queue, "a")
        async with queue.take() as leases:
            await (await take(leases)).retry_in(3600, "not now")
        async with store.handle() as other, other.queue("q").take() as leases:
            [item] = await queue.items("queued")
            assert item.state == "resting"
            assert await queue.retry_now("a")
            assert (await take(leases)).failures == 1

    async def test_a_dead_letter_is_redriven_with_fresh_tries(self, bus: Bus, store: Store) -> None:
        queue = bus.queue("q")
        await kill(queue, "a")
        await put(queue, "b")
        async with store.handle() as other:
            assert await other.queue("q").redrive("a")
            assert await other.queue("q").dead_letters() == []
            assert not await other.queue("q").redrive("a")
            assert shown(await other.queue("q").items("queued")) == [("b", "waiting"), ("a", "waiting")]
        async with queue.take() as leases:
            await (await take(leases)).done()
            lease = await take(leases)
            assert (lease.id, lease.body, lease.failures, lease.last_error) == ("a", b"body of a", 0, "")
            await lease.done(b"at last")
        assert await queue.outcome("a") == b"at last"
        assert not await queue.put("a", b"", again=True)

    async def test_a_dead_letter_can_die_and_be_redriven_again_and_again(self, bus: Bus) -> None:
        queue = bus.queue("q")
        await kill(queue, "a")
        for number in range(3):
            assert await queue.redrive("a")
            assert not await queue.put("a", b"", again=True)
            async with queue.take() as leases:
                await (await take(leases)).dead_letter(f"again {number}")
            [letter] = await queue.dead_letters()
            assert (letter.reason, letter.failures, letter.body) == (f"again {number}", 0, b"body of a")

    async def test_only_what_is_dead_is_redriven(self, bus: Bus) -> None:
        queue = bus.queue("q")
        await done(queue, "done")
        await put(queue, "waits")
        for each in ("done", "waits", "never"):
            assert not await queue.redrive(each)
        assert shown(await queue.items("queued")) == [("waits", "waiting")]

    @pytest.mark.parametrize("how", ["waiting", "resting", "dead"])
    async def test_what_is_discarded_is_not_done_and_does_not_stop_the_others(
        self, bus: Bus, store: Store, how: str
    ) -> None:
        queue = bus.queue("q")
        async with queue.take() as leases, store.handle() as other:
            if how == "dead":
                await put(queue, "a")
                await (await take(leases)).dead_letter("no")
            elif how == "resting":
                await put(queue, "a")
                await (await take(leases)).retry_in(3600, "no")
            else:
                await put(queue, "first", "a")
                first = await take(leases)
            assert await other.queue("q").discard("a", "of no use", "ann")
            assert not await other.queue("q").discard("a", "of no use", "ann")
            await put(queue, "b")
            if how == "waiting":
                await first.done()
            lease = await take(leases)
            assert lease.id == "b"
            assert not await other.queue("q").put("a", b"", again=True)
            assert not await other.queue("q").redrive("a")
            assert await other.queue("q").outcome("a") is None
            assert await other.queue("q").dead_letters() == []
            assert [item.id for item in await other.queue("q").items("queued")] == ["b"]
            ended = {item.id: item.error for item in await other.queue("q").items("ended")}
            assert ended["a"] == "of no use (discarded by ann)"

    async def test_what_is_held_is_not_discarded(self, bus: Bus) -> None:
        queue = bus.queue("q")
        await put(queue, "a")
        async with queue.take() as leases:
            lease = await take(leases)
            assert not await queue.discard("a", "of no use", "ann")
            await lease.done()
        assert not await queue.discard("a", "of no use", "ann")
        assert not await queue.discard("never", "of no use", "ann")
        found = await queue.find("a")
        assert found is not None
        assert found.state == "done"

    async def test_a_worker_can_discard_what_it_holds(self, bus: Bus, store: Store) -> None:
        queue = bus.queue("q")
        await put(queue, "a", "b")
        async with queue.take() as leases:
            await (await take(leases)).discard("suspended")
            assert (await take(leases)).id == "b"
        async with store.handle() as other:
            found = await other.queue("q").find("a")
            assert found is not None
            assert (found.state, found.error) == ("discarded", "suspended")
            assert not await other.queue("q").put("a", b"", again=True)
