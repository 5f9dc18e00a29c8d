"""JSONPath as evilmonkeyinc/jsonpath 0.8.1 has it, with its default options: ``$.a[*].b``, ``$..c``, ``[?(@.x > 1)]``,
``[(@.length-1)]``, ranges, unions, ``.length``.

A path that names one thing gives it or fails; with ``*``, ``..``, a filter, a range or a union it gives a list, from
which what fails is left out. Maps are walked by their sorted keys."""

from __future__ import annotations

import functools
import re
from typing import Any

from argosy.errors import LangError
from argosy.lang._jsonpath_scripts import CompiledScript, Cuts
from argosy.lang._jsonpath_selectors import (
    Abandoned,
    Current,
    Filter,
    Index,
    Key,
    Length,
    Range,
    Recursive,
    Root,
    ScriptStep,
    Step,
    Steps,
    Union,
    Walk,
    Wildcard,
)

_LONGEST_PATH = 4096
_BLANKS = " \t\n\v\f\r\x85\xa0"
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)


class Path:
    """A compiled path. Immutable."""

    def __init__(self, text: str) -> None:
        self.text = text
        if len(text) > _LONGEST_PATH:
            raise LangError(f"a path of {len(text)} characters is too long", text=text)
        try:
            self._steps = _parse(text, Cuts())
        except RecursionError:
            raise LangError("the path is nested too deep", text=text) from None
        except LangError as error:
            raise LangError(f"{text!r} is not a JSONPath: {error.message}", text=text, offset=error.offset) from None

    def query(self, root: Any) -> Any:
        """What the path finds in a JSON value whose numbers are floats. Raises LangError."""
        return self.follow(Walk(root))

    def follow(self, walk: Walk) -> Any:
        """As ``query``, for a walk that says what it has cost afterwards."""
        try:
            return self._steps[0].apply(walk, walk.root, self._steps[1:])
        except (LangError, Abandoned) as error:
            reason = error.message if isinstance(error, LangError) else str(error)
            raise LangError(f"the JSONPath {self.text!r} fails: {reason}", text=self.text) from None
        except RecursionError:
            raise LangError(f"the JSONPath {self.text!r} fails: the data are nested too deep", text=self.text) from None


@functools.lru_cache(maxsize=1024)
def compile(text: str) -> Path:
    """``text`` as a path. Raises LangError."""
    return Path(text)


def _parse(text: str, cuts: Cuts) -> Steps:
    return tuple(_step(part, cuts) for part in _parts(text))


def _parts(text: str) -> list[str]:
    """The texts of the steps: ``$``, ``..``, names without their dot, subscripts with their brackets."""
    if text[:1] not in ("$", "@") or not text:
        raise LangError("it begins with '$' or '@'", offset=0)
    if text[1:2] not in ("", ".", "["):
        raise LangError(f"{text[1]!r} is not expected", offset=1)
    parts = [text[0]]
    part = ""
    quotes = opened = closed = 0
    square = 0
    for char in text[1:]:
        if not part:
            quotes = opened = closed = 0
        quotes += char == "'"
        opened += char == "("
        closed += char == ")"
        square += (char == "[") - (char == "]")
        part += char
        if part == ".":
            continue
        if part == "..":
            parts.append(part)
            part = ""
        elif char == "[":
            if part in ("[", ".[") or part.count("[") > 1:
                continue
            parts.append(part[1:-1] if part[0] == "." else part[:-1])
            part = "["
        elif quotes % 2 == 1 or opened != closed:
            continue
        elif "[" in part:
            if char == "]" and square == 0:
                parts.append(part.removeprefix("."))
                part = ""
        elif char == ".":
            parts.append(part[1:-1] if part[0] == "." else part[:-1])
            part = "."
    if part:
        parts.append(part.removeprefix("."))
    return parts


_SIMPLE: dict[str, Step] = {
    "$": Root(),
    "@": Current(),
    "*": Wildcard(),
    "..": Recursive(),
    "length": Length(),
}


