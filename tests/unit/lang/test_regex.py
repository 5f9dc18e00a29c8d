"""Regular expressions: RE2's syntax, searched anywhere in the text, as Go's ``regexp`` does."""

from __future__ import annotations

import pytest

from argosy.errors import LangError
from argosy.lang import regex


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("b", "abc", True),
        ("^b", "abc", False),
        ("c$", "abc", True),
        ("", "", True),
        ("^$", "", True),
        ("a.c", "a\nc", False),
        ("(?s)a.c", "a\nc", True),
        ("^b", "a\nb", False),
        ("(?m)^b", "a\nb", True),
        ("(?i)ABC", "xabcx", True),
        (r"\d+", "no. 7", True),
        (r"\pL{2}", "-é日-", True),
        ("^.$", "日", True),
        (r"^[[:alpha:]]+\z", "abc", True),
        ("^(test|prod)-.*", "prod-1", True),
        (r"\Qa.b\E", "a.b", True),
        (r"\Qa.b\E", "axb", False),
        ("(?P<name>x)", "x", True),
    ],
)
def test_a_pattern_is_searched_anywhere_in_the_text(pattern: str, text: str, found: bool) -> None:
    assert regex.compile(pattern).search(text) is found


@pytest.mark.parametrize("pattern", ["a(b", "[z-a]", "*a", r"(a)\1", "(?=a)", "(?<!a)b", "a{2000}", r"\8", "x**"])
def test_what_re2_does_not_know_is_a_lang_error_and_leaves_the_logs_alone(
    pattern: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(LangError) as caught:
        regex.compile(pattern)

    assert caught.value.text == pattern
    assert repr(pattern) in caught.value.message
    assert capfd.readouterr() == ("", "")


def test_the_error_points_at_the_faulty_part() -> None:
    with pytest.raises(LangError, match="character class range") as caught:
        regex.compile("ab[z-a]")

    assert caught.value.offset == 3


def test_time_grows_with_the_text_only() -> None:
    assert not regex.compile("(a*)*(a*)*b").search("a" * 100_000)


def test_a_pattern_is_compiled_once() -> None:
    assert regex.compile("a+") is regex.compile("a+")
