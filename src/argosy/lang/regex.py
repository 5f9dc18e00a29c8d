"""Regular expressions in RE2's syntax, which Go's ``regexp`` takes: no back references, linear time."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

import re2

from argosy.errors import LangError

_ESCAPES = re.compile(r"\\Q.*?(?:\\E|\Z)|\\(.)", re.DOTALL)

# Nothing but characters that stand for themselves in RE2 and in Python, and dots.
_PLAIN = re.compile(r"(\^?)((?:[A-Za-z0-9_ \-/:@,;=\"'<>%&~!#.]|\\[.\-/])*)(\$?)")
_SHORT = 1000


class Regex:
    """A compiled pattern. ``pattern`` is its text."""

    __slots__ = ("pattern", "search")

    def __init__(self, pattern: str, search: Callable[[str], bool]) -> None:
        self.pattern = pattern
        self.search = search
        """Whether the pattern matches anywhere in the text."""

    def __repr__(self) -> str:
        return f"regex.compile({self.pattern!r})"


def _searcher(pattern: str, options: re2.Options) -> Callable[[str], bool]:
    search = re2.compile(pattern, options).search
    plain = _PLAIN.fullmatch(pattern)
    if plain is None:
        return lambda text: search(text) is not None
    # Most patterns of real manifests are a text, whole or part, which needs no automaton: a twentieth of the time.
    body = plain[2]
    literal = body.replace("\\", "")
    if "." in body.replace("\\.", ""):
        # Python's own engine on this is quick, but takes the pattern's length times the text's.
        start, end = r"\A" if plain[1] else "", r"\Z" if plain[3] else ""
        quick = re.compile(start + body + end).search
        return lambda text: (quick(text) if len(text) < _SHORT else search(text)) is not None
    if plain[1]:
        return literal.__eq__ if plain[3] else lambda text: text.startswith(literal)
    return (lambda text: text.endswith(literal)) if plain[3] else lambda text: literal in text


@lru_cache(maxsize=1024)
def compile(pattern: str) -> Regex:
    """The pattern, ready to use.

    Raises LangError with the offset of the faulty part where it can be found.
    """
    for escape in _ESCAPES.finditer(pattern):
        if escape[1] == "C":
            # A single byte of a character: RE2 has it, Go has not.
            raise LangError(
                f"{pattern!r} is not a regular expression that Go knows: \\C", text=pattern, offset=escape.start()
            )
    options = re2.Options()
    options.log_errors = False
    try:
        return Regex(pattern, _searcher(pattern, options))
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
