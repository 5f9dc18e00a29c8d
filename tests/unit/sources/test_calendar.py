"""The ``calendar`` source on virtual time: the suite of every source, and when it fires."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from argosy.sources.calendar import CalendarConfig, go_time
from tests.conformance.source import DictBucket, SourceSuite, Stage, Upstream, VirtualClock, on_stage

NOON = dt.datetime(2026, 3, 28, 12, 0, tzinfo=dt.UTC)


class Ticks(Upstream):
    """A clock that moves by a minute for every message; what it was told is the time that the source
    remembers."""

    redelivers = True
    keeps = True
    names_messages = True

    def __init__(self) -> None:
        self.clock = VirtualClock(NOON)
        self.bucket = DictBucket()
        self.block = {"interval": "1m", "persistence": {"catchup": {"enabled": True}}}
        self._texts: dict[str, str] = {}

    async def send(self, text: str) -> None:
        due = NOON + dt.timedelta(minutes=len(self._texts) + 1)
        self._texts[go_time(due)] = text
        await self.clock.advance(60)

    def text_of(self, data: Any) -> str:
        assert set(data) <= {"eventTime", "metadata"}
        return self._texts[data["eventTime"]]

    async def acknowledged(self) -> int:
        entry = self.bucket.entries.get("last-fire")
        last = dt.datetime.fromisoformat(entry.value.decode()) if entry else NOON
        return (last - NOON) // dt.timedelta(minutes=1)


class TestCalendar(SourceSuite):
    kind = "calendar"
    bad_blocks = [  # noqa: RUF012
        ({}, "schedule or interval"),
        ({"schedule": "* * * *"}, "5"),
        ({"schedule": "61 * * * *"}, "minute"),
        ({"schedule": "@hourly"}, "@hourly"),
        ({"interval": "10"}, "'10' is not a duration"),
        ({"interval": "-5s"}, "'-5s'"),
        ({"interval": "5s", "timezone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"interval": "5s", "exclusionDates": ["EXDATE:2019-01-02"]}, "EXDATE:2019-01-02"),
        ({"interval": "5s", "exclusionDates": ["EXDATE:20191302T000000Z"]}, "20191302"),
        ({"interval": "5s", "persistence": {"catchup": {"maxDuration": "long"}}}, "'long'"),
        ({"interval": "5s", "persistence": {"catchUp": {}}}, "catchUp"),
    ]

    @pytest.fixture
    async def upstream(self) -> AsyncIterator[Ticks]:
        yield Ticks()


async def fired(block: dict[str, Any], start: dt.datetime, seconds: float) -> list[str]:
    """The event times when a source runs on virtual time from ``start`` for ``seconds``."""
    clock = VirtualClock(start)
    async with on_stage("calendar", block, clock=clock) as stage:
        await stage.start()
        await clock.advance(0)
        await clock.advance(seconds)
        assert [event.id for event in stage.emitted] == sorted({event.id or "" for event in stage.emitted})
        assert not stage.errors
        return [event.data["eventTime"] for event in stage.emitted]


async def test_a_schedule_fires_at_its_times_in_its_zone() -> None:
    # Given a schedule in Berlin over the night in which the clocks there go forward
    block = {"schedule": "30 1-3 * * *", "timezone": "Europe/Berlin"}
    # Then the hour that does not exist does not fire, and times are told as Go tells them
    assert await fired(block, NOON, 24 * 3600) == [
        "2026-03-29 01:30:00 +0100 CET",
        "2026-03-29 03:30:00 +0200 CEST",
    ]


async def test_a_schedule_may_name_its_zone_itself() -> None:
    block = {"schedule": "TZ=America/New_York 0 9 * * *"}
    assert await fired(block, NOON, 3600) == ["2026-03-28 09:00:00 -0400 EDT"]


async def test_without_a_zone_the_environment_decides_and_else_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    block = {"schedule": "0 * * * *"}
    monkeypatch.delenv("TZ", raising=False)
    assert await fired(block, NOON, 3600) == ["2026-03-28 13:00:00 +0000 UTC"]
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert await fired(block, NOON, 3600) == ["2026-03-28 22:00:00 +0900 JST"]


async def test_an_interval_counts_whole_seconds_from_the_start() -> None:
    start = NOON.replace(microsecond=250_000)
    assert await fired({"interval": "10s"}, start, 20) == [
        "2026-03-28 12:00:10 +0000 UTC",
        "2026-03-28 12:00:20 +0000 UTC",
    ]
    assert await fired({"interval": "0.25s"}, NOON, 0.6) == [
        "2026-03-28 12:00:00.25 +0000 UTC",
        "2026-03-28 12:00:00.5 +0000 UTC",
    ]


async def test_a_schedule_counts_where_an_interval_stands_beside_it() -> None:
    assert len(await fired({"interval": "1s", "schedule": "* * * * *"}, NOON, 120)) == 2


async def test_excluded_days_are_left_out() -> None:
    # Given exclusions for the 29th (by the whole day) and the 31st, of Tokyo's calendar
    block = {
        "schedule": "0 3 * * *",
        "timezone": "Asia/Tokyo",
        "exclusionDates": ["EXDATE:20260329T230000Z,20260331T000000Z"],
    }
    # Then the days between fire
    assert [time[:10] for time in await fired(block, NOON, 4 * 86400)] == ["2026-03-30", "2026-04-01"]


async def test_an_interval_leaps_over_an_excluded_day_in_step() -> None:
    block = {"interval": "7h", "exclusionDates": ["EXDATE:20260329T000000Z"]}
    # 19:00, then 02:00 to 23:00 on the excluded day, then 06:00
    assert await fired(block, NOON, 43 * 3600) == [
        "2026-03-28 19:00:00 +0000 UTC",
        "2026-03-30 06:00:00 +0000 UTC",
    ]


async def _again(stage: Stage, clock: VirtualClock, away_seconds: float) -> list[str]:
    """Stop the source, let time pass, start it again; what it then fires at once."""
    await stage.stop()
    seen = len(stage.emitted)
    await clock.advance(away_seconds)
    await stage.start()
    await clock.advance(0)
    await clock.advance(0.5)
    return [event.data["eventTime"][11:19] for event in stage.emitted[seen:]]


@pytest.mark.parametrize(
    ("persistence", "expected"),
    [
        (None, []),
        ({"configMap": {"name": "any", "createIfNotExist": True}}, []),
        ({"catchup": {"enabled": False}, "configMap": {"name": "any"}}, []),
        ({"catchup": {"enabled": True}, "configMap": {"name": "any"}}, ["12:02:00", "12:03:00", "12:04:00"]),
        ({"catchup": {"enabled": True, "maxDuration": "90s"}}, ["12:03:00", "12:04:00"]),
    ],
)
async def test_missed_fires_are_made_up_for_as_configured(
    persistence: dict[str, Any] | None, expected: list[str]
) -> None:
    # Given a source that fired once, and then was down for three fires
    clock = VirtualClock(NOON)
    block = {"schedule": "* * * * *", "metadata": {"a": "b"}, "persistence": persistence}
    async with on_stage("calendar", block, clock=clock) as stage:
        await stage.start()
        await clock.advance(0)
        await clock.advance(60)
        await stage.events(1)
        # When it starts again
        # Then it fires what it missed, no further back than allowed
        assert await _again(stage, clock, 190) == expected


async def test_fires_missed_before_the_first_one_are_made_up_for_too() -> None:
    clock = VirtualClock(NOON)
    block = {"schedule": "* * * * *", "persistence": {"catchup": {"enabled": True}}}
    async with on_stage("calendar", block, clock=clock) as stage:
        await stage.start()
        assert await _again(stage, clock, 130) == ["12:01:00", "12:02:00"]


async def test_fires_that_fall_due_while_the_bus_is_away_are_kept() -> None:
    # Given a source whose emit waits
    clock = VirtualClock(NOON)
    async with on_stage("calendar", {"schedule": "* * * * *"}, clock=clock) as stage:
        await stage.start()
        await clock.advance(0)
        stage.close_gate()
        await clock.advance(200)
        # When the bus is back after three fires
        stage.open_gate()
        # Then all three are emitted
        assert [event.data["eventTime"][11:19] for event in await stage.events(3)] == [
            "12:01:00",
            "12:02:00",
            "12:03:00",
        ]


class _Suspending(VirtualClock):
    """A machine that is suspended for an hour during its first timer."""

    suspended = False

    async def sleep(self, seconds: float) -> None:
        if self.suspended:
            return await super().sleep(seconds)
        self.suspended = True
        self._now += dt.timedelta(hours=1)
        return None


async def test_a_machine_that_was_suspended_goes_on_from_now() -> None:
    # Given a machine whose lid closes for an hour while the source waits
    clock = _Suspending(NOON)
    async with on_stage("calendar", {"schedule": "* * * * *"}, clock=clock) as stage:
        await stage.start()
        await clock.advance(0)
        # When the next minute comes
        await clock.advance(60)
        # Then it fires, and the sixty that the machine slept through do not
        assert [event.data["eventTime"][11:19] for event in stage.emitted] == ["13:01:00"]


async def test_a_schedule_that_never_fires_is_said_and_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock(NOON)
    async with on_stage("calendar", {"schedule": "0 0 30 2 *"}, clock=clock) as stage:
        await stage.start()
        await clock.advance(86400)
        assert (stage.emitted, stage.errors) == ([], [])
    assert "no more fires" in caplog.text


def test_a_bare_exclusion_date_is_understood() -> None:
    CalendarConfig.model_validate({"interval": "1s", "exclusionDates": ["20190102T150405Z"]})
    with pytest.raises(ValidationError, match="RRULE"):
        CalendarConfig.model_validate({"interval": "1s", "exclusionDates": ["RRULE:FREQ=DAILY"]})
