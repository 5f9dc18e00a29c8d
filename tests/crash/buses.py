"""The buses that a course plays on: a nats-server that stands by itself, or the one that the run has inside."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from argosy.bus._base import Bus
from argosy.bus._jetstream_settings import StreamSettings
from argosy.bus.embedded import EmbeddedServer
from argosy.bus.jetstream import JetStreamBus
from tests.brokers.nats_server import NatsServer
from tests.cli.running import Run

_ENDLESS = StreamSettings(max_messages=-1)
"""A log as long as the disk: the judge reads all of it at the end."""


@dataclass(frozen=True)
class Address:
    """Where the bus of a run that has ended can be opened: a URL, or the data folder of the embedded server."""

    url: str = ""
    data: Path | None = None

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Bus]:
        """The bus that the manifests use."""
        if self.data is None:
            async with JetStreamBus(self.url, settings=_ENDLESS) as bus:
                yield bus
        else:
            async with EmbeddedServer(self.data) as server, server.bus("default/default", _ENDLESS) as bus:
                yield bus


class BusOutside:
    """A nats-server that stands by itself, killed and started again at will. A context manager."""

    def __init__(self, folder: Path, *options: str) -> None:
        """``options`` are more words of the run's command line."""
        self.server = NatsServer(folder)
        self.options = ("--bus", self.server.url, *options)

    def __enter__(self) -> BusOutside:
        asyncio.run(self.server.start())
        asyncio.run(self._make_log())
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.end()

    async def _make_log(self) -> None:
        async with Address(url=self.server.url).open():
            pass  # the run adopts it as it is

    def kill(self, run: Run) -> None:
        """SIGKILL; it is gone on return."""
        self.server.end()

    def start(self, run: Run) -> None:
        """Bring it back, with what it had stored."""
        asyncio.run(self.server.start())

    def pids(self, run: Run) -> list[int]:
        """Its process."""
        return [self.server.child.pid] if self.server.child else []

    @contextlib.contextmanager
    def opened_by(self, run: Run) -> Iterator[Address]:
        """Where to look, now that the run has ended."""
        yield Address(url=self.server.url)


class BusInside:
    """The embedded server, which the run itself brings back when it dies."""

    def __init__(self, *options: str) -> None:
        """``options`` are more words of the run's command line."""
        self.options = options

    def __enter__(self) -> BusInside:
        return self

    def __exit__(self, *exc: object) -> None:
        """The run ends its server."""

    def kill(self, run: Run) -> None:
        """SIGKILL to the run's child."""
        for pid in self.pids(run):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def start(self, run: Run) -> None:
        """The run does that."""

    def pids(self, run: Run) -> list[int]:
        """Its process, while there is one."""
        return servers_of(run.pid)

    @contextlib.contextmanager
    def opened_by(self, run: Run) -> Iterator[Address]:
        """Where to look, now that the run has ended."""
        yield Address(data=run.folder / "data")


def servers_of(pid: int) -> list[int]:
    """The nats-server processes that are children of this one."""
    return _children(pid, b"nats-server")


def workers_of(pid: int) -> list[int]:
    """The worker processes of ``argosy run --workers`` that are children of this one."""
    return _children(pid, b"argosy.runtime.worker")


def _children(pid: int, word: bytes) -> list[int]:
    found = []
    with contextlib.suppress(OSError):  # it ended
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with contextlib.suppress(OSError):
                if word in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.append(int(child))
    return found
