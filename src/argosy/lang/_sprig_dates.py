"""sprig's dates. ``Local`` is UTC here, as it is in the containers that run the original."""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from typing import Any

from argosy.errors import LangError
from argosy.lang import durations
from argosy.lang._gotemplate_functions import Registry, registrar
from argosy.lang._gotemplate_print import Int64
from argosy.lang._gotemplate_time import format as format_time
from argosy.lang._gotemplate_time import parse as parse_time
from argosy.lang._sprig_numbers import wrap64

FUNCTIONS: Registry = {}
sprig = registrar(FUNCTIONS)

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_ZERO = dt.datetime(1, 1, 1, tzinfo=dt.UTC)
_UNITS = (("y", 365 * 24 * 3600), ("mo", 30 * 24 * 3600), ("d", 24 * 3600), ("h", 3600), ("m", 60), ("s", 1))


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _moment(value: Any) -> dt.datetime:
    """A time, or seconds since 1970 as int or int64; anything else is now."""
    if isinstance(value, dt.datetime):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return _EPOCH + dt.timedelta(seconds=value)
    return _now()


def _zone(name: str) -> dt.tzinfo:
    if name in ("", "Local", "UTC"):
        return dt.UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return dt.UTC


@sprig("now")
def _sprig_now() -> dt.datetime:
    return _now()


@sprig("dateInZone", "date_in_zone", takes="sas")
def _date_in_zone(layout: str, value: Any, zone: str) -> str:
    return format_time(_moment(value).astimezone(_zone(zone)), layout)


@sprig("date", takes="sa")
def _date(layout: str, value: Any) -> str:
    return _date_in_zone(layout, value, "Local")


@sprig("htmlDate", takes="a")
def _html_date(value: Any) -> str:
    return _date_in_zone("2006-01-02", value, "Local")


@sprig("htmlDateInZone", takes="as")
def _html_date_in_zone(value: Any, zone: str) -> str:
    return _date_in_zone("2006-01-02", value, zone)


@sprig("mustDateModify", "must_date_modify", takes="st")
def _must_date_modify(duration: str, moment: dt.datetime) -> dt.datetime:
    return moment + dt.timedelta(seconds=durations.parse(duration))


@sprig("dateModify", "date_modify", takes="st")
def _date_modify(duration: str, moment: dt.datetime) -> dt.datetime:
    try:
        return _must_date_modify(duration, moment)
    except LangError:
        return moment


@sprig("mustToDate", takes="ss")
def _must_to_date(layout: str, text: str) -> dt.datetime:
    return parse_time(layout, text)


@sprig("toDate", takes="ss")
def _to_date(layout: str, text: str) -> dt.datetime:
    try:
        return parse_time(layout, text)
    except LangError:
        return _ZERO


@sprig("unixEpoch", takes="t")
def _unix_epoch(moment: dt.datetime) -> str:
    return str((moment - _EPOCH) // dt.timedelta(seconds=1))


@sprig("ago", takes="a")
def _ago(value: Any) -> str:
    return durations.format(float(round((_now() - _moment(value)).total_seconds())))


@sprig("duration", takes="a")
def _duration(value: Any) -> str:
    seconds = 0
    if isinstance(value, Int64) or (isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]+", value)):
        seconds = int(value)
    if isinstance(value, str):
        seconds = min(max(seconds, -(2**63)), 2**63 - 1)
    return durations.format_nanoseconds(wrap64(seconds * 10**9))


@sprig("durationRound", takes="a")
def _duration_round(value: Any) -> str:
    seconds = 0.0
    if isinstance(value, str):
        try:
            seconds = durations.parse(value)
        except LangError:
            seconds = 0.0
    elif isinstance(value, Int64):
        seconds = int(value) / 1e9
    elif isinstance(value, dt.datetime):
        seconds = (_now() - value).total_seconds()
    for unit, size in _UNITS:
        if abs(seconds) > size:
            return f"{int(abs(seconds) // size)}{unit}"
    return "0s"
