"""float64 as Go on amd64 computes with it, where Python differs: conversion to integers, and powers to the
last bit; and the forms in which Go prints it."""

from __future__ import annotations

import math
import re

from argosy.lang import gojson


def to_int64(value: float) -> int:
    """``int64(x)``: cut off towards zero; the smallest integer for NaN and all that does not fit."""
    if math.isnan(value) or not -(2.0**63) <= value < 2.0**63:
        return -(2**63)
    return int(value)


def to_uint64(value: float) -> int:
    """``uint64(x)``: negative numbers wrap around; 2^63 for NaN and all that does not fit."""
    if math.isnan(value) or not -(2.0**63) <= value < 2.0**64:
        return 2**63
    return int(value) % 2**64


def power(x: float, y: float) -> float:
    """``math.Pow(x, y)``, by repeated squaring of the mantissa as Go does it."""
    special = _special_power(x, y)
    if special is not None:
        return special
    fraction, whole = math.modf(abs(y))
    if fraction and x < 0:
        return math.nan
    if whole >= 2.0**63:
        if x == -1.0:
            return 1.0
        return 0.0 if (abs(x) < 1) == (y > 0) else math.inf
    mantissa, exponent = 1.0, 0
    if fraction:
        if fraction > 0.5:
            fraction -= 1
            whole += 1
        mantissa = math.exp(fraction * math.log(x))
    base, base_exponent = math.frexp(x)
    count = int(whole)
    while count:
        if abs(base_exponent) > 1 << 12:
            exponent += base_exponent
            break
        if count & 1:
            mantissa *= base
            exponent += base_exponent
        base *= base
        base_exponent *= 2
        if base < 0.5:
            base += base
            base_exponent -= 1
        count >>= 1
    if y < 0:
        mantissa, exponent = 1 / mantissa, -exponent
    try:
        return math.ldexp(mantissa, exponent)
    except OverflowError:
        return math.copysign(math.inf, mantissa)


def _special_power(x: float, y: float) -> float | None:
    if y == 0 or x == 1:
        return 1.0
    if y == 1:
        return x
    if math.isnan(x) or math.isnan(y):
        return math.nan
    if y in (0.5, -0.5) and not math.isinf(x) and x != 0:
        if x < 0:
            return math.nan
        return math.sqrt(x) if y > 0 else 1 / math.sqrt(x)
    if x == 0 or math.isinf(x) or math.isinf(y):
        return _power_at_the_edge(x, y)
    return None


def _power_at_the_edge(x: float, y: float) -> float:
    try:
        return float(math.pow(x, y))
    except ValueError:  # Python refuses 0 to a negative power
        odd = y.is_integer() and y % 2 == 1
        return math.copysign(math.inf, x) if odd else math.inf


def sharp(text: str) -> str:
    """``#``: a point always, and zeros up to six digits that count."""
    match = re.fullmatch(r"([-+]?(?:0x)?)([0-9a-f]+)(?:\.([0-9a-f]*))?([ep][-+]\d+)?", text)
    if not match:
        return text
    sign, whole, fraction, exponent = match[1], match[2], match[3] or "", match[4] or ""
    counted = len((whole + fraction).lstrip("0")) + (1 if "x" in sign else 0)
    return f"{sign}{whole}.{fraction}{'0' * max(6 - counted, 0)}{exponent}"


def binary(value: float) -> str:
    """``%b`` of a float: 53 bits of mantissa, and the exponent of 2 that goes with them."""
    exponent = math.frexp(value)[1]
    least = -1074
    exponent = max(exponent - 53, least) if value else least
    return f"{int(math.ldexp(value, -exponent)) if value else 0}p{exponent:+d}"


def hexadecimal(value: float, precision: int | None = None) -> str:
    """``%x`` of a float, with ``precision`` digits behind the point, or as many as it takes."""
    match = re.fullmatch(r"(-?)0x([01])\.([0-9a-f]+)p([+-]\d+)", value.hex())
    if not match:
        return gojson.format_float(value)
    sign, whole, fraction, exponent = match[1], match[2], match[3], int(match[4])
    if precision is None:
        fraction = fraction.rstrip("0")
    else:
        # Half goes to the even digit, as Python rounds quotients of powers of two.
        digits = round(int(whole + fraction, 16) / 16 ** (len(fraction) - precision))
        if digits >= 2 * 16**precision:
            digits, exponent = digits // 2, exponent + 1
        whole, fraction = str(digits // 16**precision), f"{digits % 16**precision:0{precision}x}" if precision else ""
    return f"{sign}0x{whole}{'.' + fraction if fraction else ''}p{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
