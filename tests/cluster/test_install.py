"""What ``argosy install`` prints, against a real API server with a real kubectl: it is taken, it is enough, and it changes nothing twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from argosy.kubernetes import crds
from tests.cluster.controlling import until
from tests.cluster.kinds import serve
from tests.cluster.webhooks import free_port
from tests.examples import snippets
from tests.kubernetes.apiserver import ApiServer

ROOT = Path(__file__).resolve().parents[2]
ARGOSY = Path(sys.executable).with_name("argosy")
KUBECTL = Path(sys.executable).with_name("kubectl")
GROUP = "/apis/argoproj.io/v1alpha1/namespaces"
Object = dict[str, Any]
Apply = Callable[..., str]


def printed(*words: str) -> str:
    """What ``argosy install`` prints."""
    done = subprocess.run([ARGOSY, "install", *words], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def apiserver(apiserver_alone: ApiServer) -> ApiServer:
    """Kinds are removed from it, and a controller sees to all of its namespaces."""
    return apiserver_alone


@pytest.fixture
def kubectl(apiserver: ApiServer, tmp_path: Path) -> Apply:
    """The real kubectl, as an administrator; its output."""
    config = apiserver.kubeconfig(tmp_path / "kubeconfig")

    def run(*words: str, stdin: str = "") -> str:
        done = subprocess.run(
            [KUBECTL, *words],
            input=stdin,
            env={"KUBECONFIG": str(config), "HOME": str(tmp_path), "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"kubectl {' '.join(words)}:\n{done.stdout}{done.stderr}"
        return done.stdout

    return run


@pytest.fixture
def apply(kubectl: Apply) -> Apply:
    """Server-side apply of a text, as the documentation says it."""

    def run(text: str, *words: str) -> str:
        return kubectl("apply", "--server-side", *words, "-f", "-", stdin=text)

    return run


def versions(server: ApiServer, text: str) -> dict[str, str]:
    """The resource version of every object of a text, as the API server has it."""
    found = {}
    for each in yaml.safe_load_all(text):
        live = server.request("GET", server.path(each))
        found[f"{each['kind']} {each['metadata']['name']}"] = live["metadata"]["resourceVersion"]
    return found


@pytest.fixture(scope="module")
def kinds(apiserver: ApiServer) -> None:
    """Our kinds are served; to apply them is most of the work of an API server here."""
    serve(apiserver)


def test_applied_twice_it_changes_nothing(apiserver: ApiServer, apply: Apply, namespace: str) -> None:
    # Given an installation that was applied
    text = printed("--namespace", namespace)
    apply(text, "--force-conflicts")
    before = versions(apiserver, text)
    # When it is applied once more
    apply(text)
    # Then no object is written, and nothing was left out
    assert versions(apiserver, text) == before
    assert len(before) == text.count("\nkind: ")
    remove_webhooks(apiserver, text)


@pytest.mark.usefixtures("kinds")
@pytest.mark.parametrize(
    "words", [("--cluster",), ("--mode", "shared", "--managed-namespace", "a-shop")], ids=["cluster", "shared"]
)
def test_other_installations_change_nothing_either(
    apiserver: ApiServer, apply: Apply, namespace: str, words: tuple[str, ...]
) -> None:
    # Given an installation of another shape, without the kinds
    apiserver.namespace("a-shop")
    text = printed("--namespace", namespace, "--without", "crds", *words)
    apply(text)
    before = versions(apiserver, text)
    # When it is applied once more
    apply(text)
    # Then no object is written
    assert versions(apiserver, text) == before
    remove_webhooks(apiserver, text)


def remove_webhooks(server: ApiServer, text: str) -> None:
    """Nobody answers in other tests."""
    for each in yaml.safe_load_all(text):
        if each["kind"] == "ValidatingWebhookConfiguration":
            server.request("DELETE", server.path(each))


def document(text: str, kind: str, name: str) -> Object:
    """One of these documents."""
    found: Object
    (found,) = (each for each in yaml.safe_load_all(text) if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return found


@pytest.fixture
def started(apiserver: ApiServer, tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Starts the container of a Deployment as a process, with the pod's words and its account's token; the file of its log."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(text: str, name: str, namespace: str, *words: str) -> Path:
        account = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}"
        token = apiserver.request(
            "POST", f"{account}/token", {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        )
        apiserver.tokens[name] = token["status"]["token"]
        config = apiserver.kubeconfig(tmp_path / f"{name}.kubeconfig", name, namespace=namespace)
        one = document(text, "Deployment", name)["spec"]["template"]["spec"]["containers"][0]
        fields = {"metadata.namespace": namespace, "metadata.name": f"{name}-1"}
        env = {e["name"]: e.get("value") or fields[e["valueFrom"]["fieldRef"]["fieldPath"]] for e in one["env"]}
        log = tmp_path / f"{name}.log"
        with log.open("ab") as output:
            processes.append(
                subprocess.Popen(
                    [ARGOSY, *one["args"], "--log-format", "json", *words],
                    env={**os.environ, **env, "KUBECONFIG": str(config)},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                )
            )
        return log

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.usefixtures("kinds")
@pytest.mark.parametrize("words", [(), ("--cluster",)], ids=["namespaced", "cluster"])
def test_the_controllers_rights_are_enough(
    apiserver: ApiServer,
    apply: Apply,
    namespace: str,
    started: Callable[..., Path],
    tmp_path: Path,
    words: tuple[str, ...],
) -> None:
    # Given an installation, and its controller running as it says, with the configuration of its ConfigMap
    text = printed("--namespace", namespace, "--without", "admission", "--without", "crds", *words)
    apply(text)
    config = tmp_path / "controller-config.yaml"
    config.write_text(document(text, "ConfigMap", "argosy-controller-config")["data"][config.name])
    ports = ("--host", "127.0.0.1", "--metrics-port", str(free_port()), "--health-port", str(free_port()))
    log = started(text, "argosy-controller", namespace, *ports, "--config", str(config))
    # When a bus, an event source and a sensor are applied
    for each in objects(namespace):
        apiserver.apply(each)
    # Then their pods are asked for, with the image that was said
    for name in ("web-eventsource", "greeter-sensor"):
        made = until(lambda name=name: deployments(apiserver, namespace).get(name), name)  # type: ignore[misc]
        assert made["spec"]["template"]["spec"]["containers"][0]["image"] == "argosy:0.1.0"
    # And a status is written
    until(lambda: conditions(apiserver, namespace, "sensors", "greeter").get("Deployed") == "True", "Deployed")
    # And when they go, all goes, and nothing was forbidden meanwhile
    for plural, name in (("sensors", "greeter"), ("eventsources", "web"), ("eventbus", "default")):
        apiserver.request("DELETE", f"{GROUP}/{namespace}/{plural}/{name}")
    until(lambda: not apiserver.request("GET", f"{GROUP}/{namespace}/eventbus")["items"], "the bus goes")
    until(lambda: "argosy-api" not in secrets(apiserver, namespace), "the token goes")
    assert not [line for line in log.read_text().splitlines() if "forbidden" in line]


@pytest.mark.usefixtures("kinds")
@pytest.mark.parametrize("words", [(), ("--cluster",)], ids=["namespaced", "cluster"])
def test_the_admission_servers_rights_are_enough(
    apiserver: ApiServer, apply: Apply, namespace: str, started: Callable[..., Path], words: tuple[str, ...]
) -> None:
    # Given an installation, and its admission server running as it says
    text = printed("--namespace", namespace, "--without", "crds", *words)
    apply(text)
    (webhook,) = (each for each in yaml.safe_load_all(text) if each["kind"] == "ValidatingWebhookConfiguration")
    path = apiserver.path(webhook)
    ports = ("--host", "127.0.0.1", "--port", str(free_port()), "--admin", f"127.0.0.1:{free_port()}")
    log = started(text, "argosy-admission", namespace, *ports)
    # When it has started
    try:
        until(lambda: all("caBundle" in one["clientConfig"] for one in apiserver.request("GET", path)["webhooks"]))
        # Then the API server trusts it still after the installation was applied again
        apply(text)
        assert all("caBundle" in one["clientConfig"] for one in apiserver.request("GET", path)["webhooks"])
    finally:
        remove_webhooks(apiserver, text)
    # And nothing was forbidden
    assert "forbidden" not in log.read_text(), log.read_text()


def objects(namespace: str) -> list[Object]:
    def one(kind: str, name: str, spec: Object) -> Object:
        about = {"name": name, "namespace": namespace}
        return {"apiVersion": "argoproj.io/v1alpha1", "kind": kind, "metadata": about, "spec": spec}

    return [
        one("EventBus", "default", {"jetstream": {"version": "latest", "replicas": 3}}),
        one("EventSource", "web", {"webhook": {"hello": {"port": "12000", "endpoint": "/hello", "method": "POST"}}}),
        one(
            "Sensor",
            "greeter",
            {
                "dependencies": [{"name": "d", "eventSourceName": "web", "eventName": "hello"}],
                "triggers": [{"template": {"name": "t", "log": {}}}],
            },
        ),
    ]


def deployments(server: ApiServer, namespace: str) -> dict[str, Object]:
    found = server.request("GET", f"/apis/apps/v1/namespaces/{namespace}/deployments")["items"]
    return {each["metadata"]["name"]: each for each in found}


def secrets(server: ApiServer, namespace: str) -> set[str]:
    found = server.request("GET", f"/api/v1/namespaces/{namespace}/secrets")["items"]
    return {each["metadata"]["name"] for each in found}


def conditions(server: ApiServer, namespace: str, plural: str, name: str) -> dict[str, str]:
    live = server.request("GET", f"{GROUP}/{namespace}/{plural}/{name}")
    return {one["type"]: one["status"] for one in (live.get("status") or {}).get("conditions") or ()}


def test_the_page_shows_what_is_shown(
    apiserver: ApiServer, tmp_path: Path, kubectl: Apply, started: Callable[..., Path]
) -> None:
    # Given a reader of the page, who has printed the installation, and no kinds of anybody
    page = ROOT / "docs" / "how-to" / "kubernetes.md"
    for name, text in snippets.files(page).items():
        (tmp_path / name).write_text(text)
    text = printed("--image", "images.example/argosy:0.1.0")
    (tmp_path / "argosy.yaml").write_text(text)
    kubectl(
        "delete",
        "crds",
        "eventbus.argoproj.io",
        "eventsources.argoproj.io",
        "sensors.argoproj.io",
        "--ignore-not-found",
    )
    path = os.pathsep.join([str(KUBECTL.parent), os.environ["PATH"]])
    environment = {**os.environ, "KUBECONFIG": str(tmp_path / "kubeconfig"), "PATH": path}
    steps = [step for one in snippets.read(page) if one.mark == "on a cluster" for step in snippets.steps(one)]
    assert len(steps) == 4

    def typed(command: str) -> str:
        done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True)
        return done.stdout + done.stderr

    for place, step in enumerate(steps):
        # When a command is typed, then it prints what the page shows; what is made takes a moment
        end = time.monotonic() + (0 if step.command.startswith("kubectl apply") else 20)
        while (line := snippets.missing(step.shows, said := typed(step.command))) is not None:
            assert time.monotonic() < end, f"{step.command} does not print {line!r}:\n{said}"
        if place == 0:
            # No pods run here: the controller runs as a process, and nobody can ask the webhook.
            remove_webhooks(apiserver, text)
            serve(apiserver)
            ports = ("--host", "127.0.0.1", "--metrics-port", str(free_port()), "--health-port", str(free_port()))
            started(text, "argosy-controller", "argo-events", *ports)
    # And what is removed as it says is gone
    kubectl("delete", "sensors,eventsources,eventbus", "--all", "-n", "argo-events", "--timeout=30s")


def test_it_takes_the_place_of_upstreams_kinds_and_keeps_their_objects(
    apiserver: ApiServer, apply: Apply, kubectl: Apply, namespace: str
) -> None:
    # Given upstream's definition, applied as its manual says, and an object
    upstream = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "sensors.argoproj.io"},
        "spec": {
            "group": "argoproj.io",
            "names": {
                "kind": "Sensor",
                "listKind": "SensorList",
                "plural": "sensors",
                "shortNames": ["sn"],
                "singular": "sensor",
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": "v1alpha1",
                    "schema": {
                        "openAPIV3Schema": {
                            "properties": {
                                "apiVersion": {"type": "string"},
                                "kind": {"type": "string"},
                                "metadata": {"type": "object"},
                                "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                                "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                            },
                            "required": ["metadata", "spec"],
                            "type": "object",
                        }
                    },
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                }
            ],
        },
    }
    kubectl("replace", "--force", "-f", "-", stdin=json.dumps(upstream))
    until(lambda: "sensors" in kubectl("api-resources", "--api-group", "argoproj.io"), "sensors are served")
    sensor = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Sensor",
        "metadata": {"name": "old", "namespace": namespace},
        "spec": {
            "dependencies": [{"name": "d", "eventSourceName": "web", "eventName": "hello"}],
            "triggers": [{"template": {"name": "t", "log": {}}}],
        },
    }
    kubectl("apply", "-f", "-", stdin=json.dumps(sensor))
    before = apiserver.request("GET", f"{GROUP}/{namespace}/sensors/old")
    # When the installation is applied over it
    text = printed("--namespace", namespace, "--without", "admission")
    apply(text, "--force-conflicts")
    # Then the definition is ours, and the object is as it was
    live = apiserver.request("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/sensors.argoproj.io")
    assert live["spec"]["versions"][0]["additionalPrinterColumns"][0]["name"] == "Ready"
    assert live["spec"]["versions"] == crds.definition("Sensor")["spec"]["versions"]
    after = apiserver.request("GET", f"{GROUP}/{namespace}/sensors/old")
    assert (after["metadata"]["uid"], after["spec"]) == (before["metadata"]["uid"], before["spec"])
