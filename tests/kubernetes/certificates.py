"""Throw-away keys and certificates for the test API server, made by the ``openssl`` command.

One authority signs one server certificate for loopback; a second key pair signs service account tokens.
They are worth nothing outside the folder they are made in.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

_NAMES = "IP:127.0.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"


def _openssl(folder: Path, *arguments: str) -> None:
    try:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"openssl {' '.join(arguments)} failed: {error.stderr}") from error


def authority(folder: Path) -> None:
    """Write ``ca.crt`` and ``ca.key``."""
    _openssl(
        folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-days", "30",
        "-subj", "/CN=argosy-tests", "-keyout", "ca.key", "-out", "ca.crt",
        "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )  # fmt: skip


def server(folder: Path, name: str, alternative_names: str = _NAMES) -> None:
    """Write ``name.crt`` and ``name.key``, signed by the authority in ``folder``; names as openssl's
    subjectAltName."""
    (folder / f"{name}.ext").write_text(
        f"subjectAltName={alternative_names}\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\n"
        "authorityKeyIdentifier=keyid\nkeyUsage=critical,digitalSignature\n"
    )
    _openssl(
        folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr",
    )  # fmt: skip
    _openssl(
        folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
        "-days", "30", "-extfile", f"{name}.ext", "-out", f"{name}.crt",
    )  # fmt: skip


def make(folder: Path) -> None:
    """Write everything that an API server needs: ``ca``, ``server`` (crt, key) and ``sa`` (key, pub)."""
    folder.mkdir(parents=True, exist_ok=True)
    authority(folder)
    server(folder, "server")
    _openssl(folder, "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "sa.key")
    _openssl(folder, "pkey", "-in", "sa.key", "-pubout", "-out", "sa.pub")
