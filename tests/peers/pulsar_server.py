"""A real Pulsar, standalone: broker, bookie and metadata in one process, with tokens, TLS with client certificates, and rights.

``argosy`` may do everything; ``reader`` may read what it is granted, which is nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.brokers.sources.server import Server, built, program
from tests.conformance.source import free_port

_OPENED = (
    "java.base/jdk.internal.loader java.base/java.lang java.base/java.io java.base/java.util.zip java.base/sun.net "
    "java.base/java.nio java.base/jdk.internal.misc java.management/sun.management"
)

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class PulsarServer(Server):
    """One Pulsar, which lets in by token (``port``) or by token or certificate over TLS (``tls_port``).

    Who comes by ``back_port`` is sent to ``gate_listener``, where a test may have a gate.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.admin_port = self.back_port = 0
        # Listening for as long as this lives: a client that finds nobody between two tests may be given the port itself.
        self.gate_listener = socket.create_server(("127.0.0.1", 0))
        self._key = "k" * 32

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        self.gate_listener.close()

    def ports(self) -> list[int]:
        return [self.port, self.tls_port, self.admin_port]

    def set_password(self, password: str) -> None:
        """From the next start on, tokens are signed by another key; ``token`` makes the new ones."""
        self._key = password.ljust(32, "k")

    def token(self, role: str = "argosy") -> str:
        """A token that lets in as this role."""
        head, claims = (_url(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, {"sub": role}))
        signed = hmac.digest(self._key.encode(), f"{head}.{claims}".encode(), hashlib.sha256)
        return f"{head}.{claims}.{_url(signed)}"

    def command(self) -> list[str]:
        if not self.admin_port:
            self.admin_port, self.back_port = free_port(), free_port()
        config = self.folder / "standalone.conf"
        config.write_text("\n".join(f"{name}={value}" for name, value in self._properties().items()) + "\n")
        return [
            program("java", "pulsar"), "-Xms128m", "-Xmx400m", "-XX:MaxDirectMemorySize=256m", "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1", *(part for name in _OPENED.split() for part in ("--add-opens", f"{name}=ALL-UNNAMED")),
            "-Dio.netty.tryReflectionSetAccessible=true", "-cp", f"{built('pulsar')}/*",
            "org.apache.pulsar.PulsarStandaloneStarter", "--config", str(config), "--metadata-dir", f"{self.folder}/metadata",
            "--bookkeeper-dir", f"{self.folder}/bookie", "--bookkeeper-port", "0", "--num-bookies", "1", "-nfw", "-nss",
        ]  # fmt: skip

    def _starting(self) -> Iterator[None]:
        yield from super()._starting()
        # Its ports answer before its namespace is there.
        head = {"Authorization": f"Bearer {self.token()}"}
        deadline = time.monotonic() + 60
        while not _is_there(urllib.request.Request(f"{self.admin}/namespaces/public/default", headers=head)):
            if time.monotonic() > deadline:
                raise ChildProcessError(f"Pulsar has no namespace: {self.output()[-3000:]}")
            yield

    @property
    def url(self) -> str:
        """Without a token."""
        return f"pulsar://127.0.0.1:{self.port}"

    @property
    def admin(self) -> str:
        """The REST interface."""
        return f"http://127.0.0.1:{self.admin_port}/admin/v2"

    def _properties(self) -> dict[str, object]:
        key = base64.b64encode(self._key.encode()).decode()
        providers = "org.apache.pulsar.broker.authentication.AuthenticationProvider"
        one = dict.fromkeys((f"managedLedgerDefault{name}" for name in ("EnsembleSize", "WriteQuorum", "AckQuorum")), 1)
        return {
            **one,
            "clusterName": "standalone",
            "bindAddress": "127.0.0.1",
            "allowLoopback": "true",
            "advertisedListeners": (
                f"own:pulsar://127.0.0.1:{self.port},own:pulsar+ssl://127.0.0.1:{self.tls_port},"
                f"gate:pulsar://127.0.0.1:{self.gate_listener.getsockname()[1]}"
            ),
            "internalListenerName": "own",
            "bindAddresses": f"gate:pulsar://127.0.0.1:{self.back_port}",
            "brokerServicePort": self.port,
            "brokerServicePortTls": self.tls_port,
            "webServicePort": self.admin_port,
            "tlsCertificateFilePath": self.folder / "server.crt",
            "tlsKeyFilePath": self.folder / "server.key",
            "tlsTrustCertsFilePath": self.folder / "ca.crt",
            "authenticationEnabled": "true",
            "authenticationProviders": f"{providers}Token,{providers}Tls",
            "tokenSecretKey": f"data:;base64,{key}",
            "authorizationEnabled": "true",
            "superUserRoles": "argosy,client",
            "brokerClientAuthenticationPlugin": "org.apache.pulsar.client.impl.auth.AuthenticationToken",
            "brokerClientAuthenticationParameters": f"token:{self.token()}",
            "loadBalancerEnabled": "false",
            "systemTopicEnabled": "false",
            "topicLevelPoliciesEnabled": "false",
            "numIOThreads": 2,
            "numHttpServerThreads": 8,
            "defaultNumberOfNamespaceBundles": 1,
            "brokerShutdownTimeoutMs": 0,
            "brokerDeduplicationEnabled": "false",
            "brokerDeleteInactiveTopicsEnabled": "false",
            "acknowledgmentAtBatchIndexLevelEnabled": "true",
        }


def _is_there(request: urllib.request.Request) -> bool:
    try:
        with _OPENER.open(request, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
