"""A scheduler and a kubelet for tests: every pod of the cluster runs on this machine, as processes with real rights.

It takes every pod as soon as it is there, gives it an address of its own and a node, and does what a kubelet does (``Pod``:
volumes, containers, probes, status, restarts, the end; ``Container``: how a container becomes a process; ``Volume``;
``Services``: names and cluster addresses). What it does not have: images, resource limits, a network namespace, logs by the
API, ``kubectl exec``; ``log`` and ``processes`` show a test what it needs. Ends only what it started.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tests.cluster.addresses import Network
from tests.cluster.pod import Pod
from tests.cluster.services import Services
from tests.cluster.volumes import Source
from tests.cluster.watched import Object, Watched
from tests.kubernetes.apiserver import ApiError, ApiServer

NODE = "test-node"


class Kubelet:
    """The one node of a test cluster, a context manager."""

    def __init__(self, server: ApiServer, network: Network, folder: Path) -> None:
        """Everything that pods write goes to ``folder``."""
        self.server = server
        self.folder = folder
        self.address = network.take()
        self.more: dict[str, str] = {}
        """More environment for every container of ours that is started from now on."""
        self._network = network
        self._changed = threading.Event()
        self._ended = threading.Event()
        self._objects = Watched(server, "/api/v1/pods", self._wake)
        secrets = Watched(server, "/api/v1/secrets", self._wake)
        config_maps = Watched(server, "/api/v1/configmaps", self._wake)
        self._caches = (self._objects, secrets, config_maps)
        self.source = Source(secrets, config_maps, self._token, folder / "claims")
        self.services = Services(server, folder)
        self._pods: dict[str, Pod] = {}
        self._thread = threading.Thread(target=self._run, name="kubelet", daemon=True)

    def __enter__(self) -> Self:
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
        self.server.apply(node)
        status = {
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
            "addresses": [{"type": "InternalIP", "address": self.address}],
        }
        path = f"/api/v1/nodes/{NODE}/status"
        self.server.request("PATCH", path, {"status": status}, content="application/merge-patch+json")
        for cache in self._caches:
            cache.start()
        self.services.start()
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._changed.set()
        self._thread.join(20)
        for pod in self._pods.values():
            pod.abandon()
        for pod in self._pods.values():
            pod.await_end()
        self.services.end()
        for cache in self._caches:
            cache.end()

    # ------------------------------------------------------------------ what tests look at

    def pods(self, namespace: str = "") -> list[Object]:
        """The pods that there are now, in one namespace or in all."""
        return [each for each in self._objects.all() if namespace in ("", each["metadata"]["namespace"])]

    def log(self, namespace: str, pod: str = "", container: str = "") -> str:
        """What containers of the namespace have written, of pods that are gone too; ``pod`` is what their names begin with."""
        found = sorted((self.folder / "logs" / namespace).glob(f"{pod}*/{container or '*'}.log"))
        return "".join(f"--- {each.parent.name} {each.stem}\n{each.read_text(errors='replace')}\n" for each in found)

    def processes(self, namespace: str = "") -> dict[str, int]:
        """The first process of every container that has one, by ``namespace/pod/container``."""
        return {
            "/".join((*pod.key, container.name)): container.pid
            for pod in list(self._pods.values())
            for container in pod.containers
            if container.pid is not None and namespace in ("", pod.key[0])
        }

    # ------------------------------------------------------------------ what pods ask

    def environment(self, pod: Object) -> Mapping[str, str]:
        """More environment for our programs."""
        del pod
        return self.more

    def current(self, pod: Object) -> Object | None:
        """The pod as it is now; None where it is gone, and another may have its name."""
        found = self._objects.get(pod["metadata"]["namespace"], pod["metadata"]["name"])
        return found if found is not None and found["metadata"]["uid"] == pod["metadata"]["uid"] else None

    def _token(self, pod: Object, about: Mapping[str, Any]) -> str:
        metadata, account = pod["metadata"], pod["spec"]["serviceAccountName"]
        spec: dict[str, Any] = {
            "expirationSeconds": about.get("expirationSeconds", 3600),
            "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]},
        }
        if "audience" in about:
            spec["audiences"] = [about["audience"]]
        path = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token"
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        token: str = self.server.request("POST", path, request)["status"]["token"]
        return token

    # ------------------------------------------------------------------ its thread

    def _wake(self) -> None:
        self._changed.set()
        for pod in list(self._pods.values()):
            pod.wake.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            for each in self._objects.all():
                uid = each["metadata"]["uid"]
                if uid not in self._pods and each["status"].get("phase") not in ("Succeeded", "Failed"):
                    # It is gone again, or the API server is away: then it is tried anew.
                    with contextlib.suppress(ApiError, OSError):
                        self._take(each)
            for uid, pod in list(self._pods.items()):
                if pod.over and self.current(pod.object) is None:
                    self._network.give_back(pod.address)
                    del self._pods[uid]
            self._changed.wait(0.5)
            self._changed.clear()

    def _take(self, pod: Object) -> None:
        metadata = pod["metadata"]
        if not pod["spec"].get("nodeName"):
            if "deletionTimestamp" in metadata:
                return
            binding = {
                "apiVersion": "v1",
                "kind": "Binding",
                "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]},
                "target": {"apiVersion": "v1", "kind": "Node", "name": NODE},
            }
            path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/binding"
            self.server.request("POST", path, binding)
        names = self.services.names(metadata["namespace"])
        self._pods[metadata["uid"]] = Pod(pod, self, self._network.take(), names)
