"""``argosy run`` as a child process on free ports, and what it costs: for everything that ``bench`` measures."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any, Self

_PATIENCE_SECONDS = 40.0


def free_port() -> int:
    """A loopback port that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has taken, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_megabytes(pid: int) -> float:
    """Memory of a process that lies in RAM."""
    line = next(each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def children(pid: int) -> list[int]:
    """The child processes: the embedded bus."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Running:
    """One ``argosy run`` on the embedded bus, or on the one that ``bus`` names. Ready on enter."""

    def __init__(self, folder: Path, manifests: str, *, bus: str = "embedded") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "manifests.yaml"
        self._file.write_text(manifests)
        self._data = folder / "data"
        self._log = folder / "argosy.log"
        self._bus = bus
        self._admin = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.seconds_to_ready = 0.0

    def __enter__(self) -> Self:
        self._admin = free_port()
        command = [sys.executable, "-m", "argosy.cli.main", "run", str(self._file), "--bus", self._bus]
        command += ["--no-reload", "--log-level", "error", "--data", str(self._data)]
        command += ["--host", "127.0.0.1", "--admin", f"127.0.0.1:{self._admin}"]
        began = time.perf_counter()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stderr=log, stdout=log)
        self.wait(lambda: self._get("/readyz") is not None)
        self.seconds_to_ready = time.perf_counter() - began
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)

    @property
    def pid(self) -> int:
        """Of the process that does everything."""
        assert self._process is not None
        return self._process.pid

    def wait(self, done: Any, pause_seconds: float = 0.01) -> None:
        """Return once ``done()``. Raises RuntimeError if the process ends, TimeoutError if it takes too long."""
        assert self._process is not None
        until = time.monotonic() + _PATIENCE_SECONDS
        while not done():
            if self._process.poll() is not None:
                raise RuntimeError(f"argosy run ended: {self._log.read_text()[-2000:]}")
            if time.monotonic() > until:
                raise TimeoutError(f"argosy run is not done: {self._log.read_text()[-2000:]}")
            time.sleep(pause_seconds)

    def total(self, metric: str) -> float:
        """A metric's value, over all labels."""
        text = self._get("/metrics") or ""
        lines = [line for line in text.splitlines() if line.startswith((metric + "{", metric + " "))]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def _get(self, path: str) -> str | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._admin}{path}", timeout=10) as answer:
                text: str = answer.read().decode()
                return text
        except OSError:
            return None


def load(url: str, **options: Any) -> dict[str, float]:
    """Run the load generator in a process of its own; its numbers."""
    command = [sys.executable, "-m", "bench.load", url]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    numbers: dict[str, float] = json.loads(done.stdout)
    return numbers
