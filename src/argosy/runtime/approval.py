"""``approval``: an action waits in its queue until a person says yes, says no, or the time is over.

What a person said stands in a bucket on the sensor's bus, so it survives restarts and holds whichever process runs the trigger. It is about one
putting of an action: who redrives a dead letter is asked anew. The first word counts.

The action rests in the hands of its trigger's worker until the time is over. Who decides writes that down first and ends the rest then; the worker begins
the rest first and looks then. So whatever order the two come in, one of them sees the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from argosy.bus._base import Bus, Lease, Queue
from argosy.clock import Clock
from argosy.errors import BusError, BusUnavailable
from argosy.lang import durations
from argosy.manifests._action_models import Approval

Verb = Literal["approved", "denied"]
_BUCKET = "approvals"
_SAME_SECONDS = 0.001


class Ruling(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a person said about an action that was put at ``put``; both times are seconds since the epoch."""

    verb: Verb
    put: float
    at: float
    by: str = ""
    comment: str = ""

    def __str__(self) -> str:
        return f"{self.verb}{f' by {self.by}' if self.by else ''}{f': {self.comment}' if self.comment else ''}"

    def is_about(self, put: float) -> bool:
        """Whether it was said about the action that was put at this time, and not about an earlier putting of it."""
        return abs(self.put - put) < _SAME_SECONDS

    def as_dict(self) -> dict[str, Any]:
        """The decision as JSON."""
        return {"state": self.verb, "by": self.by, "comment": self.comment, "at": self.at}


_decode = msgspec.json.Decoder(Ruling).decode
_encode = msgspec.json.Encoder().encode

Approver = Callable[[str, str], Ruling | None]
"""Decides at once, in the place of a person, about an action of a queue; None where it does not. For tests of manifests."""


class Approvals:
    """What was said about the actions of a bus."""

    def __init__(self, bus: Bus) -> None:
        self._bucket = bus.bucket(_BUCKET)

    async def find(self, queue: str, action_id: str, put: float) -> Ruling | None:
        """What was said about the action that was put at this time. Waits through a loss of the bus."""
        entry = await self._bucket.get(f"{queue}/{action_id}")
        found = _read(entry.value) if entry is not None else None
        return found if found is not None and found.is_about(put) else None

    async def decide(self, queue: str, action_id: str, said: Ruling) -> Ruling:
        """Write down what a person says, and return what holds: what another said before, if so. Durable on return."""
        key = f"{queue}/{action_id}"
        while True:
            entry = await self._bucket.get(key)
            found = _read(entry.value) if entry is not None else None
            if found is not None and found.is_about(said.put):
                return found
            try:
                await self._bucket.put(key, _encode(said), revision=entry.revision if entry is not None else 0)
            except BusUnavailable:
                raise
            except BusError:
                continue  # somebody else has said something in this moment
            return said

    async def forget(self, queue: str, action_id: str) -> None:
        """The action has ended."""
        await self._bucket.delete(f"{queue}/{action_id}")

    async def of(self, queue: str) -> Mapping[str, Ruling]:
        """What was said about the actions of a queue, by id; also about earlier puttings of them."""
        begin = f"{queue}/"
        found = {}
        for key in await self._bucket.keys():
            entry = await self._bucket.get(key) if key.startswith(begin) else None
            if entry is not None and (said := _read(entry.value)) is not None:
                found[key.removeprefix(begin)] = said
        return found


def _read(text: bytes) -> Ruling | None:
    try:
        return _decode(text)
    except msgspec.DecodeError:
        return None  # what cannot be read says nothing; the person is asked again


def expires_at(approval: Approval, delay: float, put: float) -> float:
    """Until when an action may be approved. What it waits for of itself (``queue.delay``) comes on top."""
    return put + delay + approval.expires


class Gate:
    """Where the actions of one trigger wait for a person."""

    def __init__(
        self,
        approval: Approval,
        delay: float,
        queue: Queue,
        approvals: Approvals,
        clock: Clock,
        approver: Approver | None,
    ) -> None:
        self._approval = approval
        self._delay = delay
        self._queue = queue
        self._approvals = approvals
        self._clock = clock
        self._approver = approver

    @property
    def expired(self) -> str:
        """Why an action that nobody approved is given up."""
        return f"nobody approved it within {durations.format(self._approval.expires)}"

    async def said(self, lease: Lease) -> Ruling | None:
        """What was said about the action."""
        if self._approver is not None and (said := self._approver(self._queue.name, lease.id)) is not None:
            return said
        return await self._approvals.find(self._queue.name, lease.id, lease.put_at)

    def seconds_left(self, lease: Lease) -> float:
        """How long the action may still wait."""
        return expires_at(self._approval, self._delay, lease.put_at) - self._clock.now().timestamp()

    async def wait(self, lease: Lease, seconds: float) -> None:
        """Let the action rest until somebody has decided, or so long. Durable on return."""
        await lease.rest(seconds, "", counted=False)
        if await self.said(lease) is not None:
            await self._queue.retry_now(lease.id)

    async def forget(self, lease: Lease) -> None:
        """The action has ended."""
        await self._approvals.forget(self._queue.name, lease.id)
