"""``argosy admission`` as a process that a real API server asks, with an account that has just the rights it is to have."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from argosy.kubernetes.admission.configuration import (
    NAME,
    admission_cluster_rules,
    admission_own_rules,
    admission_rules,
    configuration,
)
from tests.kubernetes.apiserver import ApiServer

Object = dict[str, Any]
_RBAC = "rbac.authorization.k8s.io"


def free_port() -> int:
    """A port of loopback that nobody uses now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def account(server: ApiServer, namespace: str, name: str = NAME) -> str:
    """The webhook's service account in a namespace that it also judges; the user for ``kubeconfig``."""
    user = server.service_account(namespace, NAME, [*admission_rules(), *admission_own_rules()])
    role: Object = {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": f"{NAME}-{namespace}"},
        "rules": admission_cluster_rules(name),
    }
    binding = {
        **role,
        "kind": "ClusterRoleBinding",
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": f"{NAME}-{namespace}"},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}],
    }
    del binding["rules"]
    for each in (role, binding):
        server.apply(each)
    return user


class Webhook:
    """One process. ``port`` is where it judges, ``log`` what it said."""

    def __init__(self, kubeconfig: Path, namespace: str, folder: Path, *words: str, port: int = 0) -> None:
        self.port = port or free_port()
        self.admin = free_port()
        self.output = folder / f"webhook-{self.port}-{secrets.token_hex(2)}.log"
        command = [
            *(sys.executable, "-m", "argosy.cli.main", "admission", "--namespaced", "--managed-namespace", namespace),
            *("--namespace", namespace, "--host", "127.0.0.1", "--port", str(self.port), "--host-name", "127.0.0.1"),
            *("--admin", f"127.0.0.1:{self.admin}", "--judges", "1", "--log-format", "json", *words),
        ]
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    @property
    def log(self) -> str:
        return self.output.read_text()

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of its admin server; 0 where nobody answers."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{self.admin}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log
        return self.get("/readyz")[0] == 200

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """The exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@contextlib.contextmanager
def running(kubeconfig: Path, namespace: str, folder: Path, *words: str, port: int = 0) -> Iterator[Webhook]:
    """A webhook that runs while the context is open."""
    one = Webhook(kubeconfig, namespace, folder, *words, port=port)
    try:
        yield one
    finally:
        one.end(signal.SIGKILL)


def asked(server: ApiServer, namespace: str, port: int, name: str = NAME) -> None:
    """Have the API server ask the webhook at this port about the objects of the namespace."""
    server.apply(configuration(namespace, watched=[namespace], url=f"https://127.0.0.1:{port}", name=name))


def path_of(name: str = NAME) -> str:
    """Where the API server has a configuration."""
    return f"/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{name}"


def not_asked(server: ApiServer, name: str = NAME) -> None:
    """Have the API server ask nobody."""
    server.request("DELETE", path_of(name))
