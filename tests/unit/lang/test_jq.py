"""jq programs: no environment, and closures that agree with libjq."""

from __future__ import annotations

import copy
import json
from typing import Any

import jq as libjq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from argosy.errors import LangError, NoOutput
from argosy.lang import jq

OSLO = {
    "body": {
        "oslo.message": json.dumps({"event_type": "port.create", "payload": {"metadata": {"storage": None}}}),
        "oslo.version": "2.0",
    }
}


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (
            '.body = (.body["oslo.message"] | fromjson) | .body.x = (.body.payload.metadata.storage // "none")',
            {"body": {"event_type": "port.create", "payload": {"metadata": {"storage": None}}, "x": "none"}},
        ),
        (
            '{body: (.body["oslo.message"] | fromjson)}',
            {"body": {"event_type": "port.create", "payload": {"metadata": {"storage": None}}}},
        ),
        ('.body["oslo.message"] | fromjson', {"event_type": "port.create", "payload": {"metadata": {"storage": None}}}),
    ],
)
def test_what_manifests_do_with_oslo_messages_needs_no_libjq(text: str, answer: Any) -> None:
    before = copy.deepcopy(OSLO)
    program = jq.compile(text)
    assert program.native
    assert program.first(OSLO) == answer
    assert before == OSLO


LEAKS = [
    "$ENV",
    "env",
    "$ENV.ARGOSY_SECRET",
    "env.ARGOSY_SECRET",
    '$ENV["ARGOSY_SECRET"]',
    '"\\($ENV)"',
    '"\\(env.ARGOSY_SECRET)"',
    "def f: $ENV; f",
    "def f: env; [f]",
    "def g(x): x; g($ENV)",
    "[limit(3; $ENV, env)]",
    "reduce (1,2) as $i ({}; . + $ENV + env)",
    "try error($ENV) catch .",
    "{$ENV}",
    "$ENV as {ARGOSY_SECRET:$s} | $s",
    '@json "\\($ENV)"',
    "1 as $x | $ENV",
    "$ENV | to_entries",
    "(1 | $ENV), env",
    "[$ENV] | .[0]",
    "label $f | $ENV, break $f",
    "# comment \\\n$ENV",
]


@pytest.mark.parametrize("text", LEAKS)
def test_the_environment_of_the_process_does_not_leak(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a process that holds a secret, which libjq alone would give away
    monkeypatch.setenv("ARGOSY_SECRET", "hunter2")
    assert "hunter2" in json.dumps(libjq.compile("$ENV").input_value(None).first())
    # When a program asks for it
    try:
        found = jq.compile(text).first({"a": 1})
    except LangError as error:
        found = str(error)
    # Then it finds an empty environment
    assert "hunter2" not in json.dumps(found)


def test_the_environment_is_empty_not_missing() -> None:
    assert jq.compile("[env, $ENV, ($ENV.HOME), (env|length)]").first(None) == [{}, {}, None, 0]


def test_a_text_that_speaks_of_env_stays_as_it_is() -> None:
    assert jq.compile('[.x, "$ENV env", ("a" | test("env"))]').first({"x": "$ENV"}) == ["$ENV", "$ENV env", False]


@pytest.mark.parametrize("text", ["input", "[inputs]", "halt", "halt_error", "halt_error(1)", "input_line_number"])
def test_what_belongs_to_the_command_line_fails(text: str) -> None:
    with pytest.raises(LangError, match="not available here"):
        jq.compile(text).first({})


@pytest.mark.parametrize(
    ("text", "offset", "says"),
    [
        (".a |", 3, "unexpected"),
        (".a\n| nosuch", 5, r"nosuch/0 is not defined at line 2, column 3"),
        ("1 as $x | $y", 10, r"\$y is not defined at line 1, column 11"),
        ('include "x"; .', 0, "include"),
        ('import "a" as a; .', 0, "import"),
    ],
)
def test_what_does_not_parse_is_said_with_its_place(text: str, offset: int, says: str) -> None:
    with pytest.raises(LangError, match=says) as caught:
        jq.compile(text)
    assert (caught.value.text, caught.value.offset) == (text, offset)


@pytest.mark.parametrize("text", ['.a["b c"].c?', ".[0].x", '.a | .b // "d"', ".a += 1", "not", "."])
def test_common_programs_are_native(text: str) -> None:
    assert jq.compile(text).native


@pytest.mark.parametrize("text", [".a, .b", ".[]", "map(.a)", "def f: 1; f", '"\\(.a)"', "..", ".a - 1", ".[1:2]"])
def test_other_programs_go_to_libjq(text: str) -> None:
    assert not jq.compile(text).native


def test_integers_beyond_float64_stay_exact_in_closures_and_are_rounded_by_libjq() -> None:
    # gojq gets them rounded to float64; that closures keep them is documented as a difference.
    assert jq.compile(".a").first({"a": 2**53 + 1}) == 2**53 + 1
    assert jq.compile("(.a, 1)").first({"a": 2**53 + 1}) == 2**53


def test_a_sum_beyond_64_bits_is_a_float() -> None:
    assert jq.compile("(.a * 10, 1)").first({"a": 1e300}) == 1e301
    assert isinstance(jq.compile("(.a * 10, 1)").first({"a": 1e300}), float)


def test_json_text_is_written_with_sorted_keys_on_both_ways() -> None:
    value = {"b": 1, "a": [1.0, 10**17]}
    assert jq.compile("tojson").first(value) == '{"a":[1,100000000000000000],"b":1}'
    assert jq.compile("tojson, 1").first(value) == '{"a":[1,100000000000000000],"b":1}'


def test_no_output_is_told_from_failure() -> None:
    for text in ("empty", "select(false)", ".a? // empty", "[] | .[]"):
        with pytest.raises(NoOutput):
            jq.compile(text).first({})


_KEYS = st.sampled_from(["a", "b", "c d"])
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1000, 1000)
    | st.sampled_from([0.5, -1.25, 1e10])
    | st.sampled_from(
        ["", "x", "é€", "Ab", '{"a": [1, null], "b": {"c d": "\\u00e9"}}', "[1, 2", "nul", "1 2", '"s"', " 5 "]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=8,
)
_STEPS = st.sampled_from(
    [".a", ".b", '."c d"', '.["a"]', ".[0]", ".[-1]", ".[2]", ".a?", ".[1]?", '["b"]', "[0]", '["c d"]?']
)


