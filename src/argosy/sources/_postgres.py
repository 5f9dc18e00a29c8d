"""One connection to a PostgreSQL server: where it is, who we are, and failures as sentences.

The driver reads neither the environment nor the home directory of whoever runs us. Passwords appear in no sentence.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from argosy.addresses import Address, host_and_port
from argosy.connecting import target
from argosy.errors import SourceError
from argosy.manifests.fields import SecretKeySelector, TLSConfig
from argosy.sources._base import SourceConfig, SourceContext

if TYPE_CHECKING:
    import asyncpg

_PORT = 5432
_CONNECT_SECONDS = 15.0
_ANSWER_SECONDS = 30.0
_CLOSE_SECONDS = 1.0
_SETTINGS = {
    # Values are printed alike whatever the server, the database and the user have set.
    "datestyle": "ISO, YMD",
    "timezone": "UTC",
    "intervalstyle": "iso_8601",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "client_encoding": "UTF8",
    # What the server's owner may have set for people must not end what waits by design.
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}


class PostgresServer(SourceConfig):
    """A database, and who we are there."""

    host_address: str
    """``host:port``, or a host with port 5432."""
    database: str = Field(min_length=1)
    """The name of the database."""
    username: str = Field(min_length=1)
    """The role to log in as."""
    password: SecretKeySelector | None = None
    """The secret that holds the role's password."""
    tls: TLSConfig | None = None
    """With this block the connection is encrypted."""

    @field_validator("host_address")
    @classmethod
    def _readable(cls, text: str) -> str:
        host_and_port(text, _PORT)
        return text

    @property
    def where(self) -> Address:
        """The server, as it stands in sentences."""
        return Address("postgres", *host_and_port(self.host_address, _PORT))


@contextlib.asynccontextmanager
async def connected(ctx: SourceContext[Any]) -> AsyncIterator[asyncpg.Connection]:
    """A connection by the secrets as they are now. Raises SourceError if there is none to be had, or it breaks."""
    import asyncpg

    from argosy.tls import client_context

    config: PostgresServer = ctx.config
    host, port = target(config.where.host, config.where.port)
    tls = _named(client_context(config.tls, ctx.secret), config.where.host) if config.tls else None
    with sentences(config.where):
        connection = await asyncpg.connect(
            host=host,
            port=port,
            database=config.database,
            user=config.username,
            # An empty one stands for none: the driver would look for it in the environment.
            password=ctx.secret(config.password) if config.password else "",
            passfile=os.devnull,
            ssl=tls if tls is not None else False,
            direct_tls=False,
            timeout=_CONNECT_SECONDS,
            command_timeout=_ANSWER_SECONDS,
            target_session_attrs="any",
            server_settings={
                **_SETTINGS,
                "application_name": f"argosy:{ctx.event_source}/{ctx.event_name}"[:63],
            },
        )
    try:
        with sentences(config.where):
            yield connection
    finally:
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await connection.close()
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            connection.terminate()


def _named(context: ssl.SSLContext, host: str) -> ssl.SSLContext:
    """The certificate is that of the host in the manifest, wherever the connection goes; the driver knows only that."""
    plain = context.wrap_bio

    def wrap(incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, **given: Any) -> ssl.SSLObject:
        return plain(incoming, outgoing, **{**given, "server_hostname": host})

    context.wrap_bio = wrap  # type: ignore[assignment,method-assign]
    return context


@contextlib.contextmanager
def sentences(where: Address) -> Iterator[None]:
    """What the driver raises inside becomes a SourceError."""
    import asyncpg

    try:
        yield
    except TimeoutError as error:
        raise SourceError(f"{where} has not answered in time") from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ssl.SSLError) as error:
        raise SourceError(_told(where, error)) from error


def _told(where: Address, error: Exception) -> str:
    import asyncpg

    state = getattr(error, "sqlstate", "") or ""
    said = str(getattr(error, "message", "") or error)
    if state.startswith("28"):
        return f"{where} refuses the user or the password; correct 'username' and 'password', or pg_hba.conf there"
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return f"{where}: {said}; grant the user that right"
    if isinstance(error, asyncpg.PostgresError) and not isinstance(error, asyncpg.PostgresConnectionError):
        return f"{where}: {said}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {where} is not trusted: {error.verify_message}; check tls.caCertSecret"
    if isinstance(error, ssl.SSLError):
        return f"{where} does not take our TLS ({error.reason or type(error).__name__})"
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens at {where}; is the server running, is the port right?"
    if "SSL upgrade" in said:
        return f"{where} speaks no TLS; leave out 'tls', or turn it on there"
    if isinstance(error, OSError) and error.strerror:
        return f"{where} cannot be reached: {error.strerror}"
    return f"the connection to {where} was lost"
