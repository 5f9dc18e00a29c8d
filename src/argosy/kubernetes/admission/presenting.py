"""The certificate that the webhook shows, and where it comes from: a Secret that its replicas share, or a folder that somebody else fills.

Each handshake gets the newest certificate; connections that stand are not touched. Nothing is shown before the API server was told
to trust it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import datetime as dt
import logging
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from argosy.errors import ArgosyError, ConfigError, ExtraMissing
from argosy.kubernetes.admission.configuration import SECRET, ca_patch, trusted
from argosy.kubernetes.client import AlreadyExists, Client, Conflict, NotFound, Object, Resource
from argosy.tls import present

if TYPE_CHECKING:
    from argosy.kubernetes.admission.certificates import Held, Lives

_log = logging.getLogger("argosy.admission")
_SECRETS = Resource("", "v1", "Secret", "secrets", True)
_CONFIGURATIONS = Resource(
    "admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", False
)
_TRIES = 5


class Presented:
    """What handshakes get. ``context`` is for the listener, once ``show`` was called."""

    def __init__(self) -> None:
        self.certificate = ""
        self.context: ssl.SSLContext | None = None
        self._current: ssl.SSLContext | None = None
        self._key = ""

    def show(self, certificate: str, key: str) -> bool:
        """From now on show this one (PEM); whether that is another one. Raises ConfigError if the texts are no pair."""
        if (certificate, key) == (self.certificate, self._key):
            return False
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        present(context, certificate, key, "tls.crt and tls.key")
        self.certificate, self._key, self._current = certificate, key, context
        if self.context is None:
            self.context = context
            # OpenSSL asks at every handshake, also where the client names no server.
            context.sni_callback = self._hello
        return True

    def _hello(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        assert self._current is not None
        connection.context = self._current


class Provider(Protocol):
    """Where the certificate comes from."""

    pause_seconds: float
    """How long to wait before the next look."""

    async def step(self, presented: Presented) -> None:
        """Look whether there is another certificate, and show it. Raises ArgosyError where that cannot be said now."""


async def kept(provider: Provider, presented: Presented) -> None:
    """Look again and again, until cancelled. What fails is said once."""
    said = ""
    while True:
        await asyncio.sleep(provider.pause_seconds)
        try:
            await provider.step(presented)
            said = ""
        except Exception as error:  # noqa: BLE001 - a certificate that nobody renews would end unnoticed
            ours = isinstance(error, ArgosyError)
            told = str(error) if ours else f"{type(error).__name__}, which is a defect of Argosy"
            if told != said:
                said = told
                sentence = "the certificate stays as it was: %s"
                _log.warning(sentence, said, exc_info=None if ours else error, extra={"action": "certificate.kept"})


class Folder:
    """``tls.crt`` and ``tls.key`` of a folder, as cert-manager's Secrets are mounted. Whom to trust is its business, too."""

    pause_seconds = 5.0

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def step(self, presented: Presented) -> None:
        """As ``Provider`` has it."""
        try:
            texts = await asyncio.to_thread(self._read)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"tls.crt and tls.key in {str(self._folder)!r} cannot be read: {error}") from error
        if presented.show(*texts):
            _log.info("the certificate of %s is shown", self._folder, extra={"action": "certificate.shown"})

    def _read(self) -> tuple[str, str]:
        return (self._folder / "tls.crt").read_text(), (self._folder / "tls.key").read_text()


class Shared:
    """A certificate of one's own, in a Secret, signed by an authority that the configuration of the webhook is told to trust."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        names: Sequence[str],
        *,
        configuration: str,
        secret: str = SECRET,
        lives: Lives | None = None,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        """Raises ExtraMissing where ``cryptography`` is not installed."""
        try:
            from argosy.kubernetes.admission import certificates
        except ImportError as error:
            raise ExtraMissing("a webhook that makes its own certificate", "crypto") from error
        self._made = certificates
        self._lives = lives or certificates.Lives()
        self._client, self._namespace, self._secret = client, namespace, secret
        self._names, self._configuration, self._now = list(names), configuration, now
        self._no_configuration = False
        # Others must have read a new authority before it signs.
        life, overlap = self._lives.certificate.total_seconds(), self._lives.overlap.total_seconds()
        self.pause_seconds = min(5.0, life / 20, overlap / 4)

    async def step(self, presented: Presented) -> None:
        """As ``Provider`` has it."""
        held = await self._held()
        try:
            await self._trust(held.authorities)
        except ArgosyError:
            if presented.context is not None:
                raise
            presented.show(held.certificate, held.key)  # better one that is not trusted yet than none
            raise
        if presented.show(held.certificate, held.key):
            until = self._made.expires(held.certificate)
            _log.info(
                "a certificate is shown that ends at %s",
                f"{until:%Y-%m-%dT%H:%M:%SZ}",
                extra={"action": "certificate.shown"},
            )

    async def _held(self) -> Held:
        """What the replicas share, renewed if that is due. Of several who renew it at once, one does."""
        for _ in range(_TRIES):
            try:
                secret: Object | None = await self._client.get(_SECRETS, self._secret, self._namespace)
            except NotFound:
                secret = None
            held = self._made.from_files(_decoded(secret))
            wanted = self._made.renewed(held, self._names, self._now(), self._lives)
            if wanted == held:
                return held
            try:
                await self._write(secret, wanted)
            except (AlreadyExists, Conflict, NotFound):
                continue
            return wanted
        raise ConfigError(f"Secret {self._secret!r} is changed by somebody all the time")

    async def _write(self, secret: Object | None, held: Held) -> None:
        data = {key: base64.b64encode(text.encode()).decode() for key, text in self._made.to_files(held).items()}
        if secret is None:
            body: Object = {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {
                    "name": self._secret,
                    "namespace": self._namespace,
                    "labels": {"app.kubernetes.io/name": "argosy", "app.kubernetes.io/component": "admission"},
                },
                "type": "Opaque",
                "data": data,
            }
            await self._client.create(_SECRETS, body, self._namespace)
        else:
            # With the version that was read: who changed it meanwhile makes this a conflict.
            body = {**secret, "data": {**(secret.get("data") or {}), **data}}
            await self._client.replace(_SECRETS, self._secret, body, self._namespace)
        _log.info("Secret %s has new certificates", self._secret, extra={"action": "certificate.made"})

    async def _trust(self, authorities: str) -> None:
        wanted = base64.b64encode(authorities.encode()).decode()
        try:
            there = await self._client.get(_CONFIGURATIONS, self._configuration)
            if trusted(there) - {wanted}:
                await self._client.patch(
                    _CONFIGURATIONS,
                    self._configuration,
                    ca_patch(there, authorities),
                    strategy="application/strategic-merge-patch+json",
                )
                _log.info(
                    "the API server is told to trust the webhook's authority", extra={"action": "certificate.trusted"}
                )
            self._no_configuration = False
        except NotFound:
            if not self._no_configuration:
                self._no_configuration = True
                _log.warning(
                    "there is no ValidatingWebhookConfiguration %r, so nobody asks this webhook; argosy install prints it",
                    self._configuration,
                    extra={"action": "certificate.no-configuration"},
                )


def _decoded(secret: Object | None) -> dict[str, str]:
    try:
        data = ((secret or {}).get("data") or {}).items()
        return {key: base64.b64decode(text, validate=True).decode() for key, text in data}
    except (binascii.Error, UnicodeDecodeError):
        return {}
