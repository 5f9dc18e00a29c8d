"""Values of expressions with their Go types, in the oracle's form (``typed`` in ``tools/oracle/expr.go``)."""

from __future__ import annotations

import datetime as dt
from typing import Any

from argosy.lang import _gotemplate_print as goprint
from argosy.lang import _gotemplate_time as gotime
from argosy.lang import gojson
from argosy.lang._expr_values import Key
from argosy.lang._gotemplate_functions import Function


def typed(value: Any) -> list[Any]:
    """``["int", "5"]``, ``["list", "[]string", […]]`` and so on."""
    if value is None:
        return ["nil"]
    if isinstance(value, bool):
        return ["bool", value]
    if isinstance(value, float):
        return ["float64", gojson.format_float(value)]
    if isinstance(value, str):
        # The oracle writes JSON, which holds no broken UTF-8.
        return ["string", value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")]
    if isinstance(value, dt.datetime):
        return ["time", gotime.format(value, "2006-01-02T15:04:05.999999999Z07:00")]
    if isinstance(value, Function):
        return ["func"]
    name = goprint.type_name(value)
    if isinstance(value, int):
        return [name, str(int(value))]
    if isinstance(value, list):
        return ["list", name, [typed(one) for one in value]]
    if isinstance(value, dict):
        pairs = [[typed(key.value if isinstance(key, Key) else key), typed(one)] for key, one in value.items()]
        return ["map", name, sorted(pairs, key=lambda pair: str(pair[0]))]
    return [name]


def same(ours: list[Any], theirs: list[Any]) -> bool:
    """Whether both are of one type and value."""
    kind = theirs[0]
    if kind.startswith("func"):
        return ours[0] == "func"
    if kind != ours[0]:
        return False
    if kind == "float64":
        mine, other = float(ours[1]), float(theirs[1])
        return mine == other or (mine != mine and other != other)
    if kind == "list":
        return ours[1] == theirs[1] and len(ours[2]) == len(theirs[2]) and all(map(same, ours[2], theirs[2]))
    if kind == "map":
        if ours[1] != theirs[1] or len(ours[2]) != len(theirs[2]):
            return False
        rest = list(theirs[2])
        for key, value in ours[2]:
            found = next((pair for pair in rest if same(key, pair[0]) and same(value, pair[1])), None)
            if found is None:
                return False
            rest.remove(found)
        return True
    return bool(ours == theirs)
