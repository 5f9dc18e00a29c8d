"""The grammar of Go's text/template: tokens become trees, with Go's rules for scopes and keywords.

Everything that Go refuses while parsing is refused here: unknown functions and variables, ``break`` outside a
range, templates defined twice. ``parse`` returns the templates by name; the text itself is the one named "".
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping

from argosy.errors import LangError
from argosy.lang._gotemplate_nodes import (
    Action,
    Branch,
    Call,
    Chain,
    Command,
    Dot,
    Field,
    Include,
    Jump,
    Literal,
    Nil,
    Node,
    Number,
    Pipe,
    Stop,
    Text,
    Variable,
)
from argosy.lang._gotemplate_tokens import Token, tokens, unquote

_OPERANDS = frozenset({"bool", "char", "number", "dot", "field", "identifier", "nil", "string", "variable", "("})
_DEEPEST = 60


def parse(text: str, functions: Container[str], refused: Mapping[str, str]) -> dict[str, list[Node]]:
    """The templates in ``text`` by name; ``refused`` says of functions that exist in Go why they are not to
    be had here.

    Raises LangError with the place.
    """
    parser = _Parser(text, functions, refused)
    parser.whole()
    return parser.templates


class _Parser:
    """Recursive descent over the tokens of all templates in one text."""

    def __init__(self, text: str, functions: Container[str], refused: Mapping[str, str]) -> None:
        self._text = text
        self._functions = functions
        self._refused = refused
        self._tokens = tokens(text)
        self._at = 0
        self._variables = ["$"]
        self._ranges = 0
        self._depth = 0
        self.templates: dict[str, list[Node]] = {}

    def _wrong(self, message: str, offset: int | None = None) -> LangError:
        return LangError(message, text=self._text, offset=self._tokens[self._at].offset if offset is None else offset)

    def _unexpected(self, token: Token, context: str) -> LangError:
        what = "the end of the text" if token.kind == "eof" else repr(token.text)
        return self._wrong(f"{what} is not expected in {context}", token.offset)

    def _next(self) -> Token:
        token = self._tokens[self._at]
        if token.kind != "eof":
            self._at += 1
        return token

    def _next_word(self) -> Token:
        self._skip()
        return self._next()

    def _skip(self) -> None:
        while self._tokens[self._at].kind == "space":
            self._at += 1

    def _peek(self) -> Token:
        return self._tokens[self._at]

    def _peek_word(self) -> Token:
        self._skip()
        return self._tokens[self._at]

    def whole(self) -> None:
        root: list[Node] = []
        while self._peek().kind != "eof":
            start = self._at
            if self._next().kind == "{{" and self._next_word().kind == "define":
                self._definition()
                continue
            self._at = start
            node = self._item()
            if isinstance(node, Stop):
                raise self._wrong(f"{{{{{node.word}}}}} closes nothing", node.offset)
            root.append(node)
        self._add("", root, 0)

    def _add(self, name: str, body: list[Node], offset: int) -> None:
        if name not in self.templates or _empty(self.templates[name]):
            self.templates[name] = body
        elif not _empty(body):
            raise self._wrong(f"the template {name!r} is defined twice", offset)

    def _definition(self) -> None:
        token = self._next_word()
        name = self._template_name(token, "define")
        self._expect_close("define")
        self._add(name, self._separate_body("define"), token.offset)

    def _separate_body(self, context: str) -> list[Node]:
        outer, ranges = self._variables, self._ranges
        self._variables, self._ranges = ["$"], 0
        body, end = self._list()
        if end.word != "end":
            raise self._wrong(f"{{{{else}}}} is not expected in {context}", end.offset)
        self._variables, self._ranges = outer, ranges
        return body

    def _template_name(self, token: Token, context: str) -> str:
        if token.kind != "string":
            raise self._unexpected(token, context)
        return self._unquoted(token)

    def _unquoted(self, token: Token) -> str:
        try:
            return unquote(token.text)
        except (ValueError, OverflowError):
            raise self._wrong(f"{token.text} is not a string", token.offset) from None

    def _expect_close(self, context: str) -> None:
        token = self._next_word()
        if token.kind != "}}":
            raise self._unexpected(token, context)

    def _list(self) -> tuple[list[Node], Stop]:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._wrong("blocks are nested too deeply")
        nodes: list[Node] = []
        while self._peek_word().kind != "eof":
            node = self._item()
            if isinstance(node, Stop):
                self._depth -= 1
                return nodes, node
            nodes.append(node)
        raise self._wrong("{{end}} is missing")

    def _item(self) -> Node:
        token = self._next_word()
        if token.kind == "text":
            return Text(token.offset, token.text)
        if token.kind != "{{":
            raise self._unexpected(token, "the template")
        word = self._next_word()
        if word.kind in ("if", "with", "range"):
            return self._branch(word)
        if word.kind in ("break", "continue"):
            self._expect_close(word.kind)
            if not self._ranges:
                raise self._wrong(f"{{{{{word.kind}}}}} outside of a range", word.offset)
            return Jump(word.offset, word.kind)
        if word.kind == "end":
            self._expect_close("end")
            return Stop(word.offset, "end")
        if word.kind == "else":
            if self._peek_word().kind not in ("if", "with"):
                self._expect_close("else")
            return Stop(word.offset, "else")
        if word.kind == "template":
            name = self._template_name(self._next_word(), "template")
            if self._peek_word().kind == "}}":
                self._next()
                return Include(word.offset, name, None)
            return Include(word.offset, name, self._pipeline("template", "}}"))
        if word.kind == "block":
            name_token = self._next_word()
            name = self._template_name(name_token, "block")
            pipe = self._pipeline("block", "}}")
            self._add(name, self._separate_body("block"), name_token.offset)
            return Include(word.offset, name, pipe)
        self._at -= 1 if word.kind != "eof" else 0
        return Action(word.offset, self._pipeline("an action", "}}"))

    def _branch(self, word: Token) -> Branch:
        scope = len(self._variables)
        pipe = self._pipeline(word.kind, "}}")
        self._ranges += word.kind == "range"
        body, stop = self._list()
        self._ranges -= word.kind == "range"
        otherwise: list[Node] | None = None
        if stop.word == "else":
            following = self._peek_word()
            if following.kind in ("if", "with"):
                if following.kind != word.kind:
                    raise self._unexpected(following, "else")
                self._next()
                otherwise = [self._branch(following)]
            else:
                otherwise, stop = self._list()
                if stop.word != "end":
                    raise self._wrong("after {{else}} comes {{end}}", stop.offset)
        del self._variables[scope:]
        return Branch(word.offset, word.kind, pipe, body, otherwise)

    def _pipeline(self, context: str, end: str) -> Pipe:
        pipe = Pipe(self._peek_word().offset)
        self._declarations(pipe, context)
        while True:
            token = self._next_word()
            if token.kind == end:
                break
            if token.kind not in _OPERANDS:
                raise self._unexpected(token, context)
            self._at -= 1
            pipe.commands.append(self._command())
        if not pipe.commands:
            raise self._wrong(f"{context} needs a value", token.offset)
        for command in pipe.commands[1:]:
            if isinstance(command.operands[0], (Literal, Number, Nil, Dot)):
                raise self._wrong("only a function or field can take a value from a pipe", command.offset)
        return pipe

    def _declarations(self, pipe: Pipe, context: str) -> None:
        while self._peek_word().kind == "variable":
            start = self._at
            variable = self._next()
            following = self._peek_word()
            if following.kind in (":=", "="):
                self._next()
                pipe.assigns = following.kind == "="
                self._declare(pipe, variable)
                return
            if following.text != "," or following.kind != "mark":
                self._at = start
                return
            self._next()
            self._declare(pipe, variable)
            if context != "range" or len(pipe.variables) > 1 or self._peek_word().kind not in ("variable", "}}", ")"):
                raise self._wrong(f"too many variables in {context}", variable.offset)

    def _declare(self, pipe: Pipe, variable: Token) -> None:
        pipe.variables.append(variable.text)
        self._variables.append(variable.text)

    def _command(self) -> Command:
        command = Command(self._peek_word().offset, [])
        while True:
            self._skip()
            operand = self._operand()
            if operand is not None:
                command.operands.append(operand)
            token = self._next()
            if token.kind == "space":
                continue
            if token.kind in ("}}", ")"):
                self._at -= 1
            elif token.kind != "|":
                raise self._unexpected(token, "an operand")
            break
        if not command.operands:
            raise self._wrong("a command is empty", command.offset)
        return command

    def _operand(self) -> Node | None:
        node = self._term()
        if node is None or self._peek().kind != "field":
            return node
        names = []
        while self._peek().kind == "field":
            names.append(self._next().text[1:])
        if isinstance(node, (Field, Variable)):
            node.names.extend(names)
            return node
        if isinstance(node, (Literal, Number, Nil, Dot)):
            raise self._wrong("a field of a constant, or of '.', is not possible", node.offset)
        return Chain(node.offset, node, names)

    def _term(self) -> Node | None:
        token = self._next_word()
        if token.kind == "identifier":
            if token.text in self._refused:
                raise self._wrong(f"the function {token.text!r} {self._refused[token.text]}", token.offset)
            if token.text not in self._functions:
                raise self._wrong(f"the function {token.text!r} is not defined", token.offset)
            return Call(token.offset, token.text)
        if token.kind == "variable":
            if token.text not in self._variables:
                raise self._wrong(f"the variable {token.text!r} is not defined", token.offset)
            return Variable(token.offset, token.text)
        if token.kind == "(":
            self._depth += 1
            if self._depth > _DEEPEST:
                raise self._wrong("parentheses are nested too deeply")
            pipe = self._pipeline("parentheses", ")")
            self._depth -= 1
            return pipe
        if token.kind == "number" or token.kind == "char":
            return self._constant(token)
        if token.kind == "string":
            return Literal(token.offset, self._unquoted(token))
        if token.kind == "field":
            return Field(token.offset, [token.text[1:]])
        if token.kind == "bool":
            return Literal(token.offset, token.text == "true")
        if token.kind == "dot":
            return Dot(token.offset)
        if token.kind == "nil":
            return Nil(token.offset)
        self._at -= 1 if token.kind != "eof" else 0
        return None

    def _constant(self, token: Token) -> Number:
        text = token.text
        if token.kind == "char":
            char = self._unquoted(token)
            if len(char) != 1:
                raise self._wrong(f"{text} is not one character", token.offset)
            return Number(token.offset, text, ord(char), float(ord(char)), ord(char))
        integer = _integer(text)
        if integer is not None:
            return Number(token.offset, text, integer, float(integer), integer)
        real = _real(text)
        if real is None:
            raise self._wrong(f"{text!r} is not a number that templates can use", token.offset)
        whole = int(real) if real.is_integer() and abs(real) < 2.0**63 else None
        return Number(token.offset, text, whole, real, real)


def _integer(text: str) -> int | None:
    body = text.lstrip("+-")
    try:
        value = int(body.replace("_", ""), 8) if re.fullmatch(r"0[0-7_]+", body) else int(body.replace("_", ""), 0)
    except ValueError:
        return None
    value = -value if text[0] == "-" else value
    return value if -(2**63) <= value < 2**63 else None


def _real(text: str) -> float | None:
    if not re.search(r"[.eEpP]", text) or "_" in text or text.endswith("i"):
        return None
    try:
        if re.match(r"[+-]?0[xX]", text):
            return float.fromhex(text) if re.search("[pP]", text) else None
        value = float(text)
    except (ValueError, OverflowError):
        return None
    return value if value not in (float("inf"), float("-inf")) else None


def _empty(nodes: list[Node]) -> bool:
    return all(isinstance(node, Text) and not node.text.strip() for node in nodes)
