"""Traps: texts of a sensor that mean something else than they seem to are found with their code and place, and strict quiets its own."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from argosy.manifests.checks.rules import rules
from argosy.manifests.checks.traps import traps
from argosy.manifests.sensor import parse_sensor


def _found(
    dependency: dict[str, Any] | None = None,
    trigger: dict[str, Any] | None = None,
    *,
    strict: bool = False,
    **more: Any,
) -> list[tuple[str, str]]:
    """Codes and places, for a sensor of one dependency ``d``."""
    dependencies = [{"name": "d", "eventSourceName": "web", "eventName": "in", **(dependency or {})}]
    dependencies += [{"name": name, "eventSourceName": "web", "eventName": name} for name in more.get("others", ())]
    one = {"template": {"name": "t", "log": {}}, **(trigger or {})}
    spec = {"strict": strict, "dependencies": dependencies, "triggers": [one]}
    text = yaml.safe_dump(
        {"apiVersion": "argoproj.io/v1alpha1", "kind": "Sensor", "metadata": {"name": "s"}, "spec": spec}
    )
    sensor, problems = parse_sensor(yaml.safe_load(text))
    assert sensor is not None, problems
    found = list(traps(sensor))
    assert all(problem.code in rules() and problem.message for problem in found)
    return [(problem.code, ".".join(map(str, problem.loc)).removeprefix("spec.")) for problem in found]


def _data(kind: str, value: str, comparator: str = "", path: str = "k") -> dict[str, Any]:
    return {"filters": {"data": [{"path": path, "type": kind, "value": [value], "comparator": comparator}]}}


CLAUSE = "dependencies.0.filters.data.0"


class TestAClause:
    @pytest.mark.parametrize(
        ("clause", "code", "place"),
        [
            (_data("number", "5", "<"), "text-counts-as-zero", "value"),
            (_data("number", "0"), "text-counts-as-zero", "value"),
            (_data("number", "1", "!="), "text-counts-as-zero", "value"),
            (_data("bool", "false"), "anything-counts-as-false", "value"),
            (_data("bool", "true", "!="), "comparator-ignored", "comparator"),
        ],
    )
    def test_that_passes_more_than_it_says_is_found_unless_the_sensor_is_strict(
        self, clause: dict[str, Any], code: str, place: str
    ) -> None:
        assert _found(clause) == [(code, f"{CLAUSE}.{place}")]
        assert _found(clause, strict=True) == []

    @pytest.mark.parametrize(
        "clause",
        [
            _data("number", "5", ">"),
            _data("number", "1"),
            _data("bool", "true"),
            _data("bool", "1", "="),
            _data("string", "x", "!="),
        ],
    )
    def test_that_means_what_it_says_is_left_alone(self, clause: dict[str, Any]) -> None:
        assert _found(clause) == []

    @pytest.mark.parametrize(("kind", "comparator"), [("string", ">"), ("bool", "<=")])
    def test_with_a_comparator_that_strict_does_not_take_is_an_error(self, kind: str, comparator: str) -> None:
        assert ("strict-comparator", f"{CLAUSE}.comparator") in _found(_data(kind, "true", comparator), strict=True)

    @pytest.mark.parametrize(
        ("path", "found"),
        [
            ("body.action,body.label", True),
            ('a,b.#(name=="x,y").z', True),
            ("[body.action,body.label]", False),
            ('{a,b}.#(name=="x,y")', False),
            ('b.#(name=="x,y").z', False),
            (r"a\,b", False),
        ],
    )
    def test_with_paths_joined_by_bare_commas_is_found(self, path: str, found: bool) -> None:
        assert _found(_data("string", "x", path=path)) == (
            [("paths-without-brackets", f"{CLAUSE}.path")] if found else []
        )


class TestFilters:
    def test_of_which_one_may_fail_are_found_where_or_joins_them(self) -> None:
        filters = {"filters": {"context": {"type": "t"}, **_data("string", "x")["filters"]}}
        either = {**filters, "filtersLogicalOperator": "or"}

        assert _found(either) == [("undecided-discards", "dependencies.0.filtersLogicalOperator")]
        assert _found(either, strict=True) == []
        assert _found(filters) == []
        assert _found({**_data("string", "x"), "filtersLogicalOperator": "or"}) == []

    def test_that_are_none_and_joined_with_or_are_found(self) -> None:
        empty = {"filters": {}, "filtersLogicalOperator": "or"}

        assert _found(empty) == [("or-without-filter", "dependencies.0.filtersLogicalOperator")]
        assert _found(empty, strict=True) == []

    def test_on_a_context_say_which_attributes_are_not_compared(self) -> None:
        context = {"filters": {"context": {"type": "t", "id": "1", "specversion": "1.0", "time": "now"}}}

        assert [place.rpartition(".")[2] for _, place in _found(context)] == ["id", "specversion", "time"]

    @pytest.mark.parametrize("place", ["filters", "transform"])
    def test_and_transforms_in_lua_lose_items_of_arrays_unless_strict(self, place: str) -> None:
        script = {place: {"script": "return event"}}

        assert _found(script) == [("script-loses-items", f"dependencies.0.{place}.script")]
        assert _found(script, strict=True) == []
        assert _found({"transform": {"script": "return event", "jq": "."}}) == []


class TestNames:
    @pytest.mark.parametrize(
        ("name", "found"), [("1st", True), ("a.b", True), ("not", True), ("a-1_b", False), ("_x", False)]
    )
    def test_that_upstream_cannot_read_in_a_condition_are_found(self, name: str, found: bool) -> None:
        trigger = {"template": {"name": "t", "log": {}, "conditions": name}}

        assert _found({"name": name}, trigger) == ([("condition-name", "dependencies.0.name")] if found else [])
        assert _found({"name": name}) == []

    def test_that_upstream_takes_for_one_are_found(self) -> None:
        assert _found({"name": "a-b"}, others=["a_b"]) == [("names-collide", "dependencies.1.name")]


def _payload(*entries: dict[str, Any], conditions: str = "") -> dict[str, Any]:
    payload = [{"dest": "x", **entry, "src": {"dependencyName": "d", **entry.get("src", {})}} for entry in entries]
    return {"template": {"name": "t", "conditions": conditions, "http": {"url": "http://x", "payload": payload}}}


PAYLOAD = "triggers.0.template.http.payload.0"


class TestAParameter:
    @pytest.mark.parametrize(
        ("entry", "code", "place"),
        [
            ({"src": {"dataKey": "a", "contextKey": "id"}}, "context-outvoted", "src.contextKey"),
            ({"src": {"dataTemplate": "a", "contextTemplate": "b"}}, "context-outvoted", "src.contextTemplate"),
            ({"src": {"dataTemplate": "a", "useRawData": True}}, "raw-without-effect", "src.useRawData"),
            ({"src": {"value": "1", "useRawData": True}}, "raw-without-effect", "src.useRawData"),
            ({"src": {}}, "whole-event", "src"),
            ({"src": {"dataKey": "a"}, "operation": "append"}, "operation-without-effect", "operation"),
            ({"src": {"dataKey": "a,b"}}, "paths-without-brackets", "src.dataKey"),
        ],
    )
    def test_of_a_payload_that_does_not_do_what_it_says_is_found(
        self, entry: dict[str, Any], code: str, place: str
    ) -> None:
        assert _found(trigger=_payload(entry)) == [(code, f"{PAYLOAD}.{place}")]

    def test_of_the_template_and_of_headers_is_looked_at_too(self) -> None:
        headers = [{"src": {"dependencyName": "d"}, "dest": "X"}]
        trigger = {
            "template": {"name": "t", "http": {"url": "http://x", "dynamicHeaders": headers}},
            "parameters": [{"src": {"dependencyName": "d"}, "dest": "http.url"}],
        }

        assert [place for _, place in _found(trigger=trigger)] == [
            "triggers.0.parameters.0.src",
            "triggers.0.template.http.dynamicHeaders.0.src",
        ]

    @pytest.mark.parametrize(
        ("conditions", "src", "found"),
        [
            ("d || e", {"dataKey": "a"}, True),
            ("d || e", {"dataKey": "a", "value": ""}, False),
            ("d && e", {"dataKey": "a"}, False),
            ("d && (e || f)", {"dataKey": "a"}, False),
            ("e || d && f", {"dataKey": "a"}, True),
            ("", {"dataKey": "a"}, False),
            ("d", {"dataKey": "a"}, False),
        ],
    )
    def test_of_a_payload_whose_event_may_be_missing_is_found(
        self, conditions: str, src: dict[str, Any], found: bool
    ) -> None:
        trigger = _payload({"src": src}, conditions=conditions)

        expected = [("event-may-be-missing", f"{PAYLOAD}.src.dependencyName")] if found else []
        assert _found(trigger=trigger, others=["e", "f"]) == expected

    def test_of_a_header_whose_event_may_be_missing_is_found_too(self) -> None:
        headers = [{"src": {"dependencyName": "d", "dataKey": "k"}, "dest": "X"}]
        http = {"url": "http://x", "dynamicHeaders": headers}

        found = _found(trigger={"template": {"name": "t", "conditions": "d || e", "http": http}}, others=["e"])

        place = "triggers.0.template.http.dynamicHeaders.0.src.dependencyName"
        assert found == [("event-may-be-missing", place)]

    def test_that_the_trigger_s_own_parameters_write_is_left_alone(self) -> None:
        trigger = {
            **_payload({"src": {}}),
            "parameters": [{"src": {"dependencyName": "d", "dataKey": "k"}, "dest": "http.payload.0.src.dataKey"}],
        }

        assert _found(trigger=trigger) == []


class TestAPolicy:
    @pytest.mark.parametrize(
        ("template", "policy", "found"),
        [
            ({"http": {"url": "http://x"}}, {"status": {"allow": [200]}}, False),
            ({"http": {"url": "http://x"}}, {"k8s": {"labels": {"a": "b"}}}, True),
            ({"log": {}}, {"status": {"allow": [200]}}, True),
            ({"k8s": {"operation": "create", "source": {"inline": "{}"}}}, {"k8s": {"labels": {"a": "b"}}}, False),
        ],
    )
    def test_that_the_kind_does_not_follow_is_found(
        self, template: dict[str, Any], policy: dict[str, Any], found: bool
    ) -> None:
        (word,) = policy
        trigger = {"template": {"name": "t", **template}, "policy": policy}

        assert _found(trigger=trigger) == ([("policy-without-effect", f"triggers.0.policy.{word}")] if found else [])


def test_a_dead_letter_trigger_is_looked_at_with_its_place() -> None:
    below = {**_payload({"src": {}}), "atLeastOnce": True}

    found = _found(trigger={"atLeastOnce": True, "dlqTrigger": below})

    assert found == [("whole-event", "triggers.0.dlqTrigger.template.http.payload.0.src")]
