"""``file``: files of one directory that are created, written, removed, renamed or change their mode.

Changes come from inotify, or by looking ten times a second (``polling``, for network file systems; and where
there is no inotify). The names that match are remembered on the bus with what counts for the wanted change,
so what happened while nobody watched is found at the next start. An event is remembered as begun before it is
emitted, and its file after: a crash between gives the same event with the same id.

What cannot be seen afterwards: a file that came and went while nobody watched, several writes as one, a move
out of the directory (a removal, then), and a file replaced by one with the same inode number."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import field_validator, model_validator

from argosy.errors import LangError, SourceError
from argosy.lang import regex
from argosy.manifests.fields import Model
from argosy.sources._base import Source, SourceConfig, SourceContext
from argosy.sources._file_memory import FileMemory, Mark
from argosy.sources._finishing import to_the_end

if TYPE_CHECKING:
    from collections.abc import Callable

_OPERATIONS = {"CREATE": 1, "WRITE": 2, "REMOVE": 4, "RENAME": 8, "CHMOD": 16}
_POLL_SECONDS = 0.1


class WatchPathConfig(Model):
    """Which files: one by its ``path``, or those whose name ``pathRegexp`` (RE2) finds something in."""

    directory: str
    """Absolute. Folders inside are not watched."""
    path: str = ""
    """One path below the directory."""
    path_regexp: str = ""
    """A regular expression of paths below the directory."""

    @model_validator(mode="after")
    def _complete(self) -> WatchPathConfig:
        if not self.directory.startswith("/"):
            raise ValueError(f"directory {self.directory!r} must be an absolute path")
        if bool(self.path) == bool(self.path_regexp):
            raise ValueError("needs either path or pathRegexp")
        if "/" in self.path:
            raise ValueError(f"path {self.path!r} must be a name inside the directory; folders inside are not watched")
        if self.path_regexp:
            try:
                regex.compile(self.path_regexp)
            except LangError as error:
                raise ValueError(f"pathRegexp {error}") from error
        return self


class FileConfig(SourceConfig):
    """Which change of which files."""

    event_type: Literal["CREATE", "WRITE", "REMOVE", "RENAME", "CHMOD"]
    """Which changes become events."""
    watch_path_config: WatchPathConfig
    """What is watched."""
    polling: bool = False
    """Look ten times a second instead of asking the kernel."""

    @field_validator("event_type", mode="before")
    @classmethod
    def _known(cls, name: object) -> object:
        if not isinstance(name, str) or name not in _OPERATIONS:
            raise ValueError(f"{name!r} is not one of {', '.join(_OPERATIONS)}")
        return name


class File(Source[FileConfig]):
    """Watches a directory. What its upstream, the directory, is told is which files the source remembers.

    ``op`` in the data is fsnotify's bit: 1 CREATE, 2 WRITE, 4 REMOVE, 8 RENAME (under the old name), 16
    CHMOD. ``name`` is the full path, with ``polling`` the name alone."""

    kind: ClassVar[str] = "file"
    config = FileConfig
    exclusive: ClassVar[bool] = True
    acknowledges: ClassVar[bool] = True
    peer: ClassVar[str] = "none: the file system"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: file
spec:
  file:
    new-report:
      eventType: CREATE
      watchPathConfig:
        directory: /var/spool/reports/
        pathRegexp: '\\.csv$'
"""

    async def run(self, ctx: SourceContext[FileConfig]) -> None:
        watch = _Watch(ctx)
        try:
            if ctx.config.polling or sys.platform != "linux":
                await watch.by_looking()
            else:
                await watch.by_inotify()
        except OSError as error:
            raise SourceError(_why_not(watch.directory, error)) from error


