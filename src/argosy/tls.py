"""TLS as manifests write it: the ``tls`` block of a client as an SSL context, and a certificate of ours in any context.

The texts come from Secrets. Nothing is written to disk: the ``ssl`` module reads keys from files only, so a
memory file lends it one.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable

from argosy.errors import ConfigError
from argosy.manifests.fields import SecretKeySelector, TLSConfig


def client_context(tls: TLSConfig | None, secret: Callable[[SecretKeySelector], str]) -> ssl.SSLContext:
    """What a client needs to speak TLS as ``tls`` says; None means to trust whom the machine trusts.

    ``secret`` gives the text of a Secret. Raises ConfigError, naming the field, if a text is no certificate
    or key, and whatever ``secret`` raises.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls is None:
        return context
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    if tls.ca_cert_secret is not None:
        # Naming an authority means: this one and no other (Go's RootCAs, which upstream sets).
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_verify_locations(cadata=secret(tls.ca_cert_secret))
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError(f"tls.caCertSecret {tls.ca_cert_secret.name!r} holds no PEM certificate") from error
    if tls.client_cert_secret is not None and tls.client_key_secret is not None:
        certificate, key = secret(tls.client_cert_secret), secret(tls.client_key_secret)
        present(context, certificate, key, "tls.clientCertSecret and tls.clientKeySecret")
    return context


def material(tls: TLSConfig | None, secret: Callable[[SecretKeySelector], str]) -> tuple[bool, str, str, str] | None:
    """What makes the TLS of a block another one than before, by the secrets as they are now; None where there is no block.

    Whether nobody looks who the server is, then the texts of the authority, of our certificate and of its key; it is secret.
    """
    if tls is None:
        return None
    authority, certificate, key = (
        secret(each) if each is not None else ""
        for each in (tls.ca_cert_secret, tls.client_cert_secret, tls.client_key_secret)
    )
    return tls.insecure_skip_verify, authority, certificate, key


def present(context: ssl.SSLContext, certificate: str, key: str, what: str) -> None:
    """Have the context show our certificate. Raises ConfigError, which names by ``what`` the two texts, if they are no pair."""
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(f"{certificate}\n{key}\n".encode())
        # A password is given so that an encrypted key fails instead of asking on the terminal.
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password="no password")
    except (ssl.SSLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        raise ConfigError(f"{what} are no pair of PEM certificate and unencrypted key ({reason})") from error
    finally:
        os.close(descriptor)
