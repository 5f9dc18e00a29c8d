"""What all clients share when they make a connection: where a name really leads, and a look at the connection.

``argosy run --resolve HOST:PORT=HOST:PORT`` (or ``ARGOSY_RESOLVE``) sends connections for one address to
another, so that manifests which name a Service of a cluster run elsewhere unchanged (``kubectl
port-forward``, a broker on the laptop). Only the connection goes elsewhere: certificates, the ``Host`` header
and sentences keep the name of the manifest. The rules stand in the environment, so that processes that
this one starts have them too.

httpcore2 (2.16) forgets the TCP connection when a request is cancelled during its TLS handshake
(``AnyIOStream.start_tls`` closes on ``Exception`` only, and a cancellation is none), so the socket would
stay until the garbage collector finds it; ``Connecting`` closes it.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from argosy.errors import ConfigError

if TYPE_CHECKING:
    import httpx2

Address = tuple[str, int]
"""Host and port; IPv6 without brackets, names in lower case."""

_VARIABLE = "ARGOSY_RESOLVE"
_PORTS = {"http": 80, "https": 443}


def resolve(rules: Iterable[str]) -> None:
    """From now on, in this process and those that it starts, connections follow these rules, each
    ``HOST:PORT=HOST:PORT``. Raises ConfigError if one is none.
    """
    text = " ".join(rules)
    _parsed(text)
    os.environ[_VARIABLE] = text


def target(host: str, port: int) -> Address:
    """Where a connection to ``host`` and ``port`` is to go: there, or where a rule says."""
    return _rules().get((host.lower().rstrip("."), port), (host, port))


def mounts(**settings: Any) -> dict[str, httpx2.AsyncHTTPTransport] | None:
    """What ``httpx2.AsyncClient`` takes as ``mounts`` to follow the rules; ``settings`` are those of its
    connections (``verify``, ``limits``).
    """
    hosts = {host for host, _ in _rules()}
    if not hosts:
        return None
    import httpx2

    class Redirected(httpx2.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            url = request.url
            host, port = target(url.host, url.port or _PORTS.get(url.scheme, 0))
            if (host, port) == (url.host, url.port or _PORTS.get(url.scheme, 0)):
                return await super().handle_async_request(request)
            names = {"sni_hostname": url.host} if url.scheme == "https" else {}
            return await super().handle_async_request(
                httpx2.Request(
                    request.method,
                    url.copy_with(host=host, port=port),
                    headers=request.headers,
                    stream=request.stream,
                    extensions={**names, **request.extensions},
                )
            )

    return {f"all://{_bracketed(host)}": Redirected(**settings) for host in hosts}


def _rules() -> Mapping[Address, Address]:
    return _parsed(os.environ.get(_VARIABLE, ""))


@cache
def _parsed(text: str) -> Mapping[Address, Address]:
    rules: dict[Address, Address] = {}
    for rule in text.split():
        name, _, there = rule.partition("=")
        try:
            rules[_address(name)] = _address(there)
        except ValueError:
            raise ConfigError(
                f"--resolve {rule!r} is no rule; write HOST:PORT=HOST:PORT,"
                " for example rabbitmq.openstack.svc:5672=127.0.0.1:5672"
            ) from None
    return rules


def _address(text: str) -> Address:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or not parts.port or parts.netloc != text or parts.username is not None:
        raise ValueError(text)
    return parts.hostname.rstrip("."), parts.port


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def fault(error: BaseException) -> str:
    """Why a connection, or a request over it, failed, and what a person may look at; begins in lower case."""
    text = ""
    for each in _causes(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            return f"the certificate is not trusted: {each.verify_message}; is its authority named, is it made for this host?"
        if isinstance(each, socket.gaierror):
            return f"the host is not known: {each.strerror}; is the name right, can this machine look it up?"
        if isinstance(each, ConnectionRefusedError):
            return "nothing listens there; is it running, is the port right?"
        if isinstance(each, ConnectionResetError | BrokenPipeError):
            return "the connection broke off before the answer"
        text = text or str(each)
    return text or f"the connection failed ({type(error).__name__})"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception, what it came from, and so on."""
    left = [error]
    while left:
        each = left.pop(0)
        yield each
        if isinstance(each, BaseExceptionGroup):
            left += each.exceptions
        if (cause := each.__cause__ or each.__context__) is not None:
            left.append(cause)


def _peer(stream: Any) -> str:
    """The address of the other side. Raises ConnectionResetError if it has gone already."""
    try:
        found = stream.get_extra_info("server_addr")
    except (AttributeError, OSError) as error:  # AttributeError: asyncio has let go of the socket
        raise ConnectionResetError("the other side is gone") from error
    if not found:
        raise ConnectionResetError("the other side has no address")
    return str(found[0])


class Connecting:
    """The ``trace`` extension of one request: ``extensions={"trace": Connecting()}``."""

    def __init__(self, look: Callable[[str], None] | None = None) -> None:
        """``look`` gets the address that a new TCP connection leads to, and may raise to end it there."""
        self._look = look
        self._stream: Any = None

    async def __call__(self, event: str, info: dict[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self._stream = info["return_value"]
            if self._look is not None:
                try:
                    self._look(_peer(self._stream))
                except BaseException:
                    await self._stream.aclose()
                    raise
        elif event == "connection.start_tls.failed" and self._stream is not None:
            await self._stream.aclose()
