"""The part of jq's grammar that is compiled to Python: tokens and trees. Everything else is libjq's business.

``parse`` answers a tree, or None when the text leaves the part that is known here (definitions, ``reduce``,
commas, regular expressions, …) or is wrong: then libjq reads it, and says what is wrong. Grammar and
precedence follow the jq 1.7 manual."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
      | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
      | (?P<field>\.[a-zA-Z_][a-zA-Z0-9_]*)
      | (?P<variable>\$[a-zA-Z_][a-zA-Z0-9_]*)
      | (?P<word>[a-zA-Z_][a-zA-Z0-9_]*)
      | (?P<string>"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u(?![dD][89a-fA-F])[0-9a-fA-F]{4})*")
      | (?P<sign>\?//|\|=|//=|\+=|-=|\*=|/=|%=|==|!=|<=|>=|//|\.\.|[.\[\](){}|,:;=<>+\-*/%?])
    """,
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)")
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_RESERVED = frozenset(
    {"def", "reduce", "foreach", "if", "then", "elif", "else", "end", "try", "catch", "label", "break"}
    | {"import", "include", "as", "and", "or", "__loc__"}
)
_LONGEST_INDEX = 10_000


class Outside(Exception):
    """The text is outside the compiled part (or wrong)."""


@dataclass(frozen=True, slots=True)
class Node:
    """One node: ``kind`` says which, ``items`` are its parts (nodes, or plain values), as ``_jq_closures``
    reads them."""

    kind: str
    items: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a path: a member name or an array index; ``optional`` is the ``?`` behind it."""

    key: str | int
    optional: bool


IDENTITY = Node("path", ())


def parse(text: str) -> Node | None:
    """The tree of ``text``, or None when libjq has to run it."""
    try:
        return _Parser(_tokens(text)).whole()
    except (Outside, RecursionError):
        return None


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise Outside
        kind = match.lastgroup or ""
        position = match.end()
        if kind == "number" and text[position : position + 1].isalpha():
            raise Outside
        if kind != "space":
            tokens.append((kind, match.group()))
    tokens.append(("end", ""))
    return tokens


def _unquote(token: str) -> str:
    return _ESCAPE.sub(lambda m: chr(int(m[1][1:], 16)) if m[1][0] == "u" else _ESCAPES[m[1]], token[1:-1])


class _Parser:
    """Recursive descent, one method a level of precedence, loosest first."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._at = 0
        self._variables: list[str] = []
        self._term_span = (
            -1,
            -1,
        )  # where the last whole term stood; only a single term may be bound with `as`

    def whole(self) -> Node:
        if self._kind() == "end":
            return IDENTITY
        tree = self._pipe()
        if self._kind() != "end":
            raise Outside
        return tree

    def _kind(self) -> str:
        return self._tokens[self._at][0]

    def _next(self) -> tuple[str, str]:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _sees(self, *texts: str) -> bool:
        kind, text = self._tokens[self._at]
        return kind in ("sign", "word") and text in texts

    def _take(self, *texts: str) -> str | None:
        return self._next()[1] if self._sees(*texts) else None

    def _need(self, text: str) -> None:
        if not self._take(text):
            raise Outside

    def _pipe(self) -> Node:
        start = self._at
        return self._piped(start, self._alternative())

    def _piped(self, start: int, left: Node) -> Node:
        if self._sees("as"):
            if self._term_span != (start, self._at):
                raise Outside
            return self._binding(left)
        if not self._take("|"):
            return left
        right = self._pipe()
        if left.kind == right.kind == "path":
            return Node("path", left.items + right.items)
        return Node("pipe", (left, right))

    def _binding(self, source: Node) -> Node:
        self._need("as")
        kind, name = self._next()
        if kind != "variable" or name in ("$ENV", "$__loc__", "$__prog_args"):
            raise Outside
        self._need("|")
        self._variables.append(name)
        body = self._pipe()
        self._variables.pop()
        return Node("bind", (source, name, body))

    def _alternative(self) -> Node:
        left = self._assignment()
        return Node("alternative", (left, self._alternative())) if self._take("//") else left

    def _assignment(self) -> Node:
        left = self._or()
        sign = self._take("=", "|=", "+=")
        if not sign:
            return left
        if left.kind != "path":
            raise Outside
        right = self._or()  # `//` binds more loosely than `=`: `.a = .b // .c` is `(.a = .b) // .c`
        if self._sees("=", "|=", "+="):
            raise Outside
        return Node({"=": "assign", "|=": "update", "+=": "add_to"}[sign], (left, right))

    def _or(self) -> Node:
        left = self._and()
        while self._take("or"):
            left = Node("or", (left, self._and()))
        return left

    def _and(self) -> Node:
        left = self._comparison()
        while self._take("and"):
            left = Node("and", (left, self._comparison()))
        return left

    def _comparison(self) -> Node:
        left = self._sum()
        sign = self._take("==", "!=", "<", "<=", ">", ">=")
        if not sign:
            return left
        right = self._sum()
        if self._sees("==", "!=", "<", "<=", ">", ">="):
            raise Outside
        return Node("compare", (sign, left, right))

    def _sum(self) -> Node:
        left = self._term()
        while self._take("+"):
            left = Node("add", (left, self._term()))
        if self._sees("-", "*", "/", "%"):
            raise Outside
        return left

    def _term(self) -> Node:
        start = self._at
        term = self._suffixes(self._primary())
        self._term_span = (start, self._at)
        return term

    def _suffixes(self, term: Node) -> Node:
        while True:
            step: Step | None = None
            if self._kind() == "field":
                step = Step(self._next()[1][1:], bool(self._take("?")))
            elif self._sees("."):
                self._next()
                if self._kind() == "string":
                    step = Step(_unquote(self._next()[1]), bool(self._take("?")))
                elif self._sees("["):
                    continue
                else:
                    raise Outside
            elif self._take("["):
                key = self._index()
                step = Step(key, bool(self._take("?")))
            elif self._take("?"):
                term = Node("try", (term,))
                continue
            if step is None:
                return term
            if term.kind == "path":
                term = Node("path", (*term.items, step))
            else:
                term = Node("pipe", (term, Node("path", (step,))))

    def _index(self) -> str | int:
        negative = bool(self._take("-"))
        kind, text = self._next()
        if kind == "string" and not negative:
            key: str | int = _unquote(text)
        elif kind == "number" and text.isdigit() and len(text) < 6 and int(text) <= _LONGEST_INDEX:
            key = -int(text) if negative else int(text)
        else:
            raise Outside
        self._need("]")
        return key

    def _primary(self) -> Node:
        kind, text = self._next()
        if kind == "field":
            return Node("path", (Step(text[1:], bool(self._take("?"))),))
        if kind == "sign" and text == ".":
            if self._kind() == "string":
                return Node("path", (Step(_unquote(self._next()[1]), bool(self._take("?"))),))
            return IDENTITY
        if kind == "string":
            return Node("literal", (_unquote(text),))
        if kind == "number":
            return Node("literal", (_number(text),))
        if kind == "variable" and text in self._variables:
            return Node("variable", (text,))
        if kind == "sign" and text == "(":
            inner = self._pipe()
            self._need(")")
            return inner
        if kind == "sign" and text == "[":
            if self._take("]"):
                return Node("literal", ([],))
            start = self._at
            items = [self._alternative()]
            if self._sees("|", "as"):
                items = [self._piped(start, items[0])]
            else:
                while self._take(","):
                    items.append(self._alternative())
            self._need("]")
            return Node("array", tuple(items))
        if kind == "sign" and text == "{":
            return self._object()
        if kind == "word" and text not in _RESERVED:
            return self._call(text)
        if kind == "word" and text == "if":
            return self._if()
        raise Outside

    def _call(self, name: str) -> Node:
        constants = {"null": None, "true": True, "false": False}
        if name in constants:
            return Node("literal", (constants[name],))
        if name in (
            "not",
            "length",
            "fromjson",
            "tojson",
            "tostring",
            "type",
            "empty",
            "keys",
            "ascii_downcase",
        ):
            if self._sees("("):
                raise Outside
            return Node("call", (name,))
        if name in ("select", "has", "startswith", "endswith") and self._take("("):
            argument = self._pipe()
            self._need(")")
            return Node("call", (name, argument))
        raise Outside

    def _if(self) -> Node:
        condition = self._pipe()
        self._need("then")
        then = self._pipe()
        if self._take("elif"):
            return Node("if", (condition, then, self._if()))
        otherwise = self._pipe() if self._take("else") else IDENTITY
        self._need("end")
        return Node("if", (condition, then, otherwise))

    def _object(self) -> Node:
        members: list[tuple[str, Node]] = []
        while not self._take("}"):
            if members:
                self._need(",")
            kind, text = self._next()
            if kind == "string":
                key = _unquote(text)
            elif kind == "word":
                key = text
            elif kind == "variable" and text in self._variables and self._sees(",", "}"):
                members.append((text[1:], Node("variable", (text,))))
                continue
            else:
                raise Outside
            if self._take(":"):
                members.append((key, self._member()))
            elif kind == "word" and text in _RESERVED:
                raise Outside
            else:
                members.append((key, Node("path", (Step(key, False),))))
        return Node("object", tuple(members))

    def _member(self) -> Node:
        # A member's value is a term, or terms joined by `|`; operators need parentheses.
        left = self._term()
        if self._take("|"):
            right = self._member()
            return Node("pipe", (left, right))
        if not self._sees(",", "}"):
            raise Outside
        return left


def _number(text: str) -> int | float:
    if text.isdigit() and len(text) <= 15:
        return int(text)
    value = float(text)
    if value in (float("inf"), 0.0) or len(text) > 16:
        # What happens to digits beyond a double differs between libraries; zero may carry an exponent.
        raise Outside
    return int(value) if value.is_integer() and abs(value) < 1e15 else value
