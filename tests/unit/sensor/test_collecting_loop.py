"""The loop with what it collects, on a real bus in memory and in virtual time: what is written, what remains, what a person clears, what an older version left."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from argosy.bus._base import Delivery
from argosy.bus.memory import MemoryBus
from argosy.clock import VirtualClock, run_virtually
from argosy.event import encode
from argosy.lang import gojson
from argosy.manifests.sensor import Sensor
from argosy.sensor import actions
from argosy.sensor.loop import Caused, SensorLoop
from argosy.sensor.matching import Decision, Matcher
from argosy.sensor.pending import clear, pending
from argosy.sensor.stores import Store
from tests.unit.sensor._collecting import event, sensor

START = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
PAIRED = {"conditions": "a && b", "correlate": {"a": "k", "b": "k"}}


class _Witness:
    def __init__(self) -> None:
        self.due: list[tuple[str, str]] = []
        self.given_up: list[str] = []
        self.problems: list[str] = []
        self.decided: list[Decision] = []

    def matched(self, delivery: Delivery, decisions: list[Decision], *_: object) -> None:
        self.decided = decisions

    def came_due(self, caused: Caused, why: str) -> None:
        self.due.append((caused.trigger, why))

    def gave_up(self, trigger: str, values: list[str]) -> None:
        self.given_up += values

    def unreadable(self, delivery: Delivery) -> None: ...

    def problem(self, sentence: str) -> None:
        self.problems.append(sentence)


class _Stage:
    """A bus, and at most one loop over it at a time."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.bus = MemoryBus(clock=clock)
        self.witness = _Witness()
        self.points: list[str] = []
        self._task: asyncio.Task[None] | None = None
        self.sensor: Sensor

    async def start(self, template: dict[str, Any], **trigger: Any) -> None:
        self.sensor = sensor(template, **trigger)
        loop = SensorLoop(
            namespace="ns",
            sensor="s",
            matcher=Matcher(self.sensor),
            bus=self.bus,
            queue_of=self.bus.queue,
            observer=self.witness,
            failpoint=self.points.append,
            clock=self.clock,
        )
        self._task = asyncio.create_task(loop.run())
        await loop.opened.wait()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def come(self, id: str, data: Any = None) -> None:
        await self.bus.publish(event(id, data))
        await self.clock.settle()

    async def keys(self) -> list[str]:
        return await self.bus.bucket("joins/ns/s").keys()

    def ran(self) -> list[list[str]]:
        store = self.bus._queues["t"]
        found = []
        for item in store.items.values():
            events = actions.decode(item.body).events.values()
            found.append(
                [
                    id
                    for one in events
                    for id in (
                        [each["id"] for each in gojson.loads(one.data)] if one.type == "io.argosy.batch" else [one.id]
                    )
                ]
            )
        return found


def on_stage(test: Callable[[_Stage], Awaitable[None]]) -> Callable[[], None]:
    async def play(clock: VirtualClock) -> None:
        stage = _Stage(clock)
        async with stage.bus:
            try:
                await test(stage)
            finally:
                await stage.stop()

    def run() -> None:
        run_virtually(START, play)

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@on_stage
async def test_an_event_writes_its_own_value_and_nothing_else(stage: _Stage) -> None:
    await stage.start(PAIRED)
    for number in range(50):
        await stage.come(f"a{number}", {"k": number})
    before = {key: entry.revision for key, entry in stage.bus._buckets["joins/ns/s"]._entries.items()}

    await stage.come("a7x", {"k": 7})

    after = {key: entry.revision for key, entry in stage.bus._buckets["joins/ns/s"]._entries.items()}
    assert len(after) == 50
    assert len([key for key in after if after[key] != before[key]]) == 1


@on_stage
async def test_values_that_are_complete_leave_nothing_behind(stage: _Stage) -> None:
    await stage.start(PAIRED)
    for number in range(20):
        await stage.come(f"a{number}", {"k": number})
        await stage.come(f"b{number}", {"k": number})

    assert await stage.keys() == []
    assert len(stage.ran()) == 20
    assert "join.removed" in stage.points


