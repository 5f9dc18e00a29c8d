"""The controller's rules are exactly what it uses: each right of them is asked for once in a life that has everything in it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from argosy.kubernetes.client import Client
from argosy.kubernetes.controller.process import Options, Process, running
from argosy.kubernetes.controller.rules import controller_own_rules, controller_rules
from argosy.kubernetes.crds import definitions
from tests.cluster.controlling import Space, entitled, until
from tests.cluster.objects import argo, sensor, source
from tests.cluster.webhooks import free_port
from tests.kubernetes.apiserver import ApiServer

Used = set[tuple[str, str, str]]
_FOR_OTHERS = {
    # The API server checks them where a plug-in is switched on (OwnerReferencesPermissionEnforcement), which is not so here.
    *(("argoproj.io", f"{kind}/finalizers", "update") for kind in ("eventbus", "eventsources", "sensors")),
    # What the runners' Role gives has to be had by who makes it.
    *(("argoproj.io", kind, "get") for kind in ("eventbus", "eventsources", "sensors")),
    *(("", "secrets", verb) for verb in ("list", "watch")),
    ("", "serviceaccounts/token", "create"),
}


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> Used:
    """Every right that is asked for: group, resource and verb."""
    found: Used = set()
    answer = Client._answer

    @contextlib.asynccontextmanager
    async def noted(self: Client, method: str, path: str, call: Any, *words: Any, **more: Any) -> AsyncIterator[Any]:
        if call.resource is not None:
            part = f"/{call.part}" if call.part else ""
            what = (call.resource.group, call.resource.plural + part)
            found.add((*what, call.verb))
            if more.get("content_type") == "application/apply-patch+yaml":
                found.add((*what, "create"))  # the API server wants both where there is nothing yet
        async with answer(self, method, path, call, *words, **more) as response:
            yield response

    monkeypatch.setattr(Client, "_answer", noted)
    return found


async def _until(condition: Callable[[], Any], what: str) -> None:
    await asyncio.to_thread(until, condition, what)


@pytest.mark.parametrize("everywhere", [False, True], ids=["in a namespace", "in the whole cluster"])
async def test_every_right_is_used_and_no_other_is_asked_for(
    apiserver: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, used: Used, everywhere: bool
) -> None:
    for one in definitions():
        apiserver.apply_crd(one)
    space = Space(apiserver, apiserver.namespace())
    user = entitled(apiserver, space.name, everywhere=everywhere)
    config = apiserver.kubeconfig(tmp_path / "kubeconfig", user, namespace=space.name)
    monkeypatch.setenv("KUBECONFIG", str(config))
    ports = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    options = Options(
        namespaces=None if everywhere else (space.name,),
        namespace=space.name,
        over={},
        metrics=ports[0],
        health=ports[1],
        status_seconds=1.0,
    )
    async with running(Process(options)):
        # Given a bus of its own, one who listens in several pods, and one who needs rights
        bus = argo("EventBus", "default", {"jetstream": {"version": "latest", "replicas": 3, "persistence": {}}})
        hooks = source(finalizers=["eventsource-controller"])
        hooks["spec"]["replicas"] = 2
        make = {"template": {"name": "make", "k8s": {"operation": "create", "source": {"resource": _CONFIG_MAP}}}}
        tell = sensor(triggers=[make])
        tell["metadata"]["finalizers"] = ["sensor-controller"]
        await asyncio.to_thread(space.apply, bus, hooks, tell)
        await _until(lambda: len(space.names("Deployment")) == 2, "their Deployments")
        await _until(lambda: space.names("Event"), "an Event")
        claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        labels = {"controller": "eventbus-controller", "eventbus-name": "default"}
        about = {"name": "data-0", "labels": labels}
        volume = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": about, "spec": claim}
        await asyncio.to_thread(space.apply, volume)
        # When they are served by a runner, all go, and the bus at last
        shared = {"metadata": {"annotations": {"argosy.dev/mode": "shared"}}}
        await asyncio.to_thread(space.patch, "Sensor", "tell", shared)
        await _until(lambda: space.get("RoleBinding", "argosy-runner"), "the runner's rights")
        await _until(lambda: "argosy-runner-0" in space.names("Deployment"), "the runner")
        for kind, name in (("Sensor", "tell"), ("EventSource", "hooks"), ("EventBus", "default")):
            await asyncio.to_thread(space.delete, kind, name)
        await _until(lambda: not space.names("EventBus"), "the bus goes")
        await _until(lambda: not space.get("ServiceAccount", "argosy-runner"), "the runner goes")
        await _until(lambda: not space.get("Secret", "argosy-api"), "the token goes")
    # Then what was asked for is what is granted
    rules = [*controller_rules(not everywhere), *controller_own_rules()]
    granted = {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert used - granted == set()
    assert sorted(granted - used) == sorted(_FOR_OTHERS)


_CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "made-"}}
