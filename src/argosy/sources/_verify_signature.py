"""Signatures by a sender's private key (``verify.signature``): ECDSA, Ed25519 and RSA, by ``cryptography``."""

from __future__ import annotations

import base64
import binascii
import importlib.util
from collections.abc import Collection, Iterable
from typing import Any, Literal

from argosy.errors import ExtraMissing, SourceError

Scheme = Literal["ed25519", "ecdsa-sha256", "ecdsa-sha384", "ecdsa-sha512", "rsa-sha256", "rsa-sha512"]


def available() -> None:
    """Raise ExtraMissing without the library."""
    if importlib.util.find_spec("cryptography") is None:
        raise ExtraMissing("'verify.signature'", "crypto")


def signed_by(keys: Iterable[str], scheme: Scheme, message: bytes, given: Collection[bytes]) -> bool:
    """Whether one of the signatures is that of ``message`` by one of the keys.

    Raises SourceError where a key is none of that scheme.
    """
    loaded = [public_key(text, scheme) for text in keys]
    return any(_verifies(key, scheme, message, each) for key in loaded for each in given)


def public_key(text: str, scheme: Scheme) -> Any:
    """A key as vendors show them: PEM, the same without its first and last line, or (Ed25519) 32 bytes in hex or base64.

    Raises SourceError where it is none of that scheme.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    wanted = {"ed25519": ed25519.Ed25519PublicKey, "ecdsa": ec.EllipticCurvePublicKey, "rsa": rsa.RSAPublicKey}
    kind = wanted[scheme.partition("-")[0]]
    key: Any = None
    try:
        if "-----BEGIN" in text:
            key = serialization.load_pem_public_key(text.strip().encode() + b"\n")
        elif scheme == "ed25519" and len(raw := _bytes(text)) == 32:
            key = ed25519.Ed25519PublicKey.from_public_bytes(raw)
        else:
            key = serialization.load_der_public_key(_bytes(text))
    except ValueError:
        key = None
    if not isinstance(key, kind):
        raise SourceError(f"a key of 'verify.signature' is no public key for {scheme}; PEM is the safest form")
    return key


def _bytes(text: str) -> bytes:
    text = "".join(text.split())
    try:
        return bytes.fromhex(text)
    except ValueError:
        pass  # not hex, so base64
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return b""


def _verifies(key: Any, scheme: Scheme, message: bytes, signature: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    name, _, digest = scheme.partition("-")
    algorithms: dict[str, hashes.HashAlgorithm] = {
        "sha256": hashes.SHA256(),
        "sha384": hashes.SHA384(),
        "sha512": hashes.SHA512(),
    }
    try:
        if name == "ed25519":
            key.verify(signature, message)
        elif name == "rsa":
            key.verify(signature, message, padding.PKCS1v15(), algorithms[digest])
        else:
            size = (key.curve.key_size + 7) // 8
            if len(signature) == 2 * size and not _is_der(signature):
                # Two numbers side by side (IEEE P1363), as the Web's cryptography writes them.
                halves = (int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big"))
                signature = encode_dss_signature(*halves)
            key.verify(signature, message, ec.ECDSA(algorithms[digest]))
    except (InvalidSignature, ValueError):
        return False
    return True


def _is_der(signature: bytes) -> bool:
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    try:
        decode_dss_signature(signature)
    except ValueError:
        return False
    return True
