"""A connection to a broker, greeted and closed again: whether it is one, and whether it lets us in.

The library (C++) hides both behind its own tries: after half a minute it says ``Timeout``, whatever the reason was. So
the first two messages of Pulsar's binary protocol are spoken here, for a reason that a person can act on.
Facts: PulsarApi.proto and "Pulsar binary protocol specification" of Apache Pulsar.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from typing import Any, NamedTuple

from argosy import __version__
from argosy.addresses import Address
from argosy.connecting import target
from argosy.errors import ArgosyError

_CONNECT_SECONDS = 15.0
_CONNECT, _CONNECTED, _ERROR, _CHALLENGE = 2, 3, 14, 36
_PROTOCOL = 19
_LARGEST = 1 << 20


class PulsarError(ArgosyError):
    """Something did not work at a Pulsar. ``hopeless`` says that another try cannot help."""

    def __init__(self, message: str, *, hopeless: bool = False) -> None:
        super().__init__(message)
        self.hopeless = hopeless


class Login(NamedTuple):
    """How we say who we are: a method of Pulsar's and its data."""

    method: str
    data: bytes

    def __repr__(self) -> str:
        return f"Login({self.method})"


async def greet(broker: Address, tls: ssl.SSLContext | None, login: Login | None) -> None:
    """Return if the broker takes a connection and lets us in; ``login`` None means to ask for a connection only.

    Raises PulsarError with the reason.
    """
    host, port = target(broker.host, broker.port)
    secured: dict[str, Any] = {"ssl": tls, "server_hostname": broker.host} if tls is not None else {}
    writer = None
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(host, port, **secured)
            if login is not None:
                writer.write(_connect(login))
                _judge(broker, await _command(broker, reader))
    except TimeoutError as error:
        raise PulsarError(f"{broker} did not answer within {_CONNECT_SECONDS:.0f} s; is it a broker's port?") from error
    except ssl.SSLCertVerificationError as error:
        raise PulsarError(
            f"the certificate of {broker} is not trusted: {error.verify_message}; check tlsTrustCertsSecret"
        ) from error
    except ssl.SSLError as error:
        raise PulsarError(
            f"{broker} does not take our TLS ({error.reason}); is it a TLS port, does it want 'tls' with our certificate?"
        ) from error
    except socket.gaierror as error:
        raise PulsarError(f"no host {broker.host!r} is known") from error
    except ConnectionRefusedError as error:
        raise PulsarError(f"nothing listens at {broker}; is the server running, is the port right?") from error
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise PulsarError(f"{broker} hung up while greeting; is it a broker's port, does it want TLS?") from error
    except OSError as error:
        raise PulsarError(f"{broker} cannot be reached: {error.strerror or error}") from error
    finally:
        if writer is not None:
            writer.transport.abort()  # there is nothing to say goodbye to


def _judge(broker: Address, command: bytes) -> None:
    found = dict(_fields(command))
    if found.get(1) in (_CONNECTED, _CHALLENGE):
        return
    if found.get(1) != _ERROR:
        raise PulsarError(f"{broker} does not speak Pulsar")
    said = dict(_fields(bytes(found.get(14, b""))))
    text = bytes(said.get(3, b"")).decode("utf-8", "replace")
    if said.get(2) in (3, 4):  # AuthenticationError, AuthorizationError
        raise PulsarError(
            f"{broker} does not accept our credentials ({text}); correct authTokenSecret, authAthenzParams or tls"
        )
    raise PulsarError(f"{broker}: {text}")


async def _command(broker: Address, reader: asyncio.StreamReader) -> bytes:
    total = int.from_bytes(await reader.readexactly(4), "big")
    size = int.from_bytes(await reader.readexactly(4), "big")
    if not size <= total <= _LARGEST:
        raise PulsarError(f"{broker} does not speak Pulsar")
    return await reader.readexactly(size)


def _connect(login: Login) -> bytes:
    """A CONNECT: client version (1), data (3), protocol version (4), method (5)."""
    body = _text(1, f"argosy-{__version__}".encode()) + _text(3, login.data)
    body += _varint(4 << 3) + _varint(_PROTOCOL) + _text(5, login.method.encode())
    command = _varint(1 << 3) + _varint(_CONNECT) + _text(2, body)
    return (len(command) + 4).to_bytes(4, "big") + len(command).to_bytes(4, "big") + command


def _text(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protobuf message, as far as it can be read: numbers and texts."""
    at = 0

    def number() -> int:
        nonlocal at
        found = shift = 0
        while at < len(data):
            byte = data[at]
            at += 1
            found |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        return found

    while at < len(data):
        key = number()
        if key & 7 == 0:
            yield key >> 3, number()
        elif key & 7 == 2:
            size = number()
            yield key >> 3, data[at : at + size]
            at += size
        else:
            return
