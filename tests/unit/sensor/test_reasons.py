"""Reasons name the clause, the path, the value found and the value wanted; they are short and are made only when read."""

from __future__ import annotations

from typing import Any

import pytest

from argosy.sensor.verdict import Verdict
from tests.unit.sensor._cases import decide

DATA: dict[str, Any] = {
    "body": {"ref": "dev", "count": 3, "tags": ["a", "b"], "none": None, "flag": "yes"},
    "header": {"X-GitHub-Event": ["push"]},
    "long": "x" * 5000,
}


def _reason(spec: dict[str, Any], **more: Any) -> str:
    verdict = decide(spec, DATA, **more)
    assert not verdict.passed, verdict
    return verdict.reason


def _clause(path: str, value: str, kind: str = "string", comparator: str = "", **more: Any) -> dict[str, Any]:
    return {"data": [{"path": path, "type": kind, "value": value.split(" or "), "comparator": comparator, **more}]}


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (_clause("body.ref", "^main$"), "data[0]: `body.ref` is `dev`, wanted `^main$`"),
        (_clause("body.ref", "^main$ or ^rel"), "data[0]: `body.ref` is `dev`, wanted `^main$` or `^rel`"),
        (_clause("body.ref", "dev", comparator="!="), "data[0]: `body.ref` is `dev`, wanted != `dev`"),
        (_clause("body.count", "5", "number", ">"), "data[0]: `body.count` is `3`, wanted > `5`"),
        (_clause("body.ref", "5", "number", ">"), "data[0]: `body.ref` is `dev` (counts as 0), wanted > `5`"),
        (_clause("body.flag", "true", "bool"), "data[0]: `body.flag` is `yes` (counts as false), wanted `true`"),
        (_clause("body.tags", "^c"), 'data[0]: `body.tags` is `["a","b"]`, wanted `^c`'),
        (
            _clause("body.ref", "^main$", template="{{ upper .Input }}"),
            "data[0]: `body.ref` is `DEV` through the template, wanted `^main$`",
        ),
        (
            _clause("body.ref", "x", template='{{ fail "no" }}'),
            "data[0]: template of `body.ref`, which is `dev`,: ",
        ),
        ({"context": {"source": "other"}}, "context `source` is `web`, wanted `other`"),
        (
            {"exprs": [{"expr": "n > 5", "fields": [{"name": "n", "path": "body.count"}]}]},
            "exprs[0]: `n > 5` is false with n = 3",
        ),
        (
            {"exprs": [{"expr": "r", "fields": [{"name": "r", "path": "body.ref"}]}]},
            "exprs[0]: `r` is 'dev' with r = 'dev'; only true passes",
        ),
        ({"script": "return event.body.ref"}, "script: the script returned 'dev', wanted true"),
        ({"script": "error('no')"}, "script: the script failed in line 1: no"),
    ],
)
def test_a_reason_says_clause_path_found_and_wanted(spec: dict[str, Any], reason: str) -> None:
    assert _reason(spec).startswith(reason)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("body.reff", "no 'reff' under 'body'; there is ref, count, tags, none, flag"),
        ("boddy.ref", "no 'boddy' at the top; there is body, header, long"),
        ("body.ref.name", "'name' is wanted under 'body.ref', where 'dev' stands"),
        ("body.none.x", "'x' is wanted under 'body.none', where null stands"),
        ("body.tags.7", "no '7' under 'body.tags', an array of 2"),
        ("body.tags.x", "no 'x' under 'body.tags', an array of 2"),
        ("header.X-Github-Event.0", "no 'X-Github-Event' under 'header'; there is X-GitHub-Event"),
        ('body.tags.#(=="z")', """nothing in 'body.tags', an array of 2, fits '#(=="z")'"""),
        ("body.z*", "nothing in 'body', an object with ref, count, tags, none, flag, fits 'z*'"),
    ],
)
def test_a_missing_path_says_which_part_is_missing_and_what_is_there(path: str, reason: str) -> None:
    assert _reason(_clause(path, "x")) == f"data[0]: path '{path}' does not exist: {reason}"


def test_of_many_keys_a_few_are_named_and_the_similar_one_first() -> None:
    many = {f"key{number:05}": 1 for number in range(20_000)} | {"k" * 500: 1}

    reason = decide(_clause("key00150x", "x"), many).reason

    assert "there is key00150, " in reason
    assert reason.endswith("and 19993 more")
    assert len(reason) < 300


@pytest.mark.parametrize("path", ["long", "body.ref"])
def test_long_values_are_shortened_on_both_sides(path: str) -> None:
    spec = {"data": [{"path": path, "type": "string", "value": ["^" + "y" * 3000, *(f"^{n}" for n in range(100))]}]}

    reason = _reason(spec)

    assert len(reason) < 600
    assert "others" in reason


def test_with_or_every_part_says_why() -> None:
    spec = {
        "dataLogicalOperator": "or",
        "data": [
            {"path": "body.ref", "type": "string", "value": ["^main$"]},
            {"path": "gone", "type": "string", "value": ["x"]},
        ],
        "context": {"source": "other"},
    }

    reason = _reason(spec, operator="or")

    assert reason == (
        "data[0]: `body.ref` is `dev`, wanted `^main$` / data[1]: path 'gone' does not exist: no 'gone' at the top;"
        " there is body, header, long / context `source` is `web`, wanted `other`"
    )


def test_the_whole_says_what_every_clause_said() -> None:
    spec = {**_clause("body.ref", "^dev$"), "context": {"source": "web"}}

    assert decide(spec, DATA).as_dict() == {
        "clause": "filters",
        "passed": True,
        "reason": "every filter passed",
        "parts": [
            {
                "clause": "data",
                "passed": True,
                "reason": "every clause of data passed",
                "parts": [{"clause": "data[0]", "passed": True, "reason": "`body.ref` is `dev`, wanted `^dev$`"}],
            },
            {"clause": "context", "passed": True, "reason": "the context is as wanted"},
        ],
    }


def test_a_sentence_is_made_when_it_is_read_and_once() -> None:
    made: list[str] = []

    def sentence() -> str:
        made.append("now")
        return "because"

    verdict = Verdict("data[0]", False, sentence)
    assert made == []

    assert (verdict.reason, verdict.reason) == ("because", "because")
    assert made == ["now"]
    assert repr(verdict) == "<data[0] rejected: because>"
