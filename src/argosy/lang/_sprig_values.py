"""sprig's defaults, its conversions to and from JSON, and what it says of types."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from argosy.errors import LangError
from argosy.lang import _gotemplate_print as goprint
from argosy.lang import gojson
from argosy.lang._gotemplate_bound import LARGEST_TEXT, Made, TooLong, members
from argosy.lang._gotemplate_functions import Registry, registrar
from argosy.lang._gotemplate_print import Int64, Named, Uint64
from argosy.lang._gotemplate_time import format as format_time
from argosy.lang._sprig_collections import deep_equal, empty

FUNCTIONS: Registry = {}
sprig = registrar(FUNCTIONS)

_KINDS = {"string": "string", "bool": "bool", "int": "int", "int64": "int64", "uint64": "uint64", "float64": "float64"}


def plain(value: Any) -> Any:
    """A template's value as JSON has it."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        if getattr(value, "nil", False):
            return None
        return [plain(item) for item in value]
    if isinstance(value, dt.datetime):
        return format_time(value, "2006-01-02T15:04:05.999999999Z07:00")
    return int(value) if isinstance(value, (Int64, Uint64, Named)) else value


def _measure(value: Any) -> None:
    """Raises TooLong if the value's JSON would be too long."""
    left = LARGEST_TEXT
    for item in members(value):
        left -= 2
        if isinstance(item, str):
            left -= len(item)
        elif isinstance(item, dict):
            left -= sum(len(str(key)) for key in item)
        if left < 0:
            raise TooLong(f"a text of more than {LARGEST_TEXT} bytes would be made")


@sprig("default", takes="a", rest="a")
def _default(default: Any, *given: Any) -> Any:
    return default if not given or empty(given[0]) else given[0]


@sprig("empty", takes="a")
def _empty(value: Any) -> bool:
    return empty(value)


@sprig("coalesce", rest="a")
def _coalesce(*values: Any) -> Any:
    return next((value for value in values if not empty(value)), None)


@sprig("all", rest="a")
def _all(*values: Any) -> bool:
    return not any(empty(value) for value in values)


@sprig("any", rest="a")
def _any(*values: Any) -> bool:
    return any(not empty(value) for value in values)


@sprig("ternary", takes="aab")
def _ternary(yes: Any, no: Any, test: bool) -> Any:
    return yes if test else no


@sprig("fail", takes="s")
def _fail(message: str) -> str:
    raise LangError(message)


@sprig("deepEqual", takes="aa", deep=True)
def _deep_equal(a: Any, b: Any) -> bool:
    return deep_equal(a, b)


@sprig("typeOf", takes="a")
def _type_of(value: Any) -> str:
    return goprint.type_name(value)


@sprig("typeIs", takes="sa")
def _type_is(name: str, value: Any) -> bool:
    return name == goprint.type_name(value)


@sprig("typeIsLike", takes="sa")
def _type_is_like(name: str, value: Any) -> bool:
    return goprint.type_name(value) in (name, "*" + name)


@sprig("kindOf", takes="a")
def _kind_of(value: Any) -> str:
    if value is None:
        return "invalid"
    if isinstance(value, list):
        return "slice"
    if isinstance(value, dict):
        return "map"
    if isinstance(value, Named):
        return value.go_kind
    name = goprint.type_name(value)
    return _KINDS.get(name, "ptr" if name.startswith("*") else "struct")


@sprig("kindIs", takes="sa")
def _kind_is(name: str, value: Any) -> bool:
    return name == _kind_of(value)


@sprig("fromJson", takes="s")
def _from_json(text: str) -> Any:
    try:
        return _must_from_json(text)
    except LangError:
        return None


@sprig("mustFromJson", takes="s")
def _must_from_json(text: str) -> Any:
    return gojson.floats(gojson.loads(text))


def _lenient(write: Callable[[Any], str]) -> Callable[[Any], str]:
    def attempt(value: Any) -> str:
        try:
            return write(value)
        except TooLong:
            raise
        except LangError:
            return ""  # a value that JSON does not have

    return attempt


@sprig("mustToJson", takes="a")
def _must_to_json(value: Any) -> str:
    _measure(value)
    return gojson.dumps(plain(value)).decode()


@sprig("mustToRawJson", "toRawJson", takes="a")
def _must_to_raw_json(value: Any) -> str:
    _measure(value)
    return gojson.dumps(plain(value), escape_html=False).decode()


@sprig("mustToPrettyJson", takes="a")
def _must_to_pretty_json(value: Any) -> str:
    _measure(value)
    return gojson.indented(plain(value), Made())


sprig("toJson", takes="a")(_lenient(_must_to_json))
sprig("toPrettyJson", takes="a")(_lenient(_must_to_pretty_json))
