"""What persons say about triggers: in force until the manifest's own word changes, noticed by who waits, kept when several speak at once."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from argosy.bus.memory import MemoryBus
from argosy.clock import SystemClock, VirtualClock, run_virtually
from argosy.errors import BusError
from argosy.runtime import suspension
from argosy.runtime.suspension import Mode, Said, Switch, Switchboards, in_force
from tests.conformance.bus import soon


@pytest.mark.parametrize(
    ("said", "manifest", "holds"),
    [
        (None, "run", "run"),
        (None, "drop", "drop"),
        (Said("queue", "run", 0.0), "run", "queue"),
        (Said("run", "queue", 0.0), "queue", "run"),
        # The manifest says something else now than when the person spoke
        (Said("run", "queue", 0.0), "drop", "drop"),
        (Said("queue", "run", 0.0), "drop", "drop"),
    ],
)
def test_what_was_said_holds_until_the_manifest_says_something_else(
    said: Said | None, manifest: Mode, holds: Mode
) -> None:
    assert in_force(said, manifest) == holds


async def test_what_was_said_is_kept_and_what_equals_the_manifest_is_forgotten() -> None:
    async with MemoryBus() as bus:
        await suspension.say(bus, {"a": ("queue", "run"), "b": ("drop", "run")}, by="ann")
        said = await suspension.read(bus)
        assert {name: (one.mode, one.by) for name, one in said.items()} == {"a": ("queue", "ann"), "b": ("drop", "ann")}
        await suspension.say(bus, {"a": ("run", "run")})
        assert list(await suspension.read(bus)) == ["b"]


async def test_of_many_who_speak_at_once_all_are_heard() -> None:
    async with MemoryBus() as bus:
        bucket = bus.bucket("suspension")
        put = bucket.put

        async def slowly(key: str, value: bytes, *, revision: int | None = None) -> int:
            await asyncio.sleep(0)
            return await put(key, value, revision=revision)

        bucket.put = slowly  # type: ignore[method-assign]
        await asyncio.gather(*(suspension.say(bus, {str(n): ("queue", "run")}) for n in range(10)))
        assert set(await suspension.read(bus)) == {str(n) for n in range(10)}


async def test_a_record_that_cannot_be_read_is_a_sentence() -> None:
    async with MemoryBus() as bus:
        await bus.bucket("suspension").put("said", b'{"a": {"mode": "perhaps"}}')
        with pytest.raises(BusError, match="record of suspended triggers cannot be read"):
            await suspension.read(bus)


async def test_a_switch_opens_when_somebody_resumes() -> None:
    async with MemoryBus() as bus:
        await suspension.say(bus, {"q": ("queue", "run")})
        boards = Switchboards()
        board = boards.of(bus, SystemClock())
        assert boards.of(bus, SystemClock()) is board
        async with board.kept():
            switch = Switch(board, "q", "run")
            assert switch.mode == "queue"
            assert Switch(board, "other", "drop").mode == "drop"
            waiting = asyncio.ensure_future(switch.until_open())
            await asyncio.sleep(0)
            assert not waiting.done()
            await suspension.say(bus, {"q": ("run", "run")})
            await soon(waiting)


def test_a_change_is_noticed_within_a_second_and_nobody_looks_when_nobody_needs_it() -> None:
    looks = 0

    async def main(clock: VirtualClock) -> None:
        nonlocal looks
        async with MemoryBus(clock=clock) as bus:
            bucket = bus.bucket("suspension")
            get = bucket.get

            async def counted(key: str):  # type: ignore[no-untyped-def]
                nonlocal looks
                looks += 1
                return await get(key)

            bucket.get = counted  # type: ignore[method-assign]
            board = Switchboards().of(bus, clock)
            # Several sensors look together
            async with board.kept(), board.kept():
                switch = Switch(board, "q")
                await clock.sleep(10)
                while_kept = looks
                await suspension.say(bus, {"q": ("drop", "run")})
                await clock.sleep(1)
                assert switch.mode == "drop"
            assert 10 <= while_kept <= 10 / suspension.LOOK_SECONDS + 2
            looks = 0
            await clock.sleep(10)
            assert looks == 0

    run_virtually(dt.datetime(2026, 11, 25, tzinfo=dt.UTC), main)


def test_without_a_board_a_trigger_runs() -> None:
    assert Switch().mode == "run"
    assert Switch(None, "q", "drop").mode == "run"
