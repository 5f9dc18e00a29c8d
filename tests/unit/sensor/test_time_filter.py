"""The time filter: a part of the day in UTC or in a zone, past midnight too, on the days when clocks change as Go's ``time`` reads them."""

from __future__ import annotations

from typing import Any

import pytest

from argosy.manifests.findings import check
from argosy.manifests.sensor import Filters
from tests.unit.sensor._cases import decide, outcome


def _window(start: str, stop: str, timezone: str = "") -> dict[str, Any]:
    return {"time": {"start": start, "stop": stop, "timezone": timezone}}


@pytest.mark.parametrize(
    ("start", "stop", "zone", "time", "passed"),
    [
        # start is inside, stop is not
        ("09:00:00", "17:00:00", "", "2024-07-15T09:00:00Z", True),
        ("09:00:00", "17:00:00", "", "2024-07-15T16:59:59.999999Z", True),
        ("09:00:00", "17:00:00", "", "2024-07-15T17:00:00Z", False),
        ("09:00:00", "17:00:00", "UTC", "2024-07-15T08:59:59.999999Z", False),
        ("9:00:00", "17:00:00", "", "2024-07-15T09:00:00Z", True),
        ("09:00:00.5", "17:00:00", "", "2024-07-15T09:00:00.4Z", False),
        ("09:00:00,5", "17:00:00", "", "2024-07-15T09:00:00.5Z", True),
        # past midnight
        ("20:21:22", "12:13:14", "", "2024-07-15T04:05:06Z", True),
        ("20:21:22", "12:13:14", "", "2024-07-15T12:13:14Z", False),
        ("20:21:22", "12:13:14", "", "2024-07-15T16:17:18Z", False),
        ("20:21:22", "12:13:14", "", "2024-07-15T20:21:22Z", True),
        # the event's own offset says nothing about the window
        ("09:00:00", "17:00:00", "", "2024-07-15T10:30:00+09:00", False),
        # in a zone, summer and winter
        ("09:00:00", "17:00:00", "America/New_York", "2024-07-15T14:00:00Z", True),
        ("09:00:00", "17:00:00", "America/New_York", "2024-07-15T12:00:00Z", False),
        ("09:00:00", "17:00:00", "America/New_York", "2024-07-15T22:00:00Z", False),
        ("09:00:00", "17:00:00", "America/New_York", "2024-01-15T13:30:00Z", False),
        ("10:00:00", "18:00:00", "Europe/London", "2024-07-15T10:00:00Z", True),
        ("09:00:00", "17:00:00", "Asia/Tokyo", "2024-07-15T01:00:00Z", True),
        ("22:00:00", "06:00:00", "America/New_York", "2024-07-15T02:00:00Z", True),
        ("22:00:00", "06:00:00", "America/New_York", "2024-07-15T10:00:00Z", False),
        # an hour that comes twice: the first 01:30 begins the window there ...
        ("01:30:00", "02:30:00", "America/New_York", "2026-11-01T05:15:00Z", False),
        ("01:30:00", "02:30:00", "America/New_York", "2026-11-01T05:45:00Z", True),
        ("01:30:00", "02:30:00", "America/New_York", "2026-11-01T06:15:00Z", True),
        ("01:30:00", "02:30:00", "America/New_York", "2026-11-01T07:30:00Z", False),
        # ... and east of Greenwich the second
        ("02:15:00", "02:45:00", "Europe/Berlin", "2026-10-25T00:20:00Z", False),
        ("02:15:00", "02:45:00", "Europe/Berlin", "2026-10-25T01:20:00Z", True),
        ("02:15:00", "02:45:00", "Europe/Berlin", "2026-10-25T01:50:00Z", False),
        # a time that does not come: 02:30 is then the moment an hour before 03:30
        ("02:30:00", "04:00:00", "America/New_York", "2026-03-08T06:29:00Z", False),
        ("02:30:00", "04:00:00", "America/New_York", "2026-03-08T06:30:00Z", True),
        ("02:30:00", "04:00:00", "America/New_York", "2026-03-08T07:59:59Z", True),
        ("02:30:00", "04:00:00", "America/New_York", "2026-03-08T08:00:00Z", False),
    ],
)
def test_an_event_passes_inside_the_window(start: str, stop: str, zone: str, time: str, passed: bool) -> None:
    verdict = decide(_window(start, stop, zone), {}, time=time)

    assert (verdict.passed, verdict.failed) == (passed, False)


@pytest.mark.parametrize(
    "time",
    [
        "",
        "yesterday",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z",
    ],
)
def test_an_event_whose_time_cannot_be_placed_is_never_an_exception(time: str) -> None:
    for zone in ("", "Pacific/Apia", "America/New_York"):
        verdict = decide(_window("00:00:00", "12:00:00", zone), {}, time=time)

        assert outcome(verdict) in ("pass", "reject", "undecided")
        assert verdict.reason


@pytest.mark.parametrize("time", ["", "yesterday"])
def test_an_event_without_a_time_is_discarded_with_the_reason(time: str) -> None:
    verdict = decide(_window("00:00:00", "12:00:00"), {}, time=time)

    assert outcome(verdict) == "undecided"
    assert verdict.reason == f"time: the event's time `{time}` is not one that can be read"


@pytest.mark.parametrize(
    "window",
    [
        {"start": "10:10", "stop": "11:00:00"},
        {"start": "24:00:00", "stop": "11:00:00"},
        {"start": "09:00:60", "stop": "11:00:00"},
        {"start": "09:00:00", "stop": "9:00:00"},
        {"start": "09:00:00", "stop": "11:00:00", "timezone": "Invalid/Timezone"},
        {"start": "09:00:00"},
        {},
    ],
)
def test_a_window_that_upstream_refuses_is_refused(window: dict[str, str]) -> None:
    model, problems = check(Filters, {"time": window})

    assert model is None
    assert [problem.severity for problem in problems if problem.severity == "error"]


def test_the_reason_says_the_time_in_the_window_s_zone() -> None:
    verdict = decide(_window("09:00:00", "17:00:00", "America/New_York"), {}, time="2024-07-15T22:00:00Z")

    assert verdict.reason == "time: 18:00:00 is outside 09:00:00-17:00:00 America/New_York"
