"""Times by Go's layouts, which show how 2006-01-02 15:04:05 MST would look: formatting and parsing.

Values are aware datetimes; digits beyond microseconds are read and dropped. A zone abbreviation without an
offset is taken for an offset of zero, as Go does for names that it does not know."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable

from argosy.errors import LangError

_MONTHS = (
    "January February March April May June July August September October November December".split()  # noqa: SIM905
)
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()  # noqa: SIM905
_LAYOUT = re.compile(
    r"January|Jan(?![a-z])|Monday|Mon(?![a-z])|MST|2006|002|__2|_2(?!006)|0[1-6]|15|PM|pm|"
    r"-07:00:00|-07:00|-070000|-0700|-07|Z07:00:00|Z07:00|Z070000|Z0700|Z07|"
    r"[.,]0+(?![0-9])|[.,]9+(?![0-9])|[1-5]"
)
_OFFSETS = {
    "07": (False, 1),
    "0700": (False, 2),
    "070000": (False, 3),
    "07:00": (True, 2),
    "07:00:00": (True, 3),
}


def layout_parts(layout: str) -> list[tuple[bool, str]]:
    """The layout cut up: (True, an element such as ``2006``) or (False, literal text)."""
    parts: list[tuple[bool, str]] = []
    position = 0
    for match in _LAYOUT.finditer(layout):
        if match.start() > position:
            parts.append((False, layout[position : match.start()]))
        parts.append((True, match.group()))
        position = match.end()
    if position < len(layout):
        parts.append((False, layout[position:]))
    return parts


def format(moment: dt.datetime, layout: str) -> str:
    """``moment`` (aware) as ``layout`` shows it."""
    return "".join(_show(moment, text) if element else text for element, text in layout_parts(layout))


def _show(t: dt.datetime, element: str) -> str:
    simple: dict[str, Callable[[], str]] = {
        "January": lambda: _MONTHS[t.month - 1],
        "Jan": lambda: _MONTHS[t.month - 1][:3],
        "1": lambda: str(t.month),
        "01": lambda: f"{t.month:02d}",
        "Monday": lambda: _DAYS[t.weekday()],
        "Mon": lambda: _DAYS[t.weekday()][:3],
        "2": lambda: str(t.day),
        "_2": lambda: f"{t.day:2d}",
        "02": lambda: f"{t.day:02d}",
        "__2": lambda: f"{t.timetuple().tm_yday:3d}",
        "002": lambda: f"{t.timetuple().tm_yday:03d}",
        "15": lambda: f"{t.hour:02d}",
        "3": lambda: str(t.hour % 12 or 12),
        "03": lambda: f"{t.hour % 12 or 12:02d}",
        "4": lambda: str(t.minute),
        "04": lambda: f"{t.minute:02d}",
        "5": lambda: str(t.second),
        "05": lambda: f"{t.second:02d}",
        "2006": lambda: f"{t.year:04d}",
        "06": lambda: f"{t.year % 100:02d}",
        "PM": lambda: "PM" if t.hour >= 12 else "AM",
        "pm": lambda: "pm" if t.hour >= 12 else "am",
        "MST": lambda: zone_name(t),
    }
    if element in simple:
        return simple[element]()
    if element[0] in ".,":
        digits = f"{t.microsecond:06d}000"[: len(element) - 1]
        if element[1] == "9":
            digits = digits.rstrip("0")
            return element[0] + digits if digits else ""
        return element[0] + digits
    offset = int((t.utcoffset() or dt.timedelta()).total_seconds())
    if element[0] == "Z" and offset == 0:
        return "Z"
    return _offset(offset, *_OFFSETS[element[1:]])


def _offset(seconds: int, colon: bool, parts: int) -> str:
    sign = "-" if seconds < 0 else "+"
    hours, rest = divmod(abs(seconds), 3600)
    pieces = [f"{hours:02d}", f"{rest // 60:02d}", f"{rest % 60:02d}"][:parts]
    return sign + (":" if colon else "").join(pieces)


def zone_name(t: dt.datetime) -> str:
    """The zone's abbreviation, as Go prints it: ``UTC``, ``CET``, or the offset where there is no name."""
    name = t.tzname() or "UTC"
    if not re.match(r"UTC[+-]", name):
        return name
    return _offset(int((t.utcoffset() or dt.timedelta()).total_seconds()), False, 2)


