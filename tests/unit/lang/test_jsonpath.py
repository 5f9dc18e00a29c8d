"""JSONPath: the answers of the Go library, and bounds that hold."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.errors import LangError
from argosy.lang import expr, jsonpath
from tests.golden import files
from tests.golden.cases import jsonpath as cases
from tests.golden.typed import same, typed

GOLDEN = files.read("jsonpath")
STORE = GOLDEN.shared["store"]["data"]


def answer(path: str, data: Any) -> dict[str, Any]:
    try:
        return {"ok": typed(jsonpath.Path(path).query(expr.floats(data)))}
    except LangError as error:
        return {"error": str(error)}


def test_the_answers_are_those_of_the_go_library() -> None:
    assert len(GOLDEN.rows) > 1400
    differing = []
    for question, theirs in GOLDEN.rows:
        whole = GOLDEN.whole(question)
        ours = answer(whole["path"], whole["data"])
        if ("ok" in ours) != ("ok" in theirs) or ("ok" in ours and not same(ours["ok"], theirs["ok"])):
            differing.append(json.dumps([whole["path"], ours, theirs]))
    assert differing[:20] == []


def test_a_path_that_is_none_says_why() -> None:
    with pytest.raises(LangError, match="begins with"):
        jsonpath.compile("a.b")


def test_what_is_missing_is_named() -> None:
    with pytest.raises(LangError, match="no 'nope'"):
        jsonpath.compile("$.store.nope.x").query(STORE)


def test_a_path_does_not_change_the_data() -> None:
    before = json.dumps(STORE)
    jsonpath.compile("$..*").query(STORE)
    assert json.dumps(STORE) == before


def _deep(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = {"a": value, "b": [value]}
    return value


@pytest.mark.parametrize("path", ["$..[?(@..a)]..b", "$..*..*..*", "$..a..b..a..b", "$..[?(@..[?(@..a)])]"])
def test_a_path_without_end_is_stopped(path: str) -> None:
    with pytest.raises(LangError, match="steps"):
        jsonpath.compile(path).query(_deep(14))


@pytest.mark.parametrize(
    "path", ["$[?(" + "+-" * 200 + "1)]", "$[?(" + "(" * 500 + ")]", "$" + "[?(@" * 200, "$" + ".a" * 3000]
)
def test_a_text_without_end_is_refused_or_compiled(path: str) -> None:
    try:
        jsonpath.Path(path).query({})
    except LangError:
        pass  # it came back


_WORDS = [
    *cases._STEPS,
    *cases._FILTERS,
    "$",
    "@",
    "[?(",
    ")]",
    "[",
    "]",
    "(",
    ")",
    "'",
    '"',
    ".",
    ",",
    ":",
    "\\",
    " ",
    "é",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(_WORDS) | st.text(max_size=2), max_size=6).map(lambda parts: "$" + "".join(parts)))
def test_whatever_the_text_nothing_but_a_lang_error_comes_of_it(path: str) -> None:
    try:
        jsonpath.Path(path).query(expr.floats(STORE))
    except LangError:
        pass
