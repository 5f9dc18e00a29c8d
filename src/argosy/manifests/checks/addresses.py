"""Two events on one address: the second would never receive anything, or hide the first.

Every kind that listens has a port and a path, in its own block or in a ``webhook`` block inside; they are
read off the manifest as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from argosy.manifests._bundle import Bundle, Key
from argosy.manifests.checks._walk import key_of, mapping
from argosy.manifests.eventsource import is_kind
from argosy.manifests.findings import Loc, Problem, Severity

_VARIABLE = re.compile(r"\{[^{}:]*")
"""The name of a variable in a path: ``/a/{b}`` and ``/a/{c}`` are one address."""


def check(bundle: Bundle) -> Iterator[tuple[Key, Problem]]:
    """Events whose port and path another event has already."""
    seen: dict[tuple[str, str], tuple[Key, str]] = {}
    for source in bundle.event_sources:
        key = key_of(source)
        for loc, port, path in addresses(source.raw):
            name, address = str(loc[-1]), (port, shape(path))
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


def shape(path: str) -> str:
    """The path without the names of its variables: what has the same one is the same address."""
    return _VARIABLE.sub("{", path)


def addresses(source: dict[str, Any]) -> Iterator[tuple[Loc, str, str]]:
    """Place, port and path of every event that listens, of an EventSource as it was read."""
    for kind, events in mapping(source, "spec").items():
        if not is_kind(kind) or not isinstance(events, dict):
            continue
        for name, block in events.items():
            if isinstance(block, dict) and (address := _address(block)):
                yield ("spec", kind, name), *address


def _address(block: dict[str, Any]) -> tuple[str, str] | None:
    inner: Any = block.get("webhook", block)
    port, path = (inner.get("port"), inner.get("endpoint")) if isinstance(inner, dict) else (None, None)
    # A client's endpoint is an address elsewhere, not a path of ours.
    if not isinstance(port, str | int) or isinstance(port, bool) or not isinstance(path, str) or "://" in path:
        return None
    return str(port), path if path.startswith("/") else "/" + path
