"""The controller and what a namespace shares: its runners, and what pods say of the objects that they serve."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from argosy.kubernetes.crds import definitions
from tests.cluster.controlling import Controller, Space, until
from tests.cluster.objects import exotic, sensor, source
from tests.kubernetes.apiserver import ApiServer

Object = dict[str, Any]
_SHARED, _DEDICATED = {"argosy.dev/mode": "shared"}, {"argosy.dev/mode": "dedicated"}
_addresses = itertools.count(2)


class Pod:
    """A pod that says of objects how they are: a server at an address of its own, as its Pod object says."""

    def __init__(self, space: Space, name: str, labels: dict[str, str]) -> None:
        self.address = f"127.0.77.{next(_addresses)}"
        self.objects: list[Object] = []
        self.tokens: list[str] = []
        pod = self

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                pod.tokens.append(self.headers.get("X-Argosy-Token") or "")
                body = json.dumps({"objects": pod.objects}).encode()
                self.send_response(200 if self.path == "/api/v1/status" else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *words: object) -> None:
                return

        self.server = ThreadingHTTPServer((self.address, 7777), Answers)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        containers = [{"name": "main", "image": "argosy"}]
        about = {"name": name, "labels": labels}
        space.apply({"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": {"containers": containers}})
        status = {"phase": "Running", "podIP": self.address, "podIPs": [{"ip": self.address}]}
        space.patch("Pod", name, {"status": status}, "status")

    def close(self) -> None:
        """End the server."""
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def server(apiserver: ApiServer) -> ApiServer:
    """The API server with the definitions."""
    for one in definitions():
        apiserver.apply_crd(one)
    return apiserver


@pytest.fixture
def space(server: ApiServer) -> Space:
    """A namespace of this test."""
    return Space(server, server.namespace())


@pytest.fixture
def controller(server: ApiServer, space: Space, tmp_path: Path) -> Iterator[Controller]:
    """A controller of that namespace, at work."""
    with Controller(server, space.name, tmp_path, "--no-leader-election") as one:
        until(lambda: one.get("/readyz")[0] == 200, "the controller is ready")
        yield one


@pytest.fixture
def runner(space: Space) -> Iterator[Pod]:
    """The pod of a runner."""
    pod = Pod(space, "runner", {"controller": "argosy-runner", "owner-name": "argosy-runner"})
    yield pod
    pod.close()


def test_what_runs_is_told_by_its_pods(space: Space, controller: Controller) -> None:
    # Given a sensor with a pod of its own
    space.apply(exotic(), sensor())
    until(lambda: space.names("Deployment"), "its Deployment")
    pod = Pod(space, "tell", {"controller": "sensor-controller", "sensor-name": "tell", "owner-name": "tell"})
    try:
        # When the pod tells of it
        said = {
            "lastEvent": "2026-01-01T00:00:00Z",
            "lastFired": "2026-01-01T00:00:01Z",
            "lastError": {"time": "2026-01-01T00:00:02Z", "message": "no"},
            "backlog": 3,
            "deadLetters": 1,
        }
        pod.objects = [{"kind": "Sensor", "namespace": space.name, "name": "tell", "ready": True, **said}]
        # Then its status says so
        until(lambda: said.items() <= (space.get("Sensor", "tell") or {})["status"].items(), "the status")
        secret = space.get("Secret", "argosy-api") or {}
        assert pod.tokens[-1] and "token" in secret["data"]
        # And a pod can say nothing of what is not its own, nor break anything by what it says
        pod.objects = [
            {"kind": "Sensor", "namespace": "kube-system", "name": "tell", "deadLetters": 2},
            {"kind": "Node", "namespace": space.name, "name": "tell"},
            {"kind": "Sensor", "name": ["tell"], "backlog": "many"},
        ]
        until(lambda: (space.get("Sensor", "tell") or {})["status"]["deadLetters"] == 2, "the new count")
        until(controller.quiet, "nothing more to do")
        assert (space.get("Sensor", "tell") or {})["status"]["backlog"] == 3
        assert "a defect" not in controller.log
    finally:
        pod.close()


def test_objects_without_pods_of_their_own_get_a_runner_that_may_read_just_what_they_name(
    server: ApiServer, space: Space, controller: Controller, runner: Pod
) -> None:
    # Given a sensor that acts as its own account, and an event source that names a Secret
    server.service_account(space.name, "maker")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "made-"}}
    make = {"template": {"name": "make", "k8s": {"operation": "create", "source": {"resource": body}}}}
    hooks = source(annotations=_SHARED)
    hooks["spec"]["webhook"]["pushed"]["authSecret"] = {"name": "door", "key": "token"}
    tell = sensor(triggers=[make], template={"serviceAccountName": "maker"})
    tell["metadata"]["annotations"] = _SHARED
    space.apply(exotic(), hooks, tell)
    # Then there is one Deployment for both, and the Service leads to it
    until(lambda: space.names("Deployment") == ["argosy-runner-0"], "the runner")
    service = until(lambda: space.get("Service", "hooks-eventsource-svc"), "the Service")
    assert service["spec"]["selector"]["controller"] == "argosy-runner"
    # And it may do what they need, name by name
    role = until(lambda: space.get("Role", "argosy-runner"), "its Role")
    until(lambda: len((space.get("Role", "argosy-runner") or {})["rules"]) == 4, "the whole Role")
    role = space.get("Role", "argosy-runner") or {}
    named = {rule["resources"][0]: rule["resourceNames"] for rule in role["rules"] if "resourceNames" in rule}
    assert named == {"secrets": ["door"], "serviceaccounts/token": ["maker"]}
    # And they are ready once the runner says so
    until(lambda: space.condition("Sensor", "tell", "Ready").get("reason") == "RunnerNotReady")
    waits = {"kind": "Sensor", "name": "tell", "ready": False, "waitingFor": "the bus cannot be reached"}
    runner.objects = [waits, {"kind": "EventSource", "name": "hooks", "ready": True}]
    until(lambda: space.status("EventSource", "hooks").get("Ready") == "True")
    until(lambda: "the bus cannot be reached" in space.condition("Sensor", "tell", "Ready")["message"])
    # When somebody takes the Role away, it is made again
    space.delete("Role", "argosy-runner")
    until(lambda: space.get("Role", "argosy-runner"), "the Role again")
    # When one is made wrong, the runner goes on with what was right
    space.patch("EventSource", "hooks", {"spec": {"calendar": {"tick": {"interval": "10s"}}}})
    until(lambda: space.condition("EventSource", "hooks", "Ready").get("reason") == "InvalidEventSource")
    assert space.condition("EventSource", "hooks", "Deployed")["reason"] == "Before"
    # When the last of them goes, all of it goes
    space.delete("Sensor", "tell")
    space.delete("EventSource", "hooks")
    for kind in ("Deployment", "Service", "Role", "RoleBinding", "Secret"):
        until(
            lambda kind=kind: not [one for one in space.names(kind) if one not in ("argosy-controller", "maker")],
            f"no {kind} stays",
        )
    until(lambda: not space.get("ServiceAccount", "argosy-runner"), "its account")


def test_who_listens_is_replaced_only_when_the_next_one_listens(
    space: Space, controller: Controller, runner: Pod
) -> None:
    def selected() -> str:
        live = space.get("Service", "hooks-eventsource-svc") or {}
        return str(live["spec"]["selector"]["controller"])

    def mode() -> str:
        return str(((space.get("EventSource", "hooks") or {}).get("status") or {}).get("mode"))

    # Given an event source with pods of its own
    space.apply(exotic(), source(annotations=_DEDICATED))
    until(lambda: space.names("Service"), "its Service")
    space.works("hooks-eventsource")
    until(lambda: space.status("EventSource", "hooks").get("Ready") == "True", "it listens")
    # When it is to be served by the runner, which does not yet do so
    space.apply(source(annotations=_SHARED))
    until(lambda: space.names("Deployment") == ["argosy-runner-0", "hooks-eventsource"], "both are there")
    until(controller.quiet, "nothing more to do")
    assert (selected(), mode()) == ("eventsource-controller", "dedicated")
    # Then its own pods go only when the runner says that it listens
    runner.objects = [{"kind": "EventSource", "name": "hooks", "ready": True}]
    until(lambda: space.names("Deployment") == ["argosy-runner-0"], "the runner alone")
    assert selected() == "argosy-runner"
    until(lambda: mode() == "shared")
    # When it is to have pods of its own again, which are not there yet
    space.apply(source(annotations=_DEDICATED))
    until(lambda: "hooks-eventsource" in space.names("Deployment"), "its own Deployment")
    until(controller.quiet, "nothing more to do")
    assert (selected(), mode()) == ("argosy-runner", "shared")
    # Then the runner lets go only when they are
    space.works("hooks-eventsource")
    until(lambda: mode() == "dedicated", "its own pods serve")
    assert selected() == "eventsource-controller"
    until(lambda: space.names("Deployment") == ["hooks-eventsource"], "the runner goes")


def test_a_controller_of_the_whole_cluster_follows_what_a_namespace_says(
    server: ApiServer, space: Space, tmp_path: Path
) -> None:
    other = Space(server, server.namespace())
    with Controller(server, space.name, tmp_path, "--no-leader-election", everywhere=True) as controller:
        until(lambda: controller.get("/readyz")[0] == 200, "the controller is ready")
        # Given the same in two namespaces, of which neither is the controller's own way
        for one in (space, other):
            one.apply(exotic(), sensor())
            until(lambda one=one: one.names("Deployment") == ["tell-sensor"], "pods of its own")
        # When one namespace says that its objects share runners, and how many
        about = {"annotations": {**_SHARED, "argosy.dev/shards": "2"}}
        server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other.name, **about}})
        # Then they do
        until(lambda: other.names("Deployment") == ["argosy-runner-0", "argosy-runner-1"], "two runners")
        assert space.names("Deployment") == ["tell-sensor"]
        about = {"annotations": {**_SHARED, "argosy.dev/shards": "1"}}
        server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other.name, **about}})
        until(lambda: other.names("Deployment") == ["argosy-runner-0"], "one runner")
        server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other.name, "annotations": {}}})
        until(lambda: other.names("Deployment") == ["tell-sensor"], "pods of its own again")
        assert "a defect" not in controller.log and "forbidden" not in controller.log
