"""One ``argosy controller``: wait to be the one that works, watch, look at everything, drain.

Of several processes one has the Lease and works; the others stand by. A process that loses it stops at once, in the middle of whatever it does,
and stands by again: what it left half done the next one finds, and finishes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from argosy.clock import SystemClock
from argosy.errors import ArgosyError
from argosy.kubernetes.client import Client, Conflict, Object
from argosy.kubernetes.controller.announcing import Announcer
from argosy.kubernetes.controller.caches import CLUSTER_GRANTS, GRANTS, OBJECTS, Caches
from argosy.kubernetes.controller.configuration import Configuration
from argosy.kubernetes.controller.desk import Desk, key_of
from argosy.kubernetes.controller.metrics import Metrics
from argosy.kubernetes.controller.permitted import Permissions
from argosy.kubernetes.controller.polling import Poll, Reports
from argosy.kubernetes.controller.queue import Queue
from argosy.kubernetes.controller.reconciling import entitled, look, namespace_key, routes
from argosy.kubernetes.leases import Durations, Election
from argosy.kubernetes.names import RUNNER
from argosy.kubernetes.watching import Place
from argosy.manifests.bundle import Key
from argosy.runtime.admin import admin

_log = logging.getLogger("argosy.controller")
LEASE = "argosy-controller"
_MADE_BY = ("eventbus-controller", "eventsource-controller", "sensor-controller", RUNNER)
_TOGETHER_SECONDS = 0.3
"""So long a namespace, and whoever needs rights, waits for further changes before it is looked at."""
_DRAIN_SECONDS = 20.0
_DURATIONS = {"LEASE_DURATION": "15s", "RENEW_DEADLINE": "10s", "RETRY_PERIOD": "2s"}
"""Those of Kubernetes' own controllers, where ``LEADER_ELECTION_…`` says nothing else."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What ``argosy controller`` was asked for; see its help."""

    namespaces: tuple[str, ...] | None = None
    """None for all."""
    namespace: str = ""
    """Where its Lease is; empty: that of its service account."""
    elect: bool = True
    over: dict[str, Any]
    """Fields of the settings that the call or the environment say."""
    config: Path | None = None
    metrics: str = "0.0.0.0:7777"
    health: str = "0.0.0.0:8081"
    status_seconds: float = 15.0
    workers: int = 8


