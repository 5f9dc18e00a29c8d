"""What is known of values before an expression runs: Go's types, as far as expressions meet them.

The kind of a type decides what an operator accepts. ``None`` is the type of nil, ``ANY`` that of everything
that comes out of an event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

INTEGERS = frozenset(("int", "int64", "uint8", "uint64"))


@dataclass(frozen=True, slots=True)
class Signature:
    """A function's parameters and results. ``rest`` is the type of any number of further arguments."""

    takes: tuple[Type, ...]
    gives: tuple[Type, ...]
    rest: Type | None = None


@dataclass(frozen=True, slots=True)
class Type:
    """``name`` is what Go calls it, and names it fully; ``element`` of lists and maps, ``key`` of maps."""

    kind: str
    name: str
    element: Type | None = None
    key: Type | None = None
    signature: Signature | None = None
    named: bool = False
    """Whether it has a name of its own, as ``time.Duration`` has: such integers are no numbers."""


ANY = Type("interface", "interface {}")
BOOL = Type("bool", "bool")
INT = Type("int", "int")
INT64 = Type("int64", "int64")
FLOAT = Type("float64", "float64")
STRING = Type("string", "string")
BYTES = Type("slice", "[]uint8", Type("uint8", "uint8"))
LIST = Type("slice", "[]interface {}", ANY)
MAP = Type("map", "map[string]interface {}", ANY, STRING)
ANY_MAP = Type("map", "map[interface {}]interface {}", ANY, ANY)
GROUPS = Type("map", "map[interface {}][]interface {}", LIST, ANY)
STRINGS = Type("slice", "[]string", STRING)
TIME = Type("struct", "time.Time", named=True)
DURATION = Type("int64", "time.Duration", named=True)
MONTH = Type("int", "time.Month", named=True)
WEEKDAY = Type("int", "time.Weekday", named=True)
LOCATION = Type("ptr", "*time.Location", named=True)
ERROR = Type("error", "error", named=True)
FUNCTION = Type("func", "func(...interface {}) (interface {}, error)", signature=Signature((), (ANY, ERROR), ANY))


def list_of(element: Type) -> Type:
    """``[]element``."""
    return Type("slice", f"[]{element.name}", element)


def closure_of(result: Type) -> Type:
    """The type of a closure."""
    return Type("func", f"func(interface {{}}) {result.name}", signature=Signature((ANY,), (result,)))


def show(one: Type | None) -> str:
    """The type as Go prints it."""
    return "<nil>" if one is None else one.name


def an(one: Type | None) -> str:
    """The type with its article."""
    name = show(one)
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}" if one is not None else "nil"


def is_any(one: Type | None) -> bool:
    """Whether nothing is known."""
    return one is not None and one.kind == "interface"


def is_integer(one: Type | None) -> bool:
    """Whether it is an integer of some size."""
    return one is not None and one.kind in INTEGERS


def is_number(one: Type | None) -> bool:
    """Whether it is an integer or a float."""
    return one is not None and (one.kind in INTEGERS or one.kind == "float64")


def is_bool(one: Type | None) -> bool:
    """Whether it is true or false."""
    return one is not None and one.kind == "bool"


def is_string(one: Type | None) -> bool:
    """Whether it is text."""
    return one is not None and one.kind == "string"


def is_time(one: Type | None) -> bool:
    """Whether it is a point in time."""
    return one == TIME


def is_duration(one: Type | None) -> bool:
    """Whether it is a span of time."""
    return one == DURATION


def is_list(one: Type | None) -> bool:
    """Whether it has elements in order."""
    return one is not None and one.kind in ("slice", "array")


def is_map(one: Type | None) -> bool:
    """Whether it has elements by key."""
    return one is not None and one.kind == "map"


def assignable(one: Type, to: Type) -> bool:
    """Whether Go lets a value of this type be used as one of that type."""
    return to.kind == "interface" or one.name == to.name


def comparable(a: Type | None, b: Type | None) -> bool:
    """Whether ``==`` is allowed between them."""
    if a is None or b is None or a.kind == b.kind:
        return True
    return (is_number(a) and is_number(b)) or is_any(a) or is_any(b)


def either(a: Type | None, b: Type | None, *tests: Callable[[Type | None], bool]) -> bool:
    """Whether one is unknown and the other unknown or accepted by a test."""
    if is_any(a) and is_any(b):
        return True
    return (is_any(a) and any(test(b) for test in tests)) or (is_any(b) and any(test(a) for test in tests))


def combined(a: Type, b: Type) -> Type:
    """The type of arithmetic with both."""
    if a.kind == b.kind:
        return a
    return FLOAT if "float64" in (a.kind, b.kind) else INT


