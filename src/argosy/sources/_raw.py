"""A message as it stands upstream, and the event's data that a source would make of it. No network in here.

``argosy test`` and ``argosy explain`` take recorded HTTP bodies and AMQP messages and wrap them as the running source does, by the same
code: the kind's own ``Source.wrap``, which ``argosy.registry.wrap`` finds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from argosy.errors import EventInvalid
from argosy.lang import gojson


@dataclass(frozen=True)
class Raw:
    """One message. What is left out is as the plainest sender would send it."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    """HTTP header fields; or AMQP properties by the names that they have in events (``routingKey``, ``messageId``)."""
    method: str = ""
    """The HTTP method; for ``resource`` the change (``ADD``, ``UPDATE``, ``DELETE``)."""
    query: str = ""
    """The part of the URL behind the question mark."""


class Wrapped(NamedTuple):
    """The event's data as JSON text, and the event's id, or None where nothing in the message names it."""

    data: bytes
    id: str | None


def tail(metadata: Mapping[str, str]) -> bytes:
    """The end of an event's data before the last brace: the manifest's metadata, if there is any."""
    return b',"metadata":' + gojson.dumps(metadata) if metadata else b""


def known(raw: Raw, names: Mapping[str, object], what: str) -> None:
    """Raise EventInvalid if a header of ``raw`` is not among ``names``."""
    for name in raw.headers:
        if name not in names:
            raise EventInvalid(f"{name!r} is no {what}; there is {', '.join(names)}")
