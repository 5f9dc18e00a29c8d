"""An election by a Lease, in virtual time: who has it, who stops when, and that nobody's clock is trusted but one's own.

``tests/cluster/test_turns.py`` has processes and a real server.
"""

from __future__ import annotations

import asyncio
import copy
import datetime as dt
import logging
from collections.abc import Awaitable, Callable

import pytest

from argosy.clock import VirtualClock, run_virtually
from argosy.kubernetes.leases import Durations, Election, lease_name
from tests.unit.kubernetes.lease_server import LeaseServer

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class _Skewed(VirtualClock):
    """A machine whose time of day is wrong."""

    def __init__(self, clock: VirtualClock, by: dt.timedelta) -> None:
        super().__init__(START + by, asyncio.get_running_loop())


class _World:
    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.server = LeaseServer()
        self.waited: list[str] = []

    def election(self, who: str, *, skew: dt.timedelta = dt.timedelta()) -> Election:
        return Election(
            self.server.seen_by(who),
            "shop",
            "lease",
            who,
            clock=_Skewed(self.clock, skew),
            labels={"eventsource-name": "x"},
        )

    async def waits_for(self, election: Election) -> float:
        """Seconds until the election is won."""
        began = self.clock.monotonic()
        await election.acquire(lambda: self.waited.append(election.problem or election.holder))
        return self.clock.monotonic() - began


def _play(play: Callable[[_World], Awaitable[None]]) -> None:
    async def main(clock: VirtualClock) -> None:
        await play(_World(clock))

    run_virtually(START, main)


def test_the_first_has_it_at_once_and_writes_who_and_since_when() -> None:
    async def play(world: _World) -> None:
        assert await world.waits_for(world.election("a")) < 0.1
        spec = world.server.lease["spec"]  # type: ignore[index]
        assert spec["holderIdentity"] == "a"
        assert spec["leaseDurationSeconds"] == 5
        assert spec["acquireTime"] == spec["renewTime"] == "2026-01-01T00:00:00.010000Z"
        assert spec["leaseTransitions"] == 0
        assert world.server.lease["metadata"]["labels"] == {"eventsource-name": "x"}  # type: ignore[index]

    _play(play)


@pytest.mark.parametrize("skew", [-3600, 0, 3600], ids=["behind", "right", "ahead"])
def test_who_comes_second_waits_while_the_first_renews_and_takes_over_after_its_death(skew: int) -> None:
    async def play(world: _World) -> None:
        # Given a holder that renews, and one that waits whose clock may be wrong
        first, second = world.election("a"), world.election("b", skew=dt.timedelta(seconds=skew))
        await world.waits_for(first)
        keeping = asyncio.create_task(first.keep())
        waiting = asyncio.create_task(world.waits_for(second))
        await world.clock.sleep(60)
        assert not waiting.done()
        assert set(world.waited) == {"a"}
        # When the holder dies
        keeping.cancel()
        died = world.clock.monotonic()
        await waiting
        # Then the other has it after the lease's duration, and not before
        assert 3.9 <= world.clock.monotonic() - died <= 7
        assert world.server.lease["spec"]["leaseTransitions"] == 1  # type: ignore[index]

    _play(play)


def test_a_holder_that_cannot_reach_the_server_stops_before_anybody_else_begins() -> None:
    async def play(world: _World) -> None:
        for trouble in (world.server.away, world.server.silent):
            first, second = world.election("a"), world.election("b")
            world.server.lease = None
            await world.waits_for(first)
            keeping = asyncio.create_task(first.keep())
            waiting = asyncio.create_task(world.waits_for(second))
            await world.clock.sleep(10)
            trouble.add("a")
            lost_sight = world.clock.monotonic()
            why = await keeping
            stopped = world.clock.monotonic()
            assert "could not be renewed for 3 s: " in why
            assert stopped - lost_sight <= 3.01
            assert not waiting.done()
            await waiting
            assert world.clock.monotonic() - stopped >= 1.9
            trouble.clear()

    _play(play)


def test_a_lease_is_over_for_who_did_not_get_to_renew_it() -> None:
    async def play(world: _World) -> None:
        # Given a process that stands still: nothing of it runs
        first = world.election("a")
        assert first.over
        await world.waits_for(first)
        assert not first.over
        await world.clock.sleep(2.9)
        assert not first.over
        await world.clock.sleep(0.2)
        assert first.over
        # When it wakes, it knows
        assert "this process was too busy" in await first.keep()

    _play(play)


def test_a_short_loss_of_the_server_costs_nothing() -> None:
    async def play(world: _World) -> None:
        first = world.election("a")
        await world.waits_for(first)
        keeping = asyncio.create_task(first.keep())
        for _ in range(10):
            world.server.away.add("a")
            await world.clock.sleep(1.6)
            world.server.away.clear()
            await world.clock.sleep(3)
        assert not keeping.done()
        keeping.cancel()

    _play(play)


def test_who_finds_another_in_its_place_says_so() -> None:
    async def play(world: _World) -> None:
        first = world.election("a")
        await world.waits_for(first)
        taken = copy.deepcopy(world.server.lease)
        assert taken is not None
        taken["spec"]["holderIdentity"] = "somebody"
        world.server.store("somebody", taken)
        assert await first.keep() == "'somebody' has it now"

    _play(play)


