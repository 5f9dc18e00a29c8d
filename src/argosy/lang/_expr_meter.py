"""What one run of an expression may cost: work, elements, and bytes of text. Counted, not timed, so that the same event
gives the same answer everywhere."""

from __future__ import annotations

from typing import Any

from argosy.errors import LangError

MOST_STEPS = 400_000  # of a run: elements and pieces of text that were looked at
MOST_ELEMENTS = 1_000_000  # of a run: elements of lists and maps that were made (the Go library's budget)
MOST_BYTES = 32 * 1024 * 1024  # of a run: text that was made
PIECE = 512  # bytes that count as one step


class Meter:
    """What one run has used."""

    __slots__ = ("bytes", "elements", "steps")

    def __init__(self) -> None:
        self.steps = 0
        self.elements = 0
        self.bytes = 0

    def step(self, count: int = 1) -> None:
        """Charges work. Raises LangError if it was too much."""
        self.steps += count
        if self.steps > MOST_STEPS:
            raise LangError(f"the expression takes more than {MOST_STEPS} steps")

    def read(self, *texts: str) -> None:
        """Charges looking through texts."""
        for text in texts:
            if len(text) > PIECE:
                self.step(len(text) // PIECE)

    def grow(self, count: int) -> None:
        """Charges elements before they are made."""
        self.elements += max(count, 0)
        if self.elements >= MOST_ELEMENTS:
            raise LangError(f"the expression makes {MOST_ELEMENTS} elements or more")

    def text(self, size: int) -> None:
        """Charges a text of ``size`` bytes before it is made."""
        self.bytes += size
        if self.bytes > MOST_BYTES:
            raise LangError(f"the expression makes more than {MOST_BYTES} bytes of text")
        if size > PIECE:
            self.step(size // PIECE)

    def weigh(self, value: Any) -> None:
        """Charges looking at a value with all that is in it, a part that occurs twice twice."""
        waiting = [value]
        while waiting:
            one = waiting.pop()
            if isinstance(one, str):
                self.step(1 + len(one) // PIECE)
            elif isinstance(one, list):
                self.step(1 + len(one))
                waiting.extend(one)
            elif isinstance(one, dict):
                self.step(1 + len(one))
                waiting.extend(one.keys())
                waiting.extend(one.values())
