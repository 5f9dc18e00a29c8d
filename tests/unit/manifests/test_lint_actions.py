"""What lint says of the blocks that say what becomes of a trigger's actions: ``forEach``."""

from __future__ import annotations

from typing import Any

import pytest

from argosy.manifests.additions import additions
from argosy.manifests.bundle import Bundle, Finding, from_objects
from argosy.manifests.schema import schema

AT = "spec.triggers[0]."


def bundle(conditions: str = "a", **trigger: Any) -> Bundle:
    source = {"webhook": {name: {"port": "12000", "endpoint": f"/{name}"} for name in "ab"}}
    spec = {
        "dependencies": [{"name": name, "eventSourceName": "web", "eventName": name} for name in "ab"],
        "triggers": [
            {"template": {"name": "t", "conditions": conditions, "log": {}}, **trigger},
            {"template": {"name": "rest", "log": {}, "conditions": "a || b"}},
        ],
    }
    frame = {"apiVersion": "argoproj.io/v1alpha1", "metadata": {"name": "web", "namespace": "default"}}
    return from_objects([{**frame, "kind": "EventSource", "spec": source}, {**frame, "kind": "Sensor", "spec": spec}])


def findings(conditions: str = "a", **trigger: Any) -> list[Finding]:
    return bundle(conditions, **trigger).findings


class TestForEach:
    @pytest.mark.parametrize(
        "block",
        [
            "body.alerts",
            {"path": "body.alerts", "key": "fingerprint", "item": "alert", "maxItems": 10_000},
            {"path": "body.alerts", "dependencyName": "a"},
        ],
    )
    def test_a_block_that_fits_says_nothing(self, block: object) -> None:
        assert findings(forEach=block) == []

    @pytest.mark.parametrize(
        ("conditions", "block", "path", "severity", "words"),
        [
            ("a && b", "x", "forEach", "error", "waits for several dependencies"),
            ("a", {"path": "x", "dependencyName": "b"}, "forEach.dependencyName", "error", "not part of the"),
            ("a", {"path": "x", "dependencyName": "aa"}, "forEach.dependencyName", "error", "did you mean 'a'?"),
            ("a", {"path": "x", "item": "b"}, "forEach", "error", "as a dependency is"),
            ("a || b", {"path": "x", "dependencyName": "b"}, "forEach.dependencyName", "warning", "may hold without"),
        ],
    )
    def test_a_block_that_does_not_fit_the_condition(
        self, conditions: str, block: object, path: str, severity: str, words: str
    ) -> None:
        (finding,) = findings(conditions, forEach=block)

        assert (finding.code, finding.severity, finding.path) == ("for-each-amiss", severity, AT + path)
        assert words in finding.message

    @pytest.mark.parametrize(
        ("block", "path", "words"),
        [
            ({"path": ""}, "forEach.path", "is empty"),
            ({}, "forEach.path", "is missing"),
            ({"path": "x", "maxItems": 0}, "forEach.maxItems", "greater than or equal to 1"),
            ({"path": "x", "maxItems": 10_001}, "forEach.maxItems", "less than or equal to 10000"),
            ({"path": "x", "maxItem": 1}, "forEach.maxItem", "did you mean 'maxItems'?"),
        ],
    )
    def test_what_cannot_be_meant_is_an_error_at_its_place(self, block: object, path: str, words: str) -> None:
        (finding,) = findings(forEach=block)

        assert (finding.severity, finding.path) == ("error", AT + path)
        assert words in finding.message

    @pytest.mark.parametrize("word", ["path", "key"])
    def test_a_path_that_is_never_closed_is_said(self, word: str) -> None:
        (finding,) = findings(forEach={"path": "x", word: 'x.#(a=="b"'})

        assert (finding.code, finding.path) == ("bad-gjson", f"{AT}forEach.{word}")

    def test_the_element_is_a_name_for_parameters_and_the_queues_key(self) -> None:
        src = {"dependencyName": "item", "dataKey": "host"}
        queue = {"concurrency": 4, "key": src}

        assert findings(forEach="x", queue=queue, parameters=[{"src": src, "dest": "log.level"}]) != []
        assert [one.code for one in findings(forEach="x", queue=queue)] == []
        assert [one.code for one in findings(queue=queue)] == ["unknown-dependency"]

    def test_a_dead_letter_trigger_has_the_element_and_no_fan_out_of_its_own(self) -> None:
        below = {"template": {"name": "below", "log": {}}, "atLeastOnce": True}

        assert findings(forEach="x", atLeastOnce=True, dlqTrigger=below) == []
        (finding,) = findings(atLeastOnce=True, dlqTrigger={**below, "forEach": "x"})
        assert (finding.code, finding.path) == ("for-each-amiss", f"{AT}dlqTrigger.forEach")


@pytest.mark.parametrize(("word", "block"), [("forEach", "x")])
def test_strict_upstream_names_the_block_as_ours(word: str, block: object) -> None:
    assert [one.path for one in additions(bundle(**{word: block}))] == [AT + word]


def test_the_schema_takes_the_path_alone_and_the_block() -> None:
    beside = schema("Sensor")["$defs"]["TriggerBlock"]["properties"]

    assert {one.get("type", one.get("$ref")) for one in beside["forEach"]["anyOf"]} == {
        "string",
        "#/$defs/ForEach",
        "null",
    }
    assert beside["forEach"]["x-argosy"] is True
