"""NATS keys: seeds and ``.creds`` files, and the signature by which a client shows that it has one.

A seed is Base32 of two bytes of kind, 32 bytes of an Ed25519 key and a CRC-16/XMODEM, least byte first; a public key
has one byte of kind (the format of ``nats-io/nkeys``). Nothing secret appears in a sentence.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Any

from argosy.errors import ConfigError, ExtraMissing

_SEED, _USER = 18 << 3, 20 << 3
_SECTION = re.compile(r"-{3,}\s*BEGIN ([A-Z ]+?)\s*-{3,}\s*(\S+)\s*-{3,}\s*END")


@dataclass(frozen=True)
class Signer:
    """Signs what the server asks us to sign; ``jwt`` is what an account says of us, or empty."""

    key: Any = field(repr=False)
    jwt: str = field(default="", repr=False)

    def words(self, nonce: str) -> dict[str, str]:
        """What a CONNECT says of us."""
        signature = base64.urlsafe_b64encode(self.key.sign(nonce.encode())).decode().rstrip("=")
        return {"sig": signature, **({"jwt": self.jwt} if self.jwt else {"nkey": public_key(self.key)})}


def from_seed(seed: str, what: str) -> Signer:
    """The signer of a user's seed (``SU…``). Raises ConfigError, naming ``what`` and not its text."""
    return Signer(_private_key(seed.strip(), what))


def from_credentials(text: str, what: str) -> Signer:
    """The signer of a ``.creds`` file's text. Raises ConfigError, naming ``what`` and not its text."""
    sections = dict(_SECTION.findall(text))
    try:
        jwt, seed = sections["NATS USER JWT"], sections["USER NKEY SEED"]
    except KeyError:
        raise ConfigError(f"{what} is no credentials file: it has no user JWT and seed") from None
    return Signer(_private_key(seed, what), jwt)


def public_key(key: Any) -> str:
    """The public key of a user as NATS writes it: ``U…``."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    raw = bytes((_USER,)) + key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return base64.b32encode(raw + _checksum(raw)).decode().rstrip("=")


def _private_key(seed: str, what: str) -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise ExtraMissing(f"{what} (a key of NATS)", "crypto") from error
    try:
        raw = base64.b32decode(seed + "=" * (-len(seed) % 8))
    except (binascii.Error, ValueError):
        raw = b""
    kind = ((raw[0] & 7) << 5 | raw[1] >> 3) if len(raw) == 36 else -1
    if kind != _USER or raw[0] & 0xF8 != _SEED or raw[-2:] != _checksum(raw[:-2]):
        raise ConfigError(f"{what} is no seed of a user's key (SU…)")
    return ed25519.Ed25519PrivateKey.from_private_bytes(raw[2:34])


def _checksum(data: bytes) -> bytes:
    return binascii.crc_hqx(data, 0).to_bytes(2, "little")
