"""YAML as Kubernetes reads it, with the place of every key and value.

The rules are those of ``sigs.k8s.io/yaml`` 1.6 (``YAMLToJSON`` over ``go.yaml.in/yaml/v2`` 2.4): ``y``,
``on`` and ``off`` are booleans, ``1:30`` and dates stay text, ``0o17`` and ``010`` are octal, ``08`` is 8,
keys become text, numbers are what JSON makes of them, and of two equal keys the last wins. LibYAML parses,
one document at a time, so that a broken document hides no other; values are built here from its events. Depth
and the growth by aliases are bounded. What a value means is for ``argosy.manifests.loading``. Slightly over the
usual length, because values and places come out of one walk over the events.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

MAX_DEPTH = 128
"""How deep a document may nest; real manifests stay under 40, and parsers of JSON end at about 200."""
MAX_ALIASED = 200_000
"""How many values all aliases of a document may stand for together (a bound against "billion laughs")."""

_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""LibYAML where PyYAML was built with it (every wheel is), else the same in Python, fifty times slower."""

_TAG = "tag:yaml.org,2002:"
_CONSTANTS: dict[str, bool | float | None] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_POINT = re.compile(r"\.[0-9]+(_[0-9]+)*([eE][-+]?[0-9]+(_[0-9]+)*)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?")
_SEPARATOR = re.compile(r"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
_DIRECTIVES = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\r?\n)*%[^\n]*(?:\r?\n(?:[ \t]*|[#%][^\n]*))*\s*")
_SURROGATES = re.compile(r"\\\\|\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")


class Node:
    """Where a value stands, and where the keys and values inside it stand. Lines and columns count from 1."""

    __slots__ = ("column", "items", "keys", "line")

    def __init__(self, line: int, column: int) -> None:
        self.line = line
        self.column = column
        self.keys: dict[str, tuple[int, int]] = {}
        self.items: dict[str | int, Node] = {}

    def value(self, path: tuple[str | int, ...]) -> tuple[int, int]:
        """Line and column of the value at ``path``, or of the innermost value on the way that exists."""
        node = self
        for part in path:
            inner = node._inner(part)
            if inner is None:
                break
            node = inner
        return node.line, node.column

    def _inner(self, part: str | int) -> Node | None:
        found = self.items.get(part)
        if found is None and isinstance(part, str):
            # A field whose name was written in other upper and lower case is known by its right name.
            near = (node for key, node in self.items.items() if isinstance(key, str) and key.lower() == part.lower())
            found = next(near, None)
        return found

    def key(self, path: tuple[str | int, ...]) -> tuple[int, int]:
        """Line and column of the last key of ``path``; as ``value`` where there is no such key."""
        node: Node | None = self
        for part in path[:-1]:
            node = node._inner(part) if node else None
        if path and node and isinstance(path[-1], str) and path[-1] in node.keys:
            return node.keys[path[-1]]
        return self.value(path)


@dataclass(frozen=True)
class Fault:
    """Something wrong with the text itself. ``line`` and ``column`` count from 1."""

    code: str
    message: str
    line: int
    column: int


@dataclass(frozen=True)
class Document:
    """One document: its value as JSON has it, its places, and what is odd but no error (equal keys)."""

    value: Any
    root: Node
    oddities: list[Fault] = field(default_factory=list)


def _place(event: Event, line: int) -> tuple[int, int]:
    """Line and column of an event, both from 1; ``line`` is where the text that was parsed begins, from 0."""
    mark: Any = event.start_mark
    return line + mark.line + 1, mark.column + 1


class _Unreadable(Exception):
    def __init__(self, message: str, event: Event) -> None:
        super().__init__(message)
        self.event = event


def documents(text: str) -> Iterator[Document | Fault]:
    """Every document of ``text`` in order, a Fault for one that does not parse. Empty ones are left out."""
    for chunk, line in _chunks(text.removeprefix("\ufeff")):
        yield from _read(chunk, line)


def _chunks(text: str) -> Iterator[tuple[str, int]]:
    # A line of three dashes begins a document wherever it stands, also inside a text that is never closed; so
    # cutting there keeps one document's faults away from the next. Directives belong to the document that
    # follows.
    starts = [0, *(match.start() for match in _SEPARATOR.finditer(text))]
    begin = line = passed = 0
    for here, there in zip(starts, [*starts[1:], len(text)], strict=True):
        if _DIRECTIVES.fullmatch(text[here:there]) and there < len(text):
            continue
        line, passed = line + text.count("\n", passed, begin), begin
        yield text[begin:there], line
        begin = there


def _read(chunk: str, line: int) -> Iterator[Document | Fault]:
    if chunk.lstrip()[:1] in "{[" and "\\u" in chunk:
        chunk = _SURROGATES.sub(_join_surrogates, chunk)
    try:
        parser = _Parser(chunk)
        try:
            while (event := parser.get_event()) is not None:
                if isinstance(event, DocumentStartEvent):
                    yield from _Builder(parser, line).document()
        finally:
            parser.dispose()
    except _Unreadable as error:
        yield Fault("yaml", str(error), *_place(error.event, line))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = ", ".join(part for part in (error.problem, error.context) if part)
        where = (line + mark.line + 1, mark.column + 1) if mark else (line + 1, 1)
        yield Fault("yaml", f"not YAML: {words}", *where)
    except yaml.reader.ReaderError as error:
        before = chunk[: error.position]
        yield Fault(
            "yaml",
            f"not YAML: {error.reason}",
            line + before.count("\n") + 1,
            len(before) - before.rfind("\n"),
        )


def _join_surrogates(match: re.Match[str]) -> str:
    # JSON writes a character beyond U+FFFF as two escapes; YAML has one escape for it.
    if not match[1]:
        return match[0]
    return f"\\U{0x10000 + ((int(match[1], 16) & 0x3FF) << 10) + (int(match[2], 16) & 0x3FF):08x}"


@dataclass(slots=True)
class _Open:
    """A mapping or sequence that is being read. ``size`` counts the values in it, aliases written out."""

    value: Any
    node: Node
    anchor: str | None
    size: int = 1
    key: str | None = None
    key_event: Event | None = None
    merge: bool = False
    written: set[str] = field(default_factory=set)


class _Builder:
    """Builds one document from the parser's events, without recursion."""

    def __init__(self, parser: Any, line: int) -> None:
        self._parser = parser
        self._line = line
        self._anchors: dict[str, tuple[Any, Node, int] | None] = {}
        self._aliased = 0
        self._oddities: list[Fault] = []
        self._stack: list[_Open] = []
        self._done: tuple[Any, Node] | None = None

    def document(self) -> Iterator[Document]:
        while not isinstance(event := self._parser.get_event(), DocumentEndEvent):
            self._take(event)
        if self._done is not None and self._done[0] is not None:
            yield Document(*self._done, self._oddities)

    def _node(self, event: Event) -> Node:
        return Node(*_place(event, self._line))

    def _take(self, event: Event) -> None:
        if isinstance(event, ScalarEvent):
            parent = self._stack[-1] if self._stack else None
            plain = event.tag is None and event.implicit[0]
            is_key = parent and isinstance(parent.value, dict) and parent.key_event is None
            if parent and is_key and event.value == "<<" and (plain or event.tag == _TAG + "merge"):
                parent.merge, parent.key_event = True, event
                return
            value = _scalar(event) if plain or event.tag else event.value
            self._finish(event, event.anchor, value, self._node(event), 1)
        elif isinstance(event, MappingStartEvent | SequenceStartEvent):
            if len(self._stack) >= MAX_DEPTH:
                raise _Unreadable(f"nests deeper than {MAX_DEPTH} levels", event)
            if self._stack and isinstance(self._stack[-1].value, dict) and self._stack[-1].key_event is None:
                raise _Unreadable("a key must be text, not a list or a mapping", event)
            empty: Any = {} if isinstance(event, MappingStartEvent) else []
            self._stack.append(_Open(empty, self._node(event), event.anchor))
            if event.anchor:
                self._anchors[event.anchor] = None
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            closed = self._stack.pop()
            self._finish(event, closed.anchor, closed.value, closed.node, closed.size)
        elif isinstance(event, AliasEvent):
            self._alias(event)

    def _alias(self, event: AliasEvent) -> None:
        if event.anchor not in self._anchors:
            raise _Unreadable(f"no anchor '&{event.anchor}' stands before this alias", event)
        target = self._anchors[event.anchor]
        if target is None:
            raise _Unreadable(f"the value of anchor '&{event.anchor}' contains itself", event)
        value, node, size = target
        self._aliased += size
        if self._aliased > MAX_ALIASED:
            raise _Unreadable(f"aliases stand for more than {MAX_ALIASED} values", event)
        self._finish(event, None, _copy(value), node, size)

    def _finish(self, event: Event, anchor: str | None, value: Any, node: Node, size: int) -> None:
        if anchor:
            self._anchors[anchor] = (value, node, size)
        if not self._stack:
            self._done = (_finite(value, event), node)
            return
        parent = self._stack[-1]
        parent.size += size
        if isinstance(parent.value, list):
            parent.node.items[len(parent.value)] = node
            parent.value.append(_finite(value, event))
        elif parent.key_event is None:
            parent.key, parent.key_event = _key(value, event), event
        elif parent.merge:
            self._merge(parent, value, node, event)
            parent.merge, parent.key_event = False, None
        else:
            self._member(parent, _finite(value, event), node)

    def _member(self, parent: _Open, value: Any, node: Node) -> None:
        key, event = parent.key, parent.key_event
        assert key is not None and event is not None
        place = _place(event, self._line)
        if key in parent.written:
            first = parent.node.keys[key][0]
            self._oddities.append(
                Fault(
                    "duplicate-key",
                    f"'{key}' stands twice (first in line {first}); the last one counts",
                    *place,
                )
            )
        parent.written.add(key)
        parent.value[key] = value
        parent.node.keys[key] = place
        parent.node.items[key] = node
        parent.key = parent.key_event = None

    def _merge(self, parent: _Open, value: Any, node: Node, event: Event) -> None:
        # As go-yaml v2 does: in the order of writing (a merge after a key overrides it), and in a list the
        # first wins.
        several = (
            [(item, node.items[index]) for index, item in enumerate(value)]
            if isinstance(value, list)
            else [(value, node)]
        )
        for mapping, places in reversed(several):
            if not isinstance(mapping, dict):
                raise _Unreadable("'<<' needs a mapping or a list of mappings", event)
            parent.value.update(_copy(mapping))
            parent.node.keys.update(places.keys)
            parent.node.items.update(places.items)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _finite(value: Any, event: Event) -> Any:
    """The value as JSON has it: no infinities, and whole numbers without a fraction, as Go writes them."""
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        raise _Unreadable("JSON has no infinity and no NaN; write it in quotes if text is meant", event)
    whole = value.is_integer() and abs(value) < 2**53 and not (value == 0 and math.copysign(1, value) < 0)
    return int(value) if whole else value


def _key(value: Any, event: Event) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value < 2**63:
        return str(value)
    if isinstance(value, float):
        return _short_float(value)
    raise _Unreadable("a key must be text; write it in quotes", event)


def _short_float(value: float) -> str:
    """As Go's ``strconv.FormatFloat(value, 'g', -1, 32)``, which is how keys that are numbers become text."""
    if not math.isfinite(value):
        return ".nan" if math.isnan(value) else (".inf" if value > 0 else "-.inf")
    try:
        (single,) = struct.unpack("<f", struct.pack("<f", value))
    except OverflowError:
        return ".inf" if value > 0 else "-.inf"
    digits = next(
        n for n in range(1, 10) if struct.pack("<f", float(f"{single:.{n - 1}e}")) == struct.pack("<f", single)
    )
    exponent = int(f"{single:.{digits - 1}e}".partition("e")[2])
    if exponent < -4 or exponent >= 6:
        return f"{single:.{digits - 1}e}"
    return f"{single:.{max(digits - 1 - exponent, 0)}f}"


def _scalar(event: ScalarEvent) -> Any:
    tag = (event.tag or "").removeprefix(_TAG)
    text = event.value
    if tag == "binary":
        try:
            return base64.b64decode(re.sub("[\r\n]", "", text), validate=True).decode("utf-8", "replace")
        except binascii.Error as error:
            raise _Unreadable("!!binary value is not base64", event) from error
    if tag not in ("", "bool", "int", "float", "null", "timestamp"):
        return text
    value = resolve(text)
    if tag == "timestamp" and _DATE.fullmatch(text):
        return text
    if tag == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    found = {bool: "bool", int: "int", float: "float", type(None): "null"}.get(type(value), "str")
    if tag not in ("", found):
        raise _Unreadable(f"{text!r} is not a !!{tag}", event)
    return value


def resolve(text: str) -> bool | int | float | str | None:
    """What a plain (unquoted) scalar means."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in "+-.0123456789":
        return text
    if text[0] == ".":
        return _float(text, text) if _POINT.fullmatch(text) else text
    plain = text.replace("_", "")
    if number := _INTEGER.fullmatch(plain):
        sign, hexadecimal, binary, octal, decimal = number.groups()
        digits, base = next(
            (part, base)
            for part, base in ((hexadecimal, 16), (binary, 2), (octal, 8), (decimal, 10))
            if part is not None
        )
        # 64 binary digits are the most that fit; Python would refuse to read some thousands of them.
        whole = int(digits, base) if len(digits.lstrip("0")) <= 64 else 2**64
        whole = -whole if sign == "-" else whole
        # ParseUint, which takes what ParseInt cannot, knows no sign.
        if -(2**63) <= whole < (2**63 if sign else 2**64):
            return whole
    return _float(plain, text) if _FLOAT.fullmatch(plain) else text


def _float(plain: str, text: str) -> float | str:
    value = float(plain)
    return value if math.isfinite(value) else text
