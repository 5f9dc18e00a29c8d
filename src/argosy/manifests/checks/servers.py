"""Servers that a source connects to without knowing who they must be. What that means for a kind, its configuration says
(``SourceConfig.unverified``).
"""

from __future__ import annotations

from collections.abc import Iterator

from argosy.manifests._bundle import Bundle, Key
from argosy.manifests.checks._walk import key_of
from argosy.manifests.findings import Problem


def check(bundle: Bundle) -> Iterator[tuple[Key, Problem]]:
    """Events whose server may be anybody."""
    for source in bundle.event_sources:
        for event in source.events:
            if why := event.config.unverified:
                yield (
                    key_of(source),
                    Problem("unverified-server", why, ("spec", event.kind, event.name), "warning", True),
                )
