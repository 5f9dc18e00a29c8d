"""Where the Kubernetes API server is, how it is trusted, and who we say we are.

The order is kubectl's: the files of ``KUBECONFIG``, else ``~/.kube/config``, else the pod's service account.
Only the chosen context is read strictly, so a broken neighbour in the file does no harm. Credentials that
expire (service account tokens, exec plug-ins) are read again when they are due and when the server refuses
them; ``client`` asks for that.

The kubeconfig is read here rather than with lightkube's classes: those know neither
``client.authentication.k8s.io/v1``, nor ``tls-server-name``, nor a list of files in ``KUBECONFIG``, and
importing them costs 6 MB in every pod.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import datetime as dt
import os
import ssl
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import yaml

from argosy.errors import TriggerError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its service account (Kubernetes documentation, "Accessing the API from within a Pod")."""
_TOKEN_READ_AGAIN_SECONDS = (
    60.0  # client-go reads token files again after a minute; the kubelet rotates at 80 % of their life
)
_EXEC_VERSIONS = (
    "client.authentication.k8s.io/v1",
    "client.authentication.k8s.io/v1beta1",
    "client.authentication.k8s.io/v1alpha1",
)


class Credentials(ABC):
    """Who we are, as the value of an ``Authorization`` header. Never shows itself in ``repr``."""

    @abstractmethod
    async def authorization(self, *, refused: bool) -> str | None:
        """The header's value, or None for no header. ``refused`` says that the server did not accept the last
        one.
        """


class _Fixed(Credentials):
    def __init__(self, header: str | None) -> None:
        self._header = header

    async def authorization(self, *, refused: bool) -> str | None:
        return self._header


