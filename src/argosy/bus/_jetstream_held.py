"""One item of a queue on JetStream that this process holds: how it rests and how it ends, each durable before the next step.

An ending writes what ended the item first and takes the item off the queue second, through the taker that handed it out.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from argosy.bus import _jetstream_names as names
from argosy.bus._base import Lease
from argosy.errors import EventTooLarge

if TYPE_CHECKING:
    from argosy.bus._jetstream_lease import Taker

ACTIONS, OUTCOMES, DEAD = "argosy-actions", "argosy-outcomes", "argosy-dead"
ID, PUT = "Argosy-Id", "Argosy-Put"
ENDING, REASON, FAILURES, DIED_AT = "Argosy-Ending", "Argosy-Reason", "Argosy-Failures", "Argosy-Died-At"
"""Headers of the messages in these streams."""

_LONGEST_REASON = 4 * 1024
_LOOK_SECONDS = 15.0
"""How often an item that rests in our hands is looked at: whether a person has ended it, or its rest."""


class HeldItem(Lease):
    """A message of the actions stream, held."""

    def __init__(self, taker: Taker, stream: int, place: str, reply: str) -> None:
        self._taker = taker
        self._queue = taker._queue
        self._place = place
        self.stream = stream
        self.reply = reply
        self.known = True
        """Whether the consumer knows that we hold it."""
        self.rests_until: float | None = None
        """By the loop's clock, where it rests in our hands."""
        self.stirred = asyncio.Event()
        self.ending = False

    async def done(self, outcome: bytes = b"") -> None:
        await self._ended("done", outcome)

    async def dead_letter(self, reason: str) -> None:
        self.ending = True
        headers = {
            ID: names.header(self.id),
            REASON: cut(reason),
            FAILURES: str(self.failures),
            DIED_AT: f"{time.time():.6f}",
        }
        await self._queue.dead.put(self._queue.subject(DEAD, self._place), self.body, headers=headers)
        await self._ended("dead", b"")

    async def discard(self, reason: str) -> None:
        await self._ended("discarded", b"", {REASON: cut(reason)})

    async def retry_in(self, seconds: float, error: str, *, counted: bool = True) -> None:
        self.ending = True
        await self._write_rest(seconds, error, counted)
        await self._taker._end(self, nak(max(0.0, seconds)))

    async def rest(self, seconds: float, error: str, *, counted: bool = True) -> None:
        await self._write_rest(seconds, error, counted)
        self.rests_until = asyncio.get_running_loop().time() + max(0.0, seconds)

    async def _write_rest(self, seconds: float, error: str, counted: bool) -> None:
        failures = self.failures + counted
        error = names.text_of_header(cut(error)) if counted else self.last_error
        seconds = max(0.0, seconds)
        record = {
            "failures": failures,
            "error": error,
            "not_before": time.time() + seconds,
            "seconds": seconds,
            "reply": self.reply,
        }
        await self._queue.kv.put(self._queue.failures_at(self._place), json.dumps(record).encode())
        self.failures, self.last_error, self.rested_before = failures, error, True

    @property
    def resting(self) -> bool:
        return self.rests_until is not None

    async def rested(self) -> bool:
        loop = asyncio.get_running_loop()
        while self.rests_until is not None:
            self.stirred.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(min(self.rests_until, loop.time() + _LOOK_SECONDS)):
                    await self.stirred.wait()
            if await self._queue.outcomes.get(self._queue.subject(OUTCOMES, self._place)):
                self.ending = True
                await self._taker._end(self, b"+ACK")
                return False
            if loop.time() < self.rests_until:
                record = await self._queue.failure(self._place, True)
                if record is not None and float(json.loads(record.data)["not_before"]) > time.time():
                    continue
            self.rests_until = None
        return True

    async def hand_back(self) -> None:
        self.ending = True
        await self._taker._end(self, b"-NAK")

    async def _ended(self, ending: str, outcome: bytes, more: Mapping[str, str] | None = None) -> None:
        self.ending = True
        headers = {ID: names.header(self.id), ENDING: ending, FAILURES: str(self.failures), **(more or {})}
        try:
            await self._queue.outcomes.put(
                self._queue.subject(OUTCOMES, self._place), outcome, headers=headers, unique=False
            )
        except EventTooLarge as error:
            raise EventTooLarge(
                f"the outcome of item {self.id!r} of queue {self._queue.name!r} is too large: {error}"
            ) from error
        if self.rested_before:
            await self._queue.kv.delete(self._queue.failures_at(self._place))
        await self._taker._end(self, b"+ACK")


def nak(seconds: float) -> bytes:
    return b'-NAK {"delay": %d}' % math.ceil(seconds * 1e9) if seconds > 0 else b"-NAK"


def cut(text: str) -> str:
    """``text`` as a header, cut to what an item leaves room for."""
    while len(encoded := names.header(text)) > _LONGEST_REASON:
        text = text[: min(len(text) - 1, len(text) * _LONGEST_REASON // len(encoded))]
    return encoded
