"""The expressions in a JSONPath's filters and scripts, as evilmonkeyinc/jsonpath 0.8.1 understands them.

An expression is cut at its loosest operator, at the first place outside of quotes and brackets. Text is compared in
single quotes, so ``'a'`` and the member ``a`` are alike; a bare word is text, too."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from argosy.errors import LangError
from argosy.lang import _gotemplate_print as goprint
from argosy.lang import gojson, regex
from argosy.lang._expr_values import quotient, remainder
from argosy.lang._gofloat import power
from argosy.lang._jsonpath_selectors import Abandoned, Steps, Walk
from argosy.lang._sprig_numbers import parse_float
from argosy.lang.gojson import floats

_OPERATORS = (
    *("||", "&&", "==", "!=", "<=", ">=", "<", ">", "=~", "!"),
    *("+", "-", "**", "*", "/", "%", "not in", "in", "@", "$"),
)
_MOST_CUTS = 5_000
_BLANKS = " \t\n\v\f\r\x85\xa0"
_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))

Parse = Callable[[str, "Cuts"], Steps]


class Cuts:
    """How often expressions of one path were cut; some texts would be cut without end."""

    def __init__(self) -> None:
        self._count = 0

    def one(self) -> None:
        """Raises LangError if it is too much."""
        self._count += 1
        if self._count > _MOST_CUTS:
            raise LangError("the path has too many expressions inside each other")


class Values(Mapping[str, Any]):
    """What ``$``, ``@``, ``nil`` and ``null`` stand for."""

    def __init__(self, walk: Walk, current: Any) -> None:
        self.walk = walk
        self.current = current
        self._held = {"$": walk.root, "@": current, "nil": None, "null": None}

    def __getitem__(self, name: str) -> Any:
        return self._held[name]

    def __iter__(self) -> Any:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)


class Operation:
    """An operator with its operands: further operations, texts, lists, maps, or None."""

    __slots__ = ("_first", "_operator", "_second")

    def __init__(self, operator: str, first: Any, second: Any) -> None:
        self._operator = operator
        self._first = first
        self._second = second

    def evaluate(self, values: Values) -> Any:
        """Its value. Raises LangError."""
        values.walk.step()
        return _RUNS[self._operator](self._first, self._second, values)


class _Selector:
    __slots__ = ("_steps",)

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def evaluate(self, values: Values) -> Any:
        found = self._steps[0].apply(values.walk, values.current, self._steps[1:])
        if not isinstance(found, str) or (len(found) > 1 and found[0] == found[-1] == "'"):
            return found
        return f"'{found}'"


class CompiledScript:
    """An expression, ready to use. ``text`` is its text."""

    __slots__ = ("_operation", "text")

    def __init__(self, text: str, parse: Parse, cuts: Cuts) -> None:
        self.text = text
        self._operation = _cut(text, _OPERATORS, parse, cuts)

    def evaluate(self, walk: Walk, current: Any) -> Any:
        """Its value. Raises LangError."""
        values = Values(walk, current)
        if self._operation is not None:
            return self._operation.evaluate(values)
        if self.text in values:
            return values[self.text]
        for convert in (_number, _boolean):
            try:
                return convert(self.text, values)
            except LangError:
                continue
        return self.text


def _cut(text: str, operators: tuple[str, ...], parse: Parse, cuts: Cuts) -> Any:
    """The operation that ``text`` is; None if it is none."""
    cuts.one()
    operator = operators[0]
    text = text.strip(_BLANKS)
    if not text:
        return None
    if text.startswith("(") and text.endswith(")"):
        text = text[1:-1].strip(_BLANKS)
        operators = ("", *_OPERATORS)
    place = _place(text, operator)
    looser = len(operators) == 1

    def next_one() -> Any:
        return None if looser else _cut(text, operators[1:], parse, cuts)

    if place < 0:
        return next_one()
    before, behind = text[:place].strip(_BLANKS), text[place + len(operator) :].strip(_BLANKS)
    if not behind and operator not in ("$", "@"):
        return next_one()
    second = _operand(behind, operators, parse, cuts)
    if not before and operator not in ("$", "@", "!"):
        return next_one()
    first = _operand(before, operators, parse, cuts)
    if operator in ("$", "@", "!") and first is not None:
        return next_one()
    if operator in ("$", "@"):
        return _Selector(parse(text, cuts))
    if operator == "":
        raise LangError("the parentheses of an expression are not understood")
    return Operation(operator, first, second)


def _operand(text: str, operators: tuple[str, ...], parse: Parse, cuts: Cuts) -> Any:
    found = _cut(text, operators, parse, cuts)
    if found is not None:
        return found
    text = text.strip(_BLANKS)
    if not text:
        return None
    for brackets, kind in (("[]", list), ("{}", dict)):
        if text[0] == brackets[0] and text[-1] == brackets[1]:
            value = _json(text, kind)
            return text if value is None else value
    return text


def _json(text: str, kind: type) -> Any:
    try:
        value = gojson.loads(text)
    except LangError:
        return None
    return floats(value) if isinstance(value, kind) else None


def _place(text: str, operator: str) -> int:
    """Where the operator stands outside of quotes and brackets; -1 if it does not."""
    single = double = False
    square = round = 0
    for position, char in enumerate(text):
        if char in "()" and not (single or double or square > 0):
            round += 1 if char == "(" else -1
        elif char in "[]" and not (single or double or round > 0):
            square += 1 if char == "[" else -1
        elif char == "'" and not (double or square > 0 or round > 0):
            single = not single
        elif char == '"' and not (single or square > 0 or round > 0):
            double = not double
        if single or double or square > 0 or round > 0:
            continue
        start = position + 1 - len(operator)
        if start >= 0 and text[start : position + 1] == operator:
            return start
    return -1


def _value(argument: Any, values: Values) -> Any:
    """The argument without the operations and names in it."""
    if isinstance(argument, (Operation, _Selector)):
        argument = argument.evaluate(values)
    if isinstance(argument, str) and argument in values:
        return values[argument]
    return argument


def _shown(value: Any, values: Values) -> str:
    if isinstance(value, (list, dict)):
        values.walk.step(len(value))
    return goprint.show(value)


def _number(argument: Any, values: Values) -> float:
    if argument is None:
        raise LangError("nil is not a number")
    number = parse_float(_shown(_value(argument, values), values))
    if number is None:
        raise LangError("an operand is not a number")
    return number


def _integer(argument: Any, values: Values) -> int:
    if argument is None:
        raise LangError("nil is not an integer")
    text = _shown(_value(argument, values), values)
    if not re.fullmatch(r"[+-]?[0-9]{1,30}", text, re.ASCII) or not -(2**63) <= int(text) < 2**63:
        raise LangError("an operand is not an integer")
    return int(text)


def _boolean(argument: Any, values: Values) -> bool:
    value = None if argument is None else _value(argument, values)
    if value is None:
        return False
    text = _shown(value, values)
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise LangError("an operand is not true or false")


def _text(argument: Any, values: Values) -> str:
    if argument is None:
        raise LangError("nil is not text")
    if isinstance(argument, (Operation, _Selector)):
        argument = argument.evaluate(values)
    if isinstance(argument, str):
        named = argument in values
        value = values[argument] if named else argument
        if not isinstance(value, str):
            return _shown(value, values)
        if len(value) > 1 and value[0] == value[-1] == "'":
            return value
        if len(value) > 1 and value[0] == value[-1] == '"':
            return f"'{value[1:-1]}'"
        return f"'{value}'" if named else value
    return _shown(argument, values)


def _elements(argument: Any, values: Values) -> list[Any]:
    value = None if argument is None else _value(argument, values)
    if isinstance(value, str):
        for brackets, kind in (("[]", list), ("{}", dict)):
            if isinstance(value, str) and value.startswith(brackets[0]) and value.endswith(brackets[1]):
                value = _json(value, kind)
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, list):
        return value
    raise LangError("the right side of 'in' is not a list")


def _equal(first: Any, second: Any, values: Values) -> bool:
    try:
        return _number(first, values) == _number(second, values)
    except LangError:
        return _text(first, values) == _text(second, values)


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == "'" else text


def _matches(first: Any, second: Any, values: Values) -> bool:
    text = _unquoted(_text(first, values))
    values.walk.step(len(text) // 64)
    return regex.compile(_unquoted(_text(second, values))).search(text)


def _in(first: Any, second: Any, values: Values) -> bool:
    item: Any = first
    for convert in (_number, _text, _boolean):
        try:
            item = convert(first, values)
            break
        except LangError:
            continue
    elements = _elements(second, values)
    values.walk.step(len(elements))
    return any(type(element) is type(item) and element == item for element in elements)


def _modulo(first: Any, second: Any, values: Values) -> int:
    a, b = _integer(first, values), _integer(second, values)
    if b == 0:
        raise Abandoned("an integer is divided by zero")
    return goprint.Int64(remainder(a, b))


def _both(first: Any, second: Any, values: Values) -> tuple[float, float]:
    return _number(first, values), _number(second, values)


def _numeric(compute: Callable[[float, float], Any]) -> Callable[[Any, Any, Values], Any]:
    return lambda first, second, values: compute(*_both(first, second, values))


def _logical(first: Any, second: Any, values: Values) -> tuple[bool, bool]:
    return _boolean(first, values), _boolean(second, values)


_RUNS: dict[str, Callable[[Any, Any, Values], Any]] = {
    "||": lambda first, second, values: any(_logical(first, second, values)),
    "&&": lambda first, second, values: all(_logical(first, second, values)),
    "==": _equal,
    "!=": lambda first, second, values: not _equal(first, second, values),
    "<=": _numeric(lambda a, b: a <= b),
    ">=": _numeric(lambda a, b: a >= b),
    "<": _numeric(lambda a, b: a < b),
    ">": _numeric(lambda a, b: a > b),
    "=~": _matches,
    "!": lambda first, second, values: not _boolean(second, values),
    "+": _numeric(lambda a, b: a + b),
    "-": _numeric(lambda a, b: a - b),
    "**": _numeric(power),
    "*": _numeric(lambda a, b: a * b),
    "/": _numeric(quotient),
    "%": _modulo,
    "not in": lambda first, second, values: not _in(first, second, values),
    "in": _in,
}
