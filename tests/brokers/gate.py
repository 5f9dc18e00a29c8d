"""A TCP proxy before a real server, which withholds the answers to what was sent, hangs up, and counts connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Coroutine
from typing import Any, Self


class Gate:
    """An async context manager; ``port`` leads to ``target`` on the loopback.

    While it holds, a connection gets no more answers once its client has sent ``marker``: the greeting passes. With a
    ``listener``, which stays open, one gate after the other has the same port.
    """

    def __init__(self, target: int, marker: bytes, listener: socket.socket | None = None) -> None:
        self.target = target
        self.marker = marker
        self.port = 0
        self._listener = listener
        self.connections = 0
        self.refusing = False
        self._answers = asyncio.Event()
        self._answers.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        if self._listener is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        else:
            _turn_away(self._listener)
            self._server = await asyncio.start_server(self._serve, sock=self._listener.dup())
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()
        self._answers.set()
        self.hang_up()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def hold(self) -> None:
        """From now on what is sent arrives, and the answers to it do not."""
        self._answers.clear()

    def hang_up(self) -> None:
        """Break all connections, and every new one."""
        self.refusing = True
        for writer in list(self._writers):
            writer.transport.abort()

    def release(self) -> None:
        """All is well again."""
        self.refusing = False
        self._answers.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self.refusing:
                return
            self.connections += 1
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.target)
            ours = {writer, there_writer}
            self._writers |= ours
            ways = [asyncio.create_task(way) for way in self._ways(reader, there_writer, there_reader, writer)]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
                self._writers -= ours
                there_writer.transport.abort()
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    def _ways(
        self,
        reader: asyncio.StreamReader,
        there_writer: asyncio.StreamWriter,
        there_reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> tuple[Coroutine[Any, Any, None], ...]:
        """What carries one connection's bytes there and back."""
        marked = asyncio.Event()
        return self._onward(reader, there_writer, marked), self._back(there_reader, writer, marked)

    async def _onward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, marked: asyncio.Event) -> None:
        while data := await reader.read(65536):
            if self.marker in data:
                marked.set()
            writer.write(data)
            await writer.drain()

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, marked: asyncio.Event) -> None:
        while data := await reader.read(65536):
            if marked.is_set():
                await self._answers.wait()
            writer.write(data)
            await writer.drain()


def _turn_away(listener: socket.socket) -> None:
    """End the connections that came while no gate was there: they are of clients of an earlier test."""
    listener.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
