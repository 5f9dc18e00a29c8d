"""The webhook's certificate: made by itself, and renewed before anybody notices.

An authority signs a certificate for the webhook; both are replaced after two thirds of their lives. A new authority is trusted for a
while (``Lives.overlap``) before anything is signed by it, and the old one for as long as it lives, so there is no moment at
which an API server meets a certificate that it does not trust yet. All is decided from what is held and the time
(``renewed``), so replicas that share it come to the same end; who comes second finds nothing left to do.

Needs ``cryptography`` (the extra ``crypto``), so it is imported where a certificate of one's own is wanted.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from argosy.errors import ConfigError

_NAME = "argosy-admission"


@dataclass(frozen=True)
class Lives:
    """How long an authority and a certificate live, and how long a new authority is trusted before it signs."""

    authority: dt.timedelta = dt.timedelta(days=365)
    certificate: dt.timedelta = dt.timedelta(days=30)
    overlap: dt.timedelta = dt.timedelta(minutes=10)


@dataclass(frozen=True)
class Held:
    """What the replicas share, as PEM. Never shown."""

    authorities: str
    """Whom to trust: the authority that signs now, then earlier ones."""
    authority_key: str
    certificate: str
    key: str

    def __repr__(self) -> str:
        return "<certificates>"


_FILES = {"authorities": "ca.crt", "authority_key": "ca.key", "certificate": "tls.crt", "key": "tls.key"}


def to_files(held: Held) -> dict[str, str]:
    """The texts by the keys that a Secret has them under."""
    return {file: getattr(held, word) for word, file in _FILES.items()}


def from_files(files: dict[str, str]) -> Held | None:
    """What such texts hold; None where one is missing."""
    texts = {word: files.get(file) or "" for word, file in _FILES.items()}
    return Held(**texts) if all(texts.values()) else None


def names(service: str, namespace: str, also: Iterable[str] = ()) -> list[str]:
    """The names that an API server may call the webhook by."""
    inside = f"{service}.{namespace}"
    return [f"{inside}.svc", inside, f"{inside}.svc.cluster.local", *also]


def renewed(held: Held | None, wanted: Sequence[str], now: dt.datetime, lives: Lives | None = None) -> Held:
    """What should be held now: the same where nothing is due."""
    lives = lives or Lives()
    if held is not None:
        try:
            authorities = x509.load_pem_x509_certificates(held.authorities.encode())
            signer, key = authorities[0], _key(held.authority_key)
            leaf = x509.load_pem_x509_certificate(held.certificate.encode())
            fits = signer.public_key() == key.public_key() and _key(held.key).public_key() == leaf.public_key()
        except (ValueError, TypeError, UnsupportedAlgorithm):
            fits = False
        if fits and now < signer.not_valid_after_utc:
            return _kept(held, authorities, key, leaf, wanted, now, lives)
    text, key = _authority(now, lives)
    return _signed(
        Held(text, _pem(key), "", ""), x509.load_pem_x509_certificate(text.encode()), key, wanted, now, lives
    )


def expires(certificate: str) -> dt.datetime:
    """When a certificate ends. Raises ConfigError if this is none."""
    try:
        return x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc
    except ValueError as error:
        raise ConfigError("the certificate is not PEM that can be read") from error


def _kept(
    held: Held,
    authorities: list[x509.Certificate],
    key: ec.EllipticCurvePrivateKey,
    leaf: x509.Certificate,
    wanted: Sequence[str],
    now: dt.datetime,
    lives: Lives,
) -> Held:
    signer = authorities[0]
    if _due(signer, now):
        text, key = _authority(now, lives)
        living = [one for one in authorities if now < one.not_valid_after_utc]
        held = replace(held, authorities=text + "".join(_text(one) for one in living), authority_key=_pem(key))
        signer = x509.load_pem_x509_certificate(text.encode())
    elif any(now >= one.not_valid_after_utc for one in authorities):
        living = [one for one in authorities if now < one.not_valid_after_utc]
        held = replace(held, authorities="".join(_text(one) for one in living))
    known = now >= signer.not_valid_before_utc + _BACKDATED + lives.overlap
    ended = now >= leaf.not_valid_after_utc or not any(_issued(leaf, one) for one in authorities)
    if ended or (known and (_due(leaf, now) or _named(leaf) != _sorted(wanted))):
        return _signed(held, signer, key, wanted, now, lives)
    return held


_BACKDATED = dt.timedelta(minutes=5)
"""Clocks differ: what is valid now was valid some time ago."""


def _due(certificate: x509.Certificate, now: dt.datetime) -> bool:
    since, until = certificate.not_valid_before_utc + _BACKDATED, certificate.not_valid_after_utc
    return now >= since + (until - since) * 2 / 3


def _issued(leaf: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _named(leaf: x509.Certificate) -> list[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return sorted([*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))])


def _sorted(wanted: Sequence[str]) -> list[str]:
    return sorted(str(_address(one) or one) for one in set(wanted))


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _authority(now: dt.datetime, lives: Lives) -> tuple[str, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    # Authorities that follow each other must differ by name: their keys do, and a client looks for both.
    name = _subject(f"{_NAME}-ca {now:%Y-%m-%dT%H:%M:%S.%f}"[:64])
    builder = _builder(name, name, key.public_key(), now, now + lives.authority)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs=True), critical=True)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return _text(builder.add_extension(identifier, critical=False).sign(key, hashes.SHA256())), key


def _signed(
    held: Held,
    signer: x509.Certificate,
    signing: ec.EllipticCurvePrivateKey,
    wanted: Sequence[str],
    now: dt.datetime,
    lives: Lives,
) -> Held:
    """What is held, with a new certificate."""

    key = ec.generate_private_key(ec.SECP256R1())
    until = min(now + lives.certificate, signer.not_valid_after_utc)
    builder = _builder(_subject(_NAME), signer.subject, key.public_key(), now, until)
    addresses = {one: _address(one) for one in dict.fromkeys(wanted)}
    others = [x509.IPAddress(found) if found else x509.DNSName(name) for name, found in addresses.items()]
    builder = builder.add_extension(x509.SubjectAlternativeName(others), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key())
    made = builder.add_extension(identifier, critical=False).sign(signing, hashes.SHA256())
    return replace(held, certificate=_text(made), key=_pem(key))


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: dt.datetime,
    until: dt.datetime,
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - _BACKDATED).not_valid_after(until)


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(*, signs: bool) -> x509.KeyUsage:
    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    rest = dict.fromkeys((*others, "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(digital_signature=not signs, key_cert_sign=signs, crl_sign=signs, **rest)


def _key(text: str) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(text.encode(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("this is another kind of key")
    return key


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def _text(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
