"""JetStream keeps several items in order: on a server of its own, and on one that other processes may use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from argosy.bus._base import Bus
from argosy.bus.jetstream import QueueSettings
from tests.brokers.nats_server import JetStreamStore, NatsServer
from tests.conformance.bus import Store, soon, take
from tests.conformance.lines import LinesLossSuite


@pytest.fixture
async def bus(store: Store) -> AsyncIterator[Bus]:
    async with store.handle() as bus:
        yield bus


class TestJetStreamLines(LinesLossSuite):
    @pytest.fixture
    async def store(self, server: NatsServer) -> Store:
        return JetStreamStore(server)


class TestSoleJetStreamLines(LinesLossSuite):
    @pytest.fixture
    async def store(self, server: NatsServer) -> Store:
        return JetStreamStore(server, sole=True)


@pytest.mark.parametrize("word", ["discard", "retry"])
async def test_a_long_rest_is_ended_by_a_person_also_where_the_taker_has_no_room(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.setattr("argosy.bus._jetstream_held._LOOK_SECONDS", 0.2)
    async with JetStreamStore(server).handle() as bus, JetStreamStore(server).handle() as other:
        queue = bus.queue("q", max_in_flight=8)
        await queue.put("a", b"")
        async with queue.take(resting=True) as leases:
            lease = await take(leases)
            await lease.rest(3600, "no")
            waiting = asyncio.ensure_future(lease.rested())  # and nothing is asked for meanwhile

            if word == "discard":
                assert await other.queue("q").discard("a", "wrong", "somebody")
            else:
                assert await other.queue("q").retry_now("a")

            assert await soon(waiting) == (word == "retry")


@pytest.mark.parametrize("sole", [True, False])
async def test_what_a_dead_process_held_comes_before_what_nobody_has_seen(server: NatsServer, sole: bool) -> None:
    store = JetStreamStore(server, sole=sole, queue_settings=QueueSettings(lease_seconds=1))
    dead = store.handle()
    await dead.__aenter__()
    queue = dead.queue("q", max_in_flight=8)
    for item in "abcdef":
        await queue.put(item, b"")
    taking = queue.take(resting=True)
    leases = await taking.__aenter__()
    assert [(await take(leases)).id for _ in range(3)] == ["a", "b", "c"]
    await dead._link.close()  # no word of farewell, as a process that is killed

    async with store.handle() as bus, bus.queue("q", max_in_flight=8).take(resting=True) as leases:
        assert [(await take(leases)).id for _ in range(6)] == list("abcdef")

    await soon(taking.__aexit__(None, None, None))
