"""The sentences of verdicts: what stood where, shortened, whatever an event holds. Called only when somebody reads."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from argosy.errors import LangError
from argosy.lang import gjson
from argosy.lang.gjson import Document

_SHOWN = 120
_KEYS = 8
_COMPARED = 200
"""How many keys are searched for a similar name; an event may have any number."""
_PLAIN = frozenset("\\#|@*?!{}[]()")
_KIND = {dict: "an object", list: "an array", str: "text", bool: "a boolean", type(None): "null"}


def kind(value: object) -> str:
    """A JSON value's kind in words."""
    return _KIND.get(type(value), "a number")


def shown(text: str) -> str:
    """The text on one line, or its beginning."""
    short = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return short.replace("\n", "\\n")


def problem(error: Exception) -> str:
    """What an exception says, on one line; of a long sentence the beginning and the end."""
    text = str(getattr(error, "message", error)).replace("\n", "\\n")
    return text if len(text) <= 3 * _SHOWN else f"{text[: 2 * _SHOWN]} … {text[-_SHOWN:]}"


def found_text(found: gjson.Result) -> str:
    """The value found, as filters see it."""
    try:
        return shown(found.string())
    except (LangError, RecursionError):
        return "…"


def value_text(value: Any) -> str:
    """A value out of an event as JSON writes it, cut without writing all of it."""
    if isinstance(value, str):
        return f"'{shown(value)}'"
    if isinstance(value, dict):
        return f"an object with {_keys(value, '')}"
    if isinstance(value, list | tuple):
        return f"an array of {len(value)}"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return shown(str(value))


def alternatives(words: Sequence[str]) -> str:
    """``a``, or ``a`` or ``b``; of many the first few."""
    quoted = [f"`{shown(word)}`" for word in words[:_KEYS]]
    more = f" or {len(words) - _KEYS} others" if len(words) > _KEYS else ""
    return " or ".join(quoted) + more


def missing(document: Document, path: str) -> str:
    """Which part of a path is missing, and what is there instead."""
    said = f"path '{shown(path)}' does not exist"
    try:
        value = document.value
    except LangError as error:
        return f"{said}: {problem(error)}"
    walked: list[str] = []
    for part in path.replace("\\.", "\0").split("."):
        name = part.replace("\0", ".")
        if _PLAIN & set(name):
            # A query, a modifier or a wildcard: what it misses is inside the value where it begins.
            where = f"'{shown('.'.join(walked))}'" if walked else "the data"
            return f"{said}: nothing in {where}, {value_text(value)}, fits '{shown(name)}'"
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdecimal() and len(name) < 10 and int(name) < len(value):
            value = value[int(name)]
        else:
            where = f"under '{shown('.'.join(walked))}'" if walked else "at the top"
            if isinstance(value, dict):
                return f"{said}: no '{shown(name)}' {where}; there is {_keys(value, name)}"
            if isinstance(value, list):
                return f"{said}: no '{shown(name)}' {where}, an array of {len(value)}"
            return f"{said}: '{shown(name)}' is wanted {where}, where {value_text(value)} stands"
        walked.append(name)
    return said


def _keys(value: dict[str, Any], wanted: str) -> str:
    """The keys of an object, those that look like ``wanted`` first, as many as fit."""
    if not value:
        return "nothing"
    near = difflib.get_close_matches(wanted, _short(value), 2) if 0 < len(wanted) <= 64 else []
    listed = list(dict.fromkeys([*near, *islice(value, _KEYS)]))[:_KEYS]
    more = f" and {len(value) - len(listed)} more" if len(value) > len(listed) else ""
    return ", ".join(name if len(name) <= 40 else name[:40] + "…" for name in listed).replace("\n", "\\n") + more


def _short(names: Iterable[str]) -> list[str]:
    return [name for name in islice(names, _COMPARED) if len(name) <= 64]
