"""Addresses for pods and Services of one test cluster: two networks of 254 that lead to this machine itself.

The API server refuses to proxy to loopback addresses, so pods get others. They are given out only in a network namespace that has
no way out (``make test-cluster`` makes it), so whatever is sent to them stays there. ``ip route add local`` makes a whole network this
machine's own with one command. A lock says that a network is in use: networks whose user was killed are taken away by whoever comes
next.
"""

from __future__ import annotations

import contextlib
import fcntl
import random
import subprocess
import tempfile
from pathlib import Path
from typing import IO, Self

_MARK = "222"
"""The routing protocol number that marks routes of ours."""


def _ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def leads_out() -> str:
    """Why addresses may not be given out here: the network leads somewhere. Empty where it has nothing but this machine."""
    devices = {line.split(":")[0].strip() for line in Path("/proc/self/net/dev").read_text().splitlines()[2:]}
    return "" if devices <= {"lo"} else "pods want a network of their own; run the tests with: make test-cluster"


def _lock(network: str) -> IO[str] | None:
    """The lock of a network, held; None where somebody else has it."""
    path = Path(tempfile.gettempdir()) / f"argosy-cluster-{network.split('/')[0]}.lock"
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


class Network:
    """A network of 254 addresses, a context manager."""

    def __enter__(self) -> Self:
        shown = _ip("route", "show", "table", "local", "proto", _MARK).splitlines()
        for network in {line.split()[1] for line in shown if line.startswith("local ")}:
            if (lock := _lock(network)) is not None:
                with lock, contextlib.suppress(subprocess.CalledProcessError):
                    _ip("route", "del", "local", network, "dev", "lo")
                Path(lock.name).unlink(missing_ok=True)
        used = _ip("route", "show", "table", "all")
        while True:
            base = f"10.{random.randrange(64, 250)}.{random.randrange(256)}"
            self.network = f"{base}.0/24"
            if f"{base}." not in used and (lock := _lock(self.network)) is not None:
                break
        self._locked = lock
        _ip("route", "add", "local", self.network, "dev", "lo", "proto", _MARK)
        self._free = [f"{base}.{last}" for last in range(1, 255)]
        return self

    def __exit__(self, *exc: object) -> None:
        with self._locked, contextlib.suppress(subprocess.CalledProcessError):
            _ip("route", "del", "local", self.network, "dev", "lo")
        Path(self._locked.name).unlink(missing_ok=True)

    def take(self) -> str:
        """An address that nobody has; the one that was given back longest ago."""
        return self._free.pop(0)

    def give_back(self, address: str) -> None:
        """Its user is gone."""
        self._free.append(address)
