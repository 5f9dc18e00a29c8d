"""expr-lang expressions (version 1.15.5), compiled to closures and evaluated within bounds.

``compile`` once, ``evaluate`` often. What the Go library refuses is refused, what it answers is answered, its oddities
included: they are listed in the reference of the language. Bounds of one evaluation: steps, elements and bytes
(``_expr_values``), so that no expression hangs or fills the memory.

The environment is a mapping: JSON values with every number a float, and functions made by ``function``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from argosy.errors import LangError
from argosy.lang import _expr_nodes as nodes
from argosy.lang import jsonpath, sprig
from argosy.lang._expr_access import Metered
from argosy.lang._expr_builtins import BUILTINS, to_float, to_int
from argosy.lang._expr_checker import check
from argosy.lang._expr_closures import Run, build
from argosy.lang._expr_json import from_json, to_json
from argosy.lang._expr_meter import Meter
from argosy.lang._expr_parser import parse
from argosy.lang._expr_simplify import simplify
from argosy.lang._expr_values import described
from argosy.lang._gotemplate_functions import Function
from argosy.lang._jsonpath_selectors import Walk
from argosy.lang.gojson import floats

__all__ = ["BUILTINS", "FUNCTIONS", "Expression", "compile", "floats", "function"]


class Expression:
    """A compiled expression. Immutable.

    ``names`` are the members of the environment that it reads, None if it may read all (``$env``).
    ``lost`` are the offsets of every ``not`` that the language drops without a word.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            tree = parse(text)
            self.lost: tuple[int, ...] = tuple(tree.lost)
            names = _names(tree.root)
            self.names: frozenset[str] | None = None if "$env" in names else frozenset(names)
            check(tree.root, text)
            self._run = build(simplify(tree.root, text), text)
        except RecursionError:
            raise LangError("the expression is too complex", text=text, offset=0) from None

    def evaluate(self, env: Mapping[str, Any]) -> Any:
        """The value for this environment, which is not changed. Raises LangError with the place that failed."""
        try:
            return self._run(Run(env))
        except LangError as error:
            raise LangError(error.message, text=self.text, offset=max(error.offset, 0)) from None
        except (RecursionError, OverflowError, ValueError) as error:
            raise LangError(f"the expression cannot be computed: {error}", text=self.text, offset=0) from None

    def decide(self, env: Mapping[str, Any]) -> bool:
        """As ``evaluate``, for an expression that has to be true or false. Raises LangError if it is neither."""
        value = self.evaluate(env)
        if value is True or value is False:
            return bool(value)
        raise LangError(f"the expression gives {described(value)}, not true or false", text=self.text, offset=0)


@functools.lru_cache(maxsize=1024)
def compile(text: str) -> Expression:
    """``text`` as an expression. Raises LangError pointing at what does not parse or can never work."""
    return Expression(text)


def function(name: str, run: Callable[..., Any], takes: str) -> Function:
    """A function for the environment. ``takes`` has a letter a parameter: s text, a anything (``_gotemplate_functions``)."""
    return Function(name, run, takes)


def _names(root: nodes.Node) -> set[str]:
    found: set[str] = set()
    waiting = [root]
    seen: set[int] = set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, nodes.Name):
            found.add(node.name)
        waiting.extend(inner for _, _, inner in node.children())
    return found


def _refused(name: str, reason: str) -> Callable[..., Any]:
    def refuse(*arguments: Any) -> Any:
        raise LangError(f"the function 'sprig.{name}' {reason}")

    return refuse


def _find(meter: Meter, text: str, path: str) -> Any:
    walk = Walk(from_json(text, meter))
    try:
        return jsonpath.compile(path).follow(walk)
    finally:
        meter.step(walk.steps)


def _json(value: Any) -> str:
    try:
        return to_json(value, Meter())
    except LangError:
        return ""


class _Shared(dict[str, Function]):
    """Functions that all expressions share, so that none may change them (``sprig.unset(sprig, "trim")``)."""

    def __setitem__(self, name: str, value: Any) -> NoReturn:
        raise LangError("the functions of an expression cannot be changed")


_SPRIG = _Shared(
    {
        **{
            name: Function(name, _refused(name, why), "", "a")
            for name, why in sprig.REFUSED.items()
            if "env" not in name
        },
        **sprig.FUNCTIONS,
    }
)

FUNCTIONS: dict[str, Any] = {
    "asInt": function("asInt", to_int, "a"),
    "asFloat": function("asFloat", to_float, "a"),
    "jsonpath": Metered("jsonpath", _find, "ss"),
    "toJson": function("toJson", _json, "a"),
    "sprig": _SPRIG,
}
"""What an environment can offer beside its values: conversions, JSONPath, JSON text, and the functions of sprig."""
