"""JSON as Go's ``encoding/json`` writes and reads it, because existing consumers compare texts, not values.

Writing: object keys sorted by their bytes, no spaces, ``<``, ``>``, ``&``, U+2028 and U+2029 escaped,
floats in Go's form (``3`` for 3.0, ``1e+21``, ``1e-7``). orjson does the work; where its form differs the
text is mended (a bracket or an ampersand stands only inside strings, so replacing bytes is exact), and
values that it writes otherwise or refuses (floats, integers beyond 64 bits, half surrogates, deep nesting)
go through a slower writer. Reading: orjson, and for what only Go accepts (half surrogates and broken UTF-8
become U+FFFD) the standard library.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn, TypeAlias

import orjson

from argosy.errors import LangError

Json: TypeAlias = Any
"""None, bool, int, float, str, list of these, dict of str to these. Nothing checks it but ``dumps``."""

_HTML = ((b"<", b"\\u003c"), (b">", b"\\u003e"), (b"&", b"\\u0026"))
_SEPARATORS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"))
_HALF = re.compile("[\ud800-\udfff]")
_PASSED_ON = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
_SORTED = _PASSED_ON | orjson.OPT_SORT_KEYS
_TOKEN = re.compile(
    rb"""[ \t\n\r]*(?:
    (?P<string>"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*")
    |(?P<scalar>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|true|false|null)
    |(?P<mark>[\[\]{}:,]))""",
    re.VERBOSE,
)


def dumps(value: Json, *, sort_keys: bool = True, escape_html: bool = True) -> bytes:
    """The value as Go's ``json.Marshal`` of a ``map[string]interface{}`` writes it; integers stay integers.

    ``sort_keys=False`` keeps the order of the dict. ``escape_html=False`` is ``SetEscapeHTML(false)``. Raises
    LangError for NaN, infinities, keys that are not text, and types that JSON does not have.
    """
    try:
        text = None if _has_float(value) else orjson.dumps(value, option=_SORTED if sort_keys else _PASSED_ON)
    except (TypeError, RecursionError):
        text = None
    if text is None:
        text = _dumps_slowly(value, sort_keys)
    if escape_html:
        for character, escape in _HTML:
            if character in text:
                text = text.replace(character, escape)
    if b"\xe2\x80" in text:
        for character, escape in _SEPARATORS:
            text = text.replace(character, escape)
    return text


def indented(value: Json, made: Callable[[str], str]) -> str:
    """The value as Go's ``json.MarshalIndent`` writes it, with two blanks; every piece of the text goes through ``made``,
    which may raise. Raises LangError as ``dumps`` does.
    """
    return "".join(made(piece) for piece in _lines(value, "\n"))


def _lines(value: Json, line: str) -> Iterator[str]:
    if not isinstance(value, (dict, list)) or not value:
        yield dumps(value).decode()
        return
    inner = line + "  "
    if isinstance(value, dict):
        yield "{"
        for position, key in enumerate(sorted(value)):
            yield f"{',' if position else ''}{inner}{dumps(key).decode()}: "
            yield from _lines(value[key], inner)
        yield line + "}"
    else:
        yield "["
        for position, item in enumerate(value):
            yield f"{',' if position else ''}{inner}"
            yield from _lines(item, inner)
        yield line + "]"


def loads(text: bytes | str) -> Json:
    """The value that the text stands for; of equal keys the last one wins, as in a Go map.

    Integers beyond 64 bits become floats. Raises LangError with the character offset of the fault.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return _loads_slowly(text, error)


def valid(text: bytes | str) -> bool:
    """Whether the text is one JSON value by RFC 8259's grammar alone, as ``gjson.Valid`` judges it.

    Bytes inside strings need not be UTF-8, numbers may have any size.
    """
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return _follows_grammar(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text))
    return True


def format_float(x: float) -> str:
    """Go's ``%v`` of a float64: ``100000``, ``1e+06``, ``0.0001``, ``1e-05``, ``NaN``, ``+Inf``."""
    if not math.isfinite(x):
        return _not_finite(x)
    sign, digits, point = _shortest(x)
    if digits != "0" and not -4 < point <= 6:
        return sign + _scientific(digits, point, 2)
    return sign + _plain(digits, point)


def fixed_float(x: float) -> str:
    """Go's ``FormatFloat(x, 'f', -1, 64)``: the shortest digits that give ``x`` again, never an exponent."""
    if not math.isfinite(x):
        return _not_finite(x)
    sign, digits, point = _shortest(x)
    return sign + _plain(digits, point)


def json_float(x: float) -> str:
    """A float64 as ``encoding/json`` writes it: with an exponent below 1e-6 and from 1e21.

    Raises LangError for NaN and the infinities.
    """
    if not math.isfinite(x):
        raise LangError(f"JSON has no number for {_not_finite(x)}")
    sign, digits, point = _shortest(x)
    if digits != "0" and not -6 < point <= 21:
        return sign + _scientific(digits, point, 1)
    return sign + _plain(digits, point)


