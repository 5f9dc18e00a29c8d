"""What was written over and then removed stays removed when the server is killed: it then reads its files anew, old values
and all. Something is always kept from before, so that none of these files goes whole. ``tests/crash/test_soak.py`` kills under
more of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from argosy.bus._base import Lease, Queue
from argosy.bus.jetstream import JetStreamBus, QueueSettings
from tests.brokers.nats_server import NatsServer, connect


async def _take(leases: AsyncIterator[Lease]) -> Lease:
    async with asyncio.timeout(20):
        return await anext(leases)


async def test_removed_keys_stay_removed_over_two_deaths_of_the_server_and_can_be_made_anew(server: NatsServer) -> None:
    async with JetStreamBus(server.url) as bus:
        # Given keys that were written twice, with a death of the server in between, and then removed
        bucket = bus.bucket("joins")
        await bucket.put("kept", b"")
        revisions = {f"key {number}": await bucket.put(f"key {number}", b"old") for number in range(50)}
        server.end()
        await server.start()
        for key, revision in revisions.items():
            await bucket.put(key, b"new", revision=revision)
            await bucket.delete(key)
        assert await bucket.keys() == ["kept"]

        # When the server is killed
        server.end()
        await server.start()

        # Then none of them is there again, and each can be made anew
        assert await bucket.keys() == ["kept"]
        assert await bucket.get("key 7") is None
        await bucket.put("key 7", b"newest", revision=0)
        assert await bucket.keys() == ["kept", "key 7"]


async def test_a_redriven_item_begins_without_failures_over_the_death_of_the_server(server: NatsServer) -> None:
    async with JetStreamBus(server.url, sole=True) as bus:
        # Given an item that failed twice, died and was redriven
        await bus.bucket("joins").put("kept", b"")
        queue = await _twice_failed_and_dead(bus)
        assert await queue.redrive("a")

        # When the server is killed
        server.end()
        await server.start()

        # Then the item begins as if it had never been tried
        async with queue.take() as leases:
            lease = await _take(leases)
        assert (lease.id, lease.failures, lease.last_error, lease.rested_before) == ("a", 0, "", False)


async def test_a_redriven_letter_is_gone_for_good_over_the_death_of_the_server(server: NatsServer) -> None:
    async with JetStreamBus(server.url, sole=True, queue_settings=QueueSettings(outcomes_seconds=1)) as bus:
        # Given a dead letter of another queue, and one that was redriven and is done
        other = bus.queue("other")
        await other.put("b", b"")
        async with other.take() as leases:
            await (await _take(leases)).dead_letter("no")
        queue = await _twice_failed_and_dead(bus)
        assert await queue.redrive("a")
        async with queue.take() as leases:
            await (await _take(leases)).done()

        # When the server is killed, and even what was done is forgotten
        server.end()
        await server.start()
        async with asyncio.timeout(20):
            while await queue.outcome("a") is not None:  # noqa: ASYNC110 - the server forgets it
                await asyncio.sleep(0.05)

        # Then only the other letter is there
        assert await bus.queues() == ["other"]
        assert await queue.dead_letters() == []
        assert await queue.find("a") is None


async def _twice_failed_and_dead(bus: JetStreamBus) -> Queue:
    queue = bus.queue("q")
    await queue.put("a", b"body")
    async with queue.take() as leases:
        await (await _take(leases)).retry_in(0, "once")
        await (await _take(leases)).retry_in(0, "twice")
        await (await _take(leases)).dead_letter("thrice")
    return queue


async def test_a_bus_whose_streams_were_made_with_another_limit_is_set_right(server: NatsServer) -> None:
    # Given the streams of a bus as earlier versions made them
    client = await connect(server.url)
    for name, subject in (("argosy-dead", "argosy.dead.*.*"), ("KV_argosy", "$KV.argosy.>")):
        await client.jetstream().add_stream(name=name, subjects=[subject], max_msgs_per_subject=1)
    await client.jetstream().publish("$KV.argosy.b.joins.kept", b"before")
    await client.close()

    # When it is opened, and a key is written twice and removed
    async with JetStreamBus(server.url) as bus:
        bucket = bus.bucket("joins")
        for value in (b"old", b"new"):
            await bucket.put("key", value)
        await bucket.delete("key")
        server.end()
        await server.start()

        # Then what was there is kept, and what was removed stays removed
        assert await bucket.keys() == ["kept"]

        # And the command line tool's way in is open
        again = await connect(server.url)
        assert (await (await again.jetstream().key_value("argosy")).get("b.joins.kept")).value == b"before"
        await again.close()
