"""Filters, parameters and names that do something else than they read, found where certain and silent elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from argosy.manifests.bundle import from_objects, load


def thing(kind: str, name: str, spec: object, namespace: str = "default") -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def source(name: str = "shop", **spec: Any) -> dict[str, Any]:
    return thing("EventSource", name, {"webhook": {"order": {"port": "1", "endpoint": "/x", "method": "POST"}}, **spec})


def sensor(filters: dict[str, Any], **more: Any) -> dict[str, Any]:
    dependency = {"name": "order", "eventSourceName": "shop", "eventName": "order", "filters": filters}
    triggers = [{"template": {"name": "t", "log": {}}, **more.pop("trigger", {})}]
    return thing("Sensor", "orders", {"dependencies": [dependency], "triggers": triggers, **more})


def loud(*objects: dict[str, Any]) -> list[tuple[str, str]]:
    """Findings above a note: their codes and paths."""
    return [(one.code, one.path) for one in from_objects(objects).findings if one.severity != "info"]


def clause(kind: str, *values: str, comparator: str = "", path: str = "body.x", **more: Any) -> dict[str, Any]:
    return {"path": path, "type": kind, "value": list(values), "comparator": comparator, **more}


@pytest.mark.parametrize(
    "clauses",
    [
        [clause("number", "1", comparator=">"), clause("number", "9", comparator="<")],
        [clause("number", "5", comparator=">="), clause("number", "5", comparator="<=")],
        [clause("number", "5", comparator="!="), clause("number", "5", comparator=">=")],
        [clause("number", "1", "9"), clause("number", "5", comparator=">")],
        [clause("number", "1"), clause("number", "2", path="body.y")],
        [clause("number", "1"), clause("number", "2", template="{{ .Input }}")],
        [clause("number", "NaN"), clause("number", "2")],
        [clause("number", "1"), clause("string", "^2$")],
        [clause("bool", "true"), clause("bool", "1")],
        [clause("bool", "true", "false"), clause("bool", "false")],
        [clause("string", "a"), clause("string", "b")],
        [clause("string", "^a"), clause("string", "b$")],
        [clause("string", "^a.$"), clause("string", "^ab$")],
        [clause("string", "^(?i)a$"), clause("string", "^A$")],
        [clause("string", "^a$", comparator="!="), clause("string", "^b$")],
    ],
)
def test_clauses_that_one_value_can_pass_are_no_matter(clauses: list[dict[str, Any]]) -> None:
    assert loud(source(), sensor({"data": clauses})) == []


@pytest.mark.parametrize(
    "clauses",
    [
        [clause("number", "9", comparator=">"), clause("number", "1", comparator="<")],
        [clause("number", "5", comparator=">"), clause("number", "5", comparator="<=")],
        [clause("number", "5", comparator="!="), clause("number", "5")],
        [clause("number", "0x10"), clause("number", "15")],
        [clause("number", "1", "2"), clause("number", "3", comparator=">=")],
        [clause("bool", "true"), clause("bool", "0")],
        [clause("string", "^a$"), clause("string", "^b$", "^c$")],
    ],
)
def test_clauses_that_exclude_each_other_are_found_unless_one_suffices(clauses: list[dict[str, Any]]) -> None:
    assert loud(source(), sensor({"data": clauses})) == [
        ("never-true", "spec.dependencies[0].filters.data[1].value"),
    ]
    assert loud(source(), sensor({"data": clauses, "dataLogicalOperator": "or"})) == []


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ({"source": "shop", "subject": "order", "type": "webhook", "datacontenttype": "application/json"}, []),
        ({"source": "store"}, ["source"]),
        ({"subject": "orders"}, ["subject"]),
        ({"type": "amqp"}, ["type"]),
    ],
)
def test_a_context_that_these_events_never_have_is_found(context: dict[str, str], expected: list[str]) -> None:
    found = loud(source(), sensor({"context": context}))
    assert found == [("never-true", f"spec.dependencies[0].filters.context.{word}") for word in expected]


@pytest.mark.parametrize(
    ("pattern", "advice"),
    [
        ("main", "'^main$'"),
        ("main|dev", "'^(main|dev)$'"),
        ("^main", ""),
        ("main$", ""),
        (".*main", ""),
        (".+", ""),
        (r"\bmain\b", ""),
        (r"\Amain\z", ""),
    ],
)
def test_a_pattern_whose_author_did_not_think_of_its_ends_is_noted(pattern: str, advice: str) -> None:
    found = from_objects([source(), sensor({"data": [clause("string", pattern)]})]).findings
    assert [one.code for one in found] == (["unanchored-regex"] if advice else [])
    assert all(advice in one.message and one.severity == "info" for one in found)


@pytest.mark.parametrize(
    ("path", "fine"),
    [
        ('body.items.#(state=="paid").id', True),
        ('body.items.#(state=="a)b")#', True),
        ("body.a(b", True),
        (r"body.\[x", True),
        ("{body.a,body.b}", True),
        ("body.@tostr", True),
        ('body.items.#(state=="paid"', False),
        ('body.items.#(state=="paid).id', False),
        ("[body.a,body.b", False),
        ("body.{a", False),
    ],
)
def test_a_path_with_an_end_missing_is_found(path: str, fine: bool) -> None:
    found = loud(source(), sensor({"data": [clause("number", "1", path=path)]}))
    assert [code for code, _ in found] == ([] if fine else ["bad-gjson"])


@pytest.mark.parametrize(("at_least_once", "severity"), [(None, "info"), (False, "warning"), (True, "")])
def test_a_retry_is_told_as_far_as_it_is_not_followed(at_least_once: bool | None, severity: str) -> None:
    more = {} if at_least_once is None else {"atLeastOnce": at_least_once}
    found = from_objects([source(), sensor({}, trigger={"retryStrategy": {"steps": 3}, **more})]).findings
    assert [(one.code, one.severity) for one in found] == ([("retry-without-effect", severity)] if severity else [])


@pytest.mark.parametrize(("outer", "inner", "told"), [(True, True, False), (True, None, True), (None, True, True)])
def test_a_dead_letter_trigger_that_upstream_refuses_is_noted(
    outer: bool | None, inner: bool | None, told: bool
) -> None:
    def said(at_least_once: bool | None) -> dict[str, Any]:
        return {} if at_least_once is None else {"atLeastOnce": at_least_once}

    dead = {"template": {"name": "dead", "log": {}}, **said(inner)}
    found = from_objects([source(), sensor({}, trigger={"dlqTrigger": dead, **said(outer)})]).findings
    assert [(one.code, one.severity) for one in found] == ([("retry-without-effect", "info")] if told else [])


def test_events_of_two_kinds_share_addresses() -> None:
    # Given one address in a block of its own, in a webhook block, and on another port
    hook = {"port": "1", "endpoint": "/x", "method": "POST"}
    of = {"repositories": [{"owner": "a", "names": ["b"]}]}
    spec = {"github": {"push": {**of, "webhook": hook}, "other": {**of, "webhook": {**hook, "port": "2"}}}}
    found = from_objects([source(), thing("EventSource", "hub", spec)]).findings
    # Then the one that collides is named, and what it collides with
    (finding,) = [one for one in found if one.code == "duplicate-endpoint"]
    assert (finding.severity, finding.path) == ("warning", "spec.github.push")
    assert "port 1 with /x is taken by event 'order' of EventSource default/shop" in finding.message


def test_paths_that_differ_in_the_name_of_a_variable_are_one() -> None:
    def hook(path: str) -> dict[str, str]:
        return {"port": "1", "endpoint": path, "method": "POST"}

    twice = thing(
        "EventSource", "a", {"webhook": {"one": hook("/a/{id}"), "two": hook("/a/{name}"), "three": hook("/a/")}}
    )
    assert loud(twice) == [("duplicate-endpoint", "spec.webhook.two")]


def test_a_bus_that_the_source_does_not_write_to_is_found() -> None:
    buses = [thing("EventBus", name, {"jetstream": {"version": "latest"}}) for name in ("default", "big")]
    assert loud(*buses, source(eventBusName="big"), sensor({})) == [
        ("other-bus", "spec.dependencies[0].eventSourceName"),
    ]
    assert loud(*buses, source(eventBusName="big"), sensor({}, eventBusName="big")) == []
    assert loud(*buses, source(eventBusName="default"), sensor({})) == []


def codes(*objects: dict[str, Any]) -> list[str]:
    return [one.code for one in from_objects(objects).findings]


def test_nobody_is_told_to_listen_where_it_is_not_known_who_does() -> None:
    # No sensor in the namespace; one with an error; one whose name leads nowhere
    assert codes(source("idle")) == []
    broken = sensor({})
    broken["spec"]["triggers"] = []
    assert "unused-event" not in codes(source("idle"), source(), broken)
    assert "unused-event" not in codes(source("idle"), sensor({}))
    assert codes(
        source("idle", webhook={"e": {"port": "9", "endpoint": "/e", "method": "POST"}}), source(), sensor({})
    ) == ["unused-event"]


def test_a_secret_that_something_else_makes_is_only_noted() -> None:
    wants = source(
        webhook={"order": {"port": "1", "endpoint": "/x", "method": "POST", "authSecret": {"name": "a", "key": "k"}}}
    )
    other = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "b"}, "stringData": {"k": "x"}}
    assert loud(wants, other, sensor({})) == [("unknown-reference", "spec.webhook.order.authSecret")]
    maker = {"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": {"name": "a"}}
    assert loud(wants, other, maker, sensor({})) == []
    # RabbitMQ's operator makes one for each user
    wants["spec"]["webhook"]["order"]["authSecret"]["name"] = "git-user-credentials"
    user = {"apiVersion": "rabbitmq.com/v1beta1", "kind": "User", "metadata": {"name": "git"}}
    assert loud(wants, other, user, sensor({})) == []
    user["metadata"] = {"name": "svn"}
    assert loud(wants, other, user, sensor({})) == [("unknown-reference", "spec.webhook.order.authSecret")]


def test_what_a_cluster_does_not_have_either_is_missing() -> None:
    wants = source(
        webhook={"order": {"port": "1", "endpoint": "/x", "method": "POST", "authSecret": {"name": "a", "key": "k"}}}
    )
    objects = [wants, sensor({})]
    assert {one.severity for one in from_objects(objects).findings if one.code == "unknown-reference"} == {"info"}
    # When the cluster was asked for Secrets and buses, and these are all that it has
    found = load((), live=objects, whole=("Secret", "EventBus")).findings
    said = {
        (one.code, one.severity, one.file) for one in found if one.code in ("unknown-reference", "unknown-event-bus")
    }
    place = f"cluster: EventSource default/{wants['metadata']['name']}"
    assert ("unknown-reference", "warning", place) in said
    assert ("unknown-event-bus", "warning", place) in said
    # But what another project's controller makes may yet come
    maker = {"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": {"name": "a"}}
    found = load((), live=[*objects, maker], whole=("Secret",)).findings
    assert {one.severity for one in found if one.code == "unknown-reference"} == {"info"}


def test_where_something_is_an_error_nothing_less_is_said_of_the_same_place() -> None:
    assert codes(source(), sensor({"script": "return ("})) == ["bad-lua"]


def test_a_dead_letter_trigger_of_a_dead_letter_trigger_is_told() -> None:
    def dead(name: str, **more: Any) -> dict[str, Any]:
        return {"template": {"name": name, "log": {}}, "atLeastOnce": True, **more}

    one = sensor({}, trigger={"atLeastOnce": True, "dlqTrigger": dead("a")})
    assert loud(source(), one) == []
    two = sensor({}, trigger={"atLeastOnce": True, "dlqTrigger": dead("a", dlqTrigger=dead("b"))})
    assert loud(source(), two) == [("no-effect", "spec.triggers[0].dlqTrigger.dlqTrigger")]


@pytest.mark.parametrize("field", [{"errorOnFailedRound": True}, {"loggingFields": {"a": "b"}}])
def test_fields_that_nobody_reads_are_noted(field: dict[str, Any]) -> None:
    (finding,) = from_objects([source(), sensor({}, **field)]).findings
    assert (finding.code, finding.severity, finding.path) == ("no-effect", "info", f"spec.{next(iter(field))}")
