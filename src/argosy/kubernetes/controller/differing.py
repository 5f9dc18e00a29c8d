"""Whether an object in the cluster is what it should be.

Two questions, because the API server completes and spells anew what it is given. The annotation ``argosy.dev/digest`` tells whether the
object was made of what is wanted now. Whether somebody has changed it since is seen by looking for every wanted field in it; what others
have added (defaults, a sidecar, a replica count that is not ours) is theirs and stays.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

from argosy.manifests.objects import digest

DIGEST = "argosy.dev/digest"
"""The annotation that names what an object was made of."""
_NAMES = ("name", "mountPath", "containerPort", "port", "key", "ip", "type", "topologyKey", "devicePath")
"""What tells the entries of a list from each other, the first that all of them have."""
_WHOLE = ("selector", "podSelector", "matchLabels")
"""Mappings in which an entry more means something else."""
_QUANTITIES = re.compile(r"\.(resources\.(requests|limits)\.|sizeLimit$)")

Object = dict[str, Any]


def marked(wanted: Object) -> Object:
    """A copy of what is wanted that carries its digest."""
    made = copy.deepcopy(wanted)
    made["metadata"].setdefault("annotations", {})[DIGEST] = digest(wanted)[:32]
    return made


def made_of(live: Mapping[str, Any]) -> str:
    """The digest that an object carries."""
    return str(((live.get("metadata") or {}).get("annotations") or {}).get(DIGEST) or "")


def changed_by(live: Mapping[str, Any], own: str, paths: Sequence[str]) -> str:
    """Who else last set one of these fields, by the API server's records; empty where that is not known."""
    others = [
        one
        for one in live["metadata"].get("managedFields") or ()
        if one.get("manager") != own
        and one.get("subresource") != "status"
        and any(_sets(one.get("fieldsV1") or {}, _STEPS.findall(path)) for path in paths)
    ]
    last: Object = max(others, key=lambda one: str(one.get("time") or ""), default={})
    return str(last.get("manager") or "")


_STEPS = re.compile(r"[^.\[\]]+|\[[^\]]*\]")


def _sets(fields: Mapping[str, Any], steps: Sequence[str]) -> bool:
    """Whether a record of fields (``FieldsV1``) covers a path, or something in it."""
    if not steps or not fields:
        return True
    step, rest = steps[0], steps[1:]
    if step.startswith("["):
        entry = f':"{step[1:-1]}"'
        return any(_sets(inner, rest) for key, inner in fields.items() if key.startswith("k:") and entry in key)
    inner = fields.get(f"f:{step}")
    return inner is not None and _sets(inner, rest)


def holds(live: Any, wanted: Any) -> bool:
    """Whether everything that ``wanted`` says is so in ``live``, which may say more."""
    return not differences(live, wanted)


def differences(live: Any, wanted: Any, path: str = "") -> list[str]:
    """The fields of ``wanted`` that are not so in ``live``."""
    if isinstance(wanted, Mapping):
        if not isinstance(live, Mapping):
            # The server leaves out what is empty.
            return [path] if wanted or live is not None else []
        if path.endswith(_WHOLE) and set(live) - set(wanted):
            return [path]
        return [
            found
            for key, value in wanted.items()
            if not _nothing(value) or live.get(key)
            for found in differences(live.get(key), value, f"{path}.{key}" if path else str(key))
        ]
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return _lists(live, wanted, path)
    # A zero value may be left out, and quantities are written in one way: "1000m" is "1".
    same = wanted == live or (live is None and not wanted) or (_QUANTITIES.search(path) and _same_number(live, wanted))
    return [] if same else [path]


def _nothing(value: Any) -> bool:
    return value is None or value in ({}, [], "")


def _lists(live: Any, wanted: Sequence[Any], path: str) -> list[str]:
    if not isinstance(live, Sequence) or isinstance(live, str):
        return [path] if wanted or live is not None else []
    name = next(
        (key for key in _NAMES if wanted and all(isinstance(one, Mapping) and key in one for one in wanted)),
        None,
    )
    if name is None or len({str(one[name]) for one in wanted}) < len(wanted):
        if len(live) != len(wanted):
            return [path]
        return [
            found
            for place, (mine, theirs) in enumerate(zip(wanted, live, strict=True))
            for found in differences(theirs, mine, f"{path}[{place}]")
        ]
    there = {one.get(name): one for one in live if isinstance(one, Mapping)}
    return [found for one in wanted for found in differences(there.get(one[name]), one, f"{path}[{one[name]}]")]


_SUFFIXES = {
    "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60,
}  # fmt: skip
"""Kubernetes' quantities (``k8s.io/apimachinery/pkg/api/resource``)."""


def _same_number(one: Any, other: Any) -> bool:
    mine, theirs = _quantity(one), _quantity(other)
    return mine is not None and theirs is not None and abs(mine - theirs) <= 1e-9 * max(1.0, abs(mine))


def _quantity(value: Any) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    text = str(value)
    digits = text.rstrip("mkMGTPEi")
    try:
        return float(digits) * _SUFFIXES[text[len(digits) :]]
    except (ValueError, KeyError):
        return None
