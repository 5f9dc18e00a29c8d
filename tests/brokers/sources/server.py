"""A real server for the tests of one source: a child on free loopback ports with its files in a folder, killed and
restarted at will.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from tests.conformance.source import free_port
from tests.kubernetes import certificates
from tests.missing import missing

_READY_SECONDS = 60.0
_INSTALLER = Path(__file__).parents[3] / "tools/servers/install"
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/usr/bin"])


def program(name: str, package: str) -> str:
    """The path of a server's program. Skips the test where it is not installed; fails it when ``CI`` is set."""
    found = shutil.which(name, path=_PATH)
    if found is None:
        missing(f"{name} is not installed; get it with: tools/servers/install {package}")
    return found


def built(name: str) -> str:
    """The path of a program that ``tools/servers/install`` builds or brings. Skips and fails as ``program`` does."""
    where = [sys.executable, str(_INSTALLER), "--where", name]
    found = subprocess.run(where, capture_output=True, text=True, check=False)
    if found.returncode:
        missing(found.stderr.strip())
    return found.stdout.strip()


class Server(ABC):
    """One server, a context manager. ``ca`` in ``folder`` signed its certificate."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = self.tls_port = 0
        self._child: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """Write what the server reads, and say how it is started."""

    @abstractmethod
    def set_password(self, password: str) -> None:
        """From the next start on, this is the password of the user ``argosy``."""

    def ports(self) -> list[int]:
        """The ports that answer once it has started."""
        return [self.port, self.tls_port]

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        certificates.authority(self.folder)
        for name in ("server", "client"):
            certificates.server(self.folder, name)
        # Between choosing a free port and listening on it somebody else may take it; then others are tried.
        for attempt in range(3):
            self.port, self.tls_port = free_port(), free_port()
            try:
                self.start()
            except ChildProcessError:
                self.kill()
                if attempt == 2:
                    raise
            else:
                return self
        raise AssertionError

    def __exit__(self, *exc: object) -> None:
        self.kill()

    def start(self) -> None:
        """Return once both ports answer. Call it in the main thread: the server ends with the thread that started it."""
        for _ in self._starting():
            time.sleep(0.01)

    async def restart(self) -> None:
        """Kill and start again on the same ports. The event loop goes on meanwhile."""
        self.kill()
        await self.come_back()

    async def come_back(self) -> None:
        """Start again on the same ports, after ``kill``."""
        for _ in self._starting():
            await asyncio.sleep(0.01)

    def kill(self) -> None:
        """SIGKILL; it is gone on return."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None

    def signal(self, which: signal.Signals) -> None:
        """Send a signal to the running child."""
        assert self._child is not None
        self._child.send_signal(which)

    def output(self) -> str:
        """What it has written so far."""
        return (self.folder / "output.log").read_text(errors="replace")

    def tls_secrets(self) -> dict[tuple[str, str], str]:
        """The authority's certificate, and a client's certificate and key, under the secret ``tls``."""
        files = (("ca", "ca.crt"), ("crt", "client.crt"), ("key", "client.key"))
        return {("tls", key): (self.folder / file).read_text() for key, file in files}

    def _starting(self) -> Iterator[None]:
        # setpriv ends the server when the test run is killed: a SIGKILLed pytest cleans up nothing itself.
        wrapper = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        command = self.command()
        with (self.folder / "output.log").open("ab") as output:
            self._child = subprocess.Popen(
                [*wrapper, *command], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        deadline = time.monotonic() + _READY_SECONDS
        while not all(_answers(port) for port in self.ports()):
            if self._child.poll() is not None or time.monotonic() > deadline:
                raise ChildProcessError(f"{command[0]} did not start: {self.output()[-3000:]}")
            yield


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


CLIENT_TLS = {
    "caCertSecret": {"name": "tls", "key": "ca"},
    "clientCertSecret": {"name": "tls", "key": "crt"},
    "clientKeySecret": {"name": "tls", "key": "key"},
}
"""A ``tls`` block for the secrets of ``Server.tls_secrets``."""