class Process:
    """Runs until ``stop`` or a signal."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._stop = asyncio.Event()
        self._queue: Queue[Key] | None = None
        self._caches: Caches | None = None
        self._state = "the API server has not been asked yet"
        self.metrics = Metrics(lambda: float(len(self._queue or ())), self._objects)
        self.configuration = Configuration(options.config, options.over)

    def stop(self) -> None:
        """Finish what is under way and end ``run``."""
        self._stop.set()

    async def run(self) -> int:
        """The exit code: 0 after a drain."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        async with AsyncExitStack() as stack:
            for address in dict.fromkeys((self._options.metrics, self._options.health)):
                if address != "off":
                    base = await stack.enter_async_context(
                        admin(address, self._waiting_for, self.metrics.exposition, None)
                    )
                    _log.info("health, readiness and metrics at %s", base, extra={"action": "admin.listening"})
            client = await stack.enter_async_context(Client())
            while not self._stop.is_set():
                await self._turn(client)
        _log.info("drained", extra={"action": "drained"})
        return 0

    def _signalled(self) -> None:
        if self._stop.is_set():
            os._exit(
                130
            )  # the second signal: whoever sent it wants the process gone; the next one finds what is to be done
        self._stop.set()

    def _objects(self) -> list[dict[str, Any]]:
        """What people wrote, while this process is the one that works."""
        return [one for kind in OBJECTS for one in self._caches.each(kind)] if self._caches else []

    async def _waiting_for(self) -> list[str]:
        problems = self._caches.problems if self._caches else []
        return [self._state, *problems] if self._state else problems

    async def _turn(self, client: Client) -> None:
        """Be the one that works once, from the election to its end."""
        if not self._options.elect:
            self.metrics.leads.set(1)
            await self._work(client, None)
            return
        election = await self._election(client)
        if election is None:
            return

        def waits() -> None:
            # Standing by is what this process is for: it is ready.
            self._state = election.problem
            holder = election.holder or "nobody"
            _log.debug("%s: %s", election, election.problem or f"'{holder}' works; standing by")

        if not await self._until_stopped(election.acquire(waits)):
            return
        _log.info("%s is ours; at work", election, extra={"action": "lease.taken"})
        self.metrics.leads.set(1)
        try:
            await self._work(client, election)
        finally:
            self.metrics.leads.set(0)
            await election.release()

    async def _election(self, client: Client) -> Election | None:
        pause = 1.0
        while not self._stop.is_set():
            try:
                space = self._options.namespace or (await client.access()).namespace
            except ArgosyError as error:
                self._state = str(error)
                _log.warning("%s; trying on", error, extra={"action": "client.missing"})
                await self._until_stopped(asyncio.sleep(pause))
                pause = min(pause * 2, 30.0)
                continue
            identity = f"{os.environ.get('POD_NAME') or os.uname().nodename}_{secrets.token_hex(4)}"
            environment = {f"LEADER_ELECTION_{word}": text for word, text in _DURATIONS.items()} | dict(os.environ)
            return Election(client, space, LEASE, identity, clock=SystemClock(), durations=Durations.read(environment))
        return None

    async def _until_stopped(self, doing: Coroutine[Any, Any, None]) -> bool:
        """Do something until it is done or this process is to stop; whether it was done."""
        task = asyncio.create_task(doing)
        stop = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            if not task.done():
                task.cancel()
            await asyncio.gather(task, stop, return_exceptions=True)
        if task.cancelled():
            return False
        task.result()
        return True

    # At work

    async def _work(self, client: Client, election: Election | None) -> None:
        """Watch and look until told to stop (then what is under way is finished) or until the Lease is lost (then it is not)."""
        options = self._options
        permissions = Permissions(client, local=options.namespaces is not None)
        reports, regranted = Reports(), asyncio.Event()

        def changed(kind: str, place: Place, owner: Key | None) -> None:
            if self._state:
                return  # everything is looked at once all of it is listed
            if kind in GRANTS or kind in CLUSTER_GRANTS:
                regranted.set()
            for key in routes(caches, kind, place, owner):
                self._add(queue, key)

        caches = Caches(client, options.namespaces, _MADE_BY, changed)
        announcer = Announcer(client, os.environ.get("POD_NAME") or os.uname().nodename)
        desk = Desk(
            caches,
            permissions,
            settings=lambda: self.configuration.settings,
            announce=announcer,
            reports=reports,
            wrote=self._wrote,
        )

        async def one(key: Key) -> float | None:
            began = time.monotonic()
            after = await look(desk, key)
            self.metrics.seconds.labels(key.kind).observe(time.monotonic() - began)
            self.metrics.reconciles.labels(key.kind, "done").inc()
            return after

        queue = self._queue = Queue(one, self._failed)
        self._state = "objects are being listed"
        self._caches = caches
        try:
            async with AsyncExitStack() as stack:
                lost = asyncio.create_task(election.keep() if election else asyncio.Event().wait())
                stack.push_async_callback(_end, lost)
                listing = asyncio.create_task(stack.enter_async_context(caches.kept()))
                if not await self._first(listing, lost):
                    await _end(listing)
                    return
                self._state = ""
                self._add_all(caches, queue)
                poll = Poll(caches, reports, queue.add, options.status_seconds)
                working = asyncio.create_task(
                    _together(
                        queue.run(options.workers),
                        poll.run(),
                        announcer.run(),
                        self._follow(caches, queue),
                        _regrant(caches, queue, permissions, regranted),
                    )
                )
                stack.push_async_callback(_end, working)
                if await self._first(working, lost):
                    working.result()  # none of them ends by itself: what it raised is a defect, and ends the process
                elif not lost.done():
                    _log.info("draining: what is under way is finished", extra={"action": "draining"})
                    queue.close()
                    drained = asyncio.create_task(queue.drained())
                    await asyncio.wait((drained, lost), timeout=_DRAIN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                    await _end(drained)
        finally:
            queue.close()
            self._caches, self._queue = None, None

    async def _first(self, task: asyncio.Task[Any], lost: asyncio.Task[Any]) -> bool:
        """Wait for the task, the loss of the Lease, or the end; whether it was the task."""
        stop = asyncio.create_task(self._stop.wait())
        await asyncio.wait((task, lost, stop), return_when=asyncio.FIRST_COMPLETED)
        await _end(stop)
        if lost.done() and not self._stop.is_set():
            _log.warning("the Lease is lost: %s; standing by", lost.result(), extra={"action": "lease.lost"})
            return False
        return task.done() and not self._stop.is_set()

    def _wrote(self, verb: str, item: Object) -> None:
        self.metrics.writes.labels(verb, item["kind"]).inc()
        about = item["metadata"]
        _log.log(
            # A status changes with every event; what is made and taken away is what somebody looks for.
            logging.DEBUG if verb in ("status", "finalizers") else logging.INFO,
            "%s of %s %s/%s",
            verb,
            item["kind"],
            about.get("namespace") or "",
            about["name"],
            extra={"action": f"controller.{verb}"},
        )

    def _add(self, queue: Queue[Key], key: Key) -> None:
        if key.kind == "Namespace":
            queue.add_after(key, _TOGETHER_SECONDS)
        else:
            queue.add(key)

    def _add_all(self, caches: Caches, queue: Queue[Key]) -> None:
        for kind in OBJECTS:
            for item in caches.each(kind):
                queue.add(key_of(item))
        spaces = self._options.namespaces
        names = [item["metadata"]["name"] for item in caches.each("Namespace")] if spaces is None else list(spaces)
        for key in (*caches.owners, *(namespace_key(name) for name in names)):
            queue.add(key)

    async def _follow(self, caches: Caches, queue: Queue[Key]) -> None:
        while True:
            await self.configuration.changed()
            _log.info("the configuration changed; everything is looked at", extra={"action": "configuration.changed"})
            self._add_all(caches, queue)

    def _failed(self, key: Key, error: Exception, pause: float) -> None:
        self.metrics.reconciles.labels(key.kind, "failed").inc()
        extra = {"action": "reconcile.failed", "kind": key.kind, "namespace": key.namespace, "object": key.name}
        if isinstance(error, Conflict):
            _log.debug("%s changed meanwhile; again in %.1f s", key, pause, extra=extra)
        elif isinstance(error, ArgosyError):
            _log.warning("%s: %s; again in %.1f s", key, error, pause, extra=extra)
        else:
            _log.error("%s: a defect: %r; again in %.1f s", key, error, pause, exc_info=error, extra=extra)


async def _regrant(caches: Caches, queue: Queue[Key], permissions: Permissions, regranted: asyncio.Event) -> None:
    """Have looked at whoever needs rights, once for many roles that change together."""
    while True:
        await regranted.wait()
        await asyncio.sleep(_TOGETHER_SECONDS)
        regranted.clear()
        permissions.forget()
        for key in entitled(caches):
            queue.add(key)


async def _together(*doings: Coroutine[Any, Any, None]) -> None:
    async with asyncio.TaskGroup() as group:
        for doing in doings:
            group.create_task(doing)


async def _end(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@contextlib.asynccontextmanager
async def running(process: Process) -> AsyncIterator[Process]:
    """Run beside something else while the context is open, and drain at its end."""
    task = asyncio.create_task(process.run())
    try:
        yield process
    finally:
        process.stop()
        await task
