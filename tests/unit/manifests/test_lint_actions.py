"""What lint says of the blocks that say what becomes of a trigger's actions: ``forEach``, ``emit``, ``approval``; and what of
``policy`` is ours."""

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


def _sensor(name: str, on: str, **trigger: Any) -> dict[str, Any]:
    """A sensor of one trigger, which waits for ``source/event``."""
    source, _, event = on.partition("/")
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Sensor",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "dependencies": [{"name": "d", "eventSourceName": source, "eventName": event}],
            "triggers": [{"template": {"name": "t", "log": {}}, **trigger}],
        },
    }


def _said(*sensors: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    source = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "EventSource",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"webhook": {"a": {"port": "12000", "endpoint": "/a"}}},
    }
    found = from_objects([*sensors, source]).findings
    return [(one.object, one.code, one.severity, one.path) for one in found]


class TestEmit:
    def test_a_sensor_may_depend_on_what_another_emits(self) -> None:
        first = _sensor(
            "first", "web/a", emit={"eventSourceName": "made", "eventName": "it", "after": ["done", "dead"]}
        )

        assert _said(first, _sensor("second", "made/it")) == []
        assert _said(_sensor("second", "made/it"), first) == []

    def test_without_names_it_is_that_of_the_sensor_and_of_the_trigger(self) -> None:
        assert _said(_sensor("first", "web/a", emit={}), _sensor("second", "first/t")) == []

    def test_a_slip_in_the_name_is_found_as_that_of_an_event_source_is(self) -> None:
        first = _sensor("first", "web/a", emit={"eventName": "billed"})

        ((_, code, severity, path),) = _said(first, _sensor("second", "first/biled"))

        assert (code, severity, path) == ("unknown-event", "error", "spec.dependencies[0].eventName")

    def test_what_a_dead_letter_trigger_emits_counts(self) -> None:
        below = {"template": {"name": "mourn", "log": {}}, "atLeastOnce": True, "emit": {}}

        assert _said(_sensor("first", "web/a", atLeastOnce=True, dlqTrigger=below), _sensor("x", "first/mourn")) == []

    def test_another_bus_is_another_world(self) -> None:
        first, second = _sensor("first", "web/a", emit={}), _sensor("second", "first/t")
        second["spec"]["eventBusName"] = "other"

        assert ("Sensor default/second", "other-bus", "warning", "spec.dependencies[0].eventSourceName") in _said(
            first, second
        )

    def test_an_event_that_an_event_source_has_too_is_a_warning(self) -> None:
        found = _said(_sensor("first", "web/a", emit={"eventSourceName": "web", "eventName": "a"}))

        assert ("Sensor default/first", "emit-amiss", "warning", AT + "emit") in found

    def test_triggers_that_cause_each_other_are_named(self) -> None:
        one = _sensor("one", "two/t", emit={})
        two = _sensor("two", "one/t", emit={})
        aside = _sensor("aside", "one/t", emit={"eventName": "elsewhere"})

        found = [entry for entry in _said(one, two, aside) if entry[1] == "emit-loop"]

        assert [entry[0] for entry in found] == ["Sensor default/one", "Sensor default/two"]

    @pytest.mark.parametrize(
        ("block", "path"),
        [
            ({"after": []}, "emit.after"),
            ({"after": ["failed"]}, "emit.after[0]"),
            ({"maxDepth": 0}, "emit.maxDepth"),
            ({"eventSource": "x"}, "emit.eventSource"),
        ],
    )
    def test_what_cannot_be_meant_is_an_error_at_its_place(self, block: dict[str, Any], path: str) -> None:
        (finding,) = findings(emit=block)

        assert (finding.severity, finding.path) == ("error", AT + path)


