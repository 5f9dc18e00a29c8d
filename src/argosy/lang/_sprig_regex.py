"""sprig's regular expressions, in RE2 as in Go, with Go's rules for empty matches and for ``$1`` in
replacements."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

from argosy.errors import LangError
from argosy.lang._gotemplate_bound import bounded
from argosy.lang._gotemplate_functions import NoStrings, Registry, Strings, raw, registrar

FUNCTIONS: Registry = {}
sprig = registrar(FUNCTIONS)

_SPECIAL = frozenset(r"\.+*?()|[]{}^$")
_REFERENCE = re.compile(r"\$(?:\$|\{(\w+)\}|(\w+))", re.ASCII)


@functools.lru_cache(maxsize=1024)
def _compiled(pattern: str) -> Any:
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0] if error.args else ""
        said = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise LangError(f"the regular expression {pattern!r} is wrong: {said}") from error


def _matches(pattern: str, text: str) -> Iterator[Any]:
    """All matches; an empty one directly behind another match does not count."""
    expression = _compiled(pattern)
    position, previous_end = 0, -1
    while position <= len(text):
        match = expression.search(text, position)
        if match is None:
            return
        if match.end() == position:
            counts = match.start() != previous_end
            position += 1
        else:
            counts = True
            position = match.end()
        previous_end = match.end()
        if counts:
            yield match


@sprig("regexMatch", takes="ss")
def _regex_match(pattern: str, text: str) -> bool:
    try:
        return _must_regex_match(pattern, text)
    except LangError:
        return False


@sprig("mustRegexMatch", takes="ss")
def _must_regex_match(pattern: str, text: str) -> bool:
    return _compiled(pattern).search(text) is not None


@sprig("regexFind", "mustRegexFind", takes="ss")
def _regex_find(pattern: str, text: str) -> str:
    match = _compiled(pattern).search(text)
    return str(match[0]) if match else ""


@sprig("regexFindAll", "mustRegexFindAll", takes="ssi")
def _regex_find_all(pattern: str, text: str, count: int) -> Strings:
    found = Strings()
    for match in _matches(pattern, text):
        if 0 <= count <= len(found):
            break
        found.append(match[0])
    return found or NoStrings()


@sprig("regexReplaceAll", "mustRegexReplaceAll", takes="sss")
def _regex_replace_all(pattern: str, text: str, replacement: str) -> str:
    return _replaced(pattern, text, lambda match: _expanded(replacement, match))


@sprig("regexReplaceAllLiteral", "mustRegexReplaceAllLiteral", takes="sss")
def _regex_replace_all_literal(pattern: str, text: str, replacement: str) -> str:
    return _replaced(pattern, text, lambda match: replacement)


def _replaced(pattern: str, text: str, replace: Any) -> str:
    expression = _compiled(pattern)
    out: list[str] = []
    size, position, last_end = len(raw(text)), 0, 0
    while position <= len(text):
        match = expression.search(text, position)
        if match is None:
            break
        out.append(text[last_end : match.start()])
        if match.end() > last_end or match.start() == 0:
            out.append(replace(match))
            size += len(raw(out[-1]))
            bounded(size)
        last_end = match.end()
        position = match.end() if match.end() > position else position + 1
    return "".join(out) + text[last_end:]


def _expanded(template: str, match: Any) -> str:
    def group(reference: re.Match[str]) -> str:
        name = reference[1] or reference[2]
        if name is None:
            return "$"
        try:
            return str(match[int(name) if name.isdigit() else name] or "")
        except (IndexError, KeyError):
            return ""

    return _REFERENCE.sub(group, template)


@sprig("regexSplit", "mustRegexSplit", takes="ssi")
def _regex_split(pattern: str, text: str, count: int) -> Strings:
    if count == 0:
        return NoStrings()
    if pattern and not text:
        return Strings([""])
    parts, begin, end = Strings(), 0, 0
    for match in _matches(pattern, text):
        if 0 < count <= len(parts) + 1:
            break
        end = match.start()
        if match.end() != 0:
            parts.append(text[begin:end])
        begin = match.end()
    if end != len(text):
        parts.append(text[begin:])
    return parts


@sprig("regexQuoteMeta", takes="s")
def _regex_quote_meta(text: str) -> str:
    return "".join("\\" + char if char in _SPECIAL else char for char in text)
