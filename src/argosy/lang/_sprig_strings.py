"""sprig's functions on strings. Lengths and positions count bytes where the Go originals count bytes."""

from __future__ import annotations

import secrets
import string
import unicodedata
from collections.abc import Sequence
from typing import Any

from argosy.errors import LangError
from argosy.lang import _gotemplate_print as goprint
from argosy.lang import _sprig_cases as cases
from argosy.lang._gotemplate_bound import Made, bounded, bounded_list, joined
from argosy.lang._gotemplate_functions import (
    Registry,
    StringMap,
    Strings,
    raw,
    registrar,
    text_of,
)

FUNCTIONS: Registry = {}
sprig = registrar(FUNCTIONS)

_BLANKS = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)


def strval(value: Any) -> str:
    """A value as sprig makes a string of it: ``%v``."""
    return goprint.show(value)


def strings_of(value: Any) -> Strings:
    """sprig's list of strings: nil elements are left out, a single value is a list of one."""
    if isinstance(value, list):
        made = Made()
        return Strings(made(strval(item)) for item in value if item is not None)
    return Strings() if value is None else Strings([strval(value)])


@sprig("hello")
def _hello() -> str:
    return "Hello!"


@sprig("upper", takes="s")
def _upper(text: str) -> str:
    return "".join(cases.upper(char) for char in text)


@sprig("lower", takes="s")
def _lower(text: str) -> str:
    return "".join(cases.lower(char) for char in text)


@sprig("trim", takes="s")
def _trim(text: str) -> str:
    return text.strip(_BLANKS)


@sprig("trimAll", "trimall", takes="ss")
def _trim_all(cut: str, text: str) -> str:
    return text.strip(cut) if cut else text


@sprig("trimSuffix", takes="ss")
def _trim_suffix(suffix: str, text: str) -> str:
    return text.removesuffix(suffix)


@sprig("trimPrefix", takes="ss")
def _trim_prefix(prefix: str, text: str) -> str:
    return text.removeprefix(prefix)


@sprig("title", takes="s")
def _title(text: str) -> str:
    out, before = [], " "
    for char in text:
        out.append(cases.title(char) if _separates(before) else char)
        before = char
    return "".join(out)


def _separates(char: str) -> bool:
    if char.isascii():
        return not (char.isalnum() or char == "_")
    return not (char.isalpha() or char.isdecimal()) and char in _BLANKS


@sprig("untitle", takes="s")
def _untitle(text: str) -> str:
    out, first = [], True
    for char in text:
        if char in _BLANKS:
            first = True
        elif first:
            char, first = cases.lower(char), False
        out.append(char)
    return "".join(out)


@sprig("swapcase", takes="s")
def _swapcase(text: str) -> str:
    out, blank = [], True
    for char in text:
        category = unicodedata.category(char)
        if category in ("Lu", "Lt"):
            out.append(cases.lower(char))
            blank = False
        elif char.islower() and category == "Ll":
            out.append(cases.title(char) if blank else cases.upper(char))
            blank = False
        else:
            out.append(char)
            blank = char in _BLANKS
    return "".join(out)


@sprig("snakecase", takes="s")
def _snakecase(text: str) -> str:
    return cases.separated(text, "_")


@sprig("kebabcase", takes="s")
def _kebabcase(text: str) -> str:
    return cases.separated(text, "-")


@sprig("camelcase", takes="s")
def _camelcase(text: str) -> str:
    return cases.pascal(text)


@sprig("nospace", takes="s")
def _nospace(text: str) -> str:
    # The original looks at bytes and writes each as a character, if there is a blank at all.
    data = raw(text)
    kept = bytes(byte for byte in data if chr(byte) not in "\t\n\v\f\r \x85\xa0")
    return text if len(kept) == len(data) else kept.decode("latin-1")


@sprig("initials", takes="s")
def _initials(text: str) -> str:
    out, gap = [], True
    for byte in raw(text):
        char = chr(byte)
        if char in "\t\n\v\f\r \x85\xa0":
            gap = True
        elif gap:
            out.append(char)
            gap = False
    return "".join(out)


@sprig("trunc", takes="is")
def _trunc(count: int, text: str) -> str:
    data = raw(text)
    if count < 0 < len(data) + count:
        return text_of(data[count:])
    return text_of(data[:count]) if 0 <= count < len(data) else text


@sprig("substr", takes="iis")
def _substr(start: int, end: int, text: str) -> str:
    data = raw(text)
    if start < 0:
        low, high = 0, end
    elif end < 0 or end > len(data):
        low, high = start, len(data)
    else:
        low, high = start, end
    if not 0 <= low <= high <= len(data):
        raise LangError(f"there is no part {low}:{high} of a string of {len(data)} bytes")
    return text_of(data[low:high])


@sprig("abbrev", takes="is")
def _abbrev(width: int, text: str) -> str:
    return text if width < 4 else _abbreviated(text, 0, width)


@sprig("abbrevboth", takes="iis")
def _abbrevboth(left: int, right: int, text: str) -> str:
    if right < 4 or (left > 0 and right < 7):
        return text
    return _abbreviated(text, left, right)


def _abbreviated(text: str, offset: int, width: int) -> str:
    data = raw(text)
    if len(data) <= width:
        return text
    offset = min(offset, len(data))
    if len(data) - offset < width - 3:
        offset = len(data) - (width - 3)
    if offset <= 4:
        return text_of(data[: width - 3] + b"...")
    if width < 7:
        return ""
    if offset + width - 3 < len(data):
        inner = _abbreviated(text_of(data[offset:]), 0, width - 3) if width - 3 >= 4 else ""
        return "..." + inner
    return text_of(b"..." + data[len(data) - (width - 3) :])


