"""What upstream does and its documents do not say: the traps of ``argosy.manifests._traps``, sensor by sensor."""

from __future__ import annotations

from collections.abc import Iterator

from argosy.manifests._bundle import Bundle, Key
from argosy.manifests._traps import check_traps
from argosy.manifests.checks._walk import sensors_by_key
from argosy.manifests.findings import Problem


def check(bundle: Bundle) -> Iterator[tuple[Key, Problem]]:
    """Every trap that a sensor steps into."""
    for key, sensor in sensors_by_key(bundle):
        for problem in check_traps(sensor):
            yield key, problem
