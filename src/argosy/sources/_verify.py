"""Whether a request comes from whom it says: the block ``verify`` of every HTTP kind, and what vendors' own
signatures share with it.

All checks of a block must pass. Where several secrets are named any of them will do, so that one can be
rotated while the sender still signs with the other. Secrets are read at each request. Texts compare in
constant time, and no sentence in here holds a secret or a signature. Standard Webhooks: standardwebhooks.com,
version 1.0.0.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from argosy.clock import Clock
from argosy.errors import SecretMissing, SourceError
from argosy.manifests.fields import BasicAuth, Duration, Model, SecretKeySelector, ValueFrom
from argosy.sources._http_routes import header_name
from argosy.sources._verify_jwt import Jwt
from argosy.sources._verify_signature import Scheme

if TYPE_CHECKING:
    from argosy.sources._http import Request

Read = Callable[[SecretKeySelector], str]
Text = Callable[[ValueFrom], str]
Algorithm = Literal["sha1", "sha256", "sha384", "sha512"]
Encoding = Literal["hex", "base64"]


class _Signed(Model):
    """Something in a header that is made of the request."""

    header: str = Field(min_length=1)
    """The header that holds the signature, or several of them with commas or blanks between."""
    encoding: Encoding = "hex"
    """How the signature is written."""
    prefix: str = ""
    """What stands before each signature, such as ``sha256=``."""
    signed: str = "{body}"
    """What is signed: ``{body}``, and ``{timestamp}`` for the header ``timestampHeader``."""
    timestamp_header: str = ""
    """The header that says, in seconds since 1970, when the request was signed."""
    tolerance: Duration = Field(300.0, gt=0)
    """How far that time may be from now."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.signed.count("{body}") != 1:
            raise ValueError("'signed' must hold {body} once; a signature of anything else proves nothing")
        if ("{timestamp}" in self.signed) != bool(self.timestamp_header):
            raise ValueError(
                "{timestamp} in 'signed' and 'timestampHeader' belong together: a time that is not signed is anybody's"
            )
        return self


class Hmac(_Signed):
    """A keyed hash of the request in a header."""

    secrets: list[SecretKeySelector] = Field(min_length=1)
    """Any of them; name two while one is rotated."""
    algorithm: Algorithm = "sha256"
    """The hash function."""


class Signature(_Signed):
    """A signature of the request, in a header, by the sender's private key."""

    keys: list[ValueFrom] = Field(min_length=1)
    """The sender's public key, out of a Secret or a ConfigMap, in PEM or as its page shows it. Any of them; name two while
    one is rotated."""
    algorithm: Scheme
    """ECDSA signatures may be DER, or two numbers side by side."""

    @model_validator(mode="after")
    def _complete(self) -> Signature:
        _check_references("keys", self.keys)
        return self


class Mtls(Model):
    """A certificate that the client shows when it connects. Every endpoint of the port must ask for the same authorities."""

    authorities: list[ValueFrom] = Field(min_length=1)
    """PEM certificates of those who sign the clients' ones; name two while one is rotated."""
    names: list[str] = Field(default_factory=list)
    """Which clients may come here: any of ``CN:…``, ``DNS:…``, ``URI:…``, ``email:…`` that stands in the certificate. All
    that the authorities signed, if there are none."""

    @field_validator("names")
    @classmethod
    def _kinds(cls, names: list[str]) -> list[str]:
        for name in names:
            if name.partition(":")[0] not in ("CN", "DNS", "URI", "email") or not name.partition(":")[2]:
                raise ValueError(f"{name!r} is no name of a certificate; write for example DNS:client.example")
        return names

    @model_validator(mode="after")
    def _complete(self) -> Mtls:
        _check_references("authorities", self.authorities)
        return self


def _check_references(what: str, values: list[ValueFrom]) -> None:
    if any((each.secret_key_ref is None) == (each.config_map_key_ref is None) for each in values):
        raise ValueError(f"each of '{what}' needs one of secretKeyRef and configMapKeyRef")


class StandardWebhooks(Model):
    """Signatures as standardwebhooks.com describes them: ``webhook-id``, ``-timestamp``, ``-signature``."""

    secrets: list[SecretKeySelector] = Field(min_length=1)
    """Any of them, each as it was issued: ``whsec_`` and base64."""
    tolerance: Duration = Field(300.0, gt=0)
    """How old a message may be, and how far ahead of our clock."""


class Replay(Model):
    """A request that was recorded once is answered 200 and makes no second event."""

    header: str = Field(min_length=1)
    """The header that names a request. Have it signed, or anybody can change it."""
    window: Duration = Field(600.0, gt=0)
    """How long a name is remembered, on the bus; at least as long as a signature is taken."""


