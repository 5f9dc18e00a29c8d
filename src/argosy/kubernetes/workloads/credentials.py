"""What a bus that is installed and its clients know each other by: made once, kept in two Secrets, renewed before it expires.

Passwords and the key of the store never change. Certificates live a year and are renewed three months before their end; the
authority that signs them lives ten years. Its successor is published beside it a month before it signs anything, so that
every client trusts it by then. Nothing here reads a clock or a cluster: who calls says what time it is and what there is.

Secrets that upstream's controller made are taken over: same user, same passwords, same certificates between servers. Its store is
encrypted with the *text* ``$JS_KEY`` (it stands in quotes in the server's configuration, which keeps NATS from looking the variable up),
and stays so: a key cannot be changed under a cluster.
"""

from __future__ import annotations

import base64
import datetime as dt
import re
import secrets
import string
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from argosy.errors import ConfigError
from argosy.kubernetes.workloads._bus_config import CA_KEY, CLIENT_KEY, server_secret_name, service_name
from argosy.kubernetes.workloads._owned import MANAGED
from argosy.manifests.checks._walk import mapping
from argosy.manifests.eventbus import EventBus

if TYPE_CHECKING:
    from cryptography import x509

Object = dict[str, Any]
_LETTERS = string.ascii_letters + string.digits
_LEAF = dt.timedelta(days=365)
_LEAF_RENEWED = dt.timedelta(days=90)
_AUTHORITY = dt.timedelta(days=3650)
_AUTHORITY_RENEWED = dt.timedelta(days=400)  # longer than anything that it signs lives
_PUBLISHED = dt.timedelta(days=30)
_SKEW = dt.timedelta(hours=1)
_KEYS = {
    "encryption_key": "encryption",
    "server_key": "private-key",
    "server_certificate": "cert",
    "authorities": CA_KEY,
    "cluster_key": "cluster-private-key",
    "cluster_certificate": "cluster-cert",
    "cluster_authorities": "cluster-ca-cert",
    "authority_key": "authority-private-key",
    "next_authority_key": "next-authority-private-key",
}
"""Fields and where they are in the servers' Secret; the first seven are upstream's keys."""
_ADOPTED = "taken-over"
_AUTH = "auth"
_USER = re.compile(r'"user": "([^"]*)", "pass": "([^"]*)"')


@dataclass(frozen=True)
class Credentials:
    """All of it, as text. Certificates and keys are PEM; where several authorities stand together, the first one signs."""

    user: str
    password: str = field(repr=False)
    system_password: str = field(repr=False)
    encryption_key: str = field(repr=False)
    server_key: str = field(default="", repr=False)
    server_certificate: str = field(default="", repr=False)
    authorities: str = field(default="", repr=False)
    cluster_key: str = field(default="", repr=False)
    cluster_certificate: str = field(default="", repr=False)
    cluster_authorities: str = field(default="", repr=False)
    authority_key: str = field(default="", repr=False)
    next_authority_key: str = field(default="", repr=False)
    adopted: bool = False
    """Whether upstream's controller made the store."""


def made(bus: EventBus, now: dt.datetime) -> Credentials:
    """New ones, for a bus of which nothing is there yet. Raises ConfigError where the library for certificates is missing."""
    return renewed(Credentials("", "", "", _drawn(32)), bus, now)


def kept(server: Object | None, client: Object | None) -> Credentials | None:
    """What the two Secrets hold; None without the key of the store, which alone cannot be had again. ``renewed`` completes what is missing.

    The servers' Secret suffices: the clients' is written from it.
    """
    held = _data(server)
    users = dict(_USER.findall(held.get(_AUTH, "")))
    system = users.pop("sys", "")
    given = dict(re.findall(r"^(\w+): (.*)$", _data(client).get(CLIENT_KEY, ""), re.MULTILINE))
    user = given.get("username") or next(iter(users), "")
    password = users.get(user) or given.get("password", "")
    if not held.get("encryption"):
        return None
    fields = {name: held.get(key, "") for name, key in _KEYS.items()}
    labels = mapping(server, "metadata", "labels")
    ours = bool(fields["authority_key"]) or MANAGED.items() <= labels.items()
    return Credentials(user, password, system, adopted=_ADOPTED in held or not ours, **fields)


