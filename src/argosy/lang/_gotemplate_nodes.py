"""What a template is once it is parsed: one class for each construct of text/template."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Node:
    """One node of the tree; ``offset`` counts characters into the text."""

    offset: int


@dataclass(slots=True)
class Literal(Node):
    """A string or boolean."""

    value: Any


@dataclass(slots=True)
class Number(Node):
    """A number as it may be read: as an integer, as a float, or both; ``plain`` is what it is without a
    wish."""

    text: str
    integer: int | None
    real: float | None
    plain: int | float


@dataclass(slots=True)
class Nil(Node):
    """``nil``."""


@dataclass(slots=True)
class Dot(Node):
    """``.``"""


@dataclass(slots=True)
class Field(Node):
    """``.a.b``"""

    names: list[str]


@dataclass(slots=True)
class Variable(Node):
    """``$x`` or ``$x.a``"""

    name: str
    names: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Chain(Node):
    """``(pipeline).a`` or ``function.a``"""

    base: Node
    names: list[str]


@dataclass(slots=True)
class Call(Node):
    """A function's name."""

    name: str


@dataclass(slots=True)
class Command(Node):
    """Operands side by side."""

    operands: list[Node]


@dataclass(slots=True)
class Pipe(Node):
    """Commands joined by ``|``, perhaps into variables."""

    commands: list[Command] = field(default_factory=list)
    variables: list[str] = field(default_factory=list)
    assigns: bool = False


@dataclass(slots=True)
class Text(Node):
    """Literal text."""

    text: str


@dataclass(slots=True)
class Action(Node):
    """``{{pipeline}}``"""

    pipe: Pipe


@dataclass(slots=True)
class Branch(Node):
    """``if``, ``with`` and ``range``; ``otherwise`` is None without ``else``."""

    word: str
    pipe: Pipe
    body: list[Node]
    otherwise: list[Node] | None


@dataclass(slots=True)
class Jump(Node):
    """``break`` and ``continue``."""

    word: str


@dataclass(slots=True)
class Include(Node):
    """``template``, and what a ``block`` leaves at its place."""

    name: str
    pipe: Pipe | None


@dataclass(slots=True)
class Stop(Node):
    """``end`` and ``else``: they close a list and are no part of it."""

    word: str
