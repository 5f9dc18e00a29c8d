"""jq's functions of one value, and the order of all values, for the compiled part of the language."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import orjson

from argosy.errors import LangError
from argosy.lang import gojson

RANKS: dict[type, int] = {type(None): 0, bool: 1, int: 3, float: 3, str: 4, list: 5, dict: 6}
_NAMES = {0: "null", 1: "boolean", 3: "number", 4: "string", 5: "array", 6: "object"}


class Nothing(Exception):
    """A program, or a part of one, has no output."""


def kind(value: Any) -> str:
    """jq's name for the kind of ``value``."""
    return _NAMES[RANKS[type(value)]]


def true(value: Any) -> bool:
    """Whether ``if`` takes the value for true: all but null and false."""
    return value is not None and value is not False


def from_json(text: Any) -> Any:
    """The value that the string holds, read as strictly as Go does; half surrogate pairs become U+FFFD."""
    if type(text) is not str:
        raise LangError(f"fromjson needs a string, not {kind(text)}")
    try:
        return orjson.loads(text)
    except ValueError:
        return gojson.loads(text)


def to_json(value: Any) -> str:
    """JSON text as gojq writes it: compact, keys sorted, no escapes for HTML."""
    return gojson.dumps(value, sort_keys=True, escape_html=False).decode()


def _length(value: Any) -> Any:
    if value is None:
        return 0
    if type(value) is bool:
        raise LangError("boolean has no length")
    return abs(value) if type(value) in (int, float) else len(value)


def _keys(value: Any) -> Any:
    if type(value) is dict:
        return sorted(value)
    if type(value) is list:
        return list(range(len(value)))
    raise LangError(f"{kind(value)} has no keys")


def _nothing(value: Any) -> Any:
    raise Nothing


def _lower(value: Any) -> Any:
    if type(value) is not str:
        raise LangError(f"ascii_downcase needs a string, not {kind(value)}")
    return re.sub("[A-Z]+", lambda match: match[0].lower(), value)


def _has(value: Any, key: Any) -> bool:
    if value is None:
        return False
    if type(value) is dict and type(key) is str:
        return key in value
    if type(value) is list and type(key) in (int, float):
        return bool(0 <= key < len(value))
    raise LangError(f"Cannot check whether {kind(value)} has a {kind(key)} key")


def _affix(method: Callable[[str, str], bool], value: Any, part: Any) -> bool:
    if type(value) is not str or type(part) is not str:
        raise LangError(f"{method.__name__} needs strings, not {kind(value)} and {kind(part)}")
    return method(value, part)


TESTS: dict[str, Callable[[Any, Any], Any]] = {
    "has": _has,
    "startswith": functools.partial(_affix, str.startswith),
    "endswith": functools.partial(_affix, str.endswith),
}
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "not": lambda value: not true(value),
    "length": _length,
    "fromjson": from_json,
    "tojson": to_json,
    "tostring": lambda value: value if type(value) is str else to_json(value),
    "type": kind,
    "empty": _nothing,
    "keys": _keys,
    "ascii_downcase": _lower,
}
