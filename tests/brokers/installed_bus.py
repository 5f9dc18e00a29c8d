"""The servers of an installed EventBus as its pods would run them: real processes on loopback, from the objects alone.

What the StatefulSet mounts becomes files in a folder, its variables the process' own; ports and folders are moved, nothing else.
"""

from __future__ import annotations

import base64
import os
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from argosy.bus._embedded_child import find_binary
from tests.cli.running import free_port

Object = dict[str, Any]


class Installed:
    """The servers of one bus. A context manager; ``apply`` writes changed objects where the kubelet would."""

    def __init__(self, folder: Path, objects: list[Object]) -> None:
        self._folder = folder
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._by_kind = {one["kind"]: one for one in objects if one["kind"] not in ("Secret", "ConfigMap")}
        self.count = self._by_kind["StatefulSet"]["spec"]["replicas"]
        self._ports = [(free_port(), free_port(), free_port()) for _ in range(self.count)]
        self.url = ",".join(f"tls://localhost:{client}" for client, _, _ in self._ports)
        self.apply(objects)

    def __enter__(self) -> Installed:
        for index in range(self.count):
            self.start(index)
        for index in range(self.count):
            self.answers(index, "startupProbe")
        return self

    def __exit__(self, *exc: object) -> None:
        for index in list(self._children):
            self.end(index)

    @property
    def _pod(self) -> Object:
        pod: Object = self._by_kind["StatefulSet"]["spec"]["template"]["spec"]
        return pod

    def config(self, index: int) -> Path:
        """The configuration file of one server."""
        return self._folder / str(index) / "config" / "nats-js.conf"

    def log(self, index: int) -> str:
        """What one server said."""
        return (self._folder / str(index) / "log").read_text()

    def apply(self, objects: list[Object]) -> None:
        """Write what the pods mount."""
        self._held = {(one["kind"], one["metadata"]["name"]): one["data"] for one in objects if "data" in one}
        (volume,) = (one for one in self._pod["volumes"] if one["name"] == "config-volume")
        for index in range(self.count):
            self.config(index).parent.mkdir(parents=True, exist_ok=True)
            for source in volume["projected"]["sources"]:
                for kind, word in (("configMap", "ConfigMap"), ("secret", "Secret")):
                    for item in (source.get(kind) or {}).get("items", ()):
                        text = self._held[word, source[kind]["name"]][item["key"]]
                        plain = base64.b64decode(text).decode() if kind == "secret" else self._moved(text, index)
                        (self.config(index).parent / item["path"]).write_text(plain)

    def environment(self, index: int) -> dict[str, str]:
        """The variables of one server's container."""
        found = {"POD_NAME": f"{self._by_kind['StatefulSet']['metadata']['name']}-{index}", "POD_NAMESPACE": "shop"}
        for one in self._pod["containers"][0]["env"]:
            if "value" in one:
                found[one["name"]] = one["value"]
            elif reference := one["valueFrom"].get("secretKeyRef"):
                found[one["name"]] = base64.b64decode(
                    self._held["Secret", reference["name"]][reference["key"]]
                ).decode()
        # The one name that this machine and the certificate have in common.
        return {**os.environ, **found, "CLUSTER_ADVERTISE": "localhost"}

    def start(self, index: int) -> None:
        """Start one server."""
        for name in ("run", "data"):
            (self._folder / str(index) / name).mkdir(exist_ok=True)
        with (self._folder / str(index) / "log").open("ab") as log:
            self._children[index] = subprocess.Popen(
                [find_binary(), "--config", str(self.config(index))],
                env=self.environment(index),
                stdout=log,
                stderr=log,
            )

    def end(self, index: int) -> None:
        """End one server at once."""
        child = self._children.pop(index)
        child.kill()
        child.wait(10)

    def reload(self, index: int) -> None:
        """What the reloader does."""
        subprocess.run([find_binary(), "--signal", f"reload={self._children[index].pid}"], check=True)

    def answers(self, index: int, probe: str) -> None:
        """Return once the server answers this probe of its container well."""
        path = self._pod["containers"][0][probe]["httpGet"]["path"]
        until = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self._ports[index][1]}{path}", timeout=5):
                    return
            except (urllib.error.URLError, OSError) as error:
                if time.monotonic() > until or self._children[index].poll() is not None:
                    raise AssertionError(f"server {index}: {error}\n{self.log(index)}") from error
                time.sleep(0.02)

    def _moved(self, text: str, index: int) -> str:
        home = self._folder / str(index)
        client, monitor, cluster = self._ports[index]
        for other, (_, _, port) in enumerate(self._ports):
            # Only the names of the routes are somewhere else; whom the servers trust stays.
            text = text.replace(
                f"eventbus-default-js-{other}.eventbus-default-js-svc.shop.svc:6222", f"localhost:{port}"
            )
        for theirs, ours in (
            ("/etc/nats-config", home / "config"),
            ("/var/run/nats", home / "run"),
            ("/data/jetstream", home / "data"),
            ("port: 4222", f"host: localhost\nport: {client}"),
            ("http: 8222", f"http: 127.0.0.1:{monitor}"),
            ("  port: 6222", f"  host: localhost\n  port: {cluster}"),
        ):
            text = text.replace(theirs, str(ours))
        return text
