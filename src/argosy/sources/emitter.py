"""``emitter``: each message of a channel of Emitter becomes one event.

Emitter's protocol is MQTT 3.1.1, with the channel's key as the first level of the topic. It delivers with QoS 0: what is
published while nobody is there is lost, unless the channel stores messages and ``channelName`` asks for the last ones
(``orders?last=100``). At most 64 messages are in ``emit`` at a time; while they are, nothing is read.
"""

from __future__ import annotations

import base64
import ssl
import uuid
from collections.abc import Mapping
from typing import ClassVar

from pydantic import ConfigDict, Field, field_validator, model_validator

from argosy.addresses import Address
from argosy.errors import EventInvalid, EventTooLarge, SourceError
from argosy.lang import gojson
from argosy.manifests.fields import OWN_NAMESPACE, Backoff, SecretKeySelector, TLSConfig
from argosy.sources._base import Source, SourceConfig, SourceContext
from argosy.sources._http_body import raw_json
from argosy.sources._mqtt_address import Ports, address, encrypted
from argosy.sources._mqtt_packets import LARGEST, Published
from argosy.sources._mqtt_session import Login, Session
from argosy.sources._raw import Raw, Wrapped, known, tail
from argosy.sources._reaching import patiently

_PORTS = Ports(8080, 443)
_ERRORS = "emitter/error"


class EmitterConfig(SourceConfig):
    """One channel of a broker."""

    model_config = ConfigDict(hide_input_in_errors=True)
    dropped: ClassVar[Mapping[str, str]] = {"namespace": f"1.0; {OWN_NAMESPACE}"}

    broker: str
    """``tcp://host:8080``, or ``ssl://host:443`` for TLS."""
    channel_key: str = Field(min_length=1)
    """The key that Emitter made for this channel, with the right to read it."""
    channel_name: str
    """The channel, such as ``orders/new``; ``+`` for one level. Options may follow, such as ``?last=100``."""
    username: SecretKeySelector | None = None
    """The user."""
    password: SecretKeySelector | None = None
    """The user's password."""
    connection_backoff: Backoff | None = None
    """Pauses between the tries to connect, before the failure is reported and the runtime's own pauses begin."""
    json_body: bool = False
    """Whether the message is JSON, and stands as such in ``body``; else ``body`` is its bytes in base64."""
    tls: TLSConfig | None = None
    """With this block the connection is encrypted, also where ``broker`` says ``tcp://``."""

    @field_validator("broker")
    @classmethod
    def _readable(cls, broker: str) -> str:
        address(broker, _PORTS)
        return broker

    @field_validator("channel_key")
    @classmethod
    def _one_level(cls, key: str) -> str:
        if any(letter in key for letter in "/+#\0"):
            raise ValueError("is no key of a channel: it has a slash or a wildcard")
        return key

    @field_validator("channel_name")
    @classmethod
    def _channel(cls, name: str) -> str:
        levels = name.partition("?")[0].strip("/").split("/")
        if (
            not all(levels)
            or any(len(level) > 1 and ("+" in level or "#" in level) for level in levels)
            or "\0" in name
        ):
            raise ValueError("is no channel: levels with slashes between them, '+' alone for one")
        return name

    @model_validator(mode="after")
    def _complete(self) -> EmitterConfig:
        if self.password is not None and self.username is None:
            raise ValueError("password needs username beside it")
        return self


class Emitter(Source[EmitterConfig]):
    """Receives the messages of one channel. Emitter gives messages no name, so an event's id is made for it."""

    kind: ClassVar[str] = "emitter"
    config = EmitterConfig
    exclusive: ClassVar[bool] = True
    acknowledges: ClassVar[bool] = False
    peer: ClassVar[str] = "double: Mosquitto, Emitter's protocol is MQTT"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: emitter
spec:
  emitter:
    example:
      broker: tcp://emitter.messaging:8080
      channelKey: xFpmgfqXvEjqVlJGBAqVrfKQ3rzSNgvK
      channelName: orders/new
      jsonBody: true
"""

    @classmethod
    def wrap(cls, config: EmitterConfig, raw: Raw) -> Wrapped:
        known(raw, {"topic": ""}, "property of an Emitter message")
        topic = raw.headers.get("topic", config.channel_name.partition("?")[0].strip("/") + "/")
        return Wrapped(_read(config, Published(topic, 0, raw.body)), None)

    async def run(self, ctx: SourceContext[EmitterConfig]) -> None:
        config = ctx.config

        async def connect() -> Session:
            # Secrets are read for every try, so that a new password is taken up.
            where, tls, login = _login(ctx)
            return await Session.begin(where, tls, login)

        async def keep(message: Published) -> None:
            if message.topic.startswith(_ERRORS):
                said = message.payload[:300].decode("utf-8", "replace").replace(config.channel_key, "…")
                raise SourceError(f"{session.where} says: {said}; check channelKey and channelName")
            try:
                await ctx.emit(_read(config, message))
            except (EventInvalid, EventTooLarge) as error:
                ctx.refused(f"{error} (message of channel {_channel(config, message)!r}); dropped")

        session = await patiently(ctx, config.connection_backoff, connect)
        try:
            try:
                await session.subscribe(_topic(config), 0)
            except SourceError as error:
                # Its sentence may name the topic, in which the key stands.
                raise SourceError(str(error).replace(config.channel_key, "…")) from None
            ctx.listening(f"channel {config.channel_name!r} of {session.where}")
            await session.receive(keep)
        finally:
            await session.end()


def _topic(config: EmitterConfig) -> str:
    """``key/channel/?options``, as Emitter's clients write it."""
    channel, asked, options = config.channel_name.partition("?")
    return f"{config.channel_key}/{channel.strip('/')}/" + (f"?{options}" if asked else "")


def _channel(config: EmitterConfig, message: Published) -> str:
    # Emitter has taken the key off; whoever has not must not bring it into events.
    return message.topic.removeprefix(f"{config.channel_key}/")


def _read(config: EmitterConfig, message: Published) -> bytes:
    """The event's data as JSON text, in upstream's shape. Raises EventInvalid if the body is not what it should be."""
    if message.cut:
        raise EventTooLarge(f"the message is larger than {LARGEST} bytes")
    body = raw_json(message.payload) if config.json_body else b'"%b"' % base64.b64encode(message.payload)
    head = gojson.dumps({"topic": _channel(config, message)})
    return b'%b,"body":%b%b}' % (head[:-1], body, tail(config.metadata))


def _login(ctx: SourceContext[EmitterConfig]) -> tuple[Address, ssl.SSLContext | None, Login]:
    """Where to connect to, how, and as whom, by the secrets as they are now."""
    from argosy.tls import client_context

    config = ctx.config
    where, user, password = address(config.broker, _PORTS)
    if config.username is not None:
        user = ctx.secret(config.username)
        password = ctx.secret(config.password) if config.password is not None else None
    if config.tls is not None and not encrypted(where):
        where = where._replace(scheme="ssl")
    tls = client_context(config.tls, ctx.secret) if encrypted(where) else None
    return where, tls, Login(f"argosy-{uuid.uuid4().hex}", True, user, password)
