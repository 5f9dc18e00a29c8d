"""A message as it stands upstream, and the event's data that a source would make of it. No network in here.

``argosy test`` and ``argosy explain`` take recorded HTTP bodies and AMQP messages and wrap them as the running source does, by the same
code: the kind's own ``wrap`` (``Source.wrap``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from argosy.errors import ConfigError, EventInvalid
from argosy.lang import gojson

if TYPE_CHECKING:
    from argosy.sources._base import SourceConfig


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


def wrap(kind: str, config: SourceConfig, raw: Raw) -> Wrapped:
    """What the source of this kind, so configured, makes of ``raw``.

    Raises EventInvalid if the source would refuse it, ConfigError if the kind has no raw form.
    """
    from argosy.sources._base import Source

    base: type[Any] = Source
    # Whoever has the configuration has loaded its kind.
    plugin = next((each for each in _below(base) if each.kind == kind and isinstance(config, each.config)), None)
    wrapped: Wrapped | None = plugin.wrap(config, raw) if plugin is not None else None
    if wrapped is None:
        raise ConfigError(f"events of kind {kind!r} have no raw form; give the event's data as the sensor sees it")
    return wrapped


def _below(plugin: type[Any]) -> Iterator[type[Any]]:
    for each in plugin.__subclasses__():
        yield from _below(each)
        if "kind" in vars(each):
            yield each


def tail(metadata: Mapping[str, str]) -> bytes:
    """The end of an event's data before the last brace: the manifest's metadata, if there is any."""
    return b',"metadata":' + gojson.dumps(metadata) if metadata else b""


def known(raw: Raw, names: Mapping[str, object], what: str) -> None:
    """Raise EventInvalid if a header of ``raw`` is not among ``names``."""
    for name in raw.headers:
        if name not in names:
            raise EventInvalid(f"{name!r} is no {what}; there is {', '.join(names)}")


__all__ = ["Raw", "Wrapped", "known", "tail", "wrap"]
