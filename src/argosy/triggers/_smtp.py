"""Connections to SMTP servers, kept open between actions: one for each message that is under way, a few more that
wait for the next, and failures as sentences of the right class.

A connection that has waited may have been closed by the server; that is found out before a message is handed over, and then
another one is made. Passwords appear in no sentence, whatever a server says back.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from argosy.connecting import target
from argosy.errors import Rejected, TriggerError
from argosy.triggers._kept import digest

if TYPE_CHECKING:
    import aiosmtplib

_SECONDS = 60.0
"""How long a server may take to connect, and to answer each command."""
_QUIT_SECONDS = 1.0
_IDLE_SECONDS = 60.0
_IDLE_MOST = 8


@dataclass(frozen=True)
class Server:
    """Where mail is handed over, and who we are there. ``security`` is ``tls``, ``startTLS``, ``none``, or empty: encrypted
    where the server can, and always before a password is sent."""

    host: str
    port: int
    security: str
    username: str = field(repr=False)
    password: str = field(repr=False)
    trust: str
    """Names what TLS is done with, without telling it."""

    def __str__(self) -> str:
        scheme = "smtps" if self.security == "tls" else "smtp"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"

    @property
    def key(self) -> str:
        """The same for servers whose connections are interchangeable."""
        return digest(str(self), self.security, self.username, self.password, self.trust)

    def clean(self, text: str) -> str:
        """What a server says, on one line, without the password in it."""
        plain = f"\0{self.username}\0{self.password}".encode()
        for secret in (self.password, *(base64.b64encode(each).decode() for each in (plain, self.password.encode()))):
            if secret:
                text = text.replace(secret, "…")
        return " ".join(text.split())


class Refused(Exception):
    """The server does not take a message for a recipient. ``lasting``: another try cannot help."""

    def __init__(self, said: str, *, lasting: bool) -> None:
        super().__init__(said)
        self.lasting = lasting


class Connections:
    """The connections of one trigger."""

    def __init__(self) -> None:
        self._idle: list[tuple[str, float, aiosmtplib.SMTP]] = []

    async def close(self) -> None:
        """Take leave of the servers, and close."""
        import aiosmtplib

        for _, _, smtp in self._idle:
            try:
                async with asyncio.timeout(_QUIT_SECONDS):
                    await smtp.quit()
            except (aiosmtplib.SMTPException, OSError, TimeoutError):
                smtp.close()
        self._idle.clear()

    @contextlib.asynccontextmanager
    async def use(self, server: Server, tls: Callable[[], ssl.SSLContext]) -> AsyncIterator[Link]:
        """A connection for some messages, one after the other. ``tls`` may block. Raises Rejected or TriggerError."""
        link = Link(server, tls, self._waiting(server))
        try:
            yield link
        except BaseException:
            link.drop()
            raise
        if (smtp := link.smtp) is not None and smtp.is_connected and len(self._idle) < _IDLE_MOST:
            self._idle.append((server.key, asyncio.get_running_loop().time(), smtp))
        else:
            link.drop()

    def _waiting(self, server: Server) -> aiosmtplib.SMTP | None:
        """One that waits, if there is one; those that have waited for too long are closed."""
        now = asyncio.get_running_loop().time()
        for each in [each for each in self._idle if now - each[1] > _IDLE_SECONDS or not each[2].is_connected]:
            self._idle.remove(each)
            each[2].close()
        for each in reversed(self._idle):
            if each[0] == server.key:
                self._idle.remove(each)
                return each[2]
        return None


class Link:
    """A connection to one server, made when it is first needed."""

    def __init__(self, server: Server, tls: Callable[[], ssl.SSLContext], smtp: aiosmtplib.SMTP | None) -> None:
        self.smtp = smtp
        self._server = server
        self._tls = tls
        self._used = smtp is not None

    def drop(self) -> None:
        """Close it."""
        if self.smtp is not None:
            self.smtp.close()
            self.smtp = None

    async def send(self, sender: str, recipient: str, message: bytes, *, utf8: bool) -> str:
        """Hand one message over for one recipient; what the server says. Raises Refused, Rejected or TriggerError.

        ``utf8``: an address is not ASCII.
        """
        import aiosmtplib

        while True:
            smtp = await self._connected()
            try:
                return await self._transaction(smtp, sender, recipient, message, utf8=utf8)
            except aiosmtplib.SMTPServerDisconnected as error:
                self.drop()
                raise TriggerError(f"{self._server} hung up; whether it took the message is not known") from error
            except (aiosmtplib.SMTPTimeoutError, TimeoutError) as error:
                self.drop()
                raise TriggerError(f"{self._server} did not answer within {_SECONDS:.0f} s") from error
            except (OSError, ssl.SSLError) as error:
                self.drop()
                raise TriggerError(f"the connection to {self._server} was lost") from error
            except _Stale:
                self.drop()
                self._used = False

    async def _transaction(
        self, smtp: aiosmtplib.SMTP, sender: str, recipient: str, message: bytes, *, utf8: bool
    ) -> str:
        import aiosmtplib

        options = []
        if utf8:
            if not smtp.supports_extension("smtputf8"):
                raise Refused("the server takes only ASCII addresses (SMTPUTF8)", lasting=True)
            options = ["SMTPUTF8", "BODY=8BITMIME"]
        try:
            try:
                await smtp.mail(sender, options=options, encoding="utf-8" if utf8 else "ascii")
            except (aiosmtplib.SMTPServerDisconnected, OSError) as error:
                if self._used:  # it was closed while it waited, and knows nothing of this message
                    raise _Stale from error
                raise
            except aiosmtplib.SMTPResponseException as error:
                if self._used and error.code == 421:
                    raise _Stale from error
                raise
            await smtp.rcpt(recipient, encoding="utf-8" if utf8 else "ascii")
            answer = await smtp.data(message)
        except aiosmtplib.SMTPResponseException as error:
            said = self._server.clean(f"{error.code} {error.message}")
            # A server that says 421 closes the connection.
            if error.code == 421:
                self.drop()
            elif smtp.is_connected:
                with contextlib.suppress(aiosmtplib.SMTPException, OSError):
                    await smtp.rset()
            # Its words may be the message's own.
            raise Refused(said, lasting=error.code >= 500) from None
        self._used = True
        return self._server.clean(f"{answer.code} {answer.message}")

    async def _connected(self) -> aiosmtplib.SMTP:
        if self.smtp is None:
            self.smtp = await self._open()
        return self.smtp

    async def _open(self) -> aiosmtplib.SMTP:
        import aiosmtplib

        server = self._server
        opened = await self._socket()
        try:
            context = await asyncio.to_thread(self._tls)
            smtp = aiosmtplib.SMTP(
                # The certificate is that of the host in the manifest, wherever --resolve leads.
                hostname=server.host,
                sock=opened,
                local_hostname=_literal(opened),
                use_tls=server.security == "tls",
                start_tls=False,
                tls_context=context,
                timeout=_SECONDS,
            )
        except BaseException:
            opened.close()
            raise
        try:
            await smtp.connect()
            await smtp.ehlo()
            await self._encrypt(smtp, context)
            if server.username:
                await smtp.login(server.username, server.password)
        except aiosmtplib.SMTPResponseException as error:
            smtp.close()
            said = server.clean(f"{error.code} {error.message}")
            if isinstance(error, aiosmtplib.SMTPAuthenticationError):
                text = f"{server} refuses the user ({said}); check 'username' and 'smtpPassword'"
            else:
                text = f"{server} does not let us in: {said}"
            # The library's exception holds what was said as it was said.
            raise (Rejected if error.code >= 500 else TriggerError)(text) from None
        except BaseException as error:
            smtp.close()
            opened.close()
            raise self._why_not(error) from error
        return smtp

    def _why_not(self, error: BaseException) -> BaseException:
        import aiosmtplib

        server, cause = self._server, error.__cause__ or error
        if isinstance(error, Rejected | TriggerError) or not isinstance(error, Exception):
            return error
        for each in (error, cause):
            if isinstance(each, ssl.SSLCertVerificationError):
                return TriggerError(
                    f"the certificate of {server} is not trusted: {each.verify_message}; check tls.caCertSecret"
                )
            if isinstance(each, ssl.SSLError):
                return TriggerError(
                    f"{server} does not take our TLS ({each.reason or type(each).__name__}); is it a TLS port?"
                )
        if isinstance(error, aiosmtplib.SMTPTimeoutError | TimeoutError):
            return TriggerError(f"{server} did not answer within {_SECONDS:.0f} s; does it want security: tls?")
        if isinstance(error, aiosmtplib.SMTPException) and "AUTH" in str(error).upper():
            return Rejected(f"{server} offers no way to log in that we know; leave out 'username', or use another port")
        return TriggerError(f"{server} hung up while greeting; does it want another kind of connection (security)?")

    async def _encrypt(self, smtp: aiosmtplib.SMTP, context: ssl.SSLContext) -> None:
        server = self._server
        if server.security in ("tls", "none"):
            return
        if smtp.supports_extension("starttls"):
            await smtp.starttls(server_hostname=server.host, tls_context=context)
            await smtp.ehlo()
        elif server.security == "startTLS":
            raise Rejected(f"{server} offers no STARTTLS; use another port, or security: tls or none")
        elif server.username and not _is_loopback(server.host):
            raise Rejected(f"{server} offers no STARTTLS, and a password is not sent in the clear; security: none does")

    async def _socket(self) -> socket.socket:
        """A TCP connection to where the host leads."""
        server = self._server
        host, port = target(server.host, server.port)
        loop = asyncio.get_running_loop()
        failure: OSError | None = None
        try:
            async with asyncio.timeout(_SECONDS):
                for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
                    opened = socket.socket(family, kind, protocol)
                    opened.setblocking(False)
                    try:
                        await loop.sock_connect(opened, address)
                    except BaseException as error:
                        opened.close()
                        if not isinstance(error, OSError):
                            raise
                        failure = error
                    else:
                        return opened
        except TimeoutError as error:
            raise TriggerError(f"{server} did not answer within {_SECONDS:.0f} s") from error
        except socket.gaierror as error:
            raise TriggerError(f"no host {server.host!r} is known") from error
        if isinstance(failure, ConnectionRefusedError):
            raise TriggerError(f"nothing listens at {server}; is the server running, is the port right?") from failure
        raise TriggerError(f"{server} cannot be reached: {failure and failure.strerror}") from failure


class _Stale(Exception):
    """The connection was closed while it waited."""


def _literal(opened: socket.socket) -> str:
    """How we greet: by our address, for a pod has no name that anybody knows (RFC 5321, 4.1.3)."""
    address = ipaddress.ip_address(opened.getsockname()[0].partition("%")[0])
    return f"[IPv6:{address}]" if address.version == 6 else f"[{address}]"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
