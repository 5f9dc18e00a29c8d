"""Whether an object of Nautobot is as it should be: what is wanted, as one would write it, beside what Nautobot shows.

Nautobot shows more than it takes: a choice as its value and label, a related object as a document with its id and (``depth``) its fields; and it takes
references by id, by name, or by any attributes that find one object. So each wanted value is held against what is shown in the way in which Nautobot
would read it. Where the answer does not go deep enough to tell, ``TooShallow`` is raised.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from argosy.manifests.fields import Json

DEEPEST = 10
"""What Nautobot takes as ``depth`` at most."""
_MAC = re.compile(r"[0-9a-f]{2}([:-][0-9a-f]{2}){5}|[0-9a-f]{4}(\.[0-9a-f]{4}){2}", re.IGNORECASE)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d")
_MOST_SHOWN = 200
MERGED = ("custom_fields", "relationships")
"""Fields of which Nautobot changes only the entries that it is given."""

Object = Mapping[str, Any]


class TooShallow(Exception):
    """A related object is shown as a bare reference, where its fields are wanted."""


def different(wanted: Object, there: Object, decimals: frozenset[str], last: bool = False) -> dict[str, Json]:
    """The fields of ``wanted`` that must be written so that the object is as wanted; of those that are ``MERGED`` the entries.

    What Nautobot does not show counts as equal: it cannot be known. ``decimals`` are the fields that hold decimal numbers. Raises TooShallow,
    unless it is the ``last`` look: then a reference of which too little is shown counts as different, and Nautobot decides.
    """

    def as_wanted(alike: Callable[[Json, Json], bool], value: Json, shown: Json) -> bool:
        try:
            return alike(value, shown)
        except TooShallow:
            if last:
                return False
            raise

    found: dict[str, Json] = {}
    for name, value in wanted.items():
        if name not in there:
            continue
        shown = there[name]
        if name in MERGED and isinstance(value, dict) and isinstance(shown, dict):
            alike = _related if name == "relationships" else same
            entries = {k: each for k, each in value.items() if k in shown and not as_wanted(alike, each, shown[k])}
            if entries:
                found[name] = entries
        elif not as_wanted(_same_number if name in decimals else same, value, shown):
            found[name] = value
    return found


def same(wanted: Json, there: Json) -> bool:
    """Whether Nautobot, given ``wanted``, would show ``there``. Raises TooShallow."""
    if isinstance(there, dict):
        if there.keys() == {"value", "label"}:
            return same(wanted["value"] if isinstance(wanted, dict) and "value" in wanted else wanted, there["value"])
        return _refers(wanted, there) if is_object(there) else _exactly(wanted, there)
    if isinstance(there, list):
        return isinstance(wanted, list) and _same_members(wanted, there)
    if there is None or wanted is None:
        return wanted in (None, "") and there in (None, "")
    return _same_scalar(wanted, there)


def is_object(value: Json) -> bool:
    """Whether it is an object of Nautobot, and not just a JSON document in a field."""
    return isinstance(value, dict) and "id" in value and ("object_type" in value or "url" in value)


def depth(wanted: Json) -> int:
    """How deep an answer must go so that all attributes by which ``wanted`` refers to others can be seen."""
    if isinstance(wanted, list):
        return max(map(depth, wanted), default=0)
    if isinstance(wanted, dict):
        return min(DEEPEST, max((len(name.split("__")) + depth(value) for name, value in wanted.items()), default=0))
    return 0


def shown(value: Json) -> Json:
    """A value of Nautobot as people name it: a choice by its value, an object by its name; long texts cut."""
    if isinstance(value, dict):
        if value.keys() == {"value", "label"}:
            return value["value"]
        if is_object(value):
            return shown(value.get("display") or value.get("name") or value["id"])
        return {key: shown(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shown(each) for each in value[:_MOST_SHOWN]]
    if isinstance(value, str) and len(value) > _MOST_SHOWN:
        return value[:_MOST_SHOWN] + "…"
    return value


def _refers(wanted: Json, there: Object) -> bool:
    """Whether a reference, as Nautobot takes it, is one to this object."""
    if isinstance(wanted, dict):
        return bool(wanted) and all(_has(there, name.split("__"), value) for name, value in wanted.items())
    if not isinstance(wanted, str | int) or isinstance(wanted, bool):
        return False
    text = str(wanted)
    if "://" in text:
        text = text.rstrip("/").rpartition("/")[2]
    if text == str(there["id"]):
        return True
    # A status and a role may be named; anything else is not taken by its name.
    return "name" in there and text == there["name"]


def _has(there: Json, path: list[str], value: Json) -> bool:
    for step in path:
        if not is_object(there):
            return False
        step = "id" if step == "pk" else step
        if step not in there:
            if there.keys() <= {"id", "object_type", "url"}:
                raise TooShallow
            return False
        there = there[step]
    return same(value, there)


def _related(wanted: Json, there: Json) -> bool:
    """Whether a relationship has the objects that ``wanted`` names, on each side that it names."""
    return (
        isinstance(wanted, dict)
        and all(isinstance(side, dict) for side in wanted.values())
        and all(
            isinstance(there.get(name), dict) and same(side.get("objects"), there[name].get("objects"))
            for name, side in wanted.items()
        )
    )


def _same_members(wanted: list[Json], there: list[Json]) -> bool:
    """Lists of related objects and of plain values have no order; lists of documents have."""
    if len(wanted) != len(there):
        return False
    if any(isinstance(each, list) or (isinstance(each, dict) and not is_object(each)) for each in there):
        return _exactly(wanted, there)
    left = list(there)
    for each in wanted:
        place = next((number for number, other in enumerate(left) if same(each, other)), None)
        if place is None:
            return False
        del left[place]
    return True


def _exactly(wanted: Json, there: Json) -> bool:
    """Equality of JSON documents, where true is not 1."""
    if isinstance(wanted, dict) and isinstance(there, dict):
        return wanted.keys() == there.keys() and all(_exactly(value, there[key]) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(there, list):
        return len(wanted) == len(there) and all(map(_exactly, wanted, there))
    return isinstance(wanted, bool) == isinstance(there, bool) and bool(wanted == there)


def _same_scalar(wanted: Json, there: Json) -> bool:
    if isinstance(wanted, dict | list):
        return False
    if isinstance(wanted, bool) or isinstance(there, bool):
        # Parameters are set as text unless they say otherwise, and Nautobot takes text for a truth value.
        return str(wanted).strip().lower() == str(there).strip().lower()
    if isinstance(wanted, str) and isinstance(there, str):
        wanted = wanted.strip()  # as Nautobot does
        return wanted == there or any(_agree(reading, wanted, there) for reading in _READINGS)
    return _same_number(wanted, there)


def _same_number(wanted: Json, there: Json) -> bool:
    if wanted in (None, "") or there in (None, ""):
        return wanted in (None, "") and there in (None, "")
    try:
        return Decimal(str(wanted)) == Decimal(str(there))
    except InvalidOperation:
        return False


def _agree(reading: Callable[[str], object], one: str, other: str) -> bool:
    try:
        return reading(one) == reading(other)
    except ValueError:
        return False


def _mac(text: str) -> str:
    if not _MAC.fullmatch(text):
        raise ValueError(text)
    return re.sub("[:.-]", "", text).lower()


def _moment(text: str) -> dt.datetime:
    if not _MOMENT.match(text):
        raise ValueError(text)
    return dt.datetime.fromisoformat(text)


_READINGS: tuple[Callable[[str], object], ...] = (_mac, ipaddress.ip_interface, _moment)
"""What Nautobot writes in a form of its own."""
