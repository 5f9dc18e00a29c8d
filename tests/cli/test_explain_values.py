"""Values as an explanation shows them: cut where they are long, compared by path, found again in YAML."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from argosy.cli._explain_values import diff, lines_of, short, yaml_lines
from argosy.cli._page import one_line

_TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, [("~", "a.c: 2 → 3")]),
        ({"a": 1, "b": 2}, {"c": {"d": 1}}, [("+", 'c: {"d":1}'), ("-", "a, b")]),
        ({"a": 1}, {"a": "1"}, [("~", 'a: 1 → "1"')]),
        ({"a": True}, {"a": 1}, [("~", "a: true → 1")]),
        ([1], {"a": 1}, [("~", ': [1] → {"a":1}')]),
    ],
)
def test_a_comparison_says_what_is_new_other_and_gone(before: Any, after: Any, changes: list[tuple[str, str]]) -> None:
    assert diff(before, after) == changes


@given(_JSON)
def test_a_value_does_not_differ_from_itself(value: Any) -> None:
    assert diff(value, value) == []


@given(_JSON, st.integers(10, 80))
def test_what_is_short_is_short(value: Any, most: int) -> None:
    assert len(short(value, most)) <= max(most, len("[4 values]"))
    assert len(one_line(str(value), most)) <= most


@given(st.dictionaries(_TEXT, _JSON, max_size=4))
def test_the_yaml_of_a_value_is_that_value(value: Any) -> None:
    assert yaml.safe_load("\n".join(yaml_lines(value))) == value


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("spec.parameters.0.value", ["      value: x"]),
        ("spec.parameters.-1.value", ["      value: y"]),
        ("spec.text", ["  text: |-", "    one", "    two"]),
        ("metadata.labels.a\\.b", ["    a.b: c"]),
        ("spec.gone.deeper", []),
        ("spec.parameters.9", []),
    ],
)
def test_the_lines_that_a_parameter_wrote_are_found(path: str, shown: list[str]) -> None:
    value = {
        "metadata": {"labels": {"a.b": "c"}},
        "spec": {"parameters": [{"name": "a", "value": "x"}, {"name": "b", "value": "y"}], "text": "one\ntwo"},
    }
    lines = yaml_lines(value)

    assert [lines[number] for number in sorted(lines_of(lines, [path]))] == shown
