"""A real PostgreSQL with a role ``argosy`` that has a password, TLS with client certificates, and a log for logical
decoding.

It refuses to run as root, and then runs as ``postgres`` or ``nobody`` in a folder outside of those of the tests,
which are root's alone.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import asyncpg

from tests.brokers.sources.openssh import descendants
from tests.brokers.sources.server import Server
from tests.missing import missing

PASSWORD = "p@ss/w:rd%41"
SECRETS = {("db", "password"): PASSWORD}
"""What ``PostgreSQL.login`` names."""
_OWNERS = ("postgres", "nobody")


def _program(name: str) -> str:
    places = os.pathsep.join([*map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"))), os.environ.get("PATH", "")])
    found = shutil.which(name, path=places)
    if found is None:
        missing(f"{name} is not installed; get it with: tools/servers/install postgresql")
    return found


class PostgreSQL(Server):
    """One server with one database, ``shop``."""

    password = PASSWORD

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.home = Path(tempfile.mkdtemp(prefix="argosy-postgresql-"))
        self._as: list[str] = []
        if os.geteuid() == 0:
            known = {each.pw_name: each for each in pwd.getpwall()}
            owner = next(known[name] for name in _OWNERS if name in known)
            os.chown(self.home, owner.pw_uid, owner.pw_gid)
            self._as = ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]

    def login(self) -> dict[str, Any]:
        """The fields of a block by which a source comes in."""
        return {
            "hostAddress": f"127.0.0.1:{self.port}",
            "database": "shop",
            "username": "argosy",
            "password": {"name": "db", "key": "password"},
        }

    def command(self) -> list[str]:
        # Every table that it has is worth nothing: it need not wait for the disk.
        self.tls_port = self.port
        data = self.home / "data"
        if not data.exists():
            initdb = ["-D", str(data), "-U", "admin", "--auth=trust", "-E", "UTF8", "--no-locale", "--no-sync"]
            subprocess.run([*self._as, _program("initdb"), *initdb], check=True, capture_output=True, cwd="/")
            for name in ("ca.crt", "server.crt", "server.key"):
                shutil.copy(self.folder / name, data / name)
                os.chown(data / name, data.stat().st_uid, data.stat().st_gid)
                (data / name).chmod(0o600)
            access = "scram-sha-256"
            (data / "pg_hba.conf").write_text(
                "local all all trust\n"
                f"hostssl all all 127.0.0.1/32 {access} clientcert=verify-ca\n"
                f"hostnossl all all 127.0.0.1/32 {access}\n"
            )
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.home),
            "wal_level": "logical",
            "max_replication_slots": "40",
            "max_wal_senders": "2",
            "autovacuum": "off",
            "fsync": "off",
            "full_page_writes": "off",
            "ssl": "on",
            "ssl_ca_file": "ca.crt",
            "ssl_cert_file": "server.crt",
            "ssl_key_file": "server.key",
            "timezone": "Asia/Kathmandu",
            "datestyle": "SQL, DMY",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        # Changing the user takes back what ends the server with the test run, so it is said again.
        drop = [*self._as, "--pdeathsig", "KILL"] if self._as else []
        return [*drop, _program("postgres"), "-D", str(data), *options]

    def ports(self) -> list[int]:
        return [self.port]

    def start(self) -> None:
        super().start()
        self.sql(f"CREATE ROLE argosy LOGIN REPLICATION PASSWORD '{self.password}'", database="postgres")
        self.sql("CREATE DATABASE shop OWNER argosy", database="postgres")

    def sql(self, text: str, database: str = "shop") -> None:
        """Run a statement as the server's owner."""
        where = ["-h", str(self.home), "-p", str(self.port), "-U", "admin", "-d", database]
        command = [_program("psql"), "-Xq", *where, "-c", text]
        while True:
            done = subprocess.run(command, capture_output=True, text=True, cwd="/")
            if done.returncode == 0:
                return
            if not any(said in done.stderr for said in ("starting up", "not yet accepting", "No such file")):
                self.kill()
                raise RuntimeError(f"psql -c {text!r} failed: {done.stderr}")
            time.sleep(0.02)  # its port answers before it does, and before its socket is there

    def reader(self, slot: str, publication: str) -> subprocess.Popen[bytes]:
        """A process that holds a slot, as another reader of it does."""
        where = ["-h", str(self.home), "-p", str(self.port), "-U", "admin", "-d", "shop", "--slot", slot]
        options = ["-o", "proto_version=1", "-o", f"publication_names={publication}", "--start", "-f", "-"]
        command = [_program("pg_recvlogical"), *where, *options]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")

    def set_password(self, password: str) -> None:
        self.password = password
        self.sql(f"ALTER ROLE argosy PASSWORD '{password}'")

    def kill(self) -> None:
        if self._child is not None:
            for pid in [*descendants(self._child.pid)]:
                _signal(pid, signal.SIGKILL)
        super().kill()
        # What it shared between its processes is in its way otherwise.
        (self.home / "data" / "postmaster.pid").unlink(missing_ok=True)

    def signal(self, which: signal.Signals) -> None:
        assert self._child is not None
        for pid in [*descendants(self._child.pid)]:
            _signal(pid, which)
        super().signal(which)

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        shutil.rmtree(self.home, ignore_errors=True)

    async def client(self) -> Any:
        """A client of our own, as ``argosy``."""
        given: dict[str, Any] = {"user": "argosy", "password": self.password, "database": "shop", "ssl": False}
        while True:
            try:
                return await asyncpg.connect(host="127.0.0.1", port=self.port, **given)
            except (asyncpg.CannotConnectNowError, ConnectionError):
                await asyncio.sleep(0.02)  # it recovers, after a kill


def _signal(pid: int, which: signal.Signals) -> None:
    try:
        os.kill(pid, which)
    except ProcessLookupError:
        return
