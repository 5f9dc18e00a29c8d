"""Finds what a gjson path names in JSON text: reads it from the left and skips what is not asked for.

``get`` is gjson's ``Get``: it takes one text and one path, and calls itself (``_find``) for pipes, queries and the
members of a multipath, each time on the text of the value found so far. That is why raw text and spaces
survive, why the first of equal keys wins, and why a pipe behind a string searches the string. The text need
not be JSON. What a modifier does stands in ``_gjson_modifiers``, which fills ``MODIFIERS`` here when it is
imported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from argosy.lang import _gjson_paths as paths
from argosy.lang._gjson_bound import begin, made
from argosy.lang._gjson_match import glob, matches
from argosy.lang._gjson_result import Hit, Kind
from argosy.lang._gjson_text import LITERAL, NUMBER, STRING, loose_string, squash, string_content, unescape

MODIFIERS: dict[str, Callable[[str, str], str]] = {}
"""What ``@name`` does: text and argument in, text out."""

_KEY_OR_END = re.compile(r'["}]')
_VALUE = re.compile(r'["{\[ntf+\-0-9iIN]')
_ITEM = re.compile(r'["{\[ntf+\-0-9iIN\]]')
_OPENING = re.compile(r"[{\[]")
_PAST_SPACE = re.compile(r"[^\x00-\x20]")
_PAST_JSON_SPACE = re.compile(r"[^ \t\r\n]")
_PAST_MARKS = re.compile(r"[^\x00-\x20,:]")
_SCALARS: dict[str, Kind] = {"n": "Null", "t": "True", "f": "False"}


def get(json: str, path: str) -> Hit:
    """What ``path`` finds in ``json``; a Hit that does not exist if nothing. Raises LangError where ``made`` does."""
    begin()
    return _find(json, path)


def _find(json: str, path: str) -> Hit:
    if len(path) > 1:
        found = _special(json, path)
        if isinstance(found, Hit):
            return found
        path = found
    search = _Search(json)
    if path.startswith(".."):
        search.array(0, path[2:])
    else:
        opening = _OPENING.search(json)
        if opening is not None:
            (search.object if opening[0] == "{" else search.array)(opening.end(), path)
    hit = search.hit
    if search.pipe is not None:
        hit = get_in(hit, search.pipe)
        hit.index = 0
    elif hit.raw and not search.computed:
        hit.index = max(hit.at, 0)
    return hit


def get_in(hit: Hit, path: str) -> Hit:
    """What ``path`` finds in the raw text of ``hit``, with places in the text that ``hit`` stands in."""
    found = _find(hit.raw, path)
    if found.indexes is not None:
        found.indexes = [index + hit.index for index in found.indexes]
    else:
        found.index += hit.index
    found.at = found.at + hit.at if found.at >= 0 and hit.at >= 0 else -1
    return found


def parse(json: str) -> Hit:
    """The text's first value. A container takes all the rest of the text, as in gjson."""
    match = _PAST_SPACE.search(json)
    if match is None:
        return Hit("Null", "")
    at = match.start()
    first = match[0]
    if first in "{[":
        hit = Hit("JSON", json[at:], at)
    elif first == '"':
        raw, content = loose_string(json, at)
        hit = Hit("String", raw, at, content)
    elif first in "tf+-0123456789iINn":
        hit, _ = _scalar(json, at)
    else:
        return Hit("Null", "")
    hit.index = at
    return hit


def members(hit: Hit) -> Iterator[tuple[Hit, Hit]]:
    """An object's members with their keys, an array's items, or the value itself: gjson's ``ForEach``."""
    if not hit.exists:
        return
    nameless = Hit("Null", "")
    if hit.kind != "JSON":
        yield nameless, hit
        return
    json = hit.raw
    opening = _PAST_SPACE.search(json)
    if opening is None or opening[0] not in "{[":
        return
    keyed = opening[0] == "{"
    at = opening.end()
    key = nameless
    while at < len(json):
        if keyed:
            quote = json.find('"', at)
            if quote < 0:
                return
            quoted = STRING.match(json, quote)
            if quoted is None:
                return
            key = Hit("String", quoted[0], quote, string_content(quoted[0]))
            at = quoted.end()
        start = _PAST_MARKS.search(json, at)
        value, at = any_value(json, start.start() if start else len(json))
        if value is None:
            return
        yield key, value
        at += 1


