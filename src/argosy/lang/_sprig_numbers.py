"""sprig's arithmetic: on int64 with Go's conversions and wrap-around, on float64 with exact decimals in
between."""

from __future__ import annotations

import decimal
import math
import re
import secrets
from collections.abc import Callable
from typing import Any

from argosy.errors import LangError
from argosy.lang import _gofloat
from argosy.lang import _gotemplate_print as goprint
from argosy.lang._gofloat import power
from argosy.lang._gotemplate_bound import bounded_list
from argosy.lang._gotemplate_functions import Integers, Registry, registrar
from argosy.lang._gotemplate_print import Int64

FUNCTIONS: Registry = {}
sprig = registrar(FUNCTIONS)

_EXACT = decimal.Context(prec=1100, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)
_QUOTIENT = decimal.Decimal(10) ** -16
_FLOAT = re.compile(r"[+-]?(?:[0-9]+(?:_?[0-9])*\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NAMED_FLOAT = re.compile(r"[+-]?(?:inf|infinity)|nan", re.IGNORECASE)
_INTEGER = re.compile(r"([+-]?)(0[xX](?:_?[0-9a-fA-F])+|0[bB](?:_?[01])+|0[oO]?(?:_?[0-7])+|0|[1-9](?:_?[0-9])*)")


def wrap64(value: int) -> int:
    """``value`` as an int64, which wraps around."""
    return (value + 2**63) % 2**64 - 2**63


def to_int64(value: Any) -> int:
    """cast.ToInt64: what cannot be converted is 0."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _gofloat.to_int64(value)
    if isinstance(value, str):
        return _parse_int(_without_zero_decimals(value))
    return 0


def _without_zero_decimals(text: str) -> str:
    head, dot, tail = text.rpartition(".")
    return head if dot and tail and not tail.strip("0") else text


def _parse_int(text: str) -> int:
    match = _INTEGER.fullmatch(text)
    if not match:
        return 0
    digits = match[2].replace("_", "")
    if re.fullmatch("0[0-7]+", digits):
        digits = "0o" + digits[1:]
    value = int(match[1] + digits, 0)
    return value if -(2**63) <= value < 2**63 else 0


def to_float64(value: Any) -> float:
    """cast.ToFloat64: what cannot be converted is 0."""
    if isinstance(value, (bool, int, float)):
        return float(value)
    if isinstance(value, str):
        return parse_float(value) or 0.0
    return 0.0


def parse_float(text: str) -> float | None:
    """``strconv.ParseFloat``; None if it fails."""
    if _NAMED_FLOAT.fullmatch(text):
        return float(text)
    try:
        if re.match(r"[+-]?0[xX]", text):
            return float.fromhex(text) if "p" in text.lower() and "_" not in text else None
        if not _FLOAT.fullmatch(text) or "_" in text:
            return None
        value = float(text)
    except (ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


@sprig("int", takes="a")
def _int(value: Any) -> int:
    return to_int64(value)


@sprig("int64", takes="a")
def _int64(value: Any) -> Int64:
    return Int64(to_int64(value))


@sprig("float64", takes="a")
def _float64(value: Any) -> float:
    return to_float64(value)


@sprig("atoi", takes="s")
def _atoi(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        return 0
    # Beyond int64 strconv answers with the nearest int64 and an error, and the error is dropped.
    return min(max(int(text), -(2**63)), 2**63 - 1)


@sprig("toDecimal", takes="a")
def _to_decimal(value: Any) -> Int64:
    text = goprint.sprint([value])
    if not re.fullmatch(r"[+-]?[0-7]+", text):
        return Int64(0)
    number = int(text, 8)
    return Int64(number if -(2**63) <= number < 2**63 else 0)


@sprig("add", rest="a")
def _add(*values: Any) -> Int64:
    return Int64(wrap64(sum(to_int64(value) for value in values)))


@sprig("add1", takes="a")
def _add1(value: Any) -> Int64:
    return Int64(wrap64(to_int64(value) + 1))


@sprig("sub", takes="aa")
def _sub(a: Any, b: Any) -> Int64:
    return Int64(wrap64(to_int64(a) - to_int64(b)))


@sprig("mul", takes="a", rest="a")
def _mul(first: Any, *others: Any) -> Int64:
    product = to_int64(first)
    for other in others:
        product = wrap64(product * to_int64(other))
    return Int64(product)


@sprig("div", takes="aa")
def _div(a: Any, b: Any) -> Int64:
    return Int64(wrap64(_divided(to_int64(a), to_int64(b))[0]))


@sprig("mod", takes="aa")
def _mod(a: Any, b: Any) -> Int64:
    return Int64(_divided(to_int64(a), to_int64(b))[1])


def _divided(a: int, b: int) -> tuple[int, int]:
    """Quotient and rest, cut off towards zero."""
    if b == 0:
        raise LangError("integer divide by zero")
    quotient, rest = divmod(abs(a), abs(b))
    return (quotient if (a < 0) == (b < 0) else -quotient), (-rest if a < 0 else rest)


@sprig("max", "biggest", takes="a", rest="a")
def _max(*values: Any) -> Int64:
    return Int64(max(to_int64(value) for value in values))


@sprig("min", takes="a", rest="a")
def _min(*values: Any) -> Int64:
    return Int64(min(to_int64(value) for value in values))


def _extreme(values: tuple[Any, ...], choose: Callable[[float, float], float]) -> float:
    result = to_float64(values[0])
    for value in values[1:]:
        other = to_float64(value)
        # An infinity in the direction wins even over NaN.
        infinite = choose(-math.inf, math.inf)
        if infinite in (result, other):
            result = infinite
        elif math.isnan(result) or math.isnan(other):
            result = math.nan
        elif result == other == 0:
            result = math.copysign(0.0, choose(math.copysign(1, result), math.copysign(1, other)))
        else:
            result = choose(result, other)
    return result


@sprig("maxf", takes="a", rest="a")
def _maxf(*values: Any) -> float:
    return _extreme(values, max)


@sprig("minf", takes="a", rest="a")
def _minf(*values: Any) -> float:
    return _extreme(values, min)


def _exact(value: float) -> decimal.Decimal:
    if not math.isfinite(value):
        raise LangError("there is no decimal for NaN or an infinity")
    return decimal.Decimal(repr(value))


def _folded(first: Any, others: tuple[Any, ...], step: Callable[[Any, Any], decimal.Decimal]) -> float:
    result = _exact(to_float64(first))
    for other in others:
        result = step(result, _exact(to_float64(other)))
    return float(result) + 0.0  # decimals have no negative zero


def _quotient(a: decimal.Decimal, b: decimal.Decimal) -> decimal.Decimal:
    if not b:
        raise LangError("decimal division by 0")
    return _EXACT.divide(a, b).quantize(_QUOTIENT, rounding=decimal.ROUND_HALF_UP, context=_EXACT)


@sprig("addf", rest="a")
def _addf(*values: Any) -> float:
    return _folded(0.0, values, _EXACT.add)


@sprig("add1f", takes="a")
def _add1f(value: Any) -> float:
    return _folded(value, (1,), _EXACT.add)


@sprig("subf", takes="a", rest="a")
def _subf(first: Any, *others: Any) -> float:
    return _folded(first, others, _EXACT.subtract)


@sprig("mulf", takes="a", rest="a")
def _mulf(first: Any, *others: Any) -> float:
    return _folded(first, others, _EXACT.multiply)


@sprig("divf", takes="a", rest="a")
def _divf(first: Any, *others: Any) -> float:
    return _folded(first, others, _quotient)


@sprig("ceil", takes="a")
def _ceil(value: Any) -> float:
    number = to_float64(value)
    return math.copysign(float(math.ceil(number)), number) if math.isfinite(number) else number


@sprig("floor", takes="a")
def _floor(value: Any) -> float:
    number = to_float64(value)
    return math.copysign(float(math.floor(number)), number) if math.isfinite(number) else number


@sprig("round", takes="ai", rest="f")
def _round(value: Any, places: int, *limit: float) -> float:
    if abs(places) > 300:
        raise LangError(f"a number cannot be rounded to {places} places")
    factor = power(10.0, float(places))
    digit = factor * to_float64(value)
    if not math.isfinite(digit):
        return digit / factor
    fraction = math.modf(digit)[0]
    whole = math.ceil(digit) if fraction >= (limit[0] if limit else 0.5) else math.floor(digit)
    return math.copysign(float(whole), whole or digit) / factor


def _steps(start: int, stop: int, step: int) -> Integers:
    if (stop < start and step >= 0) or (stop >= start and step <= 0):
        return Integers()
    numbers = range(start, stop, step)
    bounded_list(len(numbers))
    return Integers(numbers)


@sprig("until", takes="i")
def _until(count: int) -> Integers:
    return _steps(0, count, -1 if count < 0 else 1)


@sprig("untilStep", takes="iii")
def _until_step(start: int, stop: int, step: int) -> Integers:
    return _steps(start, stop, step)


@sprig("seq", rest="i")
def _seq(*numbers: int) -> str:
    if len(numbers) == 1:
        start, step, end = 1, (1 if numbers[0] >= 1 else -1), numbers[0]
    elif len(numbers) == 2:
        start, end = numbers
        step = 1 if end >= start else -1
    elif len(numbers) == 3:
        start, step, end = numbers
        if end < start and step > 0:
            return ""
    else:
        return ""
    beyond = end + (1 if end >= start else -1)
    return " ".join(str(number) for number in _steps(start, beyond, step))


@sprig("randInt", takes="ii")
def _rand_int(low: int, high: int) -> int:
    if high <= low:
        raise LangError(f"there is no number from {low} to below {high}")
    return low + secrets.randbelow(high - low)
