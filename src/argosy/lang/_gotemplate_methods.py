"""The methods that a template can call on what functions return: ``now.UTC.Format "2006"``, ``(semver "1.2.3").Major``.

Of ``time.Time`` those that need nothing a template cannot have (a time zone, say), of ``time.Duration`` and
``*semver.Version`` all that return values. ``Local`` is UTC."""

from __future__ import annotations

import datetime as dt
import functools
from typing import Any

from argosy.lang import _gotemplate_time as gotime
from argosy.lang import _sprig_semver, durations
from argosy.lang._gotemplate_functions import Function, Registry, registrar
from argosy.lang._gotemplate_print import Int64, Named, Uint64
from argosy.lang._sprig_semver import Version

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]

_TIMES: Registry = {}
_LENGTHS: Registry = {}
_VERSIONS: Registry = {}
time, length, version = registrar(_TIMES), registrar(_LENGTHS), registrar(_VERSIONS)


def method(value: Any, name: str) -> Function | None:
    """The method ``name`` of the value, bound to it; None if there is none of that name."""
    if isinstance(value, dt.datetime):
        found = _TIMES.get(name)
    elif isinstance(value, Duration):
        found = _LENGTHS.get(name)
    elif isinstance(value, Version):
        found = _VERSIONS.get(name)
    elif isinstance(value, Named) and name == "String":
        return Function(name, functools.partial(str, value), "")
    else:
        return None
    return found and Function(name, functools.partial(found.run, value), found.parameters)


class Duration(Named):
    """A Go ``time.Duration``: nanoseconds."""

    go_type = "time.Duration"
    go_kind = "int64"

    def __str__(self) -> str:
        return durations.format_nanoseconds(int(self))


class Month(Named):
    """A Go ``time.Month``."""

    go_type = "time.Month"

    def __str__(self) -> str:
        return _MONTHS[self - 1]


class Weekday(Named):
    """A Go ``time.Weekday``; Sunday is 0."""

    go_type = "time.Weekday"

    def __str__(self) -> str:
        return _DAYS[self]


for _name, _read in {
    "Year": lambda moment: moment.year,
    "Month": lambda moment: Month(moment.month),
    "Day": lambda moment: moment.day,
    "Hour": lambda moment: moment.hour,
    "Minute": lambda moment: moment.minute,
    "Second": lambda moment: moment.second,
    "Nanosecond": lambda moment: moment.microsecond * 1000,
    "YearDay": lambda moment: moment.timetuple().tm_yday,
    "Weekday": lambda moment: Weekday(moment.isoweekday() % 7),
    "Unix": lambda moment: Int64((moment - _EPOCH) // dt.timedelta(seconds=1)),
    "UnixMilli": lambda moment: Int64((moment - _EPOCH) // dt.timedelta(milliseconds=1)),
    "UnixMicro": lambda moment: Int64((moment - _EPOCH) // _MICROSECOND),
    "UnixNano": lambda moment: Int64((moment - _EPOCH) // _MICROSECOND * 1000),
    "UTC": lambda moment: moment.astimezone(dt.UTC),
    "Local": lambda moment: moment.astimezone(dt.UTC),
    "IsZero": lambda moment: moment == dt.datetime(1, 1, 1, tzinfo=dt.UTC),
    "String": lambda moment: gotime.format(moment, "2006-01-02 15:04:05.999999999 -0700 MST"),
}.items():
    time(_name)(_read)

time("Format", takes="s")(gotime.format)
time("Before", takes="t")(lambda moment, other: moment < other)
time("After", takes="t")(lambda moment, other: moment > other)
time("Equal", takes="t")(lambda moment, other: moment == other)
time("Compare", takes="t")(lambda moment, other: (moment > other) - (moment < other))
time("Sub", takes="t")(lambda moment, other: Duration((moment - other) // _MICROSECOND * 1000))
time("Add", takes="d")(lambda moment, by: moment + dt.timedelta(microseconds=int(by) / 1000))


@time("AddDate", takes="iii")
def _add_date(moment: dt.datetime, years: int, months: int, days: int) -> dt.datetime:
    """Go lets what is too much flow over: the 31st of April is the first of May."""
    carried, month = divmod(moment.month - 1 + months, 12)
    first = moment.replace(year=moment.year + years + carried, month=month + 1, day=1)
    return first + dt.timedelta(days=moment.day - 1 + days)


length("String")(str)
length("Hours")(lambda span: int(span) / 3.6e12)
length("Minutes")(lambda span: int(span) / 6e10)
length("Seconds")(lambda span: int(span) / 1e9)
length("Milliseconds")(lambda span: Int64(int(int(span) / 1e6)))
length("Microseconds")(lambda span: Int64(int(int(span) / 1e3)))
length("Nanoseconds")(lambda span: Int64(span))

version("Major")(lambda one: Uint64(one.major))
version("Minor")(lambda one: Uint64(one.minor))
version("Patch")(lambda one: Uint64(one.patch))
version("Prerelease")(lambda one: one.pre)
version("Metadata")(lambda one: one.metadata)
version("Original")(lambda one: one.original)
version("String")(str)
version("Compare", takes="V")(lambda one, other: one.compare(other))
version("LessThan", takes="V")(lambda one, other: one.compare(other) < 0)
version("LessThanEqual", takes="V")(lambda one, other: one.compare(other) <= 0)
version("GreaterThan", takes="V")(lambda one, other: one.compare(other) > 0)
version("GreaterThanEqual", takes="V")(lambda one, other: one.compare(other) >= 0)
version("Equal", takes="V")(lambda one, other: one.compare(other) == 0)
version("IncMajor")(lambda one: _raised(one, (one.major + 1, 0, 0)))
version("IncMinor")(lambda one: _raised(one, (one.major, one.minor + 1, 0)))


@version("IncPatch")
def _inc_patch(one: Version) -> Version:
    """The next patch; of a version before its release that is the release."""
    return _raised(one, (one.major, one.minor, one.patch if one.pre else one.patch + 1))


def _raised(one: Version, numbers: tuple[int, int, int]) -> Version:
    mark = "v" if one.original.startswith("v") else ""
    return _sprig_semver.parse(mark + ".".join(str(number) for number in numbers))
