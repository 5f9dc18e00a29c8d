"""``nats``: each message of a NATS subject becomes one event.

This is core NATS, which keeps no messages: what is published while nobody listens is lost, and so is what a connection
has not carried when it breaks. At most 64 messages are in ``emit`` at a time; while they are, nothing is read, and the
server ends the connection when more waits than it keeps for a client (``max_pending``). On its way out the source
takes what the server has sent already.

``_nats_protocol`` speaks with the server, ``_nats_keys`` signs.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import Callable
from typing import ClassVar
from urllib.parse import unquote, urlsplit

from pydantic import ConfigDict, Field, field_validator, model_validator

from argosy.errors import EventInvalid, EventTooLarge, SourceError
from argosy.lang import gojson
from argosy.manifests.fields import Backoff, BasicAuth, Model, SecretKeySelector, TLSConfig
from argosy.sources._base import Source, SourceConfig, SourceContext
from argosy.sources._http_body import raw_json
from argosy.sources._in_flight import InFlight
from argosy.sources._nats_keys import from_credentials, from_seed
from argosy.sources._nats_protocol import Login, Message, Pong, Session
from argosy.sources._raw import Raw, Wrapped, tail
from argosy.sources._reaching import Address, host_and_port, patiently

_DRAIN_SECONDS = 1.0
_MESSAGE_ID = "Nats-Msg-Id"


class NatsAuth(Model):
    """Who we are: the first of these that is given."""

    basic: BasicAuth | None = None
    """User name and password."""
    token: SecretKeySelector | None = None
    nkey: SecretKeySelector | None = None
    """The seed of a user's key (``SU…``)."""
    credential: SecretKeySelector | None = None
    """The text of a ``.creds`` file."""

    @model_validator(mode="after")
    def _complete(self) -> NatsAuth:
        if self.basic is not None and (self.basic.username is None or self.basic.password is None):
            raise ValueError("basic needs username and password together")
        return self


class NatsConfig(SourceConfig):
    """One subject of a server."""

    model_config = ConfigDict(hide_input_in_errors=True)

    url: str
    """``nats://host:4222``, or ``tls://`` to demand TLS. Several, separated by commas, are tried in turn."""
    subject: str
    """A subject, with ``*`` for one token and ``>`` for all tokens at the end."""
    queue: str | None = Field(default=None, min_length=1)
    """A queue group: of all its members, one receives each message."""
    auth: NatsAuth | None = None
    """Credentials; what the URL says of them does not count then."""
    tls: TLSConfig | None = None
    """With this block TLS is demanded; without it, it is spoken where the server wants it."""
    connection_backoff: Backoff | None = None
    """Pauses between the tries to connect, before the failure is reported and the runtime's own pauses begin."""
    json_body: bool = False
    """Whether the message is JSON, and stands as such in ``body``; else ``body`` is its bytes in base64."""

    @field_validator("url")
    @classmethod
    def _readable(cls, url: str) -> str:
        _servers(url)
        return url

    @field_validator("subject")
    @classmethod
    def _tokens(cls, subject: str) -> str:
        tokens = subject.split(".")
        if any(not token or any(letter.isspace() for letter in token) for token in tokens) or ">" in tokens[:-1]:
            raise ValueError("is no subject: tokens between dots without blanks, '>' alone at the end")
        return subject

    @field_validator("queue")
    @classmethod
    def _one_word(cls, queue: str | None) -> str | None:
        if queue is not None and len(queue.split()) != 1:
            raise ValueError("is no name of a queue group: it has blanks")
        return queue


class Nats(Source[NatsConfig]):
    """Receives the messages of one subject. An event's id is the header ``Nats-Msg-Id``, where its sender gave one."""

    kind: ClassVar[str] = "nats"
    config = NatsConfig
    exclusive: ClassVar[bool] = True
    acknowledges: ClassVar[bool] = False
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: nats
spec:
  nats:
    example:
      url: nats://nats.messaging:4222
      subject: orders.*
      jsonBody: true
      auth:
        credential:
          name: nats
          key: user.creds
