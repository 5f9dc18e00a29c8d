"""Cron schedules of five fields as robfig/cron v3 reads them (calendar ``schedule``, ``conditionsReset``).

Minute, hour, day of month, month, day of week; names, ranges, steps, lists, ``?`` as ``*``, a ``TZ=`` or ``CRON_TZ=`` in
front. If both day fields are restricted, either may match; a field counts as unrestricted if it has a ``*`` without a
step. Times that daylight saving skips do not happen; times that it repeats happen twice.
Descriptors (``@daily``) and a seconds field are refused, as upstream's parser flags refuse them.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass

from argosy.errors import LangError

_STAR = 1 << 63
_HOUR = 3600
_YEARS = 5
_MONTHS = {name: number for number, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}
_DAYS = {name: number for number, name in enumerate("sun mon tue wed thu fri sat".split())}
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
    """The times at which a cron expression fires, in one time zone."""

    def __init__(self, expression: str, zone: dt.tzinfo, bits: tuple[int, ...]) -> None:
        self.expression = expression
        self.zone = zone
        self._minutes, self._hours, self._days, self._months, self._weekdays = bits

    def next(self, after: dt.datetime) -> dt.datetime | None:
        """The first time later than ``after`` (aware), in the schedule's zone; None if there is none within 5 years."""
        clock = _Clock(self.zone, _whole(after) + 1)
        last_year = clock.year + _YEARS
        if _whole(after) % 60 != 59:
            clock.go_to(_whole(after) // 60 * 60 + 60)
        fresh = True
        while clock.year <= last_year:
            fresh, found = self._forward(clock, fresh)
            if found:
                return clock.moment
        return None

    def _forward(self, clock: _Clock, fresh: bool) -> tuple[bool, bool]:
        """Advances to the first match before a larger field wraps: (nothing advanced yet, found)."""
        while not self._months >> clock.month & 1:
            if fresh:
                fresh = False
                clock.go_to_local(clock.year, clock.month, 1, 0)
            clock.go_to_local(clock.year, clock.month + 1, clock.day, clock.hour, clock.minute)
            if clock.month == 1:
                return fresh, False
        while not self._day_matches(clock):
            if fresh:
                fresh = False
                clock.go_to_local(clock.year, clock.month, clock.day, 0)
            clock.go_to_local(clock.year, clock.month, clock.day + 1, clock.hour, clock.minute)
            clock.settle_at_midnight()
            if clock.day == 1:
                return fresh, False
        while not self._hours >> clock.hour & 1:
            if fresh:
                fresh = False
                clock.go_to_local(clock.year, clock.month, clock.day, clock.hour)
            clock.go_to(clock.seconds + _HOUR)
            if clock.hour == 0:
                return fresh, False
        while not self._minutes >> clock.minute & 1:
            fresh = False
            clock.go_to(clock.seconds + 60)
            if clock.minute == 0:
                return fresh, False
        return fresh, True

    def previous(self, before: dt.datetime) -> dt.datetime | None:
        """The last time earlier than ``before`` (aware), in the schedule's zone; None if there is none within 5 years."""
        whole = _whole(before)
        clock = _Clock(self.zone, whole - 1)
        first_year = clock.year - _YEARS
        while clock.year >= first_year:
            if self._backward(clock):
                return clock.moment
        return None

    def _backward(self, clock: _Clock) -> bool:
        """Goes back to the last match before a larger field wraps; the clock stands on some second of a minute until then."""
        while not self._months >> clock.month & 1:
            clock.go_to_local(clock.year, clock.month, 1, 0)
            clock.go_to(clock.seconds - 1)
            if clock.month == 12:
                return False
        while not self._day_matches(clock):
            month = clock.month
            clock.go_to_local(clock.year, clock.month, clock.day, 0)
            clock.settle_at_midnight()
            clock.go_to(clock.seconds - 1)
            if clock.month != month:
                return False
        while not self._hours >> clock.hour & 1:
            clock.go_to_local(clock.year, clock.month, clock.day, clock.hour)
            clock.go_to(clock.seconds - 1)
            if clock.hour == 23:
                return False
        while not self._minutes >> clock.minute & 1:
            clock.go_to_local(clock.year, clock.month, clock.day, clock.hour, clock.minute)
            clock.go_to(clock.seconds - 1)
            if clock.minute == 59:
                return False
        clock.go_to(clock.seconds // 60 * 60)
        return True

    def _day_matches(self, clock: _Clock) -> bool:
        by_day = bool(self._days >> clock.day & 1)
        by_weekday = bool(self._weekdays >> clock.weekday & 1)
        if (self._days | self._weekdays) & _STAR:
            return by_day and by_weekday
        return by_day or by_weekday


class _Clock:
    """A moment that moves: seconds since 1970, and what a clock on the wall of ``zone`` shows."""

    def __init__(self, zone: dt.tzinfo, seconds: int) -> None:
        self._zone = zone
        self.go_to(seconds)

    def go_to(self, seconds: int) -> None:
        self.seconds = seconds
        self.moment = _at(seconds, self._zone)
        self.year, self.month, self.day = self.moment.year, self.moment.month, self.moment.day
        self.hour, self.minute = self.moment.hour, self.moment.minute
        self.weekday = self.moment.isoweekday() % 7

    def go_to_local(self, year: int, month: int, day: int, hour: int, minute: int = 0) -> None:
        """To what the wall clock is asked to show; a skipped time becomes one beside the gap, chosen as Go chooses it."""
        year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
        wall = int((dt.datetime(year, month, 1, tzinfo=dt.UTC) + dt.timedelta(days=day - 1)).timestamp())
        wall += hour * _HOUR + minute * 60
        offset = self._offset(wall)
        if offset:
            offset = self._offset(wall - offset)
        self.go_to(wall - offset)

    def settle_at_midnight(self) -> None:
        """Where daylight saving skips midnight, the day begins an hour later, or the wall clock shows 23."""
        if self.hour > 12:
            self.go_to(self.seconds + (24 - self.hour) * _HOUR)
        elif self.hour:
            self.go_to(self.seconds - self.hour * _HOUR)

    def _offset(self, seconds: int) -> int:
        offset = _at(seconds, self._zone).utcoffset()
        return int(offset.total_seconds()) if offset else 0


def _at(seconds: int, zone: dt.tzinfo) -> dt.datetime:
    return (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)).astimezone(zone)


def _whole(moment: dt.datetime) -> int:
    """Seconds since 1970, the fraction cut off as robfig/cron cuts it."""
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(seconds=1)


@functools.lru_cache(maxsize=1024)
def compile(expression: str, timezone: str | None = None) -> Schedule:  # noqa: A001 - each language has compile
    """``expression`` as a schedule in ``timezone`` (IANA name, UTC if None or empty), unless it names a zone itself.

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
        raise LangError(f"{expression!r}: write the five fields out instead of {fields[0][1]!r}", text=expression, offset=start)
    if len(fields) != len(_FIELDS):
        raise LangError(
            f"{expression!r} has {len(fields)} fields; a schedule has 5: minute, hour, day of month, month, day of week",
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
