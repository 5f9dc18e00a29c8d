"""The commands of pods as child processes, with an environment as a controller writes it, and a NATS server with a password."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from argosy.kubernetes.controller.access import runner_access
from tests.brokers.nats_server import NatsServer
from tests.cli.receiving import Receiver
from tests.cli.running import Run, free_port, http
from tests.kubernetes.apiserver import ApiServer

Object = dict[str, Any]
TOKEN = "token-of-the-api"
_OWN = ("ARGOSY_", "POD_", "EVENT", "SENSOR_", "KUBECONFIG", "LEADER_", "LOG_LEVEL")


def encoded(value: object) -> str:
    """JSON in base64."""
    return base64.b64encode(json.dumps(value).encode()).decode()


class Service(Run):
    """``argosy eventsource-service`` or one of its kind; ``env`` is what its Deployment would say."""

    def __init__(self, folder: Path, command: str, env: Mapping[str, str]) -> None:
        folder.mkdir(parents=True)
        super().__init__(folder)
        self.command = command
        self.mounts = folder / "mounts"
        self.env = {
            "ARGOSY_HOST": "127.0.0.1",
            "ARGOSY_ADMIN": f"127.0.0.1:{self.admin}",
            "ARGOSY_LOG_FORMAT": "text",
            "ARGOSY_API_TOKEN": TOKEN,
            "ARGOSY_MOUNTS": str(self.mounts),
            "ARGOSY_GRACE": "5",
            "POD_NAME": folder.name,
            **env,
        }

    def start(self, env: Mapping[str, str] | None = None) -> None:
        inherited = {name: text for name, text in os.environ.items() if not name.startswith(_OWN)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.program, self.command], stderr=log, env={**inherited, **self.env, **(env or {})}
            )

    def mount(self, path: str, text: str) -> None:
        """Write a file where the kubelet would: all of it at once."""
        place = self.mounts / path
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh = place.with_name(f".{place.name}")
        fresh.write_text(text)
        fresh.replace(place)

    def asked(self, path: str, token: str = TOKEN) -> tuple[int, str]:
        """What the process' API answers."""
        return http(f"http://127.0.0.1:{self.admin}/api/v1{path}", None, {"Authorization": f"Bearer {token}"})


class Nats:
    """A NATS server that wants user and password; ``access`` is what the secret of a bus holds to get in."""

    def __init__(self, folder: Path, password: str, extra: str = "") -> None:
        self.server = NatsServer(folder, extra="\n".join((_users(password), extra)))
        self.url = self.server.url
        self.access = access(password)

    def rotate(self, password: str) -> None:
        """Take another password from now on, as a server does whose configuration changes: nobody with the old one stays."""
        text = self.server.config.read_text()
        self.server.config.write_text(text.replace(_users(yaml.safe_load(self.access)["password"]), _users(password)))
        self.access = access(password)
        assert self.server.child is not None
        self.server.child.send_signal(1)


def _users(password: str) -> str:
    return f'authorization {{ user: "argosy", password: "{password}" }}'


def access(password: str) -> str:
    """What a bus' access secret holds."""
    return f"username: argosy\npassword: {password}\n"


@contextmanager
def nats(folder: Path, password: str = "first-password", extra: str = "") -> Iterator[Nats]:
    """The server, while the context is open."""
    server = Nats(folder, password, extra)
    asyncio.run(server.server.start())
    try:
        yield server
    finally:
        server.server.end()


def event_source(namespace: str, name: str, port: int, **more: Any) -> Object:
    """An EventSource with one webhook event, whose token is in the Secret ``door``."""
    block = {
        "port": str(port),
        "endpoint": f"/{name}",
        "method": "POST",
        "authSecret": {"name": "door", "key": "token"},
        **more,
    }
    return _object("EventSource", namespace, name, {"webhook": {"hello": block}})


