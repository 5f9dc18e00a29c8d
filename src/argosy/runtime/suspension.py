"""Which triggers are suspended: as the manifest says (``queue.suspend``), unless a person has said otherwise.

What persons said stands in one record on the sensor's bus, so it survives restarts and holds whichever process runs the trigger. A
process looks at that record twice a second, once for all its sensors on a bus; a trigger asks its ``Switch``. What was said about a trigger
holds until the manifest's own word about it changes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Literal
from weakref import WeakKeyDictionary

import msgspec

from argosy.bus._base import Bucket, Bus
from argosy.clock import Clock
from argosy.errors import BusError, BusUnavailable
from argosy.runtime.supervise import keep

Mode = Literal["run", "queue", "drop"]
"""``queue``: actions wait in their queue. ``drop``: they end as discarded, unless somebody resumes before their turn comes."""

LOOK_SECONDS = 0.5
"""How often the record is looked at; a trigger notices within this time that it is suspended or resumed."""
DROPPED = "suspended"
"""The reason of an action that a trigger suspended with ``drop`` discards."""
_BUCKET, _KEY = "suspension", "said"
_TRIES = 20


class Said(msgspec.Struct, frozen=True):
    """What a person said about a trigger: ``at`` is seconds since the epoch, ``over`` the manifest's word at that time."""

    mode: Mode
    over: Mode
    at: float
    by: str = ""


_decode = msgspec.json.Decoder(dict[str, Said]).decode
_encode = msgspec.json.Encoder().encode


def in_force(said: Said | None, manifest: Mode) -> Mode:
    """What holds for a trigger whose ``queue.suspend`` is ``manifest`` (``run`` where it says nothing)."""
    return said.mode if said is not None and said.over == manifest else manifest


async def read(bus: Bus) -> dict[str, Said]:
    """What was said, by the name of the trigger's queue. Waits through a loss of the bus."""
    return (await _read(bus.bucket(_BUCKET)))[0]


async def say(bus: Bus, modes: Mapping[str, tuple[Mode, Mode]], *, by: str = "") -> None:
    """Write down for each queue name the mode that shall hold, and what the manifest says of it. Durable on return.

    What equals the manifest's word is no exception from it and is forgotten.
    """
    bucket = bus.bucket(_BUCKET)
    for _ in range(_TRIES):
        said, revision = await _read(bucket)
        for name, (mode, manifest) in modes.items():
            said.pop(name, None)
            if mode != manifest:
                said[name] = Said(mode, manifest, time.time(), by)
        try:
            await bucket.put(_KEY, _encode(said), revision=revision)
        except BusUnavailable:
            raise
        except BusError:
            continue  # somebody else wrote meanwhile; say it on top of that
        return
    raise BusError("the record of suspended triggers is written by too many at once; try again")


async def _read(bucket: Bucket) -> tuple[dict[str, Said], int]:
    entry = await bucket.get(_KEY)
    if entry is None:
        return {}, 0
    try:
        return _decode(entry.value), entry.revision
    except msgspec.DecodeError as error:
        raise BusError(f"the record of suspended triggers cannot be read: {error}") from error


class Switch:
    """Whether one trigger may work now. Without a board it always runs, as in ``argosy test``."""

    def __init__(self, board: Switchboard | None = None, queue_name: str = "", manifest: Mode = "run") -> None:
        self._board = board
        self._name = queue_name
        self._manifest = manifest

    @property
    def mode(self) -> Mode:
        """What holds now."""
        if self._board is None:
            return "run"
        return in_force(self._board.said.get(self._name), self._manifest)

    async def until_open(self) -> None:
        """Return once the trigger is not suspended, or is to drop its actions."""
        while self.mode == "queue":
            assert self._board is not None
            await self._board.changed()

    async def until_suspended(self) -> None:
        """Return once the trigger is suspended and its actions are to wait."""
        while self.mode != "queue":
            if self._board is None:
                await asyncio.get_running_loop().create_future()  # never
            else:
                await self._board.changed()


class Switchboard:
    """What was said about the triggers on one bus, as this process knows it. Kept fresh while ``kept`` is open."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bucket = bus.bucket(_BUCKET)
        self._clock = clock
        self.said: dict[str, Said] = {}
        self._change = asyncio.Event()
        self._users = 0
        self._entering = asyncio.Lock()
        self._looking: asyncio.Task[None] | None = None

    async def changed(self) -> None:
        """Return at the next change."""
        await self._change.wait()

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[Switchboard]:
        """Know what was said for as long as the context is open; entered once it is known. Waits through a loss of the bus."""
        async with self._entering:
            if self._looking is None:
                await self._look()
                self._looking = asyncio.create_task(
                    keep("the look at suspended triggers", self._go_on_looking, self._clock)
                )
            self._users += 1
        try:
            yield self
        finally:
            self._users -= 1
            if not self._users and self._looking is not None:
                looking, self._looking = self._looking, None
                looking.cancel()
                await asyncio.gather(looking, return_exceptions=True)

    async def _go_on_looking(self) -> None:
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            await self._look()

    async def _look(self) -> None:
        said, _ = await _read(self._bucket)
        if said != self.said:
            self.said = said
            change, self._change = self._change, asyncio.Event()
            change.set()


class Switchboards:
    """The switchboard of each bus that this process uses."""

    def __init__(self) -> None:
        self._boards: WeakKeyDictionary[Bus, Switchboard] = WeakKeyDictionary()

    def of(self, bus: Bus, clock: Clock) -> Switchboard:
        """The board of this bus; one object for all who ask."""
        if bus not in self._boards:
            self._boards[bus] = Switchboard(bus, clock)
        return self._boards[bus]