"""

    @classmethod
    def wrap(cls, config: NatsConfig, raw: Raw) -> Wrapped:
        headers = {name: [value] for name, value in raw.headers.items() if name != "subject"}
        message = Message(raw.headers.get("subject", config.subject), raw.body, headers)
        return Wrapped(_read(config, message), _name(message))

    async def run(self, ctx: SourceContext[NatsConfig]) -> None:
        config = ctx.config

        async def keep(message: Message) -> None:
            try:
                await ctx.emit(_read(config, message), id=_name(message))
            except (EventInvalid, EventTooLarge) as error:
                ctx.refused(f"{error} (message of subject {message.subject!r}); dropped")

        session = await patiently(ctx, config.connection_backoff, lambda: _connect(ctx))
        work = InFlight()

        async def take() -> None:
            listening = False
            try:
                while True:
                    await work.free()
                    while isinstance(found := await session.next(), Pong):
                        if not listening:  # the first one answers the subscription
                            listening = True
                            of = f" of queue group {config.queue!r}" if config.queue else ""
                            ctx.listening(f"subject {config.subject!r}{of} of {session.where}")
                    work.begin(keep(found))
            except asyncio.CancelledError:
                # A member of a queue group was given these, and nobody else was.
                with contextlib.suppress(TimeoutError, SourceError):
                    async with asyncio.timeout(_DRAIN_SECONDS):
                        session.unsubscribe()
                        while isinstance(found := await session.next(), Message):
                            await work.free()
                            work.begin(keep(found))
                raise

        try:
            session.subscribe(config.subject, config.queue or "")
            await work.run(take())
        finally:
            await session.end()


def _read(config: NatsConfig, message: Message) -> bytes:
    """The event's data as JSON text, in upstream's shape. Raises EventInvalid if the body is not what it should be."""
    body = raw_json(message.body) if config.json_body else b'"%b"' % base64.b64encode(message.body)
    head = gojson.dumps({"subject": message.subject}, sort_keys=False)[:-1]
    headers = b',"header":%b' % gojson.dumps(message.headers) if message.headers else b""
    return b'%b,"body":%b%b%b}' % (head, body, headers, tail(config.metadata))


def _name(message: Message) -> str | None:
    return (message.headers.get(_MESSAGE_ID) or [""])[0] or None


async def _connect(ctx: SourceContext[NatsConfig]) -> Session:
    """A session at the first server that lets us in, by the secrets as they are now."""
    from argosy.sources._tls import client_context

    config = ctx.config
    reasons: list[str] = []
    cause: SourceError | None = None

    def tls() -> ssl.SSLContext:
        return client_context(config.tls, ctx.secret)

    given = _credentials(ctx)
    for where, user, password in _servers(config.url):
        login = given or _by_url(ctx, user, password)
        try:
            return await Session.begin(where, tls, config.tls is not None or where.scheme == "tls", login)
        except SourceError as error:
            reasons.append(str(error))
            cause = error
    raise SourceError("; ".join(reasons)) from cause


def _client_name(ctx: SourceContext[NatsConfig]) -> str:
    return f"argosy {ctx.namespace}/{ctx.event_source}/{ctx.event_name}"


def _by_url(ctx: SourceContext[NatsConfig], user: str, password: str | None) -> Login:
    if user and password is None:
        return Login(_client_name(ctx), token=user)
    return Login(_client_name(ctx), user=user, password=password or "")


def _credentials(ctx: SourceContext[NatsConfig]) -> Login | None:
    auth, name = ctx.config.auth, _client_name(ctx)
    read: Callable[[SecretKeySelector], str] = ctx.secret
    if auth is None:
        return None
    if auth.basic is not None and auth.basic.username and auth.basic.password:
        return Login(name, user=read(auth.basic.username), password=read(auth.basic.password))
    if auth.token is not None:
        return Login(name, token=read(auth.token))
    if auth.nkey is not None:
        return Login(name, signer=from_seed(read(auth.nkey), f"auth.nkey {auth.nkey.name!r}"))
    if auth.credential is not None:
        what = f"auth.credential {auth.credential.name!r}"
        return Login(name, signer=from_credentials(read(auth.credential), what))
    return None


def _servers(url: str) -> list[tuple[Address, str, str | None]]:
    """The servers of a URL, and the user and password in each. Raises ValueError, without the URL's text."""
    found = []
    for each in url.split(","):
        scheme, given, rest = each.strip().partition("://")
        if not given:
            scheme, rest = "nats", each.strip()
        if scheme not in ("nats", "tls"):
            raise ValueError("must begin with nats:// or tls://")
        try:
            parts = urlsplit(f"//{rest}")
            host, port = host_and_port(parts.netloc.rpartition("@")[2], 4222)
        except ValueError:
            raise ValueError("cannot be read; write for example nats://nats.messaging:4222") from None
        user = unquote(parts.username or "")
        found.append((Address(scheme, host, port), user, unquote(parts.password) if parts.password else None))
    return found
