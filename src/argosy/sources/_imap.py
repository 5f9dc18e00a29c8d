"""IMAP (RFC 3501, with IDLE, UIDPLUS, MOVE and SASL-IR) as far as a reader of one folder needs it.

The library that is kept for asyncio is under a licence that Argosy cannot be distributed with, and the standard library
blocks a thread and does not know IDLE. Nothing in here connects again. Secrets appear in no sentence.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, NamedTuple

from argosy.addresses import Address
from argosy.errors import SourceError
from argosy.sources._reaching import closed, encrypted, opened

_ANSWER_SECONDS = 60.0
_MOST_BYTES = 64 << 20
"""No answer is longer, its literals included."""
_LITERAL = re.compile(rb"\{(\d+)\+?\}$")
_CODE = re.compile(rb"\[([A-Z-]+)(?: ([^\]]*))?\]")
_TOKEN = re.compile(rb'"((?:[^"\\]|\\.)*)"|([()])|([^\s()"]+)', re.DOTALL)


class Answer(NamedTuple):
    """What a command came to: the text behind OK, and the untagged responses on the way, each as tokens."""

    text: bytes
    untagged: list[list[Any]]

    def named(self, name: bytes) -> Iterator[list[Any]]:
        """The tokens behind ``name`` of the responses that begin with it."""
        return (tokens[1:] for tokens in self.untagged if tokens and tokens[0] == name)


class Refusal(SourceError):
    """The server understood a command and refuses it. ``code`` is that of the response, such as ``TRYCREATE``."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class Imap:
    """One connection. ``changed`` is set when the server says that the folder's messages are others."""

    def __init__(self, where: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.where = where
        self.capabilities: frozenset[bytes] = frozenset()
        self.changed = False
        self._reader = reader
        self._writer = writer
        self._buffer = bytearray()
        self._tags = 0

    async def greeted(self) -> None:
        """Read the greeting."""
        async with self._answering():
            tokens = _tokens(await self._response())
        if tokens[:1] != [b"*"] or tokens[1:2] not in ([b"OK"], [b"PREAUTH"]):
            raise SourceError(f"{self.where} is no IMAP server, or takes no more connections")
        await self.ask_capabilities()

    async def ask_capabilities(self) -> None:
        answer = await self.command(b"CAPABILITY")
        self.capabilities = frozenset(each.upper() for found in answer.named(b"CAPABILITY") for each in found)

    async def start_tls(self, tls: ssl.SSLContext) -> None:
        """Go on by TLS, on a connection that has begun without."""
        if b"STARTTLS" not in self.capabilities:
            raise SourceError(f"{self.where} offers no STARTTLS; use security: tls")
        await self.command(b"STARTTLS")
        if self._buffer:
            raise SourceError(f"{self.where} said more before TLS than it may; somebody may stand in between")
        async with self._answering():
            await encrypted(self.where, self._writer, tls)
        await self.ask_capabilities()

    async def login(self, username: str, password: str) -> None:
        """Say who we are by a password."""
        if b"AUTH=PLAIN" in self.capabilities:
            await self._authenticate(b"PLAIN", f"\0{username}\0{password}")
        elif b"LOGINDISABLED" in self.capabilities:
            raise SourceError(f"{self.where} takes no password on this connection; use security: tls or startTLS")
        else:
            await self._let_in(self.command(b"LOGIN " + quoted(username) + b" " + quoted(password)))

    async def login_by_token(self, username: str, token: str) -> None:
        """Say who we are by an OAuth 2 access token."""
        if b"AUTH=XOAUTH2" not in self.capabilities:
            raise SourceError(f"{self.where} takes no OAuth 2 tokens (XOAUTH2); use 'password'")
        await self._authenticate(b"XOAUTH2", f"user={username}\1auth=Bearer {token}\1\1")

    async def _authenticate(self, mechanism: bytes, said: str) -> None:
        response = base64.b64encode(said.encode())
        if b"SASL-IR" in self.capabilities:
            # What the server asks after that can only be why not; an empty line gets the refusal.
            await self._let_in(self.command(b"AUTHENTICATE " + mechanism + b" " + response, [b""]))
        else:
            await self._let_in(self.command(b"AUTHENTICATE " + mechanism, [response, b""]))

    async def _let_in(self, asking: Any) -> None:
        try:
            await asking
        except Refusal as error:
            raise SourceError(
                f"{self.where} refuses the user; check 'username' and the secrets of 'password', 'oauthToken' or 'oauth'"
            ) from error
        await self.ask_capabilities()

    async def command(self, line: bytes, continuations: Sequence[bytes] = ()) -> Answer:
        """Send a command and read what it comes to. Raises Refusal, or SourceError."""
        async with self._answering():
            tag = self._send(line)
            untagged, left = [], list(continuations)
            while True:
                pieces = await self._response()
                if pieces[0].startswith(b"+"):
                    await self._write((left.pop(0) if left else b"") + b"\r\n")
                elif pieces[0].startswith(b"* "):
                    untagged.append(self._noted(_tokens(pieces)[1:]))
                elif pieces[0].startswith(tag + b" "):
                    return self._came_to(line, pieces[0][len(tag) + 1 :], untagged)

    def _came_to(self, line: bytes, text: bytes, untagged: list[list[Any]]) -> Answer:
        status, _, rest = text.partition(b" ")
        if status.upper() != b"OK":
            code = _CODE.match(rest)
            what = " ".join(line.decode("ascii", "replace").split()[: 2 if line.startswith(b"UID ") else 1])
            said = _CODE.sub(b"", rest, count=1).decode("utf-8", "replace").strip()
            raise Refusal(f"{self.where} refuses {what}: {said}", code[1].decode() if code else "")
        return Answer(rest, untagged)

    async def idle(self, seconds: float) -> None:
        """Return when the server says that something has changed, or after so long."""
        async with self._answering():
            tag = self._send(b"IDLE")
            while not (pieces := await self._response())[0].startswith(b"+"):
                self._noted(_tokens(pieces)[1:])
                if pieces[0].startswith(tag):
                    raise SourceError(f"{self.where} offers IDLE and refuses it")
        if not self.changed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while not self.changed:
                        self._noted(_tokens(await self._response())[1:])
        async with self._answering():
            await self._write(b"DONE\r\n")
            while not (pieces := await self._response())[0].startswith(tag):
                self._noted(_tokens(pieces)[1:])

    def _noted(self, tokens: list[Any]) -> list[Any]:
        if tokens[:1] == [b"BYE"]:
            raise SourceError(f"{self.where} ended the connection")
        if len(tokens) == 2 and tokens[1] == b"EXISTS":
            self.changed = True
        return tokens

    def _send(self, line: bytes) -> bytes:
        self._tags += 1
        tag = b"A%d" % self._tags
        self._writer.write(tag + b" " + line + b"\r\n")
        return tag

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def _response(self) -> list[bytes]:
        """One response: its text, and the literals in it, in turns. Cancelled, it loses nothing that was read."""
        while True:
            pieces: list[bytes] = []
            at = 0
            while (end := self._buffer.find(b"\r\n", at)) >= 0:
                text = bytes(self._buffer[at:end])
                literal = _LITERAL.search(text)
                if literal is None:
                    del self._buffer[: end + 2]
                    return [*pieces, text]
                at = end + 2 + int(literal[1])
                if at > len(self._buffer):
                    break
                pieces += [text[: literal.start()], bytes(self._buffer[end + 2 : at])]
            if len(self._buffer) > _MOST_BYTES:
                raise SourceError(f"{self.where} answers with more than {_MOST_BYTES >> 20} MB")
            try:
                chunk = await self._reader.read(1 << 18)
            except (OSError, ssl.SSLError) as error:
                raise SourceError(f"the connection to {self.where} was lost") from error
            if not chunk:
                raise SourceError(f"the connection to {self.where} was lost")
            self._buffer += chunk

    @contextlib.asynccontextmanager
    async def _answering(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                yield
        except TimeoutError as error:
            raise SourceError(f"{self.where} has not answered for {_ANSWER_SECONDS:.0f} s") from error
        except (OSError, ssl.SSLError) as error:
            raise SourceError(f"the connection to {self.where} was lost") from error


@contextlib.asynccontextmanager
async def connected(where: Address, security: str, tls: ssl.SSLContext) -> AsyncIterator[Imap]:
    """A connection on which nobody is logged in yet; ``security`` is ``tls``, ``startTLS`` or ``none``."""
    reader, writer = await opened(where, tls if security == "tls" else None)
    imap = Imap(where, reader, writer)
    try:
        await imap.greeted()
        if security == "startTLS":
            await imap.start_tls(tls)
        yield imap
    finally:
        await closed(writer)


def quoted(text: str) -> bytes:
    """A string of the protocol. ``text`` has no control characters."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return b'"' + escaped.encode() + b'"'


def folder_name(name: str) -> bytes:
    """A folder's name as the protocol writes it: what is not ASCII in modified UTF-7 (RFC 3501, 5.1.3)."""
    found, plain = "", name.replace("&", "&-")
    for part in re.split(r"([^\x20-\x7e]+)", plain):
        if part and not part[0].isascii():
            encoded = base64.b64encode(part.encode("utf-16-be")).decode()
            found += "&" + encoded.rstrip("=").replace("/", ",") + "-"
        else:
            found += part
    return quoted(found)


def _tokens(pieces: Sequence[bytes]) -> list[Any]:
    """A response as atoms and strings (bytes), None for NIL, and lists."""
    found: list[Any] = []
    nested = [found]
    for number, piece in enumerate(pieces):
        if number % 2:
            nested[-1].append(piece)
            continue
        for token in _TOKEN.finditer(piece):
            string, bracket, atom = token.groups()
            if bracket == b"(":
                inner: list[Any] = []
                nested[-1].append(inner)
                nested.append(inner)
            elif bracket == b")":
                if len(nested) > 1:
                    nested.pop()
            elif string is not None:
                nested[-1].append(re.sub(rb"\\(.)", rb"\1", string))
            else:
                nested[-1].append(None if atom == b"NIL" else atom)
    return found
