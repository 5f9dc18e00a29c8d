"""What all triggers of a process share: its secrets, its clock, its numbers, and how a kind's plug-in is made."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from argosy import registry
from argosy.clock import Clock
from argosy.errors import Rejected
from argosy.runtime.approval import Approver
from argosy.runtime.secrets import Secrets
from argosy.runtime.status import Pulses
from argosy.runtime.suspension import Switchboards
from argosy.runtime.telemetry import Metrics
from argosy.triggers._base import Trigger, TriggerContext

MakeTrigger = Callable[[str, TriggerContext], Trigger[Any]]
"""Makes the plug-in of a kind. Raises Rejected or ExtraMissing if it cannot run here."""


def installed(kind: str, context: TriggerContext) -> Trigger[Any]:
    """The kind's plug-in out of the registry."""
    plugin = registry.trigger(kind)
    if plugin is None:
        raise Rejected(f"there is no trigger kind {kind!r} in this version of Argosy")
    registry.require(plugin)
    return plugin(context)


@dataclass(frozen=True, kw_only=True)
class TriggerDuties:
    """What all triggers of a process share."""

    secrets: Secrets
    clock: Clock
    metrics: Metrics
    grace_seconds: float
    """How long an attempt that is under way may go on when the process stops."""
    make: MakeTrigger = installed
    """Makes a trigger's plug-in."""
    chance: Callable[[], float] = random.random
    """A number in [0, 1): how much of the jitter a pause has."""
    switchboards: Switchboards = field(default_factory=Switchboards)
    """Which triggers are suspended."""
    approver: Approver | None = None
    """Approves and denies in the place of persons."""
    acts_for_accounts: bool = False
    """Whether each trigger acts in the Kubernetes API as the service account of its sensor; else as the process itself."""
    pulses: Pulses = field(default_factory=Pulses)
