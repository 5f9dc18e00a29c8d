"""A real NATS server with users of every kind, and the keys, tokens and JWTs by which they come in.

Without ``extra``: ``argosy`` (a password), the user of ``nkey`` (a key), and ``reader``, who may not subscribe to
``secret.>``. ``operator`` makes a server that lets in by JWT.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from argosy.bus._embedded_child import find_binary
from tests.brokers.sources.server import Server

PASSWORD = "p@ss/w:rd%41"
_KINDS = {"operator": 14 << 3, "account": 0, "user": 20 << 3}


class Key:
    """A key pair of NATS, made by the rules of its own documents and not by the code that is tested."""

    def __init__(self, kind: str) -> None:
        self._kind = _KINDS[kind]
        self._key = Ed25519PrivateKey.generate()

    @property
    def public(self) -> str:
        raw = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return _spelt(bytes((self._kind,)) + raw)

    @property
    def seed(self) -> str:
        raw = self._key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        return _spelt(bytes((18 << 3 | self._kind >> 5, (self._kind & 31) << 3)) + raw)

    def jwt(self, subject: Key, name: str, claims: Mapping[str, Any]) -> str:
        """What this key says of another."""
        claim = {"jti": name, "iat": int(time.time()), "iss": self.public, "name": name, "sub": subject.public}
        parts = [{"typ": "JWT", "alg": "ed25519-nkey"}, {**claim, "nats": {"version": 2, **claims}}]
        text = ".".join(_url(json.dumps(part).encode()) for part in parts)
        return f"{text}.{_url(self._key.sign(text.encode()))}"


def _spelt(raw: bytes) -> str:
    return base64.b32encode(raw + binascii.crc_hqx(raw, 0).to_bytes(2, "little")).decode().rstrip("=")


def _url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


class NatsServer(Server):
    """One server. ``extra`` replaces its users."""

    def __init__(self, folder: Path, extra: str = "", tls: bool = False) -> None:
        super().__init__(folder)
        self.nkey = Key("user")
        self.password = PASSWORD
        self._extra = extra
        self._tls = tls

    def ports(self) -> list[int]:
        return [self.port]

    def command(self) -> list[str]:
        users = f"""\
authorization {{ users = [
  {{ user: argosy, password: "{self.password}" }}
  {{ nkey: {self.nkey.public} }}
  {{ user: reader, password: reader, permissions: {{ subscribe: {{ deny: "secret.>" }} }} }}
] }}
"""
        files = f'cert_file: "{self.folder}/server.crt", key_file: "{self.folder}/server.key", ca_file: "{self.folder}/ca.crt"'
        tls = f"tls {{ {files}, verify: true }}\n" if self._tls else ""
        config = self.folder / "nats.conf"
        config.write_text(f'listen: "127.0.0.1:{self.port}"\nping_interval: "10s"\n{tls}{self._extra or users}\n')
        return [find_binary(), "-c", str(config)]

    def set_password(self, password: str) -> None:
        self.password = password

    @property
    def url(self) -> str:
        """Without a user."""
        return f"nats://127.0.0.1:{self.port}"


def operator() -> tuple[str, str]:
    """The configuration of a server that lets in by JWT, and the credentials file of a user."""
    operator, account, user = Key("operator"), Key("account"), Key("user")
    limits = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
    limits |= {"wildcards": True}  # type: ignore[dict-item]
    told = operator.jwt(operator, "o", {"type": "operator"})
    of_account = operator.jwt(account, "a", {"type": "account", "limits": limits})
    of_user = account.jwt(user, "u", {"type": "user", "subs": -1, "data": -1, "payload": -1, "pub": {}, "sub": {}})
    extra = f"operator: {told}\nresolver: MEMORY\nresolver_preload: {{ {account.public}: {of_account} }}\n"
    credentials = f"""\
-----BEGIN NATS USER JWT-----
{of_user}
------END NATS USER JWT------

************************* IMPORTANT *************************
Whoever has the seed is the user.

-----BEGIN USER NKEY SEED-----
{user.seed}
------END USER NKEY SEED------
"""
    return extra, credentials