@st.composite
def _paths(draw: st.DrawFn) -> str:
    steps = draw(st.lists(_STEPS, min_size=1, max_size=3))
    return ("." if steps[0].startswith("[") else "") + "".join(steps)


_LEAVES = st.one_of(
    _paths(),
    st.sampled_from(
        [".", "null", "true", "false", "0", "1", "2.5", '"x"', '"a\\u00e9\\n"', "[]", "{}", "empty", '"[1]"']
    ),
)


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    two = st.tuples(inner, inner)
    return st.one_of(
        inner.map("({})".format),
        two.map(lambda p: f"{p[0]} | {p[1]}"),
        two.map(lambda p: f"({p[0]}) // ({p[1]})"),
        st.tuples(inner, st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "+", "and", "or"]), inner).map(
            lambda p: f"({p[0]}) {p[1]} ({p[2]})"
        ),
        st.tuples(_paths(), st.sampled_from(["=", "|=", "+="]), inner).map(lambda p: f"{p[0]} {p[1]} ({p[2]})"),
        two.map(lambda p: f"[({p[0]}), ({p[1]})]"),
        two.map(lambda p: '{a: (%s), "c d": (%s), b}' % p),  # noqa: UP031 - the braces are the program's
        st.tuples(inner, st.sampled_from(["length", "fromjson", "type", "not", "keys", "ascii_downcase"])).map(
            lambda p: f"({p[0]}) | {p[1]}"
        ),
        inner.map("select({})".format),
        inner.map("({})?".format),
        st.tuples(inner, inner, inner).map(lambda p: f"if {p[0]} then {p[1]} else {p[2]} end"),
        two.map(lambda p: f"({p[0]}) as $v | [$v, ({p[1]})]"),
        inner.map("has({})".format),
        st.tuples(inner, st.sampled_from(["startswith", "endswith"])).map(lambda p: f'{p[1]}("x") | ({p[0]})'),
    )


_PROGRAMS = st.recursive(_LEAVES, _larger, max_leaves=8)


def _outcome(run: Any) -> tuple[str, Any]:
    try:
        return "out", run()
    except (NoOutput, StopIteration):
        return "nothing", None
    except (LangError, ValueError):
        return "fails", None


@settings(max_examples=300, deadline=None)
@given(text=_PROGRAMS, value=_VALUES)
@example(text='.a["c d"] = (.b // "x") | .b |= empty', value={"b": None})
@example(text=".[-3] = 1", value=[1])
@example(text='("5" | fromjson) + 1', value=None)
@example(text="empty == (.a.b)", value=1)
@example(text=".a.b // 1", value={"a": 5})
def test_closures_and_libjq_agree_and_change_nothing(text: str, value: Any) -> None:
    # Given a program of the compiled part
    program = jq.compile(text)
    assert program.native, text
    before = copy.deepcopy(value)
    # When it runs both ways
    ours = _outcome(lambda: program.first(value))
    theirs = _outcome(lambda: libjq.compile(text).input_value(value).first())
    # Then output, absence of output and failure are the same, and the value is as it was
    assert ours == theirs
    assert value == before


@settings(max_examples=100, deadline=None)
@given(value=_VALUES)
def test_json_text_means_the_same_to_libjq(value: Any) -> None:
    text = jq.compile("tojson").first(value)
    assert json.loads(text) == value
    assert libjq.compile("fromjson").input_value(text).first() == value
