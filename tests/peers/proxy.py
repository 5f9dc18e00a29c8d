"""The gate before a real Kafka: what it holds back are the answers to messages, by the number of their request."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Coroutine
from typing import Any

from tests.brokers.gate import Gate


class Proxy(Gate):
    """A gate that reads Kafka's frames."""

    def __init__(self, target: int) -> None:
        super().__init__(target, b"")

    def _ways(
        self,
        reader: asyncio.StreamReader,
        there_writer: asyncio.StreamWriter,
        there_reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> tuple[Coroutine[Any, Any, None], ...]:
        produced: set[int] = set()
        return self._requests(reader, there_writer, produced), self._replies(there_reader, writer, produced)

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
