"""A pattern that needs no automaton finds what RE2 finds."""

from __future__ import annotations

import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.lang import regex

_pieces = st.sampled_from(["a", "b", "A", "-", "/", " ", ".", r"\.", r"\-", r"\/", "#", "&", "0", "é", "+", "[ab]"])
_patterns = st.tuples(
    st.sampled_from(["", "^", "^^", "(?i)"]), st.lists(_pieces, max_size=5).map("".join), st.sampled_from(["", "$"])
).map("".join)
_texts = st.text(alphabet="abA-/ .#&0é\n\\$^", max_size=8)


@settings(max_examples=1000, deadline=None)
@given(pattern=_patterns, text=_texts, padding=st.sampled_from([0, 0, 2000]))
def test_a_plain_pattern_finds_what_re2_finds(pattern: str, text: str, padding: int) -> None:
    long = "b" * padding + text
    try:
        expected = re2.search(pattern, long) is not None
    except re2.error:
        return

    assert regex.compile(pattern).search(long) is expected
