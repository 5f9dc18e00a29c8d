"""One pod on the test kubelet: its volumes, its containers one after another, their probes, its status, its end.

A thread a pod does everything in order, ten times a second: renew volumes, see which processes ended and start them again after
a pause that doubles from 0.2 to 10 s, ask the probes that are due, and tell the API server what has changed.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from tests.cluster.container import Container, expanded
from tests.cluster.probe import Probe
from tests.cluster.volumes import NotYet, Source, Volume, contents, field
from tests.cluster.watched import Object
from tests.kubernetes.apiserver import ApiError, ApiServer

_TICK_SECONDS = 0.1
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Node(Protocol):
    """What a pod needs of the kubelet that it is on."""

    server: ApiServer
    source: Source
    folder: Path
    address: str

    def environment(self, pod: Object) -> Mapping[str, str]:
        """More environment for our programs."""

    def current(self, pod: Object) -> Object | None:
        """The pod as it is in the API server now; None where it is gone."""


class Pod:
    """One pod and its thread."""

    def __init__(self, pod: Object, node: Node, address: str, names: Path) -> None:
        self.object = pod
        self.key = (pod["metadata"]["namespace"], pod["metadata"]["name"])
        self.uid: str = pod["metadata"]["uid"]
        self.address = address
        self.wake = threading.Event()
        self._node = node
        self._names = names
        self._place = node.folder / "pods" / self.uid
        self._abandoned = threading.Event()
        spec = pod["spec"]
        logs = node.folder / "logs" / self.key[0] / self.key[1]
        self.init, self.containers = (
            [Container(each, spec, self._place / "at" / each["name"], logs / f"{each['name']}.log") for each in some]
            for some in (spec.get("initContainers") or (), spec["containers"])
        )
        self._volumes = {
            block["name"]: Volume(pod, block, self._place / "volumes", node.source)
            for block in spec.get("volumes") or ()
        }
        self._probes: dict[str, dict[str, Probe]] = {}
        self._since: dict[str, tuple[str, str]] = {}
        self._told: dict[str, Any] = {}
        self._started = _now()
        self._initialized = not self.init
        self.waiting = ""
        """Why it does not start; empty when it does."""
        self._thread = threading.Thread(target=self._run, name=f"pod {self.key[1]}", daemon=True)
        self._thread.start()

    @property
    def over(self) -> bool:
        """Whether nothing of it is left here."""
        return not self._thread.is_alive()

    def abandon(self) -> None:
        """Kill what runs; the API server is told nothing."""
        self._abandoned.set()
        self.wake.set()

    def await_end(self) -> None:
        """Return once nothing of it is left; only after ``abandon``."""
        self._thread.join(30)

    def _path(self) -> str:
        return f"/api/v1/namespaces/{self.key[0]}/pods/{self.key[1]}"

    # ------------------------------------------------------------------ its thread

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._abandoned.is_set():
            try:
                current = self._node.current(self.object)
                if current is None:
                    break
                self.object = current
                if "deletionTimestamp" in current["metadata"]:
                    self._end()
                    break
                self._renew()
                self._supervise()
                self._tell(self._status())
                pause = _FIRST_PAUSE
            except (ApiError, OSError) as error:
                # The API server is away, or knows better: its next word is heard.
                self.waiting = str(error)
                time.sleep(pause)
                pause = min(pause * 2, 2.0)
            self.wake.wait(_TICK_SECONDS)
            self.wake.clear()
        for container in (*self.containers, *self.init):
            container.signal(signal.SIGKILL)

    def _renew(self) -> None:
        try:
            for volume in self._volumes.values():
                volume.renew()
        except NotYet as error:
            self.waiting = str(error)

    def _supervise(self) -> None:
        for container in self.init:
            if container.code == 0:
                continue
            if container.ended() and container.code != 0:
                self._start(container)
            return
        self._initialized = True
        for container in self.containers:
            if container.ended():
                self._start(container)
            if container.running:
                self._probe(container)

    def _start(self, container: Container) -> None:
        """Start it for the first time, or again where the pod's policy says so and its pause is over."""
        again = container.code is not None
        policy = self.object["spec"].get("restartPolicy", "Always")
        if again and (policy == "Never" or (policy == "OnFailure" and container.code == 0)):
            return
        if again and not container.not_before:
            container.restarts += 1
            longer = _FIRST_PAUSE * 2 ** min(container.restarts - 1, 10)
            container.not_before = time.monotonic() + min(longer, _LONGEST_PAUSE)
        if time.monotonic() < container.not_before:
            return
        self.waiting = ""
        try:
            for volume in self._volumes.values():
                volume.renew()
            environment = self._environment(container)
            container.start(environment, self._mounts(container, environment), self._names, self.address)
        except NotYet as error:
            self.waiting = str(error)
            return
        container.not_before = 0.0
        self._probes[container.name] = {
            kind: Probe(container.spec[f"{kind}Probe"])
            for kind in ("startup", "liveness", "readiness")
            if f"{kind}Probe" in container.spec
        }

    def _probe(self, container: Container) -> None:
        probes = self._probes[container.name]
        if not container.kind:
            return
        startup = probes.get("startup")
        if startup is not None and startup.passing is not True:
            startup.ask(container, self.address)
            if startup.passing is False:
                self._stop(container, float(self.object["spec"].get("terminationGracePeriodSeconds", 30)))
            return
        if "readiness" in probes:
            probes["readiness"].ask(container, self.address)
        if "liveness" in probes:
            probes["liveness"].ask(container, self.address)
            if probes["liveness"].passing is False:
                self._stop(container, float(self.object["spec"].get("terminationGracePeriodSeconds", 30)))

    def _ready(self, container: Container) -> bool:
        if not container.running:
            return False
        probes = self._probes.get(container.name, {}) if container.kind else {}
        return all(probes[kind].passing is True for kind in ("startup", "readiness") if kind in probes)

    # ------------------------------------------------------------------ what containers get

    def _environment(self, container: Container) -> dict[str, str]:
        host, _, port = self._node.server.url.removeprefix("https://").partition(":")
        found = {
            "PATH": _PATH,
            "HOME": "/",
            "HOSTNAME": self.object["spec"].get("hostname") or self.key[1],
            "KUBERNETES_SERVICE_HOST": host,
            "KUBERNETES_SERVICE_PORT": port,
        }
        for block in container.spec.get("envFrom") or ():
            kind, about = (
                ("secret", block.get("secretRef")) if "secretRef" in block else ("configMap", block.get("configMapRef"))
            )
            held = self._held(kind, about["name"], about.get("optional", False))
            found |= {block.get("prefix", "") + key: value.decode() for key, value in (held or {}).items()}
        for each in container.spec.get("env") or ():
            if (value := self._value(each, found)) is not None:
                found[each["name"]] = value
        if container.kind == "argosy":
            found |= {"ARGOSY_HOST": self.address, "ARGOSY_ADMIN": f"{self.address}:7777"}
            found |= self._node.environment(self.object)
        return found

    def _value(self, each: Mapping[str, Any], before: Mapping[str, str]) -> str | None:
        source = each.get("valueFrom")
        if source is None:
            return expanded(str(each.get("value", "")), before)
        if "fieldRef" in source:
            here = {**self.object, "status": {"podIP": self.address, "hostIP": self._node.address}}
            return field(here, source["fieldRef"]["fieldPath"])
        for kind, word in (("secret", "secretKeyRef"), ("configMap", "configMapKeyRef")):
            if word in source:
                about = source[word]
                held = self._held(kind, about["name"], about.get("optional", False))
                if held is None or about["key"] not in held:
                    if about.get("optional"):
                        return None
                    raise NotYet(f"couldn't find key {about['key']} in {kind} {about['name']!r}")
                return held[about["key"]].decode()
        raise NotImplementedError(f"this kubelet knows no environment from {sorted(source)}")

    def _held(self, kind: str, name: str, optional: bool) -> dict[str, bytes] | None:
        cache = self._node.source.secrets if kind == "secret" else self._node.source.config_maps
        found = cache.get(self.key[0], name)
        if found is None:
            if optional:
                return None
            raise NotYet(f'{kind} "{name}" not found')
        return contents(kind, found)

    def _mounts(self, container: Container, environment: Mapping[str, str]) -> list[tuple[Path, str, bool]]:
        found = []
        for mount in container.spec.get("volumeMounts") or ():
            volume = self._volumes[mount["name"]]
            inside = mount.get("subPath") or expanded(mount.get("subPathExpr", ""), environment)
            source = volume.folder / inside
            if not source.exists():
                source.mkdir(parents=True)
            only_read = mount.get("readOnly", False) or not volume.plain
            found.append((source.resolve() if inside else source, mount["mountPath"], only_read))
        return found

    # ------------------------------------------------------------------ its end

    def _end(self) -> None:
        """End its containers within the grace that the deletion gives, and let go of its object."""
        grace = float(self.object["metadata"].get("deletionGracePeriodSeconds") or 0)
        threads = [threading.Thread(target=self._stop, args=(each, grace), daemon=True) for each in self.containers]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        for container in self.init:
            container.signal(signal.SIGKILL)
        self._tell(self._status())
        with contextlib.suppress(ApiError):
            self._node.server.request(
                "DELETE",
                self._path(),
                {
                    "kind": "DeleteOptions",
                    "apiVersion": "v1",
                    "gracePeriodSeconds": 0,
                    "preconditions": {"uid": self.uid},
                },
            )

    def _stop(self, container: Container, seconds: float) -> None:
        """preStop, SIGTERM, and SIGKILL when the time is over, as a kubelet does it."""
        end = time.monotonic() + seconds
        hook = (container.spec.get("lifecycle") or {}).get("preStop") or {}
        if container.kind and "exec" in hook:
            with contextlib.suppress(subprocess.TimeoutExpired):
                container.run(hook["exec"]["command"], max(seconds, 0.1))
        elif container.kind and "sleep" in hook:
            self._abandoned.wait(min(float(hook["sleep"]["seconds"]), seconds))
        container.signal(signal.SIGTERM)
        while not container.ended() and time.monotonic() < end and not self._abandoned.is_set():
            time.sleep(0.02)
        container.signal(signal.SIGKILL)

    # ------------------------------------------------------------------ its status

    def _status(self) -> dict[str, Any]:
        spec = self.object["spec"]
        ready = self._initialized and all(map(self._ready, self.containers))
        codes = [each.code for each in self.containers if not each.running]
        policy = spec.get("restartPolicy", "Always")
        phase = "Running" if any(each.running or each.restarts for each in self.containers) else "Pending"
        over = len(codes) == len(self.containers) and None not in codes
        if over and (policy == "Never" or (policy == "OnFailure" and not any(codes))):
            phase = "Failed" if any(codes) else "Succeeded"
        now = {
            "Initialized": self._initialized,
            "PodScheduled": True,
            "ContainersReady": ready,
            "Ready": ready,
        }
        conditions = []
        for kind, holds in now.items():
            word = str(holds)
            if self._since.get(kind, ("", ""))[0] != word:
                self._since[kind] = (word, _now())
            conditions.append({"type": kind, "status": word, "lastTransitionTime": self._since[kind][1]})
        return {
            "phase": phase,
            "conditions": conditions,
            "hostIP": self._node.address,
            "podIP": self.address,
            "podIPs": [{"ip": self.address}],
            "startTime": self._started,
            "containerStatuses": [self._of(each) for each in self.containers],
            **({"initContainerStatuses": [self._of(each) for each in self.init]} if self.init else {}),
        }

    def _of(self, container: Container) -> dict[str, Any]:
        state: dict[str, Any]
        if container.running:
            state = {"running": {"startedAt": self._started}}
        elif container.code is None:
            state = {"waiting": {"reason": "ContainerCreating", "message": self.waiting}}
        elif container.not_before:
            state = {"waiting": {"reason": "CrashLoopBackOff", "message": f"it ended with {container.code}"}}
        else:
            state = {"terminated": {"exitCode": container.code, "reason": "Error" if container.code else "Completed"}}
        return {
            "name": container.name,
            "image": container.image,
            "imageID": container.image,
            "ready": self._ready(container),
            "started": container.running,
            "restartCount": container.restarts,
            "state": state,
        }

    def _tell(self, status: dict[str, Any]) -> None:
        if status == self._told:
            return
        try:
            self._node.server.request(
                "PATCH", f"{self._path()}/status", {"status": status}, content="application/merge-patch+json"
            )
        except ApiError as error:
            if error.status != 404:
                raise
        self._told = status
