"""What an operation is, what it is asked, and the running system that it works on.

An operation is a function of the system and the question. It works on the buses and the loaded manifests alone, so it is the same
whether one process runs everything or several workers do. What a running worker must notice it leaves on the bus.

It answers with a value for one JSON document, or with an asynchronous generator whose values are sent as JSON lines while they come. It raises
``NotFound``, ``Ambiguous`` or any other ArgosyError with a sentence for the person who asked.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from argosy.bus._base import Bus, Queue
from argosy.clock import Clock, SystemClock
from argosy.errors import Ambiguous, BusUnavailable, ConfigError, NotFound
from argosy.manifests.bundle import Bundle
from argosy.manifests.sensor import Sensor
from argosy.manifests.spelling import did_you_mean
from argosy.runtime.buses import Buses, used
from argosy.runtime.secrets import Secrets
from argosy.runtime.sensors import queue_name
from argosy.runtime.status import Key, Status

_OPEN_SECONDS = 10.0
_LEAST_PREFIX = 8


@dataclass(frozen=True)
class Ask:
    """One question: what the path, the query and the body say. ``body`` is the parsed JSON of a POST, None without one."""

    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None

    def text(self, name: str, default: str = "") -> str:
        """A word of the query."""
        return self.query.get(name, default)

    def number(self, name: str, default: int, *, least: int = 0, most: int = 1_000_000) -> int:
        """A whole number of the query, kept within its bounds. Raises ConfigError if it is none."""
        given = self.query.get(name, "")
        if not given:
            return default
        try:
            return min(max(int(given), least), most)
        except ValueError:
            raise ConfigError(f"{name}={given!r} is no whole number") from None

    @property
    def fields(self) -> Mapping[str, Any]:
        """The members of the body; none where it is no object."""
        return self.body if isinstance(self.body, dict) else {}

    def yes(self, name: str) -> bool:
        """A switch of the query: on with ``true``, ``yes`` or ``1``."""
        return self.query.get(name, "").lower() in ("true", "yes", "1")


Answer = Any | AsyncIterator[Any]


@dataclass(frozen=True)
class Operation:
    """A method and a path below ``/api/v1`` (``{name}`` stands for one segment), and what it does."""

    method: str
    path: str
    do: Callable[[System, Ask], Awaitable[Answer]]


class Running(Protocol):
    """What runs the objects: one process, or workers."""

    async def status(self) -> Mapping[Key, Status]:
        """How each object is that runs here."""


class System:
    """The running system as operations see it: the manifests that it runs, and their buses."""

    def __init__(
        self, buses: Buses, secrets: Secrets, clock: Clock | None = None, *, running: Running | None = None
    ) -> None:
        self.running = running
        self.clock = clock or SystemClock()
        self._buses = buses
        self._secrets = secrets
        self._bundle: Bundle | None = None

    def update(self, bundle: Bundle, *, own_buses: bool) -> None:
        """These manifests run now. ``own_buses``: the buses are for this system alone, so nobody else tells them of the manifests."""
        if own_buses:
            self._secrets.update(bundle.secrets, bundle.config_maps)
            self._buses.update(bundle)
        self._bundle = bundle

    @property
    def bundle(self) -> Bundle:
        """The manifests that run. Raises BusUnavailable while the first ones are being applied."""
        if self._bundle is None:
            raise BusUnavailable("the manifests are being applied; ask again in a moment")
        return self._bundle

    def sensor(self, name: str, namespace: str = "") -> Sensor:
        """The sensor of this name; ``NAMESPACE/NAME`` or ``namespace`` where several have it. Raises NotFound or Ambiguous."""
        if not namespace and "/" in name:
            namespace, _, name = name.partition("/")
        named = [one for one in self.bundle.sensors if one.metadata.name == name]
        found = [one for one in named if namespace in ("", one.metadata.namespace)]
        if len(found) == 1:
            return found[0]
        if found:
            spaces = ", ".join(sorted(one.metadata.namespace for one in found))
            raise Ambiguous(f"there is a sensor {name!r} in several namespaces ({spaces}); say which: NAMESPACE/{name}")
        where = f" in namespace {namespace!r}" if namespace else ""
        near = did_you_mean(name, [one.metadata.name for one in self.bundle.sensors])
        raise NotFound(f"no sensor {name!r} runs here{where}{near or '; argosy sensor list shows those that do'}")

    def bus_names(self) -> dict[str, tuple[str, str]]:
        """Every bus that a source or sensor uses: namespace and name of one object that means it, by what tells buses apart."""
        return {self._buses.key(*one): one for one in reversed(used(self.bundle))}

    async def bus(self, namespace: str, name: str) -> Bus:
        """This bus, open. Raises BusUnavailable if it cannot be reached now."""
        _ = self.bundle  # a bus must not be opened before its manifest is known
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                return await self._buses.get(namespace, name)
        except TimeoutError as error:
            raise BusUnavailable(f"the event bus {f'{namespace}/{name}'!r} cannot be reached now") from error

    async def buses(self, namespace: str = "") -> dict[str, Bus]:
        """All buses in use, open, by what tells them apart; with ``namespace`` those of its objects."""
        wanted = {key: place for key, place in self.bus_names().items() if namespace in ("", place[0]) or "://" in key}
        return {key: await self.bus(*place) for key, place in sorted(wanted.items())}

    async def bus_of(self, sensor: Sensor) -> Bus:
        """The bus that this sensor reads and keeps its actions on."""
        return await self.bus(sensor.metadata.namespace, sensor.event_bus_name)

    async def queue(self, sensor: Sensor, trigger: str) -> Queue:
        """The action queue of a trigger."""
        return (await self.bus_of(sensor)).queue(queue_name(sensor.metadata.namespace, sensor.metadata.name, trigger))


def prefix(text: str, what: str) -> str:
    """An id, or the beginning of one that is long enough to mean something. Raises ConfigError if it is too short."""
    if len(text) < _LEAST_PREFIX:
        raise ConfigError(f"{text!r} is too short for the id of {what}; give at least {_LEAST_PREFIX} characters of it")
    return text


def pattern(path: str) -> re.Pattern[str]:
    """The regular expression of an operation's path."""
    parts = re.split(r"\{(\w+)\}", path)
    return re.compile(
        "".join(re.escape(part) if number % 2 == 0 else f"(?P<{part}>[^/]+)" for number, part in enumerate(parts))
    )
