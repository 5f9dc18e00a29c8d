"""One connection to a Redis server: where it is, who we are, commands and their answers, failures as sentences.

The client library parses and greets; its own retries and reconnections are off, for the runtime starts a source again
whose connection is lost. Passwords appear in no sentence.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from argosy.addresses import Address, host_and_port
from argosy.errors import SourceError
from argosy.manifests.fields import SecretKeySelector, TLSConfig
from argosy.sources._base import SourceConfig, SourceContext
from argosy.sources._reaching import closed, opened

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

_PORT = 6379
_ANSWER_SECONDS = 30.0


class RedisServer(SourceConfig):
    """A server, and who we are there."""

    host_address: str
    """``host:port``."""
    username: str = ""
    """A user of Redis 6 or later; empty is the default user."""
    password: SecretKeySelector | None = None
    """The password of ``username``, or that of the server."""
    db: int = Field(default=0, ge=0)
    """The number of the database."""
    tls: TLSConfig | None = None
    """With this block the connection is encrypted."""

    @field_validator("host_address")
    @classmethod
    def _readable(cls, text: str) -> str:
        host_and_port(text, _PORT)
        return text


class Link:
    """A connection that was let in. ``where`` names the server in sentences."""

    def __init__(self, where: Address, connection: AbstractConnection, secret: str) -> None:
        self.where = where
        self._connection = connection
        self.greeted = False
        self._secret = secret

    async def ask(self, *command: str | bytes | int) -> Any:
        """The answer to one command. Raises SourceError; a refusal by the server is a ``Refusal``."""
        with self._sentences():
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._connection.send_command(*command)
                return await self._connection.read_response()

    async def send(self, *command: str | bytes | int) -> None:
        """One command whose answers ``read`` will bring. Raises SourceError."""
        with self._sentences():
            await self._connection.send_command(*command)

    async def read(self, patience_seconds: float) -> Any:
        """What comes next; None if nothing does for so long. Raises SourceError."""
        with self._sentences():
            return await self._connection.read_response(timeout=patience_seconds)

    @contextlib.contextmanager
    def _sentences(self) -> Any:
        from redis import exceptions

        try:
            yield
        except TimeoutError as error:
            raise SourceError(f"{self.where} has not answered for {_ANSWER_SECONDS:.0f} s") from error
        except exceptions.RedisError as error:
            cause = error.__cause__
            if isinstance(cause, SourceError):
                raise cause from cause.__cause__
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> SourceError:
        from redis import exceptions

        said = str(error)
        if self._secret:
            said = said.replace(self._secret, "…")
        if isinstance(error, exceptions.NoPermissionError):
            return Refusal(f"{self.where}: {said}; grant the user that right")
        if isinstance(error, exceptions.AuthenticationError) or said.startswith("NOAUTH"):
            return SourceError(f"{self.where} refuses the user or the password; correct 'password' and 'username'")
        if isinstance(error, exceptions.ResponseError):
            return Refusal(f"{self.where}: {said}")
        if isinstance(error, exceptions.BusyLoadingError):
            return SourceError(f"{self.where} is still loading its data")
        if not self.greeted:
            return SourceError(
                f"{self.where} hung up while greeting; is it a Redis port, does it want TLS (block 'tls')?"
            )
        return SourceError(f"the connection to {self.where} was lost")


class Refusal(SourceError):
    """The server understood a command and refuses it."""


@contextlib.asynccontextmanager
async def connected(ctx: SourceContext[Any]) -> AsyncIterator[Link]:
    """A connection by the secrets as they are now. Raises SourceError if there is none to be had."""
    from redis.asyncio.connection import Connection

    from argosy.tls import client_context

    config: RedisServer = ctx.config
    where = Address("rediss" if config.tls else "redis", *host_and_port(config.host_address, _PORT))
    tls = client_context(config.tls, ctx.secret) if config.tls else None
    password = ctx.secret(config.password) if config.password else ""

    class Led(Connection):
        """Goes where ``--resolve`` leads, with our own TLS."""

        async def _connect(self) -> None:
            self._reader, self._writer = await opened(where, tls)

    connection = Led(
        host=where.host,
        port=where.port,
        db=config.db,
        username=config.username or None,
        password=password or None,
        # The library's own timeout of sending loses a cancellation that comes at the wrong moment (Python 3.11's
        # asyncio.wait_for); ours does not.
        socket_timeout=None,
        client_name=f"argosy:{ctx.event_source}/{ctx.event_name}",
        driver_info=None,
        protocol=2,
    )
    link = Link(where, connection, password)
    try:
        with link._sentences():
            async with asyncio.timeout(_ANSWER_SECONDS):
                await connection.connect()  # type: ignore[no-untyped-call]
            if await link.ask("PING") not in (b"PONG", "PONG"):
                raise SourceError(f"{where} is no Redis server")
        link.greeted = True
        yield link
    finally:
        if (writer := connection._writer) is not None:
            connection._reader = connection._writer = None
            await closed(writer)
