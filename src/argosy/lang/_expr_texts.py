"""The built-in functions on texts. Positions and lengths count bytes, as Go's do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from argosy.errors import LangError
from argosy.lang import _expr_types as types
from argosy.lang import _sprig_cases as cases
from argosy.lang._expr_functions import BuiltinFunction, registrar
from argosy.lang._expr_meter import Meter
from argosy.lang._expr_types import INT, LIST, STRING, STRINGS
from argosy.lang._expr_values import described, integer, name_of, text
from argosy.lang._gotemplate_bound import bounded
from argosy.lang._gotemplate_functions import NoStrings, Strings, raw, text_of

TEXTS: dict[str, BuiltinFunction] = {}
_builtin = registrar(TEXTS)

_BLANKS = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_MOST_REPETITIONS = 1_000_000


def texts_of(given: list[Any], name: str, meter: Meter) -> list[str]:
    """All arguments, which must be texts."""
    found = [text(one, f"argument {place} of {name!r}") for place, one in enumerate(given, 1)]
    meter.read(*found)
    return found


@_builtin.takes([STRING], [STRING, STRING], gives=STRING)
def _trim(given: list[Any], meter: Meter) -> str:
    found = texts_of(given, "trim", meter)
    return found[0].strip(_BLANKS if len(found) == 1 else found[1]) if found[1:] != [""] else found[0]


@_builtin.takes([STRING, STRING], [STRING], gives=STRING)
def _trimPrefix(given: list[Any], meter: Meter) -> str:
    found = [*texts_of(given, "trimPrefix", meter), " "]
    return found[0].removeprefix(found[1])


@_builtin.takes([STRING, STRING], [STRING], gives=STRING)
def _trimSuffix(given: list[Any], meter: Meter) -> str:
    found = [*texts_of(given, "trimSuffix", meter), " "]
    return found[0].removesuffix(found[1])


def _mapped(value: str, change: Callable[[str], str], quick: Callable[[str], str], meter: Meter) -> str:
    meter.text(len(value))
    return quick(value) if value.isascii() else "".join(map(change, value))


@_builtin.takes([STRING], gives=STRING)
def _upper(given: list[Any], meter: Meter) -> str:
    return _mapped(text(given[0], "the argument of 'upper'"), cases.upper, str.upper, meter)


@_builtin.takes([STRING], gives=STRING)
def _lower(given: list[Any], meter: Meter) -> str:
    return _mapped(text(given[0], "the argument of 'lower'"), cases.lower, str.lower, meter)


def _parts(given: list[Any], name: str, meter: Meter, keep: bool) -> Strings:
    value, separator = texts_of(given[:2], name, meter)
    count = integer(given[2], f"argument 3 of {name!r}") if len(given) == 3 else -1
    if count == 0:
        return NoStrings()
    if separator:
        meter.grow(value.count(separator))
        parts = value.split(separator, count - 1 if count > 0 else -1)
        kept = separator if keep else ""
    else:
        meter.grow(len(value))
        parts = list(value)
        if 0 < count < len(parts):
            parts[count - 1 :] = ["".join(parts[count - 1 :])]
        kept = ""
    meter.text(len(value))
    meter.step(len(parts) // 4)
    return Strings([*(part + kept for part in parts[:-1]), *parts[-1:]])


@_builtin.takes([STRING, STRING], [STRING, STRING, INT], gives=STRINGS)
def _split(given: list[Any], meter: Meter) -> Strings:
    return _parts(given, "split", meter, False)


@_builtin.takes([STRING, STRING], [STRING, STRING, INT], gives=STRINGS)
def _splitAfter(given: list[Any], meter: Meter) -> Strings:
    return _parts(given, "splitAfter", meter, True)


@_builtin.takes([STRING, STRING, STRING, INT], [STRING, STRING, STRING], gives=STRING)
def _replace(given: list[Any], meter: Meter) -> str:
    value, old, new = texts_of(given[:3], "replace", meter)
    count = integer(given[3], "argument 4 of 'replace'") if len(given) == 4 else -1
    found = value.count(old)
    times = found if count < 0 else min(count, found)
    size = len(value) + times * max(len(new) - len(old), 0)
    bounded(size)
    meter.text(size)
    return value.replace(old, new, count if count >= 0 else -1)


@_builtin.takes([STRING, INT], gives=STRING)
def _repeat(given: list[Any], meter: Meter) -> str:
    count = integer(given[1], "argument 2 of 'repeat'")
    value = text(given[0], "argument 1 of 'repeat'")
    if not 0 <= count <= _MOST_REPETITIONS:
        raise LangError(f"'repeat' repeats 0 to {_MOST_REPETITIONS} times, not {count}")
    bounded(len(value) * count)
    meter.text(len(value) * count)
    return value * count


@_builtin.takes([STRINGS, STRING], [LIST, STRING], [LIST], [STRINGS], gives=STRING)
def _join(given: list[Any], meter: Meter) -> str:
    glue = text(given[1], "argument 2 of 'join'") if len(given) == 2 else ""
    if name_of(given[0]) not in ("[]string", "[]interface {}"):
        raise LangError(f"'join' does not take {described(given[0])}")
    parts = [text(part, "an element that 'join' is given") for part in given[0]]
    meter.step(len(parts))
    size = sum(map(len, parts)) + len(glue) * len(parts)
    bounded(size)
    meter.text(size)
    joined = glue.join(parts)
    return joined if joined.isascii() else text_of(raw(joined))


def _position(given: list[Any], name: str, meter: Meter, last: bool) -> int:
    value, wanted = texts_of(given, name, meter)
    if value.isascii():
        return value.rfind(wanted) if last else value.find(wanted)
    return raw(value).rfind(raw(wanted)) if last else raw(value).find(raw(wanted))


@_builtin.takes([STRING, STRING], gives=INT)
def _indexOf(given: list[Any], meter: Meter) -> int:
    return _position(given, "indexOf", meter, False)


@_builtin.takes([STRING, STRING], gives=INT)
def _lastIndexOf(given: list[Any], meter: Meter) -> int:
    return _position(given, "lastIndexOf", meter, True)


@_builtin.takes([STRING, STRING], gives=types.BOOL)
def _hasPrefix(given: list[Any], meter: Meter) -> bool:
    value, prefix = texts_of(given, "hasPrefix", meter)
    return value.startswith(prefix)


@_builtin.takes([STRING, STRING], gives=types.BOOL)
def _hasSuffix(given: list[Any], meter: Meter) -> bool:
    value, suffix = texts_of(given, "hasSuffix", meter)
    return value.endswith(suffix)
