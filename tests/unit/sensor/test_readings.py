"""Sensors of one process that are given the same event read it once."""

from __future__ import annotations

from typing import Any

import pytest

from argosy.event import Event
from argosy.manifests.bundle import loads
from argosy.sensor import matching
from argosy.sensor.matching import Matcher, Readings

SENSOR = """\
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {name: s}
spec:
  dependencies:
    - name: a
      eventSourceName: web
      eventName: in
      transform: {jq: ".seen = true"}
      filters: {data: [{path: seen, type: bool, value: ["true"]}]}
  triggers:
    - template: {name: t, log: {}}
"""


def event(number: int, size: int = 0) -> Event:
    data = b'{"number":%d,"text":"%s"}' % (number, b"x" * size)
    return Event(str(number), "web", "in", "webhook", "2026-01-01T00:00:00Z", data)


def matcher() -> Matcher:
    [sensor] = loads(SENSOR).sensors
    return Matcher(sensor)


def test_equal_transforms_of_two_sensors_run_once_for_the_event_that_both_are_given() -> None:
    first, second, given = matcher(), matcher(), event(1)
    [mine] = first.decide(given)
    [theirs] = second.decide(given)
    assert mine.event is not None
    assert mine.event is theirs.event  # the very event that the transform made
    assert b'"seen":true' in mine.event.data


def test_two_events_that_look_alike_are_two() -> None:
    one = matcher()
    [first] = one.decide(event(1))
    [second] = one.decide(event(1))
    assert first.event == second.event
    assert first.event is not second.event


@pytest.mark.parametrize(("most", "most_bytes", "kept"), [(3, 10_000, 3), (100, 2500, 2)])
def test_only_the_newest_readings_are_kept(most: int, most_bytes: int, kept: int) -> None:
    readings = Readings(most, most_bytes)
    events = [event(number, 1000) for number in range(10)]
    made = [readings.of(one) for one in events]
    still = [reading for one, reading in zip(events[-kept:], made[-kept:], strict=True) if readings.of(one) is reading]
    assert len(still) == kept
    assert readings.of(events[0]) is not made[0]


def test_an_event_beyond_all_bounds_is_read_and_not_kept() -> None:
    readings, large = Readings(10, 100), event(1, 1000)
    assert readings.of(large).document.value == {"number": 1, "text": "x" * 1000}
    assert readings.of(large) is not readings.of(large)


def test_what_is_kept_over_all_sensors_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    readings: Any = Readings(16, 10_000)
    monkeypatch.setattr(matching, "_readings", readings)
    one = matcher()
    for number in range(100):
        one.decide(event(number))
    assert len(readings._found) == 16
