"""Expressions cut into tokens: names, numbers, strings with Go's escapes, operators, brackets. No backquotes."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from argosy.errors import LangError

LONGEST_TEXT = 64 * 1024  # characters of an expression

WORDS = frozenset(("not", "in", "or", "and", "matches", "contains", "startsWith", "endsWith", "let"))
"""Names that are operators. Behind a dot they are names again."""

_BLANKS = frozenset(
    "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
)
_DIGITS = "0123456789_"
_RADIX = {"x": "0123456789abcdefABCDEF_", "o": "01234567_", "b": "01_"}
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}
_LENGTHS = {"x": 2, "u": 4, "U": 8}


@dataclass(frozen=True, slots=True)
class Token:
    """``kind`` is name, number, string, operator, bracket or end; ``value`` a string's content, else the text."""

    kind: str
    value: str
    offset: int

    def __str__(self) -> str:
        if self.kind == "end":
            return "the end"
        return repr(self.value) if self.kind != "string" else f"the text {self.value!r}"


def is_letter(char: str) -> bool:
    """Whether a name can begin with it."""
    return char in "_$" or unicodedata.category(char)[0] == "L"


def is_name_part(char: str) -> bool:
    """Whether it can stand inside a name."""
    return is_letter(char) or unicodedata.category(char) == "Nd"


class _Lexer:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.tokens: list[Token] = []

    def wrong(self, message: str, offset: int) -> LangError:
        return LangError(message, text=self.text, offset=min(offset, len(self.text)))

    def run(self) -> list[Token]:
        text = self.text
        while self.at < len(text):
            char = text[self.at]
            if char in _BLANKS:
                self.at += 1
            elif text.startswith("//", self.at):
                end = text.find("\n", self.at)
                self.at = len(text) if end < 0 else end + 1
            elif text.startswith("/*", self.at):
                end = text.find("*/", self.at + 2)
                if end < 0:
                    raise self.wrong("a comment is not closed", self.at)
                self.at = end + 2
            elif char in "'\"":
                self.string(char)
            elif char.isascii() and char.isdigit():
                self.number(self.at)
            elif char == ".":
                self.dot()
            elif char in "([{)]}":
                self.emit("bracket", 1)
            elif char in ",:;%+-^/":
                self.emit("operator", 1)
            elif char == "#":
                self.pointer()
            elif is_name_part(char):
                start = self.at
                self.at = self.name_end(start)
                word = text[start : self.at]
                self.tokens.append(Token("operator" if word in WORDS else "name", word, start))
            elif char in "?|&!=*<>":
                second = {"?": ".?", "|": "|"}.get(char, "&=*")
                self.emit("operator", 2 if self.at + 1 < len(text) and text[self.at + 1] in second else 1)
            else:
                raise self.wrong(f"the character {char!r} is not expected here", self.at)
        self.tokens.append(Token("end", "", len(text)))
        return self.tokens

    def emit(self, kind: str, length: int) -> None:
        self.tokens.append(Token(kind, self.text[self.at : self.at + length], self.at))
        self.at += length

    def name_end(self, position: int) -> int:
        while position < len(self.text) and is_name_part(self.text[position]):
            position += 1
        return position

    def skip(self, chars: str) -> None:
        while self.at < len(self.text) and self.text[self.at] in chars:
            self.at += 1

    def accept(self, chars: str) -> bool:
        if self.at < len(self.text) and self.text[self.at] in chars:
            self.at += 1
            return True
        return False

    def number(self, start: int) -> None:
        digits = _DIGITS
        if self.accept("0") and self.at < len(self.text):
            radix = self.text[self.at].lower()
            if radix in _RADIX:
                digits = _RADIX[radix]
                self.at += 1
        self.skip(digits)
        if not self.text.startswith("..", self.at):
            if self.accept("."):
                self.skip(digits)
            if self.accept("eE"):
                self.accept("+-")
                self.skip(digits)
            if self.at < len(self.text) and is_name_part(self.text[self.at]):
                raise self.wrong(f"{self.text[start : self.at + 1]!r} is not a number", start)
        self.tokens.append(Token("number", self.text[start : self.at], start))

    def dot(self) -> None:
        start = self.at
        self.at += 1
        if self.at < len(self.text) and self.text[self.at] in "0123456789":
            self.number(start)
            return
        self.accept(".")
        self.tokens.append(Token("operator", self.text[start : self.at], start))

    def pointer(self) -> None:
        self.emit("operator", 2 if self.text.startswith("##", self.at) else 1)
        end = self.name_end(self.at)
        if end > self.at:
            self.emit("name", end - self.at)

    def string(self, quote: str) -> None:
        start = self.at
        self.at += 1
        out: list[str] = []
        while True:
            char = self.text[self.at : self.at + 1]
            if char in ("", "\n"):
                raise self.wrong("a string is not closed", start)
            self.at += 1
            if char == quote:
                break
            if char == "\\":
                out.append(self.escape(quote))
            else:
                out.append("\n" if char == "\r" else "\ufffd" if "\ud800" <= char <= "\udfff" else char)
        self.tokens.append(Token("string", "".join(out), start))

    def escape(self, quote: str) -> str:
        start = self.at - 1
        char = self.text[self.at : self.at + 1]
        self.at += 1
        if char and char == quote:
            return char
        if char in _ESCAPES and char:
            return _ESCAPES[char]
        if char in _LENGTHS and char:
            digits, base = self.text[self.at : self.at + _LENGTHS[char]], 16
            wanted = _LENGTHS[char]
            self.at += wanted
        elif char and char in "0123":
            digits, base, wanted = self.text[self.at - 1 : self.at + 2], 8, 3
            self.at += 2
        else:
            raise self.wrong(f"{self.text[start : start + 2]!r} is not an escape", start)
        allowed = "01234567" if base == 8 else "0123456789abcdefABCDEF"
        if len(digits) < wanted or any(digit not in allowed for digit in digits):
            raise self.wrong(f"{self.text[start : self.at]!r} is not an escape", start)
        code = int(digits, base)
        if code > 0x10FFFF:
            raise self.wrong(f"{self.text[start : self.at]!r} is beyond Unicode", start)
        return "\ufffd" if 0xD800 <= code < 0xE000 else chr(code)


def tokens(text: str) -> list[Token]:
    """The tokens of ``text`` with an ``end`` behind them. Raises LangError."""
    if len(text) > LONGEST_TEXT:
        raise LangError(f"an expression of {len(text)} characters is too long; the limit is {LONGEST_TEXT}", text=text)
    return _Lexer(text).run()
