"""The loop on a real bus in memory: what is durable before what, what a death between two steps leaves, what is skipped and what is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import yaml

from argosy.bus._base import Delivery, Pair, Queue
from argosy.bus.memory import MemoryBucket, MemoryBus
from argosy.errors import BusError
from argosy.manifests.sensor import parse_sensor
from argosy.sensor import actions
from argosy.sensor.loop import Caused, SensorLoop, Waiting
from argosy.sensor.matching import Decision, Matcher
from tests.unit.sensor._cases import event

SENSOR = """\
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {name: s}
spec:
  dependencies:
    - {name: a, eventSourceName: web, eventName: a}
    - {name: b, eventSourceName: web, eventName: b}
    - name: picky
      eventSourceName: web
      eventName: a
      filters: {data: [{path: gone, type: string, value: [x]}]}
  triggers:
    - template: {name: each, conditions: a || b, log: {}}
    - template: {name: both, conditions: a && b, log: {}}
"""


class _Died(Exception):
    """Stands for SIGKILL: nothing after it happens."""


class _Witness:
    """Observes the loop."""

    def __init__(self) -> None:
        self.told: list[tuple[int, list[str], list[str], list[tuple[str, list[str]]]]] = []
        self.skipped: list[tuple[int, str]] = []
        self.problems: list[str] = []
        self.due: list[tuple[str, str]] = []
        self.given_up: list[tuple[str, str]] = []
        self.changed = asyncio.Event()

    def matched(
        self, delivery: Delivery, decisions: Sequence[Decision], caused: Sequence[Caused], waiting: Sequence[Waiting]
    ) -> None:
        accepted = [one.dependency for one in decisions if one.event is not None]
        ran = [one.trigger for one in caused]
        self.told.append(
            (delivery.position, accepted, ran, [(one.trigger, list(one.for_dependencies)) for one in waiting])
        )
        self.changed.set()

    def came_due(self, caused: Caused, why: str) -> None:
        self.due.append((caused.trigger, why))

    def gave_up(self, trigger: str, values: Sequence[str]) -> None:
        self.given_up += [(trigger, value) for value in values]

    def unreadable(self, delivery: Delivery) -> None:
        self.skipped.append((delivery.position, delivery.error))
        self.changed.set()

    def problem(self, sentence: str) -> None:
        self.problems.append(sentence)


class _Stage:
    """One bus, and loops over it that come and go."""

    def __init__(self, bus: MemoryBus) -> None:
        sensor, problems = parse_sensor(yaml.safe_load(SENSOR))
        assert sensor is not None, problems
        self.matcher = Matcher(sensor)
        self.bus = bus
        self.queues: dict[str, Queue] = {name: bus.queue(f"ns/s/{name}") for name in ("each", "both")}
        self.witness = _Witness()

    def loop(self, failpoint: Callable[[str], None] = lambda name: None) -> SensorLoop:
        return SensorLoop(
            namespace="ns",
            sensor="s",
            matcher=self.matcher,
            bus=self.bus,
            queue_of=self.queues.__getitem__,
            observer=self.witness,
            failpoint=failpoint,
        )

    async def position(self) -> int:
        return self.bus._positions.get("ns/s", 0)

    async def begin(self) -> None:
        """Make the consumer known, so that what is published from now on is read."""
        async with self.bus.subscribe("ns/s", self.matcher.pairs):
            pass

    async def run_to(self, position: int) -> None:
        """Run a loop until the log up to ``position`` is committed."""
        task = asyncio.create_task(self.loop().run())
        async with asyncio.timeout(10):
            while await self.position() < position:
                assert not task.done(), task.exception()
                await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def records(self, trigger: str) -> list[actions.ActionRecord]:
        store = self.bus._queues[f"ns/s/{trigger}"]
        return [actions.decode(item.body) for item in store.items.values()]

    async def ids(self, trigger: str) -> list[list[str]]:
        return [sorted(one.id for one in record.events.values()) for record in await self.records(trigger)]

    async def saved(self) -> bytes | None:
        entry = await self.bus.bucket("joins").get("ns/s/both")
        return entry.value if entry else None

    async def publish(self, *names: str, **more: Any) -> None:
        for name in names:
            await self.bus.publish(event({}, id=name, subject=name[0], **more))


@pytest.fixture
async def stage() -> Any:
    async with MemoryBus(max_bytes=4000) as bus:
        stage = _Stage(bus)
        await stage.begin()
        yield stage


async def test_an_event_is_decided_on_once_for_each_dependency_and_each_trigger_has_its_own_state(
    stage: _Stage,
) -> None:
    await stage.publish("a1", "b1", "b2", "a2")
    await stage.run_to(4)

    assert stage.witness.told == [
        (1, ["a"], ["each"], [("both", ["b"])]),
        (2, ["b"], ["each", "both"], []),
        (3, ["b"], ["each"], [("both", ["a"])]),
        (4, ["a"], ["each", "both"], []),
    ]
    assert await stage.ids("each") == [["a1"], ["b1"], ["b2"], ["a2"]]
    assert await stage.ids("both") == [["a1", "b1"], ["a2", "b2"]]


class TestADeath:
    @pytest.mark.parametrize(
        ("at", "actions_put", "state_saved", "committed"),
        [
            ("actions.put", True, False, 0),
            ("join.cleared", True, True, 0),
            ("position.committed", True, True, 2),
        ],
    )
    async def test_finds_actions_before_state_before_position(
        self, stage: _Stage, at: str, actions_put: bool, state_saved: bool, committed: int
    ) -> None:
        await stage.publish("a1", "b1")

        with pytest.raises(_Died):
            await stage.loop(_dies_at(at)).run()

        assert (await stage.ids("both") == [["a1", "b1"]]) is actions_put
        assert (await stage.saved() is not None) is state_saved
        assert await stage.position() == committed
        # The story of the cause comes before that of its effect, so it is told before anything is stored.
        assert len(stage.witness.told) == 2

    @pytest.mark.parametrize("at", ["actions.put", "join.", "position.committed"])
    async def test_anywhere_loses_nothing_and_causes_nothing_twice(self, stage: _Stage, at: str) -> None:
        names = ["a1", "b1", "a2", "a3", "b2"]
        for name in names:
            await stage.publish(name)
            with pytest.raises(_Died):
                await stage.loop(_dies_at(at)).run()
        await stage.run_to(len(names))

        assert await stage.ids("each") == [[name] for name in names]
        assert await stage.ids("both") == [["a1", "b1"], ["a3", "b2"]]


def _dies_at(name: str) -> Callable[[str], None]:
    def reach(reached: str) -> None:
        if reached.startswith(name):
            raise _Died(name)

    return reach


async def test_an_entry_that_is_no_event_is_skipped_and_told_and_holds_nothing_up(stage: _Stage) -> None:
    stage.bus.store_text(Pair("web", "a"), b"not an event")
    await stage.publish("a1")
    stage.bus.store_text(Pair("web", "b"), b'{"id":"x"}')
    await stage.run_to(3)

    assert [position for position, _ in stage.witness.skipped] == [1, 3]
    assert "not a CloudEvent" in stage.witness.skipped[0][1]
    assert "without source and type" in stage.witness.skipped[1][1]
    assert await stage.ids("each") == [["a1"]]


async def test_a_batch_of_nothing_but_unreadable_entries_is_committed_too(stage: _Stage) -> None:
    stage.bus.store_text(Pair("web", "a"), b"[]")

    await stage.run_to(1)

    assert stage.witness.told == []


async def test_an_event_that_no_dependency_accepts_is_told_with_its_decisions_and_causes_nothing(stage: _Stage) -> None:
    await stage.publish("a1")
    await stage.run_to(1)

    assert stage.witness.told[0][1] == ["a"]  # not "picky"
    assert stage.matcher.decide(event({}, subject="a"))[1].verdict.failed


async def test_an_action_whose_events_are_together_too_large_is_stored_without_their_data_and_says_why(
    stage: _Stage,
) -> None:
    for name in ("a1", "b1"):
        await stage.bus.publish(event({"long": "x" * 2200}, id=name, subject=name[0]))
    await stage.run_to(2)

    (record,) = await stage.records("both")
    assert "together too large for the bus" in record.unusable
    assert {one.id: one.data for one in record.events.values()} == {"a1": b"null", "b1": b"null"}
    # The others are as ever.
    assert [bool(one.unusable) for one in await stage.records("each")] == [False, False]


async def test_events_that_cannot_be_remembered_become_an_action_that_says_so_and_the_sensor_goes_on() -> None:
    async with MemoryBus(max_bytes=4000) as bus:
        stage = _Stage(bus)
        await stage.begin()
        await bus.publish(event({"long": "x" * 3700}, id="a1", subject="a"))
        await stage.run_to(1)
        await stage.publish("b1", "a2")
        await stage.run_to(3)

        (given_up, done) = await stage.records("both")
        assert "wait for 'a && b'" in given_up.unusable
        assert list(given_up.events) == ["a"]
        assert (done.unusable, sorted(one.id for one in done.events.values())) == ("", ["a2", "b1"])
        assert "trigger 'both' gives up the events of a" in stage.witness.problems[0]


async def test_a_join_state_that_cannot_be_read_is_a_problem_that_is_told_and_the_trigger_starts_empty(
    stage: _Stage,
) -> None:
    await stage.bus.bucket("joins").put("ns/s/both", b"not a state")
    await stage.publish("a1", "b1")

    await stage.run_to(2)

    assert "trigger 'both' starts with an empty join state" in stage.witness.problems[0]
    assert await stage.ids("both") == [["a1", "b1"]]


async def test_opened_is_set_once_nothing_can_be_missed(stage: _Stage) -> None:
    loop = stage.loop()
    assert not loop.opened.is_set()
    task = asyncio.create_task(loop.run())
    async with asyncio.timeout(10):
        await loop.opened.wait()

    await stage.publish("a1")
    async with asyncio.timeout(10):
        while await stage.position() == 0:  # noqa: ASYNC110 - the loop commits
            await asyncio.sleep(0)

    assert await stage.ids("each") == [["a1"]]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_many_events_in_one_batch_keep_their_order_within_each_queue(stage: _Stage) -> None:
    names = [f"{'ab'[number % 3 == 0]}{number}" for number in range(100)]
    await stage.publish(*names)
    await stage.run_to(100)

    assert await stage.ids("each") == [[name] for name in names]
    assert [position for position, *_ in stage.witness.told] == list(range(1, 101))


async def test_when_the_state_cannot_be_stored_the_event_comes_again_and_is_not_dropped(stage: _Stage) -> None:
    # Given a bus that refuses what a condition has collected (Argo Events acknowledges the event all the same)
    await stage.publish("a1")
    refused: list[str] = []

    async def refuse(self: MemoryBucket, key: str, value: bytes, *, revision: int | None = None) -> int:
        refused.append(key)
        raise BusError("the store is gone")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryBucket, "put", refuse)
        with pytest.raises(BusError):
            await stage.loop().run()
    assert refused
    assert await stage.position() == 0

    # When the store is there again, then the event is read again, and the condition is completed once
    await stage.publish("b1")
    await stage.run_to(2)
    assert await stage.ids("both") == [["a1", "b1"]]
