"""A cable between a client and the API server that a test can hold and cut: what passes is real, only the
line is bad.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self


class Relay:
    """Forwards a port of its own to ``port``, byte by byte. An asynchronous context manager."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._gate = asyncio.Event()
        self._gate.set()
        self._cut = False
        self._server: asyncio.Server | None = None
        self._lines: set[asyncio.Task[None]] = set()
        self._holding = 0
        self.port = 0
        self.connections = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._drop()
        await self._server.wait_closed()

    async def _drop(self) -> None:
        for line in self._lines:
            line.cancel()
        await asyncio.gather(*self._lines, return_exceptions=True)

    def hold(self) -> None:
        """From now on nothing passes, in neither direction."""
        self._gate.clear()

    async def cut(self) -> None:
        """End all connections, and every new one as soon as it is made."""
        self._cut = True
        await self._drop()

    def release(self) -> None:
        """Let everything pass again."""
        self._cut = False
        self._gate.set()

    @property
    def holding(self) -> int:
        """How many connections have something from the client that waits."""
        return self._holding

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._cut:
            writer.close()
            return
        # A task of its own, so that ending it does not end the server's callback with noise.
        line = asyncio.create_task(self._carry(reader, writer))
        self._lines.add(line)
        line.add_done_callback(self._lines.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            async with asyncio.TaskGroup() as group:
                there = group.create_task(self._pump(reader, far_writer, count=True))
                back = group.create_task(self._pump(far_reader, writer, count=False))
                await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
                there.cancel()
                back.cancel()
        finally:
            for each in (writer, far_writer):
                each.close()

    async def _pump(self, source: asyncio.StreamReader, to: asyncio.StreamWriter, *, count: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                self._holding += count and not self._gate.is_set()
                waited = not self._gate.is_set()
                try:
                    await self._gate.wait()
                finally:
                    self._holding -= count and waited
                to.write(data)
                await to.drain()
