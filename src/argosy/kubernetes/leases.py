"""Electing one of several processes by a Lease of the API server (``coordination.k8s.io/v1``), by client-go's rules.

Who holds the Lease renews it; who does not looks at it. Nobody trusts another's clock: a Lease counts as abandoned when it has not *changed* for as
long as it says it lasts, measured by the watch of who looks. A holder that could not renew it for a time that is shorter has to stop, so that
it has stopped before another one begins. Who ends in peace lets go, and the next one has it at its next look.

The API server is asked about once in ``retry_seconds`` by everybody who takes part, for each Lease.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from argosy.clock import Clock
from argosy.errors import ArgosyError, LangError
from argosy.kubernetes._answers import Conflict, NotFound, Resource
from argosy.kubernetes.client import Client, Object
from argosy.kubernetes.names import dns_label
from argosy.lang import durations

_log = logging.getLogger("argosy.kubernetes")
_LEASES = Resource("coordination.k8s.io", "v1", "Lease", "leases", True)
_JITTER = 0.2
"""So much longer than asked a pause may be, so that those who look do not look at once (client-go's JitterFactor is 1.2)."""
_RELEASE_SECONDS = 5.0
"""The most that the end of a process waits until its Lease is given back."""
_VARIABLE = "LEADER_ELECTION_"


def lease_name(event_source: str, event: str) -> str:
    """What the Lease of one event is called. It ends with a digest, for where one name ends and the other begins hyphens do not tell."""
    digest = hashlib.sha256(f"{event_source}/{event}".encode()).hexdigest()[:8]
    return f"{dns_label(f'argosy-{event_source}-{event}')[:54].rstrip('-')}-{digest}"


@dataclass(frozen=True)
class Durations:
    """How a Lease is kept; the defaults are upstream's."""

    lease_seconds: float = 5.0
    """How long a Lease holds that is not renewed."""
    renew_seconds: float = 2.0
    """How long its holder tries on when it cannot renew it."""
    retry_seconds: float = 1.0
    """The pause between two renewals, and between two looks of who waits."""

    @property
    def patience_seconds(self) -> float:
        """How long a holder goes on after a renewal with which nothing came: until the next was due and has been tried. Shorter than the
        Lease holds in any case, so that it has stopped before another begins.
        """
        return min(self.retry_seconds + self.renew_seconds, (self.renew_seconds + self.lease_seconds) / 2)

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Durations:
        """As ``LEADER_ELECTION_LEASE_DURATION``, ``_RENEW_DEADLINE`` and ``_RETRY_PERIOD`` say (``5s``). What is no duration, and three
        that do not go together, are warned of and left out.
        """
        given: dict[str, float] = {}
        for name, word in (
            ("lease_seconds", "LEASE_DURATION"),
            ("renew_seconds", "RENEW_DEADLINE"),
            ("retry_seconds", "RETRY_PERIOD"),
        ):
            text = environment.get(_VARIABLE + word, "").strip()
            if not text:
                continue
            try:
                given[name] = durations.parse(text)
            except LangError as error:
                _warn(f"{_VARIABLE}{word} is left out: {error}")
        read = cls(**given)
        if read.lease_seconds > read.renew_seconds > read.retry_seconds * (1 + _JITTER) > 0:
            return read
        _warn(
            f"{_VARIABLE}* are left out: the lease's duration ({read.lease_seconds:g} s) must be longer than the renew deadline"
            f" ({read.renew_seconds:g} s), and that longer than 1.2 times the retry period ({read.retry_seconds:g} s)"
        )
        return cls()


def _warn(sentence: str) -> None:
    _log.warning("%s; the default holds", sentence, extra={"action": "lease.variable"})


class Election:
    """The part of one process in one election. For one task at a time."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        name: str,
        identity: str,
        *,
        clock: Clock,
        durations: Durations | None = None,
        labels: Mapping[str, str] | None = None,
        owners: Sequence[Object] = (),
    ) -> None:
        """``identity`` is what no other process that takes part is called. ``owners`` are references to objects with which the Lease goes."""
        self.holder = ""
        """Who has the Lease, as far as is known; empty if nobody."""
        self.problem = ""
        """Why the Lease cannot be asked for, in a sentence; empty while all is well."""
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._clock = clock
        self._durations = durations or Durations()
        self._labels = labels or {}
        self._owners = owners
        self._ours: Object | None = None
        self._renewed_at = -math.inf
        self._seen: tuple[object, ...] = ()
        self._seen_at = -math.inf
        self._lasts = 0.0

    @property
    def over(self) -> bool:
        """Whether the Lease is not ours, or was not renewed for so long that it need not be: also where ``keep`` did not get to notice,
        because the whole process stood still.
        """
        return self._clock.monotonic() - self._renewed_at > self._durations.patience_seconds

    def __str__(self) -> str:
        return f"lease '{self._namespace}/{self._name}'"

    async def acquire(self, waits: Callable[[], None]) -> None:
        """Return once the Lease is ours. Waits through everything that fails, and calls ``waits`` after each try that was in vain;
        ``holder`` and ``problem`` say what for.
        """
        failures = 0
        while True:
            began = self._clock.monotonic()
            if await self._attempt(self._durations.lease_seconds):
                self._renewed_at = began
                return
            waits()
            failures = failures + 1 if self.problem else 0
            pause = min(self._durations.retry_seconds * 2 ** min(failures, 10), self._durations.lease_seconds)
            await self._clock.sleep(pause * (1 + _JITTER * random.random()))

    async def keep(self) -> str:
        """Renew the Lease, which must be ours, for as long as that goes; why it is lost, as a clause."""
        patience = self._durations.patience_seconds
        pause = self._durations.retry_seconds
        while True:
            left = self._renewed_at + patience - self._clock.monotonic()
            await self._clock.sleep(min(pause, max(0.0, left)))
            began = self._clock.monotonic()
            left = self._renewed_at + patience - began
            if left <= 0:
                return f"it could not be renewed for {patience:g} s: {self.problem or 'this process was too busy'}"
            if await self._attempt(left):
                self._renewed_at, pause = began, self._durations.retry_seconds
                continue
            pause = self._durations.retry_seconds / 4  # there is little time
            if self.holder not in ("", self._identity):
                self._renewed_at = -math.inf
                return f"'{self.holder}' has it now"

    async def release(self) -> None:
        """Let go, if the Lease is ours. Where that fails it ends by itself."""
        if self._ours is None:
            return
        body = self._written(self._ours)
        # The server takes no empty name for nobody.
        del body["spec"]["holderIdentity"]
        body["spec"]["leaseDurationSeconds"] = 1
        self._ours = None
        try:
            async with asyncio.timeout(min(self._durations.renew_seconds, _RELEASE_SECONDS)):
                await self._client.replace(_LEASES, self._name, body, self._namespace)
        except (ArgosyError, TimeoutError) as error:
            _log.info(
                "%s could not be given back (%s); it ends by itself within %g s",
                self, error or "no answer in time", self._durations.lease_seconds,
                extra={"action": "lease.kept"},
            )  # fmt: skip

    async def _attempt(self, seconds: float) -> bool:
        """Have or renew the Lease, within this time. What fails is in ``problem`` afterwards."""
        try:
            async with asyncio.timeout(seconds):
                ours = await self._have()
        except ArgosyError as error:
            self.problem = str(error)
        except TimeoutError:
            self.problem = f"{self}: the Kubernetes API did not answer within {seconds:.1f} s"
        else:
            self.problem = ""
            return ours
        return False

    async def _have(self) -> bool:
        if self._ours is not None:
            # Nobody else writes while it is ours, so it need not be read.
            if await self._write(self._ours):
                return True
            self._ours = None
        try:
            found = await self._client.get(_LEASES, self._name, self._namespace)
        except NotFound:
            # Somebody removed it; its holder, if it lives, does not know yet, and makes it anew.
            return False if self._another_has_it() else await self._make()
        self._look(found)
        return False if self._another_has_it() else await self._write(found)

    async def _make(self) -> bool:
        about: Object = {"name": self._name, "namespace": self._namespace}
        if self._labels:
            about["labels"] = dict(self._labels)
        if self._owners:
            about["ownerReferences"] = list(self._owners)
        bare: Object = {"apiVersion": _LEASES.api_version, "kind": _LEASES.kind, "metadata": about}
        try:
            self._take(await self._client.create(_LEASES, self._written(bare), self._namespace))
        except Conflict:
            return False
        return True

    async def _write(self, before: Object) -> bool:
        """Write the Lease as ours unless somebody changed it since ``before``."""
        try:
            self._take(await self._client.replace(_LEASES, self._name, self._written(before), self._namespace))
        except (Conflict, NotFound):
            return False
        return True

    def _written(self, before: Object) -> Object:
        spec: Object = before.get("spec") or {}
        now = self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")  # six digits, or the server does not read it
        same = spec.get("holderIdentity") == self._identity
        changes = int(spec.get("leaseTransitions") or 0)
        return {
            **before,
            "spec": {
                **spec,
                "holderIdentity": self._identity,
                "leaseDurationSeconds": math.ceil(self._durations.lease_seconds),
                "acquireTime": (spec.get("acquireTime") if same else None) or now,
                "renewTime": now,
                "leaseTransitions": changes if same or not spec else changes + 1,
            },
        }

    def _take(self, lease: Object) -> None:
        self._ours = lease
        self._look(lease)

    def _look(self, lease: Object) -> None:
        spec: Object = lease.get("spec") or {}
        self.holder = str(spec.get("holderIdentity") or "")
        self._lasts = float(spec.get("leaseDurationSeconds") or self._durations.lease_seconds)
        seen = (self.holder, spec.get("renewTime"), spec.get("leaseTransitions"))
        if seen != self._seen:
            self._seen, self._seen_at = seen, self._clock.monotonic()

    def _another_has_it(self) -> bool:
        if self.holder in ("", self._identity):
            return False
        return self._clock.monotonic() - self._seen_at < self._lasts
