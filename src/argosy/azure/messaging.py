"""Reaching Azure Service Bus and Event Hubs by Microsoft's libraries: connection strings, TLS, ``--resolve``, and what went
wrong as a sentence.

The libraries speak AMQP 1.0 by themselves. They are given a TLS context of ours, and no retries: those are the runtime's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

from argosy.connecting import target
from argosy.errors import ConfigError

T = TypeVar("T")
PORT = 5671
_FORBIDDEN = ("unauthorized", "authentication", "authorization", "client-error", "invalidsignature", "token")


@dataclass(frozen=True)
class Namespace:
    """Where a namespace is, and who we are there. ``text`` is the connection string, empty where a token is used."""

    host: str
    port: int = PORT
    text: str = field(default="", repr=False)
    entity: str = ""
    emulated: bool = False

    def __str__(self) -> str:
        return self.host if self.port == PORT and not self.emulated else f"{self.host}:{self.port}"


def parse(text: str) -> Namespace:
    """Read a connection string. Raises ConfigError, which never quotes it."""
    parts = {
        name.strip().lower(): value.strip()
        for name, equals, value in (part.partition("=") for part in text.strip().split(";"))
        if equals
    }
    try:
        endpoint = urlsplit(parts.get("endpoint", ""))
        host, port = endpoint.hostname, endpoint.port
    except ValueError:
        host, port = None, None
    if not host or endpoint.scheme not in ("sb", "amqps", "amqp"):
        raise ConfigError("the connection string has no Endpoint such as sb://my-namespace.servicebus.windows.net/")
    keyed = parts.get("sharedaccesskeyname") and parts.get("sharedaccesskey")
    if not keyed and not parts.get("sharedaccesssignature"):
        raise ConfigError(
            "the connection string has no SharedAccessKeyName with SharedAccessKey, and no SharedAccessSignature"
        )
    emulated = parts.get("usedevelopmentemulator", "").lower() == "true"
    usual = 5672 if emulated else PORT
    return Namespace(host, port or usual, text.strip(), parts.get("entitypath", ""), emulated)


def namespace(fqdn: str) -> Namespace:
    """The namespace that a manifest names. Raises ValueError."""
    text = fqdn.removeprefix("sb://").rstrip("/")
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or parts.netloc != text or parts.username is not None or any(letter.isspace() for letter in text):
        raise ValueError(f"{fqdn!r} is no name of a namespace; write for example name.servicebus.windows.net")
    return Namespace(host, port or PORT)


def connection_string(host: str, key_name: str, key: str, entity: str) -> str:
    """The connection string of a shared access key."""
    return f"Endpoint=sb://{host}/;SharedAccessKeyName={key_name};SharedAccessKey={key};EntityPath={entity}"


def settings(namespace: Namespace, tls: Callable[[], ssl.SSLContext], rules: Any) -> dict[str, Any]:
    """What the libraries' clients take as keywords: AMQP over TCP where ``--resolve`` leads, no retries.

    ``rules`` is the library's ``TransportType``.
    """
    # What they say in between is what they then raise, and that is logged once, by who handles it.
    for name in ("azure.servicebus", "azure.eventhub"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    given: dict[str, Any] = {"retry_total": 0, "transport_type": rules.Amqp}
    led = target(namespace.host, namespace.port)
    if led != (namespace.host, namespace.port):
        host, port = led
        given["custom_endpoint_address"] = f"sb://{f'[{host}]' if ':' in host else host}:{port}"
    if not namespace.emulated:
        given["ssl_context"] = context = tls()
        if "custom_endpoint_address" in given:
            _named(context, namespace.host)
    return given


def _named(context: ssl.SSLContext, host: str) -> None:
    # The libraries ask for the certificate of the host that they connect to; it is that of the host in the manifest.
    wrap = context.wrap_bio

    def wrapped(*args: Any, **named: Any) -> ssl.SSLObject:
        return wrap(*args, **{**named, "server_hostname": host})

    context.wrap_bio = wrapped  # type: ignore[method-assign]


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Await ``work`` for so long; TimeoutError then, with ``work`` cancelled but not waited for.

    The libraries swallow a cancellation where a peer stands still, so ``asyncio.timeout`` would never end.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    finally:
        if not task.done():
            task.cancel()
            task.add_done_callback(_looked_at)
    if not done:
        raise TimeoutError
    return task.result()


async def parted(link: Any, seconds: float, *sockets: Any) -> None:
    """Close a receiver or a sender of Service Bus, and drop its connection where the peer does not answer to that.

    ``sockets`` are those that ``socket_of`` has found before: the library forgets them when it fails or is interrupted.
    """
    now = socket_of(link)
    with contextlib.suppress(Exception):
        await within(seconds, link.close())
    for writer in (*sockets, now):
        if writer is not None:
            writer.transport.abort()


def socket_of(link: Any) -> asyncio.StreamWriter | None:
    """The socket of a receiver or a sender that is open."""
    connection = getattr(getattr(link, "_handler", None), "_connection", None)
    found: asyncio.StreamWriter | None = getattr(getattr(connection, "_transport", None), "writer", None)
    return found


def _looked_at(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


def sentence(namespace: Namespace, what: str, error: BaseException) -> str:
    """What failed, in words; the libraries' own texts may hold anything, so of them only the condition is kept."""
    found: BaseException | None = error
    seen: set[int] = set()
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        if isinstance(found, ssl.SSLCertVerificationError):
            return f"the certificate of {namespace} is not trusted: {found.verify_message}; name its authority (tls.caCertSecret, or SSL_CERT_FILE for all)"
        found = found.__cause__ or found.__context__ or getattr(found, "inner_exception", None)
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return f"the certificate of {namespace} is not trusted: {_reason(text)}; name its authority (tls.caCertSecret, or SSL_CERT_FILE for all)"
    if "[SSL" in text or "SSL" in type(error).__name__:
        return f"{namespace} does not take our TLS"
    if "Connect call failed" in text or "Errno 111" in text:
        return f"nothing listens at {namespace}; is the name right, is the port open?"
    if "Errno -" in text:
        return f"no host {namespace.host!r} is known"
    name, condition = type(error).__name__, _condition(error)
    if condition == "not-found" or name == "MessagingEntityNotFoundError":
        return f"{namespace} has no {what}"
    if any(word in name.lower() or word in condition.lower() for word in _FORBIDDEN):
        return f"{namespace} refuses us {what}: check the key or the identity, its rights, and the clock"
    if "timeout" in name.lower() or "timeout" in condition.lower() or isinstance(error, TimeoutError):
        return f"{namespace} has not answered in time ({what})"
    if condition == "socket-error":
        return f"the connection to {namespace} broke off ({what})"
    if condition == "unknown-error":
        return f"{namespace} ended the link to {what}; is it there, and may we use it?"
    return f"{namespace} failed with {condition or name} ({what})"


