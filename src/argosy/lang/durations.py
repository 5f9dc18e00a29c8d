"""Go's duration text (``time.ParseDuration``): ``1h30m``, ``1.5s``, ``-20ms``. Seconds in Python."""

from __future__ import annotations

import re

from argosy.errors import LangError

_UNITS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|µs|μs|ms|h|m|s)")
_LONGEST = 2**63 - 1


def parse(text: str) -> float:
    """The duration in seconds, to the nanosecond.

    Raises LangError as Go does: no unit, unknown unit, overflow.
    """
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0.0
    nanoseconds = position = 0
    while position < len(rest):
        match = _PART.match(rest, position)
        if not match or not (match[1] or match[2]):
            break
        # Twenty digits are too many in any unit; Python itself refuses to read thousands of them.
        whole = int(match[1].lstrip("0")[:20] or "0")
        nanoseconds += whole * _UNITS[match[3]] + _fraction(match[2] or "", _UNITS[match[3]])
        position = match.end()
    if not rest or position < len(rest):
        raise LangError(
            f"{text!r} is not a duration; write for example 10s, 1m30s or 500ms",
            text=text,
            offset=len(text) - len(rest) + position,
        )
    if nanoseconds > _LONGEST + text.startswith("-"):
        raise LangError(f"{text!r} is longer than 292 years", text=text, offset=0)
    return (-nanoseconds if text.startswith("-") else nanoseconds) / 1e9


def _fraction(digits: str, unit: int) -> int:
    """Nanoseconds of a fraction of ``unit``, each cut off for itself and computed with floats, as in Go."""
    value, scale = 0, 1.0
    for digit in digits:
        if value > _LONGEST // 10 or value * 10 + int(digit) > _LONGEST + 1:
            break
        value = value * 10 + int(digit)
        scale *= 10
    return int(float(value) * (unit / scale))


def format(seconds: float) -> str:
    """The duration as Go prints it: ``1h30m0s``, ``1.5s``, ``250ms``, ``0s``."""
    return format_nanoseconds(round(seconds * 1e9))


def format_nanoseconds(signed: int) -> str:
    """As ``format``, exact however long."""
    nanoseconds, sign = abs(signed), "-" if signed < 0 else ""
    if nanoseconds == 0:
        return "0s"
    for unit, size in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
        if nanoseconds < size * 1000:
            return f"{sign}{_decimal(nanoseconds, size)}{unit}"
    minutes, rest = divmod(nanoseconds, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(rest, 10**9)}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{text}"
    return f"{sign}{minutes}m{text}" if minutes else sign + text


def _decimal(amount: int, size: int) -> str:
    whole, part = divmod(amount, size)
    digits = str(part).rjust(len(str(size)) - 1, "0").rstrip("0") if part else ""
    return f"{whole}.{digits}" if digits else str(whole)
