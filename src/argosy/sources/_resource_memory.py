"""What a ``resource`` source remembers of the objects it told about: in memory for ``oldBody``, on the bus
for its next start.

On the bus stands, for each object, the version whose event is stored there; so a source that starts again
says nothing about what has not changed. Beside it stands who the object is, so that its going can be told, too. It is written a little later than the events: after a crash some
are emitted again, by the same ids. Objects are spread over a number of keys so that a change rewrites
little.
"""

from __future__ import annotations

import datetime as dt
import zlib
from collections.abc import Collection

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


_STARTED = "started"
_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(_Shard)
_start_decoder = msgspec.json.Decoder(_Start)


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
        self.started = clock.now()

    async def load(self) -> None:
        """Read what the last run left. What cannot be read, or belongs to other settings, counts as
        nothing.
        """
        await self._load_start()
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
        while self._changed:
            number = self._changed.pop()
            try:
                await self._bucket.put(f"seen/{number}", _encode(_Shard(self._settings, self._shards[number])))
            except BaseException:
                self._changed.add(number)
                raise


def _shard(uid: str) -> int:
    return zlib.crc32(uid.encode()) % _SHARDS
