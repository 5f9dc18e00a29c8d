"""A real OpenSSH with one user, who is whoever runs the tests, and a key of its own."""

from __future__ import annotations

import contextlib
import getpass
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.brokers.sources.server import Server, program


def new_key(path: Path) -> tuple[str, str]:
    """A key pair as text, private and public, in files at ``path`` and beside it."""
    if not path.exists():
        make = [program("ssh-keygen", "openssh"), "-q", "-t", "ed25519", "-N", "", "-C", "argosy", "-f", str(path)]
        subprocess.run(make, check=True)
    return path.read_text(), path.with_name(f"{path.name}.pub").read_text()


class OpenSSH(Server):
    """One server. The user may log in with ``private_key``."""

    user = getpass.getuser()
    host_key = ""
    private_key = ""
    key_name = "host"
    """The file of the key that it proves itself with."""

    def command(self) -> list[str]:
        found = program("sshd", "openssh")
        self.host_key = new_key(self.folder / self.key_name)[1].strip()
        self.private_key, public = new_key(self.folder / "user")
        (self.folder / "authorized_keys").write_text(public)
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # root's sshd insists on it
        config = self.folder / "sshd_config"
        config.write_text(
            f"""\
ListenAddress 127.0.0.1
Port {self.port}
HostKey {self.folder / self.key_name}
PidFile none
AuthorizedKeysFile {self.folder}/authorized_keys
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PermitRootLogin prohibit-password
MaxStartups 100
Subsystem sftp internal-sftp
"""
        )
        return [found, "-D", "-e", "-f", str(config)]

    def ports(self) -> list[int]:
        return [self.port]

    def kill(self) -> None:
        # A session is served by children, which would outlive the one that listens.
        if self._child is not None:
            for pid in [*descendants(self._child.pid)]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        super().kill()

    def set_password(self, password: str) -> None:
        raise NotImplementedError("its user has a key")


def descendants(pid: int) -> Iterator[int]:
    """The processes that a process has started, and those that they have."""
    with contextlib.suppress(FileNotFoundError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield int(child)
            yield from descendants(int(child))