@on_stage
async def test_values_that_come_and_go_within_a_batch_are_never_written(stage: _Stage) -> None:
    await stage.start(PAIRED)
    for number in range(20):
        await stage.bus.publish(event(f"a{number}", {"k": number}))
        await stage.bus.publish(event(f"b{number}", {"k": number}))
    await stage.clock.settle()

    assert len(stage.ran()) == 20
    assert not [point for point in stage.points if point.startswith("join.")]


@on_stage
async def test_time_alone_fires_and_says_why(stage: _Stage) -> None:
    await stage.start({"conditions": "a", "absent": {"dependency": "c", "after": "5m"}})
    await stage.come("a1")
    await stage.clock.sleep(299)
    assert stage.ran() == []

    await stage.clock.sleep(1)

    assert stage.ran() == [["a1"]]
    assert stage.witness.due == [("t", "'c' did not follow by 2026-01-01 12:05:00Z")]
    assert "timer.set" in stage.points and "due.put" in stage.points and "due.saved" in stage.points


@on_stage
async def test_a_batch_remembers_the_longest_chain_of_actions_that_led_to_it(stage: _Stage) -> None:
    # Given events that two and five actions led to, and others that say nothing of it or nonsense
    await stage.start({"conditions": "a"}, batch={"window": "1h", "maxEvents": 5})
    for number, depth in enumerate((2, 5, True, "9")):
        await stage.bus.publish(replace(event(f"a{number}"), extensions={"argosydepth": depth}))
    await stage.come("a4")
    # When they become one action
    [item] = stage.bus._queues["t"].items.values()
    # Then a loop of sensors that batch comes to an end, too
    assert actions.decode(item.body).events["a"].extensions == {"argosydepth": 5}


@on_stage
async def test_what_came_due_while_nobody_ran_fires_at_once(stage: _Stage) -> None:
    await stage.start({"conditions": "a", "absent": {"dependency": "c", "after": "5m"}})
    await stage.come("a1")
    await stage.stop()
    await stage.clock.sleep(3600)

    await stage.start({"conditions": "a", "absent": {"dependency": "c", "after": "5m"}})
    await stage.clock.settle()

    assert stage.ran() == [["a1"]]


@on_stage
async def test_what_came_in_time_while_nobody_ran_is_read_before_anything_fires(stage: _Stage) -> None:
    await stage.start({"conditions": "a", "absent": {"dependency": "c", "after": "5m"}})
    await stage.come("a1")
    await stage.stop()
    await stage.clock.sleep(60)
    await stage.bus.publish(event("c1"))
    await stage.clock.sleep(3600)

    await stage.start({"conditions": "a", "absent": {"dependency": "c", "after": "5m"}})
    await stage.clock.sleep(3600)

    assert stage.ran() == []


@on_stage
async def test_two_posts_in_the_same_millisecond_are_two_actions(stage: _Stage) -> None:
    await stage.start({"conditions": "a"})
    await stage.bus.publish(event("a1", {"same": 1}))
    await stage.bus.publish(event("a2", {"same": 1}))
    await stage.clock.settle()

    assert stage.ran() == [["a1"], ["a2"]]


@on_stage
async def test_a_source_that_delivers_again_has_one_effect(stage: _Stage) -> None:
    await stage.start(PAIRED)
    for id in ("a1", "b1", "a1", "b1"):
        await stage.come(id, {"k": 1})

    assert stage.ran() == [["a1", "b1"]]


