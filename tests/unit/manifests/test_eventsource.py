"""An EventSource is read against the plug-ins that are installed, with upstream's rules for the whole."""

from typing import Any

import pytest

from argosy.manifests.eventsource import EventSource, declared_events, parse_event_source
from argosy.manifests.findings import Problem, path_text

pytestmark = pytest.mark.usefixtures("toys")


def manifest(spec: object, **metadata: object) -> dict[str, Any]:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "EventSource",
        "metadata": {"name": "s", **metadata},
        "spec": spec,
    }


def parsed(spec: object) -> tuple[EventSource | None, dict[str, Problem]]:
    made, problems = parse_event_source(manifest(spec))
    return made, {path_text(problem.loc): problem for problem in problems}


HOOK = {"endpoint": "/e", "port": "12000"}


def test_events_carry_their_kinds_configuration() -> None:
    # Given two events of an installed kind
    made, problems = parsed({"eventBusName": "b", "toyHook": {"one": HOOK, "two": {**HOOK, "retries": 3}}})
    # Then each has its own model and its own digest
    assert problems == {}
    assert made is not None
    assert made.event_bus_name == "b"
    assert [(event.kind, event.name) for event in made.events] == [("toyHook", "one"), ("toyHook", "two")]
    assert made.events[1].config.model_dump()["retries"] == 3
    assert made.events[1].config_raw == {**HOOK, "retries": 3}
    assert made.events[0].digest != made.events[1].digest


def test_the_digest_names_the_content_and_not_the_writing() -> None:
    one, _ = parse_event_source(manifest({"toyHook": {"e": {"endpoint": "/e", "port": "1"}}}, labels={"a": "b"}))
    two, _ = parse_event_source(manifest({"toyHook": {"e": {"port": "1", "endpoint": "/e"}}}))
    three, _ = parse_event_source(manifest({"toyHook": {"e": {"port": "2", "endpoint": "/e"}}}))
    assert one and two and three
    assert one.digest == two.digest != three.digest


def test_defaults_are_upstreams() -> None:
    made, _ = parsed({"toyHook": {"e": HOOK}})
    assert made is not None
    assert made.event_bus_name == "default"
    assert made.metadata.namespace == "default"


def test_pod_fields_are_kept_as_they_stand() -> None:
    spec = {
        "toyHook": {"e": HOOK},
        "replicas": 2,
        "template": {"container": {"env": [{"name": "A", "value": None}]}},
        "service": {"ports": [{"port": 12000, "targetPort": 12000}]},
    }
    made, problems = parsed(spec)
    assert problems == {}
    assert made is not None
    assert made.spec.template == spec["template"]
    assert made.spec.service == spec["service"]


def test_an_event_with_a_filter_expression_runs() -> None:
    made, problems = parsed({"toyHook": {"e": HOOK, "f": {**HOOK, "filter": {"expression": "body.x == 1"}}}})
    assert problems == {}
    assert made is not None
    assert [event.name for event in made.events] == ["e", "f"]


def test_an_unknown_kind_is_named_with_its_neighbour() -> None:
    made, problems = parsed({"toyHok": {"e": HOOK}})
    assert made is None
    assert problems["spec.toyHok"].message == "unknown field 'toyHok'; did you mean 'toyHook'?"


@pytest.mark.parametrize("word", ["a.b", "", "_base", "toy hook", "argosy", "eventBus"])
def test_a_word_that_is_no_kind_is_never_imported(word: str) -> None:
    made, problems = parsed({word: {"e": {}}})
    assert made is None
    assert [problem.code for problem in problems.values()] == ["unknown-field"]


def test_every_fault_of_every_event_is_said() -> None:
    _, problems = parsed({"replicas": "2", "toyHook": {"e": {"endpoint": "/e"}, "f": {"port": 1, "endpoint": 2}}})
    assert set(problems) == {
        "spec.replicas",
        "spec.toyHook.e.port",
        "spec.toyHook.f.port",
        "spec.toyHook.f.endpoint",
    }


