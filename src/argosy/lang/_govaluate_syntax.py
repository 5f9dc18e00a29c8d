"""govaluate's tokens: how its reader cuts a text up, and which kind may follow which.

The reader is peculiar and manifests may lean on it: a run of signs is one token (``==-1`` is refused, ``==
-1`` is right), a backslash takes any character into a name, quotes of both sorts may close each other, ``-``
is a prefix wherever a value may stand."""

from __future__ import annotations

import datetime as dt
import functools
import re
from dataclasses import dataclass
from typing import Any

from argosy.errors import LangError
from argosy.lang import _gotemplate_time

_PREFIXES = ("-", "!", "~")
_KINDS = {
    "modifier": ("+", "-", "*", "/", "%", "**", "&", "|", "^", ">>", "<<"),
    "logical": ("&&", "||"),
    "comparator": ("==", "!=", ">", ">=", "<", "<=", "=~", "!~", "in"),
    "ternary": ("?", ":", "??"),
}
_VALUES = ("number", "boolean", "variable", "accessor", "text", "time", "open")
_AFTER_VALUE = ("modifier", "comparator", "logical", "close", "separator", "ternary")
_NEXT: dict[str, tuple[str, ...]] = {
    "start": ("prefix", *_VALUES),
    "open": ("prefix", *_VALUES, "close"),
    "close": (*_AFTER_VALUE, "number", "boolean", "variable", "text", "time", "open"),
    "number": _AFTER_VALUE,
    "boolean": _AFTER_VALUE,
    "text": _AFTER_VALUE,
    "variable": _AFTER_VALUE,
    "accessor": ("open", *_AFTER_VALUE),
    "time": ("modifier", "comparator", "logical", "close", "separator"),
    "modifier": ("prefix", "number", "variable", "accessor", "text", "boolean", "open", "close"),
    "comparator": ("prefix", *_VALUES, "close"),
    "logical": ("prefix", *_VALUES, "close"),
    "prefix": ("number", "boolean", "variable", "accessor", "open", "close"),
    "ternary": ("prefix", *_VALUES, "separator"),
    "separator": ("prefix", *_VALUES),
}
_MAY_END = ("close", "number", "boolean", "text", "time", "variable", "accessor")
_DATES = (
    "Mon Jan _2 15:04:05 2006",
    "Mon Jan _2 15:04:05 MST 2006",
    "Mon Jan 02 15:04:05 -0700 2006",
    "3:04PM",
    "2006-01-02T15:04:05Z07:00",
    "2006-01-02T15:04:05.999999999Z07:00",
    "2006-01-02",
    "2006-01-02 15:04",
    "2006-01-02 15:04:05",
    "2006-01-02 15:04:05-07:00",
    "2006-01-02T15Z0700",
    "2006-01-02T15:04Z0700",
    "2006-01-02T15:04:05Z0700",
    "2006-01-02T15:04:05.999999999Z0700",
)

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_YEAR_0 = 366 * 86400


@dataclass(frozen=True, slots=True)
class Token:
    """One token. ``kind`` is "literal" for numbers, texts and booleans; ``offset`` counts characters."""

    kind: str
    value: Any
    offset: int


def tokens(text: str) -> list[Token]:
    """The tokens of ``text``, in an order that govaluate allows. Raises LangError at the first that is
    wrong."""
    reader = _Reader(text)
    found: list[Token] = []
    state = "start"
    parentheses = 0
    while (token := reader.next(prefix_may_follow="prefix" in _NEXT[state])) is not None:
        if token.kind not in _NEXT[state]:
            if state == "variable" and token.kind == "open":
                raise LangError(f"there is no function {found[-1].value!r}", text=text, offset=found[-1].offset)
            raise LangError(f"{str(token.value)!r} is not expected here", text=text, offset=token.offset)
        state = token.kind
        parentheses += {"open": 1, "close": -1}.get(token.kind, 0)
        kind = "literal" if token.kind in ("number", "boolean", "text") else token.kind
        found.append(Token(kind, token.value, token.offset))
    if parentheses:
        raise LangError("the parentheses do not match", text=text, offset=len(text))
    if state not in _MAY_END:
        raise LangError(f"{text!r} ends too early", text=text, offset=len(text))
    _check_patterns(text, found)
    return found


