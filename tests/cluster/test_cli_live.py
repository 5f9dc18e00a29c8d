"""The commands that ask a run, over the pods of a namespace: through the proxy of a real API server, to real processes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.asking import Said, call
from tests.cli.running import free_port
from tests.cluster.pods_by_hand import Pods, needed
from tests.kubernetes.apiserver import ApiServer

WEB = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: web, namespace: {space}}}
spec:
  webhook:
    order: {{port: "{port}", endpoint: /order, method: POST}}
    payment: {{port: "{port}", endpoint: /payment, method: POST}}
"""
BILL = """
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: bill, namespace: {space}}}
spec:
  dependencies:
    - name: order
      eventSourceName: web
      eventName: order
      filters:
        data: [{{path: body.kind, type: string, value: ["new"]}}]
  triggers:
    - template:
        name: send
        http: {{url: "http://127.0.0.1:9/", method: POST}}
      retryStrategy: {{steps: 1, duration: 1s}}
"""
SHIP = """
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: ship, namespace: {space}}}
spec:
  dependencies:
    - {{name: order, eventSourceName: web, eventName: order}}
    - {{name: payment, eventSourceName: web, eventName: payment}}
  triggers:
    - template:
        name: pack
        conditions: order && payment
        log: {{}}
"""
DESK = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: desk, namespace: {space}}}
spec:
  webhook:
    call: {{port: "{port}", endpoint: /call, method: POST}}
---
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: note, namespace: {space}}}
spec:
  dependencies:
    - {{name: call, eventSourceName: desk, eventName: call}}
  triggers:
    - template: {{name: write, log: {{}}}}
"""


class Shop:
    """A namespace in which an EventSource and two Sensors have pods of their own, and a runner has one of each."""

    def __init__(self, pods: Pods, kubeconfig: Path) -> None:
        self.pods = pods
        self.namespace = pods.namespace
        self.env: dict[str, str | None] = {"KUBECONFIG": str(kubeconfig)}

    def ask(self, *words: str, code: int = 0, given: str = "") -> Said:
        """Call ``argosy`` about this namespace."""
        said = call(*words, "-n", self.namespace, given=given, env=self.env)
        assert said.code == code, f"{words} ended with {said.code}:\n{said.text}{said.errors}"
        return said

    def publish(self, source: str, event: str, data: Any, id: str) -> Said:
        """Put an event on the log."""
        words = ("events", "publish", "-", "--source", source, "--event", event, "--id", id)
        return self.ask(*words, given=json.dumps(data))


@pytest.fixture(scope="module")
def shop(apiserver: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    needed()
    space, folder = apiserver.namespace(), tmp_path_factory.mktemp("shop")
    with Pods(apiserver, space, folder) as pods:
        pods.start("EventSource", "web", WEB.format(space=space, port=free_port()))
        pods.start("Sensor", "bill", BILL.format(space=space))
        pods.start("Sensor", "ship", SHIP.format(space=space))
        pods.start("Runner", "0/1", DESK.format(space=space, port=free_port()))
        for run in pods.runs.values():
            run.until_ready()
        yield Shop(pods, apiserver.kubeconfig(folder / "kubeconfig"))


def test_one_namespace_answers_as_one_run_would(shop: Shop) -> None:
    # Given events of a source with a pod of its own, and of one that a runner serves
    said = shop.publish("web", "order", {"body": {"kind": "new"}}, "order-0001")
    assert "bill, ship" in said.text
    shop.publish("web", "order", {"body": {"kind": "old"}}, "order-0002")
    shop.publish("desk", "call", {"body": {}}, "call-00001")
    # Then the log has all of them once, whoever is asked
    listed = [row["id"] for row in shop.ask("events", "list", "-o", "json").lines]
    assert sorted(listed) == ["call-00001", "order-0001", "order-0002"]
    shown = shop.ask("events", "show", "order-0001").text
    assert f"{shop.namespace}/bill, {shop.namespace}/ship" in shown
    # And all sensors are there
    sensors = shop.ask("sensor", "list", "-o", "json").json["sensors"]
    assert [one["name"] for one in sensors] == ["bill", "note", "ship"]
    # And an event is explained over all sensors, with what became of it
    run = shop.pods.runs["bill-sensor-x"]
    run.until(lambda: _states(shop, "bill") == ["dead"], "the action did not die")
    explained = shop.ask("explain", "order-0001")
    assert "dead letter" in explained.text
    assert "ship" in explained.text
    assert "body.kind" in shop.ask("explain", "order-0002", "bill", code=3).text


def _states(shop: Shop, sensor: str) -> list[str]:
    return [one["state"] for one in shop.ask("actions", "list", "--sensor", sensor, "-o", "json").json["actions"]]
