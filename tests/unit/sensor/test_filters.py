"""Filters mean what upstream's documents say, and where those are silent what its code does (``pkg/sensors/dependencies/filter.go``)."""

from __future__ import annotations

from typing import Any

import pytest

from argosy.errors import LangError
from argosy.manifests.findings import check
from argosy.manifests.sensor import Filters
from argosy.sensor import filters
from tests.unit.sensor._cases import decide, outcome


def _data(**clause: Any) -> dict[str, Any]:
    return {"data": [{"path": "k", **clause}]}


def _all(*clauses: dict[str, Any], operator: str = "") -> dict[str, Any]:
    return {"data": list(clauses), "dataLogicalOperator": operator}


def _expr(expr: str, *, operator: str = "", **paths: str) -> dict[str, Any]:
    fields = [{"name": name, "path": path} for name, path in paths.items()]
    return {"exprs": [{"expr": expr, "fields": fields}], "exprLogicalOperator": operator}


STRING, NUMBER, BOOL = "string", "number", "bool"
A_IS_B = {"path": "a", "type": STRING, "value": ["^b$"]}
A_IS_C = {"path": "a", "type": STRING, "value": ["^c$"]}
GONE = {"path": "gone", "type": STRING, "value": ["x"]}


class TestAStringClause:
    @pytest.mark.parametrize(
        ("value", "comparator", "found", "expected"),
        [
            (["v"], "", "v", "pass"),
            (["v"], "=", "v", "pass"),
            (["b"], "!=", "v", "pass"),
            (["v"], "!=", "v", "reject"),
            (["ell"], "", "hello", "pass"),
            (["^ell"], "", "hello", "reject"),
            (["x", "y", "hello"], "", "hello", "pass"),
            (["(?i)HELLO"], "", "hello", "pass"),
            (["v", "w"], "!=", "v", "pass"),
            (["a"], ">", "b", "reject"),
            (["a"], "<=", "a", "reject"),
            (["^$"], "", None, "pass"),
            (["^true$"], "", True, "pass"),
            (["^1.5$"], "", 1.5, "pass"),
            (["^100$"], "", 100, "pass"),
            ([r'^\{"x":1\}$'], "", {"x": 1}, "pass"),
            ([r'^\["x",1\]$'], "", ["x", 1], "pass"),
        ],
    )
    def test_searches_for_a_regular_expression_in_the_text_of_the_value(
        self, value: list[str], comparator: str, found: Any, expected: str
    ) -> None:
        assert outcome(decide(_data(type=STRING, value=value, comparator=comparator), {"k": found})) == expected

    def test_is_asked_although_another_number_is_beyond_all_floats(self) -> None:
        verdict = decide(_data(type=STRING, value=["^v$"]), text=b'{"other": 1e400, "k": "v"}')

        assert outcome(verdict) == "pass"

    def test_reads_several_paths_joined_in_brackets_as_one_array_text(self) -> None:
        data = {"k": "v", "k1": {"a": [{"k2": "v2"}, {"k2": "v3"}]}}
        path = '[k,k1.a.#(k2=="v2").k2,,k1.a.#(k2=="v3").k2]'
        wanted = r"(\bz\b.*\bv2\b)|(\bv\b.*(\bv2\b.*\bv3\b))"

        assert outcome(decide(_all({"path": path, "type": STRING, "value": [wanted]}), data)) == "pass"

    def test_finds_nothing_where_paths_are_joined_without_brackets(self) -> None:
        spec = _all({"path": "k,l", "type": STRING, "value": ["."]})

        assert outcome(decide(spec, {"k": "a", "l": "b"})) == "undecided"