def any_value(json: str, at: int) -> tuple[Hit | None, int]:
    """The next value at or after ``at`` and where it ends; None if there is none."""
    match = _VALUE.search(json, at)
    if match is None:
        return None, len(json)
    at = match.start()
    if match[0] in "{[":
        end = squash(json, at)
        hit = Hit("JSON", json[at:end], at)
        hit.index = at
        return hit, end
    if match[0] == '"':
        quoted = STRING.match(json, at)
        if quoted is None:
            return None, len(json)
        return Hit("String", quoted[0], at, string_content(quoted[0])), quoted.end()
    return _scalar(json, at)


def _scalar(json: str, at: int) -> tuple[Hit, int]:
    """The literal or number at ``at``.

    Only `nu…` is a null; with any other letter `n` begins `nan`, a number.
    """
    first = json[at]
    if first in "tf" or (first == "n" and json[at + 1 : at + 2] in ("u", "")):
        match = LITERAL.match(json, at)
        kind: Kind = _SCALARS[first]
    else:
        match = NUMBER.match(json, at)
        kind = "Number"
    end = match.end() if match else len(json)
    return Hit(kind, json[at:end], at), end


def _special(json: str, path: str) -> Hit | str:
    """What a path that begins with a modifier, literal or multipath finds, or else the path of steps."""
    first = path[0]
    if first == "@":
        call = paths.modifier(path)
        if call is None:
            return path
        name, argument, rest = call
        text = MODIFIERS[name](json, argument)
        if text is not json:
            made(text)
        return _onward(text, rest, text is json and name != "ugly")
    if first == "!":
        constant = paths.literal(path)
        return path if constant is None else _onward(*constant, False)
    if first in "[{":
        read = paths.selectors(path)
        # What is no multipath is gone, as in gjson: of "[a]b" only the "b" counts, of "[a" the empty key.
        if read is None:
            return ""
        if read[1][:1] not in ("", "|", "."):
            return read[1]
        return _multipath(json, first, *read)
    return path


def _onward(text: str, rest: str, same: bool) -> Hit:
    if rest[:1] in ("|", "."):
        hit = _find(text, rest[1:])
        hit.index = 0
        hit.indexes = None
    else:
        hit = parse(text)
    if not same:
        hit.at = -1
    return hit


def _multipath(json: str, kind: str, selectors: tuple[paths.Selector, ...], rest: str) -> Hit:
    parts: list[str] = []
    for selector in selectors:
        found = _find(json, selector.path)
        if found.exists:
            raw = made(found.raw or found.string() or "null")
            parts.append(f"{paths.member_name(selector)}:{raw}" if kind == "{" else raw)
    hit = Hit("JSON", kind + ",".join(parts) + ("}" if kind == "{" else "]"))
    if rest:
        hit = get_in(hit, rest[1:])
    hit.index = 0
    return hit


