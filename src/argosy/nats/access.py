"""Where a NATS is and how it lets us in: what the sources and the trigger share."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from pydantic import model_validator

from argosy.addresses import Address, host_and_port
from argosy.manifests.fields import BasicAuth, Model, SecretKeySelector

_PORT = 4222


class NatsAuth(Model):
    """Who we are: the first of these that is given."""

    basic: BasicAuth | None = None
    """User name and password."""
    token: SecretKeySelector | None = None
    nkey: SecretKeySelector | None = None
    """The seed of a user's key (``SU…``)."""
    credential: SecretKeySelector | None = None
    """The text of a ``.creds`` file."""

    @model_validator(mode="after")
    def _complete(self) -> NatsAuth:
        if self.basic is not None and (self.basic.username is None or self.basic.password is None):
            raise ValueError("basic needs username and password together")
        return self


class Server(NamedTuple):
    """One server of a URL, and who we are there by the URL: a user alone is a token."""

    where: Address
    user: str
    password: str | None

    def __repr__(self) -> str:
        return f"Server({self.where})"


def servers(url: str) -> list[Server]:
    """The servers of a URL, which are tried in turn. Raises ValueError, without the URL's text."""
    found = []
    for each in url.split(","):
        scheme, given, rest = each.strip().partition("://")
        if not given:
            scheme, rest = "nats", each.strip()
        if scheme not in ("nats", "tls"):
            raise ValueError("must begin with nats:// or tls://")
        try:
            parts = urlsplit(f"//{rest}")
            host, port = host_and_port(parts.netloc.rpartition("@")[2], _PORT)
        except ValueError:
            raise ValueError("cannot be read; write for example nats://nats.messaging:4222") from None
        password = unquote(parts.password) if parts.password else None
        found.append(Server(Address(scheme, host, port), unquote(parts.username or ""), password))
    return found
