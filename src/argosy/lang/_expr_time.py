"""The methods of times, durations, months, weekdays and locations. Times keep microseconds."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from argosy.errors import LangError
from argosy.lang import _gotemplate_methods as methods
from argosy.lang import _gotemplate_print as goprint
from argosy.lang import _gotemplate_time as gotime
from argosy.lang._expr_types import METHODS
from argosy.lang._expr_values import Zone, between, later, name_of, wrap
from argosy.lang._gotemplate_functions import Function
from argosy.lang._gotemplate_methods import Duration, Month, Weekday
from argosy.lang._gotemplate_print import Int64
from argosy.lang._sprig_semver import Version

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_FIRST = dt.datetime(1, 1, 1, tzinfo=dt.UTC)
_TYPES: dict[str, type] = {
    "time.Time": dt.datetime,
    "time.Duration": Duration,
    "time.Month": Month,
    "time.Weekday": Weekday,
    "*time.Location": Zone,
    "int": int,
    "string": str,
}


def method(value: Any, name: str) -> Function | None:
    """The method ``name`` of the value, bound to it; None if there is none."""
    signature = METHODS.get(name_of(value), {}).get(name)
    run = _RUNS.get((type(value), name))
    if signature is None or run is None:
        return methods.method(value, name) if isinstance(value, Version) else None
    takes = [_TYPES[taken.name] for taken in signature.takes]

    def bound(*arguments: Any) -> Any:
        for argument, wanted in zip(arguments, takes, strict=True):
            if type(argument) is not wanted:
                raise LangError(f"'{name}' does not take a {name_of(argument)}")
        try:
            return run(value, *arguments)
        except (OverflowError, ValueError) as error:
            raise LangError(f"'{name}' cannot be computed: {error}") from None

    return Function(name, bound, "a" * len(takes))


def _micros(moment: dt.datetime) -> int:
    return (moment - _EPOCH) // dt.timedelta(microseconds=1)


def _dates(moment: dt.datetime, years: int, months: int, days: int) -> dt.datetime:
    if max(abs(years), abs(months) // 12, abs(days) // 366) > 20_000:
        raise LangError("the time is outside of the years 1 to 9999")
    year, month = divmod(moment.year * 12 + moment.month - 1 + years * 12 + months, 12)
    # Days beyond the end of the month run over into the next, as in Go.
    return moment.replace(year=year, month=month + 1, day=1) + dt.timedelta(days=moment.day - 1 + days)


def _rounded(value: int, to: int, half_up: bool) -> int:
    """``value`` to a multiple of ``to``, towards zero or to the nearest, halves away from zero."""
    if to <= 0:
        return value
    whole, rest = divmod(abs(value), to)
    if half_up and rest * 2 >= to:
        whole += 1
    return whole * to * (-1 if value < 0 else 1)


def _time_rounded(moment: dt.datetime, to: Duration, half_up: bool) -> dt.datetime:
    # Multiples count from the year 1, whatever the zone.
    since = (moment - _FIRST) // dt.timedelta(microseconds=1) * 1000
    return later(moment, _rounded(since, int(to), half_up) - since)


def _zone_seconds(moment: dt.datetime) -> int:
    return int((moment.utcoffset() or dt.timedelta()).total_seconds())


def _compared(a: dt.datetime, b: dt.datetime) -> int:
    return (a > b) - (a < b)


_TIME: dict[str, Callable[..., Any]] = {
    "Add": later,
    "AddDate": _dates,
    "After": lambda t, other: t > other,
    "Before": lambda t, other: t < other,
    "Compare": _compared,
    "Day": lambda t: t.day,
    "Equal": lambda t, other: t == other,
    "Format": gotime.format,
    "GoString": goprint.show,
    "Hour": lambda t: t.hour,
    "ISOWeek": lambda t: t.isocalendar()[0],
    "In": lambda t, zone: t.astimezone(zone.zone or dt.UTC),
    "IsDST": lambda t: bool(t.dst()),
    "IsZero": lambda t: t == _FIRST,
    "Local": lambda t: t.astimezone(dt.UTC),
    "Location": lambda t: Zone(t.tzinfo),
    "Minute": lambda t: t.minute,
    "Month": lambda t: Month(t.month),
    "Nanosecond": lambda t: t.microsecond * 1000,
    "Round": lambda t, to: _time_rounded(t, to, True),
    "Second": lambda t: t.second,
    "String": goprint.show,
    "Sub": between,
    "Truncate": lambda t, to: _time_rounded(t, to, False),
    "UTC": lambda t: t.astimezone(dt.UTC),
    "Unix": lambda t: Int64(_micros(t) // 1_000_000),
    "UnixMicro": lambda t: Int64(_micros(t)),
    "UnixMilli": lambda t: Int64(_micros(t) // 1000),
    "UnixNano": lambda t: Int64(wrap(_micros(t) * 1000)),
    "Weekday": lambda t: Weekday(t.isoweekday() % 7),
    "Year": lambda t: t.year,
    "YearDay": lambda t: t.timetuple().tm_yday,
    "Zone": gotime.zone_name,
}
_DURATION: dict[str, Callable[..., Any]] = {
    "Abs": lambda d: Duration(min(abs(int(d)), 2**63 - 1)),
    "Hours": lambda d: _float_units(d, 3600 * 10**9),
    "Microseconds": lambda d: Int64(_units(d, 10**3)),
    "Milliseconds": lambda d: Int64(_units(d, 10**6)),
    "Minutes": lambda d: _float_units(d, 60 * 10**9),
    "Nanoseconds": lambda d: Int64(int(d)),
    "Round": lambda d, to: Duration(wrap(_rounded(int(d), int(to), True))),
    "Seconds": lambda d: _float_units(d, 10**9),
    "String": str,
    "Truncate": lambda d, to: Duration(wrap(_rounded(int(d), int(to), False))),
}


def _units(duration: int, unit: int) -> int:
    return abs(int(duration)) // unit * (-1 if duration < 0 else 1)


def _float_units(duration: int, unit: int) -> float:
    whole = _units(duration, unit)
    return float(whole) + float(int(duration) - whole * unit) / unit


_RUNS: dict[tuple[type, str], Callable[..., Any]] = {
    **{(dt.datetime, name): run for name, run in _TIME.items()},
    **{(Duration, name): run for name, run in _DURATION.items()},
    **{(kind, "String"): str for kind in (Month, Weekday, Zone)},
}
