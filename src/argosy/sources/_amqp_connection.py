"""Reaching an AMQP broker: where it is, who we are, the first of several hosts that answers, and refusals
as sentences.

The URL is read as Go's amqp091 reads it: without a path the virtual host is ``/``, ``/%2F`` is the same,
``/neutron`` is ``neutron``. Passwords never appear in a sentence. Connections are plain ones: nothing in
here connects again, that is the runtime's work.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from argosy.connecting import target
from argosy.errors import ConfigError, SourceError

if TYPE_CHECKING:
    import aiormq

_PORTS = {"amqp": 5672, "amqps": 5671}
_HEARTBEAT_SECONDS = 10
_CONNECT_SECONDS = 30.0
_ACCESS_REFUSED, _NOT_FOUND, _LOCKED, _UNEQUAL = 403, 404, 405, 406


@dataclass(frozen=True, slots=True)
class Broker:
    """One address of a broker and who we are there. As text: the address without the user."""

    host: str
    port: int
    vhost: str
    encrypted: bool
    user: str = "guest"
    password: str = field(default="guest", repr=False)
    heartbeat_seconds: int = _HEARTBEAT_SECONDS

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        vhost = "" if self.vhost == "/" else f"/{self.vhost}"
        return f"{'amqps' if self.encrypted else 'amqp'}://{host}:{self.port}{vhost}"


def parse(url: str) -> Broker:
    """The broker that a URL names. Raises ConfigError, without the URL's text, if it is not one."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise ConfigError(
            "the URL cannot be read; percent-encode what is special in its user, password and virtual host"
        ) from None
    if parts.scheme not in _PORTS:
        raise ConfigError("the URL must begin with amqp:// or amqps://")
    return Broker(
        host=parts.hostname or "localhost",
        port=port or _PORTS[parts.scheme],
        vhost=unquote(parts.path[1:]) or "/",
        encrypted=parts.scheme == "amqps",
        user=unquote(parts.username) if parts.username else "guest",
        password=unquote(parts.password) if parts.password else "guest",
        heartbeat_seconds=_heartbeat(parts),
    )


def _heartbeat(parts: SplitResult) -> int:
    # Certificates and the like in the query are left alone: their place is the block ``tls``.
    text = dict(parse_qsl(parts.query)).get("heartbeat", "")
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text) < 3600 else _HEARTBEAT_SECONDS


def at(broker: Broker, host: str) -> Broker:
    """The same at another host, given as ``host``, ``host:port`` or ``[v6]:port``. Raises ConfigError."""
    try:
        parts = urlsplit(f"//{host}")
        port = parts.port
    except ValueError:
        parts, port = urlsplit("//"), None
    if not parts.hostname or parts.path or parts.username is not None or parts.query or parts.fragment:
        raise ConfigError(f"{host!r} is no host; write for example rabbitmq-1:5672")
    return replace(broker, host=parts.hostname, port=port or broker.port)


@contextlib.asynccontextmanager
async def connected(
    brokers: Sequence[Broker], tls: ssl.SSLContext | None, name: str
) -> AsyncIterator[tuple[aiormq.Connection, Broker]]:
    """A connection to the first broker that accepts us; ``name`` is what the broker shows for it.

    Raises SourceError, with one reason for each broker, if none does.
    """
    _be_lenient()
    reasons: list[str] = []
    cause: BaseException | None = None
    for broker in brokers:
        try:
            connection = await _connect(broker, tls, name)
        except SourceError as error:
            reasons.append(str(error))
            cause = error.__cause__
            continue
        try:
            yield connection, broker
        finally:
            await connection.close()
        return
    raise SourceError("; ".join(reasons)) from cause


async def _connect(broker: Broker, tls: ssl.SSLContext | None, name: str) -> aiormq.Connection:
    import aiormq
    from yarl import URL

    # What goes wrong is raised to us and said once; the library's own lines about it would be the second
    # time.
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)
    host, port = target(broker.host, broker.port)
    url = URL.build(
        scheme="amqps" if broker.encrypted else "amqp",
        user=broker.user,
        password=broker.password,
        host=host,
        port=port,
        query={"heartbeat": str(broker.heartbeat_seconds), "name": name},
    )
    # The certificate is that of the host in the manifest, wherever the connection goes.
    names: dict[str, Any] = {"server_hostname": broker.host} if broker.encrypted else {}
    connection = aiormq.Connection(url, context=tls, **names)
    connection.vhost = broker.vhost
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            await connection.connect()
    except TimeoutError as error:
        raise SourceError(f"{broker} did not answer within {_CONNECT_SECONDS:.0f} s") from error
    except (aiormq.AMQPError, OSError, asyncio.CancelledError) as error:
        if _we_were_cancelled(error):
            raise
        led = "" if (host, port) == (broker.host, broker.port) else f" (--resolve leads to {host}:{port})"
        raise SourceError(_unreachable(broker, error) + led) from error
    return connection


