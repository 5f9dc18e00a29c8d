"""Reaching into values: members, elements, slices, ``in``, and calls of functions that are values."""

from __future__ import annotations

import datetime as dt
from typing import Any

from argosy.errors import LangError
from argosy.lang import _gotemplate_print as goprint
from argosy.lang._expr_meter import Meter
from argosy.lang._expr_time import method
from argosy.lang._expr_values import (
    AnyMap,
    Byte,
    Groups,
    IntegerSet,
    Key,
    NilList,
    Pair,
    described,
    equal,
    integer,
)
from argosy.lang._gotemplate_functions import Function, fits, raw, text_of


def contains(needle: Any, container: Any, meter: Meter) -> bool:
    """``in``. Raises LangError."""
    if container is None:
        return False
    if isinstance(container, list):
        for one in container:
            meter.step()
            if equal(one, needle, meter):
                return True
        return False
    if isinstance(container, (AnyMap, Groups)):
        return Key(needle) in container
    if isinstance(container, IntegerSet):
        if needle is not None and type(needle) is not int:
            raise LangError(f"{described(needle)} cannot be looked up among ints")
        return (0 if needle is None else needle) in container
    if isinstance(container, dict):
        if needle is not None and type(needle) is not str:
            raise LangError(f"{described(needle)} cannot be looked up among texts")
        return ("" if needle is None else needle) in container
    if isinstance(container, dt.datetime) and type(needle) is str:
        return False  # a struct whose fields cannot be seen
    raise LangError(f"'in' cannot be used with {described(container)}")


def fetch(container: Any, index: Any, meter: Meter) -> Any:
    """``container.index`` and ``container[index]``. Raises LangError: no container, no such element."""
    if type(container) is dict:
        if type(index) is str:
            return container.get(index)
        if index is None:
            return container.get("")
        raise LangError(f"the key of a map is text, not {described(index)}")
    if container is None:
        raise LangError(f"{_shown(index)} is wanted of nil")
    if isinstance(container, (list, str)):
        return _element(container, index, meter)
    if isinstance(container, (AnyMap, Groups)):
        return container.get(Key(index), NilList() if isinstance(container, Groups) else None)
    if isinstance(container, dict):
        zero = "" if getattr(container, "go_type", "") == "map[string]string" else None
        if index is not None and type(index) is not str:
            raise LangError(f"the key of a map is text, not {described(index)}")
        return container.get("" if index is None else index, zero)
    if type(index) is str:
        found = method(container, index)
        if found is not None:
            return found
    raise LangError(f"{_shown(index)} is wanted of {described(container)}")


def _shown(index: Any) -> str:
    return f"the member {index!r}" if isinstance(index, str) else f"the element {goprint.show(index)}"


def _element(container: list[Any] | str, index: Any, meter: Meter) -> Any:
    position = integer(index, "the index of a list")
    elements: Any = container
    if isinstance(container, str):
        meter.read(container)
        elements = raw(container)
    wanted = position + len(elements) if position < 0 else position
    if not 0 <= wanted < len(elements):
        raise LangError(f"the index {position} is out of range, there are {len(elements)} elements")
    found = elements[wanted]
    return Byte(found) if isinstance(container, str) else found


def cut(container: Any, start: Any, stop: Any, meter: Meter) -> Any:
    """``container[start:stop]``; None stands for an open end. Raises LangError."""
    if isinstance(container, Pair) or not isinstance(container, (list, str)):
        raise LangError(f"{described(container)} cannot be sliced")
    elements: Any = container
    if isinstance(container, str):
        meter.text(len(container))
        elements = container if container.isascii() else raw(container)
    length = len(elements)
    last = length if stop is None else integer(stop, "the end of a slice")
    first = 0 if start is None else integer(start, "the start of a slice")
    first = max(first + length if first < 0 else first, 0)
    last = min(max(last + length if last < 0 else last, 0), length)
    first = min(first, last)
    part = elements[first:last]
    if isinstance(container, str):
        return part if isinstance(part, str) else text_of(part)
    meter.step((last - first) // 16)
    return type(container)(part)


class Metered(Function):
    """A function that is given the meter first, and charges what it does."""

    __slots__ = ()


def call(function: Any, arguments: list[Any], meter: Meter) -> Any:
    """Calls a function that is a value, as Go's ``reflect`` does: nothing is converted. Raises LangError."""
    if not isinstance(function, Function):
        raise LangError(f"{described(function)} cannot be called")
    count = len(arguments)
    if count < len(function.parameters) or (count > len(function.parameters) and not function.rest):
        raise LangError(f"{function.name!r} does not take {count} arguments")
    for index, argument in enumerate(arguments):
        letter = function.letter(index)
        if not fits(argument, letter):
            raise LangError(f"argument {index + 1} of {function.name!r} cannot be {described(argument)}")
        meter.weigh(argument)
    meter.step(1 + function.cost // 2)  # a run may take about half as many steps as a template
    result = function.run(meter, *arguments) if isinstance(function, Metered) else function.run(*arguments)
    if isinstance(result, str):
        meter.text(len(result))
    elif isinstance(result, (list, dict)):
        meter.grow(len(result))
    return result