@on_stage
async def test_a_large_batch_is_written_in_parts_of_which_nothing_is_left(stage: _Stage) -> None:
    await stage.start({"conditions": "a"}, batch={"window": "1h", "maxEvents": 500})
    largest = 0
    for number in range(300):
        await stage.come(f"a{number}", {"n": number})
        head = await stage.bus.bucket("joins/ns/s").get("t/g")
        assert head is not None
        largest = max(largest, len(head.value))
    assert len(await stage.keys()) == 1 + 300 // 64
    assert largest < 64 * 250

    await stage.stop()
    await stage.start({"conditions": "a"}, batch={"window": "1h", "maxEvents": 500})
    await stage.clock.sleep(3600)

    assert stage.ran() == [[f"a{number}" for number in range(300)]]
    assert await stage.keys() == []


class TestAPerson:
    def test_sees_what_is_held_and_waited_for(self) -> None:
        @on_stage
        async def play(stage: _Stage) -> None:
            await stage.start({**PAIRED, "within": "10m", "count": {"b": 2}})
            await stage.come("a1", {"k": "17"})
            await stage.clock.sleep(60)
            await stage.come("b1", {"k": "18"})

            first, second = await pending(stage.bus, stage.sensor, now=stage.clock.now().timestamp())

            assert (first.trigger, first.value, list(first.holds), first.waits_for) == ("t", "17", ["a"], ["b"])
            assert first.sentence == "t waits for 'b' (2 more) of '17', until 2026-01-01 12:10:00Z"
            assert (second.value, second.counted, second.waits_for) == ("18", {"b": 1}, ["a", "b"])
            assert second.since == START.timestamp() + 60
            later = await pending(stage.bus, stage.sensor, now=START.timestamp() + 601)
            assert [one.value for one in later] == ["18"]

        play()

    @pytest.mark.parametrize(
        "template",
        [{"conditions": "a && b"}, PAIRED, {"conditions": "a", "absent": {"dependency": "c", "after": "5m"}}],
    )
    def test_clears_and_a_running_loop_neither_acts_on_it_nor_writes_it_back(self, template: dict[str, Any]) -> None:
        @on_stage
        async def play(stage: _Stage) -> None:
            await stage.start(template)
            await stage.come("a1", {"k": 1})
            now = stage.clock.now().timestamp()
            assert len(await pending(stage.bus, stage.sensor, now=now)) == 1

            assert await clear(stage.bus, stage.sensor) == ["t"]

            assert await pending(stage.bus, stage.sensor, now=now) == []
            await stage.come("b1", {"k": 1})
            await stage.clock.sleep(400)
            assert stage.ran() == []
            await stage.stop()
            await stage.start(template)
            await stage.come("a2", {"k": 1})
            await stage.clock.sleep(400)
            assert stage.ran() == ([["a2"]] if "absent" in template else [["b1", "a2"]])

        play()

    def test_clears_one_trigger_and_no_other(self) -> None:
        @on_stage
        async def play(stage: _Stage) -> None:
            await stage.start(PAIRED)
            await stage.come("a1", {"k": 1})

            assert await clear(stage.bus, stage.sensor, ["other"]) == []

            assert len(await pending(stage.bus, stage.sensor, now=0)) == 1

        play()

    def test_who_looks_removes_nothing(self) -> None:
        @on_stage
        async def play(stage: _Stage) -> None:
            await stage.start(PAIRED)
            await stage.come("a1", {"k": 1})
            await stage.stop()
            plain = sensor({"conditions": "a"})

            assert await pending(stage.bus, plain, now=0) == []

            assert len(await pending(stage.bus, stage.sensor, now=0)) == 1

        play()


