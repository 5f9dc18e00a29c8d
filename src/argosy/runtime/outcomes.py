"""What is kept of a finished action: what its trigger answered, and which events caused it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from argosy.errors import LangError
from argosy.event import Event
from argosy.lang import gojson

_LARGEST_OUTCOME, _LONGEST_MESSAGE = 128 * 1024, 1000


def causes(caused_by: Mapping[str, Event]) -> list[dict[str, str]]:
    """The events of an action by their names, without their data."""
    return [
        {"dependency": name, "id": event.id, "source": event.source, "name": event.subject, "time": event.time}
        for name, event in caused_by.items()
    ]


def kept(
    caused_by: Mapping[str, Event],
    message: str,
    detail: Mapping[str, Any] | None = None,
    more: Mapping[str, Any] | None = None,
) -> bytes:
    """The outcome as JSON, with ``more`` beside its own members. The events' data are not kept.

    The action is done, so nothing here may fail: what cannot be kept is left out, and the message says so.
    """
    events = causes(caused_by)
    try:
        text = gojson.dumps({"message": message, "detail": detail or {}, "events": events, **(more or {})})
    except (LangError, RecursionError):
        return kept(caused_by, f"{message[:_LONGEST_MESSAGE]} (its answer is not JSON and was not kept)", None, more)
    if len(text) <= _LARGEST_OUTCOME:
        return text
    message = f"{message[:_LONGEST_MESSAGE]} (its answer has {len(text)} bytes and was not kept)"
    text = gojson.dumps({"message": message, "detail": {}, "events": events, **(more or {})})
    if len(text) <= _LARGEST_OUTCOME:
        return text
    return gojson.dumps({"message": message, "detail": {}, "events": [], **(more or {})})
