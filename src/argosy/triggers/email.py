"""The ``email`` trigger: one message per recipient, handed over to an SMTP server.

The recipients do not see each other. Each message has a Message-ID that is made of the action's id and the recipient, the same at every
try, so mail systems and people can tell a repetition. Where a server takes a message for some recipients and not for all, it is
remembered who has it, and only the others are tried again.

What a server refuses with 5xx is refused for good, what with 4xx is tried again. Texts with line breaks in a header are
refused: they could add headers. Connections are kept between actions. TLS is verified; a password is never sent in the clear, except
to the machine itself or where ``security: none`` is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import hashlib
import json
import re
import ssl
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, getaddresses
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from argosy.errors import BusError, ConfigError, Rejected, TriggerError
from argosy.manifests.fields import OURS, Json, SecretKeySelector, TLSConfig, TriggerParameter
from argosy.tls import client_context, material
from argosy.triggers._base import Action, Outcome, Trigger, TriggerConfig, TriggerContext
from argosy.triggers._kept import digest
from argosy.triggers._smtp import Connections, Refused, Server

_SUBMISSION, _SUBMISSIONS = 587, 465
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,120}")
_MOST_KEPT = 1000
_MOST_TOLD = 20
_PARTING_SECONDS = 1.0
_POLICY = SMTP.clone(cte_type="7bit")


class EmailConfig(TriggerConfig):
    """The ``email`` block."""

    parameters: list[TriggerParameter] = Field(default_factory=list)
    """Change this block for each action."""
    username: str = ""
    """The user to log in as; empty means that nobody logs in."""
    smtp_password: SecretKeySelector | None = None
    """The secret that holds the user's password."""
    host: str = Field(min_length=1)
    """The SMTP server."""
    port: int = Field(0, ge=0, le=65535)
    """0 means 587, or 465 where ``security`` is ``tls``."""
    to: list[str] = Field(default_factory=list)
    """The recipients, each ``a@example.com`` or ``Ann <a@example.com>``. Each gets a message of its own."""
    from_: str = Field("", alias="from")
    """The sender."""
    subject: str = ""
    """One line."""
    body: str = ""
    """The text."""
    html: bool = Field(False, json_schema_extra=OURS)
    """The body is HTML."""
    reply_to: str = Field("", json_schema_extra=OURS)
    """Where answers go, if not to the sender."""
    security: Literal["", "tls", "startTLS", "none"] = Field("", json_schema_extra=OURS)
    """``tls`` from the first byte (empty means that on port 465), ``startTLS`` on a connection that begins without, ``none``: in the
    clear. Empty on other ports: STARTTLS where the server offers it, and always before a password is sent."""
    tls: TLSConfig | None = Field(None, json_schema_extra=OURS)
    """Whom to trust, and our certificate. Left out, whom the machine trusts."""


class _Mail(NamedTuple):
    """One message, ready to be sent."""

    recipient: str
    """The address in the envelope."""
    id: str
    sender: str
    text: bytes
    utf8: bool


class EmailTrigger(Trigger[EmailConfig]):
    """Sends mail."""

    kind: ClassVar[str] = "email"
    config = EmailConfig
    requires: ClassVar[tuple[str, ...]] = ("aiosmtplib",)
    extra: ClassVar[str] = "email"
    peer: ClassVar[str] = "real: aiosmtpd"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata:
  name: email
spec:
  dependencies:
    - name: order
      eventSourceName: webhook
      eventName: orders
  triggers:
    - template:
        name: confirm
        email:
          host: smtp.example.com
          port: 587
          username: shop
          smtpPassword:
            name: smtp
            key: password
          from: Shop <shop@example.com>
          to:
            - orders@example.com
          subject: A new order
          body: ""
          parameters:
            - src:
                dependencyName: order
                dataTemplate: "{{ .Input.body.customer }} has ordered {{ .Input.body.item }}."
              dest: body
