"""A real gRPC server of upstream's public contract, ``triggers.Trigger``. It reads and writes the messages by hand, so that it
shares no declaration with what is tested.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpclib.const
import grpclib.server
from grpclib.encoding.base import CodecBase


class _Bytes(CodecBase):
    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> Any:
        return data


def field(number: int, data: bytes) -> bytes:
    """A field of bytes."""
    size, length = bytearray(), len(data)
    while length > 0x7F:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    size.append(length)
    return bytes((number << 3 | 2,)) + bytes(size) + data


def fields(message: bytes) -> dict[int, bytes]:
    """The fields of bytes in a message."""
    found, at = {}, 0
    while at < len(message):
        number, at, size, shift = message[at] >> 3, at + 1, 0, 0
        while True:
            byte = message[at]
            at += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        found[number] = message[at : at + size]
        at += size
    return found


class CustomServer:
    """Gives what it is asked for as JSON, and notes what it executes."""

    def __init__(self) -> None:
        self.resource = b'{"kind": "Run", "spec": {"n": 1}}'
        self.asked: list[bytes] = []
        self.executed: list[tuple[str, bytes, bytes]] = []
        self.judged: list[bytes] = []
        self.failure: Mapping[str, BaseException] = {}
        self.policy = b"\x08\x01"
        self.waiting = 0
        self.connections = 0
        self._gate = asyncio.Event()
        self._gate.set()
        self.port = 0

    def close_gate(self) -> None:
        self._gate.clear()

    def open_gate(self) -> None:
        self._gate.set()

    def __mapping__(self) -> dict[str, grpclib.const.Handler]:
        methods = {"FetchResource": self._fetch, "Execute": self._execute, "ApplyPolicy": self._apply}
        one = grpclib.const.Cardinality.UNARY_UNARY
        return {
            f"/triggers.Trigger/{name}": grpclib.const.Handler(method, one, bytes, bytes)
            for name, method in methods.items()
        }

    async def _fetch(self, stream: Any) -> None:
        self.asked.append(fields(await stream.recv_message())[1])
        self._fail("FetchResource")
        await stream.send_message(field(1, self.resource))

    async def _execute(self, stream: Any) -> None:
        found = fields(await stream.recv_message())
        self.waiting += 1
        try:
            await self._gate.wait()
        finally:
            self.waiting -= 1
        self._fail("Execute")
        self.executed.append((stream.metadata["idempotency-key"], found.get(1, b""), found.get(2, b"")))
        await stream.send_message(field(1, b"run-1"))

    async def _apply(self, stream: Any) -> None:
        self.judged.append(fields(await stream.recv_message()).get(1, b""))
        self._fail("ApplyPolicy")
        await stream.send_message(self.policy)

    def _fail(self, name: str) -> None:
        if (error := self.failure.get(name)) is not None:
            raise error

    @contextlib.asynccontextmanager
    async def serving(self, context: ssl.SSLContext | None = None) -> AsyncIterator[CustomServer]:
        server = grpclib.server.Server([self], codec=_Bytes())
        made = server._protocol_factory

        def counted() -> Any:
            self.connections += 1
            return made()

        server._protocol_factory = counted
        await server.start("127.0.0.1", 0, ssl=context)
        assert server._server is not None
        self.port = server._server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self._gate.set()
            server.close()
            await server.wait_closed()
