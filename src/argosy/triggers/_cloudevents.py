"""An event as the body of an HTTP request, in binary or structured mode (CloudEvents 1.0.2, HTTP Protocol Binding §3.1 and §3.2)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import quote

from argosy import event as events
from argosy.errors import Rejected
from argosy.event import Event
from argosy.triggers._base import Action
from argosy.triggers._http_config import CloudEventPayload

STRUCTURED = "application/cloudevents+json; charset=utf-8"
_PLAIN = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
"""What stands in a header as it is; everything else is percent-encoded (§3.1.3.2)."""


def body(config: CloudEventPayload, action: Action) -> tuple[dict[str, str], bytes]:
    """The headers and the body that carry the event. With a payload that is the event's data.

    Raises Rejected if it is not clear which event is meant.
    """
    event = _chosen(config, action)
    if action.payload:
        event = replace(event, data=action.payload, datacontenttype="application/json")
    if config.mode == "structured":
        return {"Content-Type": STRUCTURED}, events.encode(event)
    attributes: dict[str, Any] = {
        "specversion": event.specversion,
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time": event.time,
        **event.extensions,
    }
    headers = {f"ce-{name}": _header(value) for name, value in attributes.items() if value not in ("", None)}
    if event.data:
        headers["Content-Type"] = event.datacontenttype
    return headers, event.data


def _chosen(config: CloudEventPayload, action: Action) -> Event:
    if config.dependency_name:
        found = action.events.get(config.dependency_name)
        if found is None:
            raise Rejected(f"cloudEvent: no event of {config.dependency_name!r} is here")
        return found
    if len(action.events) != 1:
        raise Rejected(f"cloudEvent: say with 'dependencyName' which of {', '.join(action.events)} is sent")
    return next(iter(action.events.values()))


def _header(value: Any) -> str:
    text = {True: "true", False: "false"}.get(value, str(value)) if isinstance(value, bool) else str(value)
    return quote(text, safe=_PLAIN)
