"""A real Mosquitto: users with passwords, TLS with client certificates, sessions that survive SIGKILL, and a log that says
what was acknowledged.

``argosy`` may read and write everything but ``forbidden``. The TLS port wants a client's certificate.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

from tests.brokers.sources.server import Server, program
from tests.conformance.source import eventually

PASSWORD = "p@ss/w:rd%41"


class Mosquitto(Server):
    """One broker."""

    persistent = True
    """Whether sessions survive the broker."""
    anonymous = False
    """Whether anybody may do everything."""

    def command(self) -> list[str]:
        found = program("mosquitto", "mosquitto")
        passwords = self.folder / "passwords"
        if not passwords.exists():
            self.set_password(PASSWORD)
            passwords.chmod(0o644)  # the server may run as a user of its own
        (self.folder / "acl").write_text("user argosy\ntopic readwrite #\ntopic deny forbidden/#\n")
        config = self.folder / "mosquitto.conf"
        access = f"allow_anonymous false\npassword_file {passwords}\nacl_file {self.folder}/acl"
        if self.anonymous:
            access = "allow_anonymous true"
        # Run by root it changes to the user that this names.
        config.write_text(
            f"""\
user root
{access}
max_inflight_messages 200
max_queued_messages 10000
log_dest stderr
log_type all
connection_messages true
persistence {"true" if self.persistent else "false"}
persistence_location {self.folder}/
autosave_on_changes true
autosave_interval 1

listener {self.port} 127.0.0.1

listener {self.tls_port} 127.0.0.1
cafile {self.folder}/ca.crt
certfile {self.folder}/server.crt
keyfile {self.folder}/server.key
require_certificate true
"""
        )
        return [found, "-c", str(config)]

    def set_password(self, password: str) -> None:
        passwords = self.folder / "passwords"
        command = [program("mosquitto_passwd", "mosquitto"), "-b", "-c", str(passwords), "argosy", password]
        subprocess.run(command, check=True, capture_output=True)

    async def save(self) -> None:
        """Return once what it knows is on disk; SIGKILL loses what came since its last save."""
        database = self.folder / "mosquitto.db"

        def stamp() -> tuple[int, int]:
            return (found.st_ino, found.st_mtime_ns) if (found := _stat(database)) else (0, 0)

        before = stamp()
        self.signal(signal.SIGUSR1)
        await eventually(lambda: stamp() != before, "the broker has saved")

    @property
    def url(self) -> str:
        """Without a user."""
        return f"tcp://127.0.0.1:{self.port}"

    def acknowledged(self, client: str) -> int:
        """How many messages this client has acknowledged."""
        return len(re.findall(rf"Received PUBACK from {re.escape(client)} ", self.output()))


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None
