"""Which bus an object uses: one for each EventBus name of each namespace, opened when first needed, kept until the end.

The embedded server gives every bus an account of its own, so two namespaces never see each other's events although both have the stream
``default``. With ``--bus nats://…`` all objects share one log, as upstream's pods with an exotic bus do. In a pod each EventBus names the server
that it is on; what opens it may come, and change, while the pod runs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from argosy.bus._base import Bus
from argosy.bus._jetstream_settings import Connection, StreamSettings, split_options
from argosy.bus.embedded import EmbeddedServer
from argosy.bus.jetstream import JetStreamBus
from argosy.errors import BusError, BusUnavailable, ConfigError, SecretMissing
from argosy.manifests.bundle import Bundle, Key
from argosy.manifests.eventbus import EventBus
from argosy.manifests.eventsource import EventSource
from argosy.manifests.fields import TLSConfig
from argosy.manifests.objects import digest
from argosy.manifests.sensor import Sensor
from argosy.runtime.secrets import Secrets

_log = logging.getLogger("argosy.bus")


DECLARED = "declared"
"""The engine of pods: each EventBus manifest names a server."""
_PATIENCE_SECONDS = 1.0
"""A bus that has not answered for so long is taken to be away."""


def used(bundle: Bundle) -> list[tuple[str, str]]:
    """The buses that sources and sensors name: namespace and name of each, sorted."""
    objects: list[EventSource | Sensor] = [*bundle.event_sources, *bundle.sensors]
    return sorted({(one.metadata.namespace, one.event_bus_name) for one in objects})


class Given(NamedTuple):
    """A bus of the embedded server that another process keeps."""

    url: str
    connection: Connection


def _spoken(key: str) -> str:
    """The bus as it may be said: an address without the password that it may carry."""
    scheme, mark, rest = key.partition("?")[0].partition("://")
    return scheme + mark + rest.rpartition("@")[2] if mark else key


class Buses:
    """Opens buses and hands them out. ``engine`` is ``embedded``, ``memory``, the address of a NATS server, or ``DECLARED``."""

    def __init__(self, engine: str, secrets: Secrets, server: EmbeddedServer | None = None) -> None:
        self._engine = engine
        self._secrets = secrets
        self._server = server
        self._manifests: dict[tuple[str, str], EventBus] = {}
        self._faulty: set[str] = set()
        """What errors are about, as findings name it."""
        self._open: dict[str, Bus] = {}
        self._opening: dict[str, asyncio.Lock] = {}
        self._waiting: dict[str, str] = {}
        """Why each bus that is waited for cannot be reached."""
        self._opened_since: dict[str, float] = {}
        self._given: dict[str, Given] = {}

    def update(self, bundle: Bundle) -> None:
        """Take the EventBus manifests of a newly loaded bundle."""
        self._manifests = {(bus.metadata.namespace, bus.metadata.name): bus for bus in bundle.event_buses}
        self._faulty = {finding.object for finding in bundle.findings if finding.severity == "error"}

    def give(self, buses: Mapping[str, Given]) -> None:
        """Where the buses of an embedded server are that this process does not keep itself, by ``namespace/name``."""
        self._given.update(buses)

    def key(self, namespace: str, name: str) -> str:
        """What tells two buses apart."""
        return self._engine if "://" in self._engine else f"{namespace}/{name}"

    def digest(self, namespace: str, name: str) -> str:
        """Names what the manifest says of this bus, so that who uses it is started anew when it changes."""
        manifest = self._manifests.get((namespace, name))
        return "" if manifest is None else digest(manifest.raw.get("spec"))

    def unreachable(self) -> list[str]:
        """The buses that somebody needs and that cannot be reached now, in words."""
        lost = [version.rpartition("@")[0] for version, bus in self._open.items() if not bus.ready]
        return [f"bus '{_spoken(key)}'" for key in sorted({*self._waiting, *lost})]

    def waits_for(self, key: str) -> bool:
        """Whether somebody needs this bus, by what tells buses apart, and it does not answer."""
        since = self._opened_since.get(key)
        return key in self._waiting or (since is not None and time.monotonic() - since > _PATIENCE_SECONDS)

    async def get(self, namespace: str, name: str) -> Bus:
        """The bus, opened. Waits while it cannot be reached; raises BusError or ConfigError if it never can be."""
        key = self.key(namespace, name)
        version = f"{key}@{self.digest(namespace, name)}"
        lock = self._opening.setdefault(version, asyncio.Lock())
        async with lock:
            self._opened_since[key] = time.monotonic()
            try:
                await self._wait(version, key, namespace, name)
            finally:
                self._waiting.pop(key, None)
                self._opened_since.pop(key, None)
        return self._open[version]

    async def _wait(self, version: str, key: str, namespace: str, name: str) -> None:
        """Open the bus, as soon as that can be done."""
        pause = 0.5
        while version not in self._open:
            try:
                self._open[version] = await self._make(namespace, name).__aenter__()
            except (BusError, SecretMissing) as error:
                # In a pod, what refuses us now may be mended while we wait: a secret that comes later, a server that is replaced.
                if not isinstance(error, BusUnavailable) and self._engine != DECLARED:
                    raise
                if self._waiting.get(key) != str(error):
                    self._waiting[key] = str(error)
                    _log.error(
                        "bus '%s' cannot be reached: %s; trying on",
                        _spoken(key),
                        error,
                        extra={"action": "bus.wait"},
                    )
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)

    async def close(self) -> None:
        """Close every bus."""
        while self._open:
            _, bus = self._open.popitem()
            await bus.__aexit__(None, None, None)

    async def retire(self) -> None:
        """Close the buses that no manifest describes any more, so that nobody waits for a server that was replaced. Who used them has
        ended. Only where manifests name the servers: elsewhere they are few, and their servers ours.
        """
        if self._engine == DECLARED:
            here = {f"{self.key(*place)}@{self.digest(*place)}" for place in self._manifests}
            for version in [version for version in self._open if version not in here]:
                await self._open.pop(version).__aexit__(None, None, None)

    def _make(self, namespace: str, name: str) -> Bus:
        if self._engine == "memory":
            from argosy.bus.memory import MemoryBus

            return MemoryBus()
        if self._engine == "embedded":
            return self._embedded(namespace, name)
        if self._engine == DECLARED:
            return self._declared(namespace, name)
        return self._external(namespace, self._engine, None, None)

    def _declared(self, namespace: str, name: str) -> Bus:
        manifest = self._manifests.get((namespace, name))
        if manifest is None:
            # Its coming changes its digest, and who waits for it is started anew.
            raise BusUnavailable(f"there is no EventBus {name!r} in namespace {namespace!r} that is ready to be used")
        exotic = manifest.spec.jetstream_exotic
        if exotic is None:
            raise ConfigError(f"EventBus {name!r} is Kafka, which this version does not run; use jetstream")
        return self._external(namespace, exotic.url, exotic.access_secret, exotic.stream_config, exotic.tls)

    def _embedded(self, namespace: str, name: str) -> Bus:
        manifest = self._manifests.get((namespace, name))
        if manifest is None and str(Key("EventBus", namespace, name)) in self._faulty:
            # Events must not go elsewhere than its manifest would have them.
            raise ConfigError(f"EventBus {name!r} of namespace {namespace!r} has errors; argosy lint tells which")
        exotic = manifest.spec.jetstream_exotic if manifest is not None else None
        if exotic is not None:
            return self._external(namespace, exotic.url, exotic.access_secret, exotic.stream_config, exotic.tls)
        # The embedded log has the disk for itself: without a word in the manifest, age alone limits it.
        settings = StreamSettings(max_messages=-1)
        if manifest is not None and manifest.spec.kafka is not None:
            raise ConfigError(f"EventBus {name!r} is Kafka, which this version does not run; use jetstream")
        if manifest is not None and manifest.spec.jetstream is not None and manifest.spec.jetstream.stream_config:
            settings = StreamSettings.parse(manifest.spec.jetstream.stream_config)
        key = f"{namespace}/{name}"
        if self._server is None:
            given = self._given[key]
            # No other process takes from our shard's queues, and a worker that died is dead before its successor starts.
            return JetStreamBus(
                given.url, connection=given.connection, settings=settings, connect_timeout_seconds=30.0, sole=True
            )
        return self._server.bus(key, settings, sole=True)

    def _external(
        self, namespace: str, url: str, access: Any, stream_config: str | None, tls: TLSConfig | None = None
    ) -> Bus:
        address, plain = split_options(url)

        def connection() -> Connection:
            given = plain
            if access is not None:
                given = replace(given, **self._access(namespace, access))
            if tls is not None:
                from argosy.tls import client_context

                context = client_context(tls, lambda selector: self._secrets.secret(namespace, selector))
                given = replace(given, tls=context)
            return given

        settings = StreamSettings.parse(stream_config)
        # Secrets may be rotated: each connection is made with what they hold then.
        anew = connection if access is not None or tls is not None else None
        return JetStreamBus(address, connection=connection(), anew=anew, settings=settings)

    def _access(self, namespace: str, access: Any) -> dict[str, Any]:
        """What an ``accessSecret`` holds, as fields of a Connection."""
        import yaml

        text = self._secrets.secret(namespace, access)
        if "BEGIN NATS USER JWT" in text:
            return {"credentials": text}
        try:
            given = yaml.safe_load(text)
        except yaml.YAMLError:
            # What the parser says would quote the secret.
            raise ConfigError(f"the access secret {access.name!r} of the EventBus is not YAML") from None
        if isinstance(given, dict):
            names = {"username": "user", "password": "password", "token": "token", "nkey": "nkey"}
            return {ours: str(given[theirs]) for theirs, ours in names.items() if theirs in given}
        if given is None or isinstance(given, list):
            raise ConfigError(
                f"the access secret {access.name!r} of the EventBus holds neither username and password nor a token"
            )
        # The documents say that the secret holds a bare password or token; one of digits is text too.
        return {"token": text.strip()}
