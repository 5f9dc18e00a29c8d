"""moto as a server: AWS's APIs as far as it emulates them, in memory. What it holds is gone when it ends.

It takes any credentials, until ``strict`` tells it to check signatures and rights as IAM would.
"""

from __future__ import annotations

import http.client
import sys
from typing import Any

import boto3
from botocore.config import Config

from tests.brokers.sources.server import Server

REGION = "us-east-1"
ACCOUNT = "123456789012"
_NO_CHECKS = 10**9


class MotoServer(Server):
    """One server, without TLS unless ``tls`` says so."""

    tls = False

    def command(self) -> list[str]:
        secured = ["-c", f"{self.folder}/server.crt", "-k", f"{self.folder}/server.key"] if self.tls else []
        # The host of a request is no bucket, whatever it is called; and lists come in small pages.
        environment = ["env", "S3_IGNORE_SUBDOMAIN_BUCKETNAME=true", "MOTO_S3_DEFAULT_MAX_KEYS=2"]
        return [*environment, sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port), *secured]

    def set_password(self, password: str) -> None:
        raise NotImplementedError("moto has no password of its own")

    def ports(self) -> list[int]:
        return [self.port]

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def client(self, service: str, key: str = "root", secret: str = "root", account: str = ACCOUNT) -> Any:
        """AWS's own client for one service."""
        verify = {"verify": f"{self.folder}/ca.crt"} if self.tls else {}
        return boto3.client(
            service, REGION, endpoint_url=self.url, aws_access_key_id=key, aws_secret_access_key=secret,
            config=Config(retries={"total_max_attempts": 1}), **verify,
        )  # fmt: skip

    def strict(self, *, after: int = 0) -> None:
        """Check signatures and rights from the call after the next ``after`` on."""
        self._tell("/moto-api/reset-auth", str(after))

    def lax(self) -> None:
        """Take any credentials again."""
        self.strict(after=_NO_CHECKS)

    def reset(self) -> None:
        """Forget everything."""
        self._tell("/moto-api/reset", "")

    def _tell(self, path: str, body: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request("POST", path, body)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        connection.close()
