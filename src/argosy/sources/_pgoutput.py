"""What PostgreSQL's output plug-in ``pgoutput`` (protocol version 1) writes of transactions, read into changes of rows.

Values come as PostgreSQL prints them and become JSON by their types: booleans, numbers (``numeric`` with all its
digits), ``json`` and ``jsonb`` as the value they hold, arrays as arrays, times in the form of RFC 3339 where they
have one, and all the rest as text. Source: postgresql.org, "Logical Replication Message Formats".
"""

from __future__ import annotations

import datetime as dt
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import orjson

_EPOCH = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_TIME = re.compile(r"(\d{4,}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)(?:\+00)?")


def position(text: str) -> int:
    """A place in the write-ahead log, which PostgreSQL writes as ``16/B374D848``, as a number."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) | int(low, 16)


def shown(place: int) -> str:
    """The reverse of ``position``."""
    return f"{place >> 32:X}/{place & 0xFFFFFFFF:X}"


class Relation(NamedTuple):
    """A table as it was when rows of it changed; ``columns`` are names and types, those of its identity marked."""

    schema: str
    table: str
    columns: tuple[tuple[str, int, bool], ...]


@dataclass(frozen=True)
class Change:
    """A row that was inserted, updated or deleted, or a table that was truncated.

    ``place`` is where the commit of its transaction stands in the log, ``index`` counts the transaction's changes from
    0. ``new`` and ``old`` are JSON objects; ``old`` holds what PostgreSQL logs of the row that was.
    """

    operation: str
    relation: Relation
    place: int
    xid: int
    committed: dt.datetime
    index: int
    new: bytes | None = None
    old: bytes | None = None
    unchanged: tuple[str, ...] = ()
    """Large columns that an update left alone, whose values are not in the log."""
    cascade: bool = False
    restart_identity: bool = False


class Decoder:
    """Reads messages in the order in which they come. One for each connection: tables are described once."""

    def __init__(self) -> None:
        self._relations: dict[int, Relation] = {}
        self._place = self._xid = self._index = 0
        self._committed = _EPOCH
        self.ended = 0
        """Where the transaction ends in the log whose commit was read last; 0 while none was, or another has begun."""

    def read(self, message: bytes) -> list[Change]:
        """The changes that a message holds: most hold one or none."""
        kind, reader = message[:1], _Reader(message)
        if kind == b"B":
            self._place, microseconds, self._xid = reader.unpack("!QqI")
            self._committed = _EPOCH + dt.timedelta(microseconds=microseconds)
            self._index, self.ended = 0, 0
        elif kind == b"C":
            _, _, self.ended, _ = reader.unpack("!BQQq")
        elif kind == b"R":
            self._describe(reader)
        elif kind == b"I":
            relation = self._relation(reader)
            reader.unpack("!c")
            new, _ = _row(relation, reader.row())
            return [self._change("insert", relation, new=new)]
        elif kind == b"U":
            return [self._update(reader)]
        elif kind == b"D":
            relation = self._relation(reader)
            return [self._change("delete", relation, old=_identity(relation, *reader.identity()))]
        elif kind == b"T":
            count, options = reader.unpack("!IB")
            tables = [self._relation(reader) for _ in range(count)]
            return [
                self._change("truncate", table, cascade=bool(options & 1), restart_identity=bool(options & 2))
                for table in tables
            ]
        return []  # types and origins, which the values do not need

    def _change(self, operation: str, relation: Relation, **more: object) -> Change:
        index, self._index = self._index, self._index + 1
        given = (operation, relation, self._place, self._xid, self._committed, index)
        return Change(*given, **more)  # type: ignore[arg-type]

    def _update(self, reader: _Reader) -> Change:
        relation, old, before = self._relation(reader), None, None
        if reader.peek() != b"N":
            kind, before = reader.identity()
            old = _identity(relation, kind, before)
        reader.unpack("!c")
        row = reader.row()
        if before is not None:
            # What an update left alone is in the old row, where all of that was logged.
            row = [b if n is _Unchanged and isinstance(b, bytes) else n for n, b in zip(row, before, strict=True)]
        new, unchanged = _row(relation, row)
        return self._change("update", relation, new=new, old=old, unchanged=unchanged)

    def _describe(self, reader: _Reader) -> None:
        (oid,) = reader.unpack("!I")
        schema, table = reader.text(), reader.text()
        _, count = reader.unpack("!cH")
        columns = []
        for _ in range(count):
            (flags,) = reader.unpack("!B")
            name = reader.text()
            type_oid, _ = reader.unpack("!Ii")
            columns.append((name, type_oid, bool(flags & 1)))
        self._relations[oid] = Relation(schema or "pg_catalog", table, tuple(columns))

    def _relation(self, reader: _Reader) -> Relation:
        return self._relations[reader.unpack("!I")[0]]


class _Unchanged:
    """Stands for a value that is not in the log because an update left it alone."""


Value = bytes | None | type[_Unchanged]


class _Reader:
    def __init__(self, message: bytes) -> None:
        self._message = message
        self._at = 1

    def unpack(self, form: str) -> tuple[int, ...]:
        values = struct.unpack_from(form, self._message, self._at)
        self._at += struct.calcsize(form)
        return values

    def peek(self) -> bytes:
        return self._message[self._at : self._at + 1]

    def text(self) -> str:
        end = self._message.index(0, self._at)
        found, self._at = self._message[self._at : end].decode(), end + 1
        return found

    def identity(self) -> tuple[bytes, list[Value]]:
        """Whether the old row is whole (``O``) or its key alone (``K``), and its values."""
        kind = self.peek()
        self._at += 1
        return kind, self.row()

    def row(self) -> list[Value]:
        (count,) = self.unpack("!H")
        return [self._value() for _ in range(count)]

    def _value(self) -> Value:
        kind = self.peek()
        self._at += 1
        if kind != b"t":
            return None if kind == b"n" else _Unchanged
        (length,) = self.unpack("!I")
        start, self._at = self._at, self._at + length
        return self._message[start : self._at]


def _row(relation: Relation, values: list[Value]) -> tuple[bytes, tuple[str, ...]]:
    """A row as a JSON object, and the names of the columns whose values are not in the log."""
    members, missing = [], []
    for (name, oid, _), value in zip(relation.columns, values, strict=True):
        if isinstance(value, type):
            missing.append(name)
        else:
            members.append(orjson.dumps(name) + b":" + _json(oid, value))
    return b"{" + b",".join(members) + b"}", tuple(missing)


def _identity(relation: Relation, kind: bytes, values: list[Value]) -> bytes:
    """The old row: all of it, or its key alone, whose other columns come as nulls that say nothing."""
    if kind == b"K":
        values = [value if key else _Unchanged for (_, _, key), value in zip(relation.columns, values, strict=True)]
    return _row(relation, values)[0]


def _json(oid: int, value: bytes | None) -> bytes:
    if value is None:
        return b"null"
    text = value.decode()
    if oid in _ARRAYS:
        return _array(text, _TYPES.get(_ARRAYS[oid], _text))
    return _TYPES.get(oid, _text)(text)


def _text(text: str) -> bytes:
    return orjson.dumps(text)


def _number(text: str) -> bytes:
    return text.encode() if _NUMBER.fullmatch(text) else _text(text)  # NaN and Infinity are no numbers in JSON


def _boolean(text: str) -> bytes:
    return b"true" if text == "t" else b"false"


def _plain(text: str) -> bytes:
    # PostgreSQL has checked it; NUL characters and duplicate keys are left to whoever reads it.
    return text.encode()


def _moment(text: str) -> bytes:
    found = _TIME.fullmatch(text)
    return _text(f"{found[1]}T{found[2]}") if found else _text(text)


def _instant(text: str) -> bytes:
    # The session's time zone is UTC. "infinity" and years before Christ have no other form than PostgreSQL's.
    found = _TIME.fullmatch(text)
    return _text(f"{found[1]}T{found[2]}Z") if found else _text(text)


_TYPES: dict[int, Callable[[str], bytes]] = {
    16: _boolean,
    20: _number,
    21: _number,
    23: _number,
    26: _number,
    700: _number,
    701: _number,
    1700: _number,
    114: _plain,
    3802: _plain,
    1114: _moment,
    1184: _instant,
}
"""bool; int8, int2, int4, oid, float4, float8, numeric; json, jsonb; timestamp, timestamptz."""

_ARRAYS = {
    1000: 16,
    1016: 20,
    1005: 21,
    1007: 23,
    1028: 26,
    1021: 700,
    1022: 701,
    1231: 1700,
    199: 114,
    3807: 3802,
    1115: 1114,
    1185: 1184,
    1009: 25,
    1015: 1043,
    1014: 1042,
    1001: 17,
    1182: 1082,
    1183: 1083,
    2951: 2950,
    1041: 869,
    1040: 829,
}
"""The types of arrays, and of their elements: those above, and text, varchar, char, bytea, date, time, uuid, inet,
macaddr."""


def _array(text: str, element: Callable[[str], bytes]) -> bytes:
    """``{1,NULL,{"a b"}}`` as JSON; bounds in front of it (``[0:1]=``) are left out."""
    pieces = _pieces(text[text.index("{") :])
    next(pieces)
    return _elements(pieces, element)


def _elements(pieces: Iterator[tuple[str, bool]], element: Callable[[str], bytes]) -> bytes:
    found = []
    for piece, quoted in pieces:
        if quoted:
            found.append(element(piece))
        elif piece == "{":
            found.append(_elements(pieces, element))
        elif piece == "}":
            break
        elif piece != ",":
            found.append(b"null" if piece.upper() == "NULL" else element(piece))
    return b"[" + b",".join(found) + b"]"


_PIECE = re.compile(r'"((?:[^"\\]|\\.)*)"|([{},])|([^{},"]+)', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    for found in _PIECE.finditer(text):
        quoted, mark, plain = found.groups()
        if quoted is not None:
            yield _ESCAPED.sub(r"\1", quoted), True
        else:
            yield mark or plain, False
