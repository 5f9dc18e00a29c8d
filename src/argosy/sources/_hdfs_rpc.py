"""As much of Hadoop's RPC as it takes to list directories: version 9 of the protocol, logins by name ("simple").

The messages are those of Hadoop's ``RpcHeader.proto``, ``IpcConnectionContext.proto``, ``ProtobufRpcEngine.proto``,
``ClientNamenodeProtocol.proto`` and ``hdfs.proto``, of which a few fields are written and read here. ``addresses`` of upstream's
manifests are those of this protocol, not of WebHDFS. The library there is for it (hdfs-native) takes the user from the
environment of the whole process and does not tell a file's id, so it cannot serve here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

from argosy.addresses import Address
from argosy.errors import SourceError
from argosy.sources._reaching import closed, opened

PORT = 8020
_ANSWER_SECONDS = 30.0
_LARGEST_ANSWER = 128 * 1024 * 1024  # Hadoop's ipc.maximum.response.length
_PROTOCOL = "org.apache.hadoop.hdfs.protocol.ClientProtocol"
_CONTEXT_CALL = -3
_PROTOBUF, _FINAL_PACKET = 2, 0
_DIRECTORY = 1


class Status(NamedTuple):
    """What a NameNode says of a file or directory. ``modified`` counts milliseconds, ``id`` names it for ever."""

    path: str
    directory: bool
    length: int
    mode: int
    modified: int
    id: int


class Refusal(SourceError):
    """The NameNode understood and refuses. ``java`` is the class of its exception, without the package."""

    def __init__(self, message: str, java: str) -> None:
        super().__init__(message)
        self.java = java


class NameNode:
    """A connection to a NameNode."""

    def __init__(self, where: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.where = where
        self._reader = reader
        self._writer = writer
        self._client = os.urandom(16)
        self._calls = 0

    def greet(self, user: str) -> None:
        """Say who we are. The server answers with the first call."""
        context = _field(2, _field(1, user.encode())) + _field(3, _PROTOCOL.encode())
        self._writer.write(b"hrpc\x09\x00\x00" + _packet(self._header(_CONTEXT_CALL), context))

    def _header(self, call: int) -> bytes:
        retry = -1 if call < 0 else 0
        numbers = _number(1, _PROTOBUF) + _number(2, _FINAL_PACKET) + _number(3, _zigzag(call))
        return numbers + _field(4, self._client) + _number(5, _zigzag(retry))

    async def listing(self, directory: str) -> AsyncIterator[Status]:
        """What a directory holds. Raises SourceError; FileNotFoundError if it is not there."""
        after: bytes | None = b""
        while after is not None:
            request = _field(1, directory.encode()) + _field(2, after) + _number(3, 0)
            answer = await self._call("getListing", request)
            try:
                statuses, after = _listed(directory, answer)
            except (IndexError, KeyError) as error:
                raise SourceError(f"{self.where} answers what is no listing of {directory!r}") from error
            for status in statuses:
                yield status

    async def _call(self, method: str, request: bytes) -> bytes:
        self._calls += 1
        names = _field(1, method.encode()) + _field(2, _PROTOCOL.encode()) + _number(3, 1)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                self._writer.write(_packet(self._header(self._calls), names, request))
                await self._writer.drain()
                size = int.from_bytes(await self._reader.readexactly(4), "big")
                if size > _LARGEST_ANSWER:
                    raise SourceError(f"{self.where} does not speak Hadoop's RPC; is it the port of the NameNode?")
                parts = _delimited(await self._reader.readexactly(size))
        except TimeoutError as error:
            raise SourceError(f"{self.where} has not answered for {_ANSWER_SECONDS:.0f} s") from error
        except (OSError, asyncio.IncompleteReadError) as error:
            raise SourceError(f"{self.where} hung up; is it the port of the NameNode?") from error
        try:
            head = _fields(next(parts))
            if head[2][0] == 0:
                return next(parts)
        except (IndexError, KeyError, StopIteration) as error:
            raise SourceError(f"{self.where} does not speak Hadoop's RPC; is it the port of the NameNode?") from error
        raise self._refusal(head)

    def _refusal(self, head: dict[int, list[Any]]) -> Exception:
        java = head.get(4, [b""])[0].decode(errors="replace").rpartition(".")[2]
        said = head.get(5, [b""])[0].decode(errors="replace").partition("\n")[0][:300]
        if java == "FileNotFoundException":
            return FileNotFoundError(said)
        if java == "AccessControlException" and "SIMPLE authentication is not enabled" in said:
            return Refusal(f"{self.where} wants Kerberos, which is not built", java)
        return Refusal(f"{self.where}: {said or java}", java)


@contextlib.asynccontextmanager
async def connected(where: Address, user: str) -> AsyncIterator[NameNode]:
    """A connection as ``user``. Raises SourceError."""
    reader, writer = await opened(where, None)
    try:
        node = NameNode(where, reader, writer)
        node.greet(user)
        yield node
    finally:
        await closed(writer)


def _listed(directory: str, answer: bytes) -> tuple[list[Status], bytes | None]:
    """What an answer lists, and the name after which the next page begins; None at the end."""
    found = _fields(answer)
    if 1 not in found:
        raise FileNotFoundError(directory)
    listed = _fields(found[1][0])
    entries = [_fields(entry) for entry in listed.get(1, ())]
    more = bool(entries) and bool(listed.get(2, [0])[0])
    return [_status(directory, entry) for entry in entries], entries[-1][2][0] if more else None


def _status(directory: str, fields: dict[int, list[Any]]) -> Status:
    name = fields[2][0].decode(errors="replace")
    path = f"{directory.rstrip('/')}/{name}" if name else directory
    mode = _fields(fields[4][0])[1][0]
    return Status(path, fields[1][0] == _DIRECTORY, fields[3][0], mode, fields[7][0], fields.get(13, [0])[0])


def _packet(*messages: bytes) -> bytes:
    body = b"".join(_varint(len(message)) + message for message in messages)
    return len(body).to_bytes(4, "big") + body


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _zigzag(number: int) -> int:
    return number * 2 if number >= 0 else -number * 2 - 1


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _field(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7


def _delimited(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        size, at = _read_varint(data, at)
        yield data[at : at + size]
        at += size


def _fields(data: bytes) -> dict[int, list[Any]]:
    """A message as its fields: numbers, and bytes for everything that has a length. Raises IndexError if it is cut off."""
    found: dict[int, list[Any]] = {}
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        value: Any
        kind = key & 7
        if kind == 0:
            value, at = _read_varint(data, at)
        else:
            size, at = _read_varint(data, at) if kind == 2 else ({1: 8, 5: 4}.get(kind, len(data)), at)
            value, at = data[at : at + size], at + size
            if at > len(data):
                raise IndexError("the message is cut off")
        found.setdefault(key >> 3, []).append(value)
    return found
