"""What a source that watches a directory remembers of its files on the bus, so that it finds at its next start what
happened meanwhile.

An event is remembered as begun before it is emitted, and its file after: a crash between gives the same event
with the same id.
"""

from __future__ import annotations

import json
import zlib
from urllib.parse import quote_from_bytes, unquote_to_bytes

from argosy.bus._base import Bucket
from argosy.event import new_id

_SHARDS = 256
_ABOUT, _BEGUN, _FILES = "about", "begun", "files/"

Mark = tuple[int, ...]
"""What is remembered of a file: of its inode, time and size, or mode, that which the wanted change would
alter."""


class FileMemory:
    """The marks of the matching files, kept in the bucket in shards, so that a change rewrites few of
    them."""

    def __init__(self, bucket: Bucket, about: str) -> None:
        """``about`` says what is watched: what another text remembered does not count."""
        self.marks: dict[bytes, Mark] = {}
        self._bucket = bucket
        self._about = about.encode()
        self._shards: dict[str, dict[str, Mark]] = {}
        self._revisions: dict[str, int] = {}
        self._begun: dict[str, object] = {}

    async def load(self) -> bool:
        """Read what an earlier run remembered. False if there was none, or it watched something else."""
        about = await self._bucket.get(_ABOUT)
        if about is None or about.value != self._about:
            return False
        for key in await self._bucket.keys():
            if key.startswith(_FILES) and (entry := await self._bucket.get(key)) is not None:
                shard = {name: tuple(mark) for name, mark in json.loads(entry.value).items()}
                self._shards[key], self._revisions[key] = shard, entry.revision
                self.marks.update({unquote_to_bytes(name): mark for name, mark in shard.items()})
        if (begun := await self._bucket.get(_BEGUN)) is not None:
            self._begun = json.loads(begun.value)
        return True

    async def begin(self, marks: dict[bytes, Mark]) -> None:
        """Forget what was, and take ``marks`` for what is known."""
        # From here to the end, what is there must not be taken for a memory.
        await self._bucket.delete(_ABOUT)
        for key in await self._bucket.keys():
            if key == _BEGUN or key.startswith(_FILES):
                await self._bucket.delete(key)
        self.marks = marks
        for name, mark in marks.items():
            self._shards.setdefault(_shard(name), {})[quote_from_bytes(name)] = mark
        for key in self._shards:
            await self._save(key)
        await self._bucket.put(_ABOUT, self._about)

    def began(self, name: bytes, operation: int) -> bool:
        """Whether an event of this name and operation was begun and its file not yet remembered."""
        return self._begun == {**self._begun, **self._what(name, operation)}

    async def begin_event(self, name: bytes, operation: int, mark: Mark | None) -> str:
        """The id for an event: that of the same event, if it was begun before; durable on return."""
        what = {**self._what(name, operation), "mark": list(mark) if mark else None}
        identity = self._begun.get("id")
        if isinstance(identity, str) and self._begun == {**what, "id": identity}:
            return identity
        identity = new_id()
        self._begun = {**what, "id": identity}
        await self._bucket.put(_BEGUN, json.dumps(self._begun).encode())
        return identity

    def _what(self, name: bytes, operation: int) -> dict[str, object]:
        # Remembering the file writes its shard, so a begun event that was finished has an old revision.
        revision = self._revisions.get(_shard(name), 0)
        return {"name": quote_from_bytes(name), "op": operation, "revision": revision}

    async def remember(self, name: bytes, mark: Mark | None, *, told: bool) -> None:
        """The file is known as ``mark`` from now on; None if it is gone. ``told``: an event of it was
        emitted."""
        if self.marks.get(name) == mark and not told:
            return
        key = _shard(name)
        shard = self._shards.setdefault(key, {})
        if mark is None:
            self.marks.pop(name, None)
            shard.pop(quote_from_bytes(name), None)
        else:
            self.marks[name] = shard[quote_from_bytes(name)] = mark
        await self._save(key)

    async def _save(self, key: str) -> None:
        # An empty shard stays, so that its revision does.
        self._revisions[key] = await self._bucket.put(key, json.dumps(self._shards[key]).encode())


def _shard(name: bytes) -> str:
    return f"{_FILES}{zlib.crc32(name) % _SHARDS:02x}"
