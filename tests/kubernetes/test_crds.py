"""The CustomResourceDefinitions of Argosy in a real API server: what it takes unchanged, what it refuses, what it shows."""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from argosy import registry
from argosy.cli.main import main
from argosy.kubernetes.crds import KINDS, definition, definitions
from argosy.manifests._yaml import Fault, documents
from argosy.manifests.bundle import from_objects
from argosy.manifests.schema import Kind
from tests.conformance.source import eventually
from tests.examples import snippets
from tests.kubernetes.apiserver import ApiError, ApiServer

Object = dict[str, Any]
API = "argoproj.io/v1alpha1"
ROOT = Path(__file__).parents[2]
CORPUS = ROOT.parent / "shared" / "corpus"


@pytest.fixture(scope="module")
def server(apiserver: ApiServer) -> ApiServer:
    """The API server with the definitions."""
    for one in definitions():
        apiserver.apply_yaml(json.dumps(one))
    return apiserver


def create(server: ApiServer, one: Object, namespace: str, *, query: str = "&dryRun=All") -> Any:
    """As ``kubectl create`` does: what the server does not know is an error."""
    body = {**one, "metadata": {**one["metadata"], "namespace": namespace}}
    plural = {"EventBus": "eventbus", "EventSource": "eventsources", "Sensor": "sensors"}[one["kind"]]
    path = f"/apis/{API}/namespaces/{namespace}/{plural}?fieldValidation=Strict{query}"
    return server.request("POST", path, body)


def ours(text: str) -> Iterator[Object]:
    """The objects of our kinds in a text of YAML."""
    for one in documents(text):
        if not isinstance(one, Fault) and isinstance(one.value, dict) and one.value.get("kind") in KINDS:
            yield one.value


