"""The move of a namespace from Argo Events' controller to ours, on a real API server: reported, held back, done object by object.

Argo Events' controller does not run here. What it would have made is made as it makes it: Deployments with drawn names, its labels, owner
references and finalizers (``pkg/reconciler/{eventsource,sensor}`` of Argo Events).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.controlling import Controller, Space, until
from tests.cluster.kinds import serve
from tests.kubernetes.apiserver import ApiServer

ARGOSY = Path(sys.executable).with_name("argosy")
Object = dict[str, Any]
API = "argoproj.io/v1alpha1"
THEIRS = {"argosy.dev/controller": "argo-events"}


def thing(kind: str, name: str, spec: Object, *finalizers: str) -> Object:
    about = {"name": name, "annotations": THEIRS, "finalizers": list(finalizers)}
    return {"apiVersion": API, "kind": kind, "metadata": about, "spec": spec}


BUS = thing("EventBus", "default", {"jetstreamExotic": {"url": "nats://nats.example:4222"}}, "eventbus-controller")
SOURCE = thing(
    "EventSource",
    "web",
    {"webhook": {"order": {"port": "12000", "endpoint": "/order", "method": "POST"}}},
    "eventsource-controller",
)
SENSOR = thing(
    "Sensor",
    "pack",
    {
        "dependencies": [{"name": "order", "eventSourceName": "web", "eventName": "order"}],
        "triggers": [{"template": {"name": "say", "log": {}}}],
    },
    "sensor-controller",
)


def pods_of(live: Object, drawn: str, image: str = "argo-events:v1.9.6") -> Object:
    """The Deployment that Argo Events' controller makes of an object."""
    kind, name = live["kind"].lower(), live["metadata"]["name"]
    labels = {"controller": f"{kind}-controller", f"{kind}-name": name, "owner-name": name}
    owner = {"apiVersion": API, "kind": live["kind"], "name": name, "uid": live["metadata"]["uid"], "controller": True}
    container = {"name": "main", "image": image, "args": [f"{kind}-service"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"{name}-{kind}-{drawn}", "labels": labels, "ownerReferences": [owner]},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def manager(*words: str) -> Object:
    """Argo Events' controller, as its installation has it."""
    container = {
        "name": "controller-manager",
        "image": "argo-events:v1.9.6",
        "args": ["controller", *words],
        "env": [{"name": "ARGO_EVENTS_IMAGE", "value": "argo-events:v1.9.6"}],
    }
    labels = {"app": "controller-manager"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "controller-manager"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


@pytest.fixture(scope="module")
def kinds(apiserver: ApiServer) -> None:
    """Our kinds are served."""
    serve(apiserver)


@pytest.fixture
def space(apiserver: ApiServer, namespace: str, kinds: None) -> Space:
    """A namespace that Argo Events serves."""
    there = Space(apiserver, namespace)
    there.apply(BUS, SOURCE, SENSOR)
    for kind, name in (("EventSource", "web"), ("Sensor", "pack")):
        live = there.get(kind, name)
        assert live
        there.apply(pods_of(live, "x7k2p"))
    there.apply(manager("--namespaced", "--managed-namespace", namespace))
    return there


@pytest.fixture
def migrate(apiserver: ApiServer, space: Space, tmp_path: Path) -> Callable[..., Object]:
    """What ``argosy migrate --live`` reports, as an administrator."""
    config = apiserver.kubeconfig(tmp_path / "administrator", namespace=space.name)

    def run(*words: str) -> Object:
        done = subprocess.run(
            [ARGOSY, "migrate", "--live", "-o", "json", *words],
            env={**os.environ, "KUBECONFIG": str(config)},
            capture_output=True,
            text=True,
        )
        assert done.returncode in (0, 1) and done.stdout, done.stderr
        said: Object = {**json.loads(done.stdout), "code": done.returncode}
        return said

    return run


@pytest.fixture
def controller(apiserver: ApiServer, space: Space, tmp_path: Path) -> Iterator[Controller]:
    """Ours, beside it."""
    with Controller(apiserver, space.name, tmp_path) as running:
        until(running.leads, "it leads")
        yield running


def codes(said: Object, name: str) -> set[str]:
    (one,) = (each for each in said["objects"] if each["name"] == name)
    return {point["code"] for point in one["points"]}


def release(space: Space, kind: str, name: str) -> None:
    """Leave an object to us."""
    space.patch(kind, name, {"metadata": {"annotations": {"argosy.dev/controller": None}}})


def test_a_namespace_moves_object_by_object(
    space: Space, migrate: Callable[..., Object], controller: Controller
) -> None:
    # Given a namespace of Argo Events, held back by annotations, and its report
    said = migrate()
    assert said["code"] == 1
    around = [point["text"] for point in said["cluster"] if f"{space.name}/controller-manager" in point["text"]]
    assert len(around) == 1 and f"serves namespace {space.name}" in around[0]
    assert all(one["leftAlone"] for one in said["objects"])
    assert "old-pods" in codes(said, "web") and "old-pods" in codes(said, "pack")
    assert "bus-certificate" in codes(said, "default")

    # When our controller runs beside it
    until(controller.quiet, "nothing is to be done")
    # Then it has written nothing there
    assert sorted(space.names("Deployment")) == ["controller-manager", "pack-sensor-x7k2p", "web-eventsource-x7k2p"]
    assert [space.status(kind, name) for kind, name in (("EventBus", "default"), ("Sensor", "pack"))] == [{}, {}]

    # When the bus and the sensor are released, its controller being gone
    space.delete("Deployment", "controller-manager")
    release(space, "EventBus", "default")
    release(space, "Sensor", "pack")
    # Then ours makes its pods, and removes the others; the event source is as it was
    until(lambda: "pack-sensor" in space.names("Deployment"), "pods of ours")
    space.works("pack-sensor")
    until(lambda: "pack-sensor-x7k2p" not in space.names("Deployment"), "theirs go")
    assert "web-eventsource-x7k2p" in space.names("Deployment")

    # When the event source follows
    release(space, "EventSource", "web")
    until(lambda: "web-eventsource" in space.names("Deployment"), "pods of ours")
    # Then theirs go on until ours work: both can receive
    assert "web-eventsource-x7k2p" in space.names("Deployment")
    space.works("web-eventsource")
    until(lambda: space.names("Deployment") == ["pack-sensor", "web-eventsource"], "theirs go")

    # And the report has nothing of Argo Events any more
    said = migrate()
    assert not said["cluster"] or all(space.name not in point["text"] for point in said["cluster"])
    assert not {"old-pods"} & (codes(said, "web") | codes(said, "pack"))
    assert not any(one["leftAlone"] for one in said["objects"])

    # And objects that carry its finalizers can be deleted
    for kind, name in (("Sensor", "pack"), ("EventSource", "web"), ("EventBus", "default")):
        space.delete(kind, name)
        until(lambda kind=kind, name=name: space.get(kind, name) is None, f"{kind} {name} goes")  # type: ignore[misc]


def test_it_goes_back(space: Space, controller: Controller) -> None:
    # Given a sensor that has moved
    release(space, "EventBus", "default")
    release(space, "Sensor", "pack")
    until(lambda: "pack-sensor" in space.names("Deployment"), "pods of ours")
    # When it is given back, and our pods are deleted
    space.patch("Sensor", "pack", {"metadata": {"annotations": THEIRS}})
    until(controller.quiet, "nothing is to be done")
    space.delete("Deployment", "pack-sensor")
    # Then we make none again
    until(controller.quiet, "nothing is to be done")
    assert "pack-sensor" not in space.names("Deployment")


def test_who_may_read_little_is_told_what_was_not_read(apiserver: ApiServer, space: Space, tmp_path: Path) -> None:
    # Given a user who may list our kinds in the namespace, and nothing else
    rules = [{"apiGroups": ["argoproj.io"], "resources": ["eventbus", "eventsources", "sensors"], "verbs": ["list"]}]
    user = apiserver.service_account(space.name, "reader", rules)
    config = apiserver.kubeconfig(tmp_path / "reader", user, namespace=space.name)
    # When the report is asked for
    done = subprocess.run(
        [ARGOSY, "migrate", "--live"], env={**os.environ, "KUBECONFIG": str(config)}, capture_output=True, text=True
    )
    # Then it has the objects, and says what is missing
    assert f"Sensor {space.name}/pack" in done.stdout
    assert "note: Deployment objects cannot be read" in done.stderr
    # And does not take for missing what it could not see
    assert "rights-missing" not in done.stdout


def test_a_right_that_is_missing_in_the_cluster_is_told(space: Space, migrate: Callable[..., Object]) -> None:
    # Given a sensor whose account may do nothing
    body = {"apiVersion": API, "kind": "Workflow", "metadata": {"name": "w"}, "spec": {"entrypoint": "main"}}
    trigger = {"template": {"name": "t", "argoWorkflow": {"operation": "submit", "source": {"resource": body}}}}
    about = {"template": {"serviceAccountName": "packer"}, "triggers": [trigger]}
    space.apply(thing("Sensor", "work", {**SENSOR["spec"], **about}))
    # Then the report says what it lacks
    (one,) = (each for each in migrate()["objects"] if each["name"] == "work")
    (text,) = (point["text"] for point in one["points"] if point["code"] == "rights-missing")
    assert f"the service account {space.name}/packer may not create workflows.argoproj.io" in text
    # And when it has the right, nothing
    rules = [{"apiGroups": ["argoproj.io"], "resources": ["workflows"], "verbs": ["create", "get"]}]
    space.server.service_account(space.name, "packer", rules)
    (one,) = (each for each in migrate()["objects"] if each["name"] == "work")
    assert "rights-missing" not in {point["code"] for point in one["points"]}


def test_a_cluster_that_does_not_answer_is_said(tmp_path: Path) -> None:
    # Given no cluster
    environment = {**os.environ, "KUBECONFIG": str(tmp_path / "none")}
    # When it is asked
    done = subprocess.run([ARGOSY, "migrate", "--live"], env=environment, capture_output=True, text=True)
    # Then it says so
    assert done.returncode == 1
    assert done.stderr.startswith("argosy migrate: ")
