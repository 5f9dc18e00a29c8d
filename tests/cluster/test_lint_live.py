"""``argosy lint --live`` and ``argosy status`` against a real API server: manifests judged with what the cluster holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from argosy.kubernetes.crds import definitions
from tests.cli.asking import Said, call
from tests.kubernetes.apiserver import ApiServer

SOURCE = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {name: shop}
spec:
  webhook:
    order: {port: "12000", endpoint: /order, method: POST}
"""
SENSOR = """
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {name: ship}
spec:
  template: {serviceAccountName: shipper}
  dependencies:
    - {name: order, eventSourceName: shop, eventName: order}
  triggers:
    - template:
        name: start
        argoWorkflow:
          operation: submit
          source:
            resource:
              apiVersion: argoproj.io/v1alpha1
              kind: Workflow
              metadata: {generateName: ship-}
              spec: {workflowTemplateRef: {name: parcel}}
"""
TEMPLATE = """
apiVersion: argoproj.io/v1alpha1
kind: WorkflowTemplate
metadata: {name: parcel}
spec: {entrypoint: main, templates: [{name: main, suspend: {}}]}
"""
BUS = """
apiVersion: argoproj.io/v1alpha1
kind: EventBus
metadata: {name: default}
spec: {jetstreamExotic: {url: "nats://nats:4222"}}
"""
ACCOUNT = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "shipper"}}


@pytest.fixture(scope="module")
def apiserver(apiserver_alone: ApiServer) -> ApiServer:
    """All of its namespaces are looked at."""
    return apiserver_alone


@pytest.fixture(scope="module")
def server(apiserver: ApiServer) -> ApiServer:
    """The API server with our definitions."""
    for one in definitions():
        apiserver.apply_yaml(json.dumps(one))
    return apiserver


@pytest.fixture
def ask(server: ApiServer, namespace: str, tmp_path: Path) -> Callable[..., Said]:
    """Call ``argosy`` with a kubeconfig whose context means this test's namespace."""

    def asking(*words: str, user: str = "admin", code: int = 0) -> Said:
        path = server.kubeconfig(tmp_path / f"kubeconfig-{user.rpartition(':')[2]}", user, namespace=namespace)
        said = call(*words, env={"KUBECONFIG": str(path)})
        assert said.code == code, f"{words} ended with {said.code}:\n{said.text}{said.errors}"
        return said

    return asking


def put(server: ApiServer, namespace: str, manifest: Any) -> Any:
    """Apply a manifest, YAML or not, in this namespace."""
    one = yaml.safe_load(manifest) if isinstance(manifest, str) else dict(manifest)
    one["metadata"] = {**one["metadata"], "namespace": namespace}
    return server.apply(one)


def codes(said: Said) -> set[str]:
    """The codes of warnings and errors in an answer in JSON."""
    return {one["code"] for one in said.json["findings"] if one["severity"] != "info"}


def test_what_the_cluster_holds_need_not_be_among_the_files(
    server: ApiServer, namespace: str, ask: Callable[..., Said], tmp_path: Path
) -> None:
    # Given a sensor whose source, template and account are nowhere
    file = tmp_path / "sensor.yaml"
    file.write_text(SENSOR)
    missing = ask("lint", "--live", "--strict", str(file), code=1).text
    for what in (
        "no EventSource 'shop'",
        "WorkflowTemplate 'parcel' is not among these manifests or on the cluster",
        "no EventBus 'default'",
    ):
        assert what in missing
    # When the cluster gets them
    put(server, namespace, SOURCE)
    put(server, namespace, TEMPLATE)
    put(server, namespace, ACCOUNT)
    put(server, namespace, BUS)
    # Then with --live only what the account may not do is left to say
    said = ask("lint", "--live", str(file), "-v")
    assert "unknown-event-source" not in said.text
    assert "on the cluster" not in said.text
    assert f"1 file and namespace {namespace} with 1 EventSource, 1 EventBus, 1 Sensor" in said.text
    # And when the account gets its right, nothing
    rules = [{"apiGroups": ["argoproj.io"], "resources": ["workflows"], "verbs": ["create"]}]
    server.service_account(namespace, "shipper", rules)
    assert codes(ask("lint", "--live", str(file), "-o", "json")) == set()
    # And when it is given another, that is one too many, of the live role
    server.service_account(
        namespace, "shipper", [*rules, {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}]
    )
    surplus = f"cluster: Role {namespace}/shipper: info: gives 'shipper' more than the manifests need: list of nodes"
    assert surplus in ask("lint", "--live", str(file), "-v").text


def test_a_live_object_that_a_file_would_break_is_named(
    server: ApiServer, namespace: str, ask: Callable[..., Said], tmp_path: Path
) -> None:
    # Given a source and a sensor that listens to its event
    put(server, namespace, SOURCE)
    put(server, namespace, SENSOR)
    ask("lint", "--live")
    # When a file renames the event
    file = tmp_path / "source.yaml"
    file.write_text(SOURCE.replace("order:", "orders:"))
    # Then the live sensor is what is wrong, and what was wrong before is not told again
    said = ask("lint", "--live", str(file), code=1)
    assert f"cluster: Sensor {namespace}/ship: error:" in said.text
    assert "Did you mean 'orders'" in said.text or "did you mean 'orders'" in said.text
    assert "parcel" not in said.text
    assert (
        "::error title=unknown-event::cluster: Sensor" in ask("lint", "--live", str(file), "-o", "github", code=1).text
    )
    sarif = ask("lint", "--live", str(file), "-o", "sarif", code=1).json
    of_live = [one for one in sarif["runs"][0]["results"] if "Sensor" in one["message"]["text"]]
    assert [set(one) & {"locations"} for one in of_live] == [{"locations"}]
    assert "physicalLocation" not in of_live[0]["locations"][0]


