"""How much of the disk the embedded server may use, and whether it has been too full to be trusted.

Left alone, the server takes three quarters of what was free when it started for its limit, stored data included, and never asks again; and a
stream whose file could not be written refuses everything until the server is started anew. So the limit is ours, and follows the disk:
what is stored and what is free, less a reserve for the rest of the machine.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from argosy.bus._embedded_child import LARGEST_BYTES

LEAST_BYTES = LARGEST_BYTES
"""With less room than for one message of the largest size a write may have failed half-way."""
_RESERVE_PART, _RESERVE_BYTES = 0.05, 2**30
_SAME_PART = 0.05
LOOK_SECONDS = 2.0


class Room(NamedTuple):
    """Bytes of the disk of a store: what the store may have altogether, and what is free now."""

    limit: int
    free: int

    @property
    def full(self) -> bool:
        """Whether writes may fail."""
        return self.free < LEAST_BYTES

    @property
    def enough(self) -> bool:
        """Whether writes can be trusted again."""
        return self.free >= 2 * LEAST_BYTES

    def like(self, other: Room) -> bool:
        """Whether the limits are nearly the same."""
        return abs(self.limit - other.limit) <= _SAME_PART * other.limit


class Complaints:
    """What the server's log says of writes that failed. Only what is written from now on counts."""

    _WORDS = (b"no space left on device", b"Critical write error")

    def __init__(self, log: Path) -> None:
        self._log = log
        self._read = 0
        self.come()

    def come(self) -> bool:
        """Whether the server has complained since the last call. Raises OSError where the log cannot be read."""
        try:
            size = self._log.stat().st_size
            if size < self._read:  # the server began a new file
                self._read = 0
            with self._log.open("rb") as file:
                file.seek(self._read)
                text = file.read(size - self._read)
        except FileNotFoundError:
            return False
        self._read = size
        return any(words in text for words in self._WORDS)


def look(store: Path) -> Room:
    """The room of the store in this folder. Raises OSError."""
    disk = os.statvfs(store)
    free = disk.f_bavail * disk.f_frsize
    reserve = max(2 * LEAST_BYTES, min(_RESERVE_BYTES, int(_RESERVE_PART * disk.f_blocks * disk.f_frsize)))
    return Room(max(_stored(store) + free - reserve, LEAST_BYTES), free)


def _stored(folder: Path) -> int:
    size = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.stat(os.path.join(path, name)).st_size  # noqa: PTH118, PTH116 - thousands of files, often
            except FileNotFoundError:
                continue  # a server at work makes and removes files
    return size