class Verify(Model):
    """What a request must prove. Ours; Argo Events has ``authSecret`` alone."""

    hmac: Hmac | None = None
    """A hash of the body with a shared secret."""
    signature: Signature | None = None
    """A signature of the body with a key whose public half we have."""
    standard_webhooks: StandardWebhooks | None = None
    """Standard Webhooks."""
    basic: list[BasicAuth] = Field(default_factory=list)
    """User names and passwords, any of them."""
    jwt: Jwt | None = None
    """A JSON Web Token."""
    mtls: Mtls | None = None
    """The client's certificate."""
    addresses: list[str] = Field(default_factory=list)
    """Networks that senders must be in, such as ``192.30.252.0/22``."""
    trusted_proxies: list[str] = Field(default_factory=list)
    """Networks of proxies whose ``X-Forwarded-For`` is believed."""
    replay: Replay | None = None
    """A message that was received before is refused."""

    @field_validator("addresses", "trusted_proxies")
    @classmethod
    def _networks(cls, texts: list[str]) -> list[str]:
        for text in texts:
            try:
                ipaddress.ip_network(text)
            except ValueError as error:
                raise ValueError(f"{text!r} is no network; write for example 10.0.0.0/8") from error
        return texts

    @model_validator(mode="after")
    def _complete(self) -> Verify:
        ways = (self.hmac, self.signature, self.standard_webhooks, self.basic, self.jwt, self.mtls)
        if not (any(ways) or self.addresses or self.replay):
            raise ValueError("needs one of hmac, signature, standardWebhooks, basic, jwt, mtls, addresses, replay")
        if self.basic and self.jwt is not None and header_name(self.jwt.header) == "Authorization":
            raise ValueError("'basic' and 'jwt' want the same header; keep one of them, or give 'jwt' another one")
        if any(each.username is None or each.password is None for each in self.basic):
            raise ValueError("each of 'basic' needs username and password")
        return self


def fault(verify: Verify, request: Request, read: Read, text: Text, clock: Clock) -> str:
    """Why ``request`` does not pass, in a sentence; empty where it does. Replays and tokens are not looked for."""
    if verify.addresses and not _within(sender(request, verify.trusted_proxies), verify.addresses):
        return "the sender's address is not allowed"
    if verify.mtls is not None and verify.mtls.names and not names_of(request.certificate) & set(verify.mtls.names):
        return "the client's certificate is of nobody who is allowed"
    if verify.basic and not _known(verify.basic, request, read):
        return "the user name or password is wrong"
    now = clock.now().timestamp()
    if (rule := verify.hmac) is not None and (found := _unsigned(rule, request, read, now)):
        return found
    if (signature := verify.signature) is not None and (found := _forged(signature, request, text, now)):
        return found
    if (standard := verify.standard_webhooks) is not None:
        return _unsigned_standard(standard, request, read, now)
    return ""


def names_of(certificate: Mapping[str, Any]) -> set[str]:
    """The names that stand in a client's certificate (as ``ssl`` tells it), as manifests write them."""
    names = {f"{kind}:{value}" for kind, value in certificate.get("subjectAltName", ())}
    parts = [part for group in certificate.get("subject", ()) for part in group]
    return names | {f"CN:{value}" for kind, value in parts if kind == "commonName"}


def keys(read: Read, *selectors: SecretKeySelector | None) -> Iterator[bytes]:
    """The secrets in order, those that are not given left out.

    One that is missing is an error only where it is the first: an old secret may be taken away before the
    manifest forgets it. Raises SecretMissing, and SourceError where a secret is empty, for everybody can sign
    with that.
    """
    for index, selector in enumerate(each for each in selectors if each is not None):
        try:
            text = read(selector)
        except SecretMissing:
            if index:
                continue
            raise
        if not text:
            raise SourceError(
                f"key {selector.key!r} of secret {selector.name!r} is empty; nothing can be verified by it"
            )
        yield text.encode()


def signed(
    secrets: Iterable[bytes],
    message: bytes,
    given: Collection[str],
    *,
    algorithm: str = "sha256",
    encoding: Encoding = "hex",
) -> bool:
    """Whether one of the signatures ``given`` is that of ``message`` by one of the ``secrets``."""
    raw = [each for each in (_decoded(text, encoding) for text in given) if each]
    for secret in secrets:
        wanted = hmac.digest(secret, message, algorithm)
        if any(hmac.compare_digest(wanted, each) for each in raw):
            return True
    return False


