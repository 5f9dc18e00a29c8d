"""``filter.expression``: what an expression sees of an event, and its decision.

The names are those of upstream (``pkg/eventsources/eventing.go`` filterEvent, ``pkg/shared/expr``): the top-level
members of the event's data with ``-`` written ``_``; ``a.b`` is a member of ``a``, and then a plain ``a`` is left out;
every number is a float64; and the functions ``asInt``, ``asFloat``, ``jsonpath``, ``toJson`` and ``sprig.…``. A name
that the event does not have is nil.

The language costs 5 MB and 60 ms, so it is imported when there is a filter."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from argosy.errors import LangError
from argosy.lang import gojson
from argosy.manifests.fields import Json
from argosy.sources._base import SourceConfig


class EventDecision:
    """A compiled filter expression of one event. Raises LangError where it does not parse."""

    def __init__(self, text: str) -> None:
        from argosy.lang import expr

        self._expression = expr.compile(text)

    def accepts(self, data: bytes) -> bool:
        """Whether the event with this data (JSON text) passes. Raises LangError: the expression fails on it, or is
        neither true nor false."""
        value = gojson.loads(data)
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise LangError("the event's data are not a JSON object, so they have no names to filter by")
        try:
            env = environment(value, self._expression.names)
        except RecursionError:
            raise LangError("the event's data are nested too deep") from None
        return self._expression.decide(env)


def decision(config: SourceConfig) -> EventDecision | None:
    """The decision of an event's ``filter``; None if it has none. Raises LangError where it does not parse."""
    return EventDecision(config.filter.expression) if config.filter and config.filter.expression else None


def environment(data: Mapping[str, Json], names: frozenset[str] | None = None) -> dict[str, Any]:
    """What the names of an expression stand for; only ``names``, if they are given."""
    from argosy.lang import expr

    members = {name.replace("-", "_"): value for name, value in data.items()}
    if any("." in name for name in members):
        members = _expanded(_without_parents(members))
    wanted = members if names is None else members.keys() & names
    env = {name: expr.floats(members[name]) for name in wanted}
    env.update(expr.FUNCTIONS)
    return env


def _without_parents(members: dict[str, Any]) -> dict[str, Any]:
    """Upstream's rule: of sorted names, one goes if the next begins with it and a dot."""
    names = sorted(members, key=lambda name: name.encode("utf-8", "surrogatepass"))
    parents = {name for name, following in itertools.pairwise(names) if following.startswith(f"{name}.")}
    return {name: value for name, value in members.items() if name not in parents}


def _expanded(members: dict[str, Any]) -> dict[str, Any]:
    expanded: dict[str, Any] = {}
    inner: dict[str, dict[str, Any]] = {}
    for name, value in members.items():
        first, dot, rest = name.partition(".")
        if dot:
            inner.setdefault(first, {})[rest] = value
        else:
            expanded[name] = value
    for name, group in inner.items():
        if name not in expanded:
            expanded[name] = _expanded(group)
    return expanded
