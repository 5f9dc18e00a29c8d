"""Filters: each stage's own meaning, how stages combine, and reasons that name the clause, the value found and the value wanted."""

from __future__ import annotations

from typing import Any

import pytest

from argosy.event import Event
from argosy.lang import gojson
from argosy.lang.gjson import Document
from argosy.manifests.findings import check
from argosy.manifests.sensor import Filters
from argosy.sensor import filters
from argosy.sensor.verdict import Verdict

DATA = {"a": "b", "n": 10, "flag": True, "none": None, "d": {"e": "z"}, "b64": "aGVsbG8="}


def _decide(spec: dict[str, Any], operator: str = "", data: Any = DATA, time: str = "2026-01-01T12:00:00Z") -> Verdict:
    model, problems = check(Filters, spec)
    assert model is not None, problems
    compiled = filters.compile(model, operator)
    assert compiled is not None
    event = Event(id="1", source="web", subject="in", type="webhook", time=time, data=gojson.dumps(data))
    return compiled(Document(event.data), event)


def _data(**clause: Any) -> dict[str, Any]:
    return {"data": [clause]}


@pytest.mark.parametrize(
    ("spec", "passed"),
    [
        (_data(path="a", type="string", value=["^b$"]), True),
        (_data(path="a", type="string", value=["x", "b"]), True),
        (_data(path="a", type="string", value=["b"], comparator="!="), False),
        (_data(path="a", type="string", value=["b", "c"], comparator="!="), True),
        (_data(path="a", type="string", value=["a"], comparator=">"), False),
        (_data(path="n", type="number", value=["9"], comparator=">"), True),
        (_data(path="n", type="number", value=["10"]), True),
        (_data(path="a", type="number", value=["0"]), True),
        (_data(path="flag", type="bool", value=["true"]), True),
        (_data(path="flag", type="bool", value=["0"]), False),
        (_data(path="none", type="string", value=["^$"]), True),
        (_data(path="b64", type="string", value=["^hello$"], template="{{ b64dec .Input }}"), True),
        (
            {
                "exprs": [
                    {"expr": "a == 'b' && n > 9", "fields": [{"name": "a", "path": "a"}, {"name": "n", "path": "n"}]}
                ]
            },
            True,
        ),
        ({"exprs": [{"expr": "n + 1", "fields": [{"name": "n", "path": "n"}]}]}, False),
        ({"context": {"source": "web", "type": "webhook"}}, True),
        ({"context": {"source": "other"}}, False),
        ({"time": {"start": "12:00:00", "stop": "12:00:01"}}, True),
        ({"time": {"start": "11:00:00", "stop": "12:00:00"}}, False),
        ({"time": {"start": "23:00:00", "stop": "12:30:00"}}, True),
        ({"time": {"start": "07:00:00", "stop": "07:30:00", "timezone": "America/New_York"}}, True),
        ({"script": "return event.d.e == 'z'"}, True),
        ({"script": "return 1"}, False),
    ],
)
def test_a_clause_decides_as_upstream_documents_it(spec: dict[str, Any], passed: bool) -> None:
    verdict = _decide(spec)

    assert verdict.passed is passed, verdict
    assert not verdict.failed


def test_a_reason_names_path_value_and_what_was_wanted() -> None:
    verdict = _decide(_data(path="a", type="string", value=["^main$"]))

    assert verdict.reason == "data[0]: `a` is `b`, wanted `^main$`"
    assert [part.clause for part in verdict.parts[0].parts] == ["data[0]"]


def test_a_missing_path_says_which_part_and_what_is_there() -> None:
    verdict = _decide(_data(path="d.x.y", type="string", value=["b"]))

    assert (verdict.passed, verdict.failed) == (False, True)
    assert "no 'x' under 'd'; there is e" in verdict.reason


@pytest.mark.parametrize(("operator", "passed"), [("", False), ("and", False), ("or", True)])
def test_stages_are_combined_by_the_operator(operator: str, passed: bool) -> None:
    spec = {**_data(path="a", type="string", value=["b"]), "context": {"source": "other"}}

    assert _decide(spec, operator).passed is passed


def test_with_or_a_stage_that_cannot_decide_discards_although_another_passed() -> None:
    verdict = _decide({**_data(path="missing", type="string", value=["b"]), "context": {"source": "web"}}, "or")

    assert (verdict.passed, verdict.failed) == (False, True)


def test_with_or_and_no_filter_nothing_passes() -> None:
    assert not _decide({}, "or").passed
    assert _decide({}).passed


def test_data_clauses_joined_with_or_skip_one_whose_path_is_missing() -> None:
    spec = {
        "dataLogicalOperator": "or",
        "data": [
            {"path": "missing", "type": "string", "value": ["b"]},
            {"path": "a", "type": "string", "value": ["b"]},
        ],
    }

    assert _decide(spec).passed
