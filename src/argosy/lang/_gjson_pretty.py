"""JSON text laid out in lines, as ``@pretty`` gives it: two spaces a level, short arrays on one line.

Works on bytes, because a column is a byte there. Numbers and strings are copied as they are written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from argosy.errors import LangError
from argosy.lang import gojson
from argosy.lang._gjson_text import to_float

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_NUMBER = re.compile(rb"[\s\S][^\x00-\x20,:\]}]*")
_RANKS = {b'"': 3, b"f": 1, b"t": 4, b"n": 0, b"[": 5, b"{": 5, b"": 0}
_WORDS = {ord("t"): b"true", ord("f"): b"false", ord("n"): b"null"}


@dataclass(slots=True)
class _Member:
    """Where one member of an object that is to be sorted stands: its key, and its line in the output."""

    key: bytes
    line: bytes


def pretty(json: str, *, width: int, prefix: str, indent: str, sort_keys: bool) -> str:
    """The text laid out; ``width`` in bytes, 0 or less keeps each item on its own line."""
    layout = _Layout(json.encode("utf-8", "surrogatepass"), width, prefix.encode(), indent.encode(), sort_keys)
    layout.any(0, True, 0, -1)
    out = layout.out
    if out:
        out += b"\n"
    return out.decode("utf-8", "surrogatepass")


class _Layout:
    __slots__ = ("indent", "json", "line", "out", "prefix", "sort_keys", "width")

    def __init__(self, json: bytes, width: int, prefix: bytes, indent: bytes, sort_keys: bool) -> None:
        self.json = json
        self.width = width
        self.prefix = prefix
        self.indent = indent
        self.sort_keys = sort_keys
        self.out = bytearray(prefix)
        self.line = 0  # where the current line of the output began

    def any(self, at: int, lines: bool, depth: int, limit: int) -> tuple[int, bool]:
        """Write the value at or after ``at``; where it ended, and whether it fits ``limit`` on one line."""
        json = self.json
        while at < len(json):
            first = json[at]
            if first <= 0x20:
                at += 1
            elif first == 0x22:
                return self._copy(_STRING, at), True
            elif first in b"0123456789-iI+N" or (first == 0x6E and json[at + 1 : at + 2] not in (b"u", b"")):
                return self._copy(_NUMBER, at), True
            elif first in b"{[":
                return self._container(at, lines, depth, limit)
            elif first in b"tfn":
                self.out += _WORDS[first]
                return at + len(_WORDS[first]), True
            else:
                at += 1
        return at, True

    def _copy(self, pattern: re.Pattern[bytes], at: int) -> int:
        match = pattern.match(self.json, at)
        end = match.end() if match else len(self.json)
        self.out += self.json[at:end]
        return end

    def _container(self, at: int, lines: bool, depth: int, limit: int) -> tuple[int, bool]:
        keyed = self.json[at] == 0x7B
        if self.width > 0:
            if lines and not keyed and limit == -1:
                room = self.width - (len(self.out) - self.line)
                if room > 3:
                    start, line = len(self.out), self.line
                    indent, self.indent = self.indent, b""
                    end, fits = self._members(at, False, 0, room)
                    self.indent, self.line = indent, line
                    if fits and len(self.out) - start <= room:
                        return end, True
                    del self.out[start:]
            elif limit != -1 and keyed:
                return at, False
        return self._members(at, lines, depth, limit)

    def _members(self, at: int, lines: bool, depth: int, limit: int) -> tuple[int, bool]:
        json, out = self.json, self.out
        keyed = json[at] == 0x7B
        closing = json[at] + 2
        out.append(json[at])
        opened = len(out)
        sorting = keyed and lines and self.sort_keys
        members: list[_Member] = []
        count = 0
        at += 1
        while at < len(json):
            if json[at] == closing:
                if sorting:
                    _put_in_order(out, opened, members)
                self._close(closing, lines and count > 0, depth)
                return at + 1, not keyed
            if json[at] <= 0x20 or (keyed and json[at] != 0x22):
                at += 1
                continue
            if count:
                out += b"," if keyed or self.width == -1 else b", "
            if lines:
                self._new_line(depth + 1)
            start, key_start = self.line + 1, at
            key = b""
            if keyed:
                at = self._copy(_STRING, at)
                key = json[key_start:at]
                out += b": " if lines else b":"
            at, fits = self.any(at, lines, depth + 1, limit)
            if limit != -1 and not fits:
                return at, False
            if sorting:
                members.append(_Member(key, bytes(out[start:])))
            count += 1
        return at, not keyed

    def _new_line(self, depth: int) -> None:
        out = self.out
        self.line = len(out)
        if out[-1:] == b" ":
            self.line = len(out)
            out[-1:] = b"\n"
        else:
            out += b"\n"
        out += self.prefix + self.indent * depth

    def _close(self, mark: int, lines: bool, depth: int) -> None:
        if lines:
            self._new_line(depth)
        self.out.append(mark)


def _put_in_order(out: bytearray, start: int, members: list[_Member]) -> None:
    ordered = sorted(members, key=lambda member: (_order(member.key), _order(_after_key(member))))
    if ordered != members:
        first = out[start : start + 1]
        out[start:] = first + b",\n".join(member.line for member in ordered)


def _after_key(member: _Member) -> bytes:
    line = member.line.strip()
    return line[len(member.key) + 1 :].strip() if len(line) > len(member.key) else line


def _order(raw: bytes) -> tuple[int, str | float]:
    rank = _RANKS.get(raw[:1], 2)
    if rank == 3:
        try:
            return rank, str(gojson.loads(raw))
        except LangError:
            return rank, ""
    text = raw.decode("utf-8", "surrogatepass")
    return rank, to_float(text) if rank == 2 else text
