"""The event log: what came, one event, what comes, and putting one there."""

from __future__ import annotations

from argosy.runtime.operations._base import Operation

OPERATIONS: list[Operation] = []