def test_the_cluster_itself_is_linted_in_one_namespace_or_all(
    server: ApiServer, namespace: str, ask: Callable[..., Said]
) -> None:
    # Given a sensor of an event source that nobody has
    put(server, namespace, SENSOR)
    for words in ((), ("-n", namespace), ("-A",)):
        said = ask("lint", "--live", "--strict", *words, code=1)
        assert f"cluster: Sensor {namespace}/ship: warning: there is no EventSource 'shop'" in said.text
    assert "all namespaces with" in ask("lint", "--live", "-A").text


def test_what_may_not_be_read_is_a_note_and_no_error(
    server: ApiServer, namespace: str, ask: Callable[..., Said]
) -> None:
    # Given a user who may read our objects alone
    put(server, namespace, SOURCE)
    put(server, namespace, BUS)
    rules = [{"apiGroups": ["argoproj.io"], "resources": ["eventbus", "eventsources", "sensors"], "verbs": ["list"]}]
    user = server.service_account(namespace, "reader", rules)
    said = ask("lint", "--live", user=user)
    assert f"note: Secret objects of namespace '{namespace}' may not be read" in said.errors
    assert f"namespace {namespace} with 1 EventSource, 1 EventBus: " in said.text
    assert "warning" not in said.text


def test_options_of_live_alone_are_refused_without_it(ask: Callable[..., Said], tmp_path: Path) -> None:
    assert "for --live" in ask("lint", "-n", "x", str(tmp_path), code=2).errors


def test_status_shows_all_objects_and_says_by_its_code_whether_all_is_well(
    server: ApiServer, namespace: str, ask: Callable[..., Said]
) -> None:
    assert "there is no EventBus, EventSource or Sensor" in ask("status").text
    # Given objects that nobody has looked at
    source, sensor = put(server, namespace, SOURCE), put(server, namespace, SENSOR)
    said = ask("status", code=3)
    assert "nobody has looked at it: does the controller run?" in said.text
    # When the controller has
    good = {
        "type": "Deployed",
        "status": "True",
        "reason": "",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    bad = {
        **good,
        "type": "Permitted",
        "status": "False",
        "reason": "Forbidden",
        "message": "create of workflows is missing",
    }
    told = {"conditions": [good, {**good, "type": "Ready"}], "events": 1, "lastEvent": "2026-01-01T00:00:00Z"}
    _say(server, source, told)
    _say(server, sensor, {"conditions": [good, bad, {**bad, "type": "Ready"}], "deadLetters": 2, "backlog": 7})
    # Then the page says how they are, and why not
    said = ask("status", code=3)
    line = next(line for line in said.text.splitlines() if " Sensor " in line).split(maxsplit=8)
    assert line == [
        namespace, "Sensor", "ship", "no", "-", "-", "7", "2", "Permitted False: create of workflows is missing",
    ]  # fmt: skip
    assert "1 of 2 ready, 2 dead letters" in said.text
    objects = ask("status", "-n", namespace, "-o", "json", code=3).json["objects"]
    assert [(one["name"], one["ready"]) for one in objects] == [("shop", True), ("ship", False)]
    # And the code says when all is well
    _say(server, sensor, {"conditions": [{**good, "type": "Ready"}], "deadLetters": 0})
    ask("status", code=0)


def test_status_says_what_may_not_be_listed(server: ApiServer, ask: Callable[..., Said]) -> None:
    said = ask("status", user="nobody", code=1)
    assert "you may not list eventbus in namespace" in said.errors


def _say(server: ApiServer, one: Any, status: Any) -> None:
    server.request(
        "PATCH", server.path(one, subresource="status"), {"status": status}, content="application/merge-patch+json"
    )


def test_standard_input_is_judged_with_the_cluster(
    server: ApiServer, namespace: str, tmp_path: Path, ask: Callable[..., Said]
) -> None:
    # Given a source on the cluster, and a sensor that comes through a pipe
    put(server, namespace, SOURCE)
    config = server.kubeconfig(tmp_path / "config", namespace=namespace)
    said = call("lint", "--live", "-", given=SENSOR.replace("shop", "shopp"), env={"KUBECONFIG": str(config)})
    assert said.code == 1
    assert "<stdin>:8:38: error: there is no EventSource 'shopp'" in said.text
    assert "did you mean 'shop'" in said.text


def test_the_name_in_the_servers_certificate_may_be_another_than_its_address(
    server: ApiServer, namespace: str, tmp_path: Path
) -> None:
    def errors(name: str) -> str:
        config = server.kubeconfig(tmp_path / "config", namespace=namespace)
        config.write_text(config.read_text().replace("    server:", f"    tls-server-name: {name}\n    server:"))
        return call("status", env={"KUBECONFIG": str(config)}).errors

    assert errors("kubernetes.default.svc") == ""
    assert "certificate verify failed" in errors("elsewhere.example")


def test_the_keys_of_a_secret_count_and_its_values_go_nowhere(
    server: ApiServer, namespace: str, ask: Callable[..., Said]
) -> None:
    # Given a source that names a key which its Secret does not have
    put(server, namespace, BUS)
    auth = "authSecret: {name: door, key: token}"
    put(server, namespace, SOURCE.replace("method: POST", f"method: POST, {auth}"))
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "door"}, "stringData": {"tokens": "hunter2"}}
    put(server, namespace, secret)
    said = ask("lint", "--live", "-o", "json")
    assert "Secret 'door' has no key 'token'; did you mean 'tokens'?" in said.text
    assert "hunter2" not in said.text
    # When it has it, nothing is missing
    put(server, namespace, {**secret, "stringData": {"token": "hunter2"}})
    assert codes(ask("lint", "--live", "-o", "json")) == set()
