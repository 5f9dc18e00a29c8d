"""Turns in virtual time: never do two receive, a drain finishes what is under way first, and a source that fails lets another one try."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
from collections.abc import Awaitable, Callable

import pytest

from argosy.clock import VirtualClock, run_virtually
from argosy.errors import SourceError
from argosy.kubernetes.leases import Durations, Election
from argosy.runtime.turns import Turn, from_environment
from tests.unit.kubernetes.lease_server import LeaseServer

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class _Stage:
    """Sources that share one lease; ``receiving`` are those that do now, ``most`` is how many ever did at once."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.server = LeaseServer()
        self.receiving: list[str] = []
        self.most = 0
        self.standing_by: dict[str, int] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def turn(self, who: str) -> Turn:
        def count(change: int) -> None:
            self.standing_by[who] = self.standing_by.get(who, 0) + change

        def election(client: object) -> Election:
            return Election(self.server.seen_by(who), "shop", "lease", who, clock=self.clock)

        return Turn(f"source/{who}", election, Durations(), count)

    def start(self, who: str, *, ends_in: float = 0.0, run: Callable[[], Awaitable[None]] | None = None) -> Turn:
        """A source that needs ``ends_in`` seconds to finish what is under way when it is cancelled."""
        turn = self.turn(who)

        async def receive() -> None:
            self.receiving.append(who)
            self.most = max(self.most, len(self.receiving))
            try:
                await (run() if run else asyncio.Event().wait())
            finally:
                try:
                    await asyncio.sleep(ends_in)
                finally:
                    self.receiving.remove(who)

        self.tasks[who] = asyncio.create_task(turn.hold(receive))
        return turn

    async def end(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


def _play(play: Callable[[_Stage], Awaitable[None]]) -> None:
    async def main(clock: VirtualClock) -> None:
        stage = _Stage(clock)
        await play(stage)
        await stage.end()
        assert stage.receiving == []

    run_virtually(START, main)


def test_one_receives_and_the_others_say_whom_they_stand_by_for() -> None:
    async def play(stage: _Stage) -> None:
        first = stage.start("a")
        await stage.clock.sleep(1)
        second = stage.start("b")
        await stage.clock.sleep(5)
        assert stage.receiving == ["a"]
        assert (first.stands_by, first.waits) == (False, "")
        assert (second.stands_by, second.waits) == (True, "stands by: 'a' receives")
        assert stage.standing_by == {"b": 1}
        await stage.end()
        assert stage.standing_by == {"b": 0}

    _play(play)


def test_a_drain_finishes_what_is_under_way_before_the_next_begins_however_long_that_takes() -> None:
    async def play(stage: _Stage) -> None:
        # Given a source that needs longer to end than its lease lasts
        stage.start("a", ends_in=20)
        await stage.clock.sleep(1)
        stage.start("b")
        await stage.clock.sleep(1)
        stage.tasks["a"].cancel()
        await stage.clock.sleep(19)
        assert stage.receiving == ["a"]
        # When it has ended, then the other begins at its next look
        await stage.clock.sleep(2.3)
        assert stage.receiving == ["b"]
        assert stage.most == 1

    _play(play)


def test_a_source_that_loses_its_turn_is_cut_off_before_another_can_have_begun() -> None:
    async def play(stage: _Stage) -> None:
        # Given a source that would need a minute to end
        stage.start("a", ends_in=60)
        await stage.clock.sleep(1)
        stage.start("b")
        await stage.clock.sleep(1)
        # When it cannot reach the server any more
        stage.server.away.add("a")
        await stage.clock.sleep(10)
        # Then it has ended, and the other began after that
        assert stage.receiving == ["b"]
        assert stage.most == 1
        # And it stands by when it sees the server again
        stage.server.away.clear()
        await stage.clock.sleep(10)
        assert stage.receiving == ["b"]
        assert stage.standing_by["a"] == 1

    _play(play)


def test_a_source_that_fails_lets_another_one_try() -> None:
    async def play(stage: _Stage) -> None:
        async def fail() -> None:
            raise SourceError("the broker cannot be reached from here")

        stage.start("a", run=fail)
        stage.start("b")
        await stage.clock.sleep(3)
        assert stage.receiving == ["b"]
        with pytest.raises(SourceError, match="cannot be reached from here"):
            await stage.tasks["a"]

    _play(play)


def test_a_source_that_ends_by_itself_ends_its_turn() -> None:
    async def play(stage: _Stage) -> None:
        async def end() -> None:
            await stage.clock.sleep(1)

        stage.start("a", run=end)
        await stage.tasks["a"]
        assert stage.server.lease is not None
        assert "holderIdentity" not in stage.server.lease["spec"]

    _play(play)


@pytest.mark.parametrize("seed", range(8))
def test_never_do_two_receive_whatever_happens_to_them_and_to_the_server(seed: int) -> None:
    async def play(stage: _Stage) -> None:
        chance = random.Random(seed)
        names = ["a", "b", "c"]
        for name in names:
            stage.start(name, ends_in=chance.choice([0, 1, 30]))
        for _ in range(50):
            name = chance.choice(names)
            match chance.randrange(4):
                case 0:
                    stage.server.away.symmetric_difference_update({name})
                case 1:
                    stage.server.silent.symmetric_difference_update({name})
                case 2:
                    # It drains, and comes back.
                    stage.tasks[name].cancel()
                    await asyncio.wait({stage.tasks[name]})
                    stage.start(name, ends_in=chance.choice([0, 1, 30]))
                case _:
                    stage.server.away.clear()
                    stage.server.silent.clear()
            await stage.clock.sleep(chance.uniform(0, 6))
        assert stage.most == 1
        # And when all is well again, one of them receives
        stage.server.away.clear()
        stage.server.silent.clear()
        await stage.clock.sleep(60)
        assert len(stage.receiving) == 1

    _play(play)


class TestEnvironment:
    @pytest.mark.parametrize("asked", [{"ARGOSY_ELECT": "lease"}, {"LEADER_ELECTION": "K8s"}])
    def test_asks_for_turns(self, asked: dict[str, str]) -> None:
        async def main(clock: VirtualClock) -> None:
            assert from_environment(asked, clock) is not None

        run_virtually(START, main)

    @pytest.mark.parametrize("asked", [{}, {"LEADER_ELECTION": ""}, {"ARGOSY_ELECT": "no"}])
    def test_asks_for_none(self, asked: dict[str, str]) -> None:
        async def main(clock: VirtualClock) -> None:
            assert from_environment(asked, clock) is None

        run_virtually(START, main)