class TestAChangedManifest:
    def test_lets_what_was_gathered_run_at_once(self) -> None:
        @on_stage
        async def play(stage: _Stage) -> None:
            await stage.start({"conditions": "a"}, batch={"window": "1h"})
            await stage.come("a1")
            await stage.come("a2")
            await stage.stop()

            await stage.start({"conditions": "a"})
            await stage.clock.settle()

            assert stage.ran() == [["a1", "a2"]]
            assert await stage.keys() == []

        play()

    def test_of_the_key_closes_what_was_gathered_under_the_old_one(self) -> None:
        @on_stage
        async def play(stage: _Stage) -> None:
            await stage.start({"conditions": "a"}, debounce={"quiet": "1h"})
            await stage.come("a1", {"k": 1})
            await stage.stop()

            await stage.start(
                {"conditions": "a"}, batch={"window": "1h", "key": {"dependencyName": "a", "dataKey": "k"}}
            )
            await stage.come("a2", {"k": 1})

            assert stage.ran() == [["a1"]]

        play()

    def test_of_correlate_forgets_what_was_collected(self) -> None:
        @on_stage
        async def play(stage: _Stage) -> None:
            await stage.start(PAIRED)
            await stage.come("a1", {"k": 1, "other": 1})
            await stage.stop()

            await stage.start({**PAIRED, "correlate": {"a": "other", "b": "k"}})
            await stage.come("b1", {"k": 1})

            assert stage.ran() == []

        play()


@on_stage
async def test_what_an_older_version_stored_is_read(stage: _Stage) -> None:
    await stage.start({"conditions": "a && b"})
    await stage.stop()
    (plan,) = Matcher(stage.sensor).plans
    old = {
        "condition": "a && b",
        "definitions": dict(plan.definitions),
        "pending": {"a": {"at": START.timestamp(), "event": gojson.loads(encode(event("a1")))}},
        "applied": {},
    }
    await stage.bus.bucket("joins").put("ns/s/t", gojson.dumps(old))

    await stage.start({"conditions": "a && b"})
    await stage.come("b1")

    assert stage.ran() == [["a1", "b1"]]


@on_stage
async def test_a_state_that_cannot_be_read_is_told_and_the_others_go_on(stage: _Stage) -> None:
    await stage.start(PAIRED)
    await stage.come("a1", {"k": 1})
    await stage.come("a2", {"k": 2})
    await stage.stop()
    first, _ = await stage.keys()
    await stage.bus.bucket("joins/ns/s").put(first, b"no state")

    await stage.start(PAIRED)
    await stage.come("b1", {"k": 1})
    await stage.come("b2", {"k": 2})

    assert "trigger 't' forgets one of its states" in stage.witness.problems[0]
    assert len(stage.ran()) == 1


@on_stage
async def test_too_many_values_are_told_and_the_oldest_leaves_the_store(stage: _Stage) -> None:
    await stage.start({**PAIRED, "maxPending": 3})
    for number in range(5):
        await stage.come(f"a{number}", {"k": number})

    assert stage.witness.given_up == ["0", "1"]
    assert len(await stage.keys()) == 3


@on_stage
async def test_two_who_clear_at_once_both_clear(stage: _Stage) -> None:
    stores = [Store(stage.bus, "ns/s") for _ in range(5)]

    await asyncio.gather(*(store.clear(["t"]) for store in stores))

    assert await stores[0].generations() == {"t": 5}


@on_stage
async def test_an_event_without_a_value_is_told_with_its_trigger_and_its_path(stage: _Stage) -> None:
    await stage.start(PAIRED)
    await stage.come("a1", {"other": 1})

    (accepted, refused) = stage.witness.decided
    assert accepted.event is not None
    assert (refused.dependency, refused.event, refused.verdict.failed) == ("a", None, True)
    assert (
        refused.verdict.reason == "correlate of trigger 't': path 'k' does not exist: no 'k' at the top; there is other"
    )
    assert await stage.keys() == []


@on_stage
async def test_who_cleared_is_asked_only_before_a_memory_is_touched(stage: _Stage) -> None:
    await stage.start(PAIRED)
    asked = 0
    cleared = stage.bus._buckets["joins.cleared"]
    get = cleared.get

    async def counted(key: str) -> Any:
        nonlocal asked
        asked += 1
        return await get(key)

    cleared.get = counted  # type: ignore[method-assign]

    for number in range(5):
        await stage.come(f"c{number}")
    assert asked == 0
    await stage.come("a1", {"k": 1})
    assert asked == 1
