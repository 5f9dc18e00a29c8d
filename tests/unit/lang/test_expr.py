"""expr: the answers of the Go library, errors that point into the text, and bounds that hold."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from argosy.errors import LangError
from argosy.lang import expr
from argosy.sources._filter import environment
from tests.golden import files
from tests.golden.cases import expr as cases
from tests.golden.typed import same, typed

GOLDEN = files.read("expr")
EVENT: dict[str, Any] = {"body": {"id": 4, "name": "Joe", "list": [1, 2, 3], "text": "x" * 2_000_000}}


def answer(text: str, data: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"ok": typed(expr.Expression(text).evaluate(environment(data)))}
    except LangError as error:
        return {"error": str(error)}


def agree(text: str, ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    if "error" in ours or "error" in theirs:
        return ("error" in ours) == ("error" in theirs)
    if re.search(r"\^|\*\*", text) and ours["ok"][0] == theirs["ok"][0] == "float64":
        # Go's exponential function differs from libm's in the last bits.
        return math.isclose(float(ours["ok"][1]), float(theirs["ok"][1]), rel_tol=1e-14) or same(
            ours["ok"], theirs["ok"]
        )
    return same(ours["ok"], theirs["ok"])


def test_the_answers_are_those_of_the_go_library() -> None:
    # Given thousands of expressions, with the answers of the library
    assert len(GOLDEN.rows) > 9000
    differing = []
    for question, theirs in GOLDEN.rows:
        whole = GOLDEN.whole(question)
        # When we are asked
        ours = answer(whole["expr"], whole["data"])
        # Then value and Go type are the same, or both refuse
        if not agree(whole["expr"], ours, theirs):
            differing.append(json.dumps([whole["expr"], ours, theirs]))
    assert differing[:20] == []


def test_what_the_go_library_refuses_to_compile_is_refused_before_an_event_comes() -> None:
    late = []
    for question, theirs in GOLDEN.rows:
        if theirs.get("error") == "compile":
            try:
                expr.Expression(question["expr"])
                late.append(question["expr"])
            except LangError as error:
                assert error.text == question["expr"]
                assert 0 <= error.offset <= len(error.text)
    assert late == []


def test_what_the_go_library_compiles_is_compiled() -> None:
    # But for what can only fail, which is known a little earlier here
    early = []
    for question, theirs in GOLDEN.rows:
        if theirs.get("error") != "compile":
            try:
                expr.Expression(question["expr"])
            except LangError as error:
                early.append((question["expr"], str(error), theirs))
    assert [row for row in early if "ok" in row[2]] == []
    assert len(early) < 20, early


@pytest.mark.parametrize(
    ("text", "offset", "says"),
    [
        ("body.id ==", 10, "ends too early"),
        ("body.id = 4", 8, "'=' is not expected"),
        ("(body.id == 4", 13, "')' is missing"),
        ("'abc", 0, "not closed"),
        ("body.id == `4`", 11, "character '`'"),
        ("'\\q' == body", 1, "escape"),
        ("1 + 'a'", 2, "int and string"),
        ("len(1)", 0, "'len' does not take"),
        ("body.name matches '['", 18, "regular expression"),
        ("filter(body.list, 5)", 18, "true or false"),
        ("count(body.list, #acc > 1)", 17, "no '#acc'"),
        ("let len = 1; len", 4, "built-in function"),
        ("a ?? b == c", 7, "parentheses"),
        ("1 % 0", 2, "divided by zero"),
        ("type == 'x'", 5, "get($env, 'type')"),
        ("trim(1)", 5, "string here, not an int"),
        ("upper()", 0, "needs more arguments"),
        ("# > 1", 0, "outside of a closure"),
    ],
)
def test_a_mistake_is_pointed_at(text: str, offset: int, says: str) -> None:
    with pytest.raises(LangError, match=re.escape(says)) as caught:
        expr.compile(text)
    assert (caught.value.offset, caught.value.text) == (offset, text)


@pytest.mark.parametrize(
    ("text", "offset", "says"),
    [
        ("1 == 1 && body.none.x", 20, "'x' is wanted of nil"),
        ("body.id % 2 == 0", 8, "float64"),
        ("body.name < body.id", 10, "string and a float64"),
        ("nothing(1)", 0, "nil cannot be called"),
        ("map(body.list, # + body.name)", 17, "float64 and a string"),
        ("body.list[7]", 9, "out of range"),
        ("body.id", 0, "float64, not true or false"),
        ("nothing", 0, "nil, not true or false"),
    ],
)
def test_a_failure_on_an_event_is_pointed_at(text: str, offset: int, says: str) -> None:
    with pytest.raises(LangError, match=says) as caught:
        expr.compile(text).decide(environment(EVENT))
    assert (caught.value.offset, caught.value.text) == (offset, text)


@pytest.mark.parametrize(
    "text", ["int(body.name)", "float(body.name)", "date(body.name)", "duration(body.name)", "fromJSON(body.name)"]
)
def test_what_an_event_holds_stands_in_no_error(text: str) -> None:
    with pytest.raises(LangError) as caught:
        expr.compile(text).evaluate(environment({"body": {"name": "hunter2"}}))
    assert "hunter2" not in str(caught.value)


def test_the_names_are_what_the_expression_reads() -> None:
    assert expr.compile("body.id == 4 && any(header.x, # == y)").names == {"body", "header", "y"}
    assert expr.compile("$env.body.id == 4").names is None


def test_a_not_that_is_lost_is_noted() -> None:
    assert expr.compile("a + b not in c").lost == (6,)
    assert expr.compile("not (a + b in c)").lost == ()
    assert expr.compile("a not in c").lost == ()


def test_values_are_not_changed() -> None:
    env = {"l": [1.0, 3.0, 2.0], "m": {"a": 1.0}}
    expr.compile("map(l, # + 1) == sortBy(l, 'x', 'desc')").evaluate(env)
    assert env == {"l": [1.0, 3.0, 2.0], "m": {"a": 1.0}}


def test_runs_of_one_expression_know_nothing_of_each_other() -> None:
    expression = expr.compile("let x = body.id; filter([1, 2, 3, 4], # == x) | len() == 1")
    assert [expression.evaluate(environment({"body": {"id": n}})) for n in (4, 9, 4)] == [True, False, True]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # The Go library leaves a true on its stack for each element that it looked at: listed as a difference.
        ("4 < findLast(body.list, # > 1)", False),
        ("[1, findLastIndex(body.list, # > 1)]", [1, 2]),
        ("2 + filter(body.list, # > 1)[-1]", 5.0),
        ("'x' + string(last(filter(body.list, # > 1)))", "x3"),
    ],
)
def test_what_is_searched_from_behind_disturbs_nothing_else(text: str, value: Any) -> None:
    assert expr.compile(text).evaluate(environment(EVENT)) == value


def test_a_nil_list_of_texts_is_nil_for_what_asks_and_empty_for_the_rest() -> None:
    assert expr.compile("split('a,b', ',', 0) ?? 'nil'").evaluate({}) == "nil"
    assert expr.compile("len(split('a,b', ',', 0)) == 0 && toJSON(split('a', ',', 0)) == 'null'").evaluate({}) is True


HOSTILE = [
    "count(1..1000, sprig.genPrivateKey('rsa') != '') > 0",
    "count(1..1000, sprig.htpasswd('a', 'b') != '') > 0",
    "len(1..1000000000) > 0",
    "count(1..1000, count(1..1000, count(1..1000, true) > 0) > 0) > 0",
    "map(1..999, map(1..999, #)) == 1",
    "repeat('x', 1000000) | repeat(1000000) == ''",
    "map(1..100000, repeat('x', 1000000)) == []",
    "reduce(1..100, #acc + #acc, 'x') == ''",
    "toJSON(reduce(1..100, [#acc, #acc], [1])) == ''",
    "string(reduce(1..60, {'a': #acc, 'b': #acc}, 1)) == ''",
    "reduce(1..100, [#acc, #acc], [1]) == reduce(1..100, [#acc, #acc], [1])",
    "count(1..100000, body.text contains 'y') > 0",
    "count(1..100000, body.text matches '(x+x+)+y') > 0",
    "count(1..400000, 'aaa' matches string(#) + 'x{1000}') > 0",
    "count(1..400000, date('Mon, 02 Jan 2006 15:04:05 MST') == now()) > 0",
    "map(1..1000, body.text + '1') == []",
    "map(1..1000, upper(body.text)) == []",
    "map(1..1000, body.text[1:]) == []",
    "replace(body.text, 'x', body.text) == ''",
    "join(map(1..1000, body.text), '') == ''",
    "split(body.text, '') == map(1..1000, split(body.text, 'x'))",
    "sprig.until(1000000000) == []",
    "map(1..20000, sprig.repeat(1000, 'abc')) == []",
    "jsonpath(toJson(1..100000), '$..[?(@..a)]..b') == nil",
    "fromJSON(repeat('[', 900000) + repeat(']', 900000)) == nil",
    "fromPairs(map(1..400000, [#, #])) == nil",
    "sort(map(1..400000, -#)) == nil",
    "count(1..400000, # in 1..100000) > 0",
]


@pytest.mark.parametrize(
    "text",
    [
        "sprig.unset(sprig, 'trim') == nil",
        "sprig.set(sprig, 'trim', 1) == nil",
        'sprig.mergeOverwrite({"a": sprig}, {"a": {"trim": 1}}) == nil',
    ],
)
def test_no_expression_changes_the_functions_of_the_others(text: str) -> None:
    with pytest.raises(LangError, match="cannot be"):
        expr.compile(text).evaluate(environment(EVENT))
    assert expr.compile("sprig.trim(' a')").evaluate(environment(EVENT)) == "a"


@pytest.mark.parametrize("text", HOSTILE)
def test_an_expression_without_end_is_stopped(text: str) -> None:
    with pytest.raises(LangError):
        expr.compile(text).evaluate(environment(EVENT))


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5000 + "1" + ")" * 5000,
        "-" * 5000 + "1",
        "not " * 1000 + "true",
        "a." * 3000 + "b",
        "+".join(["a"] * 3000),
        "[" * 5000,
        "a ?: " * 3000 + "b",
        "(" * 60 + "a" + " ?: b)" * 60,
        "join(" * 40 + "['a']" + ")" * 40,
        "2 ** " * 1000 + "2",
        "map([1], " * 100 + "#" + ")" * 100,
        "x" * 70_000,
    ],
    ids=lambda text: text[:12],
)
def test_a_text_without_end_is_refused_or_compiled(text: str) -> None:
    try:
        expr.Expression(text).evaluate(environment(EVENT))
    except LangError:
        pass  # it came back


def test_a_long_row_of_alternatives_is_no_depth() -> None:
    row = " || ".join(f"body.id == {n}" for n in range(250))
    assert expr.compile(row).evaluate(environment({"body": {"id": 249}})) is True


_WORDS = [
    *cases._VALUES,
    *cases._OPERATORS,
    *cases._FUNCTIONS,
    *cases._CLOSURES,
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ".",
    "?",
    ":",
    "?.",
]
_WORDS += [
    ";",
    "let",
    "|",
    "#",
    "'",
    '"',
    "\\",
    "not",
    "..",
    "$env",
    "0x",
    "1e",
    "é",
    "\ud800",
    "\x00",
    "//",
    "/*",
    "sprig.",
    "jsonpath(",
]
_BITS = st.lists(st.sampled_from(_WORDS) | st.text(max_size=3), max_size=12).map(" ".join)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_BITS | st.text(max_size=60))
def test_whatever_the_text_nothing_but_a_lang_error_comes_of_it(text: str) -> None:
    try:
        expression = expr.Expression(text)
        expression.evaluate(environment(EVENT))
    except LangError as error:
        assert error.text == text
        assert 0 <= error.offset <= len(text)


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abcxyzk"), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([row["expr"] for row, _ in GOLDEN.rows[:1500]]), _JSON, _JSON)
def test_whatever_the_event_nothing_but_a_lang_error_comes_of_it(text: str, body: Any, header: Any) -> None:
    try:
        expr.compile(text).evaluate(environment({"body": body, "header": header}))
    except LangError as error:
        assert error.text == text


@settings(max_examples=200, deadline=None)
@given(_JSON)
def test_json_that_is_written_is_read_again(value: Any) -> None:
    env = environment({"v": value})
    assert expr.compile("fromJSON(toJSON(v)) == v").evaluate(env) is True


@settings(max_examples=200, deadline=None)
@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
def test_integers_wrap_around_and_their_remainder_has_the_sign_of_the_first(a: int, b: int) -> None:
    env = {"a": a, "b": b}
    wrapped = (a * b + 2**63) % 2**64 - 2**63
    assert expr.compile("a * b").evaluate(env) == wrapped
    if b:
        assert expr.compile("a % b").evaluate(env) == int(math.copysign(1, a)) * (abs(a) % abs(b))
