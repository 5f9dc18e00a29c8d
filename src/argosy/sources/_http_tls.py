"""The certificate of an HTTPS port, read from Secret texts and read again at each handshake, so that a
renewed one is used.

A new text that cannot be used leaves the old certificate in place, with one warning. Nothing is written to
disk.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import NamedTuple

from argosy.errors import ArgosyError, ConfigError
from argosy.tls import present


class Texts(NamedTuple):
    """A certificate chain and its private key, and who may sign certificates of clients, all PEM."""

    certificate: str
    key: str
    authorities: str = ""
    """Empty: clients are asked for no certificate."""


class ServerTls:
    """What a port needs to speak TLS. ``read`` gives the texts as they are now; ``warn`` takes a sentence.

    Raises ConfigError if the texts are no pair of certificate and key, and whatever ``read`` raises.
    """

    def __init__(self, read: Callable[[], Texts], warn: Callable[[str], None]) -> None:
        self._read = read
        self._warn = warn
        self._seen = Texts(*read())
        self._current = self.context = _context(self._seen)
        self.context.sni_callback = self._hello

    @property
    def texts(self) -> Texts:
        """The texts in use, or the newest ones if they could not be used."""
        self.refresh()
        return self._seen

    def read_from(self, read: Callable[[], Texts]) -> None:
        """From now on ask ``read``. Raises ConfigError if what it gives cannot be used."""
        texts = Texts(*read())
        self._current = _context(texts)
        self._read, self._seen = read, texts

    def refresh(self) -> None:
        """Take a changed certificate into use."""
        try:
            texts = Texts(*self._read())
            if texts == self._seen:
                return
            self._seen = texts
            self._current = _context(texts)
        except ArgosyError as error:
            self._warn(f"the certificate stays as it was: {error}")

    def _hello(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        # OpenSSL asks at every handshake, also where the client names no server.
        self.refresh()
        connection.context = self._current


def _context(texts: Texts) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    present(context, texts.certificate, texts.key, "serverCertSecret and serverKeySecret")
    if texts.authorities:
        try:
            context.load_verify_locations(cadata=texts.authorities)
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError("verify.mtls.authorities hold no PEM certificate") from error
        context.verify_mode = ssl.CERT_REQUIRED
        # A session that is taken up again would not be verified again: an authority may be gone by then.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    return context
