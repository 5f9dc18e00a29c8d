"""One ``argosy run``: load, open the bus, apply, follow the files, drain.

A manifest that is being edited and does not parse, or whose object has an error, does not stop what runs: the object goes on as it was until
its text is valid again, and the finding is said.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from argosy.bus.embedded import EmbeddedServer
from argosy.errors import ConfigError
from argosy.manifests.bundle import Bundle, load
from argosy.runtime.admin import admin, reachable
from argosy.runtime.api import ROOT, Api, announced
from argosy.runtime.app import App, Shard
from argosy.runtime.buses import Buses
from argosy.runtime.operations._base import System
from argosy.runtime.secrets import Secrets
from argosy.runtime.worker import Settings
from argosy.runtime.workers import Workers

_log = logging.getLogger("argosy.runtime")
_TRY = "argosy.dev/try"
"""An annotation of EventSources: lines that a person may type, shown when everything was started."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What ``argosy run`` was asked for; see its help."""

    paths: tuple[str, ...]
    bus: str = "embedded"
    data: Path = Path(".argosy")
    secrets: Path | None = None
    host: str = "0.0.0.0"
    admin: str = "off"
    workers: int = 1
    follow: bool = True
    grace_seconds: float = 20.0
    durability: str = "process"
    log_format: str = "auto"
    log_level: str = "info"


class Process:
    """Runs until ``stop`` or a signal. ``started`` is set once everything was applied the first time."""

    def __init__(self, options: Options, say: Callable[[str], None] | None = None) -> None:
        self._options = options
        self._say = say or _log.info
        self._stop = asyncio.Event()
        self._bundle: Bundle | None = None
        self.started = asyncio.Event()
        self.app: App | Workers | None = None
        self._system: System | None = None

    def stop(self) -> None:
        """Drain and end ``run``."""
        self._stop.set()

    async def run(self) -> int:
        """The exit code: 0 after a drain."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        bundle = await asyncio.to_thread(load, self._options.paths)
        self._report(bundle)
        if not (bundle.event_sources or bundle.sensors):
            raise ConfigError(f"there is no EventSource and no Sensor that can run in {', '.join(self._options.paths)}")
        async with AsyncExitStack() as stack:
            server = await self._server(stack)
            secrets = Secrets(self._options.secrets)
            buses = Buses(self._options.bus, secrets, server)
            app = self._make(buses, secrets, server)
            self.app = await stack.enter_async_context(app)
            self._system = System(buses, secrets)
            if isinstance(app, Workers):
                # The workers have buses of their own; these are for who asks, and opened only then.
                stack.push_async_callback(buses.close)
            if self._options.admin != "off":
                api = Api(self._system)
                base = await stack.enter_async_context(
                    admin(self._options.admin, self._waiting_for, app.exposition, api)
                )
                stack.enter_context(announced(self._options.data, reachable(base), api.token))
                self._say(f"health, readiness and metrics at {base}/healthz, /readyz and /metrics; API at {base}{ROOT}")
            await self._apply(bundle)
            self.started.set()
            for source in bundle.event_sources:
                for line in source.metadata.annotations.get(_TRY, "").splitlines():
                    self._say(f"try:  {line}")
            follower = asyncio.create_task(self._follow()) if self._options.follow else None
            await self._stop.wait()
            if follower is not None:
                follower.cancel()
                with suppress(asyncio.CancelledError):
                    await follower
            self._say("draining: nothing new is received, what is under way is finished")
        self._say("drained")
        return 0

    def _signalled(self) -> None:
        if self._stop.is_set():
            # The second signal: whoever sent it wants the process gone. What was not done is on the bus.
            os._exit(130)
        self._stop.set()

    def _make(self, buses: Buses, secrets: Secrets, server: EmbeddedServer | None) -> App | Workers:
        """What runs the units: this process, or several."""
        options = self._options
        if options.workers == 1:
            return App(
                buses,
                secrets=secrets,
                host=options.host,
                grace_seconds=options.grace_seconds,
                listening=self._say,
            )
        if options.bus == "memory":
            raise ConfigError(
                "--bus memory is inside one process; with --workers use the embedded bus or nats://HOST:PORT"
            )
        settings = Settings(
            shard=Shard(),
            engine=options.bus,
            secrets=options.secrets,
            host=options.host,
            grace_seconds=options.grace_seconds,
            log_format=options.log_format,
            log_level=options.log_level,
        )
        return Workers(options.workers, settings, server)

    async def _server(self, stack: AsyncExitStack) -> EmbeddedServer | None:
        if self._options.bus != "embedded":
            if self._options.bus != "memory" and "://" not in self._options.bus:
                raise ConfigError(f"--bus {self._options.bus!r} is none of embedded, memory and nats://HOST:PORT")
            return None
        durability: Literal["process", "power"] = "power" if self._options.durability == "power" else "process"
        return await stack.enter_async_context(EmbeddedServer(self._options.data, durability=durability))

    async def _apply(self, bundle: Bundle) -> None:
        self._bundle = bundle
        assert self.app is not None and self._system is not None
        await self.app.apply(bundle)
        self._system.update(bundle, own_buses=isinstance(self.app, Workers))

    async def _waiting_for(self) -> list[str]:
        if not self.started.is_set():
            return ["the manifests are being applied"]
        assert self.app is not None
        return await self.app.waiting_for()

    def _report(self, bundle: Bundle) -> None:
        for finding in bundle.findings:
            if finding.severity == "error":
                _log.error("%s", finding, extra={"action": "manifest.error"})
            elif finding.severity == "warning":
                _log.warning("%s", finding, extra={"action": "manifest.warning"})

    async def _follow(self) -> None:
        """Apply the manifests anew whenever a file of them changes."""
        from watchfiles import awatch

        existing = [path for path in self._options.paths if Path(path).exists()]  # noqa: ASYNC240 - once, at start
        async for _ in awatch(*existing, debounce=300, step=100, stop_event=self._stop, ignore_permission_denied=True):
            try:
                bundle = await asyncio.to_thread(load, self._options.paths)
            except OSError as error:
                _log.error("the manifests cannot be read: %s; everything runs on as it was", error)
                continue
            assert self._bundle is not None
            kept = bundle.keeping(self._bundle)
            if kept == self._bundle:
                continue
            self._report(bundle)
            self._say("the manifests changed; applying them")
            await self._apply(kept)
            self._say("the changed manifests are applied")