def parse(layout: str, text: str, zone: dt.tzinfo = dt.UTC) -> dt.datetime:
    """The time that ``text`` shows by ``layout``; without an offset in the text it is a time in ``zone``.

    Raises LangError if the text does not fit or shows no possible time.
    """
    reader = _Reader(text)
    parts = layout_parts(layout)
    for index, (element, part) in enumerate(parts):
        if element:
            following = parts[index + 1] if index + 1 < len(parts) else (False, "")
            reader.element(part, fraction_follows=following[0] and following[1][0] in ".,")
        else:
            reader.literal(part)
    if reader.rest:
        raise reader.wrong()
    return reader.moment(zone)


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self.rest = text
        self._seen: dict[str, int] = {}
        self._offset: int | None = None
        self._zone = ""
        self._afternoon: bool | None = None

    def wrong(self) -> LangError:
        return LangError(f"{self._text!r} is not a time in the expected form", text=self._text)

    def literal(self, part: str) -> None:
        # Runs of blanks in the layout match any run of blanks in the text.
        for char in part:
            if char == " ":
                if self.rest and self.rest[0] != " ":
                    raise self.wrong()
                self.rest = self.rest.lstrip(" ")
            elif not self.rest.startswith(char):
                raise self.wrong()
            else:
                self.rest = self.rest[1:]

    def _take(self, pattern: str) -> str:
        match = re.compile(pattern, re.IGNORECASE).match(self.rest)
        if not match:
            raise self.wrong()
        self.rest = self.rest[match.end() :]
        return match.group()

    def element(self, part: str, *, fraction_follows: bool) -> None:
        numbers = {
            "2006": ("year", r"[0-9]{4}"),
            "06": ("short year", r"[0-9]{2}"),
            "01": ("month", r"[0-9]{2}"),
            "1": ("month", r"[0-9]{1,2}"),
            "02": ("day", r"[0-9]{2}"),
            "2": ("day", r"[0-9]{1,2}"),
            "_2": ("day", r" ?[0-9]{1,2}"),
            "002": ("day of year", r"[0-9]{3}"),
            "__2": ("day of year", r"[ 0-9]{2}[0-9]"),
            "15": ("hour", r"[0-9]{1,2}"),
            "03": ("hour12", r"[0-9]{2}"),
            "3": ("hour12", r"[0-9]{1,2}"),
            "04": ("minute", r"[0-9]{2}"),
            "4": ("minute", r"[0-9]{1,2}"),
            "05": ("second", r"[0-9]{2}"),
            "5": ("second", r"[0-9]{1,2}"),
        }
        if part in numbers:
            name, pattern = numbers[part]
            self._seen[name] = int(self._take(pattern))
            if name == "second" and not fraction_follows and re.match(r"[.,][0-9]", self.rest):
                self._fraction(self._take(r"[.,][0-9]+"))
        elif part in ("January", "Jan", "Monday", "Mon"):
            self._name(part)
        elif part in ("PM", "pm"):
            self._afternoon = self._take("AM|PM" if part == "PM" else "am|pm").upper() == "PM"
        elif part == "MST":
            self._zone = self._take(r"UTC|ChST|MeST|GMT[+-][0-9]{1,2}|[A-Z]{3,5}|[+-][0-9]{2,4}")
        elif part[0] in ".,":
            if part[1] == "0":
                self._fraction(self._take(f"[.,][0-9]{{{len(part) - 1}}}"))
            elif re.match(r"[.,][0-9]", self.rest):
                self._fraction(self._take(r"[.,][0-9]{1,9}"))
        else:
            self._read_offset(part)

    def _fraction(self, text: str) -> None:
        self._seen["microsecond"] = int(text[1:7].ljust(6, "0"))

    def _name(self, part: str) -> None:
        names = _MONTHS if part[0] == "J" else _DAYS
        short = len(part) == 3
        found = self._take("|".join(name[:3] if short else name for name in names)).lower()
        if part[0] == "J":
            self._seen["month"] = next(i for i, name in enumerate(names, 1) if name.lower().startswith(found[:3]))

    def _read_offset(self, part: str) -> None:
        if part[0] == "Z" and self.rest[:1] == "Z":
            self.rest = self.rest[1:]
            self._offset = 0
            return
        colon, count = _OFFSETS[part[1:]]
        digits = self._take((":" if colon else "").join(["[+-][0-9]{2}", "[0-9]{2}", "[0-9]{2}"][:count]))
        numbers = re.findall("[0-9]{2}", digits)
        hours, minutes, seconds = (int(number) for number in [*numbers, "0", "0"][:3])
        if hours > 24 or minutes > 60 or seconds > 60:
            raise self.wrong()
        total = hours * 3600 + minutes * 60 + seconds
        self._offset = -total if digits[0] == "-" else total

    def moment(self, zone: dt.tzinfo) -> dt.datetime:
        seen = self._seen
        hour = seen.get("hour", 0)
        if "hour12" in seen:
            hour = seen["hour12"]
            if hour > 12:
                raise self.wrong()
        if self._afternoon is True and hour < 12:
            hour += 12
        elif self._afternoon is False and hour == 12:
            hour = 0
        year = seen.get("year", 0)
        if "short year" in seen:
            year = seen["short year"] + (1900 if seen["short year"] >= 69 else 2000)
        if self._offset is not None:
            zone = dt.timezone(dt.timedelta(seconds=self._offset)) if self._offset else dt.UTC
        elif self._zone in ("UTC", "GMT"):
            zone = dt.UTC
        elif self._zone:
            zone = self._named(zone)
        try:
            day = dt.date(year or 1, seen.get("month", 1), seen.get("day", 1))
            if "day of year" in seen:
                day = dt.date(year, 1, 1) + dt.timedelta(days=seen["day of year"] - 1)
            time = dt.time(hour, seen.get("minute", 0), seen.get("second", 0), seen.get("microsecond", 0))
            return dt.datetime.combine(day, time, zone)
        except (ValueError, OverflowError):
            raise self.wrong() from None

    def _named(self, zone: dt.tzinfo) -> dt.tzinfo:
        match = re.fullmatch(r"(?:GMT)?([+-][0-9]{1,2})([0-9]{2})?", self._zone)
        if match:
            hours = int(match[1])
            return dt.timezone(dt.timedelta(hours=hours), self._zone)
        return zone if zone_name(dt.datetime.now(zone)) == self._zone else dt.timezone(dt.timedelta(), self._zone)
