"""What explain says of triggers that correlate, count, wait for time, or gather."""

from __future__ import annotations

from typing import Any

import pytest

from argosy.event import Event
from argosy.sensor.explaining import World, explain
from argosy.sensor.explaining_stories import TriggerStory
from tests.unit.sensor._collecting import event, sensor


def _story(template: dict[str, Any], *events: Event, **trigger: Any) -> TriggerStory:
    """The trigger's story after the last event."""
    last = explain(World([sensor(template, **trigger)]), events)[-1]
    (one,) = last.sensors
    (story,) = one.triggers
    return story


@pytest.mark.parametrize(
    ("template", "trigger", "because", "waiting_for"),
    [
        (
            {"conditions": "a && b", "correlate": {"a": "k", "b": "k"}, "within": "10m"},
            {},
            "it waits for 'b' of '17', until 2026-01-01 12:10:00Z",
            ["b"],
        ),
        ({"conditions": "a", "count": {"a": 3}}, {}, "it waits for 'a' (2 more)", ["a"]),
        (
            {"conditions": "a", "absent": {"dependency": "c", "after": "5m"}},
            {},
            "it runs at 2026-01-01 12:05:00Z unless 'c' comes before",
            [],
        ),
        (
            {"conditions": "a"},
            {"batch": {"window": "30s", "key": {"dependencyName": "a", "dataKey": "k"}}},
            "it gathers events of '17', has 1 of 100, and runs at 2026-01-01 12:00:30Z",
            [],
        ),
        (
            {"conditions": "a"},
            {"debounce": {"quiet": "5s"}},
            "it runs at 2026-01-01 12:00:05Z unless another event comes before",
            [],
        ),
        ({"conditions": "a && b"}, {}, "it waits for 'b'", ["b"]),
    ],
)
def test_a_trigger_that_waits_says_for_what_and_until_when(
    template: dict[str, Any], trigger: dict[str, Any], because: str, waiting_for: list[str]
) -> None:
    story = _story(template, event("a1", {"k": 17}), **trigger)

    assert (story.result, story.because, list(story.waiting_for), list(story.held)) == (
        "waits",
        because,
        waiting_for,
        ["a"],
    )


def test_what_another_value_holds_is_not_here() -> None:
    same = {"conditions": "a && b", "correlate": {"a": "k", "b": "k"}}

    story = _story(same, event("b1", {"k": 1}), event("a1", {"k": 2}))

    assert (list(story.held), list(story.waiting_for)) == (["a"], ["b"])


def test_an_event_that_cannot_be_placed_says_which_path_is_missing() -> None:
    story = _story({"conditions": "a && b", "correlate": {"a": "body.id", "b": "id"}}, event("a1", {"body": {"no": 1}}))

    assert story.result == "idle"
    assert story.because == "path 'body.id' does not exist: no 'id' under 'body'; there is no"


def test_what_was_due_before_an_event_is_told_with_it() -> None:
    absent = {"conditions": "a", "absent": {"dependency": "c", "after": "5m"}}

    story = _story(absent, event("a1"), event("a2", time="2026-01-01T12:06:00Z"))

    assert (story.result, story.because) == ("fires", "'c' did not follow by 2026-01-01 12:05:00Z")
    assert [[one.id for one in each.events.values()] for each in story.actions] == [["a1"]]


def test_an_event_that_ends_what_waited_is_no_cause() -> None:
    absent = {"conditions": "a", "absent": {"dependency": "c", "after": "5m"}}

    story = _story(absent, event("a1"), event("c1"))

    assert (story.result, story.because) == ("idle", "nothing is collected that waits")