class TestANumberClause:
    @pytest.mark.parametrize(
        ("value", "comparator", "found", "expected"),
        [
            (["1.0"], "", "1.0", "pass"),
            (["1.0"], ">", "2.0", "pass"),
            (["1.0"], "<=", "2.0", "reject"),
            (["1.0"], "!=", "1.0", "reject"),
            (["5.0"], "=", 5, "pass"),
            (["1.0"], ">", 2.0, "pass"),
            (["1"], ">=", 1, "pass"),
            (["1"], "<", 1, "reject"),
            (["1e3"], "", 1000, "pass"),
            (["0x1p4"], "", 16, "pass"),
            (["1_000"], "", 1000, "pass"),
            (["1", "2"], "!=", 1, "pass"),
            (["1"], "", True, "pass"),
            (["0"], "", False, "pass"),
            (["0"], "", "some text", "pass"),
            (["0"], "", None, "pass"),
            (["0"], "", {"any": "thing"}, "pass"),
            (["5"], "<", "some text", "pass"),
        ],
    )
    def test_compares_numbers_and_counts_what_is_none_as_zero(
        self, value: list[str], comparator: str, found: Any, expected: str
    ) -> None:
        assert outcome(decide(_data(type=NUMBER, value=value, comparator=comparator), {"k": found})) == expected

    @pytest.mark.parametrize("value", ["ten", "", " 1", "1 ", "0x10", "٣"])
    def test_is_refused_when_its_value_is_no_number_to_go(self, value: str) -> None:
        spec = Filters.model_construct(
            exprs=[], data=[_clause(type=NUMBER, value=[value])], context=None, time=None, script=""
        )

        with pytest.raises(LangError, match="not a number"):
            filters.compile(spec)


def _clause(**fields: Any) -> Any:
    from argosy.manifests.sensor import DataFilter

    return DataFilter.model_construct(**{"path": "k", "comparator": "", "template": "", **fields})


class TestABoolClause:
    @pytest.mark.parametrize(
        ("value", "comparator", "found", "expected"),
        [
            (["true"], "", True, "pass"),
            (["false"], "", False, "pass"),
            (["T"], "", True, "pass"),
            (["1"], "", True, "pass"),
            (["0"], "", True, "reject"),
            (["true"], "", "TRUE", "pass"),
            (["true"], "", "t", "pass"),
            (["true"], "", "yes", "reject"),
            (["true"], "", 7, "pass"),
            (["false"], "", 0, "pass"),
            (["false"], "", "no boolean", "pass"),
            (["false"], "", None, "pass"),
            (["false"], "", [True], "pass"),
            (["true", "false"], "", True, "pass"),
            (["true"], "!=", True, "pass"),
            (["true"], ">", True, "pass"),
        ],
    )
    def test_compares_booleans_counts_what_is_none_as_false_and_ignores_the_comparator(
        self, value: list[str], comparator: str, found: Any, expected: str
    ) -> None:
        assert outcome(decide(_data(type=BOOL, value=value, comparator=comparator), {"k": found})) == expected


class TestATemplateOfAClause:
    @pytest.mark.parametrize(
        ("clause", "found", "expected"),
        [
            (
                {"type": STRING, "value": ["HELLO WORLD"], "template": "{{ b64dec .Input | upper }}"},
                "aGVsbG8gd29ybGQ=",
                "pass",
            ),
            (
                {"type": NUMBER, "value": ["3.13"], "comparator": ">", "template": "{{ b64dec .Input }}"},
                "My4xNA==",
                "pass",
            ),
            ({"type": STRING, "value": ["world$"], "template": "{{ b64dec .Input }}"}, "aGVsbG8gd29ybGQ=", "pass"),
            ({"type": BOOL, "value": ["true"], "template": "{{ .Input }}"}, True, "pass"),
            (
                {"type": STRING, "value": ['^string "x"\n$'], "template": '{{ printf "%T %q\\n" .Input .Input }}'},
                "x",
                "pass",
            ),
            ({"type": STRING, "value": ["^\u0007$"], "template": "{{ .Input }}"}, "\u0007", "pass"),
            ({"type": STRING, "value": ["."], "template": "{{ .Missing }}"}, "x", "undecided"),
            ({"type": STRING, "value": ["."], "template": "{{ if false }}x{{ end }}"}, "x", "undecided"),
            ({"type": STRING, "value": ["."], "template": '{{ fail "no" }}'}, "x", "undecided"),
        ],
    )
    def test_makes_text_of_the_value_s_text_and_that_is_compared(
        self, clause: dict[str, Any], found: Any, expected: str
    ) -> None:
        assert outcome(decide(_data(**clause), {"k": found})) == expected


class TestSeveralDataClauses:
    @pytest.mark.parametrize(
        ("clauses", "operator", "expected", "asked"),
        [
            ([A_IS_B, A_IS_B], "", "pass", 2),
            ([A_IS_B, A_IS_C], "and", "reject", 2),
            ([A_IS_C, GONE], "and", "reject", 1),
            ([GONE, A_IS_B], "and", "undecided", 1),
            ([A_IS_C, A_IS_B], "or", "pass", 2),
            ([A_IS_B, GONE], "or", "pass", 1),
            ([GONE, A_IS_B], "or", "pass", 2),
            ([A_IS_C, A_IS_C], "or", "reject", 2),
            ([A_IS_C, GONE], "or", "undecided", 2),
        ],
    )
    def test_are_joined_by_their_operator_in_the_order_of_the_manifest(
        self, clauses: list[dict[str, Any]], operator: str, expected: str, asked: int
    ) -> None:
        verdict = decide(_all(*clauses, operator=operator), {"a": "b"})

        assert outcome(verdict) == expected
        assert len(verdict.parts[0].parts) == asked


