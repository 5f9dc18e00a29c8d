"""Cron schedules: daylight saving, and searches that end."""

from __future__ import annotations

import datetime as dt

import pytest

from argosy.errors import LangError
from argosy.lang import cron


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


@pytest.mark.parametrize("zone", ["America/Sao_Paulo", "America/Havana", "Africa/Cairo", "Asia/Beirut"])
@pytest.mark.parametrize("expression", ["0 3 5 * *", "30 0 * * 1", "15 23 1 11 *"])
def test_a_zone_that_skips_midnight_does_not_hold_up_the_search(zone: str, expression: str) -> None:
    # Given a schedule in a zone whose clocks go from 23:59:59 to 01:00 once a year (robfig/cron never returns there)
    schedule = cron.compile(expression, zone)
    moment = at("2017-09-01T00:00:00+00:00")
    # When two years of times are asked for
    found = []
    while moment < at("2019-09-01T00:00:00+00:00"):
        moment = schedule.next(moment) or at("2100-01-01T00:00:00+00:00")
        found.append(moment)
    # Then they are the minutes at which a clock on the wall shows what the schedule says
    minute, hour = (int(word) for word in expression.split()[:2])
    assert found == sorted(found)
    shown = [time.astimezone(schedule.zone) for time in found]
    assert {(time.minute, time.hour) for time in shown} == {(minute, hour)}
    # And each is found again on the way back
    assert [schedule.previous(later) for later in found[1:]] == found[:-1]


def test_a_time_that_daylight_saving_skips_does_not_happen() -> None:
    schedule = cron.compile("30 2 * * *", "Europe/Berlin")
    assert schedule.next(at("2024-03-30T12:00:00+00:00")) == at("2024-04-01T00:30:00+00:00")


def test_a_time_that_daylight_saving_repeats_happens_twice() -> None:
    schedule = cron.compile("30 2 * * *", "Europe/Berlin")
    first = schedule.next(at("2024-10-26T12:00:00+00:00"))
    assert first == at("2024-10-27T00:30:00+00:00")
    assert schedule.next(first) == at("2024-10-27T01:30:00+00:00")
    assert schedule.previous(at("2024-10-27T12:00:00+00:00")) == at("2024-10-27T01:30:00+00:00")


def test_in_london_the_previous_time_is_found_in_the_repeated_hour() -> None:
    # Upstream's search never returns here.
    schedule = cron.compile("0 0 * * *", "Europe/London")
    assert schedule.previous(at("2024-10-27T01:30:00+00:00")) == at("2024-10-26T23:00:00+00:00")


@pytest.mark.parametrize("prefix", ["TZ=Asia/Kolkata ", "CRON_TZ=Asia/Kolkata "])
def test_a_zone_in_the_expression_counts_more_than_the_field(prefix: str) -> None:
    schedule = cron.compile(prefix + "0 9 * * *", "America/New_York")
    assert schedule.next(at("2024-01-01T00:00:00+00:00")) == at("2024-01-01T03:30:00+00:00")


def test_a_day_that_never_comes_is_none_in_both_directions() -> None:
    schedule = cron.compile("0 0 30 2 *")
    assert schedule.next(at("2024-01-01T00:00:00+00:00")) is None
    assert schedule.previous(at("2024-01-01T00:00:00+00:00")) is None


def test_both_day_fields_restricted_mean_either_and_a_star_means_both() -> None:
    friday_13th_or_any_monday = cron.compile("0 0 13 * MON")
    assert friday_13th_or_any_monday.next(at("2024-09-10T00:00:00+00:00")) == at("2024-09-13T00:00:00+00:00")
    every_second_day_that_is_a_monday = cron.compile("0 0 * * MON")
    assert every_second_day_that_is_a_monday.next(at("2024-09-10T00:00:00+00:00")) == at("2024-09-16T00:00:00+00:00")


def test_times_are_strictly_later_and_strictly_earlier() -> None:
    schedule = cron.compile("*/10 * * * *")
    tick = at("2024-01-01T00:10:00+00:00")
    assert schedule.next(tick) == at("2024-01-01T00:20:00+00:00")
    assert schedule.previous(tick) == at("2024-01-01T00:00:00+00:00")
    assert schedule.previous(tick + dt.timedelta(microseconds=1)) == tick


@pytest.mark.parametrize(
    ("expression", "zone", "offset", "says"),
    [
        ("", None, 0, "0 fields"),
        ("* * * *", None, 0, "4 fields"),
        ("* * * * * *", None, 0, "6 fields"),
        ("@daily", None, 0, "five fields"),
        ("61 * * * *", None, 0, "minute"),
        ("* 25 * * *", None, 2, "hour"),
        ("* * 0 * *", None, 4, "day of month"),
        ("* * * FOO *", None, 6, "'FOO'"),
        ("* * * * 7", None, 8, "day of week"),
        ("5-1 * * * *", None, 0, "ends before it begins"),
        ("*/0 * * * *", None, 0, "steps by 0"),
        ("1/2/3 * * * *", None, 0, "slashes"),
        ("* * * * *", "Mars/Olympus", 0, "'Mars/Olympus'"),
        ("TZ=UTC", None, 0, "no schedule"),
        ("CRON_TZ=Nowhere/At_All * * * * *", None, 0, "time zone"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(expression: str, zone: str | None, offset: int, says: str) -> None:
    with pytest.raises(LangError, match=says) as caught:
        cron.compile(expression, zone)
    assert caught.value.offset == offset
    assert caught.value.text == expression
