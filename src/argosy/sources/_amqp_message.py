"""What an AMQP message becomes: the event's data in upstream's shape, and its id. No network in here.

The body is kept as its sender wrote it (``raw_json``), or as base64. oslo.messaging, by which OpenStack's
services notify, wraps its message as JSON text inside a JSON envelope (oslo.messaging
``_drivers/common.py``, message format 2.0); it is looked into for the id, and unwrapped where the manifest
asks for that.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple, Protocol

import msgspec

from argosy.errors import EventInvalid, LangError
from argosy.event import parse_time
from argosy.lang import gojson
from argosy.sources._http_body import raw_json
from argosy.sources._raw import Raw, known, tail

_VERSION, _MESSAGE = "oslo.version", "oslo.message"
_MARK = b'"oslo.message"'


class _Envelope(msgspec.Struct):
    message: Any = msgspec.field(name=_MESSAGE, default=None)


class _Named(msgspec.Struct):
    message_id: Any = None


_envelope = msgspec.json.Decoder(_Envelope)
_named = msgspec.json.Decoder(_Named)


class Reading(NamedTuple):
    """How bodies are read: as JSON or as bytes, unwrapped or not; and the ``metadata`` that every event
    carries.
    """

    json_body: bool
    oslo: bool
    metadata: dict[str, str]


class Delivered(Protocol):
    """What is read of a message, by the names of aiormq's ``DeliveredMessage``."""

    @property
    def body(self) -> bytes: ...
    @property
    def header(self) -> Any: ...
    @property
    def exchange(self) -> str | None: ...
    @property
    def routing_key(self) -> str | None: ...


_PROPERTIES: Mapping[str, str] = {
    "contentType": "content_type",
    "contentEncoding": "content_encoding",
    "deliveryMode": "delivery_mode",
    "priority": "priority",
    "correlationId": "correlation_id",
    "replyTo": "reply_to",
    "expiration": "expiration",
    "messageId": "message_id",
    "timestamp": "timestamp",
    "type": "message_type",
    "appId": "app_id",
}
"""The properties by the names that they have in events, and by aiormq's."""


def recorded(raw: Raw) -> Delivered:
    """A message that was written down, as the broker would have delivered it. Raises EventInvalid if a property is none."""
    known(raw, {**_PROPERTIES, "exchange": "", "routingKey": ""}, "property of an AMQP message")
    properties: dict[str, Any] = {theirs: raw.headers.get(ours) for ours, theirs in _PROPERTIES.items()}
    for name in ("delivery_mode", "priority"):
        if properties[name]:
            try:
                properties[name] = int(properties[name])
            except ValueError:
                raise EventInvalid(f"{properties[name]!r} is no number, which {name} of an AMQP message is") from None
    if properties["timestamp"]:
        properties["timestamp"] = parse_time(properties["timestamp"])
    header = SimpleNamespace(properties=SimpleNamespace(**properties))
    exchange, key = raw.headers.get("exchange"), raw.headers.get("routingKey")
    return SimpleNamespace(body=raw.body, header=header, exchange=exchange, routing_key=key)


def read(message: Delivered, reading: Reading) -> tuple[bytes, str | None]:
    """The event's data as JSON text, and its id, or None where nothing in the message names it.

    The id is the ``message_id`` of an oslo.messaging notification if the manifest says ``oslo``, else the
    AMQP property ``messageId``, else the notification's with a digest of the body. Raises EventInvalid if the body is not what
    it should be.
    """
    properties = message.header.properties
    name = properties.message_id or None
    if reading.oslo:
        body, inner = unwrap(message.body)
        name = inner or name
    elif reading.json_body:
        body = raw_json(message.body)
        name = name or _inner_name(message.body)
    else:
        body = b'"%b"' % base64.b64encode(message.body)
        name = name or _inner_name(message.body)
    head: dict[str, Any] = {
        "contentType": properties.content_type or "",
        "contentEncoding": properties.content_encoding or "",
        "deliveryMode": properties.delivery_mode or 0,
        "priority": properties.priority or 0,
        "correlationId": properties.correlation_id or "",
        "replyTo": properties.reply_to or "",
        "expiration": properties.expiration or "",
        "messageId": properties.message_id or "",
        "timestamp": go_time(properties.timestamp),
        "type": properties.message_type or "",
        "appId": properties.app_id or "",
        "exchange": message.exchange or "",
        "routingKey": message.routing_key or "",
    }
    text = gojson.dumps(head, sort_keys=False)
    return b'%b,"body":%b%b}' % (text[:-1], body, tail(reading.metadata)), name


def go_time(moment: dt.datetime | None) -> str:
    """A time as Go's ``Time.String`` writes it, to the second, as AMQP has it; Go's zero time where there
    is none.
    """
    if moment is None:
        return "0001-01-01 00:00:00 +0000 UTC"
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S +0000 UTC")


def unwrap(body: bytes) -> tuple[bytes, str | None]:
    """The JSON text of the notification inside an oslo.messaging envelope, and its ``message_id``.

    Message format 1.0 had no envelope (the driver ``messaging``, where ``messagingv2`` has one): a
    notification that stands by itself is taken as it is. Raises EventInvalid for anything else.
    """
    try:
        outer = gojson.loads(body)
    except LangError as error:
        raise EventInvalid(f"the body is no oslo.messaging notification: it is {error}") from error
    if not isinstance(outer, dict):
        raise EventInvalid("the body is no oslo.messaging notification: it is JSON, but not an object")
    if _MESSAGE not in outer:
        if "event_type" in outer:
            return raw_json(body), _text(outer.get("message_id"))
        raise EventInvalid(f"the body is no oslo.messaging notification: it has neither {_MESSAGE!r} nor 'event_type'")
    version = outer.get(_VERSION)
    if str(version).partition(".")[0] != "2":
        raise EventInvalid(f"the oslo.messaging envelope has version {version!r}; 2.0 is what can be read")
    text = outer[_MESSAGE]
    if not isinstance(text, str):
        raise EventInvalid(f"{_MESSAGE!r} in the oslo.messaging envelope is not text")
    try:
        inner = gojson.loads(text)
    except LangError as error:
        raise EventInvalid(f"{_MESSAGE!r} in the oslo.messaging envelope is {error}") from error
    if not isinstance(inner, dict):
        raise EventInvalid(f"{_MESSAGE!r} in the oslo.messaging envelope is JSON, but not an object")
    return raw_json(text.encode("utf-8", "replace")), _text(inner.get("message_id"))


def _inner_name(body: bytes) -> str | None:
    """The ``message_id`` in an oslo.messaging envelope, and a digest; None if the body is no such thing.

    A redelivery has the same body. Where nobody said that the bodies are notifications, two that differ are two
    events, as they are for upstream, whatever they carry for an id.
    """
    if _MARK not in body:
        return None
    try:
        text = _envelope.decode(body).message
        name = _text(_named.decode(text).message_id) if isinstance(text, str) else None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return f"{name}/{hashlib.blake2b(body, digest_size=8).hexdigest()}" if name else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