class TestAnExpression:
    @pytest.mark.parametrize(
        ("spec", "data", "expected"),
        [
            (_expr('a == "b"', a="a"), {"a": "b"}, "pass"),
            (_expr('b == "b"', b="a.b"), {"a": {"b": "c"}}, "reject"),
            (_expr("b == 2", b="a.b"), {"a": {"b": 2}}, "pass"),
            (_expr('b =~ "start"', b="b"), {"b": "start long string"}, "pass"),
            (_expr('b !~ "start"', b="b"), {"b": "long string"}, "pass"),
            (_expr('b != "b" && d == true', b="a.b", d="a.c.d"), {"a": {"b": "x", "c": {"d": True}}}, "pass"),
            (_expr('b != "b" && d == true', b="a.b", d="a.d"), {"a": {"b": "x"}}, "undecided"),
            (_expr("n + 1", n="n"), {"n": 1}, "reject"),
            (_expr('"true"', n="n"), {"n": 1}, "reject"),
            (_expr("n > 1", n="n"), {"n": "text"}, "undecided"),
            (_expr("n == m", n="n", m="m"), {"n": None, "m": None}, "pass"),
            (_expr("m == 1", n="n"), {"n": 1}, "undecided"),
        ],
    )
    def test_passes_only_with_true(self, spec: dict[str, Any], data: Any, expected: str) -> None:
        assert outcome(decide(spec, data)) == expected

    @pytest.mark.parametrize(
        ("operator", "exprs", "expected"),
        [
            ("and", ["b == 1", "gone == 1"], "reject"),
            ("and", ["b == 'x'", "gone == 1"], "undecided"),
            ("or", ["b == 1", "gone == 1"], "undecided"),
            ("or", ["gone == 1", "b == 'x'"], "pass"),
            ("or", ["b > 1", "b == 'x'"], "pass"),
            ("or", ["b == 1", "b == 2"], "reject"),
        ],
    )
    def test_is_joined_with_others_by_their_operator(self, operator: str, exprs: list[str], expected: str) -> None:
        names = [text.split()[0] for text in exprs]
        spec = {
            "exprLogicalOperator": operator,
            "exprs": [
                {"expr": text, "fields": [{"name": name, "path": name}]}
                for text, name in zip(exprs, names, strict=True)
            ],
        }

        assert outcome(decide(spec, {"b": "x"})) == expected

    @pytest.mark.parametrize(
        "spec",
        [{"expr": "true", "fields": []}, {"expr": "", "fields": [{"name": "a", "path": "a"}]}, {"expr": "true"}],
    )
    def test_without_a_field_or_a_text_is_refused_so_that_none_is_ever_skipped(self, spec: dict[str, Any]) -> None:
        model, problems = check(Filters, {"exprs": [spec]})

        assert model is None
        assert problems


class TestTheContext:
    @pytest.mark.parametrize(
        ("wanted", "expected"),
        [
            ({"type": "webhook"}, "pass"),
            ({"type": "webhook", "source": "web", "subject": "in", "datacontenttype": "application/json"}, "pass"),
            ({"type": "webhook", "source": "other"}, "reject"),
            ({"subject": "In"}, "reject"),
            ({"datacontenttype": "text/plain"}, "reject"),
            ({"type": "webhook", "id": "another", "specversion": "0.3", "time": "2000-01-01T00:00:00Z"}, "pass"),
        ],
    )
    def test_is_compared_by_four_attributes_and_no_other(self, wanted: dict[str, str], expected: str) -> None:
        assert outcome(decide({"context": wanted}, {})) == expected

    def test_is_compared_although_the_data_is_not_json(self) -> None:
        assert outcome(decide({"context": {"type": "webhook"}}, text=b"not json")) == "pass"


