"""Linux's inotify for one directory, awaited: what happened to which name, in order.

By ctypes, because the libraries at hand (watchfiles) fold what happened into added, modified and deleted, and
the ``file`` source must tell a rename from a removal and a write from a change of mode, as upstream's
fsnotify does."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import struct
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

# <sys/inotify.h>
_MODIFY, _ATTRIB, _MOVED_FROM, _MOVED_TO = 0x2, 0x4, 0x40, 0x80
_CREATE, _DELETE, _DELETE_SELF, _MOVE_SELF = 0x100, 0x200, 0x400, 0x800
_UNMOUNT, _OVERFLOW, _IGNORED, _ONLYDIR = 0x2000, 0x4000, 0x8000, 0x1000000
_WANTED = _MODIFY | _ATTRIB | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _DELETE_SELF | _MOVE_SELF
_GONE = _DELETE_SELF | _MOVE_SELF | _UNMOUNT | _IGNORED
_MOST = 16_384  # as many as the kernel's own queue holds
_HEAD = struct.Struct("iIII")

CREATE, WRITE, REMOVE, RENAME, CHMOD = 1, 2, 4, 8, 16
"""fsnotify's bits, which stand in events."""

_OPERATIONS = (
    (_CREATE | _MOVED_TO, CREATE),
    (_DELETE, REMOVE),
    (_MODIFY, WRITE),
    (_MOVED_FROM, RENAME),
    (_ATTRIB, CHMOD),
)


class Change(NamedTuple):
    """Something that happened to ``name`` in the directory."""

    name: bytes
    operation: int


class DirectoryGone(Exception):
    """The directory was removed, moved or unmounted, or its file system says no more."""


class ChangesLost(Exception):
    """The kernel's queue ran over: changes were dropped. Later ones still come."""


class Inotify:
    """Watches ``directory`` while the context is open. Entering raises OSError if it cannot be watched."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._changes: deque[Change] = deque()
        self._failure: Exception | None = None
        self._some = asyncio.Event()
        self._descriptor = -1
        self._paused = False

    def __enter__(self) -> Self:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise _os_error(ctypes.get_errno())
        path = os.fsencode(self._directory)
        if libc.inotify_add_watch(self._descriptor, path, ctypes.c_uint32(_WANTED | _ONLYDIR)) < 0:
            number = ctypes.get_errno()
            os.close(self._descriptor)
            raise _os_error(number)
        asyncio.get_running_loop().add_reader(self._descriptor, self._read)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)

    async def next(self) -> Change:
        """The next change. Raises DirectoryGone or ChangesLost after the last one that is known."""
        while not self._changes:
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
            if self._paused:
                self._paused = False
                asyncio.get_running_loop().add_reader(self._descriptor, self._read)
            self._some.clear()
            await self._some.wait()
        return self._changes.popleft()

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, 64 * 1024)
        except BlockingIOError:
            return
        position = 0
        while position < len(data):
            _, mask, _, length = _HEAD.unpack_from(data, position)
            position += _HEAD.size + length
            name = data[position - length : position].rstrip(b"\0")
            if mask & _OVERFLOW:
                self._failure = self._failure or ChangesLost()
            elif mask & _GONE:
                self._failure = DirectoryGone()
            elif name:
                self._changes.extend(Change(name, op) for bits, op in _OPERATIONS if mask & bits)
        self._some.set()
        if len(self._changes) > _MOST:
            # Whoever asks is slower than the directory. What does not fit the kernel's queue either comes as
            # ChangesLost.
            self._paused = True
            asyncio.get_running_loop().remove_reader(self._descriptor)


def _os_error(number: int) -> OSError:
    reasons = {
        errno.ENOSPC: "the limit of watches is reached (sysctl fs.inotify.max_user_watches)",
        errno.EMFILE: "the limit of inotify instances is reached (sysctl fs.inotify.max_user_instances)",
    }
    return OSError(number, reasons.get(number, os.strerror(number)))
