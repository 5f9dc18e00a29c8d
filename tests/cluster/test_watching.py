"""A cache of objects against a real API server: it holds what the server has, whatever happened to the watch."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from argosy.kubernetes.client import Client
from argosy.kubernetes.config import load
from argosy.kubernetes.watching import Cache, Place, kept
from tests.conformance.source import eventually
from tests.kubernetes.apiserver import ApiServer


def _config_map(namespace: str, name: str, text: str = "") -> dict[str, object]:
    about = {"namespace": namespace, "name": name}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": {"text": text}}


@pytest.fixture
async def client(apiserver: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    monkeypatch.setenv("KUBECONFIG", str(apiserver.kubeconfig(tmp_path / "kubeconfig")))
    async with Client(load) as client:
        yield client


async def test_a_cache_follows_what_comes_changes_and_goes(
    apiserver: ApiServer, namespace: str, client: Client
) -> None:
    # Given a cache of a namespace with one object
    apiserver.apply(_config_map(namespace, "first", "a"))
    told: list[Place] = []
    cache = Cache(client, "v1", "configmaps", namespace, changed=told.append)
    async with kept(cache):
        assert [each["metadata"]["name"] for each in cache.of(namespace)] == ["first"]
        # When one comes, one changes, and one goes
        apiserver.apply(_config_map(namespace, "second"))
        apiserver.apply(_config_map(namespace, "first", "b"))
        await eventually(lambda: len(cache) == 2)
        await eventually(lambda: (cache.get(namespace, "first") or {})["data"]["text"] == "b")
        apiserver.request("DELETE", f"/api/v1/namespaces/{namespace}/configmaps/second")
        # Then the cache has it so, and each was told
        await eventually(lambda: cache.get(namespace, "second") is None)
        assert {place.name for place in told} == {"first", "second"}


async def test_what_happened_while_the_server_was_away_and_forgot_it_is_told(
    apiserver: ApiServer, namespace: str, client: Client
) -> None:
    # Given a cache, and a server that loses its watches and all memory of the past
    for name in ("stays", "goes"):
        apiserver.apply(_config_map(namespace, name))
    told: list[Place] = []
    cache = Cache(client, "v1", "configmaps", namespace, changed=told.append)
    async with kept(cache):
        told.clear()
        apiserver.kill()
        await eventually(lambda: bool(cache.problem))
        apiserver.start()
        apiserver.request("DELETE", f"/api/v1/namespaces/{namespace}/configmaps/goes")
        apiserver.apply(_config_map(namespace, "comes"))
        apiserver.forget()
        # Then the cache is what the server has, and only what moved was told
        await eventually(lambda: {each["metadata"]["name"] for each in cache} == {"stays", "comes"})
        await eventually(lambda: not cache.problem)
        assert {place.name for place in told} == {"goes", "comes"}


async def test_a_cache_that_may_not_look_says_so_and_looks_again_when_it_may(
    apiserver: ApiServer, namespace: str, tmp_path: Path
) -> None:
    user = apiserver.service_account(namespace, "watcher")
    path = apiserver.kubeconfig(tmp_path / "watcher", user)
    async with Client(lambda: load(environment={"KUBECONFIG": str(path)})) as client:
        cache = Cache(client, "v1", "configmaps", namespace)
        task = asyncio.create_task(cache.run())
        try:
            await eventually(lambda: "forbidden" in cache.problem and "watcher" in cache.problem)
            apiserver.service_account(
                namespace, "watcher", [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch"]}]
            )
            await eventually(cache.synced.is_set)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
