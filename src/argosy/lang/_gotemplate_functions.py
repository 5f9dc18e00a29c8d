"""What a template function is, and those that text/template brings itself.

A function declares the Go types of its parameters as letters, because Go converts nothing: a JSON number
(float64) given to a parameter of type int is an error there and here. Letters: s string, i int, l int64, f
float64, u uint32, b bool, a anything, L list, D map with string keys, t time, d duration, C certificate of sprig, V
its version."""

from __future__ import annotations

import datetime as dt
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from argosy.errors import LangError
from argosy.lang import _gotemplate_print as goprint
from argosy.lang._gotemplate_print import MISSING, Int64, Named, Uint64

GO_TYPES = {
    "s": "string",
    "i": "int",
    "l": "int64",
    "f": "float64",
    "b": "bool",
    "a": "interface {}",
    "L": "[]interface {}",
    "D": "map[string]interface {}",
    "t": "time.Time",
    "u": "uint32",
    "d": "time.Duration",
    "C": "sprig.certificate",
    "V": "*semver.Version",
}


class Strings(list[str]):
    """A Go ``[]string``."""

    go_type = "[]string"
    nil = False


class NoStrings(Strings):
    """The nil ``[]string``: empty, but null in JSON."""

    nil = True


class Chunks(list[list[Any]]):
    """A Go ``[][]interface{}``."""

    go_type = "[][]interface {}"


class Integers(list[int]):
    """A Go ``[]int``."""

    go_type = "[]int"


class StringMap(dict[str, str]):
    """A Go ``map[string]string``."""

    go_type = "map[string]string"


@dataclass(frozen=True, slots=True)
class Struct:
    """A Go struct: fields that a template can read, and no others."""

    go_type: str
    fields: dict[str, str]

    def __str__(self) -> str:
        return "{" + " ".join(self.fields.values()) + "}"


@dataclass(frozen=True, slots=True)
class Function:
    """A function of templates. ``rest`` is the type of any number of further arguments, "" if there are
    none."""

    name: str
    run: Callable[..., Any]
    parameters: str
    rest: str = ""
    cost: int = 0
    """How many steps of a template a call counts for."""
    deep: bool = False
    """Whether a call goes through all that is in its arguments and gives back less."""

    def letter(self, position: int) -> str:
        """The type of the argument at ``position``."""
        return self.parameters[position] if position < len(self.parameters) else self.rest


Registry = dict[str, Function]
_Run = TypeVar("_Run", bound=Callable[..., Any])