def renewed(held: Credentials, bus: EventBus, now: dt.datetime) -> Credentials:
    """The same, with everything made anew that is missing or soon expires. The very same object if nothing is due. Raises ConfigError
    for a key or certificate that is none.
    """
    try:
        return _complete(held, bus, now)
    except ValueError as error:
        raise ConfigError(
            f"a key or certificate in Secret {server_secret_name(bus)!r} is no PEM; delete that entry of it, and it is made anew"
        ) from error


def _complete(held: Credentials, bus: EventBus, now: dt.datetime) -> Credentials:
    if not (held.user and held.password and held.system_password):
        user, password = held.user or _drawn(8), held.password or _drawn(24)
        held = replace(held, user=user, password=password, system_password=held.system_password or _drawn(24))
    if not (held.authority_key and _split(held.authorities)):
        # Of upstream's making, brand-new, or lost. A former authority is trusted on: nobody has the key of it.
        key, certificate = _issue("argosy event bus", None, now, now + _AUTHORITY)
        held = replace(
            held,
            authority_key=key,
            next_authority_key="",
            authorities=certificate + held.authorities,
            server_certificate="",
        )
    held = _with_authority(held, now)
    if _due(held.server_key, held.server_certificate, now):
        key, certificate = _issue(service_name(bus), _signer(held), now, now + _LEAF, _names(bus), client=False)
        held = replace(held, server_key=key, server_certificate=certificate)
    if _due(held.cluster_key, held.cluster_certificate, now) or not _split(held.cluster_authorities):
        key, certificate = _issue(service_name(bus), _signer(held), now, now + _LEAF, _names(bus))
        trusted = _joined([*_split(held.authorities), *_split(held.cluster_authorities)], now)
        held = replace(held, cluster_key=key, cluster_certificate=certificate, cluster_authorities=trusted)
    return held


def _with_authority(held: Credentials, now: dt.datetime) -> Credentials:
    known = _split(_joined(_split(held.authorities), now))
    if held.next_authority_key:
        following = known[-1]
        if now - _read(following).not_valid_before_utc >= _PUBLISHED + _SKEW:
            bundle = _joined([following, *known[:-1]], now)
            return replace(
                held, authority_key=held.next_authority_key, next_authority_key="", authorities=bundle,
                server_certificate="", cluster_certificate="",
            )  # fmt: skip
    elif _read(known[0]).not_valid_after_utc - now < _AUTHORITY_RENEWED:
        key, certificate = _issue("argosy event bus", None, now, now + _AUTHORITY)
        bundle, cluster = (
            _joined([*_split(text), certificate], now) for text in (held.authorities, held.cluster_authorities)
        )
        return replace(held, next_authority_key=key, authorities=bundle, cluster_authorities=cluster)
    return held


def _due(key: str, certificate: str, now: dt.datetime) -> bool:
    return not (key and certificate) or _read(certificate).not_valid_after_utc - now < _LEAF_RENEWED


def _drawn(length: int) -> str:
    # A letter in front: what looks like a number is one to NATS.
    first = secrets.choice(string.ascii_letters)
    return first + "".join(secrets.choice(_LETTERS) for _ in range(length - 1))


def _names(bus: EventBus) -> list[str]:
    service, namespace = service_name(bus), bus.metadata.namespace
    within = f"{service}.{namespace}.svc"
    whole = f"{within}.cluster.local"
    # The names of single servers too: they tell their clients of each other by these.
    return [service, f"{service}.{namespace}", within, whole, f"*.{within}", f"*.{whole}", "localhost"]


