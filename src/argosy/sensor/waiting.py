"""What a trigger waits for, as a sentence that a person reads: which dependency, of which value, until when."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass

from argosy.sensor.gathering import Gathering
from argosy.sensor.join import JoinState

_LONGEST_VALUE = 80


@dataclass(frozen=True)
class Wait:
    """Something that waits. ``until`` is seconds since the epoch by the log's time, None where it waits for ever.

    ``for_dependencies`` is the shortest list of dependencies that would complete it; empty where time does. ``held`` are those of which an
    event is there.
    """

    for_dependencies: Sequence[str]
    sentence: str
    held: Sequence[str]
    until: float | None = None


def of(state: JoinState | Gathering) -> Wait:
    """What a state waits for."""
    return of_condition(state) if isinstance(state, JoinState) else of_gathering(state)


def of_condition(state: JoinState) -> Wait:
    """What a condition waits for."""
    of = f" of {_value(state.key)}" if state.key else ""
    held = list(state.events())
    if state.absent is not None and state.armed:
        due = state.armed[0].due
        return Wait((), f"runs at {moment(due)} unless '{state.absent.dependency}'{of} comes before", held, due)
    missing = state.condition.waiting_for(state.present)
    words = []
    for name in missing:
        left = state.missing(name)
        words.append(f"'{name}' ({left} more)" if left > 1 else f"'{name}'")
    until = state.until
    if not math.isfinite(until):
        return Wait(missing, f"waits for {listed(words)}{of}", held)
    return Wait(missing, f"waits for {listed(words)}{of}, until {moment(until)}", held, until)


def of_gathering(gathering: Gathering) -> Wait:
    """What a batch or a debounce waits for."""
    due = gathering.due or gathering.opened
    of = f" of {_value(gathering.key)}" if gathering.key else ""
    held = list(gathering.events())
    if gathering.rule.name == "debounce":
        return Wait((), f"runs at {moment(due)} unless another event{of} comes before", held, due)
    count = f"{len(gathering.items)} of {gathering.rule.most}"
    return Wait((), f"gathers events{of}, has {count}, and runs at {moment(due)}", held, due)


def moment(seconds: float) -> str:
    """A time in UTC, to the second or, where there is a fraction, to the millisecond."""
    at = dt.datetime.fromtimestamp(round(seconds, 3), dt.UTC)
    return at.isoformat(sep=" ", timespec="milliseconds" if at.microsecond else "seconds").replace("+00:00", "Z")


def shown(key: str) -> str:
    """A value of ``correlate`` or of a key, short enough for a line."""
    return key if len(key) <= _LONGEST_VALUE else key[: _LONGEST_VALUE - 1] + "…"


def _value(key: str) -> str:
    return f"'{shown(key)}'"


def quoted(words: Sequence[str]) -> str:
    """``'a', 'b' and 'c'``."""
    return listed([f"'{word}'" for word in words])


def listed(words: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