_TIMES: dict[str, Signature] = {
    "Add": Signature((DURATION,), (TIME,)),
    "AddDate": Signature((INT, INT, INT), (TIME,)),
    "After": Signature((TIME,), (BOOL,)),
    "Before": Signature((TIME,), (BOOL,)),
    "Clock": Signature((), (INT, INT, INT)),
    "Compare": Signature((TIME,), (INT,)),
    "Date": Signature((), (INT, MONTH, INT)),
    "Day": Signature((), (INT,)),
    "Equal": Signature((TIME,), (BOOL,)),
    "Format": Signature((STRING,), (STRING,)),
    "GoString": Signature((), (STRING,)),
    "Hour": Signature((), (INT,)),
    "ISOWeek": Signature((), (INT, INT)),
    "In": Signature((LOCATION,), (TIME,)),
    "IsDST": Signature((), (BOOL,)),
    "IsZero": Signature((), (BOOL,)),
    "Local": Signature((), (TIME,)),
    "Location": Signature((), (LOCATION,)),
    "Minute": Signature((), (INT,)),
    "Month": Signature((), (MONTH,)),
    "Nanosecond": Signature((), (INT,)),
    "Round": Signature((DURATION,), (TIME,)),
    "Second": Signature((), (INT,)),
    "String": Signature((), (STRING,)),
    "Sub": Signature((TIME,), (DURATION,)),
    "Truncate": Signature((DURATION,), (TIME,)),
    "UTC": Signature((), (TIME,)),
    "Unix": Signature((), (INT64,)),
    "UnixMicro": Signature((), (INT64,)),
    "UnixMilli": Signature((), (INT64,)),
    "UnixNano": Signature((), (INT64,)),
    "Weekday": Signature((), (WEEKDAY,)),
    "Year": Signature((), (INT,)),
    "YearDay": Signature((), (INT,)),
    "Zone": Signature((), (STRING, INT)),
}
_DURATIONS: dict[str, Signature] = {
    "Abs": Signature((), (DURATION,)),
    "Hours": Signature((), (FLOAT,)),
    "Microseconds": Signature((), (INT64,)),
    "Milliseconds": Signature((), (INT64,)),
    "Minutes": Signature((), (FLOAT,)),
    "Nanoseconds": Signature((), (INT64,)),
    "Round": Signature((DURATION,), (DURATION,)),
    "Seconds": Signature((), (FLOAT,)),
    "String": Signature((), (STRING,)),
    "Truncate": Signature((DURATION,), (DURATION,)),
}
_NAMED: dict[str, Signature] = {"String": Signature((), (STRING,))}

METHODS: dict[str, dict[str, Signature]] = {
    "time.Time": _TIMES,
    "time.Duration": _DURATIONS,
    "time.Month": _NAMED,
    "time.Weekday": _NAMED,
    "*time.Location": _NAMED,
}
"""The methods of types that have some, by the type's name."""


def method_of(one: Type, name: str) -> Type | None:
    """The method ``name`` as a function whose first parameter is the value itself; None if there is none."""
    signature = METHODS.get(one.name, {}).get(name)
    if signature is None:
        return None
    results = ", ".join(result.name for result in signature.gives)
    full = Signature((one, *signature.takes), signature.gives)
    return Type("func", f"func({', '.join(taken.name for taken in full.takes)}) {results}", signature=full)


def result(operator: str, left: Type | None, right: Type | None) -> Type | bool | None:
    """The type of an operation but ``in``; False if it cannot work."""
    if operator == "??":
        if left is None or right is None:
            return left or right
        return left if assignable(right, left) else ANY
    if operator in _TESTS:
        return BOOL if _TESTS[operator](left, right) else False
    both = is_number(left) and is_number(right)
    if operator in ("/", "**", "^"):
        return FLOAT if both or either(left, right, is_number) else False
    if operator == "..":
        integers = is_integer(left) and is_integer(right)
        return list_of(INT) if integers or either(left, right, is_integer) else False
    if operator == "%":
        both = is_integer(left) and is_integer(right)
    if both and left is not None and right is not None:
        return combined(left, right)
    if operator == "+" and is_string(left) and is_string(right):
        return STRING
    if operator == "-" and is_time(left) and is_time(right):
        return DURATION
    if operator in "+-" and is_time(left) and is_duration(right):
        return TIME
    if operator == "+" and is_duration(left) and is_time(right):
        return TIME
    return ANY if either(left, right, *_ACCEPTED[operator]) else False


def _ordered(left: Type | None, right: Type | None) -> bool:
    kinds = (is_number, is_string, is_time)
    return any(kind(left) and kind(right) for kind in kinds) or either(left, right, *kinds)


def _logical(left: Type | None, right: Type | None) -> bool:
    return (is_bool(left) and is_bool(right)) or either(left, right, is_bool)


def _texts(left: Type | None, right: Type | None) -> bool:
    return (is_string(left) and is_string(right)) or either(left, right, is_string)


_TESTS = {
    **dict.fromkeys(("==", "!="), comparable),
    **dict.fromkeys(("or", "||", "and", "&&"), _logical),
    **dict.fromkeys(("<", ">", ">=", "<="), _ordered),
    **dict.fromkeys(("matches", "contains", "startsWith", "endsWith"), _texts),
}
_ACCEPTED = {
    "-": (is_number, is_time),
    "*": (is_number,),
    "%": (is_integer,),
    "+": (is_number, is_string, is_time, is_duration),
}