def test_event_names_differ_across_kinds() -> None:
    made, problems = parsed({"toyHook": {"e": HOOK}, "webhook": {"e": HOOK}})
    assert made is None
    assert problems["spec.webhook.e"].code == "duplicate-name"
    _, listed = parse_event_source(manifest({"toyHook": {"e": HOOK}, "webhook": {"e": HOOK}}))
    assert "duplicate-name" in [problem.code for problem in listed]


@pytest.mark.parametrize(
    ("spec", "mixed"),
    [
        ({"toyHook": {"a": HOOK}, "toyPoll": {"b": {}}}, True),
        ({"toyHook": {"a": HOOK}, "webhook": {"b": {}}}, False),
        ({"toyPoll": {"a": {}}, "kafka": {"b": {}}}, False),
        ({"toyHook": {"a": HOOK}, "kafka": {"b": {}}}, True),
        ({"toyHook": {"a": HOOK}, "kafka": {}}, False),
    ],
)
def test_kinds_with_one_receiver_do_not_stand_beside_the_others(spec: dict[str, Any], mixed: bool) -> None:
    _, problems = parse_event_source(manifest(spec))
    assert ("mixed-kinds" in [problem.code for problem in problems]) == mixed


def test_a_plug_in_that_cannot_be_imported_is_said_and_no_more() -> None:
    made, problems = parsed({"toyBroken": {"e": {}}})
    assert made is None
    assert "cannot be imported" in problems["spec.toyBroken"].message


def test_an_event_may_be_empty_where_its_kind_allows() -> None:
    made, problems = parsed({"toyPoll": {"e": None}})
    assert problems == {}
    assert made is not None
    assert made.events[0].config_raw == {}


@pytest.mark.parametrize("spec", [{}, {"toyHook": {}}, {"toyHook": None}])
def test_a_source_without_events_is_a_warning(spec: dict[str, Any]) -> None:
    made, problems = parsed(spec)
    assert made is not None
    assert [problem.code for problem in problems.values()] == ["no-events"]


def test_an_obsolete_type_is_a_warning() -> None:
    made, problems = parsed({"type": "webhook", "toyHook": {"e": HOOK}})
    assert made is not None
    assert problems["spec.type"].severity == "warning"


@pytest.mark.parametrize(
    ("change", "path", "code"),
    [
        ({"apiVersion": "argoproj.io/v1"}, "apiVersion", "api-version"),
        ({"metadata": None}, "metadata", "missing-field"),
        ({"metadata": {}}, "metadata.name", "missing-field"),
        ({"metadata": {"name": ""}}, "metadata.name", "invalid-value"),
        ({"metadata": {"name": "a", "labels": {"x": 1}}}, "metadata.labels.x", "wrong-type"),
        ({"spec": None}, "spec", "missing-field"),
        ({"spec": []}, "spec", "wrong-type"),
        ({"sepc": {}}, "sepc", "unknown-field"),
    ],
)
def test_the_frame_is_checked(change: dict[str, Any], path: str, code: str) -> None:
    made, problems = parse_event_source({**manifest({"toyHook": {"e": HOOK}}), **change})
    assert made is None
    assert (path, code) in [(path_text(problem.loc), problem.code) for problem in problems]


def test_status_and_what_the_cluster_adds_are_taken() -> None:
    raw = manifest({"toyPoll": {"e": {}}}, uid="u", creationTimestamp=None, managedFields=[{}], namespace="")
    made, problems = parse_event_source({**raw, "status": {"conditions": []}})
    assert problems == []
    assert made is not None
    assert made.metadata.namespace == "default"


def test_events_of_a_faulty_object_are_still_known_by_name() -> None:
    assert declared_events(manifest({"toyHook": {"a": {}}, "nonsense": {"b": 1}, "replicas": 1})) == {
        "a",
        "b",
    }
    assert declared_events({"spec": 5}) == set()
