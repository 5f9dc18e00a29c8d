"""Due times that a loop waits for, by the monotonic clock.

A due time is wall-clock time, because it is stored and outlives the process. What is left of it is measured once, when it is set, and then only the
monotonic clock counts: somebody who sets the machine's clock forward makes nothing fire early, and setting it back puts nothing off. (A machine that
sleeps wakes with its timers late by as long as it slept, unless an event comes.)
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import Generic, TypeVar

from argosy.clock import Clock

Name = TypeVar("Name")
_SLACK_SECONDS = 1e-6


class Timers(Generic[Name]):
    """The due times of a loop, one for each name."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._dues: dict[Name, tuple[float, float]] = {}
        """The due time of each name, and the same by the monotonic clock."""
        self._heap: list[tuple[float, int, Name]] = []
        self._looks: dict[Name, float] = {}
        """When each name is looked at next: at its due time or before."""
        self._number = 0
        self._ready: dict[Name, float] = {}

    def set(self, name: Name, due: float | None) -> None:
        """The name is due then (seconds since the epoch), or never."""
        if due is None:
            self._ready.pop(name, None)
            self._dues.pop(name, None)
            return
        known = self._dues.get(name)
        if known is not None and known[0] == due:
            return
        self._ready.pop(name, None)
        at = self._clock.monotonic() + max(0.0, due - self._clock.now().timestamp())
        self._dues[name] = (due, at)
        self._look(name, at)

    def _look(self, name: Name, at: float) -> None:
        if at < self._looks.get(name, float("inf")):
            self._looks[name] = at
            self._number += 1
            heapq.heappush(self._heap, (at, self._number, name))

    def wait(self) -> float | None:
        """Seconds until the next name is due; None if there is none."""
        now = self._clock.monotonic() + _SLACK_SECONDS
        while self._heap:
            at, _, name = self._heap[0]
            if at > now and self._looks.get(name) == at and name in self._dues:
                break
            heapq.heappop(self._heap)
            if self._looks.get(name) != at:
                continue
            del self._looks[name]
            if name not in self._dues:
                continue
            due, really = self._dues[name]
            if really > now:
                self._look(name, really)
            else:
                self._ready[name] = due
        if self._ready:
            return 0.0
        return self._heap[0][0] - now if self._heap else None

    def ready(self) -> Mapping[Name, float]:
        """The names that are due, as ``wait`` found them, with their due times. They stay until they are set anew."""
        return dict(self._ready)