def _unreachable(broker: Broker, error: BaseException) -> str:
    import aiormq

    said, cause = words(error), error.__cause__
    if isinstance(error, aiormq.exceptions.ProbableAuthenticationError):
        return f"{broker} refuses user {broker.user!r} or its password; correct 'auth' or the URL"
    if isinstance(error, aiormq.exceptions.AuthenticationError):
        return f"{broker} does not let anyone in by user name and password (SASL PLAIN)"
    if isinstance(error, aiormq.exceptions.InvalidFrameError) and "Connection.OpenOk" in said:
        # The library drops the broker's reason for refusing the last step of the greeting.
        return (
            f"{broker} does not let user {broker.user!r} into virtual host {broker.vhost!r}: there is no such "
            "virtual host, or the user may not use it"
        )
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the certificate of {broker} is not trusted: {cause.verify_message}; check tls.caCertSecret"
    if isinstance(cause, ssl.SSLError):
        reason = cause.reason or type(cause).__name__
        return f"{broker} does not take our TLS ({reason}); is it a TLS port (5671)? does it want tls.clientCertSecret?"
    if isinstance(cause, socket.gaierror):
        return f"no host {broker.host!r} is known"
    if isinstance(cause, ConnectionRefusedError):
        return f"nothing listens at {broker}; is the broker running, is the port right?"
    if isinstance(cause, asyncio.IncompleteReadError | ConnectionResetError):
        return f"{broker} hung up while greeting; is it an AMQP 0-9-1 port, does it want TLS (amqps)?"
    return f"{broker} cannot be reached: {said}"


def _we_were_cancelled(error: BaseException) -> bool:
    # The library also cancels what waits for a connection that is gone.
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def words(error: BaseException | None) -> str:
    """What the broker or the system said, without the library's own words."""
    texts = [text for text in getattr(error, "args", ()) if isinstance(text, str) and text]
    return texts[-1] if texts else (type(error).__name__ if error else "no reason given")


@contextlib.contextmanager
def refusal(what: str, block: str = "") -> Iterator[None]:
    """Turns the broker's refusal of one step into a sentence; ``what`` is the thing (``queue 'q'``),
    ``block`` its block in the manifest.
    """
    import aiormq

    try:
        yield
    except (aiormq.AMQPError, asyncio.CancelledError, RuntimeError) as error:
        if _we_were_cancelled(error):
            raise
        raise SourceError(f"{what}: {words(error)}{_remedy(error, what, block)}") from error


def _remedy(error: BaseException, what: str, block: str) -> str:
    import aiormq.exceptions as refused

    if isinstance(error, refused.ChannelNotFoundEntity):
        return "; make it first, or leave out 'passive'" if block else "; it must be made first"
    if isinstance(error, refused.ChannelPreconditionFailed) and block:
        return (
            f"; it exists with other properties: correct '{block}', write 'passive: true' there to take it as "
            "it is, or delete it"
        )
    if isinstance(error, refused.ChannelAccessRefused):
        return "; grant the user that right, or correct the name"
    if isinstance(error, refused.ChannelLockedResource):
        return "; if the other connection was our own, the broker frees it soon"
    return ""


@cache
def _be_lenient() -> None:
    """Let the decoder read every message that a broker may deliver.

    It raises for a short text that is not UTF-8, a time beyond the year 9999 and a header of unknown type,
    and the library then ends the connection. The message would come again for ever and block the queue.
    Go's client reads all three; broken text becomes U+FFFD there too, when it is written as JSON.
    """
    from pamqp import decode

    def lenient(original: Callable[[bytes], tuple[int, Any]], instead: Callable[[bytes], tuple[int, Any]]) -> Any:
        def read(value: bytes) -> tuple[int, Any]:
            try:
                return original(value)
            except (ValueError, OverflowError, OSError):
                return instead(value)

        return read

    methods: dict[str, Any] = decode.METHODS
    methods["shortstr"] = lenient(
        decode.short_str, lambda value: (value[0] + 1, value[1 : value[0] + 1].decode("utf-8", "replace"))
    )
    methods["table"] = lenient(decode.field_table, lambda value: (int.from_bytes(value[:4], "big") + 4, {}))
    methods["timestamp"] = lenient(decode.timestamp, lambda _: (8, dt.datetime.max.replace(tzinfo=dt.UTC)))
