"""A worker process of ``argosy run --workers N``: the part of the sources and sensors that its shard has.

Started by ``argosy.runtime.workers`` with one end of a socket pair as standard input, it does what the parent asks, in
the order of the asking, and ends when it is told to or when the parent is gone. It ignores the signals that a terminal or
a service manager sends to the whole group: the parent drains the workers in step.

A message is four bytes of length and a pickle. Both ends are this program, of the same version, and nobody else holds
the socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pickle
import signal
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import Metric

from argosy.bus._jetstream_settings import Connection
from argosy.clock import SystemClock
from argosy.errors import ArgosyError
from argosy.manifests.bundle import Bundle
from argosy.runtime import garbage, logs
from argosy.runtime.app import App, Shard, Step
from argosy.runtime.buses import Buses, Given
from argosy.runtime.secrets import Secrets
from argosy.runtime.turns import from_environment

_log = logging.getLogger("argosy.runtime")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a worker is told once."""

    shard: Shard
    engine: str
    secrets: Path | None
    host: str
    grace_seconds: float
    log_format: str
    log_level: str
    acts_for_accounts: bool = False


@dataclass(frozen=True, kw_only=True)
class Do:
    """Take one step towards ``bundle``. ``buses`` are the embedded server's, by ``namespace/name``."""

    step: Step
    bundle: Bundle
    url: str
    buses: Mapping[str, Connection]


async def send(writer: asyncio.StreamWriter, message: object) -> None:
    """Write one message. Raises ConnectionError when the other end is gone."""
    if writer.is_closing():  # uvloop would raise a RuntimeError of its own
        raise ConnectionError("the other process is gone")
    body = pickle.dumps(message)
    writer.write(struct.pack(">I", len(body)) + body)
    await writer.drain()


async def receive(reader: asyncio.StreamReader) -> Any:
    """Read one message. Raises IncompleteReadError when the other end is gone."""
    (length,) = struct.unpack(">I", await reader.readexactly(4))
    return pickle.loads(await reader.readexactly(length))


class _Worker:
    def __init__(self, settings: Settings, writer: asyncio.StreamWriter) -> None:
        secrets = Secrets(settings.secrets)
        self._buses = Buses(settings.engine, secrets)
        self._app = App(
            self._buses,
            secrets=secrets,
            shard=settings.shard,
            host=settings.host,
            grace_seconds=settings.grace_seconds,
            acts_for_accounts=settings.acts_for_accounts,
            turns=from_environment(os.environ, SystemClock()),
        )
        self._writer = writer
        self._sending = asyncio.Lock()

    async def serve(self, reader: asyncio.StreamReader) -> None:
        """Answer until the parent says ``stop``; a parent that is gone cannot restart us, so we go with it at once."""
        under_way: set[asyncio.Task[None]] = set()
        async with self._app:
            while True:
                try:
                    number, what = await receive(reader)
                except (asyncio.IncompleteReadError, ConnectionError):
                    os._exit(1)
                if what == "stop":
                    break
                # Questions are answered while a step is under way; the parent sends one step at a time.
                task = asyncio.create_task(self._answer(number, what))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            for task in under_way:
                task.cancel()  # a step that is not finished: what it started is ended with the rest

    async def _answer(self, number: int, what: object) -> None:
        try:
            answer: object = await self._do(what)
        except Exception as error:  # noqa: BLE001 - the parent waits for an answer, whatever it is
            if not isinstance(error, ArgosyError):
                _log.exception("a fault of ours in a worker")
            answer = ArgosyError(str(error) or type(error).__name__)
        async with self._sending:
            with contextlib.suppress(ConnectionError):
                await send(self._writer, (number, answer))

    async def _do(self, what: object) -> object:
        if isinstance(what, Do):
            self._buses.give({name: Given(what.url, connection) for name, connection in what.buses.items()})
            await self._app.take(what.step, what.bundle)
            return None
        if what == "drain":
            await self._app.stop_receiving()
            return None
        if what == "status":
            return await self._app.status()
        if what == "waiting":
            return await self._app.waiting_for()
        assert what == "metrics"
        metrics: list[Metric] = list(self._app.metrics.registry.collect())
        return metrics


async def _main() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=os.dup(0)), limit=2**20)
    settings: Settings = await receive(reader)
    logs.configure(settings.log_format, settings.log_level)
    try:
        await _Worker(settings, writer).serve(reader)
    finally:
        writer.close()


def main() -> None:
    """Work until told to stop."""
    import uvloop

    garbage.collect_rarely()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main())
