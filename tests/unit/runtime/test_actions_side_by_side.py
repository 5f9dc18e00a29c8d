"""Several actions of a trigger at a time: order for each key, and pauses that hold up nobody else; in virtual time on a bus in memory."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.bus.memory import MemoryBus
from argosy.clock import VirtualClock, run_virtually
from argosy.errors import Rejected, TriggerError
from argosy.event import Event
from argosy.manifests.fields import Json
from argosy.manifests.sensor import TriggerSpec
from argosy.runtime import lines
from argosy.runtime.actions import TriggerWorker
from argosy.runtime.duties import TriggerDuties
from argosy.runtime.lines import in_flight
from argosy.runtime.secrets import Secrets
from argosy.runtime.suspension import Switch
from argosy.runtime.telemetry import Metrics
from argosy.sensor import actions
from argosy.triggers._base import Action, Outcome
from tests.unit.runtime.test_actions import LOG, START, _spec

_BY_KEY = "queue: {concurrency: %d, key: {dependencyName: d, dataKey: key}}\n"
_RETRY = "retryStrategy: {steps: %d, duration: %s, jitter: 0}\n"


class _World:
    """The receiver: what each action is answered, and what went on when. ``takes`` is how long an attempt lasts, in seconds."""

    def __init__(self, answers: Callable[[str, int], Exception | None] = lambda item, attempt: None) -> None:
        self.answers = answers
        self.takes: Callable[[str], float] = lambda item: 0.0
        self.began: list[tuple[float, str]] = []
        self.ended: list[tuple[float, str, bool]] = []
        self.under_way: set[str] = set()
        self.most = 0
        self.together: list[set[str]] = []
        self.clock: VirtualClock

    def make(self, kind: str, context: Any) -> Any:
        return _Trigger(self)


class _Trigger:
    def __init__(self, world: _World) -> None:
        self.world = world

    async def __aenter__(self) -> _Trigger:
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    async def fetch(self, config: Any) -> Json | None:
        return None

    async def fire(self, config: Any, action: Action) -> Outcome:
        world = self.world
        world.began.append((round(world.clock.monotonic(), 6), action.id))
        world.under_way.add(action.id)
        world.most = max(world.most, len(world.under_way))
        world.together.append(set(world.under_way))
        try:
            await world.clock.sleep(world.takes(action.id))
        finally:
            world.under_way.discard(action.id)
        answer = world.answers(action.id, action.attempt)
        world.ended.append((round(world.clock.monotonic(), 6), action.id, answer is None))
        if answer is not None:
            raise answer
        return Outcome("done")


def _body(key: str | None, at: float = 0.0) -> bytes:
    data = b"{}" if key is None else b'{"key":"%s"}' % key.encode()
    event = Event("e", "web", "in", "webhook", "2026-01-01T00:00:00Z", data)
    return actions.encode(actions.ActionRecord(event.time, {"d": event}, at=at))


class _Play:
    """A bus with one queue, and a worker on it that can be killed and started again."""

    def __init__(self, clock: VirtualClock, spec: TriggerSpec, world: _World) -> None:
        self.clock, self.spec, self.world = clock, spec, world
        world.clock = clock
        self.bus = MemoryBus(clock=clock)
        self.metrics = Metrics()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> _Play:
        await self.bus.__aenter__()
        self.queue = self.bus.queue("q", max_in_flight=in_flight(self.spec))
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()
        await self.bus.__aexit__(*exc)

    def start(self, switch: Switch | None = None) -> None:
        duties = TriggerDuties(
            secrets=Secrets(),
            clock=self.clock,
            metrics=self.metrics,
            grace_seconds=0.0,
            make=self.world.make,
            chance=lambda: 0.0,
        )
        worker = TriggerWorker("ns", "s", self.spec, self.bus, self.queue, duties, switch=switch)
        self._task = asyncio.create_task(worker.run())

    async def stop(self) -> None:
        """End the worker in the middle of whatever it does."""
        if self._task is not None:
            assert not self._task.done(), self._task.exception()
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def gauge(self, name: str) -> float | None:
        labels = {"namespace": "ns", "sensor_name": "s", "trigger_name": "t"}
        return self.metrics.registry.get_sample_value(name, labels)


def _played(spec: TriggerSpec, world: _World, items: list[tuple[str, str | None]], hours: float = 48) -> list[str]:
    """Put these items, by id and key, and let the worker run; the ids of dead letters."""

    async def main(clock: VirtualClock) -> list[str]:
        async with _Play(clock, spec, world) as play:
            for item, key in items:
                await play.queue.put(item, _body(key))
            play.start()
            await clock.sleep(hours * 3600)
            assert await play.queue.depth() == 0
            return [letter.id for letter in await play.queue.dead_letters()]

    return run_virtually(START, main)


class TestConcurrency:
    @pytest.mark.parametrize("number", [1, 2, 5])
    def test_is_how_many_actions_run_side_by_side(self, number: int) -> None:
        world = _World()
        world.takes = lambda item: 1.0

        _played(_spec(LOG + f"queue: {{concurrency: {number}}}"), world, [(str(one), None) for one in range(10)])

        assert world.most == number
        assert len(world.ended) == 10
        assert world.ended[-1][0] == 10 / number

    def test_lets_others_pass_one_that_is_tried_again(self) -> None:
        world = _World(lambda item, attempt: TriggerError("no") if item == "a" and attempt < 3 else None)

        _played(_spec(LOG + "queue: {concurrency: 2}\n" + _RETRY % (5, "10s")), world, [(one, None) for one in "abc"])

        assert world.began == [(0, "a"), (0, "b"), (0, "c"), (10, "a"), (20, "a")]

    def test_is_kept_by_the_rate_limit_in_one_bucket(self) -> None:
        world = _World()

        _played(
            _spec(LOG + "queue: {concurrency: 3}\nrateLimit: {unit: Minute, requestsPerUnit: 6}"),
            world,
            [(one, None) for one in "abcd"],
        )

        assert [when for when, _ in world.began] == pytest.approx([0, 10, 20, 30], abs=1e-3)


class TestAKey:
    def test_has_one_action_at_a_time_in_order_while_others_pass(self) -> None:
        world = _World()
        world.takes = lambda item: 5.0 if item.startswith("x") else 1.0

        _played(_spec(LOG + _BY_KEY % 3), world, [("x1", "x"), ("x2", "x"), ("y1", "y"), ("x3", "x"), ("y2", "y")])

        assert [item for _, item in world.began if item[0] == "x"] == ["x1", "x2", "x3"]
        assert [when for when, item in world.began if item[0] == "x"] == [0, 5, 10]
        assert [(when, item) for when, item in world.began if item[0] == "y"] == [(0, "y1"), (1, "y2")]

    def test_that_is_stuck_in_retries_blocks_only_itself(self) -> None:
        world = _World(lambda item, attempt: TriggerError("no") if item == "x1" else None)
        items = [("x1", "x"), *((f"x{number}", "x") for number in range(2, 300)), ("y1", "y"), ("z1", "z")]

        dead = _played(_spec(LOG + _BY_KEY % 2 + _RETRY % (4, "1h")), world, items)

        began = {item: when for when, item in reversed(world.began)}
        assert (began["y1"], began["z1"]) == (0, 0)
        assert dead == ["x1"]
        assert began["x2"] == 3 * 3600
        assert [item for _, item in world.began if item[0] == "x"][4:] == [f"x{number}" for number in range(2, 300)]

    def test_that_has_no_value_is_a_line_of_its_own_with_a_warning(self, caplog: pytest.LogCaptureFixture) -> None:
        world = _World()
        world.takes = lambda item: 1.0

        with caplog.at_level(logging.WARNING, "argosy.trigger"):
            _played(_spec(LOG + _BY_KEY % 4), world, [("a", None), ("x", "x"), ("b", None), ("c", None)])

        assert world.began == [(0, "a"), (0, "x"), (1, "b"), (2, "c")]
        told = [record.getMessage() for record in caplog.records]
        assert len(told) == 1  # the same thing is not said of every action
        assert "queue.key has no value for action a (path 'key' does not exist)" in told[0]

    def test_may_have_a_default(self, caplog: pytest.LogCaptureFixture) -> None:
        world = _World()
        world.takes = lambda item: 1.0
        spec = _spec(LOG + "queue: {concurrency: 4, key: {dependencyName: d, dataKey: key, value: x}}\n")

        _played(spec, world, [("a", None), ("x", "x"), ("y", "y")])

        assert world.began == [(0, "a"), (0, "y"), (1, "x")]
        assert not caplog.records

    def test_of_an_action_that_cannot_be_read_stops_nothing(self) -> None:
        world = _World()

        async def main(clock: VirtualClock) -> list[str]:
            async with _Play(clock, _spec(LOG + _BY_KEY % 2), world) as play:
                await play.queue.put("broken", b"not a record")
                await play.queue.put("a", _body("x"))
                play.start()
                await clock.sleep(1)
                return [letter.id for letter in await play.queue.dead_letters()]

        assert run_virtually(START, main) == ["broken"]
        assert [item for _, item in world.began] == ["a"]


class TestTheLookAhead:
    def test_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lines, "LOOK_AHEAD", 5)
        world = _World(lambda item, attempt: TriggerError("no") if item == "x0" and attempt == 1 else None)
        items = [(f"x{number}", "x") for number in range(8)] + [("y", "y")]

        _played(_spec(LOG + _BY_KEY % 2 + _RETRY % (4, "1h")), world, items)

        # While x0 rests, five are held; y stands behind more of its own, so it has to wait.
        assert {item: when for when, item in world.began}["y"] == 3600

    def test_is_bounded_in_bytes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lines, "LOOK_AHEAD_BYTES", 3 * len(_body("x")))
        world = _World(lambda item, attempt: TriggerError("no") if item == "x0" and attempt == 1 else None)
        items = [(f"x{number}", "x") for number in range(8)] + [("y", "y")]

        _played(_spec(LOG + _BY_KEY % 2 + _RETRY % (4, "1h")), world, items)

        assert {item: when for when, item in world.began}["y"] == 3600

    def test_goes_no_further_than_it_must(self) -> None:
        world = _World()
        world.takes = lambda item: 100.0

        async def main(clock: VirtualClock) -> tuple[float | None, float | None]:
            async with _Play(clock, _spec(LOG + "queue: {concurrency: 2}"), world) as play:
                for number in range(50):
                    await play.queue.put(str(number), _body(None))
                play.start()
                await clock.sleep(1)
                return play.gauge("argosy_actions_held"), play.gauge("argosy_actions_resting")

        held, resting = run_virtually(START, main)
        assert held is not None
        assert 2 <= held <= 5
        assert resting == 0


_ANSWERS = st.lists(st.sampled_from(["ok", "fails", "rejected"]), max_size=3)


@given(
    concurrency=st.integers(2, 4),
    items=st.lists(st.tuples(st.sampled_from("xyz"), _ANSWERS, st.sampled_from([0.0, 0.5, 3.0])), max_size=12),
    kills=st.lists(st.floats(0.1, 5.0), max_size=4),
    later=st.integers(0, 12),
)
@settings(max_examples=150, deadline=None)
def test_each_key_is_in_order_one_at_a_time_and_nothing_is_lost_whatever_fails_and_dies(
    concurrency: int, items: list[tuple[str, list[str], float]], kills: list[float], later: int
) -> None:
    """The model: a key's actions end in the order in which they were put, each done or dead as its answers say."""
    names = [f"{key}{number}" for number, (key, _, _) in enumerate(items)]
    told = {name: list(answers) for name, (_, answers, _) in zip(names, items, strict=True)}

    def answer(item: str, attempt: int) -> Exception | None:
        word = told[item][attempt - 1] if attempt <= len(told[item]) else "ok"
        return {"ok": None, "fails": TriggerError("no"), "rejected": Rejected("never")}[word]

    world = _World(answer)
    seconds = {name: takes for name, (_, _, takes) in zip(names, items, strict=True)}
    world.takes = seconds.__getitem__
    spec = _spec(LOG + _BY_KEY % concurrency + _RETRY % (3, "2s"))
    dead: list[str] = []
    done: list[str] = []

    async def main(clock: VirtualClock) -> None:
        async with _Play(clock, spec, world) as play:
            for name, (key, _, _) in list(zip(names, items, strict=True))[later:]:
                del key
                await play.queue.put(name, _body(name[0]))
            play.start()
            for name in names[:later]:
                await play.queue.put(name, _body(name[0]))
                await clock.sleep(0.2)
            for seconds in kills:
                await clock.sleep(seconds)
                await play.stop()
                play.start()
            await clock.sleep(3600)
            assert await play.queue.depth() == 0
            dead.extend(letter.id for letter in await play.queue.dead_letters())
            done.extend([name for name in names if await play.queue.outcome(name) is not None])

    run_virtually(START, main)

    order = names[later:] + names[:later]
    expected_dead = {
        name
        for name in names
        if "rejected" in told[name][: next((n for n, word in enumerate(told[name]) if word == "ok"), 3)]
        or told[name][:3] == ["fails"] * 3
    }
    assert set(dead) == expected_dead
    assert sorted(done) == sorted(set(names) - expected_dead)
    assert world.most <= concurrency
    assert all(len({item[0] for item in together}) == len(together) for together in world.together)
    attempts: dict[str, list[str]] = defaultdict(list)
    for _, item in world.began:
        if not attempts[item[0]] or attempts[item[0]][-1] != item:
            attempts[item[0]].append(item)
    for key, seen in attempts.items():
        assert seen == [name for name in order if name[0] == key]
