"""What the operators between two values do, chosen once for each place where one stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from argosy.errors import LangError
from argosy.lang import _expr_nodes as nodes
from argosy.lang import _expr_values as values
from argosy.lang import regex
from argosy.lang._expr_access import contains
from argosy.lang._expr_meter import PIECE, Meter
from argosy.lang._gotemplate_functions import raw

Operation = Callable[[Any, Any, Meter], Any]


def operation_of(node: nodes.Binary) -> Operation:
    operator = node.operator
    if operator == "==":
        kinds = [side.type.kind if side.type and not side.type.named else "" for side in (node.left, node.right)]
        if kinds[0] == kinds[1] and kinds[0] in ("int", "string"):
            return _equal_ints if kinds[0] == "int" else _equal_texts
        return values.equal
    if operator == "!=":
        return lambda a, b, meter: not values.equal(a, b, meter)
    if operator in ("<", ">", "<=", ">="):
        return lambda a, b, meter: values.compare(a, b, operator, meter)
    if operator == "matches" and node.regex is not None:
        pattern: regex.Regex = node.regex
        return lambda a, b, meter: _search(pattern, values.text(a, "the left side of 'matches'"), meter)
    return _OPERATIONS[operator]


def _equal_ints(a: Any, b: Any, meter: Meter) -> bool:
    if type(a) is not int or type(b) is not int:
        raise LangError(f"{values.described(b if type(a) is int else a)} stands where an int was expected")
    return a == b


def _equal_texts(a: Any, b: Any, meter: Meter) -> bool:
    if type(a) is not str or type(b) is not str:
        raise LangError(f"{values.described(b if type(a) is str else a)} stands where text was expected")
    return a == b


def _search(pattern: regex.Regex, value: str, meter: Meter) -> bool:
    meter.step(len(value) * 4 // PIECE)
    return pattern.search(value)


def _matches(a: Any, b: Any, meter: Meter) -> bool:
    pattern = values.text(b, "the pattern of 'matches'")
    value = values.text(a, "the left side of 'matches'")
    meter.step(100 + len(pattern))  # it is compiled for this value
    return _search(regex.compile(pattern), value, meter)


def _sides(a: Any, b: Any, operator: str, meter: Meter) -> tuple[str, str]:
    left = values.text(a, f"the left side of {operator!r}")
    right = values.text(b, f"the right side of {operator!r}")
    meter.read(left, right)
    return left, right


def _contains(a: Any, b: Any, meter: Meter) -> bool:
    left, right = _sides(a, b, "contains", meter)
    return right in left if right.isascii() else raw(right) in raw(left)


def _starts_with(a: Any, b: Any, meter: Meter) -> bool:
    left, right = _sides(a, b, "startsWith", meter)
    return left.startswith(right) if right.isascii() else raw(left).startswith(raw(right))


def _ends_with(a: Any, b: Any, meter: Meter) -> bool:
    left, right = _sides(a, b, "endsWith", meter)
    return left.endswith(right) if right.isascii() else raw(left).endswith(raw(right))


_OPERATIONS: dict[str, Operation] = {
    "+": values.add,
    "-": values.subtract,
    "*": values.multiply,
    "/": values.divide,
    "%": values.modulo,
    "**": values.exponent,
    "^": values.exponent,
    "..": values.span,
    "in": contains,
    "matches": _matches,
    "contains": _contains,
    "startsWith": _starts_with,
    "endsWith": _ends_with,
}
