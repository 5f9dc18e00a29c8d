"""The ``Retry-After`` header (RFC 9110 §10.2.3), which says when to come back: a number of seconds or a
date.
"""

from __future__ import annotations

import datetime as dt
import email.utils


def seconds(header: str | None) -> float | None:
    """Seconds from now, at least 0; None where there is no header, or one that nobody can read."""
    text = (header or "").strip()
    if text.isdecimal():
        return float(text)
    try:
        when = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if when.tzinfo is None:  # "-0000" says that the date is UTC without saying where it was written
        when = when.replace(tzinfo=dt.UTC)
    return max(0.0, (when - dt.datetime.now(dt.UTC)).total_seconds())
