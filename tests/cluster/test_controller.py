"""The controller as a process with just its rights, on a real API server without any of Kubernetes' own controllers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from argosy.kubernetes.crds import definitions
from tests.cluster.controlling import Controller, Space, until
from tests.kubernetes.apiserver import ApiServer

Object = dict[str, Any]
_VERSION = "argoproj.io/v1alpha1"


def _object(kind: str, name: str, spec: Object, **metadata: Any) -> Object:
    return {"apiVersion": _VERSION, "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}


def exotic(name: str = "default", **metadata: Any) -> Object:
    """A bus that somebody else runs."""
    return _object("EventBus", name, {"jetstreamExotic": {"url": "nats://nats.elsewhere.svc:4222"}}, **metadata)


def source(name: str = "hooks", event: str = "pushed", **metadata: Any) -> Object:
    """An EventSource that listens, with a Service."""
    spec = {
        "service": {"ports": [{"port": 12000, "targetPort": 12000}]},
        "webhook": {event: {"endpoint": "/push", "method": "POST", "port": "12000"}},
    }
    return _object("EventSource", name, spec, **metadata)


def sensor(name: str = "tell", of: str = "hooks", event: str = "pushed", **spec: Any) -> Object:
    """A Sensor that writes what it hears into the log."""
    dependencies = [{"name": "push", "eventSourceName": of, "eventName": event}]
    triggers = [{"template": {"name": "say", "log": {}}}]
    return _object("Sensor", name, {"dependencies": dependencies, "triggers": triggers, **spec})


@pytest.fixture(scope="module")
def server(apiserver: ApiServer) -> ApiServer:
    """The API server with the definitions."""
    for one in definitions():
        apiserver.apply_yaml(json.dumps(one))
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


class TestObjectsOfAnInstallation:
    def test_an_event_source_and_a_sensor_get_their_objects_and_lose_them(
        self, space: Space, controller: Controller
    ) -> None:
        # Given a bus, an event source and a sensor
        space.apply(exotic(), source(), sensor())
        # Then each gets what it needs, and its status says how it stands
        until(lambda: space.names("Deployment") == ["hooks-eventsource", "tell-sensor"], "two Deployments")
        until(lambda: space.names("Service") == ["hooks-eventsource-svc"], "the Service")
        until(lambda: space.get("Secret", "argosy-api"), "the token")
        until(
            lambda: space.status("EventBus", "default") == {"Configured": "True", "Deployed": "True", "Ready": "True"}
        )
        until(
            lambda: (
                space.status("EventSource", "hooks")
                == {"Deployed": "True", "Permitted": "True", "Ready": "False", "SourcesProvided": "True"}
            )
        )
        until(
            lambda: (
                space.status("Sensor", "tell")
                == {
                    "DependenciesProvided": "True",
                    "Deployed": "True",
                    "Permitted": "True",
                    "Ready": "False",
                    "TriggersProvided": "True",
                }
            )
        )
        # When their pods are there, they are ready
        space.works("hooks-eventsource")
        space.works("tell-sensor")
        until(lambda: space.status("EventSource", "hooks")["Ready"] == "True")
        until(lambda: space.status("Sensor", "tell")["Ready"] == "True")
        # When all goes, nothing stays
        for kind, name in (("Sensor", "tell"), ("EventSource", "hooks"), ("EventBus", "default")):
            space.delete(kind, name)
        until(lambda: not space.names("EventBus"), "the bus goes")
        for kind in ("Deployment", "Service", "Secret"):
            until(lambda kind=kind: not space.names(kind), f"no {kind} stays")
        assert "a defect" not in controller.log
