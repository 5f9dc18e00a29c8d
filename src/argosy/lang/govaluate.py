"""govaluate expressions (``filters.exprs``), compiled to closures.

Numbers are float64 whatever they were in JSON; nothing is converted between kinds. Two traps are kept,
because manifests may rest on them: a quoted text that looks like a date is a number (seconds since 1970; UTC
if it has no offset), and ``a ? b : c`` gives c when b is null. ``&&``, ``||``, ``??`` and ``? :`` do not work
out the side that does not count. Field access with a dot is refused, as JSON values have no Go fields: use
``[a.b]`` for names with specials."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

from argosy.errors import LangError
from argosy.lang import _gotemplate_print as goprint
from argosy.lang._gofloat import power, to_int64, to_uint64
from argosy.lang._govaluate_syntax import Token, tokens

Values = Mapping[str, Any]
Closure = Callable[[Values], Any]

# Loosest first. All operators of one level group to the left, `**` too.
_LEVELS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("separator", (",",)),
    ("ternary", ("?", ":", "??")),
    ("logical", ("||",)),
    ("logical", ("&&",)),
    ("comparator", ("==", "!=", ">", ">=", "<", "<=", "=~", "!~", "in")),
    ("modifier", ("^", "&", "|")),
    ("modifier", (">>", "<<")),
    ("modifier", ("+", "-")),
    ("modifier", ("*", "/", "%")),
    ("modifier", ("**",)),
)
_DEEPEST = 40


class Expression:
    """A compiled expression. ``names`` are the parameters it reads."""

    def __init__(self, text: str) -> None:
        self.text = text
        read = tokens(text)
        names = {str(token.value) for token in read if token.kind == "variable"}
        names.update(str(token.value).partition(".")[0] for token in read if token.kind == "accessor")
        self.names: frozenset[str] = frozenset(names)
        self._run = _Planner(text, read).whole()

    def evaluate(self, values: Values) -> Any:
        """The result for these parameters. Raises LangError: a parameter is missing, or of a kind the
        operator refuses."""
        try:
            return self._run(values)
        except LangError as error:
            raise LangError(error.message, text=self.text, offset=error.offset) from error
        except (OverflowError, RecursionError) as error:
            raise LangError(f"{self.text!r} cannot be computed: {error}", text=self.text) from error


@functools.lru_cache(maxsize=1024)
def compile(text: str) -> Expression:
    """``text`` as an expression. Raises LangError pointing at what does not parse."""
    return Expression(text)


def _nothing(values: Values) -> Any:
    return None


class _Planner:
    """Turns tokens into one closure, by levels of precedence."""

    def __init__(self, text: str, read: list[Token]) -> None:
        self._text = text
        self._tokens = read
        self._at = 0
        self._depth = 0

    def whole(self) -> Closure:
        result = self._level(0)
        if self._at < len(self._tokens):
            raise self._wrong("is not expected here")
        return result

    def _wrong(self, message: str) -> LangError:
        if self._at >= len(self._tokens):
            return LangError(f"{self._text!r} ends too early", text=self._text, offset=len(self._text))
        token = self._tokens[self._at]
        return LangError(f"{str(token.value)!r} {message}", text=self._text, offset=token.offset)

    def _peek(self, kind: str, symbols: tuple[str, ...]) -> bool:
        if self._at >= len(self._tokens):
            return False
        token = self._tokens[self._at]
        return token.kind == kind and token.value in symbols

    def _level(self, number: int) -> Closure:
        if number == len(_LEVELS):
            return self._value()
        kind, symbols = _LEVELS[number]
        left = self._level(number + 1)
        while self._peek(kind, symbols):
            token = self._tokens[self._at]
            self._at += 1
            left = _operation(token, left, self._level(number + 1))
        return left

    def _value(self) -> Closure:
        if self._at >= len(self._tokens):
            raise self._wrong("")
        token = self._tokens[self._at]
        if token.kind == "prefix":
            self._at += 1
            return _prefix(token, self._value())
        if token.kind == "open":
            return self._clause()
        if token.kind == "accessor":
            self._at += 1
            if self._peek("open", ("(",)):
                self._clause()
            return _accessor(token)
        if token.kind == "variable":
            self._at += 1
            return _parameter(token)
        if token.kind in ("literal", "time"):
            self._at += 1
            value = token.value
            return lambda values: value
        raise self._wrong("is not expected here")

    def _clause(self) -> Closure:
        self._at += 1
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._wrong("is nested too deeply")
        inner = _nothing if self._peek("close", (")",)) else self._level(0)
        if not self._peek("close", (")",)):
            raise self._wrong("should be ')'")
        self._at += 1
        self._depth -= 1
        return inner


def _parameter(token: Token) -> Closure:
    name = str(token.value)

    def read(values: Values) -> Any:
        try:
            value = values[name]
        except KeyError:
            raise LangError(f"there is no parameter {name!r}", offset=token.offset) from None
        return float(value) if type(value) is int else value

    return read


def _accessor(token: Token) -> Closure:
    def refuse(values: Values) -> Any:
        raise LangError(f"{token.value!r} cannot be read: only Go structs have fields", offset=token.offset)

    return refuse


def _operation(token: Token, left: Closure, right: Closure) -> Closure:
    sign = str(token.value)
    if sign in _LAZY:
        return _LAZY[sign](token, left, right)
    if sign in _EAGER:
        function = _EAGER[sign]
        return lambda values: function(token, left(values), right(values))
    compute = _NUMERIC[sign]

    def numeric(values: Values) -> Any:
        a, b = left(values), right(values)
        for value in (a, b):
            if type(value) is not float:
                raise _misfit(token, value, "a number")
        return compute(a, b)

    return numeric


def _misfit(token: Token, value: Any, wanted: str) -> LangError:
    shown = goprint.show(value)
    return LangError(f"{shown!r} cannot be used with {token.value!r}: it is not {wanted}", offset=token.offset)


def _prefix(token: Token, inner: Closure) -> Closure:
    sign = str(token.value)

    def apply(values: Values) -> Any:
        value = inner(values)
        if sign == "!":
            if type(value) is not bool:
                raise _misfit(token, value, "true or false")
            return not value
        if type(value) is not float:
            raise _misfit(token, value, "a number")
        return -value if sign == "-" else float(~to_int64(value))

    return apply


def _and(token: Token, left: Closure, right: Closure) -> Closure:
    return _logical(token, left, right, False)


def _or(token: Token, left: Closure, right: Closure) -> Closure:
    return _logical(token, left, right, True)


def _logical(token: Token, left: Closure, right: Closure, decisive: bool) -> Closure:
    def decide(values: Values) -> Any:
        a = left(values)
        if a is decisive:
            return decisive
        b = right(values)
        for value in (a, b):
            if type(value) is not bool:
                raise _misfit(token, value, "true or false")
        return b

    return decide


def _then(token: Token, left: Closure, right: Closure) -> Closure:
    def decide(values: Values) -> Any:
        test = left(values)
        if test is False:
            return None
        value = right(values)
        if test is not True:
            raise _misfit(token, test, "true or false")
        return value

    return decide


def _else(token: Token, left: Closure, right: Closure) -> Closure:
    def decide(values: Values) -> Any:
        value = left(values)
        return right(values) if value is None else value

    return decide


def _list(token: Token, left: Any, right: Any) -> Any:
    return [*left, right] if type(left) is list else [left, right]


def _in(token: Token, left: Any, right: Any) -> Any:
    if type(right) is not list:
        raise _misfit(token, right, "a list")
    if type(left) in (list, dict) and any(type(item) is type(left) for item in right):
        raise _misfit(token, left, "a single value")
    return any(same(left, item) for item in right)


def same(a: Any, b: Any) -> bool:
    """Equal in kind and value, numbers as float64."""
    if type(a) is int:
        a = float(a)
    if type(b) is int:
        b = float(b)
    if type(a) is not type(b):
        return False
    if type(a) is list:
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if type(a) is dict:
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return bool(a == b)


def _add(token: Token, left: Any, right: Any) -> Any:
    if type(left) is str or type(right) is str:
        return goprint.show(as_float64(left)) + goprint.show(as_float64(right))
    for value in (left, right):
        if type(value) is not float:
            raise _misfit(token, value, "a number")
    return left + right


def as_float64(value: Any) -> Any:
    """``value`` with every integer in it as a float, which is what Go's decoder makes of JSON numbers."""
    if type(value) is int:
        return float(value)
    if type(value) is list:
        return [as_float64(item) for item in value]
    if type(value) is dict:
        return {key: as_float64(item) for key, item in value.items()}
    return value


