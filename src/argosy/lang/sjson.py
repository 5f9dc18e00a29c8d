"""Writes one value into JSON text by path (github.com/tidwall/sjson 1.2.5) and leaves the rest byte for byte.

``a.b.0.c`` goes through keys and indexes, ``-1`` appends to an array, ``:1`` is a key that looks like a
number, a backslash takes the next character as it is. What the path needs and the text lacks is made: an
array for a number, filled up with null, an object for anything else. A path with wildcards or queries
changes what exists already, and nothing if nothing does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from argosy.errors import LangError
from argosy.lang import _gjson_scan, gjson, gojson
from argosy.lang._gjson_paths import trim
from argosy.lang._gjson_text import loose_items
from argosy.lang.gojson import Json

__all__ = ["set", "set_raw"]

assert gjson  # importing it installs the modifiers that a path may call

_MOST_ITEMS = 1_000_000
"""The largest array that a path may create. sjson has no such limit and would fill the memory."""
_NEEDS_ESCAPES = re.compile(r'[\x00-\x1f"\\]|[^\x00-\x7f]')
_HARD = re.compile(r"[|#@*?]")
_VISIBLE = re.compile(r"[^\x00-\x20]")


@dataclass(frozen=True, slots=True)
class _Step:
    """``key`` is the name or the digits, ``search`` the gjson path of it, ``forced``: it is no index."""

    key: str
    search: str
    forced: bool

    @property
    def index(self) -> int | None:
        """The index that the step is. An empty key counts as 0."""
        if self.forced or (self.key and not (self.key.isascii() and self.key.isdigit())):
            return None
        index = int(self.key[:20] or "0")
        if index >= _MOST_ITEMS:
            raise LangError(f"an array with {self.key} items is too large to be made", text=self.key)
        return index

    @property
    def appends(self) -> bool:
        return self.key == "-1" and not self.forced


def set(text: bytes, path: str, value: Json) -> bytes:
    """The text with ``value`` at ``path``.

    A text value is escaped as sjson does it, others as ``gojson.dumps``. Floats never get an exponent.
    Raises LangError if the path is empty, or if it uses a key on an array.
    """
    if isinstance(value, str):
        raw = _quoted(value)
    elif isinstance(value, float):
        raw = gojson.fixed_float(value)
    else:
        raw = gojson.dumps(value).decode()
    return _set(text, path, raw)


def set_raw(text: bytes, path: str, raw: bytes) -> bytes:
    """The text with the JSON text ``raw`` at ``path``, not checked and not changed.

    Raises LangError as ``set``.
    """
    return _set(text, path, raw.decode("utf-8", "surrogateescape"))


def _set(text: bytes, path: str, raw: str) -> bytes:
    if not path:
        raise LangError("the path to write to is empty")
    json = text.decode("utf-8", "surrogateescape")
    steps = _steps(path)
    try:
        changed = _replace_found(json, path, raw) if steps is None else _put(json, steps, path, raw)
    except RecursionError:
        raise LangError(f"{path!r} has more steps than can be followed", text=path) from None
    return changed.encode("utf-8", "surrogateescape")


@lru_cache(maxsize=4096)
def _steps(path: str) -> tuple[_Step, ...] | None:
    """The steps, or None if a wildcard, a query, a pipe or a modifier stands outside of an escape."""
    steps: list[_Step] = []
    at = 0
    while True:
        forced = path[at : at + 1] == ":"
        start = at = at + forced
        key: list[str] = []
        while at < len(path) and path[at] != ".":
            if path[at] == "\\":
                at += 1
            elif _HARD.match(path, at):
                return None
            key.append(path[at : at + 1])
            at += 1
        steps.append(_Step("".join(key), path[start:at], forced))
        if at >= len(path):
            return tuple(steps)
        at += 1


def _put(json: str, steps: tuple[_Step, ...], path: str, raw: str) -> str:
    step = steps[0]
    found = _gjson_scan.get(json, step.search)
    if found.index > 0:
        end = found.index + len(found.raw)
        inner = _put(found.raw, steps[1:], path, raw) if len(steps) > 1 else raw
        return json[: found.index] + inner + json[end:]
    index = step.index
    parent = _gjson_scan.parse(json)
    if parent.kind != "JSON":
        parent = _gjson_scan.parse("{}" if index is None else "[]")
    whole = parent.raw
    inside = _VISIBLE.search(whole, 1)
    comma = "," if inside is not None and inside[0] not in "}]" else ""
    if whole[0] == "{":
        end = max(whole.rfind("}"), 0)
        return f"{whole[:end]}{comma}{_name(step)}:{_build(steps[1:], raw)}}}"
    if step.appends:
        return f"{trim(whole).removesuffix(']')}{comma}{_build(steps[1:], raw)}]"
    if index is None:
        raise LangError(f"{path!r} uses the key {step.key!r} on an array; write an index or -1", text=path)
    items = loose_items(whole)
    if items:
        return f"[{','.join(items)}{',null' * (index - len(items))}{comma}{_build(steps[1:], raw)}]"
    return f"[{'null,' * index}{_build(steps[1:], raw)}]"


def _build(steps: tuple[_Step, ...], raw: str) -> str:
    """The text of a value that holds ``raw`` at the end of the steps."""
    before: list[str] = []
    after: list[str] = []
    for step in steps:
        index = step.index
        if index is not None or step.appends:
            before.append("[" + "null," * (index or 0))
            after.append("]")
        else:
            before.append(f"{{{_name(step)}:")
            after.append("}")
    return "".join(before) + raw + "".join(reversed(after))


def _name(step: _Step) -> str:
    return _quoted(step.key)


def _quoted(text: str) -> str:
    """sjson escapes ``<``, ``>`` and ``&`` only in a text that needs other escapes or is not ASCII."""
    return gojson.dumps(text).decode() if _NEEDS_ESCAPES.search(text) else f'"{text}"'


def _replace_found(json: str, path: str, raw: str) -> str:
    found = _gjson_scan.get(json, path)
    if not found.exists or not (found.index or found.indexes):
        return json
    if found.index:
        places = [(found.index, found.raw)]
    else:
        items = [item.raw for _, item in _gjson_scan.members(found)]
        if len(items) != len(found.indexes or ()):
            return json
        places = sorted(zip(found.indexes or (), items, strict=True), reverse=True)
    # From the back, so that places further to the front stay true.
    for at, old in places:
        if not json.startswith(old, at):
            # gjson counts the places behind some pipes from an inner value. sjson writes there all the same,
            # over whatever else it is.
            raise LangError(f"{path!r} finds values but not their places, so nothing can be written", text=path)
        json = json[:at] + raw + json[at + len(old) :]
    return json