"""

    def __init__(self, ctx: TriggerContext) -> None:
        super().__init__(ctx)
        self._connections = Connections()

    async def __aexit__(self, *exc: object) -> None:
        await self._connections.close()

    async def fire(self, config: EmailConfig, action: Action) -> Outcome:
        needed = {"to": config.to, "from": config.from_, "subject": config.subject, "body": config.body}
        if missing := [word for word, value in needed.items() if not value]:
            raise Rejected(f"email: {missing[0]!r} is empty; give it in the block or by a parameter")
        server = self._server(config)
        has_it = await self._have(action)
        answers: dict[str, Json] = {}
        failures: list[tuple[str, Refused]] = []
        try:
            async with self._connections.use(server, lambda: _context(self.ctx, config)) as link:
                for recipient in dict.fromkeys(config.to):
                    if recipient in has_it:
                        continue
                    try:
                        mail = _mail(config, action, recipient, self.ctx.clock.now())
                        said = await link.send(mail.sender, mail.recipient, mail.text, utf8=mail.utf8)
                        answers[recipient] = {"to": recipient, "messageId": mail.id, "answer": said}
                    except Refused as refused:
                        failures.append((recipient, refused))
        except TriggerError:
            await self._remember(action, {*has_it, *answers})
            raise
        except asyncio.CancelledError:
            # The process ends; the next try is another one's.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PARTING_SECONDS):
                    await self._remember(action, {*has_it, *answers})
            raise
        if failures:
            await self._remember(action, {*has_it, *answers})
            raise _failed(server, failures, [*has_it, *answers])
        await self._forget(action)
        count = len(dict.fromkeys(config.to))
        detail = {"recipients": list(answers.values())[:_MOST_TOLD]}
        return Outcome(f"{server} took the message for {count} recipient{'s' * (count > 1)}", detail)

    def _server(self, config: EmailConfig) -> Server:
        password = self.ctx.secret(config.smtp_password) if config.smtp_password is not None else ""
        port = config.port or (_SUBMISSIONS if config.security == "tls" else _SUBMISSION)
        trust = digest(material(config.tls, self.ctx.secret))
        security = config.security or ("tls" if port == _SUBMISSIONS else "")
        return Server(config.host, port, security, config.username, password, trust)

    async def _have(self, action: Action) -> list[str]:
        """Who has the message already, from a try before."""
        entry = await self.ctx.bucket.get(f"sent/{_key(action)}") if self.ctx.bucket is not None else None
        return list(json.loads(entry.value)["to"]) if entry is not None else []

    async def _remember(self, action: Action, recipients: set[str]) -> None:
        if self.ctx.bucket is None or not recipients:
            return
        try:
            kept = [key for key in await self.ctx.bucket.keys() if key.startswith("sent/")]
            if len(kept) >= _MOST_KEPT:
                await self._forget_oldest(kept)
            value = {"to": sorted(recipients), "at": self.ctx.clock.now().timestamp()}
            await self.ctx.bucket.put(f"sent/{_key(action)}", json.dumps(value).encode())
        except BusError as error:
            # The failure to be told is that of the mail.
            self.ctx.log.warning("who has the message of action %s could not be kept: %s", action.id, error)

    async def _forget_oldest(self, kept: list[str]) -> None:
        """Half of what is kept goes: actions that were dead-lettered and never redriven."""
        assert self.ctx.bucket is not None
        entries = [(key, await self.ctx.bucket.get(key)) for key in kept]
        dated = sorted((float(json.loads(entry.value)["at"]), key) for key, entry in entries if entry is not None)
        for _, key in dated[: _MOST_KEPT // 2]:
            await self.ctx.bucket.delete(key)

    async def _forget(self, action: Action) -> None:
        if self.ctx.bucket is not None and await self.ctx.bucket.get(f"sent/{_key(action)}") is not None:
            await self.ctx.bucket.delete(f"sent/{_key(action)}")


def _key(action: Action) -> str:
    return action.id if _PLAIN_ID.fullmatch(action.id) else hashlib.sha256(action.id.encode()).hexdigest()


def _context(ctx: TriggerContext, config: EmailConfig) -> ssl.SSLContext:
    try:
        return client_context(config.tls, ctx.secret)
    except ConfigError as error:
        raise Rejected(f"email: {error}") from error


def _mail(config: EmailConfig, action: Action, recipient: str, now: dt.datetime) -> _Mail:
    """The message for one recipient. Raises Rejected where nobody could get it, Refused where this one cannot."""
    for word, text in (("from", config.from_), ("subject", config.subject), ("replyTo", config.reply_to)):
        if _CONTROL.search(text):
            raise Rejected(f"email: {word!r} has a line break or another control character; it must be one line")
    try:
        sender = _address(config.from_)
        reply_to = _address(config.reply_to) if config.reply_to else None
    except ValueError as error:
        raise Rejected(f"email: 'from' or 'replyTo' is no address: {error}") from error
    try:
        to = _address(recipient)
    except ValueError as error:
        raise Refused(str(error), lasting=True) from error
    identity = hashlib.sha256(to.addr_spec.encode()).hexdigest()[:12]
    utf8 = not (to.addr_spec.isascii() and sender.addr_spec.isascii())
    message = EmailMessage(policy=_POLICY)
    message["Message-ID"] = f"<{_key(action)}.{identity}@{sender.domain}>"
    message["Date"] = format_datetime(now)
    message["From"], message["To"], message["Subject"] = sender, to, config.subject
    if reply_to is not None:
        message["Reply-To"] = reply_to
    # So that no machine answers (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(config.body, subtype="html" if config.html else "plain")
    written = message.as_bytes(policy=_POLICY.clone(utf8=True, cte_type="8bit") if utf8 else _POLICY)
    return _Mail(to.addr_spec, str(message["Message-ID"]), sender.addr_spec, written, utf8)


def _address(text: str) -> Address:
    """One address, its domain in ASCII. Raises ValueError, in a sentence."""
    if _CONTROL.search(text):
        raise ValueError(f"{text!r} has a control character")
    try:
        ((name, spec),) = getaddresses([text])
        local, _, domain = spec.rpartition("@")
        if not local or "." not in domain.strip(".") or any(letter.isspace() for letter in spec):
            raise ValueError(spec)
        domain = domain.encode("idna").decode()
        # The library takes a name that is not ASCII only in parts.
        return Address(name, addr_spec=f"{local}@{domain}") if local.isascii() else Address(name, local, domain)
    except (HeaderParseError, ValueError, IndexError) as error:
        raise ValueError(f"{text!r} is no address; write for example ann@example.com") from error


def _failed(server: Server, failures: list[tuple[str, Refused]], done: list[str]) -> TriggerError:
    """What failures for some recipients come to. While one may pass the action is tried again."""
    said = "; ".join(f"{recipient}: {refused}" for recipient, refused in failures[:5])
    more = f" and {len(failures) - 5} more" if len(failures) > 5 else ""
    others = f"; {len(done)} of the recipients have it, and do not get it again" if done else ""
    text = f"{server} does not take the message for {said}{more}{others}"
    return (Rejected if all(refused.lasting for _, refused in failures) else TriggerError)(text)
