"""Connections that triggers keep open between actions."""

from __future__ import annotations

import asyncio

import pytest

from argosy.triggers._kept import Kept


class _Opened:
    """Notes what is opened and closed; connections are their numbers."""

    def __init__(self) -> None:
        self.opened: list[int] = []
        self.closed: list[int] = []

    async def begin(self) -> int:
        self.opened.append(len(self.opened))
        return self.opened[-1]

    async def close(self, connection: int) -> None:
        self.closed.append(connection)


async def test_actions_of_one_name_share_a_connection_that_is_opened_once() -> None:
    world, here = _Opened(), asyncio.Event()
    kept: Kept[int] = Kept(world.close)

    async def slowly() -> int:
        await here.wait()
        return await world.begin()

    async def act() -> int:
        async with kept.use("a", slowly) as held:
            return held.connection

    # Given actions that come while it is being opened
    tasks = [asyncio.create_task(act()) for _ in range(3)]
    await asyncio.sleep(0)
    # When another name is wanted meanwhile, then that waits for nobody
    async with kept.use("b", world.begin) as other:
        assert other.connection == 0
    here.set()
    # And the three share one
    assert await asyncio.gather(*tasks) == [1, 1, 1]
    await kept.close()
    assert sorted(world.closed) == [0, 1]


async def test_a_broken_one_is_closed_once_nobody_uses_it_and_another_is_opened() -> None:
    world = _Opened()
    kept: Kept[int] = Kept(world.close)
    async with kept.use("a", world.begin) as first:
        async with kept.use("a", world.begin) as second:
            assert second is first
            second.broken = True
        assert world.closed == []
        async with kept.use("a", world.begin) as third:
            assert third.connection == 1
    assert world.closed == [0]
    async with kept.use("a", world.begin) as again:
        assert again.connection == 1


async def test_one_that_cannot_be_opened_is_tried_again_by_the_next() -> None:
    world = _Opened()
    kept: Kept[int] = Kept(world.close)

    async def fail() -> int:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        async with kept.use("a", fail):
            raise AssertionError
    async with kept.use("a", world.begin) as held:
        assert held.connection == 0
    assert world.closed == []


async def test_of_those_that_nobody_uses_the_oldest_go_when_they_are_too_many() -> None:
    world = _Opened()
    kept: Kept[int] = Kept(world.close)
    async with kept.use("in use", world.begin):
        for number in range(10):
            async with kept.use(f"{number}", world.begin):
                pass
        assert world.closed == [1, 2]
