"""A connection by SSH to a server that proves who it is, for sources that look at a server's files.

The server's key must be one of those that the manifest names. Where it names none, the key that answers first
is remembered on the bus and is the only one from then on: what listens now may be anybody, but nobody can
step in later. What is a key is decided without the SSH library, so that manifests are read fast.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from argosy.addresses import Address
from argosy.connecting import target
from argosy.errors import ConfigError, SourceError
from argosy.sources._base import SourceContext

if TYPE_CHECKING:
    import asyncssh

_CONNECT_SECONDS = 15.0
_KEEPALIVE_SECONDS = 15.0
_KEEPALIVES = 3
_REMEMBERED = "host-key"
_PUBLIC = re.compile(r"(?:^|\s)((?:ssh|ecdsa|sk)-[A-Za-z0-9@.-]+)[ \t]+([A-Za-z0-9+/]+=*)(?=\s|$)")
_PRIVATE = re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)


def public_keys(text: str) -> list[str]:
    """The public keys in a text, each as type and Base64: lines of a ``.pub`` or ``known_hosts`` file."""
    found = []
    for kind, encoded in _PUBLIC.findall(text):
        try:
            blob = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            continue
        if blob[4 : 4 + int.from_bytes(blob[:4])] == kind.encode():
            found.append(f"{kind} {encoded}")
    return found


@asynccontextmanager
async def connected(
    ctx: SourceContext[Any],
    address: Address,
    username: str,
    *,
    password: str | None,
    private_key: str | None,
    host_keys: Sequence[str],
) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """A connection; closed at the end. Raises SourceError or ConfigError, in a sentence."""
    import asyncssh

    # It writes the user's name, which comes from a Secret.
    asyncssh.set_log_level("WARNING")
    trusted = list(host_keys) or await _remembered(ctx, address)
    client_keys = [_private(private_key)] if private_key is not None else None
    seen: list[str] = []

    class Client(asyncssh.SSHClient):
        def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
            # Called for a key that is not among those we gave.
            seen.append(" ".join(key.export_public_key().decode().split()[:2]))
            return not trusted

    host, port = target(address.host, address.port)
    try:
        keys = [asyncssh.import_public_key(each) for each in trusted]
        connection = await asyncssh.connect(
            host,
            port,
            config=None,
            client_factory=Client,
            host_key_alias=address.host,
            known_hosts=(keys, [], []),
            username=username,
            password=password,
            client_keys=client_keys,
            agent_path=None,
            gss_kex=False,
            gss_auth=False,
            connect_timeout=_CONNECT_SECONDS,
            login_timeout=_CONNECT_SECONDS,
            keepalive_interval=_KEEPALIVE_SECONDS,
            keepalive_count_max=_KEEPALIVES,
        )
    except (OSError, asyncssh.Error, TimeoutError) as error:
        raise _told(address, error, seen, named=bool(host_keys)) from error
    try:
        if seen:
            await _remember(ctx, address, seen[-1])
        yield connection
    except asyncssh.Error as error:
        raise SourceError(f"the connection to {address} broke: {error.reason}") from error
    finally:
        connection.abort()
        await connection.wait_closed()


def _private(text: str) -> asyncssh.SSHKey:
    import asyncssh

    found = _PRIVATE.search(text)
    if found is None:
        raise ConfigError("the secret 'sshKeySecret' holds no private key in PEM form")
    try:
        return asyncssh.import_private_key(found[0])
    except asyncssh.KeyImportError as error:
        what = (
            "is encrypted; give one without" if "assphrase" in str(error) else "cannot be read; give one in PEM without"
        )
        raise ConfigError(f"the private key in 'sshKeySecret' {what} a passphrase") from error


async def _remembered(ctx: SourceContext[Any], address: Address) -> list[str]:
    """The key that this server showed first; none where it never did."""
    entry = await ctx.bucket.get(_REMEMBERED)
    if entry is None:
        return []
    about = json.loads(entry.value)
    return [str(about["key"])] if about["address"] == str(address) else []


async def _remember(ctx: SourceContext[Any], address: Address, key: str) -> None:
    ctx.log.warning(
        "%s is trusted because it answered first; from now on it must have the key '%s', write that into 'hostKeys'",
        address,
        key,
    )
    await ctx.bucket.put(_REMEMBERED, json.dumps({"address": str(address), "key": key}).encode())


def _told(address: Address, error: Exception, seen: Sequence[str], *, named: bool) -> SourceError:
    """Why there is no connection."""
    import asyncssh

    wanted = "none of 'hostKeys'" if named else "not the one that it showed first"
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        shown = f" ({seen[-1]})" if seen else ""
        return SourceError(f"the key of {address} is {wanted}{shown}; if that is right, write it into 'hostKeys'")
    if isinstance(error, asyncssh.PermissionDenied):
        return SourceError(
            f"{address} refuses the user; check the secrets of 'username' and of 'password' or 'sshKeySecret'"
        )
    if isinstance(error, asyncssh.KeyExchangeFailed):
        return SourceError(f"the key of {address} is {wanted}, or its algorithms are too old ({error.reason})")
    if isinstance(error, asyncssh.Error):
        return SourceError(f"{address} does not let us in: {error.reason}")
    if isinstance(error, TimeoutError):
        return SourceError(f"{address} did not answer within {_CONNECT_SECONDS:.0f} s")
    if isinstance(error, ConnectionRefusedError):
        return SourceError(f"nothing listens at {address}; is the server running, is the port right?")
    return SourceError(f"{address} cannot be reached: {getattr(error, 'strerror', None) or error}")
