"""A real SMTP server, aiosmtpd, in the test's own event loop: it keeps what it takes, and refuses, breaks off or waits as a
test wants it.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


@dataclass
class Taken:
    """One message, as it came."""

    sender: str
    recipients: list[str]
    mail: EmailMessage
    raw: bytes
    encrypted: bool
    user: str


class SmtpServer:
    """``tls`` makes it offer STARTTLS, or, with ``from_the_start``, speak nothing else."""

    def __init__(self, tls: ssl.SSLContext | None = None, *, from_the_start: bool = False, user: str = "") -> None:
        self.tls = tls
        self.from_the_start = from_the_start
        self.user = user
        self.password = ""
        self.taken: list[Taken] = []
        self.connections = 0
        self.answers: dict[str, str] = {}
        """What it says to a recipient, or to any (``*``), in place of OK."""
        self.login_answer = "535 5.7.8 Authentication credentials invalid"
        self.after_data = ""
        """What it says to a message in place of OK; ``hang up`` takes it and says nothing."""
        self.waiting = 0
        self.protocols: list[SMTP] = []
        self._gate = asyncio.Event()
        self._gate.set()
        self.seen_passwords: list[str] = []

    async def __aenter__(self) -> Self:
        given = {"ssl": self.tls} if self.from_the_start and self.tls is not None else {}
        self._server = await asyncio.get_running_loop().create_server(self._protocol, "127.0.0.1", 0, **given)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._gate.set()
        self.hang_up()
        self._server.close()
        await self._server.wait_closed()

    def hang_up(self) -> None:
        """Close every connection, without a word."""
        for protocol in self.protocols:
            if protocol.transport is not None:
                protocol.transport.close()
        self.protocols.clear()

    def hold(self) -> None:
        self._gate.clear()

    def release(self) -> None:
        self._gate.set()

    def _protocol(self) -> SMTP:
        self.connections += 1
        options: dict[str, Any] = {"authenticator": self._check, "auth_require_tls": False} if self.user else {}
        start_tls = None if self.from_the_start else self.tls
        protocol = SMTP(self, hostname="mail.example", tls_context=start_tls, enable_SMTPUTF8=True, **options)
        self.protocols.append(protocol)
        return protocol

    def _check(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.seen_passwords.append(data.password.decode())
        if (data.login.decode(), data.password.decode()) == (self.user, self.password):
            return AuthResult(success=True, auth_data=data.login.decode())
        # It says the password back, as some servers' logs would.
        return AuthResult(success=False, handled=False, message=f"{self.login_answer} ({data.password.decode()})")

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self.answers.get(address, self.answers.get("*", ""))
        if answer:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.waiting += 1
        try:
            await self._gate.wait()
        finally:
            self.waiting -= 1
        if self.after_data and self.after_data != "hang up":
            return self.after_data
        raw = bytes(envelope.content or b"")
        mail = message_from_bytes(raw, policy=policy.default)
        assert isinstance(mail, EmailMessage) and envelope.mail_from is not None
        encrypted = session.ssl is not None or self.from_the_start
        user = str(session.auth_data or "") if session.authenticated else ""
        self.taken.append(Taken(envelope.mail_from, list(envelope.rcpt_tos), mail, raw, encrypted, user))
        if self.after_data:
            server.transport.close()
        return "250 2.0.0 Ok: queued as 1234"
