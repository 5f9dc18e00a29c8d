"""A connection to a NATS server by ``nats-py``, made to wait until the server has what it was sent, and failures as sentences.

The library gives up where the runtime tries again, and says nothing of a connection that is gone while an answer is awaited.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import socket
import ssl
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from argosy.addresses import Address
from argosy.connecting import target
from argosy.errors import ExtraMissing, Rejected, TriggerError
from argosy.nats.access import Server, servers

if TYPE_CHECKING:
    from nats.aio.client import Client

T = TypeVar("T")
_ANSWER_SECONDS = 15
_CLOSE_SECONDS = 1.0
_MESSAGE_ID = "Nats-Msg-Id"


class Link:
    """A connection that was let in. ``where`` is its server."""

    def __init__(self, client: Client, where: str, faults: list[Exception], lost: asyncio.Event) -> None:
        self._client = client
        self.where = where
        self._faults = faults
        self._lost = lost

    @classmethod
    async def begin(cls, url: str, login: dict[str, str], tls: ssl.SSLContext | None, name: str) -> Link:
        """Connect to the first server that lets us in. Raises Rejected or TriggerError with what each of them says."""
        reasons = []
        for server in servers(url):
            try:
                return await cls._begin(server.where, login or _by_url(server), tls, name)
            except TriggerError as error:
                reasons.append(error)
        lasting = all(isinstance(reason, Rejected) for reason in reasons)
        raise (Rejected if lasting else TriggerError)("; ".join(map(str, reasons))) from reasons[-1]

    @classmethod
    async def _begin(cls, address: Address, login: dict[str, str], tls: ssl.SSLContext | None, name: str) -> Link:
        where = str(address)
        faults: list[Exception] = []
        lost = asyncio.Event()

        async def failed(error: Exception) -> None:
            faults.append(error)

        async def gone() -> None:
            lost.set()

        given: dict[str, Any] = dict(login)
        if "user_credentials" in given:
            given["user_credentials"] = importlib.import_module("nats.aio.client").RawCredentials(
                given["user_credentials"]
            )
        if {"user_credentials", "nkeys_seed_str"} & set(given) and importlib.util.find_spec("nkeys") is None:
            raise ExtraMissing("a key of NATS", "nkeys")
        demanded = tls is not None or address.scheme == "tls"
        import nats.errors

        client = _client(demanded)
        led_host, led_port = target(address.host, address.port)
        led = f"[{led_host}]:{led_port}" if ":" in led_host else f"{led_host}:{led_port}"
        try:
            await client.connect(
                servers=[f"nats://{led}"],
                error_cb=failed,
                disconnected_cb=gone,
                closed_cb=gone,
                name=name,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0.02,
                connect_timeout=_ANSWER_SECONDS,
                ping_interval=30,
                tls=tls or ssl.create_default_context(),
                tls_hostname=address.host,
                **given,
            )
        except BaseException as error:
            await _closed(client)
            if not isinstance(error, Exception):
                raise
            # Where the library has given up, the reason is what it told us before.
            cause = faults[-1] if isinstance(error, nats.errors.NoServersError) and faults else error
            raise _unreachable(where, cause) from cause
        return cls(client, where, faults, lost)

    async def close(self) -> None:
        """Close the connection."""
        await _closed(self._client)

    async def publish(self, subject: str, payload: bytes, id: str) -> None:
        """Return once the server has the message. Raises Rejected or TriggerError."""
        import nats.errors

        before = len(self._faults)
        try:
            await self._client.publish(subject, payload, headers={_MESSAGE_ID: id})
            # The first ping may overtake what waits to be written; when it is answered, that is written.
            await self._unless_lost(self._client.flush(_ANSWER_SECONDS))
            await self._unless_lost(self._client.flush(_ANSWER_SECONDS))
        except nats.errors.MaxPayloadError as error:
            raise Rejected(f"{self.where} takes no message of {len(payload)} bytes") from error
        except (nats.errors.Error, TimeoutError, OSError, ssl.SSLError) as error:
            raise TriggerError(
                f"{self.where} did not confirm a message to subject {subject!r}: {_said(error)}"
            ) from error
        self._allowed(subject, before)

    async def store(self, subject: str, payload: bytes, id: str) -> dict[str, Any]:
        """Where a stream has stored the message. Raises Rejected or TriggerError."""
        import nats.errors
        import nats.js.errors

        before = len(self._faults)
        try:
            storing = self._client.jetstream().publish(
                subject, payload, timeout=_ANSWER_SECONDS, headers={_MESSAGE_ID: id}
            )
            found = await self._unless_lost(storing)
        except nats.errors.MaxPayloadError as error:
            raise Rejected(f"{self.where} takes no message of {len(payload)} bytes") from error
        except nats.js.errors.NoStreamResponseError as error:
            raise Rejected(
                f"{self.where} has no stream for subject {subject!r}; make one, or leave jetStream out"
            ) from error
        except (nats.errors.Error, nats.js.errors.APIError, TimeoutError, OSError, ssl.SSLError) as error:
            self._allowed(subject, before)
            raise TriggerError(
                f"{self.where} did not store a message to subject {subject!r}: {_said(error)}"
            ) from error
        return {"stream": found.stream, "seq": found.seq, "duplicate": bool(found.duplicate)}

    async def _unless_lost(self, answer: Coroutine[Any, Any, T]) -> T:
        """What ``answer`` yields; the library would wait for it on a connection that is gone, too."""
        task, lost = asyncio.create_task(answer), asyncio.create_task(self._lost.wait())
        try:
            await asyncio.wait({task, lost}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise ConnectionResetError("the connection was lost")
            return task.result()
        finally:
            task.cancel()
            lost.cancel()
            await asyncio.gather(task, lost, return_exceptions=True)

    def _allowed(self, subject: str, before: int) -> None:
        for fault in map(str, self._faults[before:]):
            if "permissions violation" in fault.lower() and f'"{subject.lower()}"' in fault.lower():
                raise Rejected(f"{self.where} does not let us publish to {subject!r}; grant the user the right to")
        del self._faults[:-20]


def _by_url(server: Server) -> dict[str, str]:
    if not server.user:
        return {}
    return {"token": server.user} if server.password is None else {"user": server.user, "password": server.password}


def _client(demanded: bool) -> Any:
    from nats.aio.client import Client
    from nats.errors import Error

    class Demanding(Client):
        async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
            # Before anything secret is sent. The library speaks TLS only where the server demands it.
            if initial_connection and demanded and not info.get("tls_required"):
                raise Error("it does not demand TLS, which the manifest does")
            await super()._process_info(info, initial_connection=initial_connection)

    return Demanding()


async def _closed(client: Any) -> None:
    """Close a client, whatever has become of it."""
    writer = getattr(client._transport, "_io_writer", None)
    with contextlib.suppress(Exception):  # where it is half open, it breaks at any of its steps
        # On a connection that failed in its TLS handshake the library would wait for ever.
        async with asyncio.timeout(_CLOSE_SECONDS):
            await client.close()
    if writer is not None:
        writer.transport.abort()


def _said(error: Exception) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__


def _unreachable(where: str, error: Exception) -> TriggerError:
    """What a failure to connect means, as a sentence."""
    text = str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return TriggerError(
            f"the certificate of {where} is not trusted: {error.verify_message}; check tls.caCertSecret"
        )
    if isinstance(error, ssl.SSLError):
        return TriggerError(f"{where} does not take our TLS ({error.reason}); does it want tls.clientCertSecret?")
    if isinstance(error, socket.gaierror):
        return TriggerError(f"no host of {where} is known")
    if isinstance(error, ConnectionRefusedError):
        return TriggerError(f"nothing listens at {where}; is the server running, is the port right?")
    if "authorization" in text.lower() or "authentication" in text.lower():
        return TriggerError(f"{where} does not accept our credentials ({text}); correct 'auth'")
    if "demand TLS" in text:
        return Rejected(f"{where}: {text}")
    if isinstance(error, TimeoutError):
        return TriggerError(f"{where} does not greet; is it a NATS port?")
    if isinstance(error, ConnectionError) or "empty response" in text:
        return TriggerError(f"{where} hung up while greeting; is it a NATS port, does it want tls.clientCertSecret?")
    if isinstance(error, OSError):
        return TriggerError(f"{where} cannot be reached: {error.strerror or text}")
    # Its words may quote what a key or a credentials file says.
    return TriggerError(f"{where} does not let us in ({type(error).__name__}); is it a NATS port, is 'auth' right?")
