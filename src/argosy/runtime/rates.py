"""The rate limit of one trigger: a token bucket whose state is on the bus, so that a restart is no way around it.

The bucket holds ``burst`` grants and gains one every ``unit / requestsPerUnit`` seconds; each attempt takes one. So in any span of one unit
there are at most ``requestsPerUnit + burst - 1`` attempts. All of it is one number, the moment at which the bucket will be full again
(the "theoretical arrival time" of the generic cell rate algorithm, ITU-T I.371).

Before an attempt begins, a moment at least that late is durable. It is written up to ``_AHEAD_SECONDS`` ahead, so that a fast trigger writes
twice a second and not at every attempt; a process that dies costs its successor at most what the bucket holds, and never gives it any.

Inside a process only the monotonic clock counts. What a predecessor wrote is wall-clock time and is believed as far as it can be true: a clock that
was set back meanwhile makes the bucket empty, one that was set forward makes it full, and neither stops the trigger.
"""

from __future__ import annotations

import asyncio

import msgspec

from argosy.bus._base import Bucket, Bus
from argosy.clock import Clock
from argosy.manifests.sensor import RateLimit

_AHEAD_SECONDS = 0.5
_SHORTEST_SECONDS = 1e-6  # less may be nothing beside the seconds that a clock counts
_BUCKET = "rates"


class _Stored(msgspec.Struct, frozen=True):
    full_at: float
    """Seconds since the epoch."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Stored).decode


class Rate:
    """Grants attempts of one trigger, in the order of asking. ``key`` names it on the bus and has one user at a time."""

    def __init__(self, limit: RateLimit, bucket: Bucket, key: str, clock: Clock) -> None:
        self._each = 1.0 / limit.per_second
        self._slack = (limit.burst - 1) * self._each
        self._bucket = bucket
        self._key = key
        self._clock = clock
        self._full_at = 0.0
        """By the monotonic clock; a grant is due ``slack`` earlier."""
        self._written_to = float("-inf")
        self._write_seconds = 0.0
        self._loaded = False
        self._turn = asyncio.Lock()

    async def grant(self) -> None:
        """Return when an attempt may begin; that it did is durable then. Waits through a loss of the bus."""
        async with self._turn:
            if not self._loaded:
                await self._load()
            while (wait := self._full_at - self._slack - self._clock.monotonic()) > 0:
                await self._clock.sleep(max(wait, _SHORTEST_SECONDS))
            while (full_at := max(self._full_at, self._clock.monotonic()) + self._each) > self._written_to:
                # Asked again after writing: that took time, through a loss of the bus much, and the grant counts from its end.
                await self._write(full_at)
            self._full_at = full_at

    async def _write(self, full_at: float) -> None:
        began = self._clock.monotonic()
        written_to = full_at + max(_AHEAD_SECONDS, 2 * self._write_seconds)
        wall = self._clock.now().timestamp() + written_to - began
        await self._bucket.put(self._key, _encode(_Stored(wall)))
        self._write_seconds = self._clock.monotonic() - began
        self._written_to = written_to

    async def _load(self) -> None:
        entry = await self._bucket.get(self._key)
        now = self._clock.monotonic()
        self._full_at = now
        if entry is not None:
            try:
                left = _decode(entry.value).full_at - self._clock.now().timestamp()
            except msgspec.DecodeError:
                left = self._slack + self._each  # nobody knows: an empty bucket is on the safe side
            self._full_at = now + min(left, self._slack + self._each)
        self._loaded = True


def rate(limit: RateLimit, bus: Bus, key: str, clock: Clock) -> Rate:
    """The rate limit whose state is ``key`` on ``bus``."""
    return Rate(limit, bus.bucket(_BUCKET), key, clock)
