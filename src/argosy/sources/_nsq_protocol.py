"""The protocol of ``nsqd`` (V2) as one subscriber needs it: greeting, TLS, a channel, messages that are finished or given
back.

``RDY`` says how many messages may be under way, and nsqd sends no more than that. What is held is touched in time, so
that nsqd does not take it for lost while the bus does not answer; by its own rule (``--max-msg-timeout``, 15 minutes) it
delivers a message again all the same, which is not handed out twice by one connection. Why no library is used stands in
ADR 10 (``docs/decisions``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from argosy import __version__
from argosy.addresses import Address
from argosy.errors import SourceError
from argosy.sources import _reaching
from argosy.sources._reaching import encrypted, opened

LARGEST = 16 * 1024 * 1024
"""Bytes of a message that are kept; no bus takes an event so large. Beyond it only the beginning is."""

_RESPONSE, _ERROR, _MESSAGE = 0, 1, 2
_HEAD_BYTES = 26  # of a message: 8 of its time, 2 of attempts, 16 of its id
_FRAME_BYTES = 1 << 30  # more is no frame of NSQ
_HEARTBEAT_SECONDS = 15.0
_SILENCE_SECONDS = 40.0
_ANSWER_SECONDS = 15.0
_CLOSING_SECONDS = 1.0


@dataclass(frozen=True)
class Login:
    """Who we are at an nsqd."""

    name: str
    secret: str = field(default="", repr=False)


class Message(NamedTuple):
    """One message as it was delivered. ``timestamp`` counts nanoseconds since 1970."""

    id: str
    timestamp: int
    body: bytes
    cut: bool = False


class Session(_reaching.Session):
    """A connection that was let in. Only one task may read."""

    def __init__(self, where: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(where, reader, writer)
        self._head: tuple[int, int] | None = None
        self._rest = 0
        self._held: set[str] = set()
        self._touch_seconds = _HEARTBEAT_SECONDS
        self._most = 1
        self._subscribed = False

    @classmethod
    async def begin(cls, where: Address, tls: ssl.SSLContext | None, login: Login) -> Session:
        """Connect and greet, by TLS if it is given. Raises SourceError with the reason."""
        session = cls(where, *await opened(where, None))
        return await session._begin(session._greet(tls, login), b"NOP\n", _HEARTBEAT_SECONDS)

    async def subscribe(self, topic: str, channel: str) -> None:
        """Become a reader of the channel; nothing comes before ``ready``. Raises SourceError if nsqd does not let us."""
        self._write(f"SUB {topic} {channel}\n".encode())
        await self._response()
        self._subscribed = True

    def ready(self, count: int) -> None:
        """Up to ``count`` messages may be under way from now on, fewer where nsqd allows no reader so many."""
        self._write(b"RDY %d\n" % max(1, min(count, self._most)))

    def finish(self, message: Message) -> None:
        """The message is kept; nsqd may forget it."""
        self._held.discard(message.id)
        self._write(f"FIN {message.id}\n".encode())

    def requeue(self, message: Message) -> None:
        """The message could not be kept; let nsqd deliver it again."""
        self._held.discard(message.id)
        self._write(f"REQ {message.id} 0\n".encode())

    async def next(self) -> Message:
        """The next message. Raises SourceError if the connection is lost."""
        try:
            while True:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    kind, data, cut = await self._frame()
                if kind == _ERROR:
                    self._failed(data)
                elif kind == _MESSAGE:
                    message = self._message(data, cut)
                    # nsqd tired of waiting while we still work on it: the work that is under way will finish it.
                    if message.id not in self._held:
                        self._held.add(message.id)
                        return message
                elif data == b"_heartbeat_":
                    self._write(b"NOP\n")
        except TimeoutError as error:
            raise SourceError(f"{self.where} has not answered for {_SILENCE_SECONDS:.0f} s") from error
        except asyncio.IncompleteReadError as error:
            raise SourceError(f"{self.where} ended the connection") from error
        except OSError as error:
            raise SourceError(f"the connection to {self.where} was lost: {error.strerror or error}") from error

    async def end(self) -> None:
        """Say goodbye and close. What nsqd has sent and nobody has taken is delivered again."""
        if self._subscribed:
            # Closing with bytes unread would reset the connection, and nsqd might not see our last FIN.
            with contextlib.suppress(TimeoutError, OSError, SourceError, asyncio.IncompleteReadError):
                async with asyncio.timeout(_CLOSING_SECONDS):
                    self._write(b"CLS\n")
                    while (await self._frame())[:2] != (_RESPONSE, b"CLOSE_WAIT"):
                        pass
        await super().end()

    async def _ping(self, ping: bytes, every_seconds: float) -> None:
        # A reader who says something is alive, also while it reads nothing because the bus waits.
        while True:
            await asyncio.sleep(min(every_seconds, self._touch_seconds))
            self._write(ping + b"".join(f"TOUCH {held}\n".encode() for held in self._held))

    async def _frame(self) -> tuple[int, bytes, bool]:
        """Kind and content of the next frame, and whether the content was cut. Cancelling it loses nothing."""
        while self._rest:
            piece = await self._reader.read(min(self._rest, 65536))
            if not piece:
                raise asyncio.IncompleteReadError(b"", self._rest)
            self._rest -= len(piece)
        if self._head is None:
            head = await self._reader.readexactly(8)
            size, kind = int.from_bytes(head[:4], "big") - 4, int.from_bytes(head[4:], "big")
            if not 0 <= size <= _FRAME_BYTES or kind not in (_RESPONSE, _ERROR, _MESSAGE):
                raise SourceError(f"{self.where} sent bytes that are no NSQ")
            self._head = kind, size
        kind, size = self._head
        data = await self._reader.readexactly(min(size, LARGEST + _HEAD_BYTES))
        self._head, self._rest = None, size - len(data)
        return kind, data, bool(self._rest)

    def _message(self, data: bytes, cut: bool) -> Message:
        if len(data) < _HEAD_BYTES:
            raise SourceError(f"{self.where} sent bytes that are no NSQ")
        name = data[10:_HEAD_BYTES].decode("ascii", "replace")
        return Message(name, int.from_bytes(data[:8], "big"), data[_HEAD_BYTES:], cut)

    def _failed(self, data: bytes) -> None:
        """Raise what an error frame means. Those of single messages change nothing: nsqd delivers them again."""
        said = data.decode("utf-8", "replace")
        code = said.partition(" ")[0]
        if code in ("E_FIN_FAILED", "E_REQ_FAILED", "E_TOUCH_FAILED"):
            return
        if code in ("E_AUTH_FAILED", "E_UNAUTHORIZED", "E_AUTH_ERROR"):
            raise SourceError(f"{self.where} does not accept our credentials ({said}); correct 'authSecret'")
        if "TLS required" in said:
            raise SourceError(f"{self.where} wants TLS; write a block 'tls'")
        raise SourceError(f"{self.where}: {said}")

    async def _response(self) -> bytes:
        """The answer to a command, within the time that a server may take. Raises SourceError if it is an error."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                while True:
                    kind, data, _ = await self._frame()
                    if kind == _ERROR:
                        self._failed(data)
                    elif kind == _RESPONSE and data != b"_heartbeat_":
                        return data
        except TimeoutError as error:
            raise SourceError(f"{self.where} does not greet; is it the TCP port of an nsqd?") from error
        except (asyncio.IncompleteReadError, OSError) as error:
            raise SourceError(
                f"{self.where} hung up while greeting; is it the TCP port of an nsqd, does it want tls.clientCertSecret?"
            ) from error

    async def _greet(self, tls: ssl.SSLContext | None, login: Login) -> None:
        introduction = {
            "client_id": login.name,
            "hostname": login.name,
            "user_agent": f"argosy/{__version__}",
            "feature_negotiation": True,
            "heartbeat_interval": int(_HEARTBEAT_SECONDS * 1000),
            "tls_v1": tls is not None,
            # No buffer: else a message that is alone waits a quarter of a second in nsqd.
            "output_buffer_size": -1,
            "output_buffer_timeout": -1,
        }
        text = json.dumps(introduction).encode()
        self._write(b"  V2IDENTIFY\n" + len(text).to_bytes(4, "big") + text)
        info = self._info(await self._response())
        self._most = int(info.get("max_rdy_count", 1))
        self._touch_seconds = int(info.get("msg_timeout", 60_000)) / 1000 / 3
        if tls is not None:
            if not info.get("tls_v1"):
                raise SourceError(f"{self.where} has no TLS, which the manifest demands")
            await encrypted(self.where, self._writer, tls)
            await self._response()
        if info.get("auth_required"):
            if not login.secret:
                raise SourceError(f"{self.where} wants to know who we are; give 'authSecret'")
            secret = login.secret.encode()
            self._write(b"AUTH\n" + len(secret).to_bytes(4, "big") + secret)
            await self._response()

    def _info(self, data: bytes) -> dict[str, Any]:
        with contextlib.suppress(ValueError):
            found = json.loads(data)
            if isinstance(found, dict):
                return found
        raise SourceError(f"{self.where} does not speak NSQ's protocol V2 with negotiation (nsqd 0.2.20 and later do)")