class registrar:
    """A decorator that enters functions into ``registry`` under one or more names."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def __call__(
        self, *names: str, takes: str = "", rest: str = "", cost: int = 0, deep: bool = False
    ) -> Callable[[_Run], _Run]:
        def enter(run: _Run) -> _Run:
            for name in names:
                self._registry[name] = Function(name, run, takes, rest, cost, deep)
            return run

        return enter


def fits(value: Any, letter: str) -> bool:
    """Whether a value of this Go type can be given to a parameter of that type."""
    kind = type(value)
    if letter == "a":
        return True
    if letter == "D":
        return kind is dict
    if letter == "L":
        return kind is list
    if letter == "t":
        return isinstance(value, dt.datetime)
    if letter in "CdV":
        return getattr(value, "go_type", None) == GO_TYPES[letter]
    if letter == "u":
        return False  # only a constant becomes a uint32
    wanted = {"s": str, "i": int, "l": Int64, "f": float, "b": bool}[letter]
    return kind is wanted


def raw(text: str) -> bytes:
    """The bytes of a Go string. Bytes that are no UTF-8 travel as lone surrogates."""
    return text.encode("utf-8", "surrogateescape")


def text_of(data: bytes) -> str:
    """The inverse of ``raw``."""
    return data.decode("utf-8", "surrogateescape")


def truth(value: Any) -> bool:
    """What ``if`` decides: false, 0, nil, and everything empty are false."""
    if isinstance(value, dt.datetime):
        return True
    return bool(value)


BUILTINS: Registry = {}
builtin = registrar(BUILTINS)

_HTML = {"\0": "\ufffd", '"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;"}
_JS = {
    "\\": "\\\\",
    "'": "\\'",
    '"': '\\"',
    "<": "\\u003C",
    ">": "\\u003E",
    "&": "\\u0026",
    "=": "\\u003D",
}


@builtin("and", takes="a", rest="a")
def _and(*values: Any) -> Any:
    return next((value for value in values if not truth(value)), values[-1])


@builtin("or", takes="a", rest="a")
def _or(*values: Any) -> Any:
    return next((value for value in values if truth(value)), values[-1])


@builtin("not", takes="a")
def _not(value: Any) -> Any:
    return not truth(value)


@builtin("call", takes="a", rest="a")
def _call(function: Any, *values: Any) -> Any:
    raise LangError("there is nothing that 'call' could call: JSON has no functions")


@builtin("print", rest="a")
def _print(*values: Any) -> str:
    return goprint.sprint(values)


@builtin("println", rest="a")
def _println(*values: Any) -> str:
    return goprint.sprintln(values)


@builtin("printf", takes="s", rest="a")
def _printf(template: str, *values: Any) -> str:
    return goprint.sprintf(template, values)


def _as_text(values: tuple[Any, ...]) -> str:
    if len(values) == 1 and type(values[0]) is str:
        return values[0]
    return goprint.sprint(["<no value>" if value is None else value for value in values])


@builtin("html", rest="a")
def _html(*values: Any) -> str:
    return "".join(_HTML.get(char, char) for char in _as_text(values))


@builtin("js", rest="a")
def _js(*values: Any) -> str:
    out = []
    for char in _as_text(values):
        if char in _JS:
            out.append(_JS[char])
        elif char < " " or (not char.isprintable() and char != "\x7f"):
            code = ord(char)
            out.append(f"\\u{code:04X}")
        else:
            out.append(char)
    return "".join(out)


@builtin("urlquery", rest="a")
def _urlquery(*values: Any) -> str:
    return urllib.parse.quote_plus(raw(_as_text(values)), safe="")


@builtin("len", takes="a")
def _len(value: Any) -> int:
    if isinstance(value, str):
        return len(raw(value))
    if isinstance(value, (list, dict)):
        return len(value)
    if value is None:
        raise LangError("nil has no length")
    raise LangError(f"a {goprint.type_name(value)} has no length")


@builtin("index", takes="a", rest="a")
def _index(item: Any, *indexes: Any) -> Any:
    if item is None:
        raise LangError("nil has no elements")
    for index in indexes:
        if item is None:
            raise LangError("nil has no elements")
        if isinstance(item, dict):
            if not isinstance(index, str):
                kind = "nil" if index is None else f"a {goprint.type_name(index)}"
                raise LangError(f"the key of a map is a string, not {kind}")
            item = item.get(index, "" if isinstance(item, StringMap) else None)
        elif isinstance(item, (list, str)):
            elements: Any = raw(item) if isinstance(item, str) else item
            position = position_of(index, len(elements))
            if position == len(elements):
                raise LangError(f"the index {position} is out of range")
            item = elements[position]
        else:
            raise LangError(f"a {goprint.type_name(item)} has no elements")
    return item


def position_of(index: Any, length: int) -> int:
    """``index`` as a position in a list of this length, or its end. Raises LangError."""
    if type(index) not in (int, Int64):
        kind = "nil" if index is None else f"a {goprint.type_name(index)}"
        raise LangError(f"the index of a list is an int, not {kind}")
    if not 0 <= index <= length:
        raise LangError(f"the index {index} is out of range")
    return int(index)


def _kind(value: Any) -> str:
    if isinstance(value, Named):
        return "int"
    kinds: dict[type, str] = {bool: "bool", int: "int", Int64: "int", Uint64: "int", float: "float", str: "string"}
    return kinds.get(type(value), "")


@builtin("eq", takes="a", rest="a")
def _eq(first: Any, *others: Any) -> bool:
    if not others:
        raise LangError("a comparison needs two values")
    return any(_same(first, other) for other in others)


def _same(a: Any, b: Any) -> bool:
    if _kind(a) != _kind(b):
        if a is None or b is None:
            return False
        raise LangError(f"{goprint.type_name(a)} and {goprint.type_name(b)} cannot be compared")
    if _kind(a):
        return bool(a == b)
    if a is None or b is None:
        return a is b
    raise LangError(f"values of type {goprint.type_name(a)} cannot be compared")


@builtin("ne", takes="aa")
def _ne(a: Any, b: Any) -> bool:
    return not _eq(a, b)


@builtin("lt", takes="aa")
def _lt(a: Any, b: Any) -> bool:
    kinds = _kind(a), _kind(b)
    if "" in kinds or ("bool" in kinds and kinds[0] == kinds[1]):
        raise LangError(f"{goprint.type_name(a)} and {goprint.type_name(b)} have no order")
    if kinds[0] != kinds[1]:
        raise LangError(f"{goprint.type_name(a)} and {goprint.type_name(b)} cannot be compared")
    return bool(raw(a) < raw(b) if isinstance(a, str) else a < b)


@builtin("le", takes="aa")
def _le(a: Any, b: Any) -> bool:
    return _lt(a, b) or _eq(a, b)


@builtin("gt", takes="aa")
def _gt(a: Any, b: Any) -> bool:
    return not _le(a, b)


@builtin("ge", takes="aa")
def _ge(a: Any, b: Any) -> bool:
    return not _lt(a, b)


def printable(value: Any) -> str:
    """What ``{{value}}`` writes."""
    if value is None or value is MISSING:
        return "<no value>"
    return goprint.show(value)