class TestApproval:
    @pytest.mark.parametrize("block", ["required", {}, {"expires": "4h"}])
    def test_the_word_or_the_block_says_nothing(self, block: object) -> None:
        assert findings(approval=block) == []

    @pytest.mark.parametrize(
        ("block", "path", "words"),
        [
            ("optional", "approval", "neither 'required' nor a block"),
            (True, "approval", "mapping"),
            ({"expires": "0s"}, "approval.expires", "greater than 0"),
            ({"expires": "soon"}, "approval.expires", "duration"),
        ],
    )
    def test_what_cannot_be_meant_is_an_error_at_its_place(self, block: object, path: str, words: str) -> None:
        (finding,) = findings(approval=block)

        assert (finding.severity, finding.path) == ("error", AT + path)
        assert words in finding.message

    def test_what_is_told_of_approval_has_no_effect_without_it(self) -> None:
        emit = {"after": ["done", "asked", "denied"]}

        assert findings(approval="required", emit=emit) == []
        found = [(one.code, one.path) for one in findings(emit=emit)]
        assert found == [("no-effect", f"{AT}emit.after[1]"), ("no-effect", f"{AT}emit.after[2]")]

    def test_a_key_has_an_effect_beside_it_also_without_concurrency(self) -> None:
        key = {"dependencyName": "a", "dataKey": "k"}

        assert findings(approval="required", queue={"key": key}) == []
        assert [one.code for one in findings(queue={"key": key})] == ["no-effect"]


class TestPolicy:
    def test_what_of_it_is_ours_is_named(self) -> None:
        policy = {
            "k8s": {"conditions": {"Ready": "True"}, "fields": [{"path": "$.a", "value": 1}], "deadline": "5m"},
            "response": {"match": [{"path": "$.ok", "value": True}]},
        }

        found = {one.path for one in additions(bundle(policy=policy))}

        assert found == {AT + "policy." + word for word in ("k8s.conditions", "k8s.fields", "k8s.deadline", "response")}

    @pytest.mark.parametrize(
        ("policy", "path", "words"),
        [
            ({"k8s": {}}, "policy.k8s", "needs one of labels, fields and conditions"),
            ({"k8s": {"labels": {"a": "b"}, "deadline": "0s"}}, "policy.k8s.deadline", "greater than 0"),
            ({"response": {"match": []}}, "policy.response.match", "at least 1"),
            ({"response": {"match": [{"path": "$.a"}]}}, "policy.response.match[0].value", "is missing"),
        ],
    )
    def test_what_cannot_be_meant_is_an_error_at_its_place(self, policy: dict[str, Any], path: str, words: str) -> None:
        (finding,) = findings(policy=policy)

        assert (finding.severity, finding.path) == ("error", AT + path)
        assert words in finding.message

    @pytest.mark.parametrize(
        ("policy", "path"),
        [
            ({"k8s": {"fields": [{"path": "a.b", "value": 1}]}}, "policy.k8s.fields[0].path"),
            ({"response": {"match": [{"path": "$.a[", "value": 1}]}}, "policy.response.match[0].path"),
        ],
    )
    def test_a_path_that_is_none_is_an_error(self, policy: dict[str, Any], path: str) -> None:
        found = {(one.code, one.severity, one.path) for one in findings(policy=policy)}

        assert ("bad-jsonpath", "error", AT + path) in found

    def test_a_kind_that_has_no_answer_in_json_does_not_follow_it(self) -> None:
        (finding,) = findings(policy={"response": {"match": [{"path": "$.ok", "value": True}]}})

        assert (finding.code, finding.path) == ("policy-without-effect", AT + "policy.response")


@pytest.mark.parametrize(("word", "block"), [("forEach", "x"), ("emit", {"eventName": "x"}), ("approval", "required")])
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


@pytest.mark.parametrize(("method", "said"), [("HEAD", 1), ("OPTIONS", 1), ("PUT", 0)])
def test_strict_upstream_names_methods_that_only_we_send(method: str, said: int) -> None:
    sensor = _sensor("first", "web/a")
    sensor["spec"]["triggers"][0]["template"] = {"name": "t", "http": {"url": "http://a", "method": method}}

    found = additions(from_objects([sensor]))

    assert [one.path for one in found] == [AT + "template.http.method"] * said
