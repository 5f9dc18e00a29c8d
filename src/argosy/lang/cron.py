"""Cron schedules of five fields as robfig/cron v3 reads them (calendar ``schedule``, ``conditionsReset``).

Minute, hour, day of month, month, day of week; names, ranges, steps, lists, ``?`` as ``*``, a ``TZ=`` or
``CRON_TZ=`` in front. If both day fields are restricted, either may match; a field counts as unrestricted if
it has a ``*`` without a step. A wall time that daylight saving skips does not happen; one that it repeats
happens twice. (robfig/cron agrees, but never returns where a zone skips midnight on the way to the next time;
here the search goes day by day and ends.) Descriptors (``@daily``) and a seconds field are refused, as
upstream's parser flags refuse them."""

from __future__ import annotations

import datetime as dt
import functools
import re
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass

from argosy.errors import LangError

_STAR = 1 << 63
_DAY = dt.timedelta(days=1)
_YEARS = 5
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_DAYS = {name: number for number, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}
_BLANKS = re.compile(r"\S+")
_INTEGER = re.compile(r"\+?[0-9]{1,18}")


@dataclass(frozen=True)
class _Field:
    name: str
    lowest: int
    highest: int
    names: dict[str, int]


_FIELDS = (
    _Field("minute", 0, 59, {}),
    _Field("hour", 0, 23, {}),
    _Field("day of month", 1, 31, {}),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 6, _DAYS),
)


class Schedule:
    """The times at which a cron expression fires on the clocks of one time zone.

    Times are given in UTC: Python compares and subtracts two times of one zone by their clocks, which is wrong
    where daylight saving repeats an hour.
    """

    def __init__(self, expression: str, zone: dt.tzinfo, bits: tuple[int, ...]) -> None:
        self.expression = expression
        self.zone = zone
        minutes, hours, self._days, self._months, self._weekdays = bits
        self._times = [
            dt.time(hour, minute)
            for hour in range(24)
            if hours >> hour & 1
            for minute in range(60)
            if minutes >> minute & 1
        ]

    def next(self, after: dt.datetime) -> dt.datetime | None:
        """The first time later than ``after`` (aware), in UTC; None if there is none within 5 years."""
        day = after.astimezone(self.zone).date()
        last_year = min(day.year + _YEARS, dt.MAXYEAR - 1)
        while day.year <= last_year:
            if self._day_matches(day):
                for moment in self._moments(day):
                    if moment > after:
                        return moment
            day += _DAY
        return None

    def previous(self, before: dt.datetime) -> dt.datetime | None:
        """The last time earlier than ``before`` (aware), in UTC; None if there is none within 5 years."""
        day = before.astimezone(self.zone).date()
        first_year = max(day.year - _YEARS, dt.MINYEAR + 1)
        while day.year >= first_year:
            if self._day_matches(day):
                for moment in reversed(self._moments(day)):
                    if moment < before:
                        return moment
            day -= _DAY
        return None

    def _day_matches(self, day: dt.date) -> bool:
        if not self._months >> day.month & 1:
            return False
        by_day = bool(self._days >> day.day & 1)
        by_weekday = bool(self._weekdays >> day.isoweekday() % 7 & 1)
        if (self._days | self._weekdays) & _STAR:
            return by_day and by_weekday
        return by_day or by_weekday

    def _moments(self, day: dt.date) -> list[dt.datetime]:
        """The schedule's times of ``day`` in UTC, in order: none for a wall time that is skipped, two for one
        repeated."""
        first = dt.datetime.combine(day, dt.time(), self.zone)
        offset = first.utcoffset() or dt.timedelta()
        if (first + _DAY).utcoffset() == offset:
            return [dt.datetime.combine(day, time, dt.UTC) - offset for time in self._times]
        moments = set()
        for time in self._times:
            for fold in (0, 1):
                wall = dt.datetime.combine(day, time.replace(fold=fold), self.zone)
                moment = wall.astimezone(dt.UTC)
                if moment.astimezone(self.zone).replace(tzinfo=None) == wall.replace(tzinfo=None, fold=0):
                    moments.add(moment)
        return sorted(moments)


@functools.lru_cache(maxsize=1024)
def compile(expression: str, timezone: str | None = None) -> Schedule:
    """``expression`` as a schedule in ``timezone`` (IANA name, UTC if None or empty), unless it names a zone
    itself.

    Raises LangError pointing at the field that is wrong.
    """
    start, zone = 0, timezone or "UTC"
    if expression.startswith(("TZ=", "CRON_TZ=")):
        blank = expression.find(" ")
        if blank < 0:
            raise LangError(f"{expression!r} names a time zone and no schedule", text=expression, offset=0)
        start, zone = blank, expression[expression.index("=") + 1 : blank] or "UTC"
    fields = [(match.start(), match.group()) for match in _BLANKS.finditer(expression, start)]
    if fields and fields[0][1].startswith("@"):
        raise LangError(
            f"{expression!r}: write the five fields out instead of {fields[0][1]!r}",
            text=expression,
            offset=start,
        )
    if len(fields) != len(_FIELDS):
        raise LangError(
            f"{expression!r} has {len(fields)} fields; a schedule has 5: "
            "minute, hour, day of month, month, day of week",
            text=expression,
            offset=start,
        )
    bits = tuple(
        _bits(text, field, functools.partial(_wrong, expression, offset))
        for (offset, text), field in zip(fields, _FIELDS, strict=True)
    )
    return Schedule(expression, _zone(zone, expression), bits)


def _zone(name: str, expression: str) -> dt.tzinfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise LangError(f"{name!r} is not a known time zone", text=expression, offset=0) from error


def _wrong(expression: str, offset: int, message: str) -> LangError:
    return LangError(f"{expression!r}: {message}", text=expression, offset=offset)


def _bits(text: str, field: _Field, wrong: Callable[[str], LangError]) -> int:
    bits = 0
    for part in filter(None, text.split(",")):
        bits |= _range(part, field, wrong)
    return bits


def _range(part: str, field: _Field, wrong: Callable[[str], LangError]) -> int:
    bounds, *steps = part.split("/")
    ends = bounds.split("-")
    star = 0
    if ends[0] in ("*", "?"):
        low, high, star = field.lowest, field.highest, _STAR
    else:
        if len(ends) > 2:
            raise wrong(f"{part!r} in the {field.name} has too many hyphens")
        low = _number(ends[0], field, wrong)
        high = _number(ends[-1], field, wrong)
    step = 1
    if steps:
        if len(steps) > 1:
            raise wrong(f"{part!r} in the {field.name} has too many slashes")
        step = _number(steps[0], _Field(f"step of the {field.name}", 0, 0, {}), wrong)
        if len(ends) == 1:
            high = field.highest
        if step > 1:
            star = 0
    if low < field.lowest or high > field.highest:
        raise wrong(f"{part!r} is outside {field.lowest} to {field.highest}, the range of the {field.name}")
    if low > high:
        raise wrong(f"{part!r} in the {field.name} ends before it begins")
    if step == 0:
        raise wrong(f"{part!r} in the {field.name} steps by 0")
    return sum(1 << value for value in range(low, high + 1, step)) | star


def _number(text: str, field: _Field, wrong: Callable[[str], LangError]) -> int:
    named = field.names.get(text.lower())
    if named is not None:
        return named
    if not _INTEGER.fullmatch(text):
        raise wrong(f"{text!r} is not a {field.name}")
    return int(text)