@sprig("repeat", takes="is")
def _repeat(count: int, text: str) -> str:
    if count < 0:
        raise LangError("a text cannot be repeated less than 0 times")
    bounded(count * len(raw(text)))
    return text * count


@sprig("contains", takes="ss")
def _contains(part: str, text: str) -> bool:
    return part in text


@sprig("hasPrefix", takes="ss")
def _has_prefix(prefix: str, text: str) -> bool:
    return text.startswith(prefix)


@sprig("hasSuffix", takes="ss")
def _has_suffix(suffix: str, text: str) -> bool:
    return text.endswith(suffix)


@sprig("quote", rest="a")
def _quote(*values: Any) -> str:
    return joined((goprint.quote(strval(value)) for value in values if value is not None), " ")


@sprig("squote", rest="a")
def _squote(*values: Any) -> str:
    return joined((f"'{goprint.show(value)}'" for value in values if value is not None), " ")


@sprig("cat", rest="a")
def _cat(*values: Any) -> str:
    return joined((goprint.show(value) for value in values if value is not None), " ")


@sprig("indent", takes="is")
def _indent(spaces: int, text: str) -> str:
    if spaces < 0:
        raise LangError("a text cannot be indented by less than 0")
    bounded(len(raw(text)) + spaces * (text.count("\n") + 1))
    pad = " " * spaces
    return pad + text.replace("\n", "\n" + pad)


@sprig("nindent", takes="is")
def _nindent(spaces: int, text: str) -> str:
    return "\n" + _indent(spaces, text)


@sprig("replace", takes="sss")
def _replace(old: str, new: str, text: str) -> str:
    bounded(len(raw(text)) + text.count(old) * len(raw(new)))
    return text.replace(old, new)


@sprig("plural", takes="ssi")
def _plural(one: str, many: str, count: int) -> str:
    return one if count == 1 else many


@sprig("toString", takes="a")
def _to_string(value: Any) -> str:
    return strval(value)


@sprig("toStrings", takes="a", deep=True)
def _to_strings(value: Any) -> Strings:
    return strings_of(value)


@sprig("join", takes="sa")
def _join(separator: str, value: Any) -> str:
    parts = strings_of(value)
    bounded(sum(map(len, parts)) + len(separator) * len(parts))
    return separator.join(parts)


@sprig("sortAlpha", takes="a", deep=True)
def _sort_alpha(value: Any) -> Strings:
    return Strings(sorted(strings_of(value), key=raw)) if isinstance(value, list) else Strings([strval(value)])


def _split_text(separator: str, text: str, count: int = -1) -> list[str]:
    if count == 0:
        return []
    if not separator:
        parts = list(text)
        return parts if count < 0 or len(parts) <= count else [*parts[: count - 1], "".join(parts[count - 1 :])]
    bounded_list(text.count(separator))
    return text.split(separator, count - 1 if count > 0 else -1)


@sprig("split", takes="ss")
def _split(separator: str, text: str) -> StringMap:
    return _numbered(_split_text(separator, text))


@sprig("splitn", takes="sis")
def _splitn(separator: str, count: int, text: str) -> StringMap:
    return _numbered(_split_text(separator, text, count))


def _numbered(parts: Sequence[str]) -> StringMap:
    return StringMap({f"_{number}": part for number, part in enumerate(parts)})


@sprig("splitList", takes="ss")
def _split_list(separator: str, text: str) -> Strings:
    return Strings(_split_text(separator, text))


@sprig("wrap", takes="is")
def _wrap(width: int, text: str) -> str:
    return _wrapped(width, "\n", text, cut=False)


@sprig("wrapWith", takes="iss")
def _wrap_with(width: int, separator: str, text: str) -> str:
    return _wrapped(width, separator or "\n", text, cut=True)


def _wrapped(width: int, separator: str, text: str, *, cut: bool) -> str:
    data, glue = raw(text), raw(separator)
    width = max(width, 1)
    bounded(len(data) + len(glue) * (len(data) // width + data.count(b" ") + 1))
    out, at = [], 0
    while len(data) - at > width:
        if data[at : at + 1] == b" ":
            at += 1
            continue
        blank = data.rfind(b" ", at, at + width + 1)
        if blank >= 0:
            out.append(data[at:blank] + glue)
            at = blank + 1
        elif cut:
            out.append(data[at : at + width] + glue)
            at += width
        else:
            blank = data.find(b" ", at + width)
            if blank < 0:
                out.append(data[at:])
                at = len(data)
            else:
                out.append(data[at:blank] + glue)
                at = blank + 1
    return text_of(b"".join(out) + data[at:])


def _random(count: int, alphabet: str) -> str:
    if count < 0:
        return ""
    bounded(count)
    return "".join(secrets.choice(alphabet) for _ in range(count))


@sprig("randAlpha", takes="i")
def _rand_alpha(count: int) -> str:
    return _random(count, string.ascii_letters)


@sprig("randAlphaNum", takes="i")
def _rand_alpha_num(count: int) -> str:
    return _random(count, string.ascii_letters + string.digits)


@sprig("randNumeric", takes="i")
def _rand_numeric(count: int) -> str:
    return _random(count, string.digits)


@sprig("randAscii", takes="i")
def _rand_ascii(count: int) -> str:
    return _random(count, "".join(map(chr, range(32, 127))))


@sprig("shuffle", takes="s")
def _shuffle(text: str) -> str:
    chars = list(text)
    secrets.SystemRandom().shuffle(chars)
    return "".join(chars)
