"""Pieces of JSON text as gjson reads them: where a string or a bracket ends, what an escape or number is.

All of it accepts any text. On JSON the answers are those of any parser (but for half surrogates and equal
keys); on anything else they are gjson's, because modifiers and pipes can make such text out of sound
documents.
"""

from __future__ import annotations

import math
import re

import orjson
import re2

from argosy.lang.gojson import Json

# Go allows an underscore between two digits, and after 0x.
_DIGITS, _HEX_DIGITS = r"[0-9](?:_?[0-9])*", r"[0-9a-f](?:_?[0-9a-f])*"
_DECIMAL = re.compile(rf"[+-]?(?:{_DIGITS}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})(?:[eE][+-]?{_DIGITS})?")
_SPECIAL = re.compile(r"[+-]?inf(?:inity)?|nan", re.IGNORECASE)
_HEXADECIMAL = re.compile(
    rf"[+-]?0x(?:_?{_HEX_DIGITS}(?:\.(?:{_HEX_DIGITS})?)?|\.{_HEX_DIGITS})p[+-]?{_DIGITS}", re.IGNORECASE
)
_INTEGER = re.compile(r"-?[0-9]+")
_TRUE, _FALSE = frozenset(("1", "t", "true")), frozenset(("0", "f", "false"))
_BRACKET_OR_QUOTE = re.compile(r'["()\[\]{}]')
# What can be stepped over at once inside a container: all but brackets, and strings whole.
_RUN = re.compile(r'(?:[^"()\[\]{}]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+', re.DOTALL)
STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
NUMBER = re.compile(r"[\s\S][^\x00-\x20,\]}]*")
LITERAL = re.compile(r"[\s\S][a-z]*")
_ESCAPE = re.compile(r"[\x00-\x1f]|\\(?:u([\s\S]{4})|([\s\S])?)")
_SHORT = {"\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"'}
_HEX = re.compile(r"[0-9a-fA-F]{4}")
_COLON = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"[ \t\n\r]*+(:?)', re.DOTALL)
# A colon after a space, a string that begins with a colon, a key that ends in a backslash (or looks so).
_DOUBTFUL = re2.compile(rb'[ \t\n\r]:|[ \t\n\r:,\[{]":|\\\\":')
# orjson reads this as the integer 0. Found inside a text it does no harm.
_MINUS_ZERO = re.compile(rb"-0(?![0-9.eE])")
_SHOWN = re.compile(r"[^\x00-\x20]")
_PIECE = re.compile(r'["\[\]{}ntf0-9-]')


def squash_end(text: str, start: int) -> int:
    """Where the piece that opens at ``start`` ends, or the text's end if it never does.

    A quote ends at its quote; any other character is taken for an opening bracket.
    """
    return closing(text, start, 0) if text[start] == '"' else closing(text, start + 1, 1)


def closing(text: str, at: int, depth: int) -> int:
    """Where the ``depth`` brackets that are open at ``at`` have all been closed, or the text's end."""
    while match := _BRACKET_OR_QUOTE.search(text, at):
        at = match.end()
        if match[0] == '"':
            at = quote_end(text, match.start()) + 1
        else:
            depth += 1 if match[0] in "([{" else -1
        if depth == 0:
            return at
    return len(text)


def quote_end(text: str, start: int) -> int:
    """The position of the quote that closes the one at ``start``, or the text's end."""
    match = STRING.match(text, start)
    return match.end() - 1 if match else len(text)


def squash(text: str, start: int) -> int:
    """Where the container that opens at ``start`` ends; past the text if a string in it never closes."""
    depth = 1
    at = start + 1
    size = len(text)
    while True:
        run = _RUN.match(text, at)
        at = run.end() if run else at
        if at >= size:
            return size
        mark = text[at]
        if mark == '"':
            return size + 1
        at += 1
        depth += 1 if mark in "{[(" else -1
        if depth == 0:
            return at


def string_content(quoted: str) -> str:
    """What a string, given with its quotes, stands for."""
    return unescape(quoted[1:-1]) if "\\" in quoted else quoted[1:-1]


def loose_string(text: str, start: int) -> tuple[str, str]:
    """The string at ``start``, with quotes and as content; without a closing quote it takes the rest."""
    match = STRING.match(text, start)
    if match:
        return match[0], string_content(match[0])
    rest = text[start:]
    return rest, unescape(rest[1:]) if "\\" in rest else rest[1:]


def unescape(text: str) -> str:
    """The content of a JSON string. Stops at a control character or at an escape that JSON does not know."""
    parts: list[str] = []
    at = 0
    while match := _ESCAPE.search(text, at):
        parts.append(text[at : match.start()])
        at = match.end()
        if match[1] is not None:
            code = _code(match[1])
            if 0xD800 <= code < 0xE000:
                # What follows is taken for the second half of the pair, whatever it is; no pair gives U+FFFD.
                second = -1
                if text[at : at + 2] == "\\u" and len(text) >= at + 6:
                    second = _code(text[at + 2 : at + 6])
                    at += 6
                pair = code < 0xDC00 and 0xDC00 <= second < 0xE000
                code = 0x10000 + ((code - 0xD800) << 10) + second - 0xDC00 if pair else 0xFFFD
            parts.append(chr(code))
        elif match[2] is not None and match[2] in _SHORT:
            parts.append(_SHORT[match[2]])
        else:
            return "".join(parts)
    parts.append(text[at:])
    return "".join(parts)


def _code(digits: str) -> int:
    return int(digits, 16) if _HEX.fullmatch(digits) else 0


def parse_float(text: str) -> float | None:
    """Go's ``strconv.ParseFloat``: None for no number, an infinity beyond the range."""
    if _DECIMAL.fullmatch(text) or _SPECIAL.fullmatch(text):
        return float(text)
    if _HEXADECIMAL.fullmatch(text):
        try:
            return float.fromhex(text.replace("_", ""))
        except OverflowError:
            return -math.inf if text[0] == "-" else math.inf
    return None


def to_float(text: str) -> float:
    """``parse_float``, and 0 for no number."""
    number = parse_float(text)
    return 0.0 if number is None else number


def to_number(text: str) -> int | float:
    """An integer where the text is one of at most 64 bits, as ``gojson.loads`` reads it; else the float."""
    if len(text) <= 20 and text != "-0" and _INTEGER.fullmatch(text):
        whole = int(text)
        if -(2**63) <= whole < 2**64:
            return whole
    return to_float(text)


def to_boolean(text: str) -> bool | None:
    """Go's ``strconv.ParseBool`` of the text in lower case; None for an error."""
    lowered = text.lower()
    return True if lowered in _TRUE else False if lowered in _FALSE else None


def container(raw: str) -> Json:
    """The value of an object or array; of equal keys the first one wins."""
    text = raw.encode("utf-8", "surrogatepass")
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return _loose_container(raw)
    return value if tells_all(text, value) else _loose_container(raw)


def tells_all(text: bytes, value: Json) -> bool:
    """Whether ``value``, which orjson read from ``text``, holds every member and number that the text has.

    What gets lost in reading is all but one of equal keys, and the sign of ``-0``. Lost members show when
    the value is written again: the text has more of them. False also where that cannot be told.
    """
    try:
        again = orjson.dumps(value)
    except TypeError:  # deeper than orjson writes
        return False
    if again == text:
        return True
    return not (b"-0" in text and _MINUS_ZERO.search(text)) and _count_members(text) == _count_members(again)


def _count_members(text: bytes) -> int:
    """How many ``"key":`` the JSON has, nearly always by counting bytes only.

    The bytes ``":`` are the end of a key unless an escape stands before the quote, or the quote opens a
    string.
    """
    if text[:2] == b'":' or _DOUBTFUL.search(text):
        return sum(map(len, _COLON.findall(text)))
    return text.count(b'":') - text.count(b'\\":')


def loose_items(raw: str) -> list[str]:
    """The raw texts of a container's values, and of an object's keys, by gjson's rules for any text."""
    opening = _SHOWN.search(raw)
    items: list[str] = []
    if opening is None or opening[0] not in "{[":
        return items
    at = opening.end()
    while (match := _PIECE.search(raw, at)) and match[0] not in "]}":
        start, first = match.start(), match[0]
        if first in "{[":
            at = squash_end(raw, start)
        elif first == '"':
            at = start + len(loose_string(raw, start)[0])
        else:
            piece = (LITERAL if first in "ntf" else NUMBER).match(raw, start)
            at = piece.end() if piece else len(raw)
        items.append(raw[start:at])
    return items


def _loose_container(raw: str) -> Json:
    """The value of what may be no JSON."""
    items = [_loose_value(item) for item in loose_items(raw)]
    if raw.lstrip()[:1] != "{":
        return items
    members: dict[str, Json] = {}
    for name, item in zip(items[::2], items[1::2], strict=False):
        members.setdefault(name if isinstance(name, str) else "", item)
    return members


def _loose_value(raw: str) -> Json:
    first = raw[0]
    if first in "{[":
        return _loose_container(raw)
    if first == '"':
        return loose_string(raw, 0)[1]
    if first in "ntf":
        return None if first == "n" else first == "t"
    return to_number(raw)
