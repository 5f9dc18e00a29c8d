"""Explaining: it says what the running sensor does, and finds the clause and the name that matter."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.bus._base import Delivery
from argosy.bus.memory import MemoryBus
from argosy.event import Event
from argosy.manifests.bundle import loads
from argosy.manifests.sensor import Sensor
from argosy.sensor.explaining import World, explain
from argosy.sensor.explaining_stories import deciding
from argosy.sensor.loop import Caused, SensorLoop, Waiting
from argosy.sensor.matching import Decision, Matcher
from argosy.sensor.verdict import Verdict

CONDITIONS = ["a", "a && b", "a || b", "a && b && c", "(a || b) && c", "a && twin"]


def _sensor(
    *conditions: str,
    name: str = "s",
    pairs: dict[str, tuple[str, str]] | None = None,
    strict: bool = False,
    transform: dict[str, str] | None = None,
) -> Sensor:
    names = pairs or {"a": ("web", "a"), "b": ("web", "b"), "c": ("web", "c"), "twin": ("web", "a")}
    small = {"path": "body.n", "type": "number", "comparator": "<", "value": ["7"]}
    sensor = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Sensor",
        "metadata": {"name": name},
        "spec": {
            "strict": strict,
            "dependencies": [
                {
                    "name": dependency,
                    "eventSourceName": source,
                    "eventName": event,
                    **({"filters": {"data": [small]}} if dependency == "b" else {}),
                    **({"transform": transform or {"jq": ".body.n += 1"}} if dependency == "c" else {}),
                }
                for dependency, (source, event) in names.items()
            ],
            "triggers": [
                {"template": {"name": f"t{number}", "conditions": text, "log": {}}}
                for number, text in enumerate(conditions)
            ],
        },
    }
    bundle = loads(json.dumps(sensor))
    assert bundle.sensors, bundle.findings
    return bundle.sensors[0]


def _event(name: str, number: int = 1, source: str = "web") -> Event:
    data = json.dumps({"body": {"n": number}}).encode()
    return Event(f"{name}-{number}", source, name, "webhook", "2026-01-01T00:00:00Z", data)


class _Watcher:
    """Hears what the running loop does."""

    def __init__(self, wanted: int) -> None:
        self.caused: list[list[tuple[str, str]]] = []
        self.waiting: list[dict[str, list[str]]] = []
        self.accepted: list[dict[str, bool]] = []
        self.due: list[tuple[str, str]] = []
        self.given_up: list[tuple[str, str]] = []
        self.all = asyncio.Event()
        self._wanted = wanted

    def matched(
        self, delivery: Delivery, decisions: Sequence[Decision], caused: Sequence[Caused], waiting: Sequence[Waiting]
    ) -> None:
        self.caused.append([(each.trigger, each.id) for each in caused])
        self.waiting.append({each.trigger: list(each.for_dependencies) for each in waiting})
        self.accepted.append({each.dependency: each.event is not None for each in decisions})
        if len(self.caused) == self._wanted:
            self.all.set()

    def came_due(self, caused: Caused, why: str) -> None:
        self.due.append((caused.trigger, why))

    def gave_up(self, trigger: str, values: Sequence[str]) -> None:
        self.given_up += [(trigger, value) for value in values]

    def unreadable(self, delivery: Delivery) -> None:
        raise AssertionError("every entry is an event")

    def problem(self, sentence: str) -> None:
        raise AssertionError(sentence)


async def _run(sensor: Sensor, events: Sequence[Event]) -> _Watcher:
    """The loop of production over a real log."""
    watcher = _Watcher(len(events))
    async with MemoryBus() as bus:
        loop = SensorLoop(
            namespace="default",
            sensor="s",
            matcher=Matcher(sensor),
            bus=bus,
            queue_of=bus.queue,
            observer=watcher,
            failpoint=lambda name: None,
        )
        task = asyncio.create_task(loop.run())
        await loop.opened.wait()
        for event in events:
            await bus.publish(event)
        await watcher.all.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return watcher


@settings(max_examples=60, deadline=None)
@given(
    conditions=st.lists(st.sampled_from(CONDITIONS), min_size=1, max_size=3),
    names=st.lists(st.sampled_from("abc"), min_size=1, max_size=15),
    numbers=st.randoms(use_true_random=False),
)
def test_it_says_what_the_running_sensor_does(conditions: list[str], names: list[str], numbers: Any) -> None:
    # Given any events in any order, some of which the filter of b rejects
    events = [_event(name, 10 * place + numbers.randint(0, 9)) for place, name in enumerate(names)]
    sensor = _sensor(*conditions)
    # When the loop runs over them, and when they are explained
    ran = asyncio.run(_run(sensor, events))
    told = explain(World([sensor]), events)
    # Then both accept the same, cause the same actions, and wait for the same
    for number, one in enumerate(told):
        (story,) = one.sensors
        assert {each.name: each.accepted for each in story.dependencies} == ran.accepted[number]
        caused = [(each.name, action.id) for each in story.triggers for action in each.actions]
        assert sorted(caused) == sorted(ran.caused[number])
        waiting = {each.name: list(each.waiting_for) for each in story.triggers if each.result == "waits"}
        assert waiting == ran.waiting[number]


class TestTheClausesThatDecide:
    def _group(self, *parts: Verdict, failed: bool = False, passed: bool = False) -> Verdict:
        return Verdict("data", passed, "", failed, parts)

    YES, NO, OPEN = Verdict("yes", True, ""), Verdict("no", False, ""), Verdict("open", False, "", True)

    def test_a_verdict_that_passes_has_none(self) -> None:
        assert deciding(self._group(self.NO, self.YES, passed=True)) == []

    def test_they_are_those_that_did_not_pass(self) -> None:
        assert deciding(self._group(self.YES, self.NO)) == [self.NO]
        assert deciding(self._group(self._group(self.YES, passed=True), self._group(self.NO, self.NO))) == [
            self.NO,
            self.NO,
        ]

    def test_what_could_not_be_decided_comes_before_what_failed_plainly(self) -> None:
        assert deciding(self._group(self.NO, self.OPEN, failed=True)) == [self.OPEN]

    def test_a_verdict_without_parts_decides_itself(self) -> None:
        assert deciding(self.NO) == [self.NO]


class TestNames:
    WORLD = World(
        [
            _sensor("a", name="one", pairs={"a": ("orders-eu", "created")}),
            _sensor("a", name="two", pairs={"a": ("orders-eu", "deleted")}),
            _sensor("a", name="three", pairs={"a": ("mail", "in")}),
        ],
        declared={("default", "orders-eu"): {"created", "deleted"}, ("default", "mail"): {"in", "out"}},
    )

    def _near(self, source: str, name: str) -> list[tuple[str, str]]:
        (told,) = explain(self.WORLD, [_event(name, source=source)])
        return [(each.source, each.name) for each in told.near]

    @pytest.mark.parametrize(
        ("source", "name", "meant"),
        [
            ("order-eu", "created", [("orders-eu", "created")]),
            ("orders-eu", "Created", [("orders-eu", "created")]),
            ("orders-eu", "createt", [("orders-eu", "created")]),
            ("mail", "out", [("mail", "in")]),
            ("payments", "made", []),
        ],
    )
    def test_the_event_that_was_meant_is_the_nearest(
        self, source: str, name: str, meant: list[tuple[str, str]]
    ) -> None:
        assert self._near(source, name)[: max(1, len(meant))] == meant

    def test_sensors_that_listen_come_before_those_that_do_not(self) -> None:
        (told,) = explain(self.WORLD, [_event("created", source="orders-eu")])
        assert ([each.name for each in told.sensors], told.others, told.nobody) == (["one"], ["two", "three"], "")

    def test_an_event_that_is_declared_and_that_nobody_wants_is_told_from_one_that_is_not(self) -> None:
        said = [explain(self.WORLD, [_event(name, source="mail")])[0].nobody for name in ("out", "gone")]
        assert said == [
            "no sensor listens to mail/out, although EventSource 'mail' has this event",
            "no sensor listens to mail/gone, and EventSource 'mail' has no event 'gone'",
        ]


@pytest.mark.parametrize(("strict", "body"), [(False, {"n": [1]}), (True, {"n": [[0], 1]})])
def test_a_transform_is_told_as_it_ran(strict: bool, body: Any) -> None:
    # Given a script that gives its event back, and an array within an array, which reaches it only where the sensor is strict
    sensor = _sensor("c", strict=strict, transform={"script": "return event"})
    event = replace(_event("c"), data=b'{"body": {"n": [[0], 1]}}')
    # When it is explained
    (told,) = explain(World([sensor]), [event])
    # Then what is told of the transform is what the trigger's event holds
    (story,) = told.sensors
    (dependency,) = story.dependencies
    assert dependency.transformed is not None
    assert dependency.transformed.after == {"body": body}
    (action,) = story.triggers[0].actions
    assert json.loads(action.events["c"].data) == {"body": body}


def test_an_event_without_data_has_no_transform_that_could_fail() -> None:
    (told,) = explain(World([_sensor("c")]), [replace(_event("c"), data=b"")])
    (dependency,) = told.sensors[0].dependencies
    assert (dependency.accepted, dependency.transformed) == (True, None)


def test_the_events_of_one_explanation_do_not_reach_the_next() -> None:
    # Given a world in which a was explained before
    world = World([_sensor("a && b")])
    explain(world, [_event("a")])
    # When b comes in another explanation
    (told,) = explain(world, [_event("b")])
    # Then it waits for a
    assert told.sensors[0].triggers[0].waiting_for == ["a"]
