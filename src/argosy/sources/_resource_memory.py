"""What a ``resource`` source remembers of the objects it told about: in memory for ``oldBody``, on the bus
for its next start.

On the bus stands up to which resource version everything is told, where the next start goes on; and, for the case that
the server has forgotten that point, for each object the version whose event is stored. Beside it stands who the object is, so that its going can be told, too. It is written a little later than the events: after a crash some
are emitted again, by the same ids. Objects are spread over a number of keys so that a change rewrites
little.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import zlib
from collections import deque
from collections.abc import Collection
from typing import Any

import msgspec

from argosy.bus._base import Bucket
from argosy.clock import Clock

_SHARDS = 64
_PAUSE_SECONDS = 1.0


class _Noted(msgspec.Struct, array_like=True):
    version: str
    about: str = ""


class _Shard(msgspec.Struct):
    settings: str
    """A digest of what was watched; after another filter, what was let pass before says nothing."""
    seen: dict[str, _Noted]


class _Start(msgspec.Struct):
    settings: str
    time: dt.datetime


class _Reached(msgspec.Struct):
    settings: str
    version: str


_STARTED = "started"
_REACHED = "reached"
_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(_Shard)
_start_decoder = msgspec.json.Decoder(_Start)
_reached_decoder = msgspec.json.Decoder(_Reached)


class Progress:
    """The order in which changes were received, and how far from the beginning all of them are settled."""

    def __init__(self) -> None:
        self._ahead: deque[asyncio.Task[Any] | str] = deque()

    def begin(self, task: asyncio.Task[Any]) -> None:
        """The change that was received last is being told."""
        self._ahead.append(task)

    def reach(self, version: str) -> None:
        """Every change up to this version has begun."""
        if self._ahead and isinstance(self._ahead[-1], str):
            self._ahead.pop()
        self._ahead.append(version)

    def settled(self) -> str:
        """The last version up to which nothing is under way any more; empty if there is none since the last call."""
        found = ""
        while self._ahead and (isinstance(self._ahead[0], str) or self._ahead[0].done()):
            first = self._ahead.popleft()
            found = first if isinstance(first, str) else found
        return found


class Seen:
    """The version of each object, by uid, whose event is stored; and ``started``, when the source began with
    these settings: starting again moves it no further, or what happened meanwhile would count as old.
    """

    def __init__(self, bucket: Bucket, clock: Clock, settings: str) -> None:
        self._bucket = bucket
        self._clock = clock
        self._settings = settings
        self._shards: list[dict[str, _Noted]] = [{} for _ in range(_SHARDS)]
        self._changed: set[int] = set()
        self._written = ""
        self.reached = ""
        """The resource version up to which everything is told; empty if that is nowhere."""
        self.started = clock.now()

    async def load(self) -> None:
        """Read what the last run left. What cannot be read, or belongs to other settings, counts as
        nothing.
        """
        await self._load_start()
        await self._load_reached()
        for key in await self._bucket.keys():
            number = key.removeprefix("seen/")
            entry = await self._bucket.get(key) if number != key and number.isdigit() else None
            if entry is None or int(number) >= _SHARDS:
                continue
            try:
                shard = _decoder.decode(entry.value)
            except msgspec.DecodeError:
                continue
            if shard.settings == self._settings:
                self._shards[int(number)] = shard.seen

    async def _load_start(self) -> None:
        entry = await self._bucket.get(_STARTED)
        try:
            start = _start_decoder.decode(entry.value) if entry is not None else None
        except msgspec.DecodeError:
            start = None
        if start is not None and start.settings == self._settings:
            self.started = start.time
        else:
            await self._bucket.put(_STARTED, _encode(_Start(self._settings, self.started)))

    async def _load_reached(self) -> None:
        entry = await self._bucket.get(_REACHED)
        try:
            reached = _reached_decoder.decode(entry.value) if entry is not None else None
        except msgspec.DecodeError:
            reached = None
        if reached is not None and reached.settings == self._settings:
            self.reached = self._written = reached.version

    def version(self, uid: str) -> str | None:
        """The version whose event is stored, or None."""
        noted = self._shards[_shard(uid)].get(uid)
        return noted.version if noted else None

    def note(self, uid: str, version: str, about: str) -> None:
        """The event of this version is stored, or was not wanted. ``about`` is what may be told if the object goes while
        nobody watches, or nothing.
        """
        number = _shard(uid)
        self._shards[number][uid] = _Noted(version, about)
        self._changed.add(number)

    def forget(self, uid: str) -> None:
        """The object is gone, and its event is stored."""
        number = _shard(uid)
        if self._shards[number].pop(uid, None) is not None:
            self._changed.add(number)

    def others(self, uids: Collection[str]) -> list[tuple[str, str]]:
        """Uid and ``about`` of the objects that are not among these."""
        return [(uid, noted.about) for shard in self._shards for uid, noted in shard.items() if uid not in uids]

    async def keep(self) -> None:
        """Write for ever what has changed, once in a while."""
        while True:
            await self._clock.sleep(_PAUSE_SECONDS)
            await self.write()

    async def write(self) -> None:
        """Write what has changed; durable on return."""
        reached = self.reached  # what is told later must not count as written with what is told by now
        while self._changed:
            number = self._changed.pop()
            try:
                await self._bucket.put(f"seen/{number}", _encode(_Shard(self._settings, self._shards[number])))
            except BaseException:
                self._changed.add(number)
                raise
        if reached != self._written:
            await self._bucket.put(_REACHED, _encode(_Reached(self._settings, reached)))
            self._written = reached


def _shard(uid: str) -> int:
    return zlib.crc32(uid.encode()) % _SHARDS