def same(given: str, secrets: Iterable[bytes]) -> bool:
    """Whether ``given`` is one of the ``secrets``."""
    text = given.encode()
    return any(hmac.compare_digest(text, secret) for secret in secrets)


def stale(text: str, now: float, tolerance: float) -> str:
    """Why a time (seconds since 1970, as text) is not to be believed; empty where it is."""
    if not (text.isascii() and text.isdigit() and len(text) < 13):
        return "the time of the signature is missing or no number"
    if abs(now - int(text)) > tolerance:
        return f"the signature is not of the last {tolerance:g} seconds"
    return ""


def sender(request: Request, proxies: Collection[str]) -> str:
    """The address of the sender: the last one of ``X-Forwarded-For`` that is no proxy of ours, if a proxy of
    ours speaks, else that of the connection.
    """
    address = request.client
    hops = [hop.strip() for line in request.headers.get("X-Forwarded-For", []) for hop in line.split(",")]
    while hops and _within(address, proxies):
        address = hops.pop()
    return address


def nonce(replay: Replay, request: Request) -> str:
    """The name of the request in the bucket, not legible; empty where the request has none."""
    text = request.header(header_name(replay.header))
    return hashlib.sha256(text.encode()).hexdigest() if text else ""


_network = lru_cache(maxsize=1024)(ipaddress.ip_network)  # networks stand in manifests, and are wanted at each request


def _within(address: str, networks: Collection[str]) -> bool:
    try:
        found = ipaddress.ip_address(address.split("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return any(found in _network(network) for network in networks)


def _known(users: list[BasicAuth], request: Request, read: Read) -> bool:
    scheme, _, text = request.credentials.partition(" ")
    if scheme.lower() != "basic":
        return False
    pairs = []
    for user in users:
        assert user.username is not None and user.password is not None  # validated
        pairs.append(b"%b:%b" % (next(keys(read, user.username)), next(keys(read, user.password))))
    given = _decoded(text.strip(), "base64")
    return any(hmac.compare_digest(given, pair) for pair in pairs)


def _unsigned(rule: Hmac, request: Request, read: Read, now: float) -> str:
    given = _signatures(rule, request)
    if not given:
        return f"header {rule.header!r} holds no signature"
    message = _message(rule, request, now)
    if isinstance(message, str):
        return message
    if signed(keys(read, *rule.secrets), message, given, algorithm=rule.algorithm, encoding=rule.encoding):
        return ""
    return "the signature is wrong"


def _forged(rule: Signature, request: Request, text: Text, now: float) -> str:
    from argosy.sources._verify_signature import signed_by

    given = [each for each in (_decoded(found, rule.encoding) for found in _signatures(rule, request)) if each]
    if not given:
        return f"header {rule.header!r} holds no signature"
    message = _message(rule, request, now)
    if isinstance(message, str):
        return message
    return "" if signed_by(map(text, rule.keys), rule.algorithm, message, given[:8]) else "the signature is wrong"


def _message(rule: _Signed, request: Request, now: float) -> bytes | str:
    """What is signed, or why its time is not to be believed."""
    timestamp = ""
    if rule.timestamp_header:
        timestamp = request.header(header_name(rule.timestamp_header))
        if found := stale(timestamp, now, rule.tolerance):
            return found
    before, _, after = rule.signed.replace("{timestamp}", timestamp).partition("{body}")
    return before.encode() + request.body + after.encode()


def _signatures(rule: _Signed, request: Request) -> list[str]:
    values = ",".join(request.headers.get(header_name(rule.header), []))
    each = values.replace(" ", ",").split(",")
    return [text.removeprefix(rule.prefix) for text in each if text and text.startswith(rule.prefix)]


def _unsigned_standard(rule: StandardWebhooks, request: Request, read: Read, now: float) -> str:
    name, timestamp = request.header("Webhook-Id"), request.header("Webhook-Timestamp")
    if not name:
        return "header 'webhook-id' is missing"
    if found := stale(timestamp, now, rule.tolerance):
        return found
    given = [text.removeprefix("v1,") for text in request.header("Webhook-Signature").split() if text.startswith("v1,")]
    message = f"{name}.{timestamp}.".encode() + request.body
    secrets = (_decoded(key.decode().removeprefix("whsec_"), "base64") or key for key in keys(read, *rule.secrets))
    return "" if signed(secrets, message, given, encoding="base64") else "the signature is wrong"


def _decoded(text: str, encoding: Encoding) -> bytes:
    """The bytes of a text; none where it is not of that encoding."""
    try:
        return bytes.fromhex(text) if encoding == "hex" else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return b""
