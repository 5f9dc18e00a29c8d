"""One CloudEvent 1.0, and its structured-mode JSON form on the log.

The shape is upstream's (reference: CloudEvents 1.0.2 JSON format §3, Argo Events ``pkg/eventsources/eventing.go``), so
that Go and Python processes can share one bus: ``data`` stands inline as JSON, ``time`` is RFC 3339, ids are free text.
The data stays JSON *text* here; who needs values parses it once (``argosy.lang.gjson.Document``).
"""

from __future__ import annotations

import base64
import datetime as dt
import uuid
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec

from argosy.errors import EventInvalid

_KNOWN = ("specversion", "id", "source", "type", "subject", "datacontenttype", "time", "data", "data_base64")
DEPTH = "argosydepth"
"""The extension attribute that counts the actions which led to an event, one after the other."""
_attributes = msgspec.json.Decoder(dict[str, msgspec.Raw])
_values: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Event:
    """An event as it stands on the log. ``source`` is the EventSource's name, ``subject`` the event's name.

    ``data`` is JSON text in UTF-8 when ``datacontenttype`` is ``application/json``, raw bytes otherwise, and empty for an event
    that carries none (which is not the same as a JSON ``null``).
    ``time`` is RFC 3339 text. ``extensions`` are CloudEvents extension attributes, values already parsed.
    """

    id: str
    source: str
    subject: str
    type: str
    time: str
    data: bytes
    datacontenttype: str = "application/json"
    specversion: str = "1.0"
    extensions: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def context(self) -> dict[str, Any]:
        """The attributes without data, in the order and with the names that parameters see (``contextKey``)."""
        return {
            "id": self.id,
            "source": self.source,
            "specversion": self.specversion,
            "type": self.type,
            "datacontenttype": self.datacontenttype,
            "subject": self.subject,
            "time": self.time,
            **self.extensions,
        }


def new_id() -> str:
    """An id for an event whose upstream has none: 32 lower-case hex digits, as upstream makes them."""
    return uuid.uuid4().hex


def format_time(moment: dt.datetime) -> str:
    """RFC 3339 in UTC with microseconds only where there are any; ``moment`` must be aware."""
    return moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


def parse_time(text: str) -> dt.datetime:
    """An RFC 3339 time as an aware datetime. Digits beyond microseconds are cut off.

    Raises EventInvalid if the text is not such a time.
    """
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise EventInvalid(f"{text!r} is not an RFC 3339 time") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def encode(event: Event) -> bytes:
    """The event as structured-mode CloudEvents JSON, as it is stored and sent."""
    head: dict[str, Any] = {
        "specversion": event.specversion,
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "datacontenttype": event.datacontenttype,
        "time": event.time,
        **event.extensions,
    }
    if not event.data:
        return _encode(head)
    if event.datacontenttype.split(";")[0].strip() == "application/json" or event.datacontenttype.endswith("+json"):
        head["data"] = msgspec.Raw(event.data)
    else:
        head["data_base64"] = base64.b64encode(event.data).decode()
    return _encode(head)


def decode(text: bytes) -> Event:
    """The event that ``text`` (structured-mode CloudEvents JSON, ours or a Go process's) carries.

    Raises EventInvalid with the reason when it is not JSON or lacks a required attribute.
    """
    try:
        raw = _attributes.decode(text)
        head = {name: _values.decode(raw[name]) for name in raw if name not in ("data", "data_base64")}
        if "data" in raw:
            data = bytes(raw["data"])
        elif "data_base64" in raw:
            data = base64.b64decode(_values.decode(raw["data_base64"]))
        else:
            data = b""
    except (msgspec.DecodeError, ValueError, TypeError, RecursionError) as error:
        raise EventInvalid(f"not a CloudEvent in structured JSON: {error}") from error
    missing = [name for name in ("id", "source", "type") if not isinstance(head.get(name), str) or not head[name]]
    if missing:
        raise EventInvalid(f"a CloudEvent without {' and '.join(missing)}")
    return Event(
        id=head["id"],
        source=head["source"],
        subject=str(head.get("subject") or ""),
        type=head["type"],
        time=str(head.get("time") or ""),
        data=data,
        datacontenttype=str(head.get("datacontenttype") or "application/json"),
        specversion=str(head.get("specversion") or "1.0"),
        extensions={name: value for name, value in head.items() if name not in _KNOWN},
    )