_LASTING = (
    "not-found", "messagingentitynotfounderror", "unauthorized-access", "not-allowed", "not-implemented", "size-exceeded",
    "messagesizeexceedederror", "link:message-size-exceeded", "entity-disabled", "servicebusauthenticationerror",
    "servicebusauthorizationerror", "authenticationerror", "messagingentitydisablederror", "argument-error",
)  # fmt: skip
_BUSY = ("server-busy", "servicebusserverbusyerror", "quota-exceeded", "servicebusquotaexceedederror")
_BUSY_SECONDS = 10.0  # what Microsoft's documents advise


def lasting(error: BaseException) -> bool:
    """Whether the same again would fail the same way."""
    named = (type(error).__name__.lower(), _condition(error).lower())
    return any(word in named or any(each.endswith(word) for each in named) for word in _LASTING) or isinstance(
        error, ValueError
    )


def pause_seconds(error: BaseException) -> float | None:
    """How long the service wants to be left alone; None where it does not say."""
    named = (type(error).__name__.lower(), _condition(error).lower())
    return _BUSY_SECONDS if any(each in _BUSY for each in named) else None


def _reason(text: str) -> str:
    _, _, rest = text.partition("certificate verify failed: ")
    return rest.partition(" (_ssl")[0] or "certificate verify failed"


def _condition(error: BaseException) -> str:
    """``not-found`` of ``amqp:not-found``; empty where there is none."""
    for each in (error, getattr(error, "__cause__", None), getattr(error, "inner_exception", None)):
        found = getattr(each, "_condition", None) or getattr(each, "condition", None) or getattr(each, "error", None)
        found = getattr(found, "value", found)
        if isinstance(found, bytes):
            found = found.decode(errors="replace")
        if isinstance(found, str) and found:
            return found.rpartition(":")[2]
    return ""
