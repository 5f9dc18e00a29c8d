"""JSON in expressions: texts as Go writes them, and values as Go reads them (every number a float64)."""

from __future__ import annotations

import datetime as dt
from typing import Any

from argosy.errors import LangError
from argosy.lang import _gotemplate_time as gotime
from argosy.lang import gojson
from argosy.lang._expr_meter import Meter
from argosy.lang._expr_values import AnyMap, Groups, described
from argosy.lang._gotemplate_functions import Function


def to_json(value: Any, meter: Meter, *, indent: bool = False) -> str:
    """The value as ``encoding/json`` writes it. Raises LangError for what JSON has no word for."""
    meter.weigh(value)
    plain = _plain(value)
    if indent:
        return gojson.indented(plain, lambda text: _charged(text, meter))
    return _charged(gojson.dumps(plain).decode(), meter)


def _charged(text: str, meter: Meter) -> str:
    meter.text(len(text))
    return text


def from_json(text: str, meter: Meter) -> Any:
    """The value of a JSON text. Raises LangError."""
    meter.text(len(text))
    try:
        value = gojson.loads(text)
    except RecursionError:
        raise LangError("the JSON is nested too deep") from None
    meter.weigh(value)
    return gojson.floats(value)


def _plain(value: Any) -> Any:
    """The value with JSON's types only."""
    if isinstance(value, (AnyMap, Groups, Function)):
        raise LangError(f"JSON cannot hold {'a function' if isinstance(value, Function) else described(value)}")
    if getattr(value, "nil", False):
        return None
    if isinstance(value, dict):
        return {_text(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dt.datetime):
        return gotime.format(value, "2006-01-02T15:04:05.999999999Z07:00")
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, int):
        return int(value)
    return {}  # a Go struct without fields that can be seen


def _text(value: str) -> str:
    return value if value.isascii() else value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
