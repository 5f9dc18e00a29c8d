"""The tree of an expression. ``type`` is what is known of a node's value before it runs (``_expr_types``).

Nodes are replaced while the tree is simplified, and the replacements have no type, as in the Go library: what
is decided by types afterwards is decided the same way here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from argosy.lang._expr_types import Type


@dataclass(slots=True, kw_only=True)
class Node:
    """``offset`` is where in the text it stands."""

    offset: int = 0
    type: Type | None = None

    def children(self) -> Iterator[tuple[str, int, Node]]:
        """Each inner node with the attribute that holds it, and its place there if that is a list (else -1)."""
        for name in _INNER.get(type(self), ()):
            held = getattr(self, name)
            if isinstance(held, list):
                for index, one in enumerate(held):
                    yield name, index, one
            elif held is not None:
                yield name, -1, held


@dataclass(slots=True)
class Nil(Node):
    """``nil``."""


@dataclass(slots=True)
class Name(Node):
    """A variable, or a member of the environment."""

    name: str


@dataclass(slots=True)
class Integer(Node):
    """An int."""

    value: int


@dataclass(slots=True)
class Float(Node):
    """A float64."""

    value: float


@dataclass(slots=True)
class Boolean(Node):
    """``true`` or ``false``."""

    value: bool


@dataclass(slots=True)
class Text(Node):
    """A string."""

    value: str


@dataclass(slots=True)
class Constant(Node):
    """A value that was worked out beforehand."""

    value: Any


@dataclass(slots=True)
class Unary(Node):
    """``not x``, ``!x``, ``-x``, ``+x``."""

    operator: str
    node: Node


@dataclass(slots=True)
class Binary(Node):
    """Two operands. ``regex`` is the compiled pattern of ``matches`` with a literal."""

    operator: str
    left: Node
    right: Node
    regex: Any = None


@dataclass(slots=True)
class Chain(Node):
    """The reach of ``?.``: nil anywhere in it makes all of it nil."""

    node: Node


@dataclass(slots=True)
class Member(Node):
    """``node.name`` or ``node[property]``. ``method`` is set for methods of typed values."""

    node: Node
    property: Node
    optional: bool = False
    method: str = ""


@dataclass(slots=True)
class Slice(Node):
    """``node[start:stop]``."""

    node: Node
    start: Node | None
    stop: Node | None


@dataclass(slots=True)
class Call(Node):
    """A call of a value. ``builtin`` is set if the value is known to be that built-in function."""

    callee: Node
    arguments: list[Node]
    builtin: str = ""


@dataclass(slots=True)
class Builtin(Node):
    """A call of a built-in function. ``map`` and ``throws`` belong to simplified filters."""

    name: str
    arguments: list[Node]
    throws: bool = False
    map: Node | None = None


@dataclass(slots=True)
class Closure(Node):
    """What is run for each element."""

    node: Node


@dataclass(slots=True)
class Pointer(Node):
    """``#``, ``#index``, ``#acc``."""

    name: str


@dataclass(slots=True)
class Let(Node):
    """``let name = value; node``."""

    name: str
    value: Node
    node: Node


@dataclass(slots=True)
class Conditional(Node):
    """``test ? yes : no``."""

    test: Node
    yes: Node
    no: Node


@dataclass(slots=True)
class Array(Node):
    """``[a, b]``."""

    nodes: list[Node]


@dataclass(slots=True)
class Pair(Node):
    """``key: value`` of a map."""

    key: Node
    value: Node


@dataclass(slots=True)
class Map(Node):
    """``{a: b}``."""

    pairs: list[Node] = field(default_factory=list)


_INNER: dict[type, tuple[str, ...]] = {
    Unary: ("node",),
    Binary: ("left", "right"),
    Chain: ("node",),
    Member: ("node", "property"),
    Slice: ("node", "start", "stop"),
    Call: ("callee", "arguments"),
    Builtin: ("arguments",),
    Closure: ("node",),
    Let: ("value", "node"),
    Conditional: ("test", "yes", "no"),
    Array: ("nodes",),
    Map: ("pairs",),
    Pair: ("key", "value"),
}
