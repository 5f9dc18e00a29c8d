"""A real Redis: a user with a password, TLS with client certificates, and an append-only file that survives SIGKILL.

``argosy`` may do everything, ``reader`` nothing but greet.
"""

from __future__ import annotations

import redis.asyncio as redis

from tests.brokers.sources.server import Server, program

PASSWORD = "p@ss/w:rd%41"


class RedisServer(Server):
    """One server."""

    password = PASSWORD
    anonymous = False
    """Whether anybody may do everything, too."""

    def command(self) -> list[str]:
        found = program("redis-server", "redis")
        config = self.folder / "redis.conf"
        config.write_text(
            f"""\
bind 127.0.0.1
port {self.port}
tls-port {self.tls_port}
tls-ca-cert-file {self.folder}/ca.crt
tls-cert-file {self.folder}/server.crt
tls-key-file {self.folder}/server.key
tls-auth-clients yes
dir {self.folder}
appendonly yes
appendfsync always
save ""
user default {"on nopass ~* &* +@all" if self.anonymous else "off"}
user argosy on >{self.password} ~* &* +@all
user reader on >{self.password} +ping +client +select
"""
        )
        return [found, str(config)]

    def set_password(self, password: str) -> None:
        self.password = password

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"127.0.0.1:{self.port}"

    def client(self, db: int = 0) -> redis.Redis:
        """A client of our own, as the user who may do everything."""
        return redis.Redis(
            port=self.port, db=db, username="argosy", password=self.password, protocol=2, socket_timeout=20
        )
