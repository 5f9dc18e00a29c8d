"""From tokens to the tree, by precedence. What the Go library parses oddly is parsed alike: the ``not`` of
``a + b not in c`` is lost there, so it is lost here, and noted (``Tree.lost``)."""

from __future__ import annotations

from dataclasses import dataclass, field

from argosy.errors import LangError
from argosy.lang import _expr_nodes as nodes
from argosy.lang._expr_builtins import BUILTINS, PREDICATES
from argosy.lang._expr_tokens import Token, is_letter, is_name_part, tokens

DEEPEST = 80  # nested parentheses, brackets, closures
LONGEST_CHAIN = 300  # operators in a row, and steps of a path

_UNARY = {"not": 50, "!": 50, "-": 90, "+": 90}
_BINARY = {
    "|": 0,
    "or": 10,
    "||": 10,
    "and": 15,
    "&&": 15,
    "==": 20,
    "!=": 20,
    "<": 20,
    ">": 20,
    ">=": 20,
    "<=": 20,
    "in": 20,
    "matches": 20,
    "contains": 20,
    "startsWith": 20,
    "endsWith": 20,
    "..": 25,
    "+": 30,
    "-": 30,
    "*": 60,
    "/": 60,
    "%": 60,
    "**": 100,
    "^": 100,
    "??": 500,
}
_RIGHT = frozenset(("**", "^"))


@dataclass
class Tree:
    """A parsed expression. ``lost`` are the offsets of every ``not`` that has no effect."""

    root: nodes.Node
    lost: list[int] = field(default_factory=list)


