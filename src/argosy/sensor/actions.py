"""The action record: "trigger T of sensor S shall run for these events", and the id that makes it recognisable.

The id is a hash of what caused the action, so whoever causes it again (a redelivered event, a process that died between two writes)
writes the same record once more, and the queue stores it once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from argosy import event as events
from argosy.errors import EventInvalid
from argosy.event import Event

_encode = msgspec.json.Encoder().encode


def action_id(namespace: str, sensor: str, trigger: str, caused_by: Mapping[str, Event]) -> str:
    """32 hex digits, the same for the same trigger and the same events whoever computes it."""
    parts = [namespace, sensor, trigger]
    for dependency in sorted(caused_by):
        cause = caused_by[dependency]
        parts += [dependency, cause.source, cause.subject, cause.id]
    # As JSON, so that no text that an event brings along can look like the end of one part and the beginning of another.
    return hashlib.sha256(_encode(parts)).hexdigest()[:32]


class _Record(msgspec.Struct, frozen=True, omit_defaults=True):
    created: str
    events: dict[str, msgspec.Raw]
    unusable: str = ""
    at: float = 0.0


@dataclass(frozen=True)
class ActionRecord:
    """What the action queue stores. ``created`` is the RFC 3339 time of the event that completed the condition, ``at`` when the log stored it,
    in seconds since the epoch (0 in records of older versions): what ``queue.delay`` counts from.

    ``unusable`` says why the action cannot be performed; its events then have lost their data. It is stored all the same, so
    that it becomes a dead letter that a person sees.
    """

    created: str
    events: Mapping[str, Event]
    unusable: str = ""
    at: float = 0.0


_decode = msgspec.json.Decoder(_Record).decode


def encode(record: ActionRecord) -> bytes:
    """The record as JSON."""
    raw = {name: msgspec.Raw(events.encode(event)) for name, event in record.events.items()}
    return _encode(_Record(record.created, raw, record.unusable, record.at))


def decode(body: bytes) -> ActionRecord:
    """The record in ``body``. Raises EventInvalid if it is none."""
    try:
        record = _decode(body)
    except msgspec.DecodeError as error:
        raise EventInvalid(f"not an action record: {error}") from error
    caused_by = {name: events.decode(bytes(raw)) for name, raw in record.events.items()}
    return ActionRecord(record.created, caused_by, record.unusable, record.at)


def stripped(record: ActionRecord, reason: str) -> ActionRecord:
    """The record without its events' data, marked unusable: what is kept of an action that is too large to keep."""
    caused_by = {
        name: replace(event, data=b"null", datacontenttype="application/json") for name, event in record.events.items()
    }
    return ActionRecord(record.created, caused_by, reason, record.at)
