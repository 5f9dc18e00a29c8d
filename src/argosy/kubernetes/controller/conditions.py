"""The conditions of a status: upstream's types and reasons, and how new ones are put in the place of old ones.

``lastTransitionTime`` moves when the status of a condition changes and at no other time (Kubernetes API conventions, "Typical status
properties"), so that a status that says the same is the same, and is not written again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

CONFIGURED, DEPLOYED = "Configured", "Deployed"
SOURCES_PROVIDED = "SourcesProvided"
DEPENDENCIES_PROVIDED, TRIGGERS_PROVIDED = "DependenciesProvided", "TriggersProvided"
PERMITTED, READY = "Permitted", "Ready"

_LONGEST = 1000

Status = Literal["True", "False", "Unknown"]


class Condition(NamedTuple):
    """One aspect of an object, and how it stands."""

    type: str
    status: Status
    reason: str = ""
    message: str = ""


def holds(type_: str, reason: str = "", message: str = "") -> Condition:
    """The aspect is as it should be."""
    return Condition(type_, "True", reason, message)


def fails(type_: str, reason: str, message: str) -> Condition:
    """The aspect is not as it should be; the message says why and what to do."""
    return Condition(type_, "False", reason, message)


def unknown(type_: str, reason: str, message: str) -> Condition:
    """Nobody can tell."""
    return Condition(type_, "Unknown", reason, message)


def is_true(object_: Mapping[str, Any] | None, type_: str) -> bool:
    """Whether the status of the object has the condition, and it holds."""
    status = (object_ or {}).get("status") or {}
    return any(one.get("type") == type_ and one.get("status") == "True" for one in status.get("conditions") or ())


def merged(before: Sequence[Mapping[str, Any]], now: Iterable[Condition], moment: str) -> list[dict[str, Any]]:
    """The conditions as a status holds them, by type. ``before`` are those that it held; ``moment`` is now as RFC 3339."""
    known = {one.get("type"): one for one in before}
    found = []
    for one in sorted(now):
        old = known.get(one.type) or {}
        since = old.get("lastTransitionTime") if old.get("status") == one.status else None
        made: dict[str, Any] = {"type": one.type, "status": one.status, "lastTransitionTime": since or moment}
        if one.reason:
            made["reason"] = one.reason
        if one.message:
            made["message"] = cut(one.message)
        found.append(made)
    return found


def turned(before: Sequence[Mapping[str, Any]], now: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The conditions of ``now`` whose status or reason is another than before."""
    known = {one.get("type"): one for one in before}
    return [
        one
        for one in now
        if any((known.get(one["type"]) or {}).get(field) != one.get(field) for field in ("status", "reason"))
    ]


def cut(text: str) -> str:
    """The text, or its beginning where it is too long for a status."""
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
