"""``argosy run`` as a child process, for tests that look at it from outside: its ports, its log, its end."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

SECONDS = 60.0
"""How long a condition may take before the test fails; never waited for otherwise."""


def free_port() -> int:
    """A loopback port that nobody uses now, and that the system gives to nobody by itself.

    Below what Linux takes for outgoing connections and for port 0, so it is still free when a killed server comes back.
    """
    for port in random.sample(range(15_000, 32_000), 100):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("none of a hundred ports is free")


def http(
    url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, *, seconds: float = 30
) -> tuple[int, str]:
    """Status and body of a request (POST if there is a body). Raises OSError where nobody answers."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


class Run:
    """One ``argosy run`` over the manifests in ``folder``, started and ended as often as a test likes.

    A context manager, which kills it at the end. Its data stay in ``folder/data``, its log (text, of all starts) in
    ``folder/run.log``. ``options`` are more words of the command line.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options
        self.admin = free_port()
        self.log = folder / "run.log"
        self.manifests = folder / "manifests"
        self.manifests.mkdir()
        self.process: subprocess.Popen[bytes] | None = None
        self.program = ["-m", "argosy.cli.main"]

    def write(self, name: str, text: str) -> Path:
        """Write a manifest file; gives its path."""
        path = self.manifests / name
        path.write_text(text)
        return path

    def keep(self, secret: str, **values: str) -> None:
        """Write a secret, with these texts by key, where all starts from now on find secrets."""
        place = self.folder / "secrets"
        if not place.exists():
            self.options += ("--secrets", str(place))
        (place / secret).mkdir(parents=True, exist_ok=True)
        for key, text in values.items():
            (place / secret / key).write_text(text)

    def start(self, env: Mapping[str, str] | None = None) -> None:
        """Start the process; it is not ready yet."""
        command = [sys.executable, *self.program, "run", str(self.manifests), "--host", "127.0.0.1"]
        command += ["--data", str(self.folder / "data"), "--admin", f"127.0.0.1:{self.admin}", "--log-format", "text"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*command, *self.options], stderr=log, env={**os.environ, **(env or {})})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process is not None:
            self.end(signal.SIGKILL)

    @property
    def pid(self) -> int:
        """The process that runs."""
        assert self.process is not None
        return self.process.pid

    @property
    def ended(self) -> bool:
        """Whether the process that was started has ended."""
        return self.process is not None and self.process.poll() is not None

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, unless it ended by itself; its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=SECONDS)

    # ------------------------------------------------------------------ looking from outside

    def get(self, path: str) -> tuple[int, str]:
        """Ask the process's own port: /healthz, /readyz, /metrics."""
        return http(f"http://127.0.0.1:{self.admin}{path}", seconds=5)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels; 0 if there is none."""
        total = 0.0
        for line in self.get("/metrics")[1].splitlines():
            found = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            if (
                found
                and found[1] == name
                and labels.items() <= dict(re.findall(r'(\w+)="(.*?)"', found[2] or "")).items()
            ):
                total += float(found[3])
        return total

    def waiting_for(self) -> list[str] | None:
        """What /readyz names as late; empty when all is ready, None while nobody answers."""
        with contextlib.suppress(OSError):
            late: list[str] = json.loads(self.get("/readyz")[1])["waitingFor"]
            return late
        return None

    def said(self, *words: str) -> list[str]:
        """The lines of the log that hold all of these words."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return [line for line in lines if all(word in line for word in words)]

    def until(self, condition: Callable[[], object], what: str = "", *, seconds: float = SECONDS) -> None:
        """Return once the condition holds; fails with the end of the log if it never does."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{what or 'not so'}, after {seconds:g} s:\n{self.tail()}"
            time.sleep(0.05)

    def until_ready(self) -> None:
        """Return once /readyz says that everything runs; fails at once if the process has ended."""
        self.until(lambda: self.waiting_for() == [] or self.ended, "not ready")
        assert not self.ended, f"it ended instead of getting ready:\n{self.tail()}"

    def until_said(self, *words: str) -> str:
        """The first line of the log with all of these words, once it is there."""
        self.until(lambda: self.said(*words), f"nobody said {words}")
        return self.said(*words)[0]

    def tail(self) -> str:
        """The end of the log."""
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""
