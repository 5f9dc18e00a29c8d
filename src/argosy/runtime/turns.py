"""Whose turn it is: of several processes that run the same event source, one receives an event that only one may receive.

Each such event has a Lease of its own (``argosy.kubernetes.leases``) in the namespace of its EventSource. Who has it receives; the others
stand by and are ready. Who loses it stops that source, and nothing else, and stands by as well. Who drains finishes what is under way,
lets go, and the next one begins. A source that fails lets go, too: another process may reach what this one cannot.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from argosy.clock import Clock
from argosy.kubernetes.client import Client, shared
from argosy.kubernetes.leases import Durations, Election, lease_name
from argosy.kubernetes.names import EVENT_SOURCE_NAME, GROUP_VERSION, OWNER_NAME
from argosy.manifests.eventsource import EventSource

_log = logging.getLogger("argosy.source")


class Turns:
    """Gives out the turns of one process, which is called ``identity`` in the Leases."""

    def __init__(self, identity: str, durations: Durations, clock: Clock) -> None:
        self._identity = identity
        self._durations = durations
        self._clock = clock

    def of(self, source: EventSource, event: str, count: Callable[[int], None]) -> Turn:
        """The turn to receive this event. ``count`` is told 1 when it begins to stand by and -1 when it does no more."""
        name = source.metadata.name
        labels = {EVENT_SOURCE_NAME: name, OWNER_NAME: name}
        uid = (source.raw.get("metadata") or {}).get("uid")
        owner = {"apiVersion": GROUP_VERSION, "kind": source.kind, "name": name, "uid": uid}

        def election(client: Client) -> Election:
            return Election(
                client,
                source.metadata.namespace,
                lease_name(name, event),
                self._identity,
                clock=self._clock,
                durations=self._durations,
                labels=labels,
                owners=[owner] if uid else (),
            )

        return Turn(f"{name}/{event}", election, self._durations, count)


class Turn:
    """The turn of one source: waited for, held and lost as often as it comes."""

    def __init__(
        self, what: str, election: Callable[[Client], Election], durations: Durations, count: Callable[[int], None]
    ) -> None:
        self._what = what
        self._make = election
        self._durations = durations
        self._count = count
        self._counted = False
        self._election: Election | None = None
        self._held = False
        self._said = ""

    @property
    def stands_by(self) -> bool:
        """Whether another process is known to receive."""
        election = self._election
        return election is not None and not self._held and not election.problem and bool(election.holder)

    @property
    def over(self) -> bool:
        """Whether another process may receive by now."""
        return self._election is None or self._election.over

    @property
    def waits(self) -> str:
        """What is waited for, as a clause; empty while the turn is ours."""
        election = self._election
        if self._held or election is None:
            return ""
        if election.problem:
            return f"waits for its turn to receive: {election.problem}"
        return f"stands by: '{election.holder}' receives" if election.holder else "waits for its turn to receive"

    async def hold(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run once it is our turn, and again whenever it is after it was lost; ends when ``run`` ends by itself.

        Cancelled, it lets ``run`` finish what it must, keeping the turn, and then gives it away.
        """
        async with shared() as client:
            self._election = election = self._make(client)
            try:
                while not await self._once(election, run):
                    await election.release()
            finally:
                await election.release()
                self._election = None
                self._note()

    async def _once(self, election: Election, run: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Wait for the turn and run; False if it was lost meanwhile."""
        await election.acquire(self._tell)
        self._held, self._said = True, ""
        self._note()
        _log.info("source '%s' has its turn (%s)", self._what, election, extra={"action": "source.turn"})
        running: asyncio.Task[Any] = asyncio.create_task(run())
        keeping: asyncio.Task[Any] = asyncio.create_task(election.keep())
        try:
            await asyncio.wait({running, keeping}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                await running
                return True
            await self._stop(running, keeping.result())
            return False
        finally:
            try:
                if not running.done():
                    await self._finish(running, keeping)
            finally:
                self._held = False
                keeping.cancel()
                await asyncio.gather(running, keeping, return_exceptions=True)

    def _tell(self) -> None:
        """Say once what is waited for, and again when it is something else."""
        self._note()
        if self.waits != self._said:
            self._said = self.waits
            level = logging.WARNING if self._election is not None and self._election.problem else logging.INFO
            _log.log(level, "source '%s' %s", self._what, self._said, extra={"action": "source.waits"})

    def _note(self) -> None:
        if self.stands_by != self._counted:
            self._counted = self.stands_by
            self._count(1 if self._counted else -1)

    async def _stop(self, running: asyncio.Task[Any], why: str) -> None:
        """The turn is lost: receive no more. What is under way may be finished as long as nobody else can have begun."""
        _log.warning(
            "source '%s' stops receiving, because its turn is lost: %s; it stands by", self._what, why,
            extra={"action": "source.turn.lost"},
        )  # fmt: skip
        running.cancel()
        await asyncio.wait({running}, timeout=self._durations.lease_seconds - self._durations.patience_seconds)
        if not running.done():
            running.cancel()
            await asyncio.wait({running})

    async def _finish(self, running: asyncio.Task[Any], keeping: asyncio.Task[Any]) -> None:
        """The process wants an end: what is under way is finished while the turn is kept. Cancelled meanwhile, there is no time left."""
        running.cancel()
        try:
            await asyncio.wait({running, keeping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not running.done():
                running.cancel()
                await asyncio.wait({running})


def from_environment(environment: Mapping[str, str], clock: Clock) -> Turns | None:
    """Turns by Lease if ``ARGOSY_ELECT=lease`` or upstream's ``LEADER_ELECTION=k8s`` asks for them, else None: this process runs alone."""
    if environment.get("ARGOSY_ELECT") != "lease" and environment.get("LEADER_ELECTION", "").lower() != "k8s":
        return None
    # Without the name of a pod two processes of one machine must still be two.
    identity = environment.get("POD_NAME") or f"{socket.gethostname()}-{secrets.token_hex(4)}"
    return Turns(identity, Durations.read(environment), clock)
