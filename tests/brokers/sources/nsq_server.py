"""Real servers of NSQ: an ``nsqd`` with TLS and an authentication server beside it, and an ``nsqlookupd``."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.brokers.sources.server import Server, built

PASSWORD = "p@ss/w:rd%41"


class Nsqd(Server):
    """One nsqd, whose messages stand on disk at once. ``lookups`` are the TCP addresses of nsqlookupds; ``extra`` are
    more options. With ``guarded``, only who shows the password may read, and nobody the topic ``forbidden``.
    """

    def __init__(self, folder: Path, *extra: str, lookups: tuple[str, ...] = (), guarded: bool = True) -> None:
        super().__init__(folder)
        self.http_port = 0
        self.password = PASSWORD
        self._extra = [*extra, *(f"--lookupd-tcp-address={address}" for address in lookups)]
        self._guard = _guard(self) if guarded else None

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        if self._guard is not None:
            self._guard.shutdown()
            self._guard.server_close()

    def command(self) -> list[str]:
        if self.tls_port != self.port:  # TLS begins on the same port
            self.http_port, self.tls_port = self.tls_port, self.port
        guard = [f"--auth-http-address=127.0.0.1:{self._guard.server_port}"] if self._guard is not None else []
        return [
            built("nsqd"),
            f"--tcp-address=127.0.0.1:{self.port}",
            f"--http-address=127.0.0.1:{self.http_port}",
            "--https-address=127.0.0.1:0",
            "--broadcast-address=127.0.0.1",
            f"--data-path={self.folder}",
            "--mem-queue-size=0",
            "--sync-every=1",
            f"--tls-cert={self.folder}/server.crt",
            f"--tls-key={self.folder}/server.key",
            f"--tls-root-ca-file={self.folder}/ca.crt",
            *guard,
            *self._extra,
        ]

    def ports(self) -> list[int]:
        return [self.port, self.http_port]

    def set_password(self, password: str) -> None:
        self.password = password

    @property
    def url(self) -> str:
        """As ``hostAddress`` has it."""
        return f"nsqd://127.0.0.1:{self.port}"


class Nsqlookupd(Server):
    """One nsqlookupd."""

    def command(self) -> list[str]:
        tcp, http = f"--tcp-address=127.0.0.1:{self.tls_port}", f"--http-address=127.0.0.1:{self.port}"
        return [built("nsqlookupd"), tcp, http, "--broadcast-address=127.0.0.1"]

    def set_password(self, password: str) -> None:
        raise NotImplementedError

    @property
    def url(self) -> str:
        """As ``hostAddress`` has it."""
        return f"127.0.0.1:{self.port}"

    @property
    def tcp(self) -> str:
        """Where an nsqd says what it has."""
        return f"127.0.0.1:{self.tls_port}"


def _guard(server: Nsqd) -> ThreadingHTTPServer:
    """The authentication server that nsqd asks, as NSQ's documents describe it."""

    class Guard(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = parse_qs(urlsplit(self.path).query)
            known = asked.get("secret") == [server.password]
            right = {"topic": "^[^f]", "channels": [".*"], "permissions": ["subscribe"]}
            answer = json.dumps(
                {"ttl": 3600, "identity": "argosy", "authorizations": [right] if known else []}
            ).encode()
            self.send_response(200 if known else 403)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the address that it would log has the secret."""

    guard = ThreadingHTTPServer(("127.0.0.1", 0), Guard)
    threading.Thread(target=guard.serve_forever, name="nsq-auth", daemon=True).start()
    return guard
