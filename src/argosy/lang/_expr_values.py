"""Values while an expression runs: Go's types in Python's clothes, and what the operators do to them.

None is nil, bool, int, float (float64), str (Go's strings are bytes: what is no UTF-8 travels as lone surrogates),
list ``[]interface {}``, dict ``map[string]interface {}``. Other Go types are subclasses with a ``go_type``. A
datetime is a ``time.Time``. Everything that costs time or memory is charged to the ``Meter`` first."""

from __future__ import annotations

import datetime as dt
from typing import Any

from argosy.errors import LangError
from argosy.lang import _gotemplate_print as goprint
from argosy.lang._expr_meter import Meter
from argosy.lang._gofloat import power, to_int64
from argosy.lang._gotemplate_functions import Function, Integers, raw, text_of
from argosy.lang._gotemplate_methods import Duration
from argosy.lang._gotemplate_print import Int64, Uint64


class Byte(int):
    """A Go uint8: what an index into a string gives."""

    go_type = "uint8"


class Zone:
    """A ``*time.Location``."""

    go_type = "*time.Location"

    def __init__(self, zone: dt.tzinfo | None) -> None:
        self.zone = zone

    def __str__(self) -> str:
        name = getattr(self.zone, "key", None) or ("UTC" if self.zone is dt.UTC else "")
        return str(name)


class Pair(list[Any]):
    """A ``[2]interface {}``."""

    go_type = "[2]interface {}"


class Pairs(list[Pair]):
    """A ``[][2]interface {}``."""

    go_type = "[][2]interface {}"


class NilList(list[Any]):
    """A nil ``[]interface {}``, which counts as nil and has no elements."""

    go_type = "[]interface {}"
    nil = True


