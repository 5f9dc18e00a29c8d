"""Pods of which no kubelet knows: ``argosy run`` as processes, each on an address of its own, and Pod objects that say so.

The API server's proxy goes to no loopback address, so addresses are lent to the loopback interface; that takes root. ``Pods`` is a context
manager that gives them back and ends the processes that it started.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from argosy.kubernetes import names
from tests.brokers.nats_server import NatsServer, spawn
from tests.cli.running import Run, http
from tests.cluster.addresses import leads_out
from tests.kubernetes.apiserver import ApiServer
from tests.missing import missing

WORDS = {"EventSource": "eventsource-service", "Sensor": "sensor-service", "Runner": "runner-service"}
LABELS = {"EventSource": names.EVENT_SOURCE_NAME, "Sensor": names.SENSOR_NAME}


class _PodRun(Run):
    """A run whose own port is on the pod's address."""

    address = ""

    def get(self, path: str) -> tuple[int, str]:
        return http(f"http://{self.address}:7777{path}", seconds=5)


class Pods:
    """The pods of one namespace, which share a NATS server as their bus."""

    def __init__(self, server: ApiServer, namespace: str, folder: Path) -> None:
        self.server = server
        self.namespace = namespace
        self._folder = folder
        self._stack = contextlib.ExitStack()
        self._token = os.urandom(16).hex()
        self.runs: dict[str, Run] = {}

    def __enter__(self) -> Self:
        bus = NatsServer(self._folder / "nats")
        bus.child = spawn(bus.config)
        self._stack.callback(bus.end)
        end = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", bus.port), 1):
                break
            assert time.monotonic() < end, "NATS does not answer"
            time.sleep(0.02)
        self._bus = bus.url
        secret = {"namespace": self.namespace, "name": names.API_SECRET}
        data = {names.API_TOKEN_KEY: b64encode(self._token.encode()).decode()}
        self.server.apply({"apiVersion": "v1", "kind": "Secret", "metadata": secret, "data": data})
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def start(self, kind: str, serves: str, manifests: str, *, name: str = "") -> Run:
        """A pod of this object (or the runner of this shard): its process, and its Pod object; not ready yet."""
        name = name or f"{serves}-{kind.lower()}-x".replace("/", "-of-")
        address = self._stack.enter_context(lent_address())
        folder = self._folder / name
        folder.mkdir()
        run = _PodRun(folder, "--bus", self._bus, "--admin", f"{address}:7777", "--host", address, "--no-reload")
        run.address = address
        run.write("objects.yaml", manifests)
        run.start({"ARGOSY_API_TOKEN": self._token})
        self._stack.callback(run.__exit__)
        self.runs[name] = run
        self.register(kind, serves, name, address)
        return run

    def register(self, kind: str, serves: str, name: str, address: str, *, ready: bool = True) -> None:
        """The Pod object of a process at this address."""
        env = [{"name": "ARGOSY_API_TOKEN", "valueFrom": {"secretKeyRef": {"name": names.API_SECRET, "key": "token"}}}]
        env += [{"name": "EVENTBUS_CONFIG", "value": "the same"}] if kind in LABELS else []
        env += [{"name": "ARGOSY_SHARD", "value": serves}] if kind == "Runner" else []
        labels = {names.CONTROLLER: f"{kind.lower()}-controller"} | ({LABELS[kind]: serves} if kind in LABELS else {})
        container: dict[str, Any] = {"name": "main", "image": "argosy", "args": [WORDS[kind]], "env": env}
        container["ports"] = [{"name": "metrics", "containerPort": 7777}]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"namespace": self.namespace, "name": name, "labels": labels},
            "spec": {"containers": [container]},
        }
        self.server.apply(pod)
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
        if not address:
            status = {"phase": "Pending"}
        said = {**status, "conditions": [{"type": "Ready", "status": "True" if ready and address else "False"}]}
        path = self.server.path(pod, subresource="status")
        self.server.request("PATCH", path, {"status": said}, content="application/merge-patch+json")

    def url(self, name: str) -> str:
        """Where the pod's own API is."""
        return f"http://{self.runs[name].address}:7777"  # type: ignore[attr-defined]


def needed() -> None:
    """End the test where the addresses cannot be lent, and say why."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        missing(
            "the API server's proxy goes to no loopback address, and only root, with 'ip' of iproute2, can lend others"
        )
    if reason := leads_out():
        missing(reason)


@contextlib.contextmanager
def lent_address() -> Iterator[str]:
    """An address of this machine that nobody else uses, as long as the context is open."""
    while True:
        address = f"10.213.{random.randrange(1, 255)}.{random.randrange(1, 255)}"
        if subprocess.run(["ip", "addr", "add", f"{address}/32", "dev", "lo"], capture_output=True).returncode == 0:
            break
    try:
        yield address
    finally:
        subprocess.run(["ip", "addr", "del", f"{address}/32", "dev", "lo"], capture_output=True)


def token_of(run: Run) -> str:
    """What opens the API of this process."""
    return str(json.loads((run.folder / "data" / "api.json").read_text())["token"])
