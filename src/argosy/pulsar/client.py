"""A client of Pulsar: the library's, made by the secrets as they are now, with failures as sentences.

The library is C++ with threads of its own. Before it is asked, ``greeting`` finds out whether a broker lets us in. Its log is
switched off: it would go to the process's output. Certificates and keys are lent to it by memory files; nothing is written to disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
from collections.abc import Callable, Iterator
from typing import Any, Self

from argosy.addresses import Address
from argosy.connecting import target
from argosy.errors import ExtraMissing
from argosy.manifests.fields import SecretKeySelector
from argosy.pulsar.access import PulsarAccess, servers
from argosy.pulsar.greeting import Login, PulsarError, greet

_CONNECT_SECONDS = 15.0
_OPERATION_SECONDS = 15
_CLOSE_SECONDS = 1.0

_SENTENCES = {
    "AuthenticationError": "{} does not accept our credentials; correct authTokenSecret, authAthenzParams or tls",
    "ErrorGettingAuthenticationData": "no credentials could be got for {}; correct authAthenzParams and authAthenzSecret",
    "AuthorizationError": "{} does not let us use {}; grant our role the right to",
    "ConsumerBusy": "{}: somebody else reads {} by the same subscription, and one of the two wants it exclusively",
    "TopicNotFound": "{} has no {}",
    "InvalidTopicName": "{}: {} is no name of a topic",
    "TopicTerminated": "{}: {} was terminated, and takes no messages",
    "MessageTooBig": "{}: the message is larger than it takes",
    "Timeout": "{} did not answer in time about {}; are the advertised addresses of its brokers reachable from here?",
    "ConnectError": "{}: a broker that it names for {} cannot be reached; are its advertised addresses reachable from here?",
    "NotConnected": "the connection to {} was lost",
    "AlreadyClosed": "the connection to {} was closed",
}
_HOPELESS = frozenset(("AuthorizationError", "TopicNotFound", "InvalidTopicName", "TopicTerminated", "MessageTooBig"))


class Client:
    """One client. ``raw`` is the library's (``pulsar.asyncio.Client``)."""

    def __init__(self, where: str, raw: Any, lent: list[int]) -> None:
        self.where = where
        self.raw = raw
        self._lent = lent

    @classmethod
    async def begin(cls, access: PulsarAccess, secret: Callable[[SecretKeySelector], str], what: str) -> Self:
        """A client that can connect. ``what`` wants it, as it stands in ExtraMissing.

        Raises PulsarError with the reason, and what ``secret`` raises.
        """
        try:
            import pulsar
            import pulsar.asyncio
        except ImportError as error:
            raise ExtraMissing(what, "pulsar") from error
        brokers = servers(access.url)
        material = _Material(access, secret)
        try:
            await _reached(brokers, material)
            try:
                raw = pulsar.asyncio.Client(
                    _service(brokers),
                    operation_timeout_seconds=_OPERATION_SECONDS,
                    connection_timeout_ms=int(_CONNECT_SECONDS * 1000),
                    stats_interval_in_seconds=0,
                    logger=pulsar.FileLogger(pulsar.LoggerLevel.Error, os.devnull),
                    **material.settings(pulsar),
                )
            except Exception as error:  # pybind gives every exception of C++ a class of its own
                raise PulsarError(f"no client for {access.url!r} can be made: {error}", hopeless=True) from error
        except BaseException:
            material.free()
            raise
        return cls(",".join(map(str, brokers)), raw, material.lent)

    async def end(self) -> None:
        """Close what the client has opened, within a second; then let it go without a goodbye."""
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                with self.sentences(""):
                    await self.raw.close()
        except (TimeoutError, PulsarError):
            await asyncio.to_thread(self.raw.shutdown)
        finally:
            for descriptor in self._lent:
                os.close(descriptor)
            self._lent = []

    @contextlib.contextmanager
    def sentences(self, what: str) -> Iterator[None]:
        """Turn the library's exceptions into PulsarError; ``what`` it was about, as ``topic 't'``."""
        from pulsar.asyncio import PulsarException

        try:
            yield
        except PulsarException as error:
            name = error.error().name
            sentence = _SENTENCES.get(name, f"{{}}: {error}").format(self.where, what)
            raise PulsarError(sentence, hopeless=name in _HOPELESS) from error


