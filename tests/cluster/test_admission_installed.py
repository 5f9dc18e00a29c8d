"""The webhook as it is installed: two pods behind a Service, asked by the API server, replaced while it asks."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.cluster.site import argosy
from tests.cluster.whole import Cluster
from tests.kubernetes.apiserver import ApiError
from tests.unit.kubernetes.asking import BUS, SENSOR, SOURCE

DEPLOYMENT = "deployment/argosy-admission"


@pytest.fixture
def judged(cluster: Cluster) -> Iterator[tuple[str, str]]:
    """A namespace that is judged, and the one where the webhook is installed."""
    namespace = cluster.manager.namespace()
    home = f"{namespace}-system"
    words = ("--managed-namespace", namespace, "--without", "crds", "--image", "argosy:one")
    printed = [one for one in yaml.safe_load_all(argosy("install", "-n", home, *words)) if one]
    chosen = [one for one in printed if _of_admission(one)]
    configurations = [one for one in chosen if one["kind"] == "ValidatingWebhookConfiguration"]
    assert len(configurations) == 1
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(chosen))
    try:
        cluster.until(lambda: len(cluster.ready(home)) == 2, "both pods are ready", namespace=home)
        yield namespace, home
    finally:
        cluster.kubectl("delete", "validatingwebhookconfiguration", configurations[0]["metadata"]["name"])
        cluster.kubectl("delete", "namespace", home, namespace, "--timeout=50s")


def _of_admission(one: dict[str, Any]) -> bool:
    labels = one["metadata"].get("labels") or {}
    return one["kind"] == "Namespace" or labels.get("app.kubernetes.io/component") == "admission"


def test_what_is_installed_judges_and_goes_on_while_its_pods_are_replaced(
    cluster: Cluster, judged: tuple[str, str]
) -> None:
    namespace, home = judged

    def applied(item: dict[str, Any], *words: str) -> str:
        return cluster.kubectl("apply", "-n", namespace, *words, "-f", "-", stdin=json.dumps(_bare(item)), check=False)

    # Given a webhook that the API server trusts
    cluster.until(lambda: "created" in applied(BUS, "--dry-run=server"), "the webhook is asked", namespace=home)
    for item in (SENSOR, SOURCE, BUS):
        assert "created" in applied(item)
    slip = json.loads(json.dumps(SENSOR).replace('"orders"', '"ordres"'))
    assert "did you mean 'orders'?" in applied(slip)
    # When its pods are replaced, one after the other, and the API server asks all the time
    before = {pod["metadata"]["name"] for pod in cluster.ready(home)}
    failed: list[str] = []
    count = 0
    ended = threading.Event()

    def ask() -> None:
        nonlocal count
        made = {**SOURCE, "metadata": {"name": "another", "namespace": namespace}}
        path = f"/apis/argoproj.io/v1alpha1/namespaces/{namespace}/eventsources?dryRun=All"
        while not ended.is_set():
            try:
                cluster.server.request("POST", path, made)
            except (ApiError, OSError) as error:
                failed.append(str(error))
            count += 1

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        cluster.kubectl("rollout", "restart", DEPLOYMENT, "-n", home)
        cluster.kubectl("rollout", "status", DEPLOYMENT, "-n", home, "--timeout=50s")

        def replaced() -> bool:
            return len(ready := {pod["metadata"]["name"] for pod in cluster.ready(home)}) == 2 and not ready & before

        cluster.until(replaced, "both pods are others", namespace=home)
    finally:
        ended.set()
        thread.join(30)
    # Then all was answered
    assert failed == []
    assert count > 20


def _bare(item: dict[str, Any]) -> dict[str, Any]:
    return {**item, "metadata": {"name": item["metadata"]["name"]}}