def test_a_change_by_others_that_leaves_the_holder_alone_does_no_harm() -> None:
    async def play(world: _World) -> None:
        first = world.election("a")
        await world.waits_for(first)
        keeping = asyncio.create_task(first.keep())
        for _ in range(20):
            await world.clock.sleep(0.37)
            labelled = copy.deepcopy(world.server.lease)
            assert labelled is not None
            labelled["metadata"]["labels"]["more"] = str(world.clock.monotonic())
            world.server.store("somebody", labelled)
        assert not keeping.done()
        world.server.lease = None  # and one who removes it
        await world.clock.sleep(3)
        assert not keeping.done()
        assert world.server.lease is not None
        keeping.cancel()

    _play(play)


def test_a_lease_that_somebody_removes_stays_with_its_holder() -> None:
    async def play(world: _World) -> None:
        first, second = world.election("a"), world.election("b")
        await world.waits_for(first)
        keeping = asyncio.create_task(first.keep())
        waiting = asyncio.create_task(world.waits_for(second))
        await world.clock.sleep(1)
        for _ in range(20):
            await world.clock.sleep(2.3)
            world.server.lease = None
        assert not keeping.done()
        assert not waiting.done()
        keeping.cancel()
        world.server.lease = None
        await waiting

    _play(play)


def test_who_lets_go_is_followed_at_the_next_look() -> None:
    async def play(world: _World) -> None:
        first, second = world.election("a"), world.election("b")
        await world.waits_for(first)
        waiting = asyncio.create_task(world.waits_for(second))
        await world.clock.sleep(0.5)
        await first.release()
        let_go = world.clock.monotonic()
        assert "holderIdentity" not in world.server.lease["spec"]  # type: ignore[index]
        await waiting
        assert world.clock.monotonic() - let_go <= 1.3
        assert second.holder == "b"

    _play(play)


def test_of_many_that_wait_one_wins() -> None:
    async def play(world: _World) -> None:
        elections = [world.election(f"pod-{number}") for number in range(8)]
        tasks = [asyncio.create_task(world.waits_for(each)) for each in elections]
        await world.clock.sleep(3)
        won = [each for each, task in zip(elections, tasks, strict=True) if task.done()]
        assert len(won) == 1
        for task in tasks:
            task.cancel()

    _play(play)


def test_a_restart_by_the_same_name_has_it_at_once() -> None:
    async def play(world: _World) -> None:
        await world.waits_for(world.election("pod-0"))
        assert await world.waits_for(world.election("pod-0")) < 0.1

    _play(play)


def test_what_fails_is_said_and_tried_on() -> None:
    async def play(world: _World) -> None:
        world.server.away.add("a")
        first = world.election("a")
        waiting = asyncio.create_task(world.waits_for(first))
        await world.clock.sleep(30)
        assert not waiting.done()
        assert first.problem == "the Kubernetes API cannot be reached"
        world.server.away.clear()
        await waiting
        assert first.problem == ""

    _play(play)


class TestDurations:
    def test_are_upstreams_where_nothing_is_said(self) -> None:
        assert Durations.read({}) == Durations(5, 2, 1)

    def test_are_what_the_environment_says(self) -> None:
        said = {"LEASE_DURATION": "30s", "RENEW_DEADLINE": "1m", "RETRY_PERIOD": "500ms"}
        read = Durations.read(
            {f"LEADER_ELECTION_{word}": text for word, text in (said | {"RENEW_DEADLINE": "20s"}).items()}
        )
        assert read == Durations(30, 20, 0.5)

    @pytest.mark.parametrize(
        ("variables", "expected", "words"),
        [
            ({"LEASE_DURATION": "long"}, Durations(), "LEADER_ELECTION_LEASE_DURATION"),
            ({"RETRY_PERIOD": "5"}, Durations(), "LEADER_ELECTION_RETRY_PERIOD"),
            ({"RENEW_DEADLINE": "x", "LEASE_DURATION": "9s"}, Durations(9, 2, 1), "RENEW_DEADLINE"),
            ({"RENEW_DEADLINE": "5s"}, Durations(), "must be longer"),
            ({"RETRY_PERIOD": "2s"}, Durations(), "1.2 times"),
            ({"RETRY_PERIOD": "-1s"}, Durations(), "retry period"),
        ],
    )
    def test_that_are_none_or_do_not_go_together_are_warned_of_and_left_out(
        self, variables: dict[str, str], expected: Durations, words: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING, "argosy.kubernetes"):
            assert Durations.read({f"LEADER_ELECTION_{word}": text for word, text in variables.items()}) == expected
        assert words in caplog.text


def test_the_name_of_a_lease_tells_events_apart_and_is_one_that_the_server_takes() -> None:
    names = {
        lease_name(*each) for each in (("a", "b-c"), ("a-b", "c"), ("A", "b-c"), ("a", "b_c"), ("x" * 300, "y" * 300))
    }
    assert len(names) == 5
    for name in names:
        assert len(name) <= 63
        assert name.startswith("argosy-")
        assert all(each.isascii() and (each.isalnum() or each == "-") for each in name)
        assert name == name.lower()
    assert lease_name("orders", "new").startswith("argosy-orders-new-")