def _step(part: str, cuts: Cuts) -> Step:
    part = part.strip(_BLANKS)
    if not part:
        raise LangError("a name is missing")
    if part in _SIMPLE:
        return _SIMPLE[part]
    if not part.startswith("["):
        return Key(part)
    wrong = LangError(f"{part!r} is not a subscript")
    inner = part[1:-1].strip(_BLANKS) if part.endswith("]") else ""
    if not inner:
        raise wrong
    if inner == "*":
        return _SIMPLE["*"]
    if inner.startswith("?"):
        if not inner.startswith("?(") or not inner.endswith(")"):
            raise wrong
        return Filter(_script(inner[2:-1].strip(_BLANKS), cuts))
    arguments = _Arguments(wrong).read(inner)
    if len(arguments) != 1:
        return _several(arguments, wrong, cuts)
    (argument,) = arguments
    if isinstance(argument, int):
        return Index(argument)
    if isinstance(argument, str):
        if _is_key(argument):
            return Key(argument[1:-1])
        if _is_script(argument):
            return ScriptStep(_script(argument[1:-1], cuts))
    raise wrong


def _script(text: str, cuts: Cuts) -> CompiledScript:
    return CompiledScript(text, _parse, cuts)


def _is_key(text: str) -> bool:
    return len(text) > 1 and text[0] == text[-1] and text[0] in "'\""


def _is_script(text: str) -> bool:
    return len(text) > 2 and text.startswith("(") and text.endswith(")")


def _integer(text: str) -> int | None:
    if _INTEGER.fullmatch(text) and -(2**63) <= int(text) < 2**63:
        return int(text)
    return None


class _Arguments:
    """Cuts a subscript into integers, quoted keys, scripts in parentheses, and the signs ``:`` and ``,``."""

    def __init__(self, wrong: LangError) -> None:
        self._wrong = wrong
        self._found: list[int | str | None] = []
        self._part = ""
        self._opened = self._closed = 0
        self._quote = ""

    def read(self, text: str) -> list[int | str | None]:
        for position, char in enumerate(text):
            self._part += char
            balanced = self._opened == self._closed
            if char == " " and not self._quote and balanced:
                self._part = self._part.strip(_BLANKS)
            elif char == "(" and not self._quote:
                self._opened += 1
            elif char == ")":
                self._closed += 1
                if self._opened == self._closed:
                    if not _is_script(self._part):
                        raise self._wrong
                    self._keep(self._part)
            elif char in "'\"" and self._quote in ("", char) and balanced:
                self._quoted(char)
            elif char in ":," and not self._quote and balanced:
                self._sign(char, position)
        if self._part:
            number = _integer(self._part)
            self._found.append(self._part if number is None else number)
        return self._found

    def _keep(self, argument: int | str | None) -> None:
        self._found.append(argument)
        self._part = ""

    def _quoted(self, quote: str) -> None:
        if len(self._part) > 1 and self._part[-2] == "\\":
            self._part = self._part[:-2] + quote
        elif not self._quote:
            self._quote = quote
            if self._part != quote:
                raise self._wrong
        else:
            self._quote = ""
            if not _is_key(self._part):
                raise self._wrong
            self._keep(self._part)

    def _sign(self, sign: str, position: int) -> None:
        argument = self._part[:-1]
        if argument:
            number = _integer(argument)
            if number is None and sign == ":":
                raise self._wrong
            self._found.append(argument if number is None else number)
        elif sign == ":" and position == 0:
            self._found.append(None)
        self._keep(sign)


def _several(arguments: list[int | str | None], wrong: LangError, cuts: Cuts) -> Step:
    """A range or a union."""
    colons = arguments.count(":")
    commas = arguments.count(",")
    kept: list[int | str | None] = []
    after_colon = False
    for argument in arguments:
        if argument == ":":
            if after_colon:
                kept.append(None)
        elif argument != ",":
            kept.append(argument)
        after_colon = argument == ":"
    if bool(colons) == bool(commas) or colons > 2 or (commas and commas >= len(kept)):
        raise wrong
    if colons == 1 and len(kept) == 1:
        kept.append(None)
    if len(kept) < 2:
        raise wrong
    made: list[Any] = []
    for argument in kept:
        if isinstance(argument, str) and _is_script(argument):
            made.append(_script(argument[1:-1], cuts))
        elif isinstance(argument, str) and commas and _is_key(argument):
            made.append(argument[1:-1])
        elif isinstance(argument, str) or (argument is None and commas):
            raise wrong
        else:
            made.append(argument)
    if commas:
        return Union(tuple(made))
    return Range(made[0], made[1], made[2] if len(made) > 2 else None)