def sensor(namespace: str, name: str, source: str, url: str, **more: Any) -> Object:
    """A Sensor that sends what the EventSource receives to ``url``, with a header out of the Secret ``badge``."""
    http = {
        "url": url,
        "method": "POST",
        "payload": [{"src": {"dependencyName": "it", "dataKey": "body.n"}, "dest": "said"}],
        "secureHeaders": [{"name": "X-Badge", "valueFrom": {"secretKeyRef": {"name": "badge", "key": "number"}}}],
        **more,
    }
    return _object(
        "Sensor",
        namespace,
        name,
        {
            "dependencies": [{"name": "it", "eventSourceName": source, "eventName": "hello"}],
            "triggers": [{"template": {"name": "tell", "http": http}}],
        },
    )


def secret(namespace: str, name: str, **values: str) -> Object:
    """A Secret."""
    about = {"namespace": namespace, "name": name}
    data = {key: base64.b64encode(text.encode()).decode() for key, text in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": about, "data": data}


def bus(namespace: str, url: str) -> Object:
    """An EventBus on somebody else's server; its access is in the Secret ``bus-access``."""
    exotic = {"url": url, "accessSecret": {"name": "bus-access", "key": "auth"}}
    return _object("EventBus", namespace, "default", {"jetstreamExotic": exotic})


def _object(kind: str, namespace: str, name: str, spec: Object) -> Object:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": kind,
        "metadata": {"namespace": namespace, "name": name},
        "spec": spec,
    }


def post(port: int, path: str, body: object, token: str) -> int:
    """The status of a request to a webhook; 0 where nobody listens."""
    try:
        headers = {"Authorization": f"Bearer {token}"}
        return http(f"http://127.0.0.1:{port}/{path}", json.dumps(body).encode(), headers)[0]
    except OSError:
        return 0


def port() -> int:
    """A free port."""
    return free_port()


def plain(item: Object) -> Object:
    """The object as upstream's controller writes it into EVENTSOURCE_OBJECT and SENSOR_OBJECT."""
    return {"metadata": item["metadata"], "spec": item["spec"]}


def config(url: str) -> Object:
    """EVENTBUS_CONFIG of a bus with a password."""
    return {"jetstream": {"url": url, "accessSecret": {"name": "bus-access", "key": "auth"}, "streamConfig": ""}}


def badges(receiver: Receiver) -> list[tuple[str, str]]:
    """What was said to the receiver, and with which header."""
    return [(json.loads(one.body)["said"], one.headers["X-Badge"]) for one in receiver.requests]


class Place:
    """A namespace with a runner, its bus, and a service account that may do what the controller would let it."""

    def __init__(self, apiserver: ApiServer, namespace: str, folder: Path) -> None:
        self.apiserver = apiserver
        self.namespace = namespace
        self.folder = folder
        self.objects: dict[tuple[str, str], Object] = {}

    def apply(self, *items: Object, grant: bool = True) -> None:
        """Apply objects and, as the controller does, the rights that the runner needs for them."""
        for item in items:
            self.apiserver.apply(item)
            self.objects[item["kind"], item["metadata"]["name"]] = item
        if grant:
            self.grant()

    def grant(self, without: str = "") -> str:
        """Let the runner do what it needs, ``without`` one resource; its user."""
        kinds = ("EventSource", "Sensor")
        served = [item for (kind, _), item in self.objects.items() if kind in kinds]
        buses = [item for (kind, _), item in self.objects.items() if kind == "EventBus"]
        rules = runner_access(self.namespace, served, buses)[1]["rules"]
        kept = [rule for rule in rules if without not in rule["resources"]]
        return self.apiserver.service_account(self.namespace, "argosy-runner", kept)

    def delete(self, kind: str, name: str) -> None:
        """Delete an object."""
        item = self.objects.pop((kind, name))
        self.apiserver.request("DELETE", self.apiserver.path(item))

    def runner(self, name: str = "runner", **env: str) -> Service:
        """A runner as the controller would start it."""
        config = self.apiserver.kubeconfig(self.folder / f"{name}.kubeconfig", self.grant(), namespace=self.namespace)
        own = {"KUBECONFIG": str(config), "POD_NAMESPACE": self.namespace, "ARGOSY_MODE": "shared", "HOME": "/nowhere"}
        return Service(self.folder / name, "runner-service", own | env)
