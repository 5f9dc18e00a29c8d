"""Where a trigger's requests may go (``egress``), beyond what no trigger may reach unless its manifest says so.

An address may come out of an event, so what a request can reach matters as much as what it says. Names and literal addresses are
judged before anything is sent. What a name resolves to is judged when the connection stands, by the address of the peer itself and
before a byte is sent over it; so it does not matter what a resolver says when. See ``docs/decisions/0011-where-triggers-may-go.md``.

Where a proxy is used the proxy resolves: then only names and literal addresses can be judged.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal

from pydantic import Field, field_validator

from argosy import connecting
from argosy.connecting import Connecting
from argosy.errors import Rejected
from argosy.manifests.fields import Model
from argosy.triggers import _http

To = Literal["public", "private", "any"]
_VARIABLE = "ARGOSY_EGRESS"
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_LINK_LOCAL_HINT = "; if it must, say allowLinkLocal: true, or allow it with 'egress'"
_HINT = "; if it must, allow it with 'egress'"
_SHARED = ipaddress.ip_network("100.64.0.0/10")  # RFC 6598, which clouds use inside


class EgressConfig(Model):
    """Where requests may go (ours)."""

    to: To | None = None
    """``public``: only addresses of the public internet. ``private``: also those of the machine and its networks, where the services of
    a cluster are; not link-local and metadata addresses. ``any``: these, too. What the process says (``ARGOSY_EGRESS``) if nothing is
    said, else ``private``.
    """
    allow: list[str] = Field(default_factory=list)
    """What is allowed all the same: names (``billing.internal``, ``*.example.com``), addresses and networks (``10.1.0.0/16``)."""

    @field_validator("allow")
    @classmethod
    def _readable(cls, allow: list[str]) -> list[str]:
        for entry in allow:
            if "/" in entry:
                try:
                    ipaddress.ip_network(entry)
                except ValueError as error:
                    raise ValueError(f"holds {entry!r}, which is no network: {error}") from error
            elif not entry.removeprefix("*.") or "*" in entry.removeprefix("*."):
                raise ValueError(f"holds {entry!r}; write a name, *.domain, an address or a network")
        return allow


@dataclass(frozen=True)
class Egress:
    """The rules of one request."""

    to: To
    names: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()
    proxied: bool = False
    """Whether a proxy connects in our place: then the peer is the proxy."""

    @classmethod
    def of(cls, config: EgressConfig | None, *, link_local: bool, proxied: bool) -> Egress:
        """What the manifest says, else the process. ``link_local`` is what ``allowLinkLocal`` said before there was ``egress``."""
        if config is None:
            return _plain("any" if link_local else of_process(), proxied)
        to = config.to or of_process()
        if link_local and config.to is None:
            to = "any"
        names, networks = [], []
        for entry in config.allow:
            try:
                networks.append(ipaddress.ip_network(entry))
            except ValueError:
                names.append(entry.lower().rstrip("."))
        return cls(to, tuple(names), tuple(networks), proxied)

    @cached_property
    def digest(self) -> str:
        """What tells the rules from others: a connection that one request made serves only others of the same rules."""
        return repr((self.to, self.names, self.networks))

    def check_name(self, host: str, port: int) -> None:
        """Raise Rejected if no request may go to this name or literal address."""
        if self._named(host, port):
            return
        if self.to != "any" and _http.is_link_local(host) and not self._in_networks(_literal(host)):
            raise Rejected(f"{host!r} is a link-local or metadata address, where no trigger may go{_LINK_LOCAL_HINT}")
        address = _literal(host)
        if address is not None:
            self._check(address, host)

    def watch(self, host: str, port: int) -> Connecting:
        """The ``trace`` of a request to this host, which ends the connection if its peer is forbidden."""
        if self.proxied or self.to == "any" or self._named(host, port):
            return Connecting()

        def look(peer: str) -> None:
            address = _literal(peer)
            if address is not None:
                self._check(address, str(address))

        return Connecting(look)

    def _named(self, host: str, port: int) -> bool:
        """Whether the name alone is enough: the manifest allows it, or whoever started the process said where it leads (``--resolve``)."""
        name = host.lower().rstrip(".")
        for allowed in self.names:
            if name == allowed or (allowed.startswith("*.") and name.endswith(allowed[1:])):
                return True
        return connecting.target(host, port) != (host, port)

    def _check(self, address: Address, shown: str) -> None:
        address = _http.uncoated(address)
        if self.to == "any" or self._in_networks(address):
            return
        if _http.is_link_local(str(address)):
            raise Rejected(f"{shown!r} is a link-local or metadata address, where no trigger may go{_LINK_LOCAL_HINT}")
        if self.to == "public" and (not address.is_global or address.is_multicast or address in _SHARED):
            raise Rejected(
                f"{shown!r} is no address of the public internet, and this trigger may go nowhere else{_HINT}"
            )

    def _in_networks(self, address: Address | None) -> bool:
        return address is not None and any(
            address.version == network.version and address in network for network in self.networks
        )


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]").split("%")[0])
    except ValueError:
        return None


@cache
def _plain(to: To, proxied: bool) -> Egress:
    return Egress(to, proxied=proxied)


def of_process() -> To:
    """What holds for triggers that say nothing. Raises Rejected if nobody can read it."""
    said = os.environ.get(_VARIABLE, "")
    for to in _ALL:
        if said == to:
            return to
    if said:
        raise Rejected(f"{_VARIABLE}={said!r} is none of {', '.join(_ALL)}")
    return "private"


_ALL: Sequence[To] = ("public", "private", "any")