# Certificates


def _signer(held: Credentials) -> tuple[str, str]:
    return held.authority_key, _split(held.authorities)[0]


def _split(bundle: str) -> list[str]:
    return re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", bundle, re.DOTALL)


def _joined(certificates: list[str], now: dt.datetime) -> str:
    """Those that have not expired, each once."""
    lasting = [one for one in certificates if _read(one).not_valid_after_utc > now]
    return "".join(dict.fromkeys(one if one.endswith("\n") else one + "\n" for one in lasting))


def _read(certificate: str) -> x509.Certificate:
    from cryptography import x509

    return x509.load_pem_x509_certificate(certificate.encode())


def _issue(
    name: str,
    signer: tuple[str, str] | None,
    now: dt.datetime,
    until: dt.datetime,
    names: list[str] | None = None,
    *,
    client: bool = True,
) -> tuple[str, str]:
    """A new key, and a certificate for it: an authority without ``signer``, else one for a server of these names."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
    except ImportError as error:
        raise ConfigError("certificates need the library 'cryptography': pip install 'argosy[crypto]'") from error

    key = ec.generate_private_key(ec.SECP256R1())
    words = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "argosy"),
        x509.NameAttribute(NameOID.COMMON_NAME, name[:64]),
    ]
    subject = x509.Name(words)
    serial = x509.random_serial_number()
    if signer is None:
        # Two authorities of one name would be one to who looks for a signer by name.
        subject = x509.Name([*words, x509.NameAttribute(NameOID.SERIAL_NUMBER, f"{serial:x}")])
    parent = x509.load_pem_x509_certificate(signer[1].encode()) if signer else None
    signing: Any = serialization.load_pem_private_key(signer[0].encode(), None) if signer else key
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(parent.subject if parent else subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - _SKEW)
        .not_valid_after(min(until, parent.not_valid_after_utc) if parent else until)
        .add_extension(
            x509.BasicConstraints(ca=parent is None, path_length=0 if parent is None else None), critical=True
        )
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=parent is None, crl_sign=parent is None, **usage),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
    )
    if parent is not None:
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH, *([ExtendedKeyUsageOID.CLIENT_AUTH] if client else [])]
        alternatives = x509.SubjectAlternativeName([x509.DNSName(one) for one in names or []])
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        builder = builder.add_extension(alternatives, critical=False)
    written = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return written.decode(), builder.sign(signing, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


# The Secrets


def server_data(held: Credentials) -> dict[str, str]:
    """What the servers' Secret holds, in base64."""
    texts = {key: getattr(held, name) for name, key in _KEYS.items()}
    texts = {key: text for key, text in texts.items() if text}
    if held.adopted:
        texts[_ADOPTED] = "the store is encrypted with the text $JS_KEY"
    return _coded({**texts, _AUTH: _accounts(held)})


def client_data(held: Credentials) -> dict[str, str]:
    """What the clients' Secret holds, in base64."""
    return _coded({CLIENT_KEY: f"username: {held.user}\npassword: {held.password}", CA_KEY: held.authorities})


def _accounts(held: Credentials) -> str:
    return f"""\
system_account: sys
accounts: {{
  "js": {{
    "jetstream": true,
    "users": [
      {{"user": "{held.user}", "pass": "{held.password}"}}
    ]
  }},
  "sys": {{
    "users": [
      {{"user": "sys", "pass": "{held.system_password}"}}
    ]
  }}
}}
"""


def _coded(texts: dict[str, str]) -> dict[str, str]:
    return {key: base64.b64encode(text.encode()).decode() for key, text in sorted(texts.items())}


def _data(secret: Object | None) -> dict[str, str]:
    data = (secret or {}).get("data")
    if not isinstance(data, dict):
        return {}
    return {str(key): base64.b64decode(str(text)).decode(errors="replace") for key, text in data.items()}
