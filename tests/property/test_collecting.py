"""Whatever dies whenever: what a trigger collects leads to the same actions, each once, as a plain model says that knows nothing of crashes, batches or stores.

The loop of production runs on a real log in memory and in virtual time. It dies at any of the places between two durable steps and comes back
at once or after a while.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.bus._base import Delivery, Pair
from argosy.bus.memory import MemoryBus
from argosy.clock import VirtualClock, run_virtually
from argosy.event import Event
from argosy.lang import gojson
from argosy.manifests.sensor import parse_sensor
from argosy.sensor import actions, gathering
from argosy.sensor.loop import Caused, SensorLoop
from argosy.sensor.matching import Matcher
from argosy.sensor.remembering import CONDITION, GATHERED, key_of

START = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
PAIRS = [Pair("web", name) for name in "abc"]


class _Died(Exception):
    """Stands for SIGKILL: nothing after it happens."""


class _Silent:
    def matched(self, *_: object) -> None: ...
    def came_due(self, caused: Caused, why: str) -> None: ...
    def gave_up(self, trigger: str, values: object) -> None: ...
    def unreadable(self, delivery: Delivery) -> None: ...
    def problem(self, sentence: str) -> None:
        raise AssertionError(sentence)


@dataclass
class Trigger:
    """A trigger, in the words of the model. Seconds."""

    condition: str
    correlate: bool = False
    within: int | None = None
    count: Mapping[str, int] = field(default_factory=dict)
    absent: tuple[str, int] | None = None
    batch: tuple[int, int] | None = None
    debounce: tuple[int, int | None] | None = None
    keyed: bool = False
    reset: bool = False
    """At every full minute."""

    def manifest(self) -> dict[str, Any]:
        names = [name for name in "abc" if name in self.condition]
        template: dict[str, Any] = {"name": "t", "log": {}, "conditions": self.condition}
        if self.correlate:
            wanted = [*names, *([self.absent[0]] if self.absent else [])]
            template["correlate"] = dict.fromkeys(wanted, "key")
        if self.within:
            template["within"] = f"{self.within}s"
        if self.count:
            template["count"] = dict(self.count)
        if self.absent:
            template["absent"] = {"dependency": self.absent[0], "after": f"{self.absent[1]}s"}
        if self.reset:
            template["conditionsReset"] = [{"byTime": {"cron": "* * * * *"}}]
        trigger: dict[str, Any] = {"template": template}
        key = {"key": {"dependencyName": names[0], "dataKey": "key"}} if self.keyed else {}
        if self.batch:
            trigger["batch"] = {"window": f"{self.batch[0]}s", "maxEvents": self.batch[1], **key}
        if self.debounce:
            trigger["debounce"] = {"quiet": f"{self.debounce[0]}s", **key}
            if self.debounce[1]:
                trigger["debounce"]["atMost"] = f"{self.debounce[1]}s"
        return {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Sensor",
            "metadata": {"name": "s"},
            "spec": {
                "dependencies": [{"name": name, "eventSourceName": "web", "eventName": name} for name in "abc"],
                "triggers": [trigger],
            },
        }


Log = list[tuple[float, str, str, str]]
"""Time, dependency, key, id; in order."""


def model(trigger: Trigger, log: Log, end: float) -> list[tuple[tuple[str, ...], ...]]:
    """The actions that shall be: for each its events, one tuple of ids a dependency, in the order of the dependencies' names."""
    out: list[tuple[float, dict[str, list[str]]]] = []
    held: dict[str, list[tuple[float, str, str]]] = {}
    armed: list[tuple[float, float, str, dict[str, list[str]]]] = []
    open_: dict[str, list[tuple[float, dict[str, list[str]]]]] = {}
    keys = {item: key for _, _, key, item in log}

    def close(key: str) -> dict[str, list[str]]:
        group = open_.pop(key)
        if trigger.debounce:
            return group[-1][1]
        merged: dict[str, list[str]] = {}
        for _, events in group:
            for name, ids in events.items():
                merged.setdefault(name, []).extend(ids)
        return merged

    opened: dict[str, float] = {}

    def due_of(key: str) -> float:
        if trigger.batch:
            return opened[key] + trigger.batch[0]
        assert trigger.debounce
        quiet = open_[key][-1][0] + trigger.debounce[0]
        return quiet if not trigger.debounce[1] else min(quiet, opened[key] + trigger.debounce[1])

    def complete(at: float, events: dict[str, list[str]]) -> None:
        if not trigger.batch and not trigger.debounce:
            out.append((at, events))
            return
        key = ""
        if trigger.keyed:
            first = next(name for name in "abc" if name in trigger.condition)
            key = keys[events[first][0]] if first in events else ""
        opened[key] = opened[key] if key in open_ else at
        open_.setdefault(key, []).append((at, events))
        if trigger.batch and len(open_[key]) == trigger.batch[1]:
            out.append((at, close(key)))

    def pass_to(now: float) -> None:
        while True:
            # Of what is due at one moment the conditions come first, and then the keys under which it is stored.
            dues: list[tuple[float, int, str, Any]] = [
                (one[0], 0, key_of(CONDITION, one[2]) if trigger.correlate else "", one) for one in armed
            ]
            dues += [(due_of(key), 1, key_of(GATHERED, key) if key else "", key) for key in open_]
            dues = [due for due in dues if due[0] <= now]
            if not dues:
                return
            due, stage, _, which = min(dues, key=lambda one: one[:3])
            if stage == 0:
                armed.remove(which)
                if not trigger.reset or due // 60 == which[1] // 60:
                    complete(due, which[3])
            else:
                out.append((due, close(which)))

    for at, name, key, item in log:
        pass_to(at)
        place = key if trigger.correlate else ""
        if trigger.absent and name == trigger.absent[0]:
            armed = [one for one in armed if one[2] != place]
            continue
        if name not in trigger.condition:
            continue
        mine = held.setdefault(place, [])
        if trigger.reset:
            mine[:] = [one for one in mine if one[0] // 60 == at // 60]
        mine.append((at, name, item))
        if trigger.within:
            mine[:] = [one for one in mine if one[0] >= at - trigger.within]
        present = {dep: sum(one[1] == dep for one in mine) >= trigger.count.get(dep, 1) for dep in "abc"}
        if not eval(trigger.condition.replace("&&", " and ").replace("||", " or "), {}, present):
            continue
        events = {
            dep: [[one[2] for one in mine if one[1] == dep][-1]] for dep in "abc" if any(one[1] == dep for one in mine)
        }
        held[place] = []
        if trigger.absent:
            armed.append((at + trigger.absent[1], at, place, events))
        else:
            complete(at, events)
    pass_to(end)
    return sorted(tuple((name, *events[name]) for name in sorted(events)) for _, events in out)


TRIGGERS = st.one_of(
    st.builds(
        Trigger,
        condition=st.sampled_from(["a && b", "a || b && c", "(a || b) && c", "a && b && c"]),
        correlate=st.booleans(),
        reset=st.booleans(),
        within=st.sampled_from([None, 3, 10]),
        count=st.sampled_from([{}, {"a": 2}, {"a": 3, "b": 2}]).map(dict),
    ).map(lambda one: replace(one, count={name: n for name, n in one.count.items() if name in one.condition})),
    st.builds(
        Trigger,
        condition=st.sampled_from(["a", "a && b", "a || b"]),
        correlate=st.booleans(),
        reset=st.booleans(),
        within=st.sampled_from([None, 5]),
        absent=st.sampled_from([("c", 2), ("c", 7)]),
    ),
    st.builds(
        Trigger,
        condition=st.sampled_from(["a", "a && b", "a || b"]),
        correlate=st.booleans(),
        reset=st.booleans(),
        batch=st.tuples(st.sampled_from([3, 8]), st.sampled_from([1, 2, 3, 5, 50])),
        keyed=st.booleans(),
    ),
    st.builds(
        Trigger,
        condition=st.sampled_from(["a", "a && b", "a || b"]),
        correlate=st.booleans(),
        reset=st.booleans(),
        debounce=st.tuples(st.sampled_from([2, 4]), st.sampled_from([None, 4, 9])),
        keyed=st.booleans(),
    ),
    st.builds(
        Trigger,
        condition=st.just("a && b"),
        correlate=st.booleans(),
        reset=st.booleans(),
        absent=st.just(("c", 3)),
        batch=st.tuples(st.just(5), st.just(2)),
    ),
)

EVENTS = st.lists(
    st.tuples(st.sampled_from([0, 0, 1, 2, 3, 4, 17]), st.sampled_from("aabbc"), st.sampled_from(["x", "y"])),
    min_size=1,
    max_size=25,
)
CRASHES = st.lists(st.tuples(st.integers(1, 8), st.sampled_from([0.0, 0.2, 3.7, 11.3])), max_size=8)


class _Run:
    """One log, one bus, and loops over it that die as they were told."""

    def __init__(self, clock: VirtualClock, trigger: Trigger, crashes: list[tuple[int, float]]) -> None:
        self.clock = clock
        self.bus = MemoryBus(clock=clock)
        sensor, problems = parse_sensor(trigger.manifest())
        assert sensor is not None, problems
        self.matcher = Matcher(sensor)
        self.crashes = list(crashes)

    async def keep_running(self) -> None:
        while True:
            left, rest = self.crashes.pop(0) if self.crashes else (-1, 0.0)

            def reach(_: str) -> None:
                nonlocal left
                left -= 1
                if left == 0:
                    raise _Died

            loop = SensorLoop(
                namespace="ns",
                sensor="s",
                matcher=self.matcher,
                bus=self.bus,
                queue_of=lambda name: self.bus.queue(name),
                observer=_Silent(),
                failpoint=reach,
                clock=self.clock,
            )
            task = asyncio.create_task(loop.run())
            try:
                await task
            except _Died:
                await self.clock.sleep(rest)
            except BaseExceptionGroup as group:
                assert group.subgroup(_Died) is not None, group
                await self.clock.sleep(rest)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


async def _play(
    clock: VirtualClock, trigger: Trigger, events: list[tuple[int, str, str]], crashes: list[tuple[int, float]]
) -> tuple[Log, float, list[tuple[tuple[str, ...], ...]]]:
    run = _Run(clock, trigger, crashes)
    async with run.bus as bus:
        async with bus.subscribe("ns/s", run.matcher.pairs):
            pass
        keeping = asyncio.create_task(run.keep_running())
        await clock.sleep(0.5)
        for number, (pause, name, key) in enumerate(events):
            if pause:
                await clock.sleep(pause)
            data = gojson.dumps({"key": key, "n": number})
            await bus.publish(Event(f"{name}{number}", "web", name, "t", "2026-01-01T12:00:00Z", data))
        await clock.sleep(60)
        assert not keeping.done(), keeping.exception()
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        log: Log = []
        for _, text, at in bus._log:
            value = gojson.loads(text)
            log.append((at, value["subject"], value["data"]["key"], value["id"]))
        found = [actions.decode(item.body) for item in bus._queues["t"].items.values()]
        return log, clock.now().timestamp(), sorted(_ids(record) for record in found)


def _ids(record: actions.ActionRecord) -> tuple[tuple[str, ...], ...]:
    assert not record.unusable
    shown = []
    for name, event in sorted(record.events.items()):
        if event.type == "io.argosy.batch":
            shown.append((name, *(one["id"] for one in gojson.loads(event.data))))
        else:
            shown.append((name, event.id))
    return tuple(shown)


@pytest.fixture(autouse=True, scope="module")
def small_parts() -> Iterator[None]:
    """Parts so small that the batches here are stored in several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gathering, "PART", 2)
        yield


@settings(max_examples=250, deadline=None)
@given(trigger=TRIGGERS, events=EVENTS, crashes=CRASHES)
def test_the_same_actions_as_the_model_each_once_wherever_the_loop_dies(
    trigger: Trigger, events: list[tuple[int, str, str]], crashes: list[tuple[int, float]]
) -> None:
    # Given a log, a trigger, and a loop that dies at some of its steps and comes back after a while
    log, end, found = run_virtually(START, lambda clock: _play(clock, trigger, events, crashes))

    # When all has come to rest, then there are the actions of the model, and each of them once
    assert found == model(trigger, log, end)
