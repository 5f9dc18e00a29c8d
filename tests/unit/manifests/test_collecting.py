"""What lint says of correlate, within, count, absent, batch and debounce: only mistakes that are certain."""

from __future__ import annotations

from typing import Any

import pytest

from argosy.manifests.additions import additions
from argosy.manifests.bundle import Bundle, Finding, from_objects
from argosy.manifests.schema import schema

AT = "spec.triggers[0]."


def _bundle(template: dict[str, Any], **trigger: Any) -> Bundle:
    source = {"webhook": {name: {"port": "12000", "endpoint": f"/{name}"} for name in "abc"}}
    spec = {
        "dependencies": [{"name": name, "eventSourceName": "web", "eventName": name} for name in "abc"],
        "triggers": [
            {"template": {"name": "t", "log": {}, **template}, **trigger},
            {"template": {"name": "rest", "log": {}, "conditions": "a || b"}},
        ],
    }
    frame = {"apiVersion": "argoproj.io/v1alpha1", "metadata": {"name": "web", "namespace": "default"}}
    return from_objects([{**frame, "kind": "EventSource", "spec": source}, {**frame, "kind": "Sensor", "spec": spec}])


def _findings(template: dict[str, Any], **trigger: Any) -> list[Finding]:
    # That nobody waits for c is of no interest here.
    return [one for one in _bundle(template, **trigger).findings if one.code != "unused-dependency"]


@pytest.mark.parametrize(
    ("template", "trigger", "path", "words"),
    [
        ({"conditions": "a && b", "correlate": {"a": "x"}}, {}, "template.correlate", "no path for dependency 'b'"),
        (
            {"conditions": "a", "absent": {"dependency": "c", "after": "1m"}, "correlate": {"a": "x"}},
            {},
            "template.correlate",
            "no path for dependency 'c'",
        ),
        (
            {"conditions": "a && b", "correlate": {"a": "x", "b": "y", "bb": "z"}},
            {},
            "template.correlate.bb",
            "no dependency of this sensor; did you mean 'b'?",
        ),
        ({"conditions": "a", "count": {"b": 2}}, {}, "template.count.b", "not part of the trigger's condition"),
        (
            {"conditions": "a", "absent": {"dependency": "a", "after": "1m"}},
            {},
            "template.absent.dependency",
            "also part",
        ),
        ({"conditions": "a", "absent": {"dependency": "d", "after": "1m"}}, {}, "template.absent.dependency", "is no"),
        (
            {"conditions": "a"},
            {"batch": {"window": "1m", "key": {"dependencyName": "d", "dataKey": "x"}}},
            "batch.key.dependencyName",
            "so no event has this key",
        ),
        (
            {"conditions": "a"},
            {"batch": {"window": "1m"}, "debounce": {"quiet": "1m"}},
            "debounce",
            "exclude each other",
        ),
        (
            {"conditions": "a"},
            {
                "atLeastOnce": True,
                "dlqTrigger": {
                    "template": {"name": "d", "log": {}},
                    "atLeastOnce": True,
                    "batch": {"window": "1m"},
                },
            },
            "dlqTrigger.batch",
            "has no 'batch'",
        ),
    ],
)
def test_what_could_never_work_is_an_error_at_its_place(
    template: dict[str, Any], trigger: dict[str, Any], path: str, words: str
) -> None:
    (found,) = _findings(template, **trigger)

    assert (found.code, found.severity, found.path) == ("collects-amiss", "error", AT + path)
    assert words in found.message


@pytest.mark.parametrize(
    ("template", "trigger", "path"),
    [
        ({"conditions": "a", "count": {"a": 0}}, {}, "template.count.a"),
        ({"conditions": "a", "count": {"a": 1001}}, {}, "template.count.a"),
        ({"conditions": "a && b", "within": "0s"}, {}, "template.within"),
        ({"conditions": "a && b", "within": "-5m"}, {}, "template.within"),
        ({"conditions": "a && b", "within": "soon"}, {}, "template.within"),
        ({"conditions": "a", "absent": {"dependency": "b"}}, {}, "template.absent.after"),
        ({"conditions": "a", "absent": {"dependency": "b", "after": "0s"}}, {}, "template.absent.after"),
        ({"conditions": "a && b", "correlate": {"a": "", "b": "x"}}, {}, "template.correlate.a"),
        ({"conditions": "a && b", "maxPending": 0}, {}, "template.maxPending"),
        ({"conditions": "a"}, {"batch": {}}, "batch.window"),
        ({"conditions": "a"}, {"batch": {"window": "1m", "maxEvents": 0}}, "batch.maxEvents"),
        ({"conditions": "a"}, {"debounce": {"quiet": "0s"}}, "debounce.quiet"),
        ({"conditions": "a"}, {"debounce": {"quiet": "1m", "atMost": "10s"}}, "debounce"),
    ],
)
def test_a_value_that_means_nothing_is_an_error_at_its_place(
    template: dict[str, Any], trigger: dict[str, Any], path: str
) -> None:
    (found,) = _findings(template, **trigger)

    assert (found.severity, found.path) == ("error", AT + path)


@pytest.mark.parametrize("field", [{"within": "5m"}, {"correlate": {"a": "x"}}])
def test_a_field_that_has_nothing_to_do_is_a_warning(field: dict[str, Any]) -> None:
    (found,) = _findings({"conditions": "a", **field})

    assert (found.code, found.severity) == ("no-effect", "warning")


@pytest.mark.parametrize(
    ("template", "trigger"),
    [
        ({"conditions": "a && b", "correlate": {"a": "x", "b": "y"}, "within": "5m", "maxPending": 5}, {}),
        ({"conditions": "a", "correlate": {"a": "x"}, "within": "5m", "count": {"a": 3}}, {}),
        ({"conditions": "a", "count": {"a": 3}, "conditionsReset": [{"byTime": {"cron": "0 0 * * *"}}]}, {}),
        ({"conditions": "a && b", "absent": {"dependency": "c", "after": "5m"}}, {}),
        ({"absent": {"dependency": "c", "after": "5m"}, "correlate": {"a": "x", "b": "x", "c": "x"}}, {}),
        (
            {"conditions": "a"},
            {"batch": {"window": "1m", "maxEvents": 5, "key": {"dependencyName": "a", "dataKey": "x"}}},
        ),
        ({"conditions": "a"}, {"debounce": {"quiet": "1m", "atMost": "1m"}}),
    ],
)
def test_what_works_is_clean_and_named_where_one_must_be_able_to_go_back(
    template: dict[str, Any], trigger: dict[str, Any]
) -> None:
    assert _findings(template, **trigger) == []

    named = {one.path for one in additions(_bundle(template, **trigger))}

    ours = [f"template.{name}" for name in template if name not in ("conditions", "conditionsReset")]
    assert named >= {AT + name for name in [*ours, *trigger]}


def test_a_dependency_that_must_stay_away_is_waited_for() -> None:
    found = _bundle({"conditions": "a", "absent": {"dependency": "c", "after": "5m"}}).findings

    assert found == []


def test_the_schema_has_the_fields() -> None:
    definitions = schema("Sensor")["$defs"]

    assert {"correlate", "within", "count", "absent", "maxPending"} <= set(definitions["TriggerTemplate"]["properties"])
    assert {"batch", "debounce"} <= set(definitions["TriggerBlock"]["properties"])