def _why_not(directory: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"directory {str(directory)!r} does not exist; create or mount it"
    if isinstance(error, NotADirectoryError):
        return f"{str(directory)!r} is not a directory"
    return f"directory {str(directory)!r} cannot be watched: {error.strerror}"


class _Watch:
    """One directory, what is known of its files, and how a change becomes an event."""

    def __init__(self, ctx: SourceContext[FileConfig]) -> None:
        self._ctx = ctx
        paths = ctx.config.watch_path_config
        self.directory = Path(paths.directory)
        self._matches = _matcher(paths)
        self._wanted = _OPERATIONS[ctx.config.event_type]
        about = json.dumps([paths.directory, paths.path, paths.path_regexp, self._wanted])
        self._memory = FileMemory(ctx.bucket, about)

    async def by_inotify(self) -> None:
        from argosy.sources._inotify import ChangesLost, DirectoryGone, Inotify

        with Inotify(self.directory) as inotify:
            await self._catch_up()
            self._ctx.listening(f"directory {str(self.directory)!r}")
            while True:
                try:
                    change = await inotify.next()
                except ChangesLost:
                    await self._look()
                except DirectoryGone:
                    raise SourceError(f"directory {str(self.directory)!r} was removed, moved or unmounted") from None
                else:
                    if self._matches(change.name):
                        await to_the_end(self._happened(change.name, change.operation))

    async def by_looking(self) -> None:
        await self._catch_up()
        self._ctx.listening(f"directory {str(self.directory)!r}, by polling")
        while True:
            await self._ctx.clock.sleep(_POLL_SECONDS)
            await self._look()

    async def _catch_up(self) -> None:
        """Find what happened since the last run, or, at the first run, take the files as they are."""
        if await self._memory.load():
            await self._look()
            return
        marks, _ = await asyncio.to_thread(self._list)
        await self._memory.begin(marks)

    def _list(self) -> tuple[dict[bytes, Mark], set[int]]:
        """The marks of the files that match, and the inodes of all."""
        marks, inodes = {}, set()
        with os.scandir(os.fsencode(self.directory)) as entries:
            for entry in entries:
                inodes.add(entry.inode())
                if self._matches(entry.name) and (mark := self._mark(entry.name)) is not None:
                    marks[entry.name] = mark
        return marks, inodes

    def _mark(self, name: bytes) -> Mark | None:
        try:
            stat = os.stat(os.path.join(os.fsencode(self.directory), name), follow_symlinks=False)  # noqa: PTH116, PTH118 - names are bytes
        except OSError:
            return None  # it is gone, which is what the caller wants to know
        if self._wanted == _OPERATIONS["WRITE"]:
            return (stat.st_mtime_ns, stat.st_size)
        return (stat.st_mode,) if self._wanted == _OPERATIONS["CHMOD"] else (stat.st_ino,)

    async def _look(self) -> None:
        """Compare the directory with what is known, and tell the wanted differences."""
        marks, inodes = await asyncio.to_thread(self._list)
        known = self._memory.marks
        for name in sorted(known.keys() - marks.keys()):
            await to_the_end(self._tell(name, self._lost(name, inodes), None))
        for name, mark in sorted(marks.items()):
            if known.get(name) != mark:
                await to_the_end(self._tell(name, self._found(known.get(name), mark), mark))

    def _lost(self, name: bytes, inodes: set[int]) -> int:
        """What happened to a name that is gone: RENAME if the file is there under another, else REMOVE."""
        renamed = self._memory.marks[name][0] in inodes or self._memory.began(name, _OPERATIONS["RENAME"])
        return _OPERATIONS["RENAME" if renamed else "REMOVE"]

    def _found(self, known: Mark | None, mark: Mark) -> int:
        """What happened to a name whose mark is new or differs."""
        if known is None:
            written = self._wanted == _OPERATIONS["WRITE"] and mark[1] > 0
            return self._wanted if written else _OPERATIONS["CREATE"]
        replaced = self._wanted in (_OPERATIONS["REMOVE"], _OPERATIONS["RENAME"])
        return _OPERATIONS["CREATE"] if replaced else self._wanted

    async def _happened(self, name: bytes, operation: int) -> None:
        """Tell what the kernel said. The directory may have moved on; a name that it said is gone counts as
        gone."""
        gone = operation in (_OPERATIONS["REMOVE"], _OPERATIONS["RENAME"])
        mark = None if gone else self._mark(name)
        if operation == _OPERATIONS["CREATE"] and mark is not None and self._memory.marks.get(name) == mark:
            return  # found by looking before the kernel's notice was read
        await self._tell(name, operation, mark)

    async def _tell(self, name: bytes, operation: int, mark: Mark | None) -> None:
        """Emit if it is the wanted change, and remember the file."""
        if operation == self._wanted:
            identity = await self._memory.begin_event(name, operation, mark)
            text = name.decode(errors="replace")
            await self._ctx.emit(
                {
                    "name": text if self._ctx.config.polling else str(self.directory / text),
                    "op": operation,
                    "metadata": dict(self._ctx.config.metadata) or None,
                },
                id=identity,
            )
        await self._memory.remember(name, mark, told=operation == self._wanted)


def _matcher(paths: WatchPathConfig) -> Callable[[bytes], bool]:
    if paths.path:
        wanted = os.fsencode(paths.path)
        return lambda name: name == wanted
    found = regex.compile(paths.path_regexp).search
    if paths.directory.endswith("/"):
        return lambda name: found(name.decode(errors="replace"))
    # Upstream cuts the directory's text off the path, so without the slash at its end patterns see one in
    # front of the name.
    return lambda name: found(name.decode(errors="replace")) or found("/" + name.decode(errors="replace"))