class _Search:
    """One walk through one text.

    ``hit`` is what it found; ``pipe`` the path that goes on from there, if any.
    """

    __slots__ = ("computed", "hit", "json", "pipe")

    def __init__(self, json: str) -> None:
        self.json = json
        self.hit = Hit("Null", "")
        self.pipe: str | None = None
        self.computed = False

    def object(self, at: int, path: str) -> tuple[int, bool]:
        """Read members from ``at`` until one fits the path. Where reading stopped, and whether it found."""
        json = self.json
        size = len(json)
        step = paths.object_step(path)
        key, wild, more = step.key, step.wild, step.more
        if step.pipe is not None:
            self.pipe = step.pipe
        while at < size:
            match = _KEY_OR_END.search(json, at)
            if match is None:
                return size, False
            if match[0] == "}":
                return match.end(), False
            quoted = STRING.match(json, match.start())
            if quoted is None:
                return size, False
            name = json[quoted.start() + 1 : quoted.end() - 1]
            if "\\" in name:
                name = unescape(name)
            fits = glob(name, key) if wild else name == key
            match = _VALUE.search(json, quoted.end())
            if match is None:
                return size, False
            at = match.start()
            first = match[0]
            if fits and more and first in "{[":
                at, found = (self.object if first == "{" else self.array)(at + 1, step.path)
                if found:
                    return at, True
                continue
            value, at = self._value(at, first, fits and not more)
            if at < 0:
                return size, False
            if value is not None:
                self.hit = value
                return at, True
        return at, False

    def _value(self, at: int, first: str, wanted: bool) -> tuple[Hit | None, int]:
        """The value at ``at`` if it is wanted, and where it ends, -1 for a string that never closes."""
        json = self.json
        if first == '"':
            quoted = STRING.match(json, at)
            if quoted is None:
                return None, -1
            if not wanted:
                return None, quoted.end()
            return Hit("String", quoted[0], at, string_content(quoted[0])), quoted.end()
        if first in "{[":
            end = squash(json, at)
            return (Hit("JSON", json[at:end], at) if wanted else None), end
        scalar, end = _scalar(json, at)
        return (scalar if wanted else None), end

    def array(self, at: int, path: str) -> tuple[int, bool]:
        """Read items from ``at`` until one fits the path; the end of the text closes the array too."""
        json = self.json
        size = len(json)
        step = paths.array_step(path)
        if step.pipe is not None:
            self.pipe = step.pipe
        index, more, each = step.index, step.more, step.each
        inquiry = None if step.query is None else _Inquiry(self, step)
        starts: list[int] = []
        count = 0
        while at <= size:
            fits = index == count
            count += 1
            if each is not None:
                starts.append(at)
            match = _ITEM.search(json, at)
            first = match[0] if match else "]"
            at = match.start() if match else size
            if first == "]":
                return at + 1, self._close(step, starts, count - 1, inquiry)
            if fits and more and first in "{[":
                at, found = (self.object if first == "{" else self.array)(at + 1, step.path)
                if found:
                    return at, True
                continue
            value, at = self._value(at, first, inquiry is not None or (fits and not more))
            if at < 0:
                return size, False
            if inquiry is not None:
                if value is not None and inquiry.ask(value):
                    return at, True
            elif value is not None:
                self.hit = value
                return at, True
        return at, False

    def _close(self, step: paths.ArrayStep, starts: list[int], count: int, inquiry: _Inquiry | None) -> bool:
        """What ``#``, ``#.…`` and ``#(…)#`` yield when the array ends."""
        if step.counts:
            if step.each is None:
                self.hit = Hit("Number", str(count))
                self.computed = True
            else:
                self.hit = self._collect(step.each, starts)
            return True
        if inquiry is not None and inquiry.query.every and not self.hit.exists:
            self.hit = Hit("JSON", f"[{','.join(inquiry.texts)}]")
            self.hit.indexes = inquiry.places or None
        return False

    def _collect(self, path: str, starts: list[int]) -> Hit:
        cut = paths.split_pipe(path)
        if cut is not None:
            path, self.pipe = cut
        texts: list[str] = []
        places: list[int] = []
        for start in starts:
            match = _PAST_JSON_SPACE.search(self.json, start)
            if match is None or match[0] == "]":
                continue
            item, _ = any_value(self.json, match.start())
            if item is None:
                continue
            found = get_in(item, path)
            if found.exists:
                texts.append(made(found.raw or found.string()))
                places.append(found.index)
        hit = Hit("JSON", f"[{','.join(texts)}]")
        hit.indexes = places
        return hit


class _Inquiry:
    """A query at work on the items of one array; ``texts`` and ``places`` are what ``#(…)#`` gathers."""

    __slots__ = ("more", "path", "places", "query", "search", "texts")

    def __init__(self, search: _Search, step: paths.ArrayStep) -> None:
        assert step.query is not None
        self.search = search
        self.query = step.query
        self.more = step.more
        self.path = step.path
        self.texts: list[str] = []
        self.places: list[int] = []

    def ask(self, item: Hit) -> bool:
        """Take the item if it satisfies the query; True if the search has ended with it."""
        if item.kind == "JSON":
            found = get_in(item, self.query.path)
        elif self.query.path:
            return False
        else:
            found = item
        if not matches(self.query, found):
            return False
        taken = item
        if self.more:
            cut = paths.split_pipe(self.path)
            if cut is not None:
                self.path, self.search.pipe = cut
            taken = get_in(item, self.path)
        if not self.query.every:
            self.search.hit = taken
            return True
        raw = taken.raw or taken.string()
        if raw:
            self.texts.append(made(raw))
            self.places.append(taken.index + item.at)
        return False