def login_of(access: PulsarAccess, secret: Callable[[SecretKeySelector], str]) -> list[object]:
    """All that makes one client differ from another, by the secrets as they are now."""
    tls = access.tls
    selectors = [access.tls_trust_certs_secret, access.auth_token_secret, access.auth_athenz_secret]
    selectors += [tls.ca_cert_secret, tls.client_cert_secret, tls.client_key_secret] if tls else []
    insecure = access.tls_allow_insecure_connection or bool(tls and tls.insecure_skip_verify)
    return [insecure, access.auth_athenz_params, *(secret(each) if each else "" for each in selectors)]


class _Material:
    """What the library is told of TLS and of us. ``lent`` are the descriptors of memory files, to be closed after it."""

    def __init__(self, access: PulsarAccess, secret: Callable[[SecretKeySelector], str]) -> None:
        tls = access.tls
        self.lent: list[int] = []
        self.insecure = access.tls_allow_insecure_connection or bool(tls and tls.insecure_skip_verify)
        self.named = access.tls_validate_hostname
        authority = access.tls_trust_certs_secret or (tls.ca_cert_secret if tls else None)
        self.authority = secret(authority) if authority is not None else ""
        self.certificate = self.key = ""
        if tls is not None and tls.client_cert_secret is not None and tls.client_key_secret is not None:
            self.certificate, self.key = secret(tls.client_cert_secret), secret(tls.client_key_secret)
        self.token = secret(access.auth_token_secret) if access.auth_token_secret is not None else ""
        self.athenz = dict(access.auth_athenz_params)
        if access.auth_athenz_secret is not None:
            self.athenz["privateKey"] = f"file://{self._lend(secret(access.auth_athenz_secret))}"

    def context(self) -> ssl.SSLContext:
        """The same for Python's TLS, by which a connection is tried. Raises PulsarError if a text is not PEM."""
        try:
            context = ssl.create_default_context(cadata=self.authority or None)
            if self.insecure or not self.named:
                context.check_hostname = False
            if self.insecure:
                context.verify_mode = ssl.CERT_NONE
            if self.certificate:
                pair = self._lend(f"{self.certificate}\n{self.key}\n")
                context.load_cert_chain(pair, password="no password")
        except (ssl.SSLError, ValueError) as error:
            raise PulsarError("tls: the certificates or the key of the Secrets are not PEM, or no pair") from error
        return context

    def login(self) -> Login | None:
        """How we say who we are; None where only the library can."""
        if self.certificate:
            return Login("tls", b"none")
        if self.athenz:
            return None
        return Login("token", self.token.encode()) if self.token else Login("none", b"")

    def settings(self, pulsar: Any) -> dict[str, Any]:
        """What the library's client is made with."""
        found: dict[str, Any] = {
            "tls_allow_insecure_connection": self.insecure,
            "tls_validate_hostname": self.named and not self.insecure,
        }
        if self.authority:
            found["tls_trust_certs_file_path"] = self._lend(self.authority)
        # As upstream: of several ways to say who we are, the last of these counts.
        if self.token:
            found["authentication"] = pulsar.AuthenticationToken(self.token)
        if self.athenz:
            found["authentication"] = pulsar.AuthenticationAthenz(json.dumps(self.athenz))
        if self.certificate:
            certificate, key = self._lend(self.certificate), self._lend(self.key)
            found["authentication"] = pulsar.AuthenticationTLS(certificate, key)
        return found

    def free(self) -> None:
        """Close what was lent."""
        for descriptor in self.lent:
            os.close(descriptor)
        self.lent.clear()

    def _lend(self, text: str) -> str:
        descriptor = os.memfd_create("pulsar", os.MFD_CLOEXEC)
        self.lent.append(descriptor)
        with open(descriptor, "wb", closefd=False) as file:
            file.write(text.encode())
        return f"/proc/self/fd/{descriptor}"


def _service(brokers: list[Address]) -> str:
    """The service URL that the library gets: where ``--resolve`` leads."""
    scheme = brokers[0].scheme
    places = [target(host, port) for _, host, port in brokers]
    return f"{scheme}://" + ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in places)


async def _reached(brokers: list[Address], material: _Material) -> None:
    """Return once one of the brokers lets us in. Raises PulsarError with what each of them says."""
    tls = material.context() if brokers[0].scheme in ("pulsar+ssl", "https") else None
    login = material.login() if brokers[0].scheme.startswith("pulsar") else None
    reasons = []
    for broker in brokers:
        try:
            return await greet(broker, tls, login)
        except PulsarError as error:
            reasons.append(str(error))
    raise PulsarError("; ".join(reasons))
