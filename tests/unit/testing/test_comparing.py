"""Values compared as JSON, and YAML that is read back as it was."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.manifests import _yaml
from argosy.testing.comparing import NOTHING, contains, equal, narrowed, shown


@pytest.mark.parametrize(
    ("wanted", "found", "same"),
    [
        (1, 1.0, True),
        (1, True, False),
        (0, False, False),
        ("1", 1, False),
        (None, None, True),
        (None, NOTHING, False),
        ({"a": [1]}, {"a": [1.0]}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ([1, 2], [2, 1], False),
    ],
)
def test_equal(wanted: Any, found: Any, same: bool) -> None:
    assert equal(wanted, found) is same


@pytest.mark.parametrize(
    ("wanted", "found", "inside"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, True),
        ({"a": {}}, {"a": {"b": 1}}, True),
        ({"a": None}, {}, False),
        ([2], [1, 2, 3], True),
        ([1, 3], [1, 2, 3], True),
        ([3, 1], [1, 2, 3], False),
        ([1, 1], [1], False),
        ([{"name": "x"}], [{"name": "y"}, {"name": "x", "value": "z"}], True),
        ({"a": 1}, [1], False),
    ],
)
def test_contains(wanted: Any, found: Any, inside: bool) -> None:
    assert contains(found, wanted) is inside


def test_beside_a_wanted_entry_stands_the_one_that_is_most_like_it() -> None:
    found = [{"name": "host", "value": "b", "more": 1}, {"name": "port", "value": "80"}, {"name": "path", "value": "/"}]

    assert narrowed(found, [{"name": "port", "value": "81"}]) == [{"name": "port", "value": "80"}]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(_JSON)
def test_what_is_shown_is_read_back_as_it_was(value: Any) -> None:
    read = list(_yaml.documents(shown({"it": value})))

    assert [one.value for one in read if isinstance(one, _yaml.Document)] == [{"it": value}]


@pytest.mark.parametrize(
    "text", ["y", "on", "0o17", "010", "1:30", "2026-01-01", "~", "", "a\nb\n", "a \nb", "- x", "#", "1_0"]
)
def test_text_that_looks_like_something_else_stays_text(text: str) -> None:
    (read,) = _yaml.documents(shown({text: [text]}))

    assert isinstance(read, _yaml.Document)
    assert read.value == {text: [text]}
