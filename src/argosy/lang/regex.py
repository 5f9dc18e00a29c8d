"""Regular expressions in RE2's syntax, which Go's ``regexp`` takes: no back references, linear time."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import re2

from argosy.errors import LangError


class Regex:
    """A compiled pattern. ``pattern`` is its text."""

    __slots__ = ("_search", "pattern")

    def __init__(self, pattern: str, search: Any) -> None:
        self.pattern = pattern
        self._search = search

    def __repr__(self) -> str:
        return f"regex.compile({self.pattern!r})"

    def search(self, text: str) -> bool:
        """Whether the pattern matches anywhere in the text."""
        return self._search(text) is not None


@lru_cache(maxsize=1024)
def compile(pattern: str) -> Regex:
    """The pattern, ready to use.

    Raises LangError with the offset of the faulty part where it can be found.
    """
    options = re2.Options()
    options.log_errors = False
    try:
        return Regex(pattern, re2.compile(pattern, options).search)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        if isinstance(reason, bytes):
            reason = reason.decode("utf-8", "replace")
        # RE2 names the faulty part behind the last colon of its sentence.
        part = str(reason).rpartition(": ")[2]
        offset = pattern.find(part) if part else -1
        raise LangError(
            f"{pattern!r} is not a regular expression that RE2 knows: {reason}", text=pattern, offset=offset
        ) from error
