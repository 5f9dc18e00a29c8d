"""Everything that can only be said with all manifests in view: runs the checks of ``argosy.manifests.checks``.

Runs over a whole Bundle after every object was read by itself, for ``argosy lint``, a run and a cluster alike.
"""

from __future__ import annotations

from collections.abc import Iterator

from argosy.manifests._bundle import Bundle, Key
from argosy.manifests.checks import (
    actions,
    addresses,
    destinations,
    filters,
    names,
    programs,
    references,
    rights,
    servers,
    settings,
    traps,
    triggers,
    workflows,
)
from argosy.manifests.findings import Problem

_CHECKS = (
    names,
    addresses,
    references,
    programs,
    filters,
    triggers,
    actions,
    destinations,
    workflows,
    rights,
    traps,
    servers,
    settings,
)


def crosscheck(bundle: Bundle) -> Iterator[tuple[Key, Problem]]:
    """Everything that the checks find, with the object that it is about.

    Where something is an error, nothing less is said of the same place.
    """
    found = [each for one in _CHECKS for each in one.check(bundle)]
    wrong = {(key, problem.loc) for key, problem in found if problem.severity == "error"}
    for key, problem in found:
        if problem.severity == "error" or (key, problem.loc) not in wrong:
            yield key, problem
