"""One process, whether ``argosy run`` or a pod: open the bus, apply what its feed says, follow the feed, drain.

A manifest that is being edited and does not parse, or whose object has an error, does not stop what runs: the object goes on as it was until
its text is valid again, and the finding is said.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from argosy.bus.embedded import EmbeddedServer
from argosy.clock import SystemClock
from argosy.errors import ConfigError
from argosy.manifests.bundle import Bundle
from argosy.runtime.admin import admin, reachable
from argosy.runtime.api import ROOT, Api, announced
from argosy.runtime.app import App, Shard
from argosy.runtime.buses import DECLARED, Buses
from argosy.runtime.feeds import Feed
from argosy.runtime.operations._base import System
from argosy.runtime.secrets import Mounts, Secrets
from argosy.runtime.turns import from_environment
from argosy.runtime.worker import Settings
from argosy.runtime.workers import Workers

_log = logging.getLogger("argosy.runtime")
_TRY = "argosy.dev/try"
"""An annotation of EventSources: lines that a person may type, shown when everything was started."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the process was asked for; see the help of ``argosy run``. What it has no option for is for pods."""

    bus: str = "embedded"
    data: Path | None = Path(".argosy")
    """Where the embedded server keeps its data, and where is said how commands find this process; None if nowhere."""
    secrets: Path | None = None
    mounts: Mounts | None = None
    shard: Shard = field(default_factory=Shard)
    acts_for_accounts: bool = False
    host: str = "0.0.0.0"
    admin: str = "off"
    workers: int = 1
    grace_seconds: float = 20.0
    durability: str = "process"
    log_format: str = "auto"
    log_level: str = "info"


class Process:
    """Runs until ``stop`` or a signal. ``started`` is set once everything was applied the first time."""

    def __init__(self, options: Options, feed: Feed, say: Callable[[str], None] | None = None) -> None:
        self._options = options
        self._feed = feed
        self._say = say or _log.info
        self._stop = asyncio.Event()
        self._bundle: Bundle | None = None
        self._said: set[str] = set()
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
        bundle = await asyncio.to_thread(self._feed.now)
        if bundle is not None:
            self._report(bundle)
            if not (bundle.event_sources or bundle.sensors):
                raise ConfigError(f"there is no EventSource and no Sensor that can run in {self._feed.what}")
        async with AsyncExitStack() as stack:
            server = await self._server(stack)
            secrets = Secrets(self._options.secrets, mounts=self._options.mounts)
            buses = Buses(self._options.bus, secrets, server)
            app = self._make(buses, secrets, server)
            self.app = await stack.enter_async_context(app)
            self._system = System(buses, secrets, running=app)
            if isinstance(app, Workers):
                # The workers have buses of their own; these are for who asks, and opened only then.
                stack.push_async_callback(buses.close)
            if self._options.admin != "off":
                api = Api(self._system)
                base = await stack.enter_async_context(
                    admin(self._options.admin, self._waiting_for, app.exposition, api)
                )
                if self._options.data is not None:
                    stack.enter_context(announced(self._options.data, reachable(base), api.token))
                self._say(f"health, readiness and metrics at {base}/healthz, /readyz and /metrics; API at {base}{ROOT}")
            following = asyncio.create_task(self._follow(bundle))
            stopping = asyncio.create_task(self._stop.wait())
            await asyncio.wait({following, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                following.result()  # a fault of ours must not leave a process that follows nothing any more
                await stopping
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
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
                shard=options.shard,
                acts_for_accounts=options.acts_for_accounts,
                turns=from_environment(os.environ, SystemClock()),
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
            acts_for_accounts=options.acts_for_accounts,
        )
        return Workers(options.workers, settings, server)

    async def _server(self, stack: AsyncExitStack) -> EmbeddedServer | None:
        if self._options.bus != "embedded" or self._options.data is None:
            if self._options.bus not in ("memory", DECLARED) and "://" not in self._options.bus:
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
            return self._feed.late() or ["the manifests are being applied"]
        assert self.app is not None
        return await self.app.waiting_for()

    def _report(self, bundle: Bundle) -> None:
        said, self._said = self._said, set()
        for finding in bundle.findings:
            if finding.severity not in ("error", "warning"):
                continue
            text = str(finding) if finding.file else f"{finding.object}: {finding}"
            self._said.add(text)
            if text in said and not self._feed.repeats:
                continue
            level = logging.ERROR if finding.severity == "error" else logging.WARNING
            _log.log(level, "%s", text, extra={"action": f"manifest.{finding.severity}"})

    async def _follow(self, bundle: Bundle | None) -> None:
        """Apply the manifests, and apply them anew whenever they changed."""
        if bundle is not None:
            await self._begin(bundle)
        async with aclosing(self._feed.changes()) as changes:  # type: ignore[type-var]
            async for bundle in changes:
                kept = bundle if self._bundle is None else bundle.keeping(self._bundle)
                if kept == self._bundle:
                    continue
                self._report(bundle)
                if self._bundle is None:
                    await self._begin(bundle)
                    continue
                self._say("the manifests changed; applying them")
                await self._apply(kept)
                self._say("the changed manifests are applied")

    async def _begin(self, bundle: Bundle) -> None:
        await self._apply(bundle)
        self.started.set()
        for source in bundle.event_sources:
            for line in source.metadata.annotations.get(_TRY, "").splitlines():
                self._say(f"try:  {line}")
