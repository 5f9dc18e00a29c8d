"""Events that came, driven through a sensor once more."""

from __future__ import annotations

from argosy.runtime.operations._base import Operation

OPERATIONS: list[Operation] = []
