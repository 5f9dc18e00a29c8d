"""A cache of objects against a real API server: it holds what the server has, whatever happened to the watch."""

from __future__ import annotations

import asyncio
import contextlib
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from argosy.kubernetes.client import Client
from argosy.kubernetes.config import load
from argosy.kubernetes.watching import Cache, Place, kept
from argosy.manifests.sensor import parse_sensor
from tests.cluster.kinds import serve
from tests.conformance.source import eventually
from tests.kubernetes.apiserver import ApiServer


def _config_map(namespace: str, name: str, text: str = "") -> dict[str, object]:
    about = {"namespace": namespace, "name": name}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": {"text": text}}


def _send(server: ApiServer, method: str, path: str, body: bytes | None = None) -> None:
    headers = {"Authorization": f"Bearer {server.tokens['admin']}", "Content-Type": "application/json"}
    request = urllib.request.Request(server.url + path, data=body, method=method, headers=headers)
    with server._opener.open(request, timeout=30) as answer:
        assert answer.status in (200, 201)


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


async def test_an_object_that_is_nested_deeper_than_can_be_read_hides_no_other(
    apiserver: ApiServer, namespace: str, client: Client
) -> None:
    # Given a cache, and another one that comes later
    serve(apiserver)
    sensors = f"/apis/argoproj.io/v1alpha1/namespaces/{namespace}/sensors"
    caches = [Cache(client, "argoproj.io/v1alpha1", "sensors", namespace) for _ in range(2)]
    async with kept(caches[0]):
        # When somebody stores what no client of Python reads, as text, for it cannot be written either
        text = (
            '{"apiVersion": "argoproj.io/v1alpha1", "kind": "Sensor", "metadata": {"name": "NAME"}, "spec": {'
            '"dependencies": [{"name": "a", "eventSourceName": "a", "eventName": "a"}],'
            '"triggers": [{"template": {"name": "t", "k8s": {"source": {"resource": DEEP}}}}]}}'
        )
        for name, levels in (("deep", 2000), ("next", 1)):
            resource = '{"a": ' * levels + "{}" + "}" * levels
            body = text.replace("NAME", name).replace("DEEP", resource).encode()
            _send(apiserver, "POST", sensors, body)
        try:
            # Then both have it and what comes after it, and it is no valid object
            await eventually(lambda: len(caches[0]) == 2)
            async with kept(caches[1]):
                assert [each["metadata"]["name"] for each in caches[1].of(namespace)] == ["deep", "next"]
                for cache in caches:
                    made, problems = parse_sensor(cache.get(namespace, "deep") or {})
                    assert made is None
                    assert any("nested too deeply" in problem.message for problem in problems)
        finally:
            _send(apiserver, "DELETE", f"{sensors}/deep")  # the tests' own client cannot read it either


async def test_a_cache_goes_on_when_who_is_told_has_a_defect(
    apiserver: ApiServer, namespace: str, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    def changed(place: Place) -> None:
        if place.name == "bad":
            raise ZeroDivisionError

    cache = Cache(client, "v1", "configmaps", namespace, changed=changed)
    async with kept(cache):
        apiserver.apply(_config_map(namespace, "bad"))
        await eventually(lambda: "not followed: ZeroDivisionError, which is a defect of Argosy" in caplog.text)
        apiserver.apply(_config_map(namespace, "good"))
        await eventually(lambda: cache.get(namespace, "good") is not None and not cache.problem)
