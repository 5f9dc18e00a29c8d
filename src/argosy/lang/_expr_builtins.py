"""The built-in functions of expressions, all of version 1.15.5: what they accept, and what they do.

Functions that run a closure for each element stand here by name only; ``_expr_closures`` runs them."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import math
import re
import zoneinfo
from collections.abc import Callable
from typing import Any

from argosy.errors import LangError
from argosy.lang import _expr_types as types
from argosy.lang import _gotemplate_print as goprint
from argosy.lang import _gotemplate_time as gotime
from argosy.lang import durations
from argosy.lang._expr_access import fetch
from argosy.lang._expr_functions import BuiltinFunction, Validate, registrar
from argosy.lang._expr_json import from_json, to_json
from argosy.lang._expr_lists import LISTS
from argosy.lang._expr_meter import Meter
from argosy.lang._expr_texts import TEXTS, texts_of
from argosy.lang._expr_types import ANY, DURATION, ERROR, FLOAT, INT, LIST, STRING, TIME, Signature, Type, show
from argosy.lang._expr_values import PLAIN_INTEGERS, compare, described, name_of, text, wrap
from argosy.lang._gofloat import to_int64
from argosy.lang._gotemplate_functions import Function, raw, text_of
from argosy.lang._gotemplate_methods import Duration
from argosy.lang._sprig_numbers import parse_float

_SEPARATED = re.compile(
    r"[^_xX]*(?:(?<=[0-9])_(?=[0-9])[^_xX]*)+|[+-]?0[xX]_?[^_]*(?:(?<=[0-9a-fA-F])_(?=[0-9a-fA-F])[^_]*)*"
)
FAST = frozenset(("len", "type", "abs", "ceil", "floor", "round", "int", "float", "string", "upper", "lower"))
"""Those that the Go library cannot call through a variable."""

PREDICATES = (
    *("all", "none", "any", "one", "filter", "map", "find", "findIndex", "findLast", "findLastIndex"),
    *("count", "groupBy", "reduce"),
)
"""Those whose second argument is run for each element."""
BUILTINS: dict[str, BuiltinFunction] = {name: BuiltinFunction(name) for name in PREDICATES}
BUILTINS.update(TEXTS)
_builtin = registrar(BUILTINS)


def _counted(found: list[Type | None], *counts: int) -> None:
    if len(found) not in counts:
        wanted = " or ".join(map(str, counts))
        raise LangError(f"takes {wanted} argument{'s' if counts != (1,) else ''}, not {len(found)}")


def _one(gives: Type | None, *kinds: Callable[[Type | None], bool]) -> Validate:
    """One argument that is unknown or of one of the kinds; without ``gives`` the result is of its type."""

    def validate(found: list[Type | None]) -> Type:
        _counted(found, 1)
        if not types.is_any(found[0]) and not any(kind(found[0]) for kind in kinds):
            raise LangError(f"does not take {types.an(found[0])}")
        result = gives or found[0]
        assert result is not None  # nil is of no kind
        return result

    return validate


def _element(found: list[Type | None]) -> Type:
    _counted(found, 1)
    if types.is_any(found[0]):
        return ANY
    if types.is_list(found[0]):
        assert found[0] is not None and found[0].element is not None  # a list has elements
        return found[0].element
    raise LangError(f"does not take {types.an(found[0])}")


def _numbers(found: list[Type | None]) -> Type:
    if not found:
        raise LangError("needs an argument")
    for one in found:
        if types.is_any(one):
            return ANY
        if not types.is_number(one):
            raise LangError(f"does not take {types.an(one)}")
    assert found[0] is not None  # nil is no number
    return found[0]


def _taking(found: list[Type | None]) -> Type:
    _counted(found, 2)
    if not types.is_any(found[0]) and not types.is_list(found[0]):
        raise LangError(f"does not take from {types.an(found[0])}")
    if not types.is_any(found[1]) and (not types.is_integer(found[1]) or found[1] == types.BYTES.element):
        raise LangError(f"does not take {show(found[1])} elements")
    assert found[0] is not None  # nil is no list
    return found[0]


def _sorting(fewest: int) -> Validate:
    def validate(found: list[Type | None]) -> Type:
        _counted(found, fewest, fewest + 1)
        if not types.is_any(found[0]) and not types.is_list(found[0]):
            raise LangError(f"does not sort {types.an(found[0])}")
        for one in found[1:]:
            if not types.is_any(one) and not types.is_string(one):
                raise LangError(f"takes text there, not {types.an(one)}")
        return LIST

    return validate


def _getting(found: list[Type | None]) -> Type:
    return ANY  # the checker looks at its arguments


for _name, _kinds, _gives in (
    ("sum", (types.is_list,), ANY),
    ("mean", (types.is_list,), FLOAT),
    ("median", (types.is_list,), FLOAT),
    ("keys", (types.is_map,), LIST),
    ("values", (types.is_map,), LIST),
    ("toPairs", (types.is_map,), LIST),
    ("fromPairs", (types.is_list,), types.ANY_MAP),
):
    BUILTINS[_name] = BuiltinFunction(_name, LISTS[_name], validate=_one(_gives, *_kinds))
BUILTINS["take"] = BuiltinFunction("take", LISTS["take"], validate=_taking)
BUILTINS["sort"] = BuiltinFunction("sort", LISTS["sort"], validate=_sorting(1))
BUILTINS["sortBy"] = BuiltinFunction("sortBy", LISTS["sortBy"], validate=_sorting(2))


@_builtin.checked(_one(INT, types.is_list, types.is_map, types.is_string))
def _len(given: list[Any], meter: Meter) -> int:
    return length(given[0], meter)


def length(value: Any, meter: Meter) -> int:
    """The bytes of a text, the elements of a list or map. Raises LangError."""
    if isinstance(value, str):
        meter.read(value)
        return len(value) if value.isascii() else len(raw(value))
    if isinstance(value, (list, dict)):
        return len(value)
    raise LangError(f"{described(value)} has no length")


@_builtin.takes([ANY], gives=STRING)
def _type(given: list[Any], meter: Meter) -> str:
    value = given[0]
    if value is None:
        return "nil"
    if isinstance(value, Function):
        return "func"
    if isinstance(value, (list, dict)):
        return "array" if isinstance(value, list) else "map"
    if type(value) in PLAIN_INTEGERS:
        return "uint" if name_of(value).startswith("uint") else "int"
    return {"float64": "float"}.get(name := name_of(value), name.lstrip("*"))


@_builtin.checked(_one(None, types.is_number))
def _abs(given: list[Any], meter: Meter) -> Any:
    value = given[0]
    if type(value) is float:
        return -value if value < 0 else value
    if type(value) in PLAIN_INTEGERS:
        return type(value)(wrap(abs(int(value))))
    raise LangError(f"'abs' does not take {described(value)}")


def _float_of(value: Any, name: str) -> float:
    if type(value) is float:
        return value
    if type(value) in PLAIN_INTEGERS:
        return float(value)
    raise LangError(f"{name!r} does not take {described(value)}")


def _whole(value: float, way: Callable[[float], int]) -> float:
    if not math.isfinite(value) or abs(value) >= 2.0**53:
        return value
    return math.copysign(float(way(value)), value)


@_builtin.checked(_one(FLOAT, types.is_number))
def _ceil(given: list[Any], meter: Meter) -> float:
    return _whole(_float_of(given[0], "ceil"), math.ceil)


@_builtin.checked(_one(FLOAT, types.is_number))
def _floor(given: list[Any], meter: Meter) -> float:
    return _whole(_float_of(given[0], "floor"), math.floor)


@_builtin.checked(_one(FLOAT, types.is_number))
def _round(given: list[Any], meter: Meter) -> float:
    value = _float_of(given[0], "round")
    away = math.trunc(value) if math.isfinite(value) else 0
    if math.isfinite(value) and abs(value - away) >= 0.5:
        away += 1 if value > 0 else -1
    return _whole(value, lambda _: away)


def to_int(value: Any) -> int:
    """The built-in ``int``. Raises LangError."""
    if type(value) is str:
        if not re.fullmatch(r"[+-]?[0-9]{1,400}", value, re.ASCII) or not -(2**63) <= int(value) < 2**63:
            raise LangError("the text that 'int' is given is not an int")
        return int(value)
    if type(value) is float:
        return to_int64(value)
    if type(value) in PLAIN_INTEGERS:
        return int(value)
    raise LangError(f"'int' does not take {described(value)}")


def to_float(value: Any) -> float:
    """The built-in ``float``. Raises LangError."""
    if type(value) is str:
        found = parse_float(value.replace("_", "") if _SEPARATED.fullmatch(value) else value)
        if found is None:
            raise LangError("the text that 'float' is given is not a float")
        return found
    return _float_of(value, "float")


@_builtin.checked(_one(INT, types.is_number, types.is_string))
def _int(given: list[Any], meter: Meter) -> int:
    return to_int(given[0])


@_builtin.checked(_one(FLOAT, types.is_number, types.is_string))
def _float(given: list[Any], meter: Meter) -> float:
    return to_float(given[0])


@_builtin.takes([ANY], gives=STRING)
def _string(given: list[Any], meter: Meter) -> str:
    meter.weigh(given[0])
    shown = "func" if isinstance(given[0], Function) else goprint.show(given[0])
    meter.text(len(shown))
    return shown


def _extreme(given: list[Any], operator: str, meter: Meter) -> Any:
    found = None
    for one in given:
        if found is None or compare(found, one, operator, meter):
            found = one
    return found


@_builtin.checked(_numbers)
def _max(given: list[Any], meter: Meter) -> Any:
    return _extreme(given, "<", meter)


@_builtin.checked(_numbers)
def _min(given: list[Any], meter: Meter) -> Any:
    return _extreme(given, ">", meter)


@_builtin.takes([ANY], gives=STRING)
def _toJSON(given: list[Any], meter: Meter) -> str:
    return to_json(given[0], meter, indent=True)


@_builtin.takes([STRING], gives=ANY)
def _fromJSON(given: list[Any], meter: Meter) -> Any:
    return from_json(text(given[0], "the argument of 'fromJSON'"), meter)


@_builtin.takes([STRING], gives=STRING)
def _toBase64(given: list[Any], meter: Meter) -> str:
    data = raw(text(given[0], "the argument of 'toBase64'"))
    meter.text(len(data) * 4 // 3)
    return base64.b64encode(data).decode()


@_builtin.takes([STRING], gives=STRING)
def _fromBase64(given: list[Any], meter: Meter) -> str:
    value = text(given[0], "the argument of 'fromBase64'").replace("\n", "").replace("\r", "")
    meter.text(len(value))
    try:
        if len(value) % 4:
            raise ValueError("the length is no multiple of 4")
        return text_of(base64.b64decode(value.encode("ascii"), validate=True))
    except (ValueError, binascii.Error) as error:
        raise LangError(f"'fromBase64' was given no base64: {error}") from None


@_builtin.takes([], gives=TIME)
def _now(given: list[Any], meter: Meter) -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _duration(given: list[Any], meter: Meter) -> Duration:
    try:
        seconds = durations.parse(text(given[0], "the argument of 'duration'"))
    except LangError as error:
        raise LangError(
            "the text that 'duration' is given is not a duration" if error.text else error.message
        ) from None
    return Duration(round(seconds * 1e9))


BUILTINS["duration"] = BuiltinFunction("duration", _duration, (Signature((STRING,), (DURATION, ERROR)),))

_LAYOUTS = (
    "2006-01-02",
    "15:04:05",
    "2006-01-02 15:04:05",
    "2006-01-02T15:04:05Z07:00",
    "02 Jan 06 15:04 MST",
    "Monday, 02-Jan-06 15:04:05 MST",
    "Mon, 02 Jan 2006 15:04:05 MST",
)


@_builtin.takes([STRING], [STRING, STRING], [STRING, STRING, STRING], gives=TIME)
def _date(given: list[Any], meter: Meter) -> dt.datetime:
    value, *how = texts_of(given, "date", meter)
    meter.step(50)  # up to seven layouts are tried
    zone: dt.tzinfo = dt.UTC
    if len(how) == 2:
        try:
            zone = zoneinfo.ZoneInfo(how[1]) if how[1] not in ("", "UTC", "Local") else dt.UTC
        except (KeyError, ValueError, OSError):
            raise LangError("the time zone that 'date' is given does not exist") from None
    # What an event holds may be a secret, so it stands in no error.
    for layout in how[:1] or _LAYOUTS:
        try:
            return gotime.parse(layout, value, zone)
        except LangError:
            continue
    raise LangError("the text that 'date' is given is not a date" + (" in that layout" if how else ""))


def _quietly(container: Any, index: Any, meter: Meter) -> Any:
    try:
        return fetch(container, index, meter)
    except LangError:
        return None


@_builtin.checked(_element)
def _first(given: list[Any], meter: Meter) -> Any:
    return _quietly(given[0], 0, meter)


@_builtin.checked(_element)
def _last(given: list[Any], meter: Meter) -> Any:
    return _quietly(given[0], -1, meter)


@_builtin.checked(_getting)
def _get(given: list[Any], meter: Meter) -> Any:
    return _quietly(given[0], given[1], meter)
