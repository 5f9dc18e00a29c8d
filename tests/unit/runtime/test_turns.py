"""Turns in virtual time: never do two receive, a drain finishes what is under way first, and a source that fails lets another one try."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import random
from collections.abc import Awaitable, Callable
from typing import ClassVar

import pytest

from argosy import registry
from argosy.bus.memory import MemoryBus
from argosy.clock import VirtualClock, run_virtually
from argosy.errors import SourceError
from argosy.kubernetes.leases import Durations, Election
from argosy.manifests.eventsource import EventSource, EventSpec, parse_event_source
from argosy.runtime.secrets import Secrets
from argosy.runtime.sources import SourceDuties, SourceRunner
from argosy.runtime.telemetry import Metrics
from argosy.runtime.turns import Turn, Turns, from_environment
from argosy.sources._base import Source, SourceConfig, SourceContext
from argosy.sources._http import HttpServers
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


class _Ticking(Source[SourceConfig]):
    """Emits a number ten times a second, and notes what it acknowledged."""

    kind: ClassVar[str] = "ticking"
    config = SourceConfig
    exclusive = True
    acknowledges = True
    example = ""
    acknowledged: ClassVar[list[int]] = []

    async def run(self, ctx: SourceContext[SourceConfig]) -> None:
        for number in itertools.count():
            await ctx.clock.sleep(0.1)
            await ctx.emit(number)
            self.acknowledged.append(number)


class _Waking(VirtualClock):
    """A clock that another process of the machine would see: this one stood still for ``ahead`` seconds."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


def test_a_process_that_stood_still_emits_nothing_when_it_wakes_and_acknowledges_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main(clock: VirtualClock) -> None:
        monkeypatch.setattr(registry, "source", lambda kind: _Ticking)
        waking, server = _Waking(START, asyncio.get_running_loop()), LeaseServer()

        class _Turns(Turns):
            def of(self, source: EventSource, event: str, count: Callable[[int], None]) -> Turn:
                def election(client: object) -> Election:
                    return Election(server.seen_by("a"), "shop", "lease", "a", clock=waking)

                return Turn("source", election, Durations(), count)

        raw = {"apiVersion": "argoproj.io/v1alpha1", "kind": "EventSource", "metadata": {"name": "es"}, "spec": {}}
        source, _ = parse_event_source(raw)
        assert source is not None
        spec = EventSpec("ticking", "ev", SourceConfig(), {})
        duties = SourceDuties(
            http=HttpServers(),
            secrets=Secrets(),
            clock=clock,
            metrics=Metrics(),
            listening=lambda where: None,
            turns=_Turns("a", Durations(), clock),
        )
        async with MemoryBus() as bus:
            # Given a source that has its turn and emits
            task = asyncio.create_task(SourceRunner(source, spec, bus, duties).run())
            await clock.sleep(2.05)
            stored = (await bus.extent()).last
            assert stored == len(_Ticking.acknowledged) > 5
            # When its process wakes after its Lease has run out, and the source is faster than who renews
            server.away.add("a")
            waking.ahead = 10.0
            await clock.sleep(5)
            # Then nothing more was stored, and nothing acknowledged
            assert (await bus.extent()).last == stored == len(_Ticking.acknowledged)
            # And it goes on when it has its turn again
            server.away.clear()
            await clock.sleep(20)
            assert (await bus.extent()).last > stored
            task.cancel()
            await asyncio.wait({task})

    run_virtually(START, main)


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
