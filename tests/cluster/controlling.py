"""``argosy controller`` as a process on a real API server, with an account that has just the rights it is to have."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from argosy.kubernetes.controller.rules import controller_own_rules, controller_rules
from tests.cluster.webhooks import free_port
from tests.kubernetes.apiserver import ApiError, ApiServer

Object = dict[str, Any]
ACCOUNT = "argosy-controller"
PATIENCE_SECONDS = 25.0
_RBAC = "rbac.authorization.k8s.io"
_GROUP = "/apis/argoproj.io/v1alpha1"
_PATHS = {
    "EventBus": f"{_GROUP}/namespaces/{{}}/eventbus",
    "EventSource": f"{_GROUP}/namespaces/{{}}/eventsources",
    "Sensor": f"{_GROUP}/namespaces/{{}}/sensors",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "StatefulSet": "/apis/apps/v1/namespaces/{}/statefulsets",
    "Service": "/api/v1/namespaces/{}/services",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "PersistentVolumeClaim": "/api/v1/namespaces/{}/persistentvolumeclaims",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "Pod": "/api/v1/namespaces/{}/pods",
    "Lease": "/apis/coordination.k8s.io/v1/namespaces/{}/leases",
    "Event": "/apis/events.k8s.io/v1/namespaces/{}/events",
}


class Space:
    """One namespace, and what is in it."""

    def __init__(self, server: ApiServer, name: str) -> None:
        self.server = server
        self.name = name

    def apply(self, *items: Object) -> None:
        """Apply objects into the namespace."""
        for item in items:
            self.server.apply({**item, "metadata": {"namespace": self.name, **item["metadata"]}})

    def get(self, kind: str, name: str) -> Object | None:
        """The object, or None."""
        try:
            found: Object = self.server.request("GET", f"{_PATHS[kind].format(self.name)}/{name}")
        except ApiError as error:
            if error.status != 404:
                raise
            return None
        return found

    def names(self, kind: str) -> list[str]:
        """The names of all objects of a kind."""
        return [item["metadata"]["name"] for item in self.items(kind)]

    def items(self, kind: str) -> list[Object]:
        """All objects of a kind."""
        listing = self.server.request("GET", _PATHS[kind].format(self.name))
        return list(listing["items"])

    def delete(self, kind: str, name: str) -> None:
        """Delete an object."""
        self.server.request("DELETE", f"{_PATHS[kind].format(self.name)}/{name}")

    def patch(self, kind: str, name: str, body: Object, part: str = "", manager: str = "somebody") -> Object:
        """Merge into an object, or into a part of it."""
        path = f"{_PATHS[kind].format(self.name)}/{name}{f'/{part}' if part else ''}?fieldManager={manager}"
        answer: Object = self.server.request("PATCH", path, body, content="application/merge-patch+json")
        return answer

    def condition(self, kind: str, name: str, type_: str) -> Object:
        """A condition of an object's status; empty where it has none."""
        status = (self.get(kind, name) or {}).get("status") or {}
        return next((one for one in status.get("conditions") or () if one["type"] == type_), {})

    def status(self, kind: str, name: str) -> dict[str, str]:
        """Its conditions: status by type."""
        status = (self.get(kind, name) or {}).get("status") or {}
        return {one["type"]: one["status"] for one in status.get("conditions") or ()}

    def works(self, name: str) -> None:
        """Say of a Deployment, as its own controller would, that all its pods are there."""
        live = self.get("Deployment", name)
        assert live is not None
        count = live["spec"]["replicas"]
        fields = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
        status = {**dict.fromkeys(fields, count), "observedGeneration": live["metadata"]["generation"]}
        self.patch("Deployment", name, {"status": status}, "status")


def until(condition: Callable[[], Any], what: str = "", seconds: float = PATIENCE_SECONDS) -> Any:
    """Wait for what the condition yields to be something, and give it back."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"did not come about within {seconds:g} s: {what or condition}"
        time.sleep(0.05)


def entitled(server: ApiServer, namespace: str, *, everywhere: bool = False) -> str:
    """The controller's account in a namespace, with exactly its rights; the user for ``kubeconfig``."""
    rules: Sequence[Object] = (
        controller_own_rules() if everywhere else [*controller_own_rules(), *controller_rules(True)]
    )
    user = server.service_account(namespace, ACCOUNT, rules)
    if everywhere:
        role: Object = {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": f"{ACCOUNT}-{namespace}"},
            "rules": controller_rules(False),
        }
        binding = {
            **{key: value for key, value in role.items() if key != "rules"},
            "kind": "ClusterRoleBinding",
            "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": f"{ACCOUNT}-{namespace}"},
            "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}],
        }
        for each in (role, binding):
            server.apply(each)
    return user


class Controller:
    """One process, a context manager."""

    def __init__(
        self, server: ApiServer, namespace: str, folder: Path, *words: str, everywhere: bool = False, **env: str
    ) -> None:
        user = entitled(server, namespace, everywhere=everywhere)
        name = secrets.token_hex(3)
        config = server.kubeconfig(folder / f"controller-{name}.kubeconfig", user, namespace=namespace)
        self.port = free_port()
        self.output = folder / f"controller-{name}.log"
        scope = () if everywhere else ("--namespaced", "--managed-namespace", namespace)
        self._command = [
            *(sys.executable, "-m", "argosy.cli.main", "controller", *scope, "--namespace", namespace),
            *("--host", "127.0.0.1", "--metrics-port", str(self.port), "--health-port", str(free_port())),
            *("--status-interval", "1", "--log-format", "json", "--log-level", "debug", *words),
        ]
        self._environment = {**os.environ, "KUBECONFIG": str(config), "POD_NAME": name, **env}
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.end(signal.SIGKILL)

    def start(self) -> None:
        """Start it."""
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it; its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(30)

    @property
    def log(self) -> str:
        return self.output.read_text()

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of its own server; 0 where nobody answers."""
        assert self.process is not None and self.process.poll() is None, self.log
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def leads(self) -> bool:
        """Whether it is the one that works."""
        return self.metric("argosy_controller_leader") == 1

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        body = self.get("/metrics")[1]
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", body, re.MULTILINE))

    def quiet(self) -> bool:
        """Whether it did nothing for a while, seen from outside."""
        before = self.metric("argosy_controller_reconciles_total")
        time.sleep(0.7)
        return self.metric("argosy_controller_queue_depth") == 0 and before == self.metric(
            "argosy_controller_reconciles_total"
        )
