"""Two events on one address: the second would never receive anything, or hide the first. And addresses that no event can have.

Every kind that listens has a port and a path, in its own block or in a ``webhook`` block inside; they are
read off the manifest as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from argosy.manifests._bundle import Bundle, Key
from argosy.manifests.checks._walk import key_of, mapping
from argosy.manifests.eventsource import is_kind
from argosy.manifests.findings import Loc, Problem, Severity

_VARIABLE = re.compile(r"\{[^{}:]*")
"""The name of a variable in a path: ``/a/{b}`` and ``/a/{c}`` are one address."""

_HEALTH = "/health"
"""What the shared server answers by itself, on every port (``argosy.sources._http``)."""


def check(bundle: Bundle) -> Iterator[tuple[Key, Problem]]:
    """Events whose port and path another event has already, or the server itself, or whose port has another certificate."""
    seen: dict[tuple[str, str], tuple[Key, str]] = {}
    for source in bundle.event_sources:
        key = key_of(source)
        certified: dict[str, tuple[str, bool]] = {}
        for loc, port, path, tls in addresses(source.raw):
            name, address = str(loc[-1]), (port, shape(path))
            if path == _HEALTH:
                text = f"endpoint '{_HEALTH}' is the health check of every port; choose another endpoint"
                yield key, Problem("invalid-value", text, loc, at_key=True)
            first_event, first_tls = certified.setdefault(port, (name, tls))
            if tls is not first_tls:
                has, wants = ("a certificate", "none") if first_tls else ("no certificate", "one")
                text = f"port {port} has {has} because of event '{first_event}', and this one wants {wants}; give it another port"
                yield key, Problem("invalid-value", text, loc, at_key=True)
            if address not in seen:
                seen[address] = key, name
                continue
            other, first = seen[address]
            same = other == key
            where = f"event '{first}'" if same else f"event '{first}' of {other}"
            text = f"port {port} with {path} is taken by {where} already"
            severity: Severity = "error" if same else "warning"
            advice = "" if same else "; in one process only one of them receives"
            yield key, Problem("duplicate-endpoint", text + advice, loc, severity, True)


class Address(NamedTuple):
    """Where an event listens: its place in the object, and whether with a certificate (``serverCertSecret``)."""

    loc: Loc
    port: str
    path: str
    tls: bool


def shape(path: str) -> str:
    """The path without the names of its variables: what has the same one is the same address."""
    return _VARIABLE.sub("{", path)


def addresses(source: dict[str, Any]) -> Iterator[Address]:
    """Where each event that listens does so, of an EventSource as it was read."""
    for kind, events in mapping(source, "spec").items():
        if not is_kind(kind) or not isinstance(events, dict):
            continue
        for name, block in events.items():
            if isinstance(block, dict) and (address := _address(block)):
                yield Address(("spec", kind, name), *address)


def _address(block: dict[str, Any]) -> tuple[str, str, bool] | None:
    inner: Any = block.get("webhook", block)
    port, path = (inner.get("port"), inner.get("endpoint")) if isinstance(inner, dict) else (None, None)
    # A client's endpoint is an address elsewhere, not a path of ours.
    if not isinstance(port, str | int) or isinstance(port, bool) or not isinstance(path, str) or "://" in path:
        return None
    return str(port), path if path.startswith("/") else "/" + path, bool(inner.get("serverCertSecret"))
