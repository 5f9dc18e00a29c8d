"""Where a server listens, as manifests write it."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit


class Address(NamedTuple):
    """Where a server listens. As text: ``scheme://host:port``, as it stands in sentences."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def host_and_port(text: str, port: int) -> tuple[str, int]:
    """``host``, ``host:port`` or ``[v6]:port``, with ``port`` where there is none. Raises ValueError."""
    try:
        parts = urlsplit(f"//{text}")
        given = parts.port
    except ValueError:
        parts, given = urlsplit("//"), None
    if not parts.hostname or parts.username is not None or parts.path or parts.query or parts.fragment:
        raise ValueError(f"is no address of a server; write for example server.example:{port}")
    return parts.hostname, given or port
