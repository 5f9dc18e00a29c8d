"""Trigger conditions: names, ``&&``, ``||`` and parentheses, nothing else; ``&&`` binds tighter than ``||``.

Upstream rewrites the text twice and hands it to two libraries (reference: Argo Events ``pkg/sensors/listener.go``); the language
that survives this is the one parsed here. An empty condition means all names joined with ``&&``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass

from argosy.errors import LangError

_TOKEN = re.compile(r"\s*(?:(?P<op>&&|\|\||\(|\))|(?P<name>[^\s()&|]+)|(?P<bad>.))", re.DOTALL)
_DEPTH = 100


@dataclass(frozen=True, slots=True)
class _Name:
    name: str


@dataclass(frozen=True, slots=True)
class _All:
    parts: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Any:
    parts: tuple[_Node, ...]


_Node = _Name | _All | _Any


def _true(node: _Node, present: Collection[str]) -> bool:
    if isinstance(node, _Name):
        return node.name in present
    if isinstance(node, _All):
        return all(_true(part, present) for part in node.parts)
    return any(_true(part, present) for part in node.parts)


def _shortest(node: _Node, present: Collection[str]) -> list[str]:
    """The fewest names that would make the node true; the leftmost choice wins a tie."""
    if isinstance(node, _Name):
        return [] if node.name in present else [node.name]
    if isinstance(node, _All):
        return list(dict.fromkeys(name for part in node.parts for name in _shortest(part, present)))
    return min((_shortest(part, present) for part in node.parts), key=len)


def _text(node: _Node) -> str:
    if isinstance(node, _Name):
        return node.name
    if isinstance(node, _All):
        return " && ".join(f"({_text(part)})" if isinstance(part, _Any) else _text(part) for part in node.parts)
    return " || ".join(_text(part) for part in node.parts)


class Condition:
    """A compiled condition. Immutable; ``str()`` gives its normal form."""

    def __init__(self, root: _Node, names: tuple[str, ...]) -> None:
        self._root = root
        self.names = names
        """The dependencies that the condition mentions, in order of appearance."""
        self.joins = _joins(root)
        """Whether an ``&&`` stands in it, so that events have to be remembered."""

    def evaluate(self, present: Collection[str]) -> bool:
        """Whether the condition holds when events of these dependencies have come."""
        return _true(self._root, present)

    def waiting_for(self, present: Collection[str]) -> list[str]:
        """The shortest list of further dependencies that would make the condition true; empty if it is."""
        return _shortest(self._root, present)

    def __str__(self) -> str:
        return _text(self._root)


def _joins(node: _Node) -> bool:
    if isinstance(node, _Name):
        return False
    return isinstance(node, _All) or any(_joins(part) for part in node.parts)


class _Parser:
    def __init__(self, text: str, names: Collection[str]) -> None:
        self.text = text
        self.known = names
        self.tokens: list[tuple[str, str, int]] = []
        position = 0
        end = len(text.rstrip())
        while position < end:
            match = _TOKEN.match(text, position)
            assert match is not None and match.lastgroup is not None  # the last alternative takes any character
            self.tokens.append((match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
            position = match.end()
        self.tokens.append(("end", "", end))
        self.next = 0
        self.seen: dict[str, None] = {}

    def fail(self, message: str, offset: int) -> LangError:
        return LangError(f"condition {self.text!r}: {message}", text=self.text, offset=offset)

    def either(self, depth: int) -> _Node:
        parts = [self.both(depth)]
        while self.tokens[self.next][1] == "||":
            self.next += 1
            parts.append(self.both(depth))
        return parts[0] if len(parts) == 1 else _Any(tuple(parts))

    def both(self, depth: int) -> _Node:
        parts = [self.one(depth)]
        while self.tokens[self.next][1] == "&&":
            self.next += 1
            parts.append(self.one(depth))
        return parts[0] if len(parts) == 1 else _All(tuple(parts))

    def one(self, depth: int) -> _Node:
        group, token, offset = self.tokens[self.next]
        self.next += 1
        if token == "(":
            if depth > _DEPTH:
                raise self.fail(f"more than {_DEPTH} nested parentheses", offset)
            inner = self.either(depth + 1)
            if self.tokens[self.next][1] != ")":
                raise self.fail("a closing ')' is missing", self.tokens[self.next][2])
            self.next += 1
            return inner
        if group != "name":
            found = f"found {token!r}" if token else "it ends"
            raise self.fail(f"a dependency name is wanted where {found}", offset)
        name = self.meant(token)
        if name is None:
            raise self.fail(self.unknown(token), offset)
        self.seen[name] = None
        return _Name(name)

    def meant(self, token: str) -> str | None:
        """The dependency of this name. To upstream ``-`` and ``_`` are the same; here so where only one name fits."""
        if token in self.known:
            return token
        folded = token.replace("-", "_")
        alike = [name for name in self.known if name.replace("-", "_") == folded]
        return alike[0] if len(alike) == 1 else None

    def unknown(self, token: str) -> str:
        if token.startswith("!"):
            return "'!' is not part of conditions; only names, '&&', '||' and parentheses are"
        if token in ("and", "or"):
            return f"write {'&&' if token == 'and' else '||'} instead of {token!r}"
        near = difflib.get_close_matches(token, self.known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; the sensor has {', '.join(sorted(self.known)) or 'none'}"
        return f"there is no dependency {token!r}{hint}"


def compile(text: str, names: Collection[str]) -> Condition:
    """The condition ``text`` over the dependencies ``names``. Raises LangError that points into the text."""
    if not text.strip():
        if not names:
            raise LangError("a condition needs at least one dependency", text=text, offset=0)
        every = tuple(dict.fromkeys(names))
        root: _Node = _Name(every[0]) if len(every) == 1 else _All(tuple(_Name(name) for name in every))
        return Condition(root, every)
    parser = _Parser(text, names)
    root = parser.either(0)
    group, token, offset = parser.tokens[parser.next]
    if group != "end":
        raise parser.fail(f"'&&' or '||' is wanted before {token!r}", offset)
    return Condition(root, tuple(parser.seen))
