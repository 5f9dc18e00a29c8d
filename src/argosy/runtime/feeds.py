"""Where a process's manifests come from: files, the environment of a pod of one object, or a namespace of a cluster.

A feed says how things stand, the whole of it, and says it anew whenever that changed; the process makes what runs equal to it. What is broken in
it is a finding, and what ran of it goes on running (``Bundle.keeping``). ``argosy.runtime.cluster`` has the feed of a namespace.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from argosy.errors import ConfigError
from argosy.kubernetes.buses import access_of, bus_manifest
from argosy.kubernetes.names import GROUP_VERSION
from argosy.manifests.bundle import Bundle, from_objects, load

_log = logging.getLogger("argosy.runtime")

CONFIG = "EVENTBUS_CONFIG"
"""The variable with the way to the bus of a pod's object."""
_VARIABLES: dict[Literal["EventSource", "Sensor"], str] = {
    "EventSource": "EVENTSOURCE_OBJECT",
    "Sensor": "SENSOR_OBJECT",
}


class Feed(ABC):
    """Manifests from somewhere. ``now`` is asked once, ``changes`` is iterated afterwards."""

    repeats: ClassVar[bool] = True
    """Whether a finding is said at every change, and not only when it is new: whoever changes a file reads what is said."""

    @property
    @abstractmethod
    def what(self) -> str:
        """Where it looks, in words."""

    def late(self) -> list[str]:
        """What is not known yet, in words."""
        return []

    @abstractmethod
    def now(self) -> Bundle | None:
        """The manifests as they stand, or None where ``changes`` tells them first. May block on files."""

    @abstractmethod
    def changes(self) -> AsyncIterator[Bundle]:
        """The manifests whenever they changed, as they stand then. It may end: then they never change again."""


class Files(Feed):
    """Files and folders; ``follow`` them while the process runs."""

    def __init__(self, paths: tuple[str, ...], *, follow: bool = True) -> None:
        self._paths = paths
        self._follow = follow

    @property
    def what(self) -> str:
        return ", ".join(self._paths)

    def now(self) -> Bundle:
        return load(self._paths)

    async def changes(self) -> AsyncIterator[Bundle]:
        if not self._follow:
            return
        from watchfiles import awatch

        existing = [path for path in self._paths if Path(path).exists()]  # noqa: ASYNC240 - once, at start
        async for _ in awatch(*existing, debounce=300, step=100, ignore_permission_denied=True):
            try:
                yield await asyncio.to_thread(load, self._paths)
            except OSError as error:
                _log.error("the manifests cannot be read: %s; everything runs on as it was", error)


class Environment(Feed):
    """One object and its bus out of the variables of a pod, as upstream's controller writes them: JSON in base64. They never change; the
    controller makes new pods instead.
    """

    def __init__(self, kind: Literal["EventSource", "Sensor"], environment: Mapping[str, str]) -> None:
        """Reads the variables; raises ConfigError, naming the one that is missing or broken."""
        variable = _VARIABLES[kind]
        given = _decoded(environment, variable)
        about = given.get("metadata")
        if not isinstance(about, dict) or not about.get("name") or not isinstance(given.get("spec"), dict):
            raise ConfigError(f"{variable} holds no {kind}: it needs 'metadata' with a name, and 'spec'")
        self._variable = variable
        config = _decoded(environment, CONFIG)
        try:
            bus = bus_manifest(
                about.get("namespace") or "default", given["spec"].get("eventBusName") or "default", config
            )
        except ConfigError as error:
            raise ConfigError(f"{CONFIG}: {error}") from error
        self.access = access_of(config)
        """Name of the Secret and key in it that open the bus; None where nobody is asked."""
        self._objects = [{"apiVersion": GROUP_VERSION, "kind": kind, **given}, bus]

    @property
    def what(self) -> str:
        return f"the variables {self._variable} and {CONFIG}"

    def now(self) -> Bundle:
        return errors_alone(from_objects(self._objects))

    async def changes(self) -> AsyncIterator[Bundle]:
        return
        yield


def errors_alone(bundle: Bundle) -> Bundle:
    """The bundle without warnings. They are mostly about others (an EventSource that a Sensor names), and a pod does not see all of those;
    whoever applies an object is warned by ``argosy admission``.
    """
    bundle.findings = [finding for finding in bundle.findings if finding.severity == "error"]
    return bundle


def _decoded(environment: Mapping[str, str], variable: str) -> dict[str, Any]:
    text = environment.get(variable, "")
    if not text:
        raise ConfigError(f"the variable {variable} is not set; the controller sets it in the pods that it makes")
    try:
        value = json.loads(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError) as error:
        # What is in it is not said: it may be anything.
        raise ConfigError(f"the variable {variable} is not JSON in base64") from error
    if not isinstance(value, dict):
        raise ConfigError(f"the variable {variable} is no JSON object")
    return value