class Key:
    """A key of a map whose keys can be anything: 1, 1.0 and true are three keys."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        if isinstance(value, (list, dict)):
            raise LangError(f"a {goprint.type_name(value)} cannot be the key of a map")
        self.value = value

    def __hash__(self) -> int:
        return hash(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and type(self.value) is type(other.value) and bool(self.value == other.value)

    def __lt__(self, other: Key) -> bool:
        mine, theirs = (goprint.type_name(key.value) for key in (self, other))
        return mine < theirs if mine != theirs else bool(self.value < other.value)

    def __str__(self) -> str:
        return goprint.show(self.value)


class AnyMap(dict[Key, Any]):
    """A ``map[interface {}]interface {}``."""

    go_type = "map[interface {}]interface {}"


class Groups(dict[Key, Any]):
    """A ``map[interface {}][]interface {}``; nil if there is nothing in it."""

    go_type = "map[interface {}][]interface {}"


class IntegerSet(dict[int, None]):
    """The constants that an int is looked up in."""

    go_type = "map[int]struct {}"


class StringSet(dict[str, None]):
    """The constants that a text is looked up in."""

    go_type = "map[string]struct {}"


PLAIN_INTEGERS = frozenset((int, Int64, Uint64, Byte))
NUMBERS = PLAIN_INTEGERS | {float}


def wrap(value: int) -> int:
    """``value`` as a 64-bit integer, which wraps around."""
    return value if -(2**63) <= value < 2**63 else (value + 2**63) % 2**64 - 2**63


def name_of(value: Any) -> str:
    """The Go type, for sentences."""
    if isinstance(value, Function):
        return "func"
    return goprint.type_name(value)


def is_nil(value: Any) -> bool:
    """Whether ``??`` and ``?.`` pass over it."""
    return value is None or getattr(value, "nil", False) or (isinstance(value, Groups) and not value)


def boolean(value: Any, where: str) -> bool:
    """``value`` if it is true or false. Raises LangError."""
    if value is True or value is False:
        return bool(value)
    raise LangError(f"{where} is {described(value)}, not true or false")


def text(value: Any, where: str) -> str:
    """``value`` if it is text. Raises LangError."""
    if type(value) is str:
        return value
    raise LangError(f"{where} is {described(value)}, not text")


def integer(value: Any, where: str) -> int:
    """``value`` as an int; floats are cut off. Raises LangError."""
    if type(value) is float:
        return to_int64(value)
    if type(value) in PLAIN_INTEGERS:
        return int(value)
    raise LangError(f"{where} is {described(value)}, not a number")


def described(value: Any) -> str:
    if value is None:
        return "nil"
    name = name_of(value)
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def equal(a: Any, b: Any, meter: Meter) -> bool:
    """``==``: numbers by value, everything else in type and in value."""
    kind, other = type(a), type(b)
    if kind is str and other is str:
        meter.read(a)
        return bool(a == b)
    if kind in NUMBERS and other in NUMBERS:
        if kind is float or other is float:
            return float(a) == float(b)
        return bool(a == b)
    if is_nil(a) and is_nil(b):
        return True
    if kind is not other:
        return False
    if isinstance(a, (list, dict)):
        return _same(a, b, meter)
    return bool(a == b)


def _same(a: Any, b: Any, meter: Meter) -> bool:
    """``reflect.DeepEqual``."""
    meter.step()
    if type(a) is not type(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(_same(x, y, meter) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return len(a) == len(b) and all(key in b and _same(a[key], b[key], meter) for key in a)
    if isinstance(a, str):
        meter.read(a)
    return bool(a == b)


def compare(a: Any, b: Any, operator: str, meter: Meter) -> bool:
    """``<``, ``>``, ``<=``, ``>=`` between numbers, texts, times or durations. Raises LangError."""
    kind, other = type(a), type(b)
    if kind in NUMBERS and other in NUMBERS:
        if kind is float or other is float:
            a, b = float(a), float(b)
    elif kind is str and other is str:
        meter.read(a, b)
        if not (a.isascii() and b.isascii()):
            a, b = raw(a), raw(b)
    elif not (kind is other and kind in (Duration, dt.datetime)):
        raise _unfit(operator, a, b)
    if operator == "<":
        return bool(a < b)
    if operator == ">":
        return bool(a > b)
    return bool(a <= b) if operator == "<=" else bool(a >= b)


def _unfit(operator: str, a: Any, b: Any) -> LangError:
    return LangError(f"{operator!r} cannot be used between {described(a)} and {described(b)}")


def add(a: Any, b: Any, meter: Meter) -> Any:
    """``+``. Raises LangError."""
    kind, other = type(a), type(b)
    if kind in NUMBERS and other in NUMBERS:
        return float(a) + float(b) if float in (kind, other) else wrap(int(a) + int(b))
    if kind is str and other is str:
        meter.text(len(a) + len(b))
        return a + b if a.isascii() or b.isascii() else text_of(raw(a + b))
    if kind is Duration and other is Duration:
        return Duration(wrap(int(a) + int(b)))
    if kind is dt.datetime and other is Duration:
        return later(a, b)
    if kind is Duration and other is dt.datetime:
        return later(b, a)
    raise _unfit("+", a, b)


def subtract(a: Any, b: Any, meter: Meter) -> Any:
    """``-``. Raises LangError."""
    kind, other = type(a), type(b)
    if kind in NUMBERS and other in NUMBERS:
        return float(a) - float(b) if float in (kind, other) else wrap(int(a) - int(b))
    if kind is Duration and other is Duration:
        return Duration(wrap(int(a) - int(b)))
    if kind is dt.datetime and other is Duration:
        return later(a, -b)
    if kind is dt.datetime and other is dt.datetime:
        return between(a, b)
    raise _unfit("-", a, b)


def later(moment: dt.datetime, nanoseconds: int) -> dt.datetime:
    """The moment so much later. Raises LangError beyond the years 1 to 9999."""
    try:
        return moment + dt.timedelta(microseconds=abs(nanoseconds) // 1000 * (-1 if nanoseconds < 0 else 1))
    except OverflowError:
        raise LangError("the time is outside of the years 1 to 9999") from None


def between(a: dt.datetime, b: dt.datetime) -> Duration:
    """How much later ``a`` is than ``b``; no more than a Duration can say."""
    nanoseconds = (a - b) // dt.timedelta(microseconds=1) * 1000
    return Duration(min(max(nanoseconds, -(2**63)), 2**63 - 1))


def multiply(a: Any, b: Any, meter: Meter) -> Any:
    """``*``. Raises LangError."""
    kind, other = type(a), type(b)
    if kind in NUMBERS and other in NUMBERS:
        return float(a) * float(b) if float in (kind, other) else wrap(int(a) * int(b))
    if Duration in (kind, other) and (kind in NUMBERS or kind is Duration) and (other in NUMBERS or other is Duration):
        if float in (kind, other):
            return float(a) * float(b)
        return Duration(wrap(int(a) * int(b)))
    raise _unfit("*", a, b)


def divide(a: Any, b: Any, meter: Meter) -> float:
    """``/``: always a float; by zero an infinity or NaN. Raises LangError."""
    if type(a) not in NUMBERS or type(b) not in NUMBERS:
        raise _unfit("/", a, b)
    return quotient(float(a), float(b))


def quotient(a: float, b: float) -> float:
    """Division of floats by IEEE 754."""
    if b:
        try:
            return a / b
        except OverflowError:
            return float("inf") if (a < 0) == (b < 0) else float("-inf")
    if a != a or a == 0:
        return float("nan")
    negative = (a < 0) != (str(b)[0] == "-")
    return float("-inf") if negative else float("inf")


def modulo(a: Any, b: Any, meter: Meter) -> int:
    """``%`` of ints, with the sign of the first. Raises LangError."""
    if type(a) not in PLAIN_INTEGERS or type(b) not in PLAIN_INTEGERS:
        raise _unfit("%", a, b)
    return remainder(int(a), int(b))


def remainder(a: int, b: int) -> int:
    """Go's ``%``. Raises LangError for a division by zero."""
    if b == 0:
        raise LangError("an integer is divided by zero")
    return abs(a) % abs(b) * (-1 if a < 0 else 1)


def exponent(a: Any, b: Any, meter: Meter) -> float:
    """``**``: always a float. Raises LangError."""
    if type(a) not in NUMBERS or type(b) not in NUMBERS:
        raise _unfit("**", a, b)
    return power(float(a), float(b))


def span(a: Any, b: Any, meter: Meter) -> Integers:
    """``a..b``, both included. Raises LangError."""
    first, last = integer(a, "the start of a range"), integer(b, "the end of a range")
    size = wrap(last - first + 1)
    if size <= 0:
        return Integers()
    meter.grow(size)
    meter.step(size // 16)
    return Integers(range(first, first + size))


def negate(value: Any) -> Any:
    """``-x``. Raises LangError."""
    kind = type(value)
    if kind is float:
        return -value
    if kind in (Byte, Uint64):
        return kind(-int(value) % (256 if kind is Byte else 2**64))
    if kind in PLAIN_INTEGERS:
        return kind(wrap(-int(value)))
    raise LangError(f"'-' cannot be used with {described(value)}")
