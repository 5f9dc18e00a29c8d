"""``argosy run`` from files, rows and mail to mail, with real servers on all sides: what comes while the process is killed is not
missing, and nobody gets a message that cannot be told from another.
"""

from __future__ import annotations

from email import message_from_bytes
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.brokers.sources.openssh import OpenSSH
from tests.brokers.sources.postgresql import PASSWORD as DATABASE_PASSWORD
from tests.brokers.sources.postgresql import PostgreSQL
from tests.cli.running import Run, free_port
from tests.peers.dovecot import PASSWORD as MAIL_PASSWORD
from tests.peers.dovecot import USER, Dovecot

_SOURCES = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: reading}}
spec:
  sftp:
    file:
      address: {{name: sftp, key: address}}
      username: {{name: sftp, key: username}}
      sshKeySecret: {{name: sftp, key: key}}
      hostKeys: [{host_key}]
      eventType: CREATE
      watchPathConfig: {{directory: {folder}/, pathRegexp: '\\.txt$'}}
      pollIntervalDuration: 100ms
  postgres:
    row:
      hostAddress: 127.0.0.1:{database}
      database: shop
      username: argosy
      password: {{name: database, key: password}}
      replication: {{slot: orders, tables: [orders], pollInterval: 100ms}}
  imap:
    mail:
      hostAddress: 127.0.0.1:{imap}
      security: none
      username: {user}
      password: {{name: mail, key: password}}
      markSeen: true
"""
_SENSOR = """
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: {name}}}
spec:
  dependencies: [{{name: event, eventSourceName: reading, eventName: {name}}}]
  triggers:
    - template:
        name: tell
        email:
          host: 127.0.0.1
          port: {port}
          from: argosy@example.com
          to: [ann@example.com]
          subject: x
          body: something has come
          parameters: [{{src: {{dependencyName: event, dataKey: {key}}}, dest: subject}}]
"""


class Inbox:
    """What a real SMTP server has taken: Message-IDs by subject."""

    def __init__(self) -> None:
        self.taken: dict[str, list[str]] = {}

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        mail = message_from_bytes(bytes(envelope.content or b""))
        self.taken.setdefault(mail["Subject"], []).append(mail["Message-ID"])
        return "250 OK"


def test_what_comes_while_the_process_is_dead_is_told_by_the_next(tmp_path: Path, run: Run) -> None:
    # Given a directory, a table and a mailbox, and sensors that tell by mail
    inbox, folder = Inbox(), tmp_path / "outgoing"
    folder.mkdir()
    smtp = Controller(inbox, hostname="127.0.0.1", port=free_port())
    with OpenSSH(tmp_path / "ssh") as ssh, PostgreSQL(tmp_path / "sql") as sql, Dovecot(tmp_path / "mail") as mail:
        smtp.start()
        try:
            sql.sql("CREATE TABLE orders (name text)")
            sql.sql("ALTER TABLE orders OWNER TO argosy")
            run.keep("sftp", address=f"127.0.0.1:{ssh.port}", username=ssh.user, key=ssh.private_key)
            run.keep("database", password=DATABASE_PASSWORD)
            run.keep("mail", password=MAIL_PASSWORD)
            given = {"host_key": ssh.host_key, "folder": folder, "database": sql.port, "imap": mail.port, "user": USER}
            run.write("sources.yaml", _SOURCES.format(**given))
            for name, key in (("file", "name"), ("row", "new.name"), ("mail", "subject")):
                run.write(f"{name}.yaml", _SENSOR.format(name=name, key=key, port=smtp.port))
            client = mail.client()

            def happen(number: int) -> None:
                (folder / f"file-{number}.txt").write_text("content")
                sql.sql(f"INSERT INTO orders VALUES ('row-{number}')")
                client.append("INBOX", "", "", f"Subject: mail-{number}\r\n\r\nHello.\r\n".encode())

            def told(count: int) -> bool:
                words = ("file-{}.txt", "row-{}", "mail-{}")
                return set(inbox.taken) == {word.format(number) for word in words for number in range(count)}

            run.start()
            run.until_ready()
            # When something happens in each, the process is killed, and something happens meanwhile
            happen(0)
            run.until(lambda: told(1), f"the first are told, not only {inbox.taken}")
            run.end(9)
            happen(1)
            run.start()
            run.until_ready()
            happen(2)
            # Then all of it is told, and what was told twice has one Message-ID
            run.until(lambda: told(3), "all are told")
            assert {subject: len(set(ids)) for subject, ids in inbox.taken.items() if len(set(ids)) != 1} == {}
            assert run.end() == 0
            client.logout()
            # And no secret stands in the log
            log = run.log.read_text()
            assert not [each for each in (DATABASE_PASSWORD, MAIL_PASSWORD, ssh.private_key) if each in log]
        finally:
            smtp.stop()
