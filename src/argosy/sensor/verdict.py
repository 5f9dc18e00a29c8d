"""Why an event passed or did not: one small record for every stage of matching.

Most verdicts are read by nobody, so the sentence is made only when somebody asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Verdict:
    """The result of one clause, or of several combined. Immutable.

    ``failed`` says that the clause could not be decided (a path that is missing, a program that raised): such a verdict
    never passes. ``parts`` are the clauses that were asked, in their order; those after the one that decided are not among them.
    """

    __slots__ = ("_reason", "clause", "failed", "parts", "passed")

    def __init__(
        self,
        clause: str,
        passed: bool,
        reason: str | Callable[[], str],
        failed: bool = False,
        parts: tuple[Verdict, ...] = (),
    ) -> None:
        self.clause = clause
        self.passed = passed
        self.failed = failed
        self.parts = parts
        self._reason = reason

    @property
    def reason(self) -> str:
        """A sentence with the value found and the value wanted. Bounded in length, and never raises."""
        if not isinstance(self._reason, str):
            self._reason = self._reason()
        return self._reason

    def __repr__(self) -> str:
        word = "failed" if self.failed else "passed" if self.passed else "rejected"
        return f"<{self.clause} {word}: {self.reason}>"

    def as_dict(self) -> dict[str, Any]:
        """The verdict as JSON, for logs and tools."""
        out: dict[str, Any] = {"clause": self.clause, "passed": self.passed, "reason": self.reason}
        if self.failed:
            out["failed"] = True
        if self.parts:
            out["parts"] = [part.as_dict() for part in self.parts]
        return out
