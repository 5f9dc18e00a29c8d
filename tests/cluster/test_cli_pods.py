"""The commands over pods that the controller makes: found by what the pods really look like, also while they are replaced."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cluster.site import Site
from tests.cluster.whole import Cluster

pytestmark = pytest.mark.timeout(180)

MANIFESTS = """
apiVersion: argoproj.io/v1alpha1
kind: EventBus
metadata: {name: default}
spec: {jetstream: {version: latest, replicas: 1, streamConfig: "replicas: 1"}}
---
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {name: web}
spec:
  webhook:
    order: {port: "12000", endpoint: /order, method: POST}
---
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {name: bill}
spec:
  dependencies: [{name: order, eventSourceName: web, eventName: order}]
  triggers: [{template: {name: write, log: {}}}]
"""


@pytest.mark.parametrize("mode", ["dedicated", "shared"])
def test_the_pods_of_a_namespace_are_asked_while_they_are_replaced(cluster: Cluster, tmp_path: Path, mode: str) -> None:
    # Given an EventSource and a Sensor that the controller serves, and somebody who follows the log
    site = Site(cluster, None, mode=mode)
    site.install()
    cluster.kubectl("apply", "-n", site.namespace, "-f", "-", stdin=MANIFESTS)
    site.until_ready()
    seen, said = tmp_path / "seen", tmp_path / "said"
    command = [sys.executable, "-m", "argosy.cli._kubectl", "-n", site.namespace, "events", "tail", "-f", "-o", "json"]
    env = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
    with seen.open("w") as out, said.open("w") as err:
        follower = subprocess.Popen(command, env={**env, "PYTHONUNBUFFERED": "1"}, stdout=out, stderr=err)
    data = tmp_path / "order.json"
    data.write_text('{"body": {"total": 70}}')

    def publish(id: str) -> None:
        site.argosy("events", "publish", str(data), "--source", "web", "--id", id)

    def followed() -> list[str]:
        return [json.loads(line)["id"] for line in seen.read_text().splitlines(keepends=True) if line.endswith("\n")]

    try:
        publish("order/000001")
        site.until(lambda: followed() == ["order/000001"], "the first event is seen")
        # When all its pods are replaced, and another event comes
        for deployment in cluster.kubectl("get", "deployments", "-n", site.namespace, "-o", "name").split():
            cluster.kubectl("rollout", "restart", "-n", site.namespace, deployment)
            cluster.kubectl("rollout", "status", "-n", site.namespace, deployment, "--timeout=50s")
        # The last of the old ones may still be on its way out.
        end = time.monotonic() + 30
        while True:
            try:
                publish("order/000002")
                break
            except AssertionError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.5)
        # Then it is seen, too, each once, and the other commands know all of it
        site.until(lambda: followed() == ["order/000001", "order/000002"], f"the second is seen: {said.read_text()}")
        site.until(
            lambda: (
                [one["state"] for one in json.loads(site.argosy("actions", "list", "-o", "json"))["actions"]]
                == ["done", "done"]
            ),
            "both actions are done",
        )
        assert "Fires: bill" in site.argosy("explain", "order/000002")
        status = subprocess.run(
            [sys.executable, "-m", "argosy.cli._kubectl", "-n", site.namespace, "status", "-o", "json"],
            env=env, capture_output=True, text=True,
        )  # fmt: skip
        assert {one["name"] for one in json.loads(status.stdout)["objects"]} == {"default", "web", "bill"}
    finally:
        follower.send_signal(signal.SIGINT)
        follower.wait(20)
        cluster.kubectl("delete", "-n", site.namespace, "-f", "-", "--wait=false", stdin=MANIFESTS)
        site.until(lambda: not cluster.kubelet.pods(site.namespace), "no pod is left")
        cluster.kubectl("delete", "-f", "-", "--timeout=60s", stdin=site.installed)
