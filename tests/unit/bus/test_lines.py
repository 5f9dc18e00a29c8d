"""The memory engine keeps several items in order."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from argosy.bus._base import Bus
from argosy.bus.memory import MemoryBus
from tests.conformance.bus import Store
from tests.conformance.lines import LinesSuite
from tests.unit.bus.test_memory import MemoryStore


class TestMemoryLines(LinesSuite):
    @pytest.fixture
    async def store(self) -> Store:
        return MemoryStore()

    @pytest.fixture
    async def bus(self, store: Store) -> AsyncIterator[Bus]:
        async with store.handle() as bus:
            assert isinstance(bus, MemoryBus)
            yield bus
