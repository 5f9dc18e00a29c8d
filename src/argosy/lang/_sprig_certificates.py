"""Keys and certificates in the forms that sprig's functions write. Needs ``cryptography``; see ``_sprig_crypto``."""

from __future__ import annotations

import datetime as dt
import secrets
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from argosy.errors import LangError


def generate(kind: str, bits: int = 4096) -> Any:
    """A new private key: ``rsa``, ``dsa``, ``ecdsa`` or ``ed25519``."""
    if kind == "rsa":
        return rsa.generate_private_key(65537, bits)
    if kind == "dsa":
        return dsa.generate_private_key(2048)
    return ec.generate_private_key(ec.SECP256R1()) if kind == "ecdsa" else ed25519.Ed25519PrivateKey.generate()


def written(key: Any) -> str:
    """The key as PEM: PKCS#8 for Ed25519, the older form of its kind for the others."""
    modern = isinstance(key, ed25519.Ed25519PrivateKey)
    form = serialization.PrivateFormat.PKCS8 if modern else serialization.PrivateFormat.TraditionalOpenSSL
    data: bytes = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return data.decode()


def read_key(text: str) -> Any:
    """The private key that the PEM text holds. Raises LangError, without the text, where it holds none."""
    try:
        return serialization.load_pem_private_key(text.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise LangError("the private key is not PEM that can be read") from error


def read_certificate(text: str) -> x509.Certificate:
    """The certificate that the PEM text holds. Raises LangError where it holds none."""
    try:
        return x509.load_pem_x509_certificate(text.encode())
    except ValueError as error:
        raise LangError("the certificate is not PEM that can be read") from error


def issue(
    subject: str,
    names: list[str],
    addresses: list[Any],
    until: dt.datetime,
    key: Any,
    signer: tuple[x509.Certificate, Any] | None,
    authority: bool,
) -> str:
    """A certificate for ``key`` as PEM, signed by ``signer`` or by itself. Raises LangError for what X.509 refuses."""
    try:
        own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)] if subject else [])
        parent, signing = signer or (None, key)
        usages = dict.fromkeys(
            ("content_commitment", "data_encipherment", "key_agreement", "crl_sign", "encipher_only", "decipher_only"),
            False,
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(own)
            .issuer_name(parent.subject if parent else own)
            .public_key(key.public_key())
            .serial_number(secrets.randbelow(2**128 - 1) + 1)
            .not_valid_before(dt.datetime.now(dt.UTC))
            .not_valid_after(until)
            .add_extension(
                x509.KeyUsage(digital_signature=True, key_encipherment=True, key_cert_sign=authority, **usages),
                critical=True,
            )
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if authority:
            builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        if parent:
            builder = builder.add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False
            )
        others = [*(x509.DNSName(name) for name in names), *(x509.IPAddress(address) for address in addresses)]
        if others:
            builder = builder.add_extension(x509.SubjectAlternativeName(others), critical=False)
        algorithm = None if isinstance(signing, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        return builder.sign(signing, algorithm).public_bytes(serialization.Encoding.PEM).decode()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise LangError(f"the certificate cannot be made: {error}") from error
