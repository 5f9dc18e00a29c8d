"""``nats``: each message of a NATS subject becomes one event.

This is core NATS, which keeps no messages: what is published while nobody listens is lost, and so is what a connection
has not carried when it breaks. At most 64 messages are in ``emit`` at a time; while they are, nothing is read, and the
server ends the connection when more waits than it keeps for a client (``max_pending``). On its way out the source
takes what the server has sent already.

``_nats_server`` comes to the server, ``_nats_protocol`` speaks with it, ``_nats_keys`` signs.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from typing import ClassVar

from pydantic import Field, field_validator

from argosy.errors import EventInvalid, EventTooLarge, SourceError
from argosy.lang import gojson
from argosy.sources._base import Source, SourceContext
from argosy.sources._http_body import raw_json
from argosy.sources._in_flight import InFlight
from argosy.sources._nats_protocol import Message, Pong
from argosy.sources._nats_server import NatsServerConfig, connected, is_subject
from argosy.sources._raw import Raw, Wrapped, tail

_DRAIN_SECONDS = 1.0
_MESSAGE_ID = "Nats-Msg-Id"


class NatsConfig(NatsServerConfig):
    """One subject of a server."""

    subject: str
    """A subject, with ``*`` for one token and ``>`` for all tokens at the end."""
    queue: str | None = Field(default=None, min_length=1)
    """A queue group: of all its members, one receives each message."""
    json_body: bool = False
    """Whether the message is JSON, and stands as such in ``body``; else ``body`` is its bytes in base64."""

    @field_validator("subject")
    @classmethod
    def _tokens(cls, subject: str) -> str:
        if not is_subject(subject):
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
    peer: ClassVar[str] = "real: nats-server"
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

        session = await connected(ctx)
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
