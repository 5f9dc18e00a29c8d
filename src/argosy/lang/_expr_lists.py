"""The built-in functions on lists and maps that need no closure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from argosy.errors import LangError
from argosy.lang._expr_meter import Meter
from argosy.lang._expr_values import (
    AnyMap,
    Groups,
    Key,
    Pair,
    Pairs,
    described,
    wrap,
)
from argosy.lang._gotemplate_methods import Duration, Month, Weekday
from argosy.lang._gotemplate_print import Int64

LISTS: dict[str, Callable[[list[Any], Meter], Any]] = {}

_INTEGERS = frozenset((int, Int64, Duration, Month, Weekday))  # what Go's reflection takes for an int


def _enter(run: Callable[[list[Any], Meter], Any]) -> Callable[[list[Any], Meter], Any]:
    LISTS[run.__name__.strip("_")] = run
    return run


def _elements(value: Any, name: str, meter: Meter) -> list[Any]:
    if not isinstance(value, list):
        raise LangError(f"{name!r} does not take {described(value)}")
    meter.step(len(value) // 4)
    return value


def _number(value: Any, name: str) -> int | float:
    if type(value) is float or type(value) in _INTEGERS:
        return value if type(value) is float else int(value)
    raise LangError(f"an element that {name!r} is given is {described(value)}, not a number")


@_enter
def _sum(given: list[Any], meter: Meter) -> int | float:
    total: int | float = 0
    for one in _elements(given[0], "sum", meter):
        number = _number(one, "sum")
        if isinstance(total, float) or isinstance(number, float):
            total = float(total) + float(number)
        else:
            total = wrap(total + number)
    return total


@_enter
def _mean(given: list[Any], meter: Meter) -> float:
    found = _elements(given[0], "mean", meter)
    total = 0.0
    for one in found:
        total += float(_number(one, "mean"))
    return total / len(found) if found else 0.0


@_enter
def _median(given: list[Any], meter: Meter) -> float:
    found = sorted(float(_number(one, "median")) for one in _elements(given[0], "median", meter))
    if not found:
        return 0.0
    middle = len(found) // 2
    return found[middle] if len(found) % 2 else (found[middle - 1] + found[middle]) / 2


@_enter
def _take(given: list[Any], meter: Meter) -> Any:
    found = _elements(given[0], "take", meter)
    count = given[1]
    if type(count) not in _INTEGERS:
        raise LangError(f"'take' does not take {described(count)} elements")
    if count > len(found):
        return found
    if count < 0 or isinstance(found, Pair):
        raise LangError(f"'take' cannot take {int(count)} elements of {described(found)}")
    return type(found)(found[:count])


def _map(value: Any, name: str, meter: Meter) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise LangError(f"{name!r} does not take {described(value)}")
    meter.grow(len(value))
    meter.step(len(value) // 4)
    return value


def _unwrapped(key: Any) -> Any:
    return key.value if isinstance(key, Key) else key


@_enter
def _keys(given: list[Any], meter: Meter) -> list[Any]:
    return [_unwrapped(key) for key in _map(given[0], "keys", meter)]


@_enter
def _values(given: list[Any], meter: Meter) -> list[Any]:
    return list(_map(given[0], "values", meter).values())


@_enter
def _toPairs(given: list[Any], meter: Meter) -> Pairs:
    return Pairs(Pair((_unwrapped(key), value)) for key, value in _map(given[0], "toPairs", meter).items())


@_enter
def _fromPairs(given: list[Any], meter: Meter) -> AnyMap:
    found = AnyMap()
    pairs = _elements(given[0], "fromPairs", meter)
    meter.grow(len(pairs))
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2:
            raise LangError(f"'fromPairs' needs lists of two, not {described(pair)}")
        found[Key(pair[0])] = pair[1]
    return found


def _downwards(order: Any) -> bool:
    if order not in ("asc", "desc") or type(order) is not str:
        raise LangError("the order is 'asc' or 'desc'")
    return bool(order == "desc")


@_enter
def _sort(given: list[Any], meter: Meter) -> list[Any]:
    found = _elements(given[0], "sort", meter)
    return _sorted(found, "", len(given) == 2 and _downwards(given[1]), meter)


@_enter
def _sortBy(given: list[Any], meter: Meter) -> list[Any]:
    found = _elements(given[0], "sortBy", meter)
    if type(given[1]) is not str:
        raise LangError(f"the name of a field is text, not {described(given[1])}")
    return _sorted(found, given[1], len(given) == 3 and _downwards(given[2]), meter)


_MISSING = object()


def _sorted(found: list[Any], field: str, downwards: bool, meter: Meter) -> list[Any]:
    meter.grow(len(found))
    meter.step(len(found) * max(len(found).bit_length(), 1) // 4)
    values = []
    for one in found:
        value: Any = one
        if isinstance(one, (AnyMap, Groups)):
            value = one.get(Key(field), _MISSING)
        elif isinstance(one, dict):
            value = one.get(field, _MISSING)
        if value is _MISSING:
            raise LangError(f"an element has no {field!r} to sort by")
        values.append(value)
    kinds = {type(value) for value in values}
    if len(kinds) > 1:
        raise LangError("a list of different types cannot be sorted")
    if len(values) > 1 and not kinds <= {str, float, *_INTEGERS}:
        raise LangError(f"{described(values[0])} has no order")
    if kinds == {str}:
        meter.read(*values)
        values = [value.encode("utf-8", "surrogateescape") for value in values]
    order = (
        sorted(range(len(found)), key=values.__getitem__, reverse=downwards) if len(found) > 1 else [*range(len(found))]
    )
    return [found[place] for place in order]
