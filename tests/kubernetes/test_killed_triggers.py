"""The process is killed after the receiver took an action and before that is written: the action comes again under the same name
or key, and where the receiver can tell, it has no second effect.

``argosy run`` is a child that dies at the failpoint ``action.fired``, and is started again over the same data. All cases run side
by side, for starting is what takes the time.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from argosy.triggers._objects import ACTION_ID
from argosy.triggers.argo_workflow import CHANGED_BY
from tests.cli.receiving import receiving
from tests.cli.running import Run, free_port, http
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.test_argo_workflow_trigger import API, FAILED, WAITING, workflow

Object = dict[str, Any]


def _argo(operation: str, body: Object, **fields: Any) -> Object:
    return {"argoWorkflow": {"operation": operation, "source": {"resource": body}, **fields}}


_CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "made-"}, "data": {"a": "1"}}
_SELECTED = ["--node-field-selector", "displayName=a"]
OBJECTS: dict[str, tuple[Object, str, Object]] = {
    "k8s": ({"k8s": {"operation": "create", "source": {"resource": _CONFIG_MAP}}}, "", {}),
    "submit": (_argo("submit", workflow(generateName="made-")), "", {}),
    "resubmit": (_argo("resubmit", workflow(name="one")), "Failed", FAILED),
    "retry": (_argo("retry", workflow(name="one")), "Failed", FAILED),
    "resume": (_argo("resume", workflow(name="one"), args=_SELECTED), "Running", WAITING),
    "stop": (_argo("stop", workflow(name="one"), args=_SELECTED), "Running", WAITING),
}
"""By name: the trigger's block, and the phase and nodes of the Workflow ``one`` that it is about."""


@dataclass
class Killed:
    """What one case came to. ``after`` is what was there when the process had died, ``again`` when the action had ended."""

    died: int
    after: list[Any]
    again: list[Any]
    done: bool = False


class _Case:
    def __init__(self, folder: Path, block: Object, namespace: str, environment: dict[str, str]) -> None:
        folder.mkdir()
        self.namespace = namespace
        self.run = Run(folder)
        self._port = free_port()
        self._environment = environment
        about = {"apiVersion": API, "metadata": {"name": "orders", "namespace": namespace}}
        webhook = {"in": {"port": str(self._port), "endpoint": "/in", "method": "POST"}}
        dependencies = [{"name": "order", "eventSourceName": "orders", "eventName": "in"}]
        sensor = {"dependencies": dependencies, "triggers": [{"template": {"name": "act", **block}}]}
        manifests = [
            {**about, "kind": "EventSource", "spec": {"webhook": webhook}},
            {**about, "kind": "Sensor", "spec": sensor},
        ]
        self.run.write("all.yaml", yaml.safe_dump_all(manifests))

    def start(self, crash_at: str = "") -> None:
        self.run.start({**self._environment, **({"CRASH_AT": crash_at} if crash_at else {})})

    def post(self) -> None:
        with contextlib.suppress(OSError):  # it may die before it has answered
            http(f"http://127.0.0.1:{self._port}/in", b'{"n": 1}')

    def over(self) -> bool:
        with contextlib.suppress(OSError):
            return self.done() or self.run.metric("argosy_actions_dead_lettered_total") == 1
        return False

    def done(self) -> bool:
        return self.run.metric("argo_events_action_triggered_total") == 1


def _objects(apiserver: ApiServer, namespace: str) -> list[Any]:
    """All that could have been made or changed, as it is now."""
    found: list[Any] = []
    for path in (f"/apis/{API}/namespaces/{namespace}/workflows", f"/api/v1/namespaces/{namespace}/configmaps"):
        found += apiserver.request("GET", path)["items"]
    return found


@pytest.fixture(scope="module")
def killed(apiserver: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Killed]]:
    folder = tmp_path_factory.mktemp("killed")
    with receiving() as receiver, ExitStack() as stack:
        cases = {}
        for name, (block, phase, nodes) in OBJECTS.items():
            namespace = apiserver.namespace()
            kubeconfig = apiserver.kubeconfig(folder / f"{name}.kubeconfig", namespace=namespace)
            if phase:
                ended = {} if phase == "Running" else {"workflows.argoproj.io/completed": "true"}
                status = {"phase": phase, "nodes": nodes, "finishedAt": "2026-01-02T03:04:05Z"}
                apiserver.apply({**workflow(name="one", namespace=namespace, labels=ended), "status": status})
            cases[name] = _Case(folder / name, block, namespace, {"KUBECONFIG": str(kubeconfig)})
        payload = [{"src": {"dependencyName": "order", "dataKey": "body.n"}, "dest": "number"}]
        cases["http"] = _Case(folder / "http", {"http": {"url": receiver.url, "payload": payload}}, "default", {})

        def seen(name: str) -> list[Any]:
            if name == "http":
                return [(one.key, json.loads(one.body)) for one in receiver.requests]
            return _objects(apiserver, cases[name].namespace)

        for case in cases.values():
            case.start("action.fired")
            stack.callback(case.run.end, 9)
        for case in cases.values():
            case.run.until_ready()
            case.post()
        found = {}
        for name, case in cases.items():
            case.run.until(lambda case=case: case.run.ended, "it did not die")  # type: ignore[misc]
            found[name] = Killed(case.run.end(), seen(name), [])
            case.start()
        for name, case in cases.items():
            case.run.until(case.over, "the action did not end")
            found[name].again, found[name].done = seen(name), case.done()
        yield found


@pytest.mark.parametrize("name", OBJECTS)
def test_what_was_done_to_an_object_is_not_done_again(name: str, killed: dict[str, Killed]) -> None:
    one = killed[name]
    # Given a process that was killed when the API server had done what the action says
    assert one.died == -9
    marks = [each["metadata"]["annotations"] for each in one.after if "annotations" in each["metadata"]]
    assert sum(ACTION_ID in mark or CHANGED_BY in mark for mark in marks) == 1
    # Then the action was performed a second time, with success, and every object is as it was, to its resource version
    assert one.done
    assert one.again == one.after


def test_a_request_is_sent_again_under_the_same_key(killed: dict[str, Killed]) -> None:
    one = killed["http"]
    assert one.died == -9
    # Given a receiver that cannot know by itself, then it got the same twice
    assert len(one.after) == 1
    assert one.again == one.after * 2
    assert one.again[0][0]