def _ordered(test: Callable[[Any, Any], bool]) -> Callable[[Token, Any, Any], Any]:
    def compare(token: Token, left: Any, right: Any) -> Any:
        if not (type(left) is type(right) is float or type(left) is type(right) is str):
            raise _misfit(token, left, "comparable with the other side (two numbers, or two texts)")
        return test(left, right)

    return compare


def _matches(token: Token, left: Any, right: Any) -> bool:
    from argosy.lang import regex

    for value in (left, right):
        if type(value) is not str:
            raise _misfit(token, value, "a text")
    return regex.compile(right).search(left)


def _shift_left(a: float, b: float) -> float:
    count = to_uint64(b)
    return float((to_uint64(a) << count) % 2**64) if count < 64 else 0.0


def _shift_right(a: float, b: float) -> float:
    count = to_uint64(b)
    return float(to_uint64(a) >> count) if count < 64 else 0.0


def _divide(a: float, b: float) -> float:
    if b:
        return a / b
    return math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1.0, b)


def _modulo(a: float, b: float) -> float:
    if math.isinf(a) or b == 0 or math.isnan(a) or math.isnan(b):
        return math.nan
    return math.fmod(a, b)


_LAZY: dict[str, Callable[[Token, Closure, Closure], Closure]] = {
    "&&": _and,
    "||": _or,
    "?": _then,
    ":": _else,
    "??": _else,
}
_EAGER: dict[str, Callable[[Token, Any, Any], Any]] = {
    ",": _list,
    "in": _in,
    "==": lambda token, a, b: same(a, b),
    "!=": lambda token, a, b: not same(a, b),
    "+": _add,
    ">": _ordered(lambda a, b: bool(a > b)),
    ">=": _ordered(lambda a, b: bool(a >= b)),
    "<": _ordered(lambda a, b: bool(a < b)),
    "<=": _ordered(lambda a, b: bool(a <= b)),
    "=~": _matches,
    "!~": lambda token, a, b: not _matches(token, a, b),
}
_NUMERIC: dict[str, Callable[[float, float], float]] = {
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": _divide,
    "%": _modulo,
    "**": power,
    "&": lambda a, b: float(to_int64(a) & to_int64(b)),
    "|": lambda a, b: float(to_int64(a) | to_int64(b)),
    "^": lambda a, b: float(to_int64(a) ^ to_int64(b)),
    "<<": _shift_left,
    ">>": _shift_right,
}
