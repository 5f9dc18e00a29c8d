"""A whole cluster takes a namespace away although the webhook keeps a bus that is used."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from tests.cluster.webhooks import account, asked, free_port, not_asked, running
from tests.cluster.whole import Cluster
from tests.unit.kubernetes.asking import BUS, SENSOR, SOURCE


def here(item: dict[str, Any], namespace: str) -> dict[str, Any]:
    made = copy.deepcopy(item)
    made["metadata"]["namespace"] = namespace
    return made


def test_a_namespace_goes_with_all_that_is_in_it(cluster: Cluster, tmp_path: Path) -> None:
    # Given a namespace with a bus that is used, and a webhook that judges it
    namespace, name = cluster.server.namespace(), "argosy-whole"
    user = account(cluster.server, namespace, name)
    # Its account goes with the namespace, and it must judge until the end.
    elsewhere = cluster.server.namespace()
    keeper = account(cluster.server, elsewhere, name)
    cluster.server.apply(_reading(namespace, keeper, elsewhere))
    assert user != keeper
    kubeconfig = cluster.server.kubeconfig(tmp_path / "kubeconfig", keeper, namespace=elsewhere)
    port = free_port()
    asked(cluster.server, namespace, port, name)
    words = ("--managed-namespace", namespace, "--configuration", name)
    try:
        with running(kubeconfig, elsewhere, tmp_path, *words, port=port) as webhook:
            cluster.until(webhook.ready, "the webhook is ready")
            for item in (BUS, SOURCE, SENSOR):
                cluster.until(lambda item=item: _applied(cluster, here(item, namespace)), "it is applied")
            refused = cluster.kubectl("delete", "eventbus", "default", "-n", namespace, check=False)
            assert "is the bus of" in refused
            # When the namespace is deleted
            cluster.kubectl("delete", "namespace", namespace, "--timeout=50s")
            # Then nothing of it is left
            assert "not found" in cluster.kubectl("get", "namespace", namespace, check=False)
    finally:
        not_asked(cluster.server, name)


def _applied(cluster: Cluster, item: dict[str, Any]) -> bool:
    """Whether it could be applied: until the API server was told whom to trust, it cannot."""
    kind, name, namespace = item["kind"], item["metadata"]["name"], item["metadata"]["namespace"]
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(item), check=False)
    return "not found" not in cluster.kubectl("get", kind, name, "-n", namespace, check=False)


def _reading(namespace: str, user: str, home: str) -> dict[str, Any]:
    """What lets the webhook of another namespace read this one: the role of that name is there."""
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "argosy-elsewhere", "namespace": namespace},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "argosy-admission"},
        "subjects": [{"kind": "ServiceAccount", "name": "argosy-admission", "namespace": home}],
    }
