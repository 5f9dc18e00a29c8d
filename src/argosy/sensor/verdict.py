"""Why an event passed or did not: one small record for every stage of matching."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of one clause, or of several combined.

    ``failed`` says that the clause could not be decided (a path that is missing, a program that raised): such a verdict
    never passes. ``reason`` is a sentence that names the clause, the value found and the value wanted.
    """

    clause: str
    passed: bool
    reason: str
    failed: bool = False
    parts: tuple[Verdict, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """The verdict as JSON, for logs and tools."""
        out: dict[str, Any] = {"clause": self.clause, "passed": self.passed, "reason": self.reason}
        if self.failed:
            out["failed"] = True
        if self.parts:
            out["parts"] = [part.as_dict() for part in self.parts]
        return out
