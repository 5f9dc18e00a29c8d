"""Filters that do not filter as they read: clauses that always or never hold, clauses that exclude each other,
patterns that match more than they say.

Clauses of one path are compared as sets: numbers as intervals, booleans, and texts that a pattern names
whole. What is no plain case of that is left alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

from argosy.manifests._bundle import Bundle, Key
from argosy.manifests.checks._walk import sensors_by_key
from argosy.manifests.findings import Problem
from argosy.manifests.sensor import DataFilter, Dependency, Filters, Sensor

_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_BOOLEANS = _TRUE | frozenset(("0", "f", "F", "FALSE", "false", "False"))
_WHOLE_LITERAL = re.compile(r"\^([\w /:@-]+)\$")
_ANCHORED = re.compile(r"[\^$]|\\[AzbB]|\.[*+]")
"""What says that a pattern's author thought of where it matches."""


def check(bundle: Bundle) -> Iterator[tuple[Key, Problem]]:
    """Filters that cannot be meant."""
    for key, sensor in sensors_by_key(bundle):
        for index, dependency in enumerate(sensor.dependencies):
            if dependency.filters is None:
                continue
            for problem in (
                *_clauses(dependency.filters, sane=sensor.spec.strict),
                *_excluded(dependency.filters),
                *_context(bundle, sensor, dependency),
            ):
                yield key, problem.inside("spec", "dependencies", index, "filters")


def _clauses(filters: Filters, *, sane: bool) -> Iterator[Problem]:
    for index, clause in enumerate(filters.data):
        yield from (problem.inside("data", index) for problem in _clause(clause, sane))


def _clause(clause: DataFilter, sane: bool) -> Iterator[Problem]:
    for index, value in enumerate(clause.value):
        if clause.type == "bool" and value not in _BOOLEANS:
            yield Problem("invalid-value", f"'{value}' is not true or false", ("value", index))
        elif clause.type == "number" and _number(value) is None:
            yield Problem("invalid-value", f"'{value}' is not a number", ("value", index))
    if clause.type == "string" and clause.comparator not in ("", "=", "!="):
        if sane:
            return  # an error there, said by argosy.manifests.checks.traps
        text = f"comparator '{clause.comparator}' never matches text; use =, != or type: number"
        yield Problem("never-true", text, ("comparator",), "warning")
    elif clause.comparator == "!=" and len(set(clause.value)) > 1 and clause.type != "bool" and not sane:
        text = "values are alternatives: with != and several of them nearly everything passes"
        yield Problem("always-true", text, ("value",), "warning")
    elif clause.type == "string":
        loose = next((value for value in clause.value if not _ANCHORED.search(value)), None)
        if loose is not None:
            whole = f"^({loose})$" if "|" in loose else f"^{loose}$"
            text = f"'{loose}' matches anywhere in the text; to match the whole of it write '{whole}'"
            yield Problem("unanchored-regex", text, ("value", clause.value.index(loose)), "info")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        # Go also reads hexadecimal floats, 0x1p-2.
        return float.fromhex(text) if text.lower().lstrip("+-").startswith("0x") else None
    except (ValueError, OverflowError):
        return None


class _Span(NamedTuple):
    """Numbers between two ends; ``open_`` ends do not belong to it."""

    low: float
    low_open: bool
    high: float
    high_open: bool

    def meets(self, other: _Span) -> _Span | None:
        low = max((self.low, self.low_open), (other.low, other.low_open))
        high = min((self.high, not self.high_open), (other.high, not other.high_open))
        empty = low[0] > high[0] or (low[0] == high[0] and (low[1] or not high[1]))
        return None if empty else _Span(*low, high[0], not high[1])


def _spans(comparator: str, number: float) -> list[_Span]:
    below, above = _Span(-math.inf, False, number, True), _Span(number, True, math.inf, False)
    itself = _Span(number, False, number, False)
    return {
        ">": [above],
        ">=": [itself, above],
        "<": [below],
        "<=": [below, itself],
        "!=": [below, above],
    }.get(comparator, [itself])


_Allowed = list[_Span] | frozenset[str]


def _allowed(clause: DataFilter) -> _Allowed | None:
    """What passes the clause; None where that is no plain set."""
    if clause.template:
        return None
    if clause.type == "number":
        numbers = [_number(value) for value in clause.value]
        if any(number is None or math.isnan(number) for number in numbers):
            return None
        return [span for number in numbers if number is not None for span in _spans(clause.comparator, number)]
    if clause.type == "bool":
        if any(value not in _BOOLEANS for value in clause.value):
            return None
        return frozenset("true" if value in _TRUE else "false" for value in clause.value)
    words = [_WHOLE_LITERAL.fullmatch(value) for value in clause.value]
    if clause.comparator == "!=" or not all(words):
        return None
    return frozenset(word[1] for word in words if word)


def _common(one: _Allowed, other: _Allowed) -> _Allowed:
    if isinstance(one, frozenset) and isinstance(other, frozenset):
        return one & other
    assert isinstance(one, list)
    assert isinstance(other, list)
    return [span for a in one for b in other if (span := a.meets(b))]


def _excluded(filters: Filters) -> Iterator[Problem]:
    if filters.data_logical_operator == "or":
        return
    seen: dict[tuple[str, str], _Allowed] = {}
    for index, clause in enumerate(filters.data):
        allowed = _allowed(clause)
        if not allowed:
            continue
        at = clause.path, clause.type
        left = _common(seen[at], allowed) if at in seen else allowed
        if not left:
            text = f"no value of '{clause.path}' passes this clause and those above it"
            yield Problem("never-true", text, ("data", index, "value"), "warning")
            return
        seen[at] = left


def _context(bundle: Bundle, sensor: Sensor, dependency: Dependency) -> Iterator[Problem]:
    wanted = dependency.filters.context if dependency.filters else None
    if wanted is None:
        return
    # The bus has only these for this dependency: they are how an event finds it.
    for word, given, known in (
        ("source", wanted.source, dependency.event_source_name),
        ("subject", wanted.subject, dependency.event_name),
    ):
        if given and given != known:
            text = f"'{word}' of these events is always '{known}'"
            yield Problem("never-true", text, ("context", word), "warning")
    source = bundle.event_source(sensor.metadata.namespace, dependency.event_source_name)
    if source is None or not wanted.type:
        return
    from argosy import registry

    for event in source.events:
        if event.name == dependency.event_name and wanted.type != (kind := registry.event_type(event.kind)):
            text = f"'type' of these events is always '{kind}'"
            yield Problem("never-true", text, ("context", "type"), "warning")
