"""Durations: errors that point into the text. What is taken and refused: ``test_golden.py``."""

from __future__ import annotations

import pytest

from argosy.errors import LangError
from argosy.lang import durations


def test_an_error_points_at_the_part_that_is_wrong() -> None:
    with pytest.raises(LangError) as caught:
        durations.parse("1h30x")
    assert caught.value.offset == 2
    assert "'1h30x'" in str(caught.value)
