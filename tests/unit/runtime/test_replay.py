"""The tape of a replay: the sensor's own loop over entries that came days apart, by a clock that jumps; and the ids of a repetition."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import yaml

from argosy.bus._base import Delivery
from argosy.errors import LangError
from argosy.event import Event
from argosy.manifests.sensor import Sensor, parse_sensor
from argosy.runtime.operations.replay import _Outcome, _Tape, once_more

MONDAY = 1_700_000_000.0
HOUR, DAY = 3600.0, 86400.0
SENSOR = """
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {name: s, namespace: default}
spec:
  dependencies:
    - {name: a, eventSourceName: web, eventName: a}
    - {name: b, eventSourceName: web, eventName: b}
  triggers:
    - template: {name: late, conditions: a, absent: {dependency: b, after: 1h}, log: {}}
    - template: {name: both, conditions: a && b, conditionsReset: [{byTime: {cron: "0 0 * * *"}}], log: {}}
    - template: {name: batched, conditions: a, log: {}}
      batch: {window: 10m, maxEvents: 3}
"""


def _sensor() -> Sensor:
    sensor, problems = parse_sensor(yaml.safe_load(SENSOR))
    assert sensor is not None, problems
    return sensor


def _came(number: int, name: str, at: float) -> Delivery:
    return Delivery(number, at, Event(str(number), "web", name, "webhook", "2026-11-23T10:00:00Z", b"{}"))


def _told(outcomes: list[_Outcome]) -> list[tuple[int, list[str]]]:
    """For each event (0: time alone) the triggers that run."""
    return [(one.delivery.position if one.delivery else 0, [put.trigger for put in one.puts]) for one in outcomes]


@pytest.fixture
async def tape() -> AsyncIterator[_Tape]:
    tape = _Tape(_sensor())
    yield tape
    tape.end()


async def test_windows_absences_and_resets_come_out_as_they_did_however_long_ago(tape: _Tape) -> None:
    # Given two of a, and a week later one more that b follows in time
    outcomes = await tape.play([_came(1, "a", MONDAY), _came(2, "a", MONDAY + 5)])
    outcomes += await tape.play([_came(3, "a", MONDAY + 7 * DAY), _came(4, "b", MONDAY + 7 * DAY + 10)])
    outcomes += await tape.until(MONDAY + 30 * DAY)

    # Then the windows have closed and b has stayed away in between, the condition was reset, and b came in time at the end
    assert _told(outcomes) == [
        (1, []),
        (2, []),
        (0, ["batched", "late", "late"]),
        (3, []),
        (4, ["both"]),
        (0, ["batched"]),
    ]
    assert outcomes[0].waits == ["late", "both", "batched"]


async def test_what_is_not_due_yet_does_not_run(tape: _Tape) -> None:
    await tape.play([_came(1, "a", MONDAY)])
    assert await tape.until(MONDAY + 60) == []
    assert _told(await tape.until(MONDAY + 2 * HOUR)) == [(0, ["batched", "late"])]


async def test_a_replay_of_nothing_is_nothing(tape: _Tape) -> None:
    assert await tape.until(MONDAY) == []


async def test_the_same_entries_give_the_same_actions() -> None:
    ids = []
    for _ in range(2):
        tape = _Tape(_sensor())
        outcomes = await tape.play([_came(1, "a", MONDAY), _came(2, "b", MONDAY + 1)])
        outcomes += await tape.until(MONDAY + DAY)
        ids.append([put.id for one in outcomes for put in one.puts])
        tape.end()
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == len(ids[0]) == 2


async def test_a_fault_in_the_loop_reaches_the_one_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    tape = _Tape(_sensor())

    monkeypatch.setattr(tape, "_step", _failing("the loop broke"))
    async with asyncio.timeout(30):
        with pytest.raises(LangError, match="the loop broke"):
            await tape.play([_came(1, "a", MONDAY)])
    tape.end()


def _failing(sentence: str) -> object:
    async def fail(*_: object) -> None:
        raise LangError(sentence)

    return fail


def test_a_repetition_has_an_id_of_its_own_for_each_name() -> None:
    assert once_more("a", "one") == once_more("a", "one")
    assert len({once_more("a", "one"), once_more("a", "two"), once_more("b", "one"), "a"}) == 4


async def test_the_elements_of_an_event_come_out_under_the_ids_that_they_had() -> None:
    # Given a sensor with forEach, and an event of two elements
    manifest = yaml.safe_load(SENSOR)
    manifest["spec"]["triggers"] = [{"template": {"name": "each", "conditions": "a", "log": {}}, "forEach": "hosts"}]
    sensor, problems = parse_sensor(manifest)
    assert sensor is not None, problems
    event = Event("1", "web", "a", "webhook", "2026-11-23T10:00:00Z", b'{"hosts":["x","y"]}')
    tape = _Tape(sensor)
    # When it is played twice
    try:
        (first,) = await tape.play([Delivery(1, MONDAY, event)])
        (second,) = await tape.play([Delivery(2, MONDAY + 1, event)])
    finally:
        tape.end()
    # Then there are two actions, the same ones each time
    assert len({put.id for put in first.puts}) == 2
    assert [put.id for put in first.puts] == [put.id for put in second.puts]
