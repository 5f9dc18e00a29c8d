"""The client protocol of NATS as one subscriber needs it: greeting, a subscription, messages with all their headers,
and what a consumer of JetStream says in return.

Nothing is read while the work waits, so the server keeps what it can. Why ``nats-py``, which the bus is reached with,
is not used here stands in ADR 10 (``docs/decisions``).
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from argosy.addresses import Address
from argosy.errors import SourceError
from argosy.sources import _reaching
from argosy.sources._nats_keys import Signer
from argosy.sources._reaching import encrypted, opened

LARGEST = 64 * 1024 * 1024
"""Bytes of a message: what a server can be configured to pass on at most."""

_PING_SECONDS = 15.0
_SILENCE_SECONDS = 40.0
_ANSWER_SECONDS = 15.0
_SID = 1


@dataclass(frozen=True)
class Login:
    """Who we are at a server. What is empty is not sent."""

    name: str
    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    signer: Signer | None = field(default=None, repr=False)

    def words(self, nonce: str) -> dict[str, str]:
        """What a CONNECT says of us."""
        said = {"user": self.user, "pass": self.password, "auth_token": self.token}
        if self.signer is not None:
            said |= self.signer.words(nonce)
        return {key: value for key, value in said.items() if value}


class Message(NamedTuple):
    """One message as it was delivered."""

    subject: str
    body: bytes
    headers: dict[str, list[str]]
    reply: str = ""
    """Where an answer is to go; of a message of JetStream, its name as well."""
    status: str = ""
    """What the server says instead of a message: ``408 Request Timeout``, ``503``."""


class Pong(NamedTuple):
    """The answer to a PING: everything that the server sent before it has been read."""


class Session(_reaching.Session):
    """A connection that was let in. Only one task may read."""

    def __init__(self, where: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(where, reader, writer)
        self._head: tuple[str, str, int, int] | None = None

    @classmethod
    async def begin(cls, where: Address, tls: Callable[[], ssl.SSLContext], demanded: bool, login: Login) -> Session:
        """Connect and greet; ``demanded`` says that it must be by TLS. Raises SourceError with the reason."""
        session = cls(where, *await opened(where, None))
        return await session._begin(session._greet(tls, demanded, login), b"PING\r\n", _PING_SECONDS)

    def subscribe(self, subject: str, queue: str) -> None:
        """Ask for a subject, once for all members of ``queue`` if that is not empty; the next ``Pong`` says that we are
        heard.
        """
        self._write(f"SUB {subject} {queue} {_SID}\r\nPING\r\n".encode())

    def unsubscribe(self) -> None:
        """Ask for no more; what is on its way comes before the next ``Pong``."""
        self._write(b"UNSUB %d\r\nPING\r\n" % _SID)

    def publish(self, subject: str, body: bytes, reply: str = "") -> None:
        """Send a message; whether it arrives shows in what comes back, if anything does."""
        self._write(b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), reply.encode(), len(body), body))

    async def next(self) -> Message | Pong:
        """What comes next. Cancelling it loses nothing. Raises SourceError if the connection or the right is lost."""
        try:
            async with asyncio.timeout(_SILENCE_SECONDS):
                while True:
                    found = await self._next()
                    if found is not None:
                        return found
        except TimeoutError as error:
            raise SourceError(f"{self.where} has not answered for {_SILENCE_SECONDS:.0f} s") from error
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise SourceError(f"{self.where} ended the connection") from error
        except OSError as error:
            raise SourceError(f"the connection to {self.where} was lost: {error.strerror or error}") from error

    async def _next(self) -> Message | Pong | None:
        if self._head is None:
            verb, rest = await self._line()
            if verb == "PING":
                self._write(b"PONG\r\n")
            elif verb == "PONG":
                return Pong()
            elif verb == "-ERR":
                raise SourceError(self._refusal(rest))
            elif verb in ("MSG", "HMSG"):
                self._head = self._sizes(verb, rest.split())
            return None
        # Read in one step, so that a cancellation leaves either all of it or nothing behind.
        subject, reply, head, size = self._head
        data = await self._reader.readexactly(size + 2)
        self._head = None
        return Message(subject, data[head:-2], _headers(data[:head]), reply, _status(data[:head]))

    def _sizes(self, verb: str, words: list[str]) -> tuple[str, str, int, int]:
        try:
            numbers = 2 if verb == "HMSG" else 1
            head, size = (int(words[-2]), int(words[-1])) if verb == "HMSG" else (0, int(words[-1]))
            if not 0 <= head <= size <= LARGEST:
                raise ValueError(size)
            return words[0], words[2] if len(words) == 3 + numbers else "", head, size
        except (ValueError, IndexError):
            raise SourceError(f"{self.where} sent bytes that are no NATS") from None

    async def _line(self) -> tuple[str, str]:
        line = (await self._reader.readuntil(b"\r\n")).decode("utf-8", "replace").strip()
        verb, _, rest = line.partition(" ")
        return verb.upper(), rest.strip()

    def _refusal(self, said: str) -> str:
        said = said.strip("'")
        if "authorization" in said.lower() or "authentication" in said.lower():
            return f"{self.where} does not accept our credentials ({said}); correct 'auth'"
        if "permissions" in said.lower():
            return f"{self.where}: {said}; grant the user this right"
        if "secure connection" in said.lower():
            return f"{self.where} wants TLS; write a block 'tls'"
        return f"{self.where}: {said}"

    async def _greet(self, tls: Callable[[], ssl.SSLContext], demanded: bool, login: Login) -> None:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                verb, text = await self._line()
                if verb != "INFO":
                    raise SourceError(f"{self.where} does not speak NATS")
                info: dict[str, Any] = json.loads(text)
                demanded = demanded or bool(info.get("tls_required"))
                if demanded:
                    if not (info.get("tls_required") or info.get("tls_available")):
                        raise SourceError(f"{self.where} has no TLS, which the manifest demands")
                    await encrypted(self.where, self._writer, tls())
                introduction = json.dumps(self._introduction(demanded, login, info))
                self._write(f"CONNECT {introduction}\r\nPING\r\n".encode())
                while not isinstance(await self._next(), Pong):
                    pass
        except TimeoutError as error:
            raise SourceError(f"{self.where} does not greet; is it a NATS port?") from error
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, ValueError) as error:
            raise SourceError(
                f"{self.where} hung up while greeting; is it a NATS port, does it want tls.clientCertSecret?"
            ) from error

    @staticmethod
    def _introduction(secured: bool, login: Login, info: dict[str, Any]) -> dict[str, Any]:
        return {
            "verbose": False,
            "pedantic": False,
            "tls_required": secured,
            "lang": "python",
            "version": "1",
            "protocol": 1,
            "headers": bool(info.get("headers")),
            "no_responders": bool(info.get("headers")),
            "echo": True,
            "name": login.name,
            **login.words(str(info.get("nonce", ""))),
        }


def _headers(text: bytes) -> dict[str, list[str]]:
    """Headers with all their values, names as they were sent."""
    found: dict[str, list[str]] = {}
    for line in text.decode("utf-8", "replace").split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        if colon and name.strip():
            found.setdefault(name.strip(), []).append(value.strip())
    return found


def _status(text: bytes) -> str:
    """What stands behind the version in the first line of the headers."""
    return text.partition(b"\r\n")[0].partition(b" ")[2].decode("utf-8", "replace").strip()