def parse(text: str) -> Tree:
    """The tree of ``text``. Raises LangError pointing at what does not parse."""
    parser = _Parser(text)
    root = parser.expression(0)
    if parser.token.kind != "end":
        raise parser.unexpected()
    return Tree(root, parser.lost)


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tokens(text)
        self.at = 0
        self.closures = 0
        self.depth = 0
        self.lost: list[int] = []

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    def wrong(self, message: str, offset: int | None = None) -> LangError:
        return LangError(message, text=self.text, offset=self.token.offset if offset is None else offset)

    def unexpected(self) -> LangError:
        return self.wrong(f"{self.token} is not expected here")

    def next(self) -> Token:
        token = self.token
        if token.kind == "end":
            raise self.wrong("the expression ends too early")
        self.at += 1
        return token

    def has(self, kind: str, value: str) -> bool:
        return self.token.kind == kind and self.token.value == value

    def take(self, kind: str, value: str) -> bool:
        if self.has(kind, value):
            self.at += 1
            return True
        return False

    def expect(self, kind: str, value: str = "") -> Token:
        if self.token.kind != kind or (value and self.token.value != value):
            if self.token.kind == "end":
                raise self.wrong(f"the expression ends too early, {value or 'a ' + kind!r} is missing")
            raise self.unexpected()
        return self.next()

    def expression(self, precedence: int) -> nodes.Node:
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.wrong(f"more than {DEEPEST} levels are nested")
        if precedence == 0 and self.has("operator", "let"):
            found: nodes.Node = self.let()
        else:
            found = self.operators(precedence)
            if precedence == 0:
                found = self.conditional(found)
        self.depth -= 1
        return found

    def operators(self, precedence: int) -> nodes.Node:
        left = self.primary()
        before, count = "", 0
        while self.token.kind == "operator":
            negation = self.next() if self.has("operator", "not") else None
            operator = self.token
            level = _BINARY.get(operator.value, -1) if operator.kind == "operator" else -1
            if level < precedence:
                if negation is not None:
                    self.lost.append(negation.offset)
                break
            self.next()
            count += 1
            if count > LONGEST_CHAIN:
                raise self.wrong(f"more than {LONGEST_CHAIN} operators stand in a row; use parentheses, or 'in'")
            if operator.value == "|":
                left = self.pipe(left)
            else:
                if before == "??" and operator.value != "??":
                    raise self.wrong(f"{operator.value!r} and '??' need parentheses to be mixed", operator.offset)
                right = self.expression(level if operator.value in _RIGHT else level + 1)
                left = nodes.Binary(operator.value, left, right, offset=operator.offset)
                if negation is not None:
                    left = nodes.Unary("not", left, offset=negation.offset)
            before = operator.value
        return left

    def let(self) -> nodes.Node:
        self.expect("operator", "let")
        name = self.expect("name")
        self.expect("operator", "=")
        value = self.expression(0)
        self.expect("operator", ";")
        return nodes.Let(name.value, value, self.expression(0), offset=name.offset)

    def conditional(self, node: nodes.Node) -> nodes.Node:
        while self.has("operator", "?"):
            offset = self.next().offset
            if self.take("operator", ":"):
                node = nodes.Conditional(node, node, self.expression(0), offset=offset)
                continue
            yes = self.expression(0)
            self.expect("operator", ":")
            node = nodes.Conditional(node, yes, self.expression(0), offset=offset)
        return node

    def primary(self) -> nodes.Node:
        token = self.token
        if token.kind == "operator" and token.value in _UNARY:
            self.next()
            inner = self.expression(_UNARY[token.value])
            return self.postfix(nodes.Unary(token.value, inner, offset=token.offset))
        if self.take("bracket", "("):
            inner = self.expression(0)
            self.expect("bracket", ")")
            return self.postfix(inner)
        if token.kind == "operator" and token.value in ("#", "."):
            if not self.closures:
                raise self.wrong(f"{token.value!r} has no meaning outside of a closure")
            name = ""
            if token.value == "#":
                self.next()
                if self.token.kind == "name":
                    name = self.next().value
            return self.postfix(nodes.Pointer(name, offset=token.offset))
        return self.secondary()

    def secondary(self) -> nodes.Node:
        token = self.token
        if token.kind == "name":
            self.next()
            if token.value in ("true", "false"):
                return nodes.Boolean(token.value == "true", offset=token.offset)
            if token.value == "nil":
                return nodes.Nil(offset=token.offset)
            return self.postfix(self.call(token))
        if token.kind == "number":
            self.next()
            return self.number(token)
        if token.kind == "string":
            self.next()
            return nodes.Text(token.value, offset=token.offset)
        if self.has("bracket", "["):
            return self.postfix(self.array())
        if self.has("bracket", "{"):
            return self.postfix(self.map())
        if token.kind == "end":
            raise self.wrong("the expression ends too early")
        raise self.unexpected()

    def number(self, token: Token) -> nodes.Node:
        text = token.value.replace("_", "")
        try:
            if "x" in text:
                value = int(text, 16)
            elif any(char in text for char in ".eE"):
                number = float(text)
                if number in (float("inf"), float("-inf")):
                    raise self.wrong(f"{token.value!r} is beyond a 64-bit float", token.offset)
                return nodes.Float(number, offset=token.offset)
            else:
                value = int(text, 10) if len(text) < 100 else 2**63
        except ValueError:
            raise self.wrong(f"{token.value!r} is not a number", token.offset) from None
        if value >= 2**63:
            raise self.wrong(f"{token.value!r} is beyond a 64-bit integer", token.offset)
        return nodes.Integer(value, offset=token.offset)

    def call(self, token: Token) -> nodes.Node:
        if not self.has("bracket", "("):
            return nodes.Name(token.value, offset=token.offset)
        return self.called(token, [])

    def pipe(self, node: nodes.Node) -> nodes.Node:
        token = self.expect("name")
        return self.called(token, [node])

    def called(self, token: Token, given: list[nodes.Node]) -> nodes.Node:
        """The call of ``token``; ``given`` is what a pipe brings as the first argument."""
        name = token.value
        if name in PREDICATES:
            self.expect("bracket", "(")
            arguments = list(given)
            if not arguments:
                arguments.append(self.expression(0))
                self.expect("operator", ",")
            arguments.append(self.closure())
            if name == "reduce" and self.take("operator", ","):
                arguments.append(self.expression(0))
            self.expect("bracket", ")")
            return nodes.Builtin(name, arguments, offset=token.offset)
        arguments = [*given, *self.arguments()]
        if name in BUILTINS:
            return nodes.Builtin(name, arguments, offset=token.offset)
        return nodes.Call(nodes.Name(name, offset=token.offset), arguments, offset=token.offset)

    def closure(self) -> nodes.Node:
        offset = self.token.offset
        braces = self.take("bracket", "{")
        self.closures += 1
        inner = self.expression(0)
        self.closures -= 1
        if braces:
            self.expect("bracket", "}")
        return nodes.Closure(inner, offset=offset)

    def arguments(self) -> list[nodes.Node]:
        self.expect("bracket", "(")
        found: list[nodes.Node] = []
        while not self.has("bracket", ")"):
            if found:
                self.expect("operator", ",")
            found.append(self.expression(0))
        self.next()
        return found

    def array(self) -> nodes.Node:
        offset = self.expect("bracket", "[").offset
        found: list[nodes.Node] = []
        while not self.has("bracket", "]"):
            if found:
                self.expect("operator", ",")
                if self.has("bracket", "]"):
                    break
            found.append(self.expression(0))
        self.next()
        return nodes.Array(found, offset=offset)

    def map(self) -> nodes.Node:
        offset = self.expect("bracket", "{").offset
        found: list[nodes.Node] = []
        while not self.has("bracket", "}"):
            if found:
                self.expect("operator", ",")
                if self.has("bracket", "}"):
                    break
            if self.token.kind in ("number", "string", "name"):
                key: nodes.Node = nodes.Text(self.next().value, offset=offset)
            elif self.has("bracket", "("):
                key = self.expression(0)
            else:
                raise self.wrong("the key of a map is a name, a text, a number, or an expression in parentheses")
            self.expect("operator", ":")
            found.append(nodes.Pair(key, self.expression(0), offset=offset))
        self.next()
        return nodes.Map(found, offset=offset)

    def postfix(self, node: nodes.Node) -> nodes.Node:
        count = 0
        while self.token.kind in ("operator", "bracket"):
            if self.token.value in (".", "?."):
                node = self.member(node)
            elif self.token.value == "[":
                node = self.subscript(node)
            else:
                break
            count += 1
            if count > LONGEST_CHAIN:
                raise self.wrong(f"more than {LONGEST_CHAIN} steps stand in a row")
        return node

    def member(self, node: nodes.Node) -> nodes.Node:
        optional = self.next().value == "?."
        name = self.next()
        if name.kind != "name" and not (name.kind == "operator" and _is_name(name.value)):
            raise self.wrong("a name is wanted behind the dot", name.offset)
        chained = isinstance(node, nodes.Chain)
        if isinstance(node, nodes.Chain):
            node = node.node
        found: nodes.Node = nodes.Member(node, nodes.Text(name.value, offset=name.offset), optional, offset=name.offset)
        if self.has("bracket", "("):
            found = nodes.Call(found, self.arguments(), offset=name.offset)
        return nodes.Chain(found) if chained or optional else found

    def subscript(self, node: nodes.Node) -> nodes.Node:
        offset = self.next().offset
        start = None if self.has("operator", ":") else self.expression(0)
        if self.take("operator", ":"):
            stop = None if self.has("bracket", "]") else self.expression(0)
            self.expect("bracket", "]")
            return nodes.Slice(node, start, stop, offset=offset)
        self.expect("bracket", "]")
        assert start is not None  # without a colon there was an expression
        return nodes.Member(node, start, offset=offset)


def _is_name(text: str) -> bool:
    return bool(text) and is_letter(text[0]) and all(map(is_name_part, text))