def _check_patterns(text: str, found: list[Token]) -> None:
    from argosy.lang import regex

    for index, token in enumerate(found[:-1]):
        pattern = found[index + 1]
        is_text = pattern.kind == "literal" and isinstance(pattern.value, str)
        if token.kind == "comparator" and token.value in ("=~", "!~") and is_text:
            try:
                regex.compile(pattern.value)
            except LangError as error:
                raise LangError(error.message, text=text, offset=pattern.offset) from error


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def _wrong(self, message: str, offset: int) -> LangError:
        return LangError(message, text=self._text, offset=offset)

    def next(self, *, prefix_may_follow: bool) -> Token | None:
        text = self._text
        while self._at < len(text) and _blank(text[self._at]):
            self._at += 1
        if self._at >= len(text):
            return None
        start, char = self._at, text[self._at]
        if _numeric(char):
            return Token("number", self._number(start), start)
        if char == ",":
            self._at += 1
            return Token("separator", ",", start)
        if char == "[":
            self._at += 1
            return Token("variable", self._until("]", "the name in brackets is not closed"), start)
        if char.isalpha():
            return self._word(start)
        if char in "'\"":
            self._at += 1
            content = self._until("'\"", "the text is not closed")
            date = _date(content)
            return Token("text", content, start) if date is None else Token("time", date, start)
        if char in "()":
            self._at += 1
            return Token("open" if char == "(" else "close", char, start)
        sign = self._run(lambda c: not (c.isdecimal() or c.isalpha() or c in "()[]'\""))
        if prefix_may_follow and sign in _PREFIXES:
            return Token("prefix", sign, start)
        for kind, signs in _KINDS.items():
            if sign in signs:
                return Token(kind, sign, start)
        raise self._wrong(f"{sign!r} is not an operator", start)

    def _number(self, start: int) -> float:
        text = self._text
        if text[start : start + 2] == "0x" and start + 2 < len(text):
            self._at = start + 2
            digits = self._run(lambda c: c.isdecimal() or c in "abcdefABCDEF")
            if not re.fullmatch("0*[0-9a-fA-F]{1,16}", digits):
                raise self._wrong(f"{digits!r} is not a hexadecimal number", start)
            return float(int(digits, 16))
        digits = self._run(_numeric)
        if not re.fullmatch(r"[0-9]+\.?[0-9]*|\.[0-9]+", digits):
            raise self._wrong(f"{digits!r} is not a number", start)
        return float(digits)

    def _word(self, start: int) -> Token:
        word = self._run(lambda c: c.isalpha() or c.isdecimal() or c in "_.")
        if word in ("true", "false"):
            return Token("boolean", word == "true", start)
        if word in ("in", "IN"):
            return Token("comparator", "in", start)
        if word.find(".") > 0:
            if word.endswith("."):
                raise self._wrong(f"{word!r} ends with a dot", start)
            for part in word.split(".")[1:]:
                if part[:1] != part[:1].upper():
                    raise self._wrong(f"{word!r} cannot be read; write [{word}] for a name with a dot", start)
            return Token("accessor", word, start)
        return Token("variable", word, start)

    def _run(self, belongs: Any) -> str:
        """Reads on while characters belong; a blank ends it once something was read, a backslash takes
        anything."""
        taken = ""
        while self._at < len(self._text):
            char = self._text[self._at]
            self._at += 1
            if char == "\\":
                taken += self._escaped()
            elif _blank(char):
                if taken:
                    break
            elif belongs(char):
                taken += char
            else:
                self._at -= 1
                break
        return taken

    def _escaped(self) -> str:
        if self._at >= len(self._text):
            raise self._wrong("a backslash stands at the end", self._at - 1)
        self._at += 1
        return self._text[self._at - 1]

    def _until(self, ends: str, complaint: str) -> str:
        start, taken = self._at - 1, ""
        while self._at < len(self._text):
            char = self._text[self._at]
            self._at += 1
            if char == "\\":
                taken += self._escaped()
            elif char in ends:
                return taken
            else:
                taken += char
        raise self._wrong(complaint, start)


def _numeric(char: str) -> bool:
    return char.isdecimal() or char == "."


def _blank(char: str) -> bool:
    return char.isspace() and char not in "\x1c\x1d\x1e\x1f"


@functools.lru_cache(maxsize=4096)
def _date(text: str) -> float | None:
    """Seconds since 1970 if ``text`` looks like a date to govaluate."""
    if not any(char.isdigit() for char in text) or len(text) > 64:
        return None
    for layout in _DATES:
        try:
            moment = _gotemplate_time.parse(layout, text)
        except LangError:
            continue
        seconds = float((moment - _EPOCH).total_seconds() // 1)
        # Without a date ("3:04PM") Go's year is 0, one leap year before the first that Python knows.
        return seconds - _YEAR_0 if layout == "3:04PM" else seconds
    return None
