"""Durations: what Go's time.ParseDuration takes and refuses, and how it prints."""

from __future__ import annotations

import pytest

from argosy.errors import LangError
from argosy.lang import durations
from tests.unit.lang._tables import rows


@pytest.mark.parametrize(("text", "nanoseconds", "printed"), rows("durations"))
def test_a_duration_means_and_prints_what_it_does_in_go(
    text: str, nanoseconds: int | None, printed: str | None
) -> None:
    if nanoseconds is None:
        with pytest.raises(LangError):
            durations.parse(text)
        return
    seconds = durations.parse(text)
    assert seconds == nanoseconds / 1e9
    if abs(nanoseconds) < 2**53:  # beyond, seconds as a float do not hold every nanosecond
        assert durations.format(seconds) == printed


def test_an_error_points_at_the_part_that_is_wrong() -> None:
    with pytest.raises(LangError) as caught:
        durations.parse("1h30x")
    assert caught.value.offset == 2
    assert "'1h30x'" in str(caught.value)
