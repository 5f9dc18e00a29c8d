"""govaluate: traps that are kept, and errors that point into the text."""

from __future__ import annotations

import pytest

from argosy.errors import LangError
from argosy.lang import govaluate


def test_the_names_are_the_parameters_and_no_constants() -> None:
    expression = govaluate.compile('a == "b" && [c d] > 2 || true && e\\-f in (g, 1)')
    assert expression.names == {"a", "c d", "e-f", "g"}


def test_a_quoted_date_is_a_number_and_so_differs_from_the_same_text() -> None:
    assert govaluate.compile('"2024-01-01" == 1704067200').evaluate({}) is True
    assert govaluate.compile('day == "2024-01-01"').evaluate({"day": "2024-01-01"}) is False


def test_integers_and_floats_are_one_kind_and_booleans_another() -> None:
    assert govaluate.compile("x == 1.0").evaluate({"x": 1}) is True
    assert govaluate.compile("x == 1").evaluate({"x": True}) is False
    assert govaluate.compile("x == y").evaluate({"x": {"a": [1]}, "y": {"a": [1.0]}}) is True


def test_the_side_that_does_not_count_is_not_worked_out() -> None:
    assert govaluate.compile("a || missing").evaluate({"a": True}) is True
    assert govaluate.compile("a && missing").evaluate({"a": False}) is False
    assert govaluate.compile("a ? 1 : missing").evaluate({"a": True}) == 1.0
    assert govaluate.compile("a ?? missing").evaluate({"a": 0}) == 0.0


@pytest.mark.parametrize(
    ("text", "offset", "says"),
    [
        ("a && missing > 1", 5, "'missing'"),
        ("a + 1", 2, "not a number"),
        ("a > true", 2, "comparable"),
        ("!n", 0, "true or false"),
        ("n in 3", 2, "not a list"),
    ],
)
def test_a_failure_names_the_operator_and_its_place(text: str, offset: int, says: str) -> None:
    with pytest.raises(LangError, match=says) as caught:
        govaluate.compile(text).evaluate({"a": True, "n": 3})
    assert (caught.value.offset, caught.value.text) == (offset, text)


def test_a_wrong_pattern_is_found_when_the_expression_is_compiled() -> None:
    with pytest.raises(LangError) as caught:
        govaluate.compile('a =~ "["')
    assert caught.value.offset == 5


def test_an_expression_that_is_nested_without_end_is_refused() -> None:
    with pytest.raises(LangError, match="nested"):
        govaluate.compile("(" * 5000 + "1" + ")" * 5000)


def test_values_are_not_changed() -> None:
    values = {"l": [1, 2]}
    assert govaluate.compile("3 in (l, 3)").evaluate(values) is True
    assert values == {"l": [1, 2]}
