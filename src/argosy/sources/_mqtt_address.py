"""The address of an MQTT broker, as manifests write it; for ``mqtt`` and ``emitter``."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from argosy.addresses import Address, host_and_port

_PLAIN = ("tcp", "mqtt")
_ENCRYPTED = ("ssl", "tls", "tcps", "mqtts", "mqtt+ssl")


class Ports(NamedTuple):
    """Where a broker listens if the address does not say."""

    plain: int = 1883
    encrypted: int = 8883


def address(url: str, ports: Ports = Ports()) -> tuple[Address, str | None, str | None]:  # noqa: B008  # it is immutable
    """The broker of a URL, and the user and password in it. Raises ValueError, without the URL's text."""
    scheme, found, rest = url.strip().partition("://")
    if not found:
        scheme, rest = "tcp", url.strip()
    scheme = scheme.lower()
    if scheme in ("ws", "wss", "unix"):
        raise ValueError(
            f"reaches brokers by TCP or TLS only; write tcp://host:{ports.plain} or ssl://host:{ports.encrypted}"
        )
    if scheme not in (*_PLAIN, *_ENCRYPTED):
        raise ValueError("must begin with tcp:// or ssl://")
    try:
        parts = urlsplit(f"//{rest}")
        host, port = host_and_port(
            parts.netloc.rpartition("@")[2], ports.encrypted if scheme in _ENCRYPTED else ports.plain
        )
    except ValueError:
        raise ValueError(f"cannot be read; write for example tcp://broker.messaging:{ports.plain}") from None
    user = unquote(parts.username) if parts.username else None
    return Address(scheme, host, port), user, unquote(parts.password) if user and parts.password else None


def encrypted(where: Address) -> bool:
    """Whether the address itself demands TLS."""
    return where.scheme in _ENCRYPTED
