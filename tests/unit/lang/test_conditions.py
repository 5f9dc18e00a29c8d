"""Trigger conditions: grammar, precedence, what is waited for, and errors that point into the text."""

from __future__ import annotations

import pytest

from argosy.errors import LangError
from argosy.lang import conditions

NAMES = ["a", "b-1", "c", "d.e"]


@pytest.mark.parametrize(
    ("text", "present", "holds"),
    [
        ("", {"a", "b-1", "c", "d.e"}, True),
        ("", {"a", "b-1", "c"}, False),
        ("   ", {"a"}, False),
        ("a", {"a"}, True),
        ("a && b-1", {"a"}, False),
        ("a&&b-1", {"a", "b-1"}, True),
        ("a || b-1 && c", {"a"}, True),
        ("a || b-1 && c", {"b-1"}, False),
        ("(a || b-1) && c", {"a"}, False),
        ("(a || b-1) && c", {"b-1", "c"}, True),
        ("((d.e))", {"d.e"}, True),
    ],
)
def test_and_binds_tighter_than_or_and_nothing_means_all(text: str, present: set[str], holds: bool) -> None:
    assert conditions.compile(text, NAMES).evaluate(present) is holds


@pytest.mark.parametrize(("text", "joins"), [("a", False), ("a || c", False), ("a || b-1 && c", True), ("", True)])
def test_only_a_condition_with_and_has_to_remember(text: str, joins: bool) -> None:
    assert conditions.compile(text, NAMES).joins is joins


def test_a_single_dependency_without_condition_remembers_nothing() -> None:
    assert conditions.compile("", ["only"]).joins is False


@pytest.mark.parametrize(
    ("text", "present", "missing"),
    [
        ("a && b-1 && c", {"b-1"}, ["a", "c"]),
        ("(a || b-1) && (c || d.e)", {"a"}, ["c"]),
        ("a && b-1 || c", set(), ["c"]),
        ("a", {"a"}, []),
    ],
)
def test_it_says_what_it_waits_for(text: str, present: set[str], missing: list[str]) -> None:
    assert conditions.compile(text, NAMES).waiting_for(present) == missing


@pytest.mark.parametrize(
    ("text", "offset", "words"),
    [
        ("a &&", 4, "where it ends"),
        ("a b-1", 2, "'&&' or '||' is wanted"),
        ("(a", 2, "closing ')'"),
        ("a)", 1, "before ')'"),
        ("!a", 0, "'!' is not part"),
        ("a & c", 2, "'&'"),
        ("b-2", 0, "did you mean 'b-1'?"),
        ("a and c", 2, "before 'and'"),
        ("and", 0, "write && instead"),
        ("&& a", 0, "found '&&'"),
        ("(" * 300 + "a" + ")" * 300, 101, "nested"),
    ],
)
def test_an_error_points_at_the_place(text: str, offset: int, words: str) -> None:
    with pytest.raises(LangError) as caught:
        conditions.compile(text, NAMES)
    assert words in str(caught.value)
    assert caught.value.offset == offset
    assert caught.value.text == text


def test_a_sensor_without_dependencies_has_no_condition() -> None:
    with pytest.raises(LangError):
        conditions.compile("", [])


def test_a_dash_and_an_underscore_are_the_same_where_only_one_name_fits() -> None:
    assert conditions.compile("b_1", ["a", "b-1"]).names == ("b-1",)
    assert conditions.compile("b-1 || b_1", ["b-1", "b_1"]).names == ("b-1", "b_1")
    with pytest.raises(LangError, match="no dependency 'x-y_z'"):
        conditions.compile("x-y_z", ["x-y-z", "x_y_z"])
