"""Durations: every unit with every form of number, and what is almost one."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.golden.files import Question

_UNITS = ["ns", "us", "µs", "μs", "ms", "s", "m", "h", "d", "S", "M", "", " s", "sec", "min"]
_AMOUNTS = ["0", "1", "60", "1.5", ".25", "7.", ".", "", "1e3", "-1", "007", "99999999", "0.1234567891", "1_0", "١"]


def questions(random: random.Random) -> Iterator[Question]:
    """One part; then several in a row."""
    for amount in _AMOUNTS:
        for unit in _UNITS:
            yield {"text": amount + unit}
    for _ in range(150):
        parts = [random.choice(_AMOUNTS[:8]) + random.choice(_UNITS[:8]) for _ in range(random.randint(2, 4))]
        yield {"text": random.choice(["", "", "-", "+", " "]) + "".join(parts)}
