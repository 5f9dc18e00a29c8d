"""gjson's modifiers: what ``@name:argument`` makes of the text of a value.

Importing this module installs them. Each takes JSON text and its argument's text and returns text; none
fails. Text that a modifier has no use for is handed back as it came, or as gjson's own empty answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from argosy.lang import gojson
from argosy.lang._gjson_bound import made
from argosy.lang._gjson_paths import quoted, trim
from argosy.lang._gjson_pretty import pretty
from argosy.lang._gjson_result import Hit
from argosy.lang._gjson_scan import MODIFIERS, get_in, members, parse

_UGLY = re.compile(r'("[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z))|[\x00-\x20]+', re.DOTALL)
_GO_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
_GO_SPACE += "\u2028\u2029\u202f\u205f\u3000"


def _modifier(change: Callable[[str, str], str]) -> Callable[[str, str], str]:
    MODIFIERS[change.__name__[1:]] = change
    return change


def _is_array(hit: Hit) -> bool:
    return hit.kind == "JSON" and hit.raw[0] == "["


def _is_object(hit: Hit) -> bool:
    return hit.kind == "JSON" and hit.raw[0] == "{"


def _option(argument: str, name: str) -> bool:
    """The last boolean under ``name`` in an argument such as ``{"deep":true}``."""
    chosen = False
    for key, value in members(parse(argument)):
        if key.string() == name:
            chosen = value.boolean()
    return chosen


def _unwrapped(raw: str) -> str:
    raw = trim(raw)
    return raw[1:-1] if len(raw) >= 2 and raw[0] in "[{" else raw


@_modifier
def _this(json: str, argument: str) -> str:
    return json


@_modifier
def _valid(json: str, argument: str) -> str:
    return json if gojson.valid(json) else ""


@_modifier
def _ugly(json: str, argument: str) -> str:
    return _UGLY.sub(lambda match: match[1] or "", json)


@_modifier
def _pretty(json: str, argument: str) -> str:
    width, prefix, indent, sort_keys = 80, "", "  ", False
    for key, value in members(parse(argument)):
        match key.string():
            case "sortKeys":
                sort_keys = value.boolean()
            case "indent":
                indent = "".join(character for character in value.string() if character in " \t\n\r")
            case "prefix":
                prefix = "".join(character for character in value.string() if character in " \t\n\r")
            case "width":
                width = value.integer()
    return pretty(json, width=width, prefix=prefix, indent=indent, sort_keys=sort_keys)


@_modifier
def _reverse(json: str, argument: str) -> str:
    value = parse(json)
    if _is_array(value):
        return f"[{','.join(item.raw for _, item in reversed(list(members(value))))}]"
    if _is_object(value):
        return "{" + ",".join(f"{key.raw}:{item.raw}" for key, item in reversed(list(members(value)))) + "}"
    return json


@_modifier
def _flatten(json: str, argument: str) -> str:
    value = parse(json)
    if not _is_array(value):
        return json
    deep = _option(argument, "deep")
    parts: list[str] = []
    for _, item in members(value):
        raw = item.raw
        if _is_array(item):
            raw = _unwrapped(_flatten(raw, argument) if deep else raw)
        raw = raw.strip(_GO_SPACE)
        if raw:
            parts.append(raw)
    return f"[{','.join(parts)}]"


@_modifier
def _keys(json: str, argument: str) -> str:
    value = parse(json)
    keyed = _is_object(value)
    return f"[{','.join(key.raw if keyed else 'null' for key, _ in members(value))}]"


@_modifier
def _values(json: str, argument: str) -> str:
    value = parse(json)
    return json if _is_array(value) else f"[{','.join(item.raw for _, item in members(value))}]"


@_modifier
def _join(json: str, argument: str) -> str:
    value = parse(json)
    if not _is_array(value):
        return json
    objects = [item for _, item in members(value) if _is_object(item)]
    if _option(argument, "preserve"):
        return "{" + ",".join(_unwrapped(item.raw) for item in objects) + "}"
    names: dict[str, str] = {}
    latest: dict[str, str] = {}
    for each in objects:
        for key, item in members(each):
            names.setdefault(key.text, key.raw)
            latest[key.text] = item.raw
    return "{" + ",".join(f"{names[name]}:{raw}" for name, raw in latest.items()) + "}"


@_modifier
def _tostr(json: str, argument: str) -> str:
    return quoted(json)


@_modifier
def _fromstr(json: str, argument: str) -> str:
    return parse(json).string() if gojson.valid(json) else ""


@_modifier
def _group(json: str, argument: str) -> str:
    value = parse(json)
    if not _is_object(value):
        return ""
    rows: list[list[str]] = []
    for key, column in members(value):
        if not _is_array(column):
            continue
        for row, (_, item) in enumerate(members(column)):
            if row == len(rows):
                rows.append([])
            rows[row].append(f"{key.raw}:{item.raw}")
    return "[" + ",".join("{" + ",".join(row) + "}" for row in rows) + "]"


@_modifier
def _dig(json: str, argument: str) -> str:
    found: list[str] = []

    def descend(parent: Hit) -> None:
        hit = get_in(parent, argument)
        if hit.exists:
            found.append(made(hit.raw))
        if parent.kind == "JSON":
            for _, child in members(parent):
                descend(child)

    descend(parse(json))
    return f"[{','.join(found)}]"
