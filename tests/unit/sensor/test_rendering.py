"""Rendering: what an action becomes, without a network, and what became of each parameter on the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from argosy.errors import Rejected
from argosy.event import Event
from argosy.manifests.bundle import loads
from argosy.manifests.sensor import TriggerSpec
from argosy.sensor import rendering
from argosy.sensor.rendering import Offline, Trace

EVENT = Event(
    id="7",
    source="web",
    subject="in",
    type="webhook",
    time="2026-01-01T12:00:00Z",
    data=b'{"body":{"name":"ada","n":1.50,"o":{"b":1}}}',
)
EVENTS = {"dep": EVENT}


def _trigger(template: dict[str, Any], **beside: Any) -> TriggerSpec:
    sensor = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Sensor",
        "metadata": {"name": "s"},
        "spec": {
            "dependencies": [{"name": "dep", "eventSourceName": "web", "eventName": "in"}],
            "triggers": [{"template": {"name": "t", **template}, **beside}],
        },
    }
    bundle = loads(json.dumps(sensor))
    assert bundle.sensors, bundle.findings
    return bundle.sensors[0].triggers[0]


def _parameter(dest: str, **src: Any) -> dict[str, Any]:
    return {"src": {"dependencyName": "dep", **src}, "dest": dest}


def _object(source: dict[str, Any], *parameters: dict[str, Any]) -> TriggerSpec:
    return _trigger({"k8s": {"operation": "create", "source": source, "parameters": list(parameters)}})


RESOURCE = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"who": "-"}}


class TestAnObject:
    def test_it_is_the_sources_with_the_parameters_set(self) -> None:
        spec = _object({"resource": RESOURCE}, _parameter("data.who", dataKey="body.name"))

        done = rendering.rehearse(spec, EVENTS)

        assert done.resource == {**RESOURCE, "data": {"who": "ada"}}
        assert (done.kind, done.block, done.failure, done.unknown) == ("k8s", {"operation": "create"}, "", "")

    def test_the_manifest_is_left_as_it_is(self) -> None:
        spec = _object({"resource": RESOURCE}, _parameter("data.who", dataKey="body.name"))

        rendering.rehearse(spec, EVENTS)

        assert rendering.rehearse(spec, {}).resource == RESOURCE

    @pytest.mark.parametrize("place", ["inline", "file", "configmap"])
    def test_it_may_come_from_what_is_at_hand(self, tmp_path: Path, place: str) -> None:
        # Given the same object in the manifest, beside it, or in a ConfigMap
        text = json.dumps(RESOURCE)
        (tmp_path / "object.yaml").write_text(text)
        source: dict[str, Any] = {
            "inline": text,
            "file": {"path": "object.yaml"},
            "configmap": {"name": "objects", "key": "x"},
        }
        offline = Offline(
            tmp_path, lambda selector: text if (selector.name, selector.key) == ("objects", "x") else None
        )
        # When it is rendered
        done = rendering.rehearse(_object({place: source[place]}), EVENTS, offline)
        # Then it is there
        assert done.resource == RESOURCE

    @pytest.mark.parametrize(
        ("source", "said"),
        [
            ({"url": {"path": "http://127.0.0.1:1/x"}}, "source.url is not fetched offline"),
            ({"git": {"url": "x"}}, "source.git is not fetched offline"),
            ({"s3": {"endpoint": "x"}}, "source.s3 is not fetched offline"),
            ({"configmap": {"name": "gone", "key": "k"}}, "ConfigMap 'gone' with key 'k' is not among the manifests"),
            ({"file": {"path": "x.yaml"}}, "source.file is not fetched offline"),
        ],
    )
    def test_what_only_the_world_has_is_said_and_the_parameters_are_known(self, source: Any, said: str) -> None:
        done = rendering.rehearse(_object(source, _parameter("data.who", dataKey="body.name")), EVENTS)

        assert (done.resource, done.unknown, done.failure) == (None, said, "")
        assert [(each.step, each.value) for each in done.trace] == [("dataKey", "ada")]

    def test_a_text_that_is_no_object_fails_as_the_running_trigger_does(self) -> None:
        done = rendering.rehearse(_object({"inline": "- 1"}), EVENTS)

        assert done.failure == "source.inline holds no object: a Kubernetes object begins with apiVersion and kind"


class TestABlockAndAPayload:
    def test_parameters_are_set_on_the_block_where_there_is_no_object(self) -> None:
        http = {
            "url": "http://x/-",
            "method": "POST",
            "parameters": [_parameter("url", dataTemplate="http://x/{{ .Input.body.name }}")],
            "payload": [_parameter("n", dataKey="body.n", useRawData=True), _parameter("o", dataKey="body.o")],
            "dynamicHeaders": [_parameter("X-Who", dataKey="body.name")],
        }

        done = rendering.rehearse(_trigger({"http": http}), EVENTS)

        assert done.block == {"url": "http://x/ada", "method": "POST", "dynamicHeaders": {"X-Who": "ada"}}
        assert done.payload == b'{"n":1.5,"o":"{\\"b\\":1}"}'
        assert [(each.place, each.parameter.dest, each.step, each.raw) for each in done.trace] == [
            ("block", "url", "dataTemplate", False),
            ("payload", "n", "dataKey", True),
            ("payload", "o", "dataKey", False),
            ("dynamicHeaders", "X-Who", "dataKey", False),
        ]

    def test_a_block_that_its_parameters_break_fails(self) -> None:
        http = {"url": "http://x", "method": "POST", "parameters": [_parameter("timeout", dataKey="body.name")]}

        done = rendering.rehearse(_trigger({"http": http}), EVENTS)

        assert done.failure.startswith("with its parameters set, http is not valid: timeout: ")

    def test_a_reference_to_a_secret_stays_a_reference(self) -> None:
        reference = {"name": "token", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "k"}}}
        http = {"url": "http://x", "method": "POST", "secureHeaders": [reference]}

        assert rendering.rehearse(_trigger({"http": http}), EVENTS).block["secureHeaders"] == [reference]


class TestATemplate:
    def test_its_parameters_come_first_and_may_change_the_block(self) -> None:
        spec = _trigger(
            {"http": {"url": "", "method": "POST"}}, parameters=[_parameter("http.url", value="http://set/here")]
        )

        trace = Trace()
        prepared = rendering.prepare(spec, EVENTS, trace)

        assert (prepared.kind, prepared.config.url) == ("http", "http://set/here")  # type: ignore[attr-defined]
        assert [(each.place, each.step, each.value) for each in trace] == [("template", "value", "http://set/here")]


class TestTheTrace:
    def test_it_ends_with_the_parameter_that_failed_and_says_why(self) -> None:
        good, bad = _parameter("a", dataKey="body.name"), _parameter("b", dataKey="body.gone")
        spec = _object({"resource": RESOURCE}, good, bad, good)

        done = rendering.rehearse(spec, EVENTS)

        assert "path 'body.gone' does not exist" in done.failure
        assert [each.as_dict()["state"] for each in done.trace] == ["set", "failed"]
        with pytest.raises(Rejected, match="body.gone"):
            rendering.complete(rendering.prepare(spec, EVENTS), RESOURCE, EVENTS)

    def test_a_default_is_told_from_a_value_that_was_found(self) -> None:
        spec = _object({"resource": RESOURCE}, _parameter("a", dataKey="body.gone", value="else"))

        (setting,) = rendering.rehearse(spec, EVENTS).trace

        assert setting.as_dict() == {
            "in": "object",
            "index": 0,
            "dependency": "dep",
            "source": {"dataKey": "body.gone", "value": "else"},
            "dest": "a",
            "operation": "overwrite",
            "state": "set",
            "from": "value",
            "value": "else",
            "raw": False,
            "complaints": ["path 'body.gone' does not exist"],
        }

    def test_a_parameter_of_a_dependency_that_did_not_come_is_skipped(self) -> None:
        spec = _object({"resource": RESOURCE}, _parameter("a", dataKey="body.name"))

        (setting,) = rendering.rehearse(spec, {}).trace

        assert setting.as_dict()["state"] == "skipped"
        assert setting.as_dict()["complaints"] == ["no event of 'dep' is here"]

    def test_a_long_value_is_cut(self) -> None:
        assert rendering.shortened("x" * 300) == "x" * 200 + "… (300 characters)"