class TestAScript:
    @pytest.mark.parametrize(
        ("script", "data", "expected"),
        [
            ('if event.a == "hello" then return true else return false end', {"a": "hello"}, "pass"),
            ("return event.a ~= 1", {"a": 1}, "reject"),
            ("return 1", {}, "reject"),
            ("return 'true'", {}, "reject"),
            ("", {}, "pass"),
            ("local x = 1", {}, "reject"),
            ("return false, true", {}, "pass"),
            ("return true, false", {}, "reject"),
            ('return a.a == "hello"', {"a": "hello"}, "undecided"),
            ("return #event.a == 2 and event.a[2] == 3", {"a": [1, None, [2], 3]}, "pass"),
            ("return next(event) == nil", None, "pass"),
            ("return true", [1], "undecided"),
            ("return true", "text", "undecided"),
        ],
    )
    def test_passes_only_when_the_last_value_is_true(self, script: str, data: Any, expected: str) -> None:
        assert outcome(decide({"script": script}, data)) == expected


class TestAnEventWithoutData:
    @pytest.mark.parametrize(
        "spec", [_data(type=STRING, value=["v"]), _expr("a == 1", a="a"), {"script": "return false"}]
    )
    def test_passes_what_looks_at_data(self, spec: dict[str, Any]) -> None:
        assert outcome(decide(spec, text=b"")) == "pass"

    @pytest.mark.parametrize("spec", [_data(type=STRING, value=["v"]), _expr("a == 1", a="a")])
    def test_is_not_one_whose_data_is_null(self, spec: dict[str, Any]) -> None:
        assert outcome(decide(spec, text=b"null")) == "undecided"

    @pytest.mark.parametrize(
        "spec", [_data(type=STRING, value=["v"]), _expr("a == 1", a="a"), {"script": "return true"}]
    )
    @pytest.mark.parametrize("text", [b"a", b"{", b"\xff\xfe", b'{"k": 1} x'])
    def test_is_not_one_whose_data_is_not_json(self, spec: dict[str, Any], text: bytes) -> None:
        verdict = decide(spec, text=text)

        assert outcome(verdict) == "undecided"
        assert "not JSON" in verdict.reason


PASSES, REJECTS, FAILS = _data(type=STRING, value=["v"]), {"context": {"source": "other"}}, _expr("x", x="gone")
TIME = {"time": {"start": "11:00:00", "stop": "13:00:00"}}


class TestTheStages:
    @pytest.mark.parametrize(
        ("spec", "operator", "expected"),
        [
            ({**PASSES, **TIME}, "", "pass"),
            ({**PASSES, **REJECTS}, "", "reject"),
            ({**PASSES, **REJECTS}, "and", "reject"),
            ({**PASSES, **REJECTS}, "or", "pass"),
            ({**FAILS, **PASSES}, "and", "undecided"),
            ({**FAILS, **PASSES}, "or", "undecided"),
            ({**REJECTS, "script": "error('x')", **TIME}, "or", "undecided"),
            ({**REJECTS}, "or", "reject"),
            ({}, "", "pass"),
            ({}, "or", "reject"),
            ({"exprs": [], "data": [], "script": ""}, "or", "reject"),
        ],
    )
    def test_are_joined_by_filters_logical_operator_and_one_that_cannot_be_decided_discards(
        self, spec: dict[str, Any], operator: str, expected: str
    ) -> None:
        assert outcome(decide(spec, {"k": "v"}, operator)) == expected

    def test_are_asked_in_one_order(self) -> None:
        spec = {
            "script": "return false",
            **TIME,
            **REJECTS,
            **_data(type=STRING, value=["x"]),
            **_expr("k == 1", k="k"),
        }

        verdict = decide(spec, {"k": "v"}, "or")

        assert [part.clause for part in verdict.parts] == ["exprs", "data", "context", "time", "script"]

    def test_are_none_where_there_is_no_filter(self) -> None:
        assert filters.compile(None) is None


@pytest.mark.parametrize(
    ("clause", "words"),
    [
        ({"type": STRING, "value": ["a(b"]}, "regular expression"),
        ({"type": STRING, "value": ["ok", "(?=x)"]}, "regular expression"),
        ({"type": STRING, "value": ["a(b"], "comparator": ">"}, "regular expression"),
        ({"type": BOOL, "value": ["ja"]}, "not a boolean"),
        ({"type": STRING, "value": ["x"], "template": "{{ nope }}"}, "nope"),
    ],
)
def test_a_clause_that_can_never_be_decided_is_refused_when_it_is_compiled(clause: dict[str, Any], words: str) -> None:
    model, _ = check(Filters, _data(**clause))

    with pytest.raises(LangError, match=words):
        filters.compile(model)
