"""Settings of sources and triggers that change nothing as they are written. Which those are, their configurations say
(``no_effect``).
"""

from __future__ import annotations

from collections.abc import Iterator

from argosy.manifests._bundle import Bundle, Key
from argosy.manifests.checks._walk import each_trigger, key_of, sensors_by_key
from argosy.manifests.findings import Problem


def check(bundle: Bundle) -> Iterator[tuple[Key, Problem]]:
    """Fields that somebody wrote for nothing."""
    for source in bundle.event_sources:
        for event in source.events:
            for field, why in event.config.no_effect.items():
                at = ("spec", event.kind, event.name, field)
                yield key_of(source), Problem("no-effect", why, at, "warning", True)
    for key, sensor in sensors_by_key(bundle):
        for loc, trigger in each_trigger(sensor):
            for field, why in (trigger.config.no_effect if trigger.config else {}).items():
                yield key, Problem("no-effect", why, (*loc, "template", trigger.kind, field), "warning", True)
