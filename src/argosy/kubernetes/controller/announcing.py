"""Kubernetes Events: what a person who looks at an object should know happened to it.

The same is said once in ten minutes, and of one object no more than ten things in a row and one a minute after that: Events are kept by the
API server, and an object that fails again and again would fill it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import secrets
import time
from collections.abc import Callable
from typing import Literal, NamedTuple

from argosy.errors import ArgosyError
from argosy.kubernetes.client import Client, Object

_log = logging.getLogger("argosy.controller")
_SAME_SECONDS, _REFILL_SECONDS, _BURST = 600.0, 60.0, 10
_LONGEST_NOTE = 1000
"""The API takes 1024 bytes (events.k8s.io/v1)."""
_COMPONENT = "argosy.dev/controller"

Kind = Literal["Normal", "Warning"]


class Said(NamedTuple):
    """Something that happened to an object."""

    about: Object
    kind: Kind
    reason: str
    note: str


Announce = Callable[[Said], None]


class Rate:
    """Decides what is said and what is not. Clock in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._same: dict[tuple[str, str, str], float] = {}
        self._left: dict[str, tuple[float, float]] = {}

    def allows(self, uid: str, reason: str, note: str) -> bool:
        """Whether this may be said now; asking counts as saying."""
        now = self._clock()
        for key in [key for key, until in self._same.items() if until <= now]:
            del self._same[key]
        if (uid, reason, note) in self._same:
            return False
        left, since = self._left.get(uid, (float(_BURST), now))
        left = min(float(_BURST), left + (now - since) / _REFILL_SECONDS)
        if left < 1:
            self._left[uid] = (left, now)
            return False
        self._left[uid] = (left - 1, now)
        self._same[uid, reason, note] = now + _SAME_SECONDS
        if len(self._left) > 10_000:
            self._left.clear()
        return True


class Announcer:
    """Writes Events beside the work. What cannot be written is lost, and said in the log: nothing depends on it."""

    def __init__(self, client: Client, instance: str) -> None:
        self._client = client
        self._instance = instance
        self._rate = Rate()
        self._waiting: asyncio.Queue[Said] = asyncio.Queue(1000)

    def __call__(self, said: Said) -> None:
        """Say it soon, if it may be said."""
        uid = str(said.about["metadata"].get("uid") or "")
        if not self._waiting.full() and self._rate.allows(uid, said.reason, said.note):
            self._waiting.put_nowait(said)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            said = await self._waiting.get()
            try:
                resource = await self._client.discover_plural("events.k8s.io/v1", "events")
                body = event(said, self._instance)
                await self._client.create(resource, body, body["metadata"]["namespace"])
            except ArgosyError as error:
                _log.info("an Event could not be written: %s", error, extra={"action": "event.lost"})


def event(said: Said, instance: str) -> Object:
    """The Event (events.k8s.io/v1) that says it."""
    about = said.about["metadata"]
    moment = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    note = said.note.encode()[:_LONGEST_NOTE].decode(errors="ignore")
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{about['name'][:230]}.{secrets.token_hex(8)}", "namespace": about["namespace"]},
        "eventTime": moment,
        "reportingController": _COMPONENT,
        "reportingInstance": instance[:128],
        "action": "Reconcile",
        "reason": said.reason or "Changed",
        "note": note,
        "type": said.kind,
        "regarding": {
            "apiVersion": said.about["apiVersion"],
            "kind": said.about["kind"],
            "namespace": about["namespace"],
            "name": about["name"],
            "uid": about.get("uid", ""),
            "resourceVersion": about.get("resourceVersion", ""),
        },
    }
