"""The memory engine keeps the contract of the bus."""

from __future__ import annotations

import asyncio

import pytest

from argosy.bus._base import Bus, Pair
from argosy.bus.memory import MemoryBus
from argosy.errors import BusUnavailable
from tests.conformance.bus import PAIR, BusSuite, Store, event, soon
from tests.conformance.items import ItemsSuite
from tests.conformance.lines import LinesSuite


class MemoryStore(Store):
    def __init__(self) -> None:
        self.bus = MemoryBus()

    def handle(self) -> Bus:
        return self.bus

    async def write_foreign(self, pair: Pair, text: bytes) -> None:
        self.bus.store_text(pair, text)


class TestMemoryBus(BusSuite, ItemsSuite, LinesSuite):
    @pytest.fixture
    async def store(self) -> Store:
        return MemoryStore()


async def test_a_closed_bus_refuses_and_ends_who_waits() -> None:
    bus = MemoryBus()
    async with bus, bus.subscribe("c", [PAIR]) as subscription:
        waiting = asyncio.ensure_future(anext(aiter(subscription)))
        await asyncio.sleep(0)
    with pytest.raises(BusUnavailable):
        await soon(waiting)
    with pytest.raises(BusUnavailable):
        await bus.publish(event(1))


async def test_what_was_stored_is_there_when_the_bus_is_entered_again() -> None:
    bus = MemoryBus()
    async with bus, bus.subscribe("c", [PAIR]):
        await bus.publish(event(1))
    async with bus, bus.subscribe("c", [PAIR]) as subscription:
        [delivery] = await soon(anext(aiter(subscription)))
    assert delivery.event == event(1)
