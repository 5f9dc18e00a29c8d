"""A real Dovecot with one user, ``argosy``, who has a password, tokens that are signed with a key, and a Maildir.

Run by root it wants users of its own, and serves mail as ``nobody``; so its folder is outside of those of the tests, which are root's
alone. Run by anybody else, all of it runs as that user.
"""

from __future__ import annotations

import base64
import getpass
import hashlib
import hmac
import imaplib
import json
import os
import pwd
import shutil
import signal
import tempfile
import time
from pathlib import Path

from tests.brokers.sources.openssh import descendants
from tests.brokers.sources.server import Server, program

PASSWORD = 'p@ss w:rd"%41\\'
USER = "argosy"
_KEY = b"the key that tokens are signed with"


class Dovecot(Server):
    """One server."""

    password = PASSWORD

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.home = Path(tempfile.mkdtemp(prefix="argosy-dovecot-"))
        self.home.chmod(0o755)

    def command(self) -> list[str]:
        found = program("dovecot", "dovecot")
        root = os.geteuid() == 0
        mail = pwd.getpwnam("nobody") if root else pwd.getpwuid(os.geteuid())
        for name in ("ca.crt", "server.crt", "server.key"):
            shutil.copy(self.folder / name, self.home / name)
        box = self.home / "mail"
        box.mkdir(exist_ok=True)
        os.chown(box, mail.pw_uid, mail.pw_gid)
        keys = self.home / "keys" / "default" / "HS256"
        keys.mkdir(parents=True, exist_ok=True)
        (keys / "default").write_text(base64.b64encode(_KEY).decode())
        self.set_password(self.password)
        me = getpass.getuser()
        owners = (
            "" if root else f"default_internal_user = {me}\ndefault_internal_group = {me}\ndefault_login_user = {me}\n"
        )
        chroot = "" if root else "  chroot =\n"
        (self.home / "oauth2.conf").write_text(
            "introspection_mode = local\n"
            f"local_validation_key_dict = fs:posix:prefix={self.home}/keys/\n"
            "username_attribute = sub\n"
        )
        config = self.home / "dovecot.conf"
        config.write_text(
            f"""\
protocols = imap
listen = 127.0.0.1
base_dir = {self.home}/run
state_dir = {self.home}/state
log_path = /dev/stderr
{owners}
disable_plaintext_auth = no
auth_mechanisms = plain login xoauth2
auth_failure_delay = 0
auth_verbose = yes
first_valid_uid = 1
mail_location = maildir:{box}/Maildir
mail_max_userip_connections = 100
ssl = yes
ssl_cert = <{self.home}/server.crt
ssl_key = <{self.home}/server.key
ssl_ca = <{self.home}/ca.crt
ssl_verify_client_cert = yes
passdb {{
  driver = passwd-file
  mechanisms = plain login
  args = scheme=PLAIN {self.home}/users
}}
passdb {{
  driver = oauth2
  mechanisms = xoauth2
  args = {self.home}/oauth2.conf
}}
userdb {{
  driver = static
  args = uid={mail.pw_uid} gid={mail.pw_gid} home={box}
}}
service imap-login {{
{chroot}  process_min_avail = 1
  service_count = 0
  inet_listener imap {{
    port = {self.port}
  }}
  inet_listener imaps {{
    port = {self.tls_port}
    ssl = yes
  }}
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
{chroot}}}
service stats {{
{chroot}}}
namespace inbox {{
  inbox = yes
  mailbox Handled {{
    auto = create
  }}
}}
"""
        )
        return [found, "-F", "-c", str(config)]

    def set_password(self, password: str) -> None:
        self.password = password
        (self.home / "users").write_text(f"{USER}:{{PLAIN.B64}}{base64.b64encode(password.encode()).decode()}\n")

    def token(self, name: str = USER) -> str:
        """A token that says who somebody is."""
        now = int(time.time())
        head, claims = (
            {"alg": "HS256", "typ": "JWT"},
            {"sub": name, "iat": now - 10, "exp": now + 600, "scope": "mail"},
        )
        said = b".".join(_url(json.dumps(each).encode()) for each in (head, claims))
        return (said + b"." + _url(hmac.digest(_KEY, said, hashlib.sha256))).decode()

    def kill(self) -> None:
        if self._child is not None:
            # The master would start anew what dies, with its ports.
            _signal(self._child.pid, signal.SIGSTOP)
            while Path(f"/proc/{self._child.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "TtZ":
                time.sleep(0.001)
            for pid in [*descendants(self._child.pid)]:
                _signal(pid, signal.SIGKILL)
        super().kill()
        (self.home / "run" / "master.pid").unlink(missing_ok=True)

    def signal(self, which: signal.Signals) -> None:
        assert self._child is not None
        for pid in [*descendants(self._child.pid)]:
            _signal(pid, which)
        super().signal(which)

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        shutil.rmtree(self.home, ignore_errors=True)

    def client(self) -> imaplib.IMAP4:
        """A client of our own, logged in."""
        client = imaplib.IMAP4("127.0.0.1", self.port)
        client.login(USER, self.password)
        return client


def _url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _signal(pid: int, which: signal.Signals) -> None:
    try:
        os.kill(pid, which)
    except ProcessLookupError:
        return
