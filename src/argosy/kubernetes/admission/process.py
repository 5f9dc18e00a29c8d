"""One ``argosy admission``: follow the cluster, keep the certificate, answer, drain."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from argosy.errors import ArgosyError
from argosy.kubernetes.admission.configuration import NAME, SECRET
from argosy.kubernetes.admission.judges import Judges
from argosy.kubernetes.admission.presenting import Folder, Presented, Provider, Shared, kept
from argosy.kubernetes.admission.server import Metrics, Webhook
from argosy.kubernetes.admission.state import State
from argosy.kubernetes.client import Client
from argosy.kubernetes.names import Mode
from argosy.runtime.admin import admin

_log = logging.getLogger("argosy.admission")
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 10.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """What ``argosy admission`` was asked for; see its help."""

    namespace: str
    watched: tuple[str, ...] = ()
    mode: Mode = "dedicated"
    host: str = "0.0.0.0"
    port: int = 8443
    admin: str = "0.0.0.0:7777"
    service: str = NAME
    host_names: tuple[str, ...] = ()
    configuration: str = NAME
    secret: str = SECRET
    folder: Path | None = None
    certificate_days: float = 30.0
    authority_days: float = 365.0
    judges: int = 2
    seconds: float = 5.0
    grace_seconds: float = 10.0
    linger_seconds: float = 3.0


class Process:
    """Runs until a signal."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._stop = asyncio.Event()
        self._metrics = Metrics()
        self._presented = Presented()
        self._waiting: list[str] = ["the judges are being started"]
        self._state: State | None = None
        self._judges: Judges | None = None

    async def run(self) -> int:
        """The exit code: 0 after a drain. Raises ArgosyError where it cannot begin."""
        from argosy.sources._http_protocol import Limits, Listener

        options, loop = self._options, asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        async with AsyncExitStack() as stack:
            if options.admin != "off":
                base = await stack.enter_async_context(
                    admin(options.admin, self._waiting_for, self._exposition, api=None)
                )
                _log.info("health, readiness and metrics at %s", base)
            client = await stack.enter_async_context(Client())
            self._state = state = State(client, options.watched, options.mode)
            await stack.enter_async_context(state.followed())
            self._judges = judges = await stack.enter_async_context(Judges(options.judges, seconds=options.seconds))
            provider = self._provider(client)
            self._waiting = ["there is no certificate yet"]
            if not await self._first(provider):
                return 0
            keeper = loop.create_task(kept(provider, self._presented))
            stack.callback(keeper.cancel)
            webhook = Webhook(judges, state.known, state.fresh, self._metrics)
            listener = Listener(webhook, Limits())
            await listener.open(options.host, options.port, self._presented.context)
            self._waiting = []
            where = f"https://{options.host}:{listener.port}"
            _log.info("objects are judged at %s", where, extra={"action": "admission.listening", "port": listener.port})
            try:
                await self._stop.wait()
                self._waiting, webhook.ending = ["it is ending"], True
                _log.info("draining: what is asked is answered, then it ends")
                # It takes a moment until nobody is sent here any more.
                await asyncio.sleep(options.linger_seconds)
            finally:
                listener.close()
                await listener.drain(options.grace_seconds)
        _log.info("drained")
        return 0

    def _provider(self, client: Client) -> Provider:
        options = self._options
        if options.folder is not None:
            return Folder(options.folder)
        import datetime as dt

        try:
            from argosy.kubernetes.admission.certificates import Lives, names
        except ImportError as error:
            from argosy.errors import ExtraMissing

            raise ExtraMissing("a webhook that makes its own certificate", "crypto") from error
        authority = dt.timedelta(days=options.authority_days)
        lives = Lives(
            authority=authority,
            certificate=dt.timedelta(days=options.certificate_days),
            overlap=min(dt.timedelta(minutes=10), authority / 10),
        )
        return Shared(
            client,
            options.namespace,
            names(options.service, options.namespace, options.host_names),
            configuration=options.configuration,
            secret=options.secret,
            lives=lives,
        )

    async def _first(self, provider: Provider) -> bool:
        """Wait for the first certificate; False where the end came before."""
        pause, said = _FIRST_PAUSE_SECONDS, ""
        while not self._stop.is_set():
            try:
                await provider.step(self._presented)
            except ArgosyError as error:
                if str(error) != said:
                    said = str(error)
                    _log.warning("there is no certificate yet: %s", said, extra={"action": "certificate.missing"})
            if self._presented.context is not None:
                return True
            try:
                async with asyncio.timeout(pause):
                    await self._stop.wait()
            except TimeoutError:
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        return False

    def _signalled(self) -> None:
        if self._stop.is_set():
            os._exit(130)
        self._stop.set()

    async def _waiting_for(self) -> list[str]:
        late = list(self._waiting)
        if self._state is not None and not self._stop.is_set():
            late += [f"{what} were not listed yet" for what in self._state.behind()]
        if self._judges is not None and not self._judges.ready:
            late.append("no judge runs")
        return late

    async def _exposition(self) -> bytes:
        if self._presented.certificate:
            try:
                from argosy.kubernetes.admission.certificates import expires

                until = expires(self._presented.certificate)
                self._metrics.certificate_expires.set(until.timestamp())
            except (ImportError, ArgosyError):
                self._metrics.certificate_expires.set(0)
        return self._metrics.exposition()