def _shortest(x: float) -> tuple[str, str, int]:
    """Sign, shortest digits, and where the decimal point stands from their start: 12.5 is ("", "125", 2)."""
    mantissa, _, exponent = repr(abs(x)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(digits) - len(fraction) + int(exponent or 0)
    digits = digits.rstrip("0")
    return "-" if math.copysign(1.0, x) < 0 else "", digits or "0", point if digits else 1


def _plain(digits: str, point: int) -> str:
    if point <= 0:
        return "0." + "0" * -point + digits
    if point >= len(digits):
        return digits + "0" * (point - len(digits))
    return f"{digits[:point]}.{digits[point:]}"


def _scientific(digits: str, point: int, width: int) -> str:
    exponent = point - 1
    mantissa = f"{digits[0]}.{digits[1:]}" if len(digits) > 1 else digits
    # encoding/json takes the zero out of e-09; its positive exponents start at 21, so two digits they have.
    return f"{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):0{width}d}"


def _not_finite(x: float) -> str:
    return "NaN" if math.isnan(x) else "+Inf" if x > 0 else "-Inf"


def _has_float(value: Json) -> bool:
    """Whether orjson would meet a float, whose form differs from Go's."""
    if type(value) is not dict and type(value) is not list:
        return type(value) is float
    pending: list[Any] = [value]
    while pending:
        here = pending.pop()
        members: Iterable[Any] = here.values() if type(here) is dict else here
        kinds = set(map(type, members))
        if float in kinds:
            return True
        if dict in kinds or list in kinds:
            pending.extend(each for each in members if type(each) is dict or type(each) is list)
    return False


def _dumps_slowly(value: Json, sort_keys: bool) -> bytes:
    parts: list[str] = []
    try:
        _write(value, sort_keys, parts.append)
    except RecursionError:
        raise LangError("the value is nested too deep to be written as JSON") from None
    return "".join(parts).encode()


def _write(value: Json, sort_keys: bool, out: Any) -> None:
    if isinstance(value, str):
        out(_quoted(value))
    elif value is None or isinstance(value, bool):
        out("null" if value is None else "true" if value else "false")
    elif isinstance(value, int):
        out(str(int(value)))
    elif isinstance(value, float):
        out(json_float(value))
    elif isinstance(value, dict):
        _write_object(value, sort_keys, out)
    elif isinstance(value, (list, tuple)):
        separator = "["
        for item in value:
            out(separator)
            _write(item, sort_keys, out)
            separator = ","
        out("]" if value else "[]")
    else:
        raise LangError(f"JSON has no form for a Python {type(value).__name__}")


def _write_object(members: dict[Any, Json], sort_keys: bool, out: Any) -> None:
    if any(not isinstance(name, str) for name in members):
        raise LangError("a key of a JSON object must be text")
    separator = "{"
    for name in sorted(members) if sort_keys else members:
        out(f"{separator}{_quoted(name)}:")
        _write(members[name], sort_keys, out)
        separator = ","
    out("}" if members else "{}")


def _quoted(text: str) -> str:
    try:
        return orjson.dumps(text).decode()
    except TypeError:  # half of a surrogate pair, which UTF-8 cannot carry
        return orjson.dumps(_HALF.sub("\ufffd", text)).decode()


def _loads_slowly(text: bytes | str, error: orjson.JSONDecodeError) -> Json:
    decoded = text if isinstance(text, str) else bytes(text).decode("utf-8", "replace")
    if "\\u" not in decoded and "\ufffd" not in decoded and not _HALF.search(decoded):
        raise LangError(_sentence(error.msg), text=decoded, offset=error.pos) from error
    try:
        return _whole(json.loads(decoded, parse_float=_finite, parse_int=_integer, parse_constant=_no_constant))
    except json.JSONDecodeError as second:
        raise LangError(_sentence(second.msg), text=decoded, offset=second.pos) from second
    except LangError as second:
        raise LangError(second.message, text=decoded) from error
    except RecursionError:
        raise LangError("the JSON is nested too deep", text=decoded) from None


def _sentence(reason: str) -> str:
    return f"not JSON: {reason[:1].lower()}{reason[1:]}"


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise LangError(f"not JSON for Go: {text} is beyond a 64-bit float")
    return number


def _integer(text: str) -> int | float:
    if len(text) < 19:
        return int(text)
    if len(text) > 20 or not -(2**63) <= int(text) < 2**64:
        return _finite(text)
    return int(text)


def _no_constant(text: str) -> NoReturn:
    raise LangError(f"not JSON: {text} is no JSON number")


def _whole(value: Json) -> Json:
    """The value with U+FFFD for each half of a surrogate pair, as Go reads it."""
    if isinstance(value, str):
        return _HALF.sub("\ufffd", value)
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {_HALF.sub("\ufffd", name): _whole(item) for name, item in value.items()}
    return value


def _follows_grammar(text: bytes) -> bool:
    """One pass with a stack, so that depth costs no recursion. ``due`` says what may stand next."""
    open_marks: list[bytes] = []
    due = "value"
    position = 0
    while match := _TOKEN.match(text, position):
        position = match.end()
        mark = match["mark"]
        if mark is None:
            if due == "colon" or due == "end":
                return False
            if due.startswith("key"):
                if match["string"] is None:
                    return False
                due = "colon"
            elif due.startswith("value"):
                due = "end"
        elif mark in b"[{":
            if not due.startswith("value"):
                return False
            open_marks.append(mark)
            due = "value or close" if mark == b"[" else "key or close"
        elif mark in b"]}":
            opened = b"[" if mark == b"]" else b"{"
            if not (due == "end" or due.endswith("or close")) or not open_marks or open_marks.pop() != opened:
                return False
            due = "end"
        elif mark == b":":
            if due != "colon":
                return False
            due = "value"
        else:
            if due != "end" or not open_marks:
                return False
            due = "value" if open_marks[-1] == b"[" else "key"
    return due == "end" and not open_marks and not text[position:].strip(b" \t\n\r")


def floats(value: Json) -> Json:
    """The value with every number a float, as Go decodes JSON into what has no type."""
    if isinstance(value, dict):
        return {key: floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [floats(item) for item in value]
    return float(value) if type(value) is int else value
