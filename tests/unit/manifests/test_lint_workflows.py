"""Workflows against the templates that they name, and where parameters write: found where certain, silent elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from argosy.manifests.bundle import Finding, from_objects

ARGUMENTS: list[dict[str, Any]] = [{"name": "id"}, {"name": "speed", "value": "normal", "enum": ["normal", "fast"]}]


def thing(kind: str, name: str, spec: object, namespace: str = "default") -> dict[str, Any]:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


SOURCE = thing("EventSource", "shop", {"webhook": {"order": {"port": "1", "endpoint": "/x", "method": "POST"}}})


def template(
    arguments: list[dict[str, Any]] | None = None, *, uses: object = "", kind: str = "WorkflowTemplate", **more: Any
) -> dict[str, Any]:
    spec = {"arguments": {"parameters": ARGUMENTS if arguments is None else arguments}, "templates": [{"args": uses}]}
    return thing(kind, "pack", {**spec, **more})


def workflow(arguments: object, **reference: Any) -> dict[str, Any]:
    spec = {"workflowTemplateRef": {"name": "pack", **reference}, "arguments": {"parameters": arguments}}
    metadata = {"generateName": "pack-"}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": metadata, "spec": spec}


def writes(*dests: str, name: str = "order") -> list[dict[str, Any]]:
    return [{"src": {"dependencyName": name, "dataKey": "body.id"}, "dest": dest} for dest in dests]


def sensor(
    resource: object, *dests: str, kind: str = "k8s", above: tuple[str, ...] = (), **block: Any
) -> dict[str, Any]:
    block = {"operation": "create", "source": {"resource": resource}, "parameters": writes(*dests), **block}
    trigger = {"template": {"name": "t", kind: block}, "parameters": writes(*above)}
    dependency = {"name": "order", "eventSourceName": "shop", "eventName": "order"}
    spec = {
        "template": {"serviceAccountName": "packer"},
        "dependencies": [dependency],
        "triggers": [trigger],
    }
    return thing("Sensor", "orders", spec)


def said(*objects: dict[str, Any]) -> list[Finding]:
    return from_objects([SOURCE, *objects]).findings


def codes(*objects: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one.code, one.severity) for one in said(*objects)]


ID: dict[str, Any] = {"name": "id", "value": "1"}


@pytest.mark.parametrize(
    ("made", "asked"),
    [
        (sensor(workflow([ID])), template()),
        (sensor(workflow([{"name": "id"}]), "spec.arguments.parameters.0.value"), template()),
        (sensor(workflow([{"name": "id", "valueFrom": {"configMapKeyRef": {}}}])), template()),
        (
            sensor(workflow([{"name": "id"}]), above=("k8s.source.resource.spec.arguments.parameters.0.value",)),
            template(),
        ),
        (sensor(workflow([{"name": "id"}]), above=("k8s.source.resource.spec",)), template()),
        (sensor(workflow([{"name": "id"}]), above=("k8s",)), template()),
        # The event decides on all arguments, on a name, or on the template.
        (sensor(workflow([]), "spec.arguments"), template()),
        (sensor(workflow([{"name": "x"}]), "spec.arguments.parameters.0.name"), template()),
        (sensor(workflow([{"name": "x"}]), "spec.workflowTemplateRef.name"), template()),
        (sensor(workflow([]), "spec.arguments.parameters.0.name", "spec.arguments.parameters.0.value"), template()),
        # A value of the event cannot be compared with what is allowed.
        (sensor(workflow([ID, {"name": "speed"}]), "spec.arguments.parameters.1.value"), template()),
        (sensor(workflow([ID, {"name": "speed", "value": "fast"}])), template()),
        (sensor(workflow([ID], clusterScope=True)), template(kind="ClusterWorkflowTemplate")),
        # Surplus for the template, and used all the same.
        (sensor(workflow([ID, {"name": "extra", "value": "1"}])), template(uses=["{{workflow.parameters.extra}}"])),
        (sensor(workflow([ID, {"name": "extra", "value": "1"}])), template(uses="{{workflow.parameters}}")),
        (sensor(workflow([ID, {"name": "extra", "value": "1"}])), template(uses="{{workflow.parameters.json}}")),
        (sensor(workflow([ID, {"name": "extra", "value": "1"}])), template(uses="{{=workflow.parameters['extra']}}")),
        (
            sensor(workflow([ID, {"name": "extra", "value": "1"}])),
            template(steps=[{"templateRef": {"name": "elsewhere"}}]),
        ),
        (sensor(workflow([ID]), operation="delete"), template()),
        (sensor(workflow("nonsense")), template()),
        (sensor(workflow([ID])), template(arguments=[{"name": "id"}, "nonsense", {"value": 1}])),  # type: ignore[list-item]
    ],
)
def test_arguments_that_fit_or_cannot_be_judged_are_no_matter(made: dict[str, Any], asked: dict[str, Any]) -> None:
    assert codes(made, asked) == []


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (sensor(workflow([])), ("missing-parameter", "warning")),
        (sensor(workflow([{"name": "id"}])), ("missing-parameter", "warning")),
        (sensor(workflow([{"name": "Id", "value": "1"}])), ("unknown-parameter", "warning")),
        (sensor(workflow([{"name": "number", "value": "1"}])), ("unknown-parameter", "warning")),
        (sensor(workflow([ID, {"name": "spede", "value": "fast"}])), ("unknown-parameter", "warning")),
        (sensor(workflow([ID, {"name": "extra", "value": "1"}])), ("unknown-parameter", "info")),
        (
            sensor(workflow([ID, {"name": "extra"}]), "spec.arguments.parameters.1.value"),
            ("unknown-parameter", "warning"),
        ),
        (sensor(workflow([ID, {"name": "speed", "value": "slow"}])), ("parameter-value", "warning")),
    ],
)
def test_arguments_that_do_not_fit_are_found(made: dict[str, Any], expected: tuple[str, str]) -> None:
    assert codes(made, template()) == [expected]


def submit_from(
    *args: str, above: tuple[str, ...] = (), kind: str = "WorkflowTemplate", name: str = "pack"
) -> dict[str, Any]:
    resource = {"apiVersion": "argoproj.io/v1alpha1", "kind": kind, "metadata": {"name": name}}
    return sensor(resource, kind="argoWorkflow", operation="submit-from", args=list(args), above=above)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (submit_from("-p", "id=1"), []),
        (submit_from("--parameter=id=1"), []),
        (submit_from(), ["missing-parameter"]),
        (submit_from("-p", "idd=1"), ["unknown-parameter"]),
        (submit_from("-p", "id=1", "-p", "speed=slow"), ["parameter-value"]),
        (submit_from("-p", "id=1", above=("argoWorkflow.args.1",)), []),
        (submit_from("-p", "x=1", above=("argoWorkflow.args.1",)), []),
        (submit_from("-p", "id=1", name="pakc"), ["unknown-workflow-template"]),
    ],
)
def test_templates_that_are_submitted_from_are_checked_too(made: dict[str, Any], expected: list[str]) -> None:
    assert [one.code for one in said(made, template())] == expected


def test_a_workflow_as_text_is_checked_like_one_in_yaml() -> None:
    text = """\
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: pack-}
spec: {workflowTemplateRef: {name: pack}, arguments: {parameters: [{name: speed, value: fast}]}}
"""
    (finding,) = said(sensor(None, source={"inline": text}), template())
    assert (finding.code, finding.path) == ("missing-parameter", "spec.triggers[0].template.k8s.source.inline")


def test_a_template_of_another_namespace_is_named() -> None:
    elsewhere = template()
    elsewhere["metadata"]["namespace"] = "builds"
    (finding,) = said(sensor(workflow([ID])), elsewhere)
    assert finding.code == "unknown-workflow-template"
    assert "there is one in namespace 'builds'" in finding.message


@pytest.mark.parametrize("silent", ["template", "sensor"])
def test_objects_that_leave_their_namespace_to_kubectl_may_meet(silent: str) -> None:
    # Given a template and a sensor of which one does not say where it goes
    asked, made = template(), sensor(workflow([]))
    asked["metadata"]["namespace"] = "builds"
    (asked if silent == "template" else made)["metadata"].pop("namespace")
    # Then the template is taken to be there, and its arguments are compared
    assert [one.code for one in said(asked, made) if one.code != "unknown-event-source"] == ["missing-parameter"]


PLAIN: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "a", "labels": {}},
    "data": {"colour": "red"},
    "items": [1, 2],
}


@pytest.mark.parametrize(
    "made",
    [
        sensor(PLAIN, "data.colours", "data.color", "metadata.labels.colour", "metadata.annotations.a"),
        sensor(PLAIN, "items.-1", "items.2", "items.1"),
        sensor(PLAIN, "items.4", "items.2", "items.3"),
        sensor(PLAIN, "items.#.a", "items.*"),
        sensor(PLAIN, "immutable", "binaryData.x"),
        sensor(workflow([ID]), "spec.arguments.parameters.1.name", "spec.arguments.parameters.1.value"),
        sensor(workflow([ID]), "spec.arguments.parameters.-1"),
        sensor(workflow([ID]), "spec.newFieldOfALaterVersion", "spec.serviceAccountName"),
        sensor(workflow([ID]), above=("name", "conditions", "k8s.operation", "k8s.source.resource.metadata.labels.a")),
        sensor(None, source={"url": {"path": "https://a.example/a.yaml"}}, parameters=writes("any.thing.9")),
    ],
)
def test_places_that_may_be_meant_are_no_matter(made: dict[str, Any]) -> None:
    assert [
        one for one in said(made) if one.code in ("unknown-destination", "destination-beyond-end", "bad-sjson")
    ] == []


@pytest.mark.parametrize(
    ("made", "code", "words"),
    [
        (sensor(PLAIN, "items.5"), "destination-beyond-end", "'items', which has 2 entries"),
        (sensor(PLAIN, "items.first"), "bad-sjson", "on an array"),
        (sensor(PLAIN, "metdata.name"), "unknown-destination", "did you mean 'metadata'?"),
        (sensor(PLAIN, "metadata.label.a"), "unknown-destination", "did you mean 'labels'?"),
        (
            sensor(workflow([ID]), "spec.argument.parameters.0.value"),
            "unknown-destination",
            "did you mean 'arguments'?",
        ),
        (sensor(workflow([ID]), "spec.arguments.params.0.value"), "unknown-destination", "'spec.arguments'"),
        (sensor(workflow([ID]), "spec.arguments.parameters.0.valeu"), "unknown-destination", "did you mean 'value'?"),
        (sensor(workflow([ID]), "spec.arguments.parameters.1.value"), "destination-beyond-end", "without a name"),
        (sensor(workflow([ID]), above=("k9s.operation",)), "unknown-destination", "did you mean 'k8s'?"),
        (sensor(workflow([ID]), above=("k8s.operaton",)), "unknown-destination", "did you mean 'operation'?"),
        (sensor(workflow([ID]), above=("k8s.source.resource.spec.argument.x",)), "unknown-destination", "'arguments'"),
    ],
)
def test_places_that_cannot_be_meant_are_found(made: dict[str, Any], code: str, words: str) -> None:
    (finding,) = [one for one in said(made) if one.code != "no-service-account"]
    assert (finding.code, finding.severity) == (code, "warning")
    assert words in finding.message


def test_a_place_in_the_block_of_a_kind_without_object_is_checked_by_its_fields() -> None:
    made = thing(
        "Sensor",
        "orders",
        {
            "dependencies": [{"name": "order", "eventSourceName": "shop", "eventName": "order"}],
            "triggers": [
                {
                    "template": {
                        "name": "t",
                        "http": {
                            "url": "https://a.example",
                            "method": "POST",
                            "parameters": writes("url", "headers.X-Any", "tls.caCertSecrets.name", "basicAuth.pasword"),
                        },
                    }
                }
            ],
        },
    )
    found = said(made)
    assert [one.code for one in found] == ["unknown-destination"] * 2
    assert "'tls' of a 'http' trigger has no field 'caCertSecrets'; did you mean 'caCertSecret'?" in found[0].message
    assert "did you mean 'password'?" in found[1].message


def test_a_place_in_an_object_that_a_server_of_ones_own_gives_is_not_judged() -> None:
    custom = {"serverURL": "server:9000", "spec": {"a": "b"}, "parameters": writes("metadata.namespace")}
    made = thing(
        "Sensor",
        "orders",
        {
            "dependencies": [{"name": "order", "eventSourceName": "shop", "eventName": "order"}],
            "triggers": [{"template": {"name": "t", "custom": custom}}],
        },
    )
    assert [one for one in said(made) if one.code == "unknown-destination"] == []
