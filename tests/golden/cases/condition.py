"""Conditions of triggers: names joined by and and or, in parentheses or not, well written and not."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from tests.golden.files import Question

_NAMES = ["dep-1", "dep-2", "c", "d_4"]
_WRONG = [
    " ", "(", ")", "dep-1 &&", "&& dep-1", "dep-1 || || c", "dep-1 dep-2", "dep-1 & c", "dep-1 | c", "!c", "not c", "c and d_4",
    "c or d_4", "nosuch", "nosuch || c", "(c", "c)", "()", "c && ()", "((c))", "true", "c && true", "1", '"c"', "c == d_4", "dep_1",
    "dep-1&&dep-2", "(dep-1)", "( dep-1 )", "\tc\n||\td_4 ", "c;d_4", "c, d_4", "dep -1", "c||d_4&&dep-1", "c && (d_4", "C", "c ? d_4 : c",
    "c + d_4", "c\\", "c'", "(c || d_4) && (dep-1 || dep-2)", "(c)(d_4)", "c(d_4)", "c && !d_4", "c &&& d_4", "c ||| d_4", "dep-1-", "-c",
]  # fmt: skip


def _condition(random: random.Random, depth: int) -> str:
    if depth == 0 or random.random() < 0.25:
        return random.choice(_NAMES)
    parts = [_condition(random, depth - 1) for _ in range(random.randint(2, 3))]
    joined = random.choice([" && ", " || ", "&&", "||"]).join(parts)
    return f"({joined})" if random.random() < 0.6 else joined


def questions(random: random.Random) -> Iterator[Question]:
    """Each condition with several sets of events."""
    all_sets = [list(some) for size in range(5) for some in itertools.combinations(_NAMES, size)]
    conditions = [*_WRONG, *(_condition(random, random.randint(1, 3)) for _ in range(120))]
    for condition in conditions:
        for present in random.sample(all_sets, 3):
            yield {"condition": condition, "names": _NAMES, "present": present}
