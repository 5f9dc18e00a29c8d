"""What upstream's validation refuses (``pkg/reconciler/sensor/validate.go``) is refused here, at the place that is wrong."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from argosy.manifests.loading import from_objects

GOOD: dict[str, Any] = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "Sensor",
    "metadata": {"name": "s"},
    "spec": {
        "dependencies": [
            {
                "name": "d",
                "eventSourceName": "web",
                "eventName": "in",
                "filters": {
                    "exprs": [{"expr": "a == 1", "fields": [{"name": "a", "path": "a"}]}],
                    "data": [{"path": "a", "type": "number", "value": ["1"], "comparator": ">="}],
                    "context": {"type": "webhook"},
                    "time": {"start": "09:00:00", "stop": "17:00:00", "timezone": "Europe/Berlin"},
                },
            },
            {"name": "e", "eventSourceName": "web", "eventName": "out"},
        ],
        "triggers": [
            {
                "template": {
                    "name": "t",
                    "conditionsReset": [{"byTime": {"cron": "0 0 * * *", "timezone": "UTC"}}],
                    "http": {
                        "url": "http://x",
                        "method": "POST",
                        "parameters": [{"src": {"dependencyName": "d", "dataKey": "u"}, "dest": "url"}],
                        "payload": [{"src": {"dependencyName": "d", "dataKey": "b"}, "dest": "b"}],
                    },
                },
                "parameters": [
                    {"src": {"dependencyName": "d", "dataKey": "u"}, "dest": "http.host", "operation": "append"}
                ],
                "policy": {"status": {"allow": [200]}},
            },
            {
                "template": {
                    "name": "k",
                    "k8s": {
                        "operation": "create",
                        "source": {"resource": {"apiVersion": "v1", "kind": "ConfigMap"}},
                        "parameters": [{"src": {"dependencyName": "d", "dataKey": "u"}, "dest": "metadata.name"}],
                    },
                },
                "policy": {"k8s": {"labels": {"done": "true"}}},
            },
            {
                "template": {
                    "name": "w",
                    "argoWorkflow": {
                        "operation": "submit",
                        "source": {
                            "resource": {
                                "apiVersion": "argoproj.io/v1alpha1",
                                "kind": "Workflow",
                                "metadata": {"generateName": "w-"},
                            }
                        },
                    },
                },
            },
        ],
    },
}
GONE = object()
FILTERS = ("dependencies", 0, "filters")
HTTP = ("triggers", 0, "template", "http")
K8S = ("triggers", 1, "template", "k8s")
FLOW = ("triggers", 2, "template", "argoWorkflow")


def _changed(path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    raw = copy.deepcopy(GOOD)
    here: Any = raw["spec"]
    for part in path[:-1]:
        here = here[part]
    if value is GONE:
        del here[path[-1]]
    else:
        here[path[-1]] = value
    return raw


def _errors(raw: dict[str, Any]) -> list[str]:
    """The places of all errors: what keeps the object from running, with what only a second look finds."""
    found = [finding.path for finding in from_objects([raw]).findings if finding.severity == "error"]
    return [re.sub(r"\[(\d+)\]", r".\1", path) for path in found]


def test_the_sensor_that_is_changed_below_is_good() -> None:
    assert _errors(GOOD) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("dependencies",), []),
        (("dependencies",), GONE),
        (("dependencies", 0, "name"), ""),
        (("dependencies", 0, "name"), GONE),
        (("dependencies", 0, "eventSourceName"), ""),
        (("dependencies", 0, "eventName"), GONE),
        (("dependencies", 0, "filtersLogicalOperator"), "OR"),
        (("dependencies", 0, "filtersLogicalOperator"), "&&"),
        ((*FILTERS, "exprLogicalOperator"), "xor"),
        ((*FILTERS, "dataLogicalOperator"), "And"),
        ((*FILTERS, "exprs", 0, "expr"), ""),
        ((*FILTERS, "exprs", 0, "fields"), []),
        ((*FILTERS, "exprs", 0, "fields", 0, "path"), ""),
        ((*FILTERS, "exprs", 0, "fields", 0, "name"), GONE),
        ((*FILTERS, "data", 0, "path"), ""),
        ((*FILTERS, "data", 0, "type"), GONE),
        ((*FILTERS, "data", 0, "type"), ""),
        ((*FILTERS, "data", 0, "value"), []),
        ((*FILTERS, "data", 0, "value", 0), ""),
        ((*FILTERS, "data", 0, "comparator"), "=="),
        ((*FILTERS, "context"), {}),
        ((*FILTERS, "context"), {"id": "1", "specversion": "1.0"}),
        ((*FILTERS, "time", "start"), "09:00"),
        ((*FILTERS, "time", "start"), GONE),
        ((*FILTERS, "time", "stop"), "09:00:00"),
        ((*FILTERS, "time", "timezone"), "Mars/Base"),
        (("triggers",), []),
        (("triggers",), GONE),
        (("triggers", 0, "template"), GONE),
        (("triggers", 0, "template", "name"), ""),
        (("triggers", 1, "template", "name"), "t"),
        (("triggers", 0, "template", "conditionsReset", 0), {}),
        (("triggers", 0, "template", "conditionsReset", 0, "byTime", "cron"), "* * * *"),
        (("triggers", 0, "template", "conditionsReset", 0, "byTime", "cron"), "0 0 0 * * *"),
        (("triggers", 0, "template", "conditionsReset", 0, "byTime", "cron"), ""),
        (("triggers", 0, "template", "conditionsReset", 0, "byTime", "timezone"), "Nowhere"),
        (("triggers", 0, "parameters", 0, "src"), GONE),
        (("triggers", 0, "parameters", 0, "src", "dependencyName"), ""),
        (("triggers", 0, "parameters", 0, "dest"), ""),
        (("triggers", 0, "parameters", 0, "operation"), "replace"),
        (("triggers", 0, "policy", "status"), {}),
        (("triggers", 1, "policy", "k8s"), {}),
        ((*HTTP, "url"), ""),
        ((*HTTP, "url"), GONE),
        ((*HTTP, "method"), "TRACE"),
        ((*HTTP, "method"), "post"),
        ((*HTTP, "parameters", 0, "dest"), ""),
        ((*HTTP, "parameters", 0, "src"), GONE),
        ((*HTTP, "payload", 0, "src"), GONE),
        ((*HTTP, "payload", 0, "src", "dependencyName"), ""),
        ((*HTTP, "payload", 0, "operation"), "add"),
        ((*K8S, "source"), GONE),
        ((*K8S, "operation"), "replace"),
        ((*K8S, "parameters", 0, "dest"), GONE),
        ((*FLOW, "source"), GONE),
        ((*FLOW, "operation"), "start"),
    ],
    ids=lambda part: ".".join(map(str, part)) if isinstance(part, tuple) else None,
)
def test_is_refused_where_it_is_wrong(path: tuple[str | int, ...], value: Any) -> None:
    errors = _errors(_changed(path, value))

    assert errors
    # The place is the field itself, or as near to it as a field that is not there can be shown.
    text = "spec." + ".".join(map(str, path))
    assert any(text.startswith(error) or error.startswith(text) for error in errors), errors


def test_a_payload_entry_of_http_alone_may_have_no_place() -> None:
    assert _errors(_changed((*HTTP, "payload", 0, "dest"), GONE)) == []
    assert _errors(_changed((*HTTP, "payload", 0, "dest"), "")) == []


@pytest.mark.parametrize(
    ("here", "below", "refused"),
    [(True, True, False), (None, None, False), (False, True, True), (True, False, True), (None, False, True)],
)
def test_a_dead_letter_trigger_needs_at_least_once_here_and_below(
    here: bool | None, below: bool | None, refused: bool
) -> None:
    """Upstream wants both written out; here ``atLeastOnce`` is what a trigger is that says nothing."""
    raw = copy.deepcopy(GOOD)
    trigger = raw["spec"]["triggers"][0]
    trigger["dlqTrigger"] = {"template": {"name": "t", "log": {}}}
    for block, given in ((trigger, here), (trigger["dlqTrigger"], below)):
        if given is not None:
            block["atLeastOnce"] = given

    assert bool(_errors(raw)) is refused


def test_a_dead_letter_trigger_is_looked_at_like_any_other() -> None:
    raw = _changed(("triggers", 0, "dlqTrigger"), {"template": {"name": "x", "http": {"method": "POST"}}})

    assert _errors(raw) == ["spec.triggers.0.dlqTrigger.template.http.url"]


def test_a_kind_that_does_not_count_is_looked_at_too() -> None:
    raw = _changed(("triggers", 1, "template", "http"), {"method": "POST"})

    assert _errors(raw) == ["spec.triggers.1.template.http.url"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        # One pair twice in a sensor: refused by upstream on NATS Streaming only, which is served by JetStream here.
        (("dependencies", 1, "eventName"), "in"),
        # Validation wants it, the documents of the field say that it is ``submit`` where nothing is said.
        ((*FLOW, "operation"), GONE),
        (("triggers", 0, "retryStrategy"), {"steps": 0}),
        (("triggers", 0, "retryStrategy"), {"factor": "2.5", "jitter": 0.1, "duration": "1m"}),
        (("triggers", 0, "rateLimit"), {"requestsPerUnit": 1}),
        (("triggers", 0, "rateLimit"), {"unit": "Hour", "requestsPerUnit": 1}),
    ],
)
def test_what_upstream_takes_or_its_documents_allow_is_taken(path: tuple[str | int, ...], value: Any) -> None:
    assert _errors(_changed(path, value)) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        # What stops upstream's process, its trigger, or drops every event when it comes to it, is refused before.
        (("triggers", 0, "rateLimit"), {"requestsPerUnit": 0}),
        (("triggers", 0, "rateLimit"), {"unit": "Second"}),
        (("triggers", 0, "template", "conditions"), "d &&"),
        (("triggers", 0, "template", "conditions"), "d && nobody"),
        (("dependencies", 1, "name"), "d"),
        ((*FILTERS, "data", 0, "type"), "float"),
        ((*FILTERS, "data", 0, "value", 0), "one"),
        ((*FILTERS, "script"), "return ("),
        (("dependencies", 0, "transform"), {"jq": ".a |"}),
    ],
)
def test_what_upstream_takes_and_then_cannot_run_is_refused(path: tuple[str | int, ...], value: Any) -> None:
    assert _errors(_changed(path, value))
