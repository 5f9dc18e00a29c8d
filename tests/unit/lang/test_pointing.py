"""Errors that show their place in one line."""

from __future__ import annotations

import pytest

from argosy.errors import LangError
from argosy.lang.pointing import pointed


@pytest.mark.parametrize(
    ("text", "offset", "shown"),
    [
        ("a = 4", 2, "wrong (at » in: a »= 4)"),
        ("a ==", 4, "wrong (at » in: a ==»)"),
        ("a &&\n  b c", 9, "wrong (at » in: a && b »c)"),
        ("x" * 100 + "!" + "y" * 100, 100, f"wrong (at » in: …{'x' * 40}»!{'y' * 39}…)"),
        ("a = 4", -1, "wrong"),
        ("", 0, "wrong"),
    ],
)
def test_the_text_around_the_fault_has_a_mark(text: str, offset: int, shown: str) -> None:
    assert pointed(LangError("wrong", text=text, offset=offset)) == shown
