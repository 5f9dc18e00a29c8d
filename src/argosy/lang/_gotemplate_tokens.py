"""The words of text/template: a text is cut into tokens, with Go's rules for delimiters, trimming and
literals."""

from __future__ import annotations

import re
from dataclasses import dataclass

from argosy.errors import LangError

_SPACES = " \t\r\n"
_KEYWORDS = frozenset({"block", "break", "continue", "define", "else", "end", "if", "range", "nil", "template", "with"})
_NUMBER = re.compile(
    r"[+-]?(?:0[xX][0-9a-fA-F_]*(?:\.[0-9a-fA-F_]*)?(?:[pP][+-]?[0-9_]*)?|0[oO][0-7_]*|0[bB][01_]*"
    r"|[0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9_]*)?)i?"
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", re.DOTALL)
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}


@dataclass(frozen=True, slots=True)
class Token:
    """One token. ``kind`` is its name, or itself for punctuation and keywords."""

    kind: str
    text: str
    offset: int


def tokens(text: str) -> list[Token]:
    """The tokens of ``text``; the last one is of kind "eof". Raises LangError with the place."""
    return _Lexer(text).run()


def unquote(token: str) -> str:
    """The string that a Go literal (double-quoted or raw) stands for. Raises ValueError."""
    if token[0] == "`":
        return token[1:-1].replace("\r", "")
    if "\n" in token:
        raise ValueError(token)
    raw = b""
    position = 0
    inner = token[1:-1]
    for match in _ESCAPE.finditer(inner):
        raw += inner[position : match.start()].encode("utf-8", "surrogateescape") + _unescape(match[1], token[0])
        position = match.end()
    return (raw + inner[position:].encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


def _unescape(code: str, mark: str) -> bytes:
    if len(code) == 3 and code[0] in "01234567":
        return bytes([int(code, 8)])  # above 377 bytes() raises ValueError, as it should
    if len(code) == 3 and code[0] == "x":
        return bytes([int(code[1:], 16)])
    if len(code) > 1:
        return chr(int(code[1:], 16)).encode()
    if code == mark:
        return mark.encode()
    if code not in _ESCAPES:
        raise ValueError(code)
    return _ESCAPES[code].encode()


class _Lexer:
    """Cuts the text into tokens. Inside an action blanks are tokens, because they separate operands."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self.tokens: list[Token] = []

    def wrong(self, message: str, offset: int | None = None) -> LangError:
        return LangError(message, text=self._text, offset=self._at if offset is None else offset)

    def run(self) -> list[Token]:
        text = self._text
        while True:
            start = text.find("{{", self._at)
            if start < 0:
                self._add_text(text[self._at :], self._at)
                self.tokens.append(Token("eof", "", len(text)))
                return self.tokens
            literal = text[self._at : start]
            trims = text[start + 2 : start + 3] == "-" and text[start + 3 : start + 4] in tuple(_SPACES)
            self._add_text(literal.rstrip(_SPACES) if trims else literal, self._at)
            inside = start + (4 if trims else 2)
            if text.startswith("/*", inside):
                self._comment(inside)
                continue
            self.tokens.append(Token("{{", "{{", start))
            self._at = inside
            self._action(start)

    def _add_text(self, literal: str, offset: int) -> None:
        if literal:
            self.tokens.append(Token("text", literal, offset))

    def _close(self) -> tuple[int, bool] | None:
        """Length of a closing delimiter here, and whether it trims what follows."""
        text, at = self._text, self._at
        if text[at : at + 1] in tuple(_SPACES) and text.startswith("-}}", at + 1):
            return 4, True
        return (2, False) if text.startswith("}}", at) else None

    def _leave(self, length: int, trims: bool) -> None:
        self._at += length
        if trims:
            rest = self._text[self._at :]
            self._at += len(rest) - len(rest.lstrip(_SPACES))

    def _comment(self, inside: int) -> None:
        end = self._text.find("*/", inside + 2)
        if end < 0:
            raise self.wrong("the comment is not closed", inside)
        self._at = end + 2
        close = self._close()
        if close is None:
            raise self.wrong("after a comment only '}}' may stand in the action")
        self._leave(*close)

    def _action(self, start: int) -> None:
        text, parentheses = self._text, 0
        while True:
            close = self._close()
            if close:
                if parentheses:
                    raise self.wrong("a left parenthesis is not closed", start)
                self.tokens.append(Token("}}", "}}", self._at))
                self._leave(*close)
                return
            if self._at >= len(text):
                raise self.wrong("the action is not closed: '}}' is missing", start)
            char = text[self._at]
            if char in _SPACES:
                self._blanks()
                continue
            kind, length = self._token(char)
            if kind in "()":
                parentheses += 1 if kind == "(" else -1
                if parentheses < 0:
                    raise self.wrong("a right parenthesis without a left one")
            self.tokens.append(Token(kind, text[self._at : self._at + length], self._at))
            self._at += length

    def _blanks(self) -> None:
        start = self._at
        while self._text[self._at : self._at + 1] in tuple(_SPACES) and not self._close():
            self._at += 1
        if self._at > start:
            self.tokens.append(Token("space", self._text[start : self._at], start))

    def _token(self, char: str) -> tuple[str, int]:
        text, at = self._text, self._at
        if char in "=|()":
            return char, 1
        if char == ":":
            if text[at + 1 : at + 2] != "=":
                raise self.wrong("':' is followed by '=' or nothing")
            return ":=", 2
        if char in "\"'":
            return ("string" if char == '"' else "char"), self._quoted(char)
        if char == "`":
            end = text.find("`", at + 1)
            if end < 0:
                raise self.wrong("the raw string is not closed")
            return "string", end + 1 - at
        if char == "$":
            return "variable", self._name(1)
        if char == "." and not ("0" <= text[at + 1 : at + 2] <= "9"):
            length = self._name(1)
            return ("field" if length > 1 else "dot"), length
        if char in ".+-" or "0" <= char <= "9":
            return "number", self._number()
        if _alphanumeric(char):
            length = self._name(0)
            word = text[at : at + length]
            if word in _KEYWORDS:
                return word, length
            return ("bool" if word in ("true", "false") else "identifier"), length
        if char.isascii() and char.isprintable():
            return "mark", 1
        raise self.wrong(f"{char!r} is not expected in an action")

    def _quoted(self, mark: str) -> int:
        at = self._at + 1
        while at < len(self._text) and self._text[at] != "\n":
            if self._text[at] == "\\":
                at += 1
                if self._text[at : at + 1] == "\n":
                    break
            elif self._text[at] == mark:
                return at + 1 - self._at
            at += 1
        raise self.wrong("the string is not closed" if mark == '"' else "the character is not closed")

    def _name(self, length: int) -> int:
        text = self._text
        end = self._at + length
        while end < len(text) and _alphanumeric(text[end]):
            end += 1
        if end < len(text) and text[end] not in _SPACES + ".,|:()" and not text.startswith("}}", end):
            raise self.wrong(f"{text[end]!r} may not follow {text[self._at : end]!r}", end)
        return end - self._at

    def _number(self) -> int:
        match = _NUMBER.match(self._text, self._at)
        length = match.end() - self._at if match else 0
        following = self._text[self._at + length : self._at + length + 1]
        if _alphanumeric(following) or following in tuple("+-"):
            raise self.wrong(f"{self._text[self._at : self._at + length + 1]!r} is not a number")
        return length


def _alphanumeric(char: str) -> bool:
    return char == "_" or char.isalpha() or char.isdecimal()
