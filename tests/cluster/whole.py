"""A whole cluster for tests: API server, controller manager, kubelet, and a real kubectl that talks to it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tests.cluster import container, manager
from tests.cluster.addresses import Network, leads_out
from tests.cluster.kubelet import Kubelet
from tests.cluster.manager import Manager
from tests.kubernetes.apiserver import ApiServer, NotThere, find

KUBECTL = Path(sys.executable).with_name("kubectl")
T = TypeVar("T")
SECONDS = 60.0
"""How long a condition may take before the test fails; never waited for otherwise."""


class Cluster:
    """What runs, and how a test talks to it."""

    def __init__(self, server: ApiServer, manager: Manager, kubelet: Kubelet, folder: Path) -> None:
        self.server = server
        self.manager = manager
        self.kubelet = kubelet
        self.folder = folder
        self.kubeconfig = server.kubeconfig(folder / "kubeconfig")

    def kubectl(self, *words: str, stdin: str = "", check: bool = True) -> str:
        """The output of the real kubectl, as an administrator. Raises AssertionError with its complaint where it fails."""
        environment = {"KUBECONFIG": str(self.kubeconfig), "HOME": str(self.folder), "PATH": os.environ["PATH"]}
        done = subprocess.run(
            [KUBECTL, *words], input=stdin, env=environment, capture_output=True, text=True, timeout=SECONDS
        )
        assert not check or done.returncode == 0, f"kubectl {' '.join(words)}:\n{done.stdout}{done.stderr}"
        return done.stdout if check else done.stdout + done.stderr

    def apply(self, *objects: dict[str, Any]) -> None:
        """``kubectl apply`` of these objects."""
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects, sort_keys=False))

    def get(self, kind: str, name: str = "", namespace: str = "default") -> Any:
        """An object as it is now, or, without a name, a list of all that there are."""
        words = ["get", kind, *([name] if name else []), "-n", namespace, "-o", "json"]
        found = json.loads(self.kubectl(*words))
        return found if name else found["items"]

    def until(self, found: Callable[[], T], what: str, *, namespace: str = "", seconds: float = SECONDS) -> T:
        """What the call gives, once that is true; fails with the end of the logs of the namespace's pods if it never is."""
        end = time.monotonic() + seconds
        while not (answer := found()):
            if time.monotonic() > end:
                pods = [
                    f"{each['metadata']['name']}: {each['status'].get('phase')} "
                    f"{[one.get('state') for one in each['status'].get('containerStatuses') or ()]}"
                    for each in self.kubelet.pods(namespace)
                ]
                log = "".join(
                    self.kubelet.log(each)[-6000:] for each in (namespace, f"{namespace}-system") if namespace
                )
                raise AssertionError("\n".join([f"{what}: not so after {seconds:g} s", *pods, log]))
            time.sleep(0.2)
        return answer

    def ready(self, namespace: str, **labels: str) -> list[dict[str, Any]]:
        """The pods with these labels that are ready and not going."""
        return [
            each
            for each in self.kubelet.pods(namespace)
            if labels.items() <= (each["metadata"].get("labels") or {}).items()
            and "deletionTimestamp" not in each["metadata"]
            and any(
                one["type"] == "Ready" and one["status"] == "True" for one in each["status"].get("conditions") or ()
            )
        ]


def why_not() -> str:
    """Why there can be no cluster on this machine; empty where there can."""
    try:
        find()
        manager.find()
    except NotThere as missing:
        return str(missing)
    if not KUBECTL.exists():
        return "kubectl is not installed; make test-cluster brings it"
    return container.here() or leads_out()


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """A cluster that serves Argosy's kinds and those of Argo Workflows. Raises NotThere where there can be none."""
    from argosy.kubernetes import crds

    if reason := why_not():
        raise NotThere(reason)
    with contextlib.ExitStack() as stack:
        pods, services = stack.enter_context(Network()), stack.enter_context(Network())
        server = stack.enter_context(ApiServer(folder / "api", cluster=True, services=services.network))
        server.apply_argo_workflows()
        for each in crds.definitions():
            server.apply_crd(each)
        controllers = stack.enter_context(Manager(server))
        kubelet = stack.enter_context(Kubelet(server, pods, folder / "node"))
        yield Cluster(server, controllers, kubelet, folder)
