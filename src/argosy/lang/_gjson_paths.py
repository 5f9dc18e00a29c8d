"""The grammar of gjson paths: how one text falls into a step, what follows it, and how the two are joined.

A path is read from the left, one step at a time, and what a step means depends on the value that it meets:
an object reads escapes and wildcards, an array reads indexes, ``#`` and queries. So there are two readers
of steps and no syntax tree of a whole path. All results are remembered, so a manifest's paths are read
once. Nothing here sees a document; nothing here fails, because in gjson every text is some path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from argosy.lang import gojson
from argosy.lang._gjson_text import closing, quote_end, squash_end, unescape

MODIFIERS = frozenset(
    {
        *("dig", "flatten", "fromstr", "group", "join", "keys", "pretty"),
        *("reverse", "this", "tostr", "ugly", "valid", "values"),
    }
)
"""The names that ``@`` may call; any other ``@name`` is an ordinary key, as in ``@timestamp``."""

_SPACE = "".join(map(chr, range(33)))
_LITERAL = re.compile(r"!([^|.]*)")
_MODIFIER = re.compile(r"@([^.|:]*)(:?)")
_remember = lru_cache(maxsize=4096)


@dataclass(frozen=True, slots=True)
class ObjectStep:
    """A key (a pattern if ``wild``) and the rest: ``path`` behind a dot if ``more``, else ``pipe`` if any."""

    key: str
    wild: bool
    more: bool
    path: str
    pipe: str | None


@dataclass(frozen=True, slots=True)
class Query:
    """``#(path op value)``; without ``op`` it asks whether ``path`` exists; ``every``: it is ``#(…)#``."""

    path: str
    op: str
    value: str
    every: bool


@dataclass(frozen=True, slots=True)
class ArrayStep:
    """What an array does with a step.

    ``index`` is -1 where the step is no number. ``counts``: the step is ``#``. ``each``: what ``#.`` asks of
    every item. ``query``: the step is a query. The rest as in ObjectStep.
    """

    index: int
    counts: bool
    each: str | None
    query: Query | None
    more: bool
    path: str
    pipe: str | None


@dataclass(frozen=True, slots=True)
class Selector:
    """One member of a multipath; ``name`` is empty where the path does not give one."""

    name: str
    path: str


def trim(text: str) -> str:
    """The text without characters up to the space, at both ends."""
    return text.strip(_SPACE)


@_remember
def object_step(path: str) -> ObjectStep:
    """How an object reads the start of the path."""
    key: list[str] = []
    wild = False
    i = 0
    while i < len(path):
        character = path[i]
        if character == "|":
            return ObjectStep("".join(key), wild, False, "", path[i + 1 :])
        if character == ".":
            more, rest, pipe = _after_dot(path, i + 1)
            return ObjectStep("".join(key), wild, more, rest, pipe)
        if character == "\\":
            # The backslash is gone from the key: beside a real wildcard an escaped one is a wildcard again.
            i += 1
            key.append(path[i : i + 1])
        else:
            wild = wild or character in "*?"
            key.append(character)
        i += 1
    return ObjectStep("".join(key), wild, False, "", None)


@_remember
def array_step(path: str) -> ArrayStep:
    """How an array reads the start of the path. Arrays know no escapes."""
    hashed = False
    each: str | None = None
    query: Query | None = None
    more, rest, pipe = False, "", None
    i = 0
    while i < len(path):
        character = path[i]
        if character == "|":
            pipe = path[i + 1 :]
            break
        if character == ".":
            if hashed:
                more, rest = True, path[i + 1 :]
            else:
                more, rest, pipe = _after_dot(path, i + 1)
            break
        if character == "#":
            hashed = True
            following = path[1:2] if i == 0 else ""
            if following == ".":
                each = path[2:]
            elif following in ("[", "("):
                read = read_query(path)
                if read is None:
                    # A query that never closes takes all of the path and any item that is no container.
                    query, i = Query("", "", "", False), len(path)
                    break
                query, i = read
                continue
        i += 1
    part = path[:i]
    digits = not hashed and part.isascii() and part.isdigit()
    index = _wrapped(int(part)) if digits and len(part) <= 4000 else -1
    return ArrayStep(index, hashed and part == "#", each, query, more, rest, pipe)


def _wrapped(number: int) -> int:
    """As Go's 64-bit arithmetic has it; a negative number matches no item."""
    number &= 2**64 - 1
    return number if number < 2**63 else -1


def _after_dot(path: str, start: int) -> tuple[bool, str, str | None]:
    """Before a modifier or a multipath a dot is a pipe."""
    following = path[start : start + 1]
    if following == "@":
        piped = re.split(r"[.|:]", path[start + 1 :], maxsplit=1)[0] in MODIFIERS
    else:
        piped = following in ("[", "{")
    return (False, "", path[start:]) if piped else (True, path[start:], None)


