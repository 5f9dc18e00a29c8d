"""A site on a whole cluster: a controller installed as users install it, a namespace with the manifests of ``workshop``, and a RabbitMQ.

Everything is applied with kubectl: what ``argosy install`` prints, then the manifests as they are, but for the namespace's name.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import kombu

from tests.brokers.rabbitmq import RabbitMQ
from tests.cluster.whole import SECONDS, Cluster

T = TypeVar("T")
ARGOSY = Path(sys.executable).with_name("argosy")
WORKSHOP = Path(__file__).with_name("workshop")
BROKER = "broker.workshop.example:5672"
KINDS = ("eventbus", "eventsources", "sensors")
GROUP = "/apis/argoproj.io/v1alpha1/namespaces"
OWN = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "uid")
TIMESTAMP = "events.argoproj.io/action-timestamp"


def argosy(*words: str) -> str:
    """What the command prints. Raises AssertionError with its complaint where it fails."""
    done = subprocess.run([ARGOSY, *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"argosy {' '.join(words)}:\n{done.stdout}{done.stderr}"
    return done.stdout


class Memory(NamedTuple):
    """What a process holds, in MB."""

    resident: int
    own: int
    """The same, where of a page that several processes share each counts its part."""


class Site:
    """One installation and one namespace that it serves."""

    def __init__(
        self,
        cluster: Cluster,
        rabbitmq: RabbitMQ | None,
        *,
        namespaces: Sequence[str] = ("",),
        mode: str = "dedicated",
    ) -> None:
        """The first of the namespaces is what is meant where none is named; an empty name is drawn."""
        self.cluster = cluster
        self.rabbitmq = rabbitmq
        self.mode = mode
        self.namespaces = [cluster.manager.namespace(each) for each in namespaces]
        self.namespace = self.namespaces[0]
        self.controllers = f"{self.namespace}-system"
        self.texts: dict[str, str] = {}
        """What was applied in the namespace, by file."""

    # ------------------------------------------------------------------ applying

    def install(self, *words: str) -> None:
        """Install a controller for the namespace, and return once it runs."""
        self.installed = argosy(
            *("install", "-n", self.controllers, "--mode", self.mode),
            *(word for each in self.namespaces for word in ("--managed-namespace", each)),
            *("--without", "crds", "--without", "admission", "--image", "argosy:one", *words),
        )
        self.cluster.kubectl("apply", "--server-side", "-f", "-", stdin=self.installed)
        self.cluster.until(
            lambda: len(self.cluster.ready(self.controllers)) == 2,
            "the controller is ready",
            namespace=self.controllers,
        )

    def apply(self, *files: Path) -> None:
        """Apply these manifests in the namespace."""
        for file in files:
            text = file.read_text().replace("namespace: workshop", f"namespace: {self.namespace}")
            self.texts[file.name] = text
            self.cluster.kubectl("apply", "-n", self.namespace, "-f", "-", stdin=text)

    def lend_broker(self, *vhosts: str) -> None:
        """A user of RabbitMQ for each virtual host, whose credentials are a Secret, and the way there for pods."""
        assert self.rabbitmq is not None
        for vhost in vhosts:
            user, password = f"argo-{vhost}", secrets.token_hex(8)
            self.rabbitmq.add_user(user, password)
            self.rabbitmq.add_vhost(vhost, users=(user, "argosy"))
            metadata = {"name": f"{vhost}-broker", "namespace": self.namespace}
            data = {"username": user, "password": password}
            self.cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data})
        self.cluster.kubelet.more["ARGOSY_RESOLVE"] = f"{BROKER}=127.0.0.1:{self.rabbitmq.port}"

    def until_ready(self, *kinds: str, seconds: float = 90) -> None:
        """Return once the condition Ready of all objects of these kinds (else of our three) is True."""
        for kind in kinds or KINDS:
            self.until(
                lambda kind=kind: all(  # type: ignore[misc]
                    self.conditions(each).get("Ready", {}).get("status") == "True" for each in self.objects(kind)
                ),
                f"all {kind} are ready",
                seconds=seconds,
            )

    def until(self, found: Callable[[], T], what: str, seconds: float = SECONDS) -> T:
        """As ``Cluster.until``; what the objects' statuses are is said, too."""
        try:
            return self.cluster.until(found, what, namespace=self.namespace, seconds=seconds)
        except AssertionError as error:
            told = [
                f"{each['metadata']['name']}: {json.dumps(each.get('status'))}"
                for kind in KINDS
                for each in self.objects(kind)
            ]
            raise AssertionError("\n".join([str(error), *told, f"made: {self.made()}"])) from None

    # ------------------------------------------------------------------ looking

    def objects(self, plural: str) -> list[dict[str, Any]]:
        """All objects of one of our kinds, or Workflows, in all namespaces of the site."""
        found = [self.cluster.server.request("GET", f"{GROUP}/{each}/{plural}")["items"] for each in self.namespaces]
        return [each for items in found for each in items]

    def object(self, plural: str, name: str) -> dict[str, Any]:
        """One of them."""
        found: dict[str, Any] = self.cluster.server.request("GET", f"{GROUP}/{self.namespace}/{plural}/{name}")
        return found

    @staticmethod
    def conditions(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """The conditions of an object by their types."""
        return {each["type"]: each for each in (found.get("status") or {}).get("conditions") or ()}

    def made(self) -> Counter[str]:
        """Every Workflow and Job of the namespace, without what is another's in each."""
        jobs = self.cluster.server.request("GET", f"/apis/batch/v1/namespaces/{self.namespace}/jobs")["items"]
        return Counter(_spoken(each) for each in (*self.objects("workflows"), *jobs))

    def memory(self) -> dict[str, Memory]:
        """What each container with a process holds, by ``namespace/pod/container``."""
        found: dict[str, Memory] = {}
        for namespace in self.namespaces:
            for name, pid in self.cluster.kubelet.processes(namespace).items():
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                held = {line.split()[0]: int(line.split()[1]) // 1024 for line in lines[1:]}
                found[name] = Memory(held["Rss:"], held["Pss:"])
        return found

    def until_gone(self) -> None:
        """Return once the namespaces are gone."""

        def gone() -> bool:
            there = self.cluster.server.request("GET", "/api/v1/namespaces")["items"]
            return not {each["metadata"]["name"] for each in there} & set(self.namespaces)

        self.cluster.until(gone, "the namespaces are gone", namespace=self.namespace, seconds=120)

    def remove(self) -> None:
        """Delete everything of the site that is there yet, and return once none of its processes is."""
        spaces = [*self.namespaces, self.controllers]
        server = self.cluster.server
        there = {each["metadata"]["name"] for each in server.request("GET", "/api/v1/namespaces")["items"]}
        # While there is a controller, so that nothing waits for one.
        for namespace in there.intersection(self.namespaces):
            self.cluster.kubectl("delete", ",".join(KINDS), "--all", "-n", namespace, "--wait=false", check=False)
        with contextlib.suppress(AssertionError):
            self.cluster.until(lambda: not any(map(self.objects, KINDS)), "objects are gone", seconds=20)
        self.cluster.kubectl("delete", "--ignore-not-found", "namespaces", *spaces, "--wait=false")
        self.cluster.until(lambda: not any(map(self.cluster.kubelet.pods, spaces)), "its pods are gone", seconds=120)

    # ------------------------------------------------------------------ causing

    @contextmanager
    def notifying(self, vhost: str) -> Iterator[Notifier]:
        """A connection on which notifications are published."""
        assert self.rabbitmq is not None
        options = {"confirm_publish": True}
        with kombu.Connection(f"{self.rabbitmq.url}/{vhost}", transport_options=options) as connection:
            yield Notifier(connection)

    def report(self, *reports: dict[str, Any]) -> None:
        """Tell what machines say; RabbitMQ has it on return."""
        with self.notifying("machines") as notifier:
            for each in reports:
                notifier.publish("machines", "report.info", json.dumps({"envelope": json.dumps(each)}).encode())

    def argosy(self, *words: str) -> str:
        """A command of ours against the namespace, as an administrator."""
        environment = {**os.environ, "KUBECONFIG": str(self.cluster.kubeconfig)}
        command = [ARGOSY, *words, "--cluster", "-n", self.namespace]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
        assert done.returncode == 0, f"{words}:\n{done.stdout}{done.stderr}"
        return done.stdout


class Notifier:
    """Publishes on one connection, and returns once the broker has confirmed."""

    def __init__(self, connection: kombu.Connection) -> None:
        self._producer = connection.Producer()

    def publish(self, exchange: str, key: str, body: bytes) -> None:
        """One durable message."""
        self._producer.publish(
            body, exchange=exchange, routing_key=key, content_type="application/json", content_encoding="utf-8", delivery_mode=2
        )  # fmt: skip


def _spoken(made: dict[str, Any]) -> str:
    """An object as text, with its kind told by how it begins: what it asks for, without its identity."""
    about = made["metadata"]
    kind = about["generateName"]
    if "arguments" in made["spec"]:
        asked = [each.get("value") for each in made["spec"]["arguments"]["parameters"]]
        asked.append(made["spec"]["workflowTemplateRef"]["name"])
    else:
        asked = made["spec"]["template"]["spec"]["containers"][0]["args"]
    return json.dumps([kind, *asked])


def spoken(kind: str, *asked: str) -> str:
    """How ``Site.made`` says such an object."""
    return json.dumps([kind, *asked])
