"""Words that are nearly other words: what a person may have meant, and when it can hardly be anything else."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the nearest known word, or nothing."""
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean '{by_lower[near[0]]}'?" if near and by_lower[near[0]] != word else ""


def is_slip(word: str, known: Iterable[str]) -> bool:
    """Whether ``word`` can hardly be meant as it stands, because it is one of the known words but for a slip.

    Names that differ in a number or in a short part (``shop-1``, ``shop-eu``) are names of their own.
    """
    parts = re.split("[-_.]", word.lower())
    for other in known:
        if word.lower() == other.lower():
            return word != other
        others = re.split("[-_.]", other.lower())
        differ = [pair for pair in zip(parts, others, strict=False) if pair[0] != pair[1]]
        if len(parts) != len(others) or len(differ) != 1:
            continue
        ((mine, theirs),) = differ
        if (
            min(len(mine), len(theirs)) >= 4
            and re.sub("[0-9]", "", mine) != re.sub("[0-9]", "", theirs)
            and difflib.SequenceMatcher(None, mine, theirs).ratio() >= 0.75
        ):
            return True
    return False