@_remember
def read_query(path: str) -> tuple[Query, int] | None:
    """The query at the start of ``path`` and where it ends, or None if it never closes."""
    depth = 1
    operator = 0
    escapes = False
    i = 2
    while i < len(path):
        character = path[i]
        if depth == 1 and not operator and character in "!=<>%":
            operator = i
        elif character == "\\":
            i += 1
        elif character in "[(":
            depth += 1
        elif character in "])":
            depth -= 1
            if depth == 0:
                break
        elif character == '"':
            i += 1
            while i < len(path) and path[i] != '"':
                if path[i] == "\\":
                    escapes = True
                    i += 1
                i += 1
        i += 1
    if depth:
        return None
    every = path[i + 1 : i + 2] == "#"
    if not operator:
        return Query(trim(path[2:i]), "", "", every), i + 1
    op, value = _operator(trim(path[operator:i]))
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = unescape(value[1:-1]) if escapes else value[1:-1]
    return Query(trim(path[2:operator]), op, value, every), i + 1


def _operator(text: str) -> tuple[str, str]:
    if text[:2] == "==":
        return "=", trim(text[2:])
    # With "!" before anything else the query asks for existence only; with "!" alone nothing matches.
    size = 2 if text[:2] in ("!=", "!%", "<=", ">=") else 0 if text[0] == "!" and len(text) > 1 else 1
    return text[:size], trim(text[size:])


@_remember
def split_pipe(path: str) -> tuple[str, str] | None:
    """The path behind ``#.`` or a query, cut at its first ``|`` outside of brackets; None without one."""
    if "|" not in path:
        return None
    if path[0] == "{":
        end = squash_end(path, 1) if len(path) > 1 else 1
        return (path[:end], path[end + 1 :]) if path[end : end + 1] == "|" else None
    i = 0
    while i < len(path):
        if path[i] == "\\":
            i += 1
        elif path[i] == ".":
            if i == len(path) - 1:
                return None
            if path[i + 1] == "#":
                i += 2
                if i == len(path):
                    return None
                if path[i] in "[(":
                    i = _selector_end(path, i)
        elif path[i] == "|":
            return path[:i], path[i + 1 :]
        i += 1
    return None


def _selector_end(path: str, start: int) -> int:
    """The position of the bracket that closes the one at ``start``; only brackets of its own kind count."""
    opening, closing = path[start], "]" if path[start] == "[" else ")"
    depth = 1
    i = start + 1
    while i < len(path):
        if path[i] == "\\":
            i += 1
        elif path[i] == opening:
            depth += 1
        elif path[i] == closing:
            depth -= 1
            if depth == 0:
                break
        elif path[i] == '"':
            i = quote_end(path, i)
        i += 1
    return i


@_remember
def selectors(path: str) -> tuple[tuple[Selector, ...], str] | None:
    """The members of the multipath that begins ``path`` and what follows, or None if it never closes."""
    found: list[Selector] = []
    depth, start, colon, modified = 1, 1, 0, False

    def take(end: int) -> None:
        name, at = (path[start:colon], colon + 1) if colon else ("", start)
        found.append(Selector(name, path[at:end]))

    i = 1
    while i < len(path):
        character = path[i]
        if character == "\\":
            i += 1
        elif character == "@":
            # The colon after a modifier begins its argument; the path's own colon ends a name.
            modified = modified or path[i - 1] in ".|"
        elif character == ":":
            if not modified and not colon and depth == 1:
                colon = i
        elif character == ",":
            if depth == 1:
                take(i)
                colon, modified, start = 0, False, i + 1
        elif character == '"':
            i = quote_end(path, i)
        elif character in "[({":
            depth += 1
        elif character in "])}":
            depth -= 1
            if depth == 0:
                take(i)
                return tuple(found), path[i + 1 :]
        i += 1
    return None


@_remember
def member_name(selector: Selector) -> str:
    """The key, as JSON text, under which a member of a ``{…}`` multipath stands."""
    if selector.name:
        if selector.name[0] == '"' and gojson.valid(selector.name):
            return selector.name
        return quoted(selector.name)
    path = selector.path
    last = path
    for i in range(len(path) - 1, -1, -1):
        if path[i] in ".|" and not (i and path[i - 1] == "\\"):
            last = path[i + 1 :]
            break
    simple = all(character >= " " and character not in "[]{}()#|!" for character in last)
    return quoted(last if simple else "_")


def quoted(text: str) -> str:
    """The text as JSON string, in Go's form."""
    return gojson.dumps(text).decode()


@_remember
def literal(path: str) -> tuple[str, str] | None:
    """The JSON text of the ``!…`` that begins ``path``, and the rest; None if it is only a key."""
    if path[1:2] and path[1] in '{["+-0123456789':
        # Even a number or a string is taken for an opening bracket here, so "!5.a" is the literal `5.a`.
        end = closing(path, 2, 1)
        return path[1:end], path[end:]
    match = _LITERAL.match(path)
    if match and match[1].lower() in ("true", "false", "null", "nan", "inf"):
        return match[1], path[match.end() :]
    return None


@_remember
def modifier(path: str) -> tuple[str, str, str] | None:
    """The ``@name:argument`` that begins ``path``: name, argument, rest; None if it is only a key."""
    match = _MODIFIER.match(path)
    if match is None or match[1] not in MODIFIERS:
        return None
    rest = path[match.end() :]
    if not match[2] or not rest:
        return match[1], "", rest
    if rest[0] in '{["':
        end = squash_end(rest, 0)
        return match[1], rest[:end], rest[end:]
    end = 0
    while end < len(rest) and rest[end] != "|":
        end = squash_end(rest, end) if rest[end] in '{["(' else end + 1
    return match[1], rest[:end], rest[end:]
