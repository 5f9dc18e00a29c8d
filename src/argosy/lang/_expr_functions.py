"""What a built-in function of expressions is: what it accepts, and what it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from argosy.lang._expr_meter import Meter
from argosy.lang._expr_types import Signature, Type

Run = Callable[[list[Any], Meter], Any]
Validate = Callable[[list[Type | None]], Type]


@dataclass(frozen=True, slots=True)
class BuiltinFunction:
    """``overloads`` or ``validate`` say what it accepts. ``run`` gets the arguments; None for those with a
    closure."""

    name: str
    run: Run | None = None
    overloads: tuple[Signature, ...] = ()
    validate: Validate | None = None


class registrar:
    """Enters functions into a table; ``_name`` becomes ``name``."""

    def __init__(self, table: dict[str, BuiltinFunction]) -> None:
        self._table = table

    def takes(self, *overloads: Sequence[Type], gives: Type) -> Callable[[Run], Run]:
        """By the overloads of the parameters."""
        return self._entering(tuple(Signature(tuple(taken), (gives,)) for taken in overloads), None)

    def checked(self, validate: Validate) -> Callable[[Run], Run]:
        """By what decides about the arguments."""
        return self._entering((), validate)

    def _entering(self, overloads: tuple[Signature, ...], validate: Validate | None) -> Callable[[Run], Run]:
        def enter(run: Run) -> Run:
            name = run.__name__.strip("_")
            self._table[name] = BuiltinFunction(name, run, overloads, validate)
            return run

        return enter
