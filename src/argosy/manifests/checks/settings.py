"""Settings of a source that change nothing as they are written. Which those are, its configuration says
(``SourceConfig.no_effect``).
"""

from __future__ import annotations

from collections.abc import Iterator

from argosy.manifests._bundle import Bundle, Key
from argosy.manifests.checks._walk import key_of
from argosy.manifests.findings import Problem


def check(bundle: Bundle) -> Iterator[tuple[Key, Problem]]:
    """Fields that somebody wrote for nothing."""
    for source in bundle.event_sources:
        for event in source.events:
            for field, why in event.config.no_effect.items():
                at = ("spec", event.kind, event.name, field)
                yield key_of(source), Problem("no-effect", why, at, "warning", True)
