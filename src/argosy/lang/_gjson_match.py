"""What a gjson query compares, and the ``*``/``?`` patterns of keys and of the ``%`` operator."""

from __future__ import annotations

from functools import lru_cache

from argosy.lang._gjson_paths import Query
from argosy.lang._gjson_result import Hit
from argosy.lang._gjson_text import to_boolean, to_float

_STAR, _ANY, _NEVER = object(), object(), object()


def glob(text: str, pattern: str) -> bool:
    """Whether the whole text matches.

    ``*`` any run, ``?`` any one character, a backslash takes the next as it is. Time is at most length
    times length; gjson gives up (no match) where its own search takes too long.
    """
    if pattern == "*":
        return True
    pieces = _pieces(pattern)
    size = len(pieces)
    at = here = 0
    star = -1
    resume = 0
    while at < len(text):
        if here < size and pieces[here] is _STAR:
            star, resume = here, at
            here += 1
        elif here < size and (pieces[here] is _ANY or pieces[here] == text[at]):
            here += 1
            at += 1
        elif star >= 0:
            resume += 1
            here, at = star + 1, resume
        else:
            return False
    while here < size and pieces[here] is _STAR:
        here += 1
    return here == size


@lru_cache(maxsize=1024)
def _pieces(pattern: str) -> tuple[object, ...]:
    pieces: list[object] = []
    i = 0
    while i < len(pattern):
        character = pattern[i]
        if character == "\\":
            i += 1
            # A lone backslash at the end stands for itself behind a star, and otherwise matches nothing.
            pieces.append(pattern[i] if i < len(pattern) else "\\" if _STAR in pieces else _NEVER)
        else:
            pieces.append(_STAR if character == "*" else _ANY if character == "?" else character)
        i += 1
    return tuple(pieces)


def matches(query: Query, found: Hit) -> bool:
    """Whether what the query's path found satisfies it.

    Containers satisfy only a query without an operator.
    """
    operand = query.value
    if operand[:1] == "~":
        truth = _is(operand[1:], found)
        if truth is None:
            return False
        operand = "true"
        found = Hit("True" if truth else "False", "")
    if not found.exists:
        return False
    if not query.op:
        return True
    kind = found.kind
    if kind == "String":
        if query.op in ("%", "!%"):
            return glob(found.text, operand) is (query.op == "%")
        return _holds(query.op, found.text, operand)
    if kind == "Number":
        return _holds(query.op, found.number(), to_float(operand))
    if kind == "True":
        return _holds_boolean(query.op, operand, "true", ">", "false")
    if kind == "False":
        return _holds_boolean(query.op, operand, "false", "<", "true")
    return False


def _is(sort: str, found: Hit) -> bool | None:
    """``~true``, ``~false``, ``~null`` and ``~*``; None for any other word."""
    if sort == "*":
        return found.exists
    if sort == "null":
        return found.kind == "Null"
    if sort == "true":
        return found.boolean()
    if sort == "false":
        if found.kind == "String":
            return to_boolean(found.text) is False
        return found.kind in ("Null", "False") or (found.kind == "Number" and found.number() == 0)
    return None


def _holds(op: str, left: str | float, right: str | float) -> bool:
    if op == "=":
        return left == right
    if op == "!=":
        return left != right
    if op == "<":
        return left < right  # type: ignore[operator]  # both are text or both are numbers
    if op == "<=":
        return left <= right  # type: ignore[operator]
    if op == ">":
        return left > right  # type: ignore[operator]
    return op == ">=" and left >= right  # type: ignore[operator]


def _holds_boolean(op: str, operand: str, own: str, beyond: str, other: str) -> bool:
    """true is greater than false, and at least as great as anything; false the other way round."""
    if op == "=":
        return operand == own
    if op == "!=":
        return operand != own
    if op == beyond:
        return operand == other
    return op == beyond + "="
