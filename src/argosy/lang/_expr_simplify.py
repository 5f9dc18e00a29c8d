"""The tree with constants worked out, as the Go library does it. This is no matter of speed alone: what is worked
out beforehand is not run, so ``x && false`` is false whatever x is, and ``1 % 0`` is refused at once; ``in`` looks up
its literals in a set, which refuses values of another type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from argosy.errors import LangError
from argosy.lang import _expr_nodes as nodes
from argosy.lang._expr_types import FLOAT, INT
from argosy.lang._expr_values import IntegerSet, StringSet, quotient, remainder, wrap
from argosy.lang._gofloat import power
from argosy.lang._gotemplate_functions import Integers

_MOST_PASSES = 100
_LONGEST_RANGE = 100_000  # longer ranges are made when they are needed

Change = Callable[[nodes.Node], nodes.Node]


def simplify(root: nodes.Node, text: str) -> nodes.Node:
    """The tree to run. Raises LangError for what fails whatever the values are."""
    try:
        root = _walk(root, _in_list)
        for _ in range(_MOST_PASSES):
            folding = _Folding()
            root = _walk(root, folding.change)
            if not folding.changed:
                break
        for change in (_in_range, _range, _filter_map, _filter_len, _filter_last, _filter_first):
            root = _walk(root, change)
    except LangError as error:
        raise LangError(error.message, text=text, offset=error.offset) from None
    return root


def _walk(node: nodes.Node, change: Change) -> nodes.Node:
    """``change`` applied to every node, the inner ones first."""
    for name, index, inner in list(node.children()):
        made = _walk(inner, change)
        if made is inner:
            continue
        if index >= 0:
            getattr(node, name)[index] = made
        else:
            setattr(node, name, made)
    made = change(node)
    if made is not node and all(made is not inner for _, _, inner in node.children()):
        made.offset = node.offset
    return made


def _in_list(node: nodes.Node) -> nodes.Node:
    if not isinstance(node, nodes.Binary) or node.operator != "in" or not isinstance(node.right, nodes.Array):
        return node
    members = node.right.nodes
    found: Any = None
    if not members:
        return node
    if (
        node.left.type is not None
        and node.left.type.kind == "int"
        and all(isinstance(m, nodes.Integer) for m in members)
    ):
        found = IntegerSet.fromkeys(m.value for m in members if isinstance(m, nodes.Integer))
    elif all(isinstance(m, nodes.Text) for m in members):
        found = StringSet.fromkeys(m.value for m in members if isinstance(m, nodes.Text))
    if found is None:
        return node
    return nodes.Binary("in", node.left, nodes.Constant(found, offset=node.right.offset))


class _Folding:
    def __init__(self) -> None:
        self.changed = False

    def change(self, node: nodes.Node) -> nodes.Node:
        made: nodes.Node | None = None
        if isinstance(node, nodes.Unary):
            made = _unary(node)
        elif isinstance(node, nodes.Binary):
            made = _binary(node)
        elif isinstance(node, nodes.Array):
            made = _array(node)
        elif isinstance(node, nodes.Builtin) and node.name == "filter" and len(node.arguments) == 2:
            base = node.arguments[0]
            if isinstance(base, nodes.Builtin) and base.name == "filter":
                both = nodes.Binary("&&", base.arguments[1], node.arguments[1])
                made = nodes.Builtin("filter", [base.arguments[0], both])
        if made is None:
            return node
        self.changed = True
        return made


def _unary(node: nodes.Unary) -> nodes.Node | None:
    inner = node.node
    if isinstance(inner, nodes.Integer) and node.operator in "+-":
        return nodes.Integer(inner.value if node.operator == "+" else wrap(-inner.value), type=INT)
    if isinstance(inner, nodes.Float) and node.operator in "+-":
        return nodes.Float(inner.value if node.operator == "+" else -inner.value, type=FLOAT)
    if isinstance(inner, nodes.Boolean) and node.operator in ("!", "not"):
        return nodes.Boolean(not inner.value)
    return None


def _binary(node: nodes.Binary) -> nodes.Node | None:
    left, right, operator = node.left, node.right, node.operator
    if operator in ("and", "&&", "or", "||"):
        return _logical(left, right, neutral=operator in ("and", "&&"))
    if isinstance(left, nodes.Text) and isinstance(right, nodes.Text):
        if operator == "+":
            return nodes.Text(left.value + right.value)
        return nodes.Boolean(left.value == right.value) if operator == "==" else None
    if isinstance(left, nodes.Boolean) and isinstance(right, nodes.Boolean):
        return nodes.Boolean(left.value == right.value) if operator == "==" else None
    if not isinstance(left, (nodes.Integer, nodes.Float)) or not isinstance(right, (nodes.Integer, nodes.Float)):
        return None
    if isinstance(left, nodes.Integer) and isinstance(right, nodes.Integer):
        if operator in "+-*" and len(operator) == 1:
            a, b = left.value, right.value
            return nodes.Integer(wrap(a + b if operator == "+" else a - b if operator == "-" else a * b), type=INT)
        if operator == "%":
            try:
                return nodes.Integer(remainder(left.value, right.value))
            except LangError as error:
                raise LangError(error.message, offset=node.offset) from None
        if operator == "==":
            return nodes.Boolean(left.value == right.value)
    x, y = float(left.value), float(right.value)
    if operator == "+":
        return nodes.Float(x + y, type=FLOAT)
    if operator == "-":
        return nodes.Float(x - y, type=FLOAT)
    if operator == "*":
        return nodes.Float(x * y, type=FLOAT)
    if operator == "/":
        return nodes.Float(quotient(x, y), type=FLOAT)
    if operator in ("**", "^"):
        return nodes.Float(power(x, y), type=FLOAT)
    return None


def _logical(left: nodes.Node, right: nodes.Node, *, neutral: bool) -> nodes.Node | None:
    """``neutral`` is what leaves the other side as it is: true for ``and``, false for ``or``."""
    constants = [side.value for side in (left, right) if isinstance(side, nodes.Boolean)]
    if isinstance(left, nodes.Boolean) and left.value is neutral:
        return right
    if isinstance(right, nodes.Boolean) and right.value is neutral:
        return left
    return nodes.Boolean(not neutral) if constants else None


def _array(node: nodes.Array) -> nodes.Node | None:
    values = []
    for one in node.nodes:
        if not isinstance(one, (nodes.Integer, nodes.Float, nodes.Text, nodes.Boolean)):
            return None
        values.append(one.value)
    return nodes.Constant(values) if values else None


def _in_range(node: nodes.Node) -> nodes.Node:
    if not isinstance(node, nodes.Binary) or node.operator != "in":
        return node
    known, span = node.left.type, node.right
    if known is None or known.kind != "int" or not isinstance(span, nodes.Binary) or span.operator != "..":
        return node
    if not isinstance(span.left, nodes.Integer) or not isinstance(span.right, nodes.Integer):
        return node
    return nodes.Binary(
        "and",
        nodes.Binary(">=", node.left, span.left, offset=node.offset),
        nodes.Binary("<=", node.left, span.right, offset=node.offset),
    )


def _range(node: nodes.Node) -> nodes.Node:
    if not isinstance(node, nodes.Binary) or node.operator != "..":
        return node
    if not isinstance(node.left, nodes.Integer) or not isinstance(node.right, nodes.Integer):
        return node
    first, size = node.left.value, wrap(node.right.value - node.left.value + 1)
    if size > _LONGEST_RANGE:
        return node
    return nodes.Constant(Integers(range(first, first + max(size, 0))))


def _filtered(node: nodes.Node, function: str) -> nodes.Builtin | None:
    """The filter that is the only argument of this function."""
    if isinstance(node, nodes.Builtin) and node.name == function and len(node.arguments) == 1:
        return _plain_filter(node.arguments[0])
    return None


def _plain_filter(node: nodes.Node) -> nodes.Builtin | None:
    if isinstance(node, nodes.Builtin) and node.name == "filter" and len(node.arguments) == 2:
        return node
    return None


def _filter_map(node: nodes.Node) -> nodes.Node:
    if isinstance(node, nodes.Builtin) and node.name == "map" and len(node.arguments) == 2:
        closure, base = node.arguments[1], node.arguments[0]
        filtered = isinstance(base, nodes.Builtin) and base.name == "filter" and base.map is None
        if filtered and isinstance(base, nodes.Builtin) and isinstance(closure, nodes.Closure):
            return nodes.Builtin("filter", base.arguments, map=closure.node)
    return node


def _filter_len(node: nodes.Node) -> nodes.Node:
    base = _filtered(node, "len")
    return nodes.Builtin("count", base.arguments) if base else node


def _filter_end(node: nodes.Node, place: int, function: str, search: str) -> nodes.Node:
    if base := _filtered(node, function):
        return nodes.Builtin(search, base.arguments, map=base.map)
    if not isinstance(node, nodes.Member) or node.optional or not isinstance(node.property, nodes.Integer):
        return node
    base = _plain_filter(node.node)
    if base is None or node.property.value != place:
        return node
    return nodes.Builtin(search, base.arguments, throws=True, map=base.map)


def _filter_last(node: nodes.Node) -> nodes.Node:
    return _filter_end(node, -1, "last", "findLast")


def _filter_first(node: nodes.Node) -> nodes.Node:
    return _filter_end(node, 0, "first", "find")
