"""Values compared and shown: equal, contained, and the difference as a unified diff of YAML."""

from __future__ import annotations

import difflib
from typing import Any

import yaml

from argosy.manifests import _yaml
from argosy.manifests.fields import Json

NOTHING: Any = object()
"""Stands for what is not there; it is equal to nothing."""


def equal(wanted: Json, found: Json) -> bool:
    """Whether two JSON values are the same; 1 and 1.0 are, 1 and true are not."""
    if isinstance(wanted, bool) or isinstance(found, bool):
        return wanted is found
    if isinstance(wanted, dict) and isinstance(found, dict):
        return wanted.keys() == found.keys() and all(equal(value, found[key]) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(map(equal, wanted, found))
    if isinstance(wanted, int | float) and isinstance(found, int | float):
        return wanted == found
    return type(wanted) is type(found) and bool(wanted == found)


def contains(found: Json, wanted: Json) -> bool:
    """Whether ``wanted`` is in ``found``: of a mapping these keys, of a list these entries in this order."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(key in found and contains(found[key], value) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(found, list):
        rest = iter(found)
        return all(any(contains(one, value) for one in rest) for value in wanted)
    return equal(wanted, found)


def narrowed(found: Json, wanted: Json) -> Json:
    """What of ``found`` should be shown beside ``wanted``: the same keys; of a list the entries that are like the wanted ones."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return {key: narrowed(found[key], value) for key, value in wanted.items() if key in found}
    if isinstance(wanted, list) and isinstance(found, list):
        if len(wanted) == len(found):
            return [narrowed(there, value) for there, value in zip(found, wanted, strict=True)]
        return [narrowed(_like(value, found), value) for value in wanted]
    return found


def _like(value: Json, among: list[Json]) -> Json:
    return max(among, key=lambda one: difflib.SequenceMatcher(None, shown(one), shown(value)).ratio(), default=None)


class _Dumper(yaml.SafeDumper):
    """Writes YAML that Kubernetes' rules read back as it was."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.Node:
    style = None
    lines = text.split("\n")
    if not all(line.isprintable() for line in lines):
        style = '"'
    elif len(lines) > 1 and not any(line != line.rstrip() for line in lines):
        style = "|"
    elif text == "" or _yaml.resolve(text) is not text:
        style = "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def shown(value: Json) -> str:
    """The value as YAML, in the order of its keys."""
    if value is NOTHING:
        return "(nothing)\n"
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text.removesuffix("...\n")


def ordered(value: Json) -> Json:
    """The value with its keys sorted, for comparing texts."""
    if isinstance(value, dict):
        return {key: ordered(value[key]) for key in sorted(value)}
    return [ordered(item) for item in value] if isinstance(value, list) else value


def difference(wanted: Json, found: Json) -> list[str]:
    """The lines of a unified diff between the two as YAML."""
    before, after = shown(ordered(wanted)).splitlines(), shown(ordered(found)).splitlines()
    lines = difflib.unified_diff(before, after, "wanted", "found", lineterm="", n=4)
    return [line for line in lines if not line.startswith("@@")]
