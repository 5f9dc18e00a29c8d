"""``imap`` (ours): each mail message that comes into a folder of an IMAP server becomes one event.

The server says at once when something has come (IDLE); where it cannot, it is asked every ``pollInterval``. How far the
folder was read is kept on the bus by the messages' numbers (UIDVALIDITY and UID), so messages that come while nobody
reads are found, and none is read twice. A message is marked, moved or deleted only after the bus holds its event.

A folder whose numbers have become invalid (it was made anew, or restored) is read again from the time of the last message
on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from argosy.addresses import Address, host_and_port
from argosy.errors import EventInvalid
from argosy.manifests.fields import Duration, SecretKeySelector, TLSConfig
from argosy.sources._base import Source, SourceConfig, SourceContext
from argosy.sources._imap import connected
from argosy.sources._oauth import OAuth, access_token
from argosy.sources._raw import Raw, Wrapped, known

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class ImapConfig(SourceConfig):
    """Which folder of which server, which messages in it, and what becomes of them."""

    host_address: str
    """``host:port``, or a host with port 993 (143 where ``security`` is not ``tls``)."""
    security: Literal["tls", "startTLS", "none"] = "tls"
    """``tls`` from the first byte, ``startTLS`` on a connection that begins without, or ``none``: in the clear, the
    password too."""
    tls: TLSConfig | None = None
    """Whom to trust, and our certificate. Left out, whom the machine trusts."""
    username: str = Field(min_length=1)
    """Whose mail it is."""
    password: SecretKeySelector | None = None
    """The secret that holds the user's password."""
    oauth_token: SecretKeySelector | None = None
    """The secret that holds an OAuth 2 access token in place of a password (XOAUTH2), where something else keeps it
    fresh."""
    oauth: OAuth | None = None
    """Where an access token is asked for, whenever a connection is made, in place of a password (XOAUTH2)."""
    folder: str = Field(default="INBOX", min_length=1)
    """The folder."""
    search: str = "ALL"
    """Which messages are meant, in the words of IMAP's SEARCH command: ``UNSEEN FROM "alerts@example.com"``. Decided when a message is first
    seen; what is not meant then is passed over for good."""
    from_beginning: bool = False
    """The first start reads the messages that are there already; otherwise only those that come after it."""
    poll_interval: Duration = Field(60.0, gt=0)
    """The pause between two looks, where the server has no IDLE."""
    mark_seen: bool = False
    """Mark a message as read once its event is kept."""
    move_to: str = ""
    """Move a message to this folder, which must exist, once its event is kept."""
    delete: bool = False
    """Delete a message once its event is kept."""
    max_message_bytes: int = Field(default=10 << 20, ge=1)
    """Of larger messages only the headers are read; ``truncated`` says so."""
    max_attachment_bytes: int = Field(default=128 << 10, ge=0)
    """Larger attachments come without their content. An event as a whole must fit the bus, which often takes 1 MB."""

    @field_validator("folder", "move_to", "username", "search")
    @classmethod
    def _one_line(cls, text: str) -> str:
        if _CONTROL.search(text):
            raise ValueError(f"{text!r} has control characters")
        return text

    @field_validator("search")
    @classmethod
    def _plain(cls, text: str) -> str:
        if not text.isascii() or not text.strip():
            raise ValueError(f"{text!r} is no search; write for example UNSEEN, in ASCII")
        return text.strip()

    @model_validator(mode="after")
    def _complete(self) -> ImapConfig:
        host_and_port(self.host_address, 993)
        if [self.password, self.oauth_token, self.oauth].count(None) != 2:
            raise ValueError("needs one of password, oauthToken and oauth")
        if self.delete and self.move_to:
            raise ValueError("needs only one of moveTo and delete")
        return self

    @property
    def where(self) -> Address:
        """The server, as it stands in sentences."""
        encrypted = self.security == "tls"
        return Address("imaps" if encrypted else "imap", *host_and_port(self.host_address, 993 if encrypted else 143))

    @property
    def unverified(self) -> str:
        if self.security == "none":
            return "'security: none' sends the password in the clear, to whoever answers"
        if self.tls is not None and self.tls.insecure_skip_verify:
            return "'tls.insecureSkipVerify' gives the password to whoever answers"
        return ""


class ImapSource(Source[ImapConfig]):
    """Receives mail. An event's id is made of the folder's name and the message's UIDVALIDITY and UID.

    Addresses, subject and text are decoded. ``text`` and ``html`` are null where the message has no such part; the
    ``content`` of attachments is Base64.
    """

    kind: ClassVar[str] = "imap"
    config = ImapConfig
    exclusive: ClassVar[bool] = True
    acknowledges: ClassVar[bool] = True
    peer: ClassVar[str] = "real: Dovecot"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: imap
spec:
  imap:
    alerts:
      hostAddress: imap.example.com:993
      username: alerts@example.com
      password:
        name: alerts-mail
        key: password
      search: FROM "monitoring@example.com"
      moveTo: Handled
      filter:
        expression: subject contains "DOWN"
"""

    @classmethod
    def wrap(cls, config: ImapConfig, raw: Raw) -> Wrapped:
        from argosy.sources._imap_folder import About, event

        names = {"uid": "1", "uidValidity": "1", "flags": "", "internalDate": "01-Jan-1970 00:00:00 +0000"}
        known(raw, names, "property of a message")
        given: Mapping[str, str] = {**names, **raw.headers}
        try:
            about = About(
                int(given["uidValidity"]),
                int(given["uid"]),
                given["flags"].split(),
                len(raw.body),
                given["internalDate"],
            )
        except ValueError as error:
            raise EventInvalid(f"{given['uid']!r} and {given['uidValidity']!r} must be whole numbers") from error
        return Wrapped(event(config, about, raw.body), about.id(config))

    async def run(self, ctx: SourceContext[ImapConfig]) -> None:
        from argosy.sources._imap_folder import Folder
        from argosy.tls import client_context

        config = ctx.config
        async with connected(config.where, config.security, client_context(config.tls, ctx.secret)) as imap:
            if config.password is not None:
                await imap.login(config.username, ctx.secret(config.password))
            elif config.oauth_token is not None:
                await imap.login_by_token(config.username, ctx.secret(config.oauth_token))
            elif config.oauth is not None:
                await imap.login_by_token(config.username, await access_token(config.oauth, ctx.secret))
            await Folder(ctx, imap).run()