def test_the_files_are_what_the_models_say() -> None:
    # In a process of its own: plug-ins that other tests registered must not show in the files.
    check = subprocess.run([sys.executable, str(ROOT / "tools" / "crds.py"), "--check"], capture_output=True, text=True)
    assert check.returncode == 0, check.stderr


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("EventBus", ("eventbus", "eventbus", ["eb"], "EventBusList")),
        ("EventSource", ("eventsources", "eventsource", ["es"], "EventSourceList")),
        ("Sensor", ("sensors", "sensor", ["sn"], "SensorList")),
    ],
)
def test_the_names_are_upstreams(kind: Kind, names: tuple[Any, ...]) -> None:
    spec = definition(kind)["spec"]
    found = spec["names"]
    assert (found["plural"], found["singular"], found["shortNames"], found["listKind"]) == names
    assert (spec["group"], spec["scope"], [one["name"] for one in spec["versions"]]) == (
        "argoproj.io",
        "Namespaced",
        ["v1alpha1"],
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_server_keeps_the_whole_schema_and_has_room_for_it(kind: Kind, server: ApiServer) -> None:
    made = definition(kind)
    stored = server.request("GET", server.path(made))
    assert stored["spec"]["versions"][0]["schema"] == made["spec"]["versions"][0]["schema"]
    conditions = {one["type"]: one["status"] for one in stored["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}  # NonStructuralSchema would be one more
    # etcd takes 1.5 MiB at most.
    assert len(json.dumps(stored)) < 512 * 1024


def test_the_definitions_explain_every_kind_and_its_fields(server: ApiServer) -> None:
    # What `kubectl explain` reads, some time after the definitions are served
    schemas: Object = {}

    def published() -> bool:
        schemas.update(server.request("GET", "/openapi/v3/apis/argoproj.io/v1alpha1")["components"]["schemas"])
        return all(f"io.argoproj.v1alpha1.{kind}" in schemas for kind in KINDS)

    asyncio.run(eventually(published, "the schemas are published"))
    source = schemas["io.argoproj.v1alpha1.EventSource"]["properties"]["spec"]["properties"]
    for kind in _own(registry.source_kinds(), registry.source):
        block = source[kind]["additionalProperties"]["properties"]
        assert source[kind]["description"], kind
        assert any("description" in one for one in block.values()), kind
    amqp = source["amqp"]["additionalProperties"]["properties"]
    assert amqp["jsonBody"]["description"].startswith("The body is JSON")
    assert amqp["prefetch"]["description"].endswith("Argo Events does not have this field. Default: 64.")
    sensor = schemas["io.argoproj.v1alpha1.Sensor"]["properties"]["spec"]["properties"]
    template = sensor["triggers"]["items"]["properties"]["template"]["properties"]
    for kind in _own(registry.trigger_kinds(), registry.trigger):
        assert template[kind]["description"], kind
    for whole in (sensor["dependencies"], sensor["triggers"]["items"]["properties"]["policy"]):
        assert [*_bare(whole)] == []
    assert template["k8s"]["description"] == "Creates, updates, patches or deletes an object."
    operation = template["k8s"]["properties"]["operation"]
    assert operation["description"].endswith("One of: nothing, create, update, patch, delete, apply.")


def _own(kinds: list[str], load: Callable[[str], Any]) -> list[str]:
    """The kinds of Argosy itself, without those that other tests have registered."""
    return [kind for kind in kinds if load(kind).__module__.startswith("argosy.")]


def _bare(schema: Object, place: str = "") -> Iterator[str]:
    """The fields without a description."""
    for name, one in schema.get("properties", {}).items():
        if not one.get("description"):
            yield f"{place}.{name}"
        yield from _bare(one, f"{place}.{name}")
    if "items" in schema:
        yield from _bare(schema["items"], place)


# What it takes


def _corpus() -> list[tuple[str, Object]]:
    return [
        (path.relative_to(CORPUS).as_posix(), one)
        for path in sorted(CORPUS.rglob("*.yaml"))
        for one in ours(path.read_text())
    ]


def test_every_object_of_the_corpus_comes_back_as_it_was_applied(server: ApiServer, namespace: str) -> None:
    if not CORPUS.is_dir():
        pytest.skip("the corpus folder ../shared/corpus is not beside this checkout")
    found = _corpus()
    assert len(found) > 140
    for name, one in found:
        assert create(server, copy.deepcopy(one), namespace)["spec"] == one["spec"], name


def test_every_example_and_every_manifest_of_the_pages_comes_back_as_it_was_applied(
    server: ApiServer, namespace: str
) -> None:
    sources = [registry.source(kind) for kind in registry.source_kinds()]
    triggers = [registry.trigger(kind) for kind in registry.trigger_kinds()]
    texts = [plugin.example for plugin in (*sources, *triggers) if plugin]
    texts += [snippet.text for snippet in snippets.all_snippets() if snippet.language == "yaml"]
    texts += [path.read_text() for path in (ROOT / "examples").rglob("*.yaml")]
    found = [one for text in texts for one in ours(text) if from_objects([one]).count("error") == 0]
    assert len(found) > 100
    for one in found:
        assert create(server, copy.deepcopy(one), namespace)["spec"] == one["spec"], one["metadata"]["name"]


def sensor(**trigger: Any) -> Object:
    dependency = {"name": "d", "eventSourceName": "s", "eventName": "e"}
    one = {"template": {"name": "t", "log": {}}, **trigger}
    spec = {"dependencies": [dependency], "triggers": [one]}
    return {"apiVersion": API, "kind": "Sensor", "metadata": {"name": "one"}, "spec": spec}


def source(**spec: Any) -> Object:
    return {"apiVersion": API, "kind": "EventSource", "metadata": {"name": "one"}, "spec": spec}


def bus(**spec: Any) -> Object:
    return {"apiVersion": API, "kind": "EventBus", "metadata": {"name": "one"}, "spec": spec}


HOOK = {"port": "12000", "endpoint": "/x", "method": "POST"}
DEAD: Object = {"template": {"name": "u", "log": {}}, "atLeastOnce": True}


@pytest.mark.parametrize(
    "one",
    [
        # Fields that upstream dropped, names in another case, fields that a newer version will have
        sensor() | {"spec": {**sensor()["spec"], "circuit": "a || b", "dependencyGroups": [{"name": "g"}]}},
        source(webhook={"a": {**HOOK, "serverCertPath": "/tls", "Metadata": {"a": "b"}, "later": [1, {"b": None}]}}),
        # A kind of a plug-in that is not installed here
        source(udp={"a": {"port": 5514}}),
        sensor(template={"name": "t", "append": {"path": "x", "parameters": []}}),
        # Free content
        sensor(template={"name": "t", "k8s": {"source": {"resource": {"kind": "X", "spec": {"a": [1, "b", None]}}}}}),
        source(webhook={"a": HOOK}, template={"container": {"env": [{"name": "A", "value": "b"}]}}),
        # What the trigger's own parameters will write
        sensor(
            template={"name": "t", "http": {"url": "", "method": ""}},
            parameters=[{"src": {"dependencyName": "d", "dataKey": "url"}, "dest": "http.url"}],
        ),
        # Text and numbers where either will do
        sensor(retryStrategy={"duration": "10s", "factor": "1.5", "jitter": 0.5, "steps": 3}),
        sensor(retryStrategy={"duration": 1000000000, "factor": 2}),
        sensor(approval="required"),
        sensor(approval={"timeout": "1h"}),
        sensor(forEach="body.alerts"),
        # Nothing is the same as not being there
        sensor(template={"name": "t", "conditions": None, "k8s": {"operation": None, "source": {"resource": {}}}}),
        source(webhook={"a": {**HOOK, "filter": None, "metadata": None}}, eventBusName=None),
        source(webhook={"a": None, "b": HOOK}),
        # A dead-letter trigger of a dead-letter trigger
        sensor(atLeastOnce=True, dlqTrigger={**DEAD, "dlqTrigger": {**DEAD, "dlqTrigger": DEAD}}),
    ],
)
def test_what_upstreams_definitions_take_comes_back_unchanged(one: Object, server: ApiServer, namespace: str) -> None:
    assert create(server, one, namespace)["spec"] == one["spec"]


# What it refuses


@pytest.mark.parametrize(
    ("one", "path", "why"),
    [
        (sensor(template={"log": {}}), "spec.triggers[0].template.name", "Required value"),
        (sensor(template={"name": 5, "log": {}}), "spec.triggers[0].template.name", "must be of type string"),
        (sensor(template="t"), "spec.triggers[0].template", "must be of type object"),
        (sensor(atLeastOnce="yes"), "spec.triggers[0].atLeastOnce", "must be of type boolean"),
        (
            sensor(rateLimit={"requestsPerUnit": 0}),
            "spec.triggers[0].rateLimit.requestsPerUnit",
            "greater than or equal to 1",
        ),
        (
            sensor(rateLimit={"unit": "Day", "requestsPerUnit": 1}),
            "spec.triggers[0].rateLimit.unit",
            "should match '^(|Second|Minute|Hour)$'",
        ),
        (
            sensor(template={"name": "t", "k8s": {"operation": "replace", "source": {"resource": {}}}}),
            "spec.triggers[0].template.k8s.operation",
            "should match '^(|create|update|patch|delete|apply)$'",
        ),
        (
            sensor(template={"name": "t", "argoWorkflow": {"args": "-p a=1"}}),
            "spec.triggers[0].template.argoWorkflow.args",
            "must be of type array",
        ),
        (
            sensor(template={"name": "t", "http": {"url": ["https://a.example"]}}),
            "spec.triggers[0].template.http.url",
            "must be of type string",
        ),
        (sensor(retryStrategy={"steps": "3"}), "spec.triggers[0].retryStrategy.steps", "must be of type integer"),
        (sensor(retryStrategy={"duration": {}}), "spec.triggers[0].retryStrategy.duration", "integer,string"),
        (
            sensor(dlqTrigger={"template": {"name": 5}}),
            "spec.triggers[0].dlqTrigger.template.name",
            "must be of type string",
        ),
        (sensor() | {"spec": {"triggers": [DEAD]}}, "spec.dependencies", "Required value"),
        (sensor() | {"spec": {**sensor()["spec"], "dependencies": []}}, "spec.dependencies", "at least 1 item"),
        (source(webhook={"a": {**HOOK, "port": 12000}}), "spec.webhook.a.port", "must be of type string"),
        (source(webhook={"a": [HOOK]}), "spec.webhook.a", "must be of type object"),
        (source(amqp={"a": {"jsonBody": "true"}}), "spec.amqp.a.jsonBody", "must be of type boolean"),
        (
            source(resource={"a": {"version": "v1", "resource": "pods", "eventTypes": ["CREATE"]}}),
            "spec.resource.a.eventTypes[0]",
            'supported values: "ADD", "UPDATE", "DELETE"',
        ),
        (source(replicas="two"), "spec.replicas", "must be of type integer"),
        (bus(jetstream={"version": 2.1}), "spec.jetstream.version", "must be of type string"),
        (bus(nats={"native": {"auth": "basic"}}), "spec.nats.native.auth", "should match '^(none|token)$'"),
        ({"apiVersion": API, "kind": "EventBus", "metadata": {"name": "one"}}, "spec", "Required value"),
    ],
)
def test_nonsense_is_refused_with_its_place(
    one: Object, path: str, why: str, server: ApiServer, namespace: str
) -> None:
    with pytest.raises(ApiError) as refused:
        create(server, one, namespace)
    assert refused.value.status == 422
    assert f"{path}: " in str(refused.value)
    assert why in str(refused.value)


# What it shows


def test_a_list_shows_how_the_objects_stand(server: ApiServer, namespace: str) -> None:
    # Given a sensor whose controller has told of it
    create(server, sensor(), namespace, query="")
    path = f"/apis/{API}/namespaces/{namespace}/sensors"
    status = {
        "conditions": [{"type": "Deployed", "status": "True"}, {"type": "Ready", "status": "False"}],
        "lastEvent": "2026-01-01T00:00:00Z",
        "lastFired": "2026-01-01T00:00:00Z",
        "deadLetters": 3,
        "something": {"of": "another version"},
    }
    merge = "application/merge-patch+json"
    stored = server.request("PATCH", f"{path}/one/status", {"status": status, "spec": None}, content=merge)
    assert stored["status"] == status
    # The status is a resource of its own
    assert stored["spec"] == sensor()["spec"]

    # When it is listed as kubectl does
    (one,) = server.request("GET", path)["items"]
    assert one["status"]["deadLetters"] == 3
    columns = {
        kind: [one["name"] for one in definition(kind)["spec"]["versions"][0]["additionalPrinterColumns"]]
        for kind in KINDS
    }
    assert columns == {
        "EventBus": ["Ready", "Age"],
        "EventSource": ["Ready", "Events", "Last event", "Age"],
        "Sensor": ["Ready", "Last event", "Last fired", "Dead letters", "Age"],
    }
    table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    request = urllib.request.Request(
        server.url + path, headers={"Authorization": f"Bearer {server.tokens['admin']}", **table}
    )
    with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=str(server.ca))) as answer:
        found = json.load(answer)
    assert [one["name"] for one in found["columnDefinitions"]] == ["Name", *columns["Sensor"]]
    (row,) = found["rows"]
    name, ready, event, fired, dead, age = row["cells"]
    assert (name, ready, dead) == ("one", "False", 3)
    assert all(one for one in (event, fired, age))


def test_objects_that_are_there_survive_the_change_from_upstreams_definitions(
    apiserver: ApiServer, namespace: str
) -> None:
    # Given upstream's definition, which takes anything, and an object that ours would refuse
    numbers = itertools.count()
    minimal = definition("Sensor")
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    properties = {"spec": free, "status": free, "metadata": {"type": "object"}}
    version = minimal["spec"]["versions"][0]
    version["schema"] = {"openAPIV3Schema": {"type": "object", "properties": properties}}
    version.pop("additionalPrinterColumns")
    apiserver.apply_yaml(json.dumps(minimal))
    odd = sensor(atLeastOnce="yes")

    def taken(name: str) -> bool:
        try:
            create(apiserver, {**odd, "metadata": {"name": name}}, namespace, query="")
        except ApiError:
            return False
        return True

    # A definition is at work some time after it is stored
    asyncio.run(eventually(lambda: taken("one"), "upstream's definition is at work"))
    # When ours takes its place
    apiserver.apply_yaml(json.dumps(definition("Sensor")))
    path = f"/apis/{API}/namespaces/{namespace}/sensors"
    asyncio.run(eventually(lambda: not taken(f"two-{next(numbers)}"), "ours is at work"))
    # Then the object is there as it was, and can be changed elsewhere
    assert apiserver.request("GET", f"{path}/one")["spec"] == odd["spec"]
    merge = "application/merge-patch+json"
    changed = {"metadata": {"labels": {"a": "b"}}, "spec": {"eventBusName": "other"}}
    assert apiserver.request("PATCH", f"{path}/one", changed, content=merge)["spec"]["eventBusName"] == "other"


def test_what_is_printed_can_be_read() -> None:
    done = CliRunner().invoke(main, ["crds", "eventbus", "Sensor"])
    assert done.exit_code == 0
    assert list(yaml.load_all(done.stdout, yaml.CSafeLoader)) == [definition("EventBus"), definition("Sensor")]
    assert CliRunner().invoke(main, ["crds", "pod"]).exit_code == 2
