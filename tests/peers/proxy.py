"""A TCP proxy before a real Kafka, which withholds answers to messages, hangs up, and counts connections."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from typing import Self


class Proxy:
    """An async context manager; ``port`` leads to ``target`` on the loopback."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.connections = 0
        self.refusing = False
        self._answers = asyncio.Event()
        self._answers.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()
        self._answers.set()
        self.hang_up()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def hold(self) -> None:
        """From now on messages arrive, and the answers to them do not."""
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
            produced: set[int] = set()
            ways = [
                asyncio.create_task(self._requests(reader, there_writer, produced)),
                asyncio.create_task(self._replies(there_reader, writer, produced)),
            ]
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

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, produced: set[int]) -> None:
        with contextlib.suppress(OSError, EOFError):
            while frame := await _frame(reader):
                kind, _, number = struct.unpack_from(">hhi", frame, 4)
                if kind == 0:  # Produce
                    produced.add(number)
                writer.write(frame)
                await writer.drain()

    async def _replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, produced: set[int]) -> None:
        with contextlib.suppress(OSError, EOFError):
            while frame := await _frame(reader):
                (number,) = struct.unpack_from(">i", frame, 4)
                if number in produced:
                    await self._answers.wait()
                writer.write(frame)
                await writer.drain()


async def _frame(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(4)
    return head + await reader.readexactly(int.from_bytes(head, "big"))