class _TokenFile(Credentials):
    """A bearer token in a file that someone else keeps fresh."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._header = ""
        self._read_at = 0.0

    async def authorization(self, *, refused: bool) -> str | None:
        now = time.monotonic()
        if refused or not self._header or now - self._read_at > _TOKEN_READ_AGAIN_SECONDS:
            try:
                token = (await asyncio.to_thread(self._path.read_text)).strip()
            except OSError as error:
                what = f"the token file {str(self._path)!r} for the Kubernetes API"
                raise TriggerError(f"{what} cannot be read: {error.strerror}") from error
            self._header, self._read_at = f"Bearer {token}", now
        return self._header


class _Exec(msgspec.Struct):
    command: str
    api_version: str = msgspec.field(name="apiVersion")
    args: list[str] | None = None
    env: list[dict[str, str]] | None = None
    install_hint: str = msgspec.field(name="installHint", default="")


class _ExecStatus(msgspec.Struct):
    token: str | None = None
    expires: dt.datetime | None = msgspec.field(name="expirationTimestamp", default=None)
    certificate: str | None = msgspec.field(name="clientCertificateData", default=None)
    key: str | None = msgspec.field(name="clientKeyData", default=None)


class _ExecAnswer(msgspec.Struct):
    status: _ExecStatus


class _Plugin(Credentials):
    """A credential plug-in: a program that prints an ExecCredential (Kubernetes documentation, "client-go
    credential plugins").
    """

    def __init__(self, spec: _Exec, folder: Path, context: ssl.SSLContext) -> None:
        self._spec = spec
        self._folder = folder
        self._context = context
        self._status: _ExecStatus | None = None
        self._lock = asyncio.Lock()

    async def authorization(self, *, refused: bool) -> str | None:
        async with self._lock:
            status = self._status
            if status is None or refused or (status.expires and status.expires <= dt.datetime.now(dt.UTC)):
                self._status = status = await self._run()
                if status.certificate and status.key:
                    await asyncio.to_thread(
                        _load_certificate, self._context, status.certificate.encode(), status.key.encode()
                    )
            return f"Bearer {status.token}" if status.token else None

    async def _run(self) -> _ExecStatus:
        spec, what = self._spec, f"the credential plug-in {self._spec.command!r} of the kubeconfig"
        # A command with a slash is relative to the kubeconfig; a bare one is looked up on PATH (client-go
        # does the same).
        command = str(self._folder / spec.command) if "/" in spec.command else spec.command
        request = {"apiVersion": spec.api_version, "kind": "ExecCredential", "spec": {"interactive": False}}
        environment = {
            **os.environ,
            **{variable["name"]: variable["value"] for variable in spec.env or ()},
            "KUBERNETES_EXEC_INFO": msgspec.json.encode(request).decode(),
        }
        pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        try:
            process = await asyncio.create_subprocess_exec(
                command, *(spec.args or ()), env=environment, stdin=null, stdout=pipe, stderr=null
            )
        except OSError as error:
            hint = f"; {spec.install_hint}" if spec.install_hint else ""
            raise TriggerError(f"{what} cannot be started: {error.strerror}{hint}") from error
        try:
            output, _ = await process.communicate()
        except asyncio.CancelledError:
            if process.returncode is None:
                process.kill()
                await process.wait()
            raise
        if process.returncode:
            raise TriggerError(f"{what} ended with status {process.returncode}; run it by hand to see why")
        try:
            return msgspec.json.decode(output, type=_ExecAnswer).status
        except msgspec.DecodeError as error:
            raise TriggerError(f"{what} did not print an ExecCredential with a status") from error


@dataclass(frozen=True, kw_only=True)
class Access:
    """An API server, and how to reach it. ``origin`` says in words where this was read."""

    server: str
    namespace: str
    origin: str
    tls: ssl.SSLContext = field(repr=False)
    server_name: str = ""
    """The name in the server's certificate where it is not the host of ``server`` (``tls-server-name``)."""
    trust: ssl.SSLContext | None = field(default=None, repr=False)
    """``tls`` without a certificate of ours, for who acts as somebody else; None where ``tls`` never has one."""
    proxy: str = field(default="", repr=False)
    credentials: Credentials = field(repr=False)


class _Cluster(msgspec.Struct):
    server: str
    authority: str = msgspec.field(name="certificate-authority", default="")
    authority_data: str = msgspec.field(name="certificate-authority-data", default="")
    insecure: bool = msgspec.field(name="insecure-skip-tls-verify", default=False)
    server_name: str = msgspec.field(name="tls-server-name", default="")
    proxy: str = msgspec.field(name="proxy-url", default="")


class _User(msgspec.Struct):
    token: str = ""
    token_file: str = msgspec.field(name="tokenFile", default="")
    username: str = ""
    password: str = ""
    certificate: str = msgspec.field(name="client-certificate", default="")
    certificate_data: str = msgspec.field(name="client-certificate-data", default="")
    key: str = msgspec.field(name="client-key", default="")
    key_data: str = msgspec.field(name="client-key-data", default="")
    exec: _Exec | None = None
    auth_provider: dict[str, Any] | None = msgspec.field(name="auth-provider", default=None)


class _Context(msgspec.Struct):
    cluster: str
    user: str = ""
    namespace: str = ""


def load(
    context: str = "",
    *,
    environment: Mapping[str, str] | None = None,
    service_account: Path = SERVICE_ACCOUNT,
) -> Access:
    """Read the files and say where the API server is. Blocks on files; touches no network.

    Raises TriggerError, with what to do, where there is neither a usable kubeconfig nor a service account.
    """
    environment = os.environ if environment is None else environment
    named = [Path(name).expanduser() for name in environment.get("KUBECONFIG", "").split(os.pathsep) if name]
    home = Path(environment.get("HOME") or Path.home()) / ".kube" / "config"
    files = [path for path in named or [home] if path.is_file()]
    if files:
        return _from_files(files, context)
    if named:
        raise TriggerError(
            f"KUBECONFIG names {', '.join(repr(str(path)) for path in named)}, where there is no file;"
            " correct it, or unset it"
        )
    if (service_account / "token").is_file():
        return _from_service_account(service_account, environment)
    raise TriggerError(
        f"there is no way to a Kubernetes API server: no {str(home)!r}, no KUBECONFIG in the environment,"
        " and this is not a pod with a service account; point KUBECONFIG at a kubeconfig file"
    )


def _from_service_account(folder: Path, environment: Mapping[str, str]) -> Access:
    host, port = (
        environment.get("KUBERNETES_SERVICE_HOST", ""),
        environment.get("KUBERNETES_SERVICE_PORT", "443"),
    )
    if not host:
        raise TriggerError(
            f"{str(folder)!r} holds a service account, but KUBERNETES_SERVICE_HOST, which says where the"
            " API server is, is not set"
        )
    try:
        tls = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        namespace = (folder / "namespace").read_text().strip()
    except OSError as error:
        raise TriggerError(f"the pod's service account in {str(folder)!r} cannot be read: {error}") from error
    return Access(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        namespace=namespace or "default",
        origin="the pod's service account",
        tls=tls,
        credentials=_TokenFile(folder / "token"),
    )


def _from_files(files: list[Path], wanted: str) -> Access:
    # As kubectl merges them: the first file that knows a name wins, and so does the first current-context.
    entries: dict[str, dict[str, tuple[Any, Path]]] = {"clusters": {}, "users": {}, "contexts": {}}
    current = ""
    for path in files:
        document = _read(path)
        current = current or str(document.get("current-context") or "")
        for section, found in entries.items():
            for item in document.get(section) or ():
                if isinstance(item, dict) and isinstance(item.get("name"), str):
                    found.setdefault(item["name"], (item.get(section[:-1]), path))
    origin = "kubeconfig " + ", ".join(repr(str(path)) for path in files)
    name = wanted or current
    if not name:
        raise TriggerError(f"{origin} has no current-context; choose one: kubectl config use-context NAME")
    chosen, _ = _entry(entries, "contexts", name, origin, _Context)
    cluster, cluster_file = _entry(entries, "clusters", chosen.cluster, origin, _Cluster)
    user, user_file = _User(), cluster_file
    if chosen.user:
        user, user_file = _entry(entries, "users", chosen.user, origin, _User)
    origin += f", context {name!r}"
    tls = _trust(cluster, cluster_file, origin)
    certified = user.certificate or user.certificate_data or user.exec
    return Access(
        server=cluster.server,
        namespace=chosen.namespace or "default",
        origin=origin,
        tls=tls,
        trust=_trust(cluster, cluster_file, origin) if certified else None,
        server_name=cluster.server_name,
        proxy=cluster.proxy,
        credentials=_credentials(user, user_file, tls, origin),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        document = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except OSError as error:
        raise TriggerError(f"kubeconfig {str(path)!r} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        # The parser's own words would quote the file, and the file holds secrets.
        raise TriggerError(f"kubeconfig {str(path)!r} is not YAML") from error
    if not isinstance(document, dict):
        raise TriggerError(f"kubeconfig {str(path)!r} is empty or not a mapping")
    return document


def _entry(
    entries: dict[str, dict[str, tuple[Any, Path]]], section: str, name: str, origin: str, model: type[Any]
) -> tuple[Any, Path]:
    if name not in entries[section]:
        known = ", ".join(sorted(entries[section])) or "none"
        raise TriggerError(f"{origin} has no entry {name!r} under {section}; it has: {known}")
    value, path = entries[section][name]
    try:
        return msgspec.convert(value or {}, model), path
    except msgspec.ValidationError as error:
        raise TriggerError(f"{origin}: entry {name!r} under {section} is not usable: {error}") from error


def _trust(cluster: _Cluster, file: Path, origin: str) -> ssl.SSLContext:
    try:
        if cluster.authority_data:
            context = ssl.create_default_context(cadata=_decoded(cluster.authority_data).decode())
        elif cluster.authority:
            context = ssl.create_default_context(cafile=str(file.parent / cluster.authority))
        else:
            context = ssl.create_default_context()
    except (OSError, ValueError, binascii.Error) as error:
        raise TriggerError(f"{origin}: the cluster's certificate authority cannot be used: {error}") from error
    if cluster.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _credentials(user: _User, file: Path, tls: ssl.SSLContext, origin: str) -> Credentials:
    try:
        certificate = _material(user.certificate_data, user.certificate, file)
        key = _material(user.key_data, user.key, file)
        if certificate and key:
            _load_certificate(tls, certificate, key)
    except (OSError, ValueError, binascii.Error) as error:
        raise TriggerError(f"{origin}: the client certificate or its key cannot be used") from error
    if user.token_file:
        return _TokenFile(file.parent / user.token_file)
    if user.token:
        return _Fixed(f"Bearer {user.token}")
    if user.exec:
        if user.exec.api_version not in _EXEC_VERSIONS:
            raise TriggerError(f"{origin}: credential plug-ins of version {user.exec.api_version!r} are not supported")
        return _Plugin(user.exec, file.parent, tls)
    if user.username:
        pair = base64.b64encode(f"{user.username}:{user.password}".encode()).decode()
        return _Fixed(f"Basic {pair}")
    if user.auth_provider:
        raise TriggerError(f"{origin}: auth-provider was removed from Kubernetes; use an exec plug-in or a token")
    return _Fixed(None)


def _material(data: str, path: str, file: Path) -> bytes:
    if data:
        return _decoded(data)
    return (file.parent / path).read_bytes() if path else b""


def _decoded(data: str) -> bytes:
    """Base64 with nothing else in it; what decodes to nothing would mean to trust whomever the machine
    trusts.
    """
    raw = base64.b64decode("".join(data.split()), validate=True)
    if not raw:
        raise ValueError("it is empty")
    return raw


def _load_certificate(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    # OpenSSL takes our certificate from files only; this one is private (0600) and gone when the function
    # returns.
    with tempfile.NamedTemporaryFile() as file:
        file.write(certificate.rstrip(b"\n") + b"\n" + key)
        file.flush()
        context.load_cert_chain(file.name)
