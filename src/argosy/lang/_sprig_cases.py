"""Letters and words: Go's case mapping, one character to one character, and the naming styles snake, kebab
and Pascal."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable


def upper(char: str) -> str:
    """``unicode.ToUpper``: a character whose upper case is several characters stays."""
    mapped = char.upper()
    return mapped if len(mapped) == 1 else char


def lower(char: str) -> str:
    """``unicode.ToLower``."""
    mapped = char.lower()
    return mapped if len(mapped) == 1 else {"\u0130": "i"}.get(char, char)


def title(char: str) -> str:
    """``unicode.ToTitle``."""
    mapped = char.title()
    return mapped if len(mapped) == 1 else char


def _connects(char: str) -> bool:
    return char in "-_" or (char.isspace() and char not in "\x1c\x1d\x1e\x1f")


def _category(char: str) -> str:
    return unicodedata.category(char)


def _is_upper(char: str) -> bool:
    return _category(char) == "Lu"


def _is_letter(char: str) -> bool:
    return _category(char)[0] == "L"


def pascal(text: str) -> str:
    """xstrings' ToPascalCase: connectors go, the letter after one is upper case, a run of capitals keeps its
    first."""
    leading = len(text) - len(text.lstrip("".join({char for char in text if _connects(char)})))
    out, rest = list(text[:leading]), text[leading:]
    if not rest:
        return text + text[-1:]  # so does the original
    capitals = _is_upper(rest[0])
    current = upper(rest[0])
    for following in rest[1:]:
        before = current
        current = following
        if _connects(current) and _connects(before):
            out.append(before)
        elif _connects(before):
            capitals = _is_upper(current)
            current = upper(current)
        else:
            if capitals:
                if _is_upper(current):
                    current = lower(current)
                else:
                    capitals = False
            out.append(before)
    out.append(current)
    return "".join(out)


def separated(text: str, connector: str) -> str:
    """xstrings' ToSnakeCase and ToKebabCase: words in lower case, joined by ``connector``; numbers cling to
    words."""
    return _Joiner(_words(text), connector).run()


def _words(text: str) -> list[tuple[str, str]]:
    """The text cut into (kind, word): number, upper, letter, connector, punctuation, other."""
    words = []
    while text:
        kind, length = _first_word(text)
        words.append((kind, text[:length]))
        text = text[length:]
    return words


def _first_word(text: str) -> tuple[str, int]:
    first = text[0]
    if _connects(first):
        return "connector", _run(text, 1, _connects)
    if _category(first)[0] == "P":
        return "punctuation", _run(text, 1, lambda c: _category(c)[0] == "P")
    if _is_upper(first):
        if len(text) > 1 and _is_upper(text[1]):
            end = _run(text, 2, _is_upper)
            # In "HTTPStatus" the S belongs to the second word.
            return "upper", end - 1 if end < len(text) and _is_letter(text[end]) else end
        if len(text) > 1 and _is_letter(text[1]):
            return "upper", _run(text, 2, lambda c: _is_letter(c) and not _is_upper(c))
        return "upper", 1
    if _is_letter(first):
        return "letter", _run(text, 1, lambda c: _is_letter(c) and not _is_upper(c))
    if _category(first)[0] == "N":
        return "number", _run(text, 1, lambda c: _category(c)[0] == "N")
    return "other", _run(text, 1, lambda c: not (_connects(c) or _is_letter(c) or _category(c)[0] in "NP"))


def _run(text: str, start: int, belongs: Callable[[str], bool]) -> int:
    end = start
    while end < len(text) and belongs(text[end]):
        end += 1
    return end


class _Joiner:
    """Walks the words with one of look-ahead."""

    def __init__(self, words: list[tuple[str, str]], connector: str) -> None:
        self._words = words
        self._at = 0
        self._connector = connector
        self._out: list[str] = []

    def _next(self) -> tuple[str, str]:
        if self._at >= len(self._words):
            return "", ""
        self._at += 1
        return self._words[self._at - 1]

    @property
    def _rest(self) -> bool:
        return self._at < len(self._words)

    def _put(self, kind: str, word: str) -> None:
        if kind == "connector":
            self._out.append(self._connector * len(word))
        elif kind in ("upper", "letter"):
            self._out.append("".join(lower(char) for char in word))
        else:
            self._out.append(word)

    def _link(self) -> None:
        self._out.append(self._connector)

    def run(self) -> str:
        kind, word = self._next()
        while self._rest:
            if kind != "connector":
                self._put(kind, word)
            before, last = kind, word
            kind, word = self._next()
            if before == "number":
                kind, word = self._cling(kind, word)
                if kind not in ("", "punctuation", "connector"):
                    self._link()
            elif before == "connector":
                self._put(before, last)
            elif before != "punctuation":
                kind, word = self._after_word(kind, word)
        self._put(kind, word)
        return "".join(self._out)

    def _cling(self, kind: str, word: str) -> tuple[str, str]:
        while kind in ("letter", "number"):
            self._put(kind, word)
            kind, word = self._next()
        return kind, word

    def _after_word(self, kind: str, word: str) -> tuple[str, str]:
        if kind != "number":
            if kind not in ("connector", "punctuation"):
                self._link()
            return kind, word
        if not self._rest:
            return kind, word
        number = word
        kind, word = self._next()
        if kind != "letter":
            self._put("number", number)
            if kind not in ("connector", "punctuation"):
                self._link()
            return kind, word
        self._link()
        self._put("number", number)
        kind, word = self._cling(kind, word)
        if kind not in ("", "connector", "punctuation"):
            self._link()
        return kind, word
