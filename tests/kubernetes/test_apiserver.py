"""The test API server itself: what other tests take for granted about it, and that lightkube talks to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.apiserver import ApiError, ApiServer


def _config_map(namespace: str, name: str, **data: str) -> dict[str, Any]:
    metadata = {"namespace": namespace, "name": name}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def test_it_is_the_version_that_go_mod_names(apiserver: ApiServer) -> None:
    go_mod = Path(__file__).parents[2] / "tools/servers/kube-apiserver/go.mod"
    assert f"k8s.io/kubernetes {apiserver.request('GET', '/version')['gitVersion']}\n" in go_mod.read_text()


def test_workflow_objects_keep_every_field_of_their_spec(apiserver: ApiServer, namespace: str) -> None:
    # Given a Workflow with fields that the CRD does not know
    spec = {"arguments": {"parameters": [{"name": "n", "value": 3}]}, "anything": {"deep": [1, None, "x"]}}
    workflow = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"generateName": "kept-", "namespace": namespace},
        "spec": spec,
    }
    # When it is created
    path = f"/apis/argoproj.io/v1alpha1/namespaces/{namespace}/workflows"
    created = apiserver.request("POST", path, workflow)
    # Then it is read back whole, under a generated name
    found = apiserver.request("GET", f"{path}/{created['metadata']['name']}")
    assert found["metadata"]["name"].startswith("kept-")
    assert found["spec"] == {**spec, "anything": {"deep": [1, None, "x"]}}


def test_a_service_account_may_do_what_its_rules_say_and_nothing_else(apiserver: ApiServer, namespace: str) -> None:
    # Given an account that may create config maps in one namespace
    user = apiserver.service_account(
        namespace, "creator", [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}]
    )
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    # When it creates one, then that works
    apiserver.request("POST", path, _config_map(namespace, "mine", key="value"), user=user)
    # When it reads, or goes elsewhere, then it is refused
    for method, where in (("GET", f"{path}/mine"), ("POST", "/api/v1/namespaces/default/configmaps")):
        with pytest.raises(ApiError, match="forbidden") as refused:
            apiserver.request(method, where, None if method == "GET" else _config_map("default", "no"), user=user)
        assert refused.value.status == 403


def test_nobody_is_known_but_has_no_rights(apiserver: ApiServer) -> None:
    with pytest.raises(ApiError, match='User "nobody" cannot list') as refused:
        apiserver.request("GET", "/api/v1/secrets", user="nobody")
    assert refused.value.status == 403


def test_data_survives_a_killed_api_server(tmp_path: Path, apiserver: ApiServer) -> None:
    # Given a server of this test's own, for others are using the shared one
    del apiserver
    with ApiServer(tmp_path) as server:
        namespace = server.namespace()
        server.apply(_config_map(namespace, "kept", key="value"))
        url = server.url
        # When it is killed
        server.kill()
        with pytest.raises(OSError):
            server.request("GET", "/readyz")
        # And started again
        server.start()
        # Then it is where it was, with what it had
        assert server.url == url
        found = server.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/kept")
        assert found["data"] == {"key": "value"}


async def test_lightkube_reads_writes_and_watches_with_a_kubeconfig_of_ours(
    apiserver: ApiServer, namespace: str, tmp_path: Path
) -> None:
    from lightkube import AsyncClient, KubeConfig
    from lightkube.models.meta_v1 import ObjectMeta
    from lightkube.resources.core_v1 import ConfigMap

    # Given a client that knows only the kubeconfig
    config = KubeConfig.from_file(str(apiserver.kubeconfig(tmp_path / "kubeconfig", namespace=namespace)))
    client = AsyncClient(config=config, trust_env=False)
    try:
        # When it creates an object while it watches
        await client.create(ConfigMap(metadata=ObjectMeta(name="seen", namespace=namespace), data={"a": "b"}))
        async for event, found in client.watch(ConfigMap, namespace=namespace, resource_version="0"):
            # Then it sees that object added
            assert event == "ADDED"
            if found.metadata and found.metadata.name == "seen":
                break
        assert found.data == {"a": "b"}
    finally:
        await client.close()


def test_a_kubeconfig_holds_one_user_and_is_private(apiserver: ApiServer, tmp_path: Path) -> None:
    path = apiserver.kubeconfig(tmp_path / "kubeconfig", "nobody")
    assert apiserver.tokens["nobody"] in path.read_text()
    assert apiserver.tokens["admin"] not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0


def test_apply_is_idempotent(apiserver: ApiServer, namespace: str) -> None:
    first = apiserver.apply(_config_map(namespace, "same", key="value"))
    second = apiserver.apply(json.loads(json.dumps(_config_map(namespace, "same", key="value"))))
    assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]
