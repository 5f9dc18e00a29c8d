"""``mqtt``: each message of a topic becomes one event, and is acknowledged once the bus holds the event.

The source subscribes with QoS 1 in a session that outlives it: what is published to the topic with QoS 1 or 2 while the
source, the network or the broker is away waits in the broker. At most 64 messages are in ``emit`` at a time; while
they are, nothing is read. A message that cannot become an event is acknowledged and counted, for MQTT knows no
refusal.

``_mqtt_session`` speaks with the broker, ``_mqtt_packets`` knows how packets look.
"""

from __future__ import annotations

import base64
import hashlib
import ssl
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from argosy.addresses import Address
from argosy.errors import EventInvalid, EventTooLarge, SourceError
from argosy.lang import gojson
from argosy.manifests.fields import OURS, Backoff, BasicAuth, TLSConfig
from argosy.sources._base import Source, SourceConfig, SourceContext
from argosy.sources._http_body import raw_json
from argosy.sources._mqtt_address import address, encrypted
from argosy.sources._mqtt_packets import LARGEST, Published
from argosy.sources._mqtt_session import Login, Session
from argosy.sources._raw import Raw, Wrapped, known, tail
from argosy.sources._reaching import patiently

_TOPIC_KEY = "topic"
_STORED_KEY = "stored"


class MqttConfig(SourceConfig):
    """One topic of a broker."""

    model_config = ConfigDict(hide_input_in_errors=True)

    url: str
    """``tcp://host:1883``, or ``ssl://host:8883`` for TLS; also ``mqtt://`` and ``mqtts://``."""
    topic: str
    """A topic, or a filter with ``+`` for one level and ``#`` for all levels at the end."""
    client_id: str = Field(min_length=1)
    """The name by which the broker knows this source and keeps its messages. No other client may have it, and
    messages that wait are lost to the source when it changes."""
    qos: Literal[0, 1] = Field(default=1, json_schema_extra=OURS)
    """1: at least once, with a session that waits for the source. 0: at most once, as Argo Events has it: what is
    published while the source is away is lost."""
    connection_backoff: Backoff | None = None
    """Pauses between the tries to connect, before the failure is reported and the runtime's own pauses begin."""
    json_body: bool = False
    """Whether the message is JSON, and stands as such in ``body``; else ``body`` is its bytes in base64."""
    tls: TLSConfig | None = None
    """With this block the connection is encrypted, also where the URL says ``tcp://``."""
    auth: BasicAuth | None = None
    """User name and password; what the URL says of them does not count then."""

    @field_validator("url")
    @classmethod
    def _readable(cls, url: str) -> str:
        address(url)
        return url

    @field_validator("topic")
    @classmethod
    def _filter(cls, topic: str) -> str:
        levels = topic.split("/")
        if not topic or "\0" in topic or len(topic.encode()) > 0xFFFF:
            raise ValueError("is no topic")
        if any(len(level) > 1 and ("+" in level or "#" in level) for level in levels) or "#" in levels[:-1]:
            raise ValueError("is no topic filter: '+' stands alone between slashes, and '#' alone at the end")
        return topic

    @model_validator(mode="after")
    def _complete(self) -> MqttConfig:
        if self.auth is not None and (self.auth.username is None or self.auth.password is None):
            raise ValueError("auth needs username and password together")
        return self


class Mqtt(Source[MqttConfig]):
    """Receives the messages of one topic. MQTT gives messages no name, so an event's id is made for it. A message that
    comes again because the connection was lost before it could be acknowledged is recognised; one that comes again
    because Argosy was killed, or because the acknowledgement was lost on its way, is a second event.
    """

    kind: ClassVar[str] = "mqtt"
    config = MqttConfig
    exclusive: ClassVar[bool] = True
    acknowledges: ClassVar[bool] = True
    peer: ClassVar[str] = "real: Mosquitto"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: mqtt
spec:
  mqtt:
    example:
      url: tcp://mosquitto.messaging:1883
      topic: sensors/+/temperature
      clientId: argosy-temperatures
      jsonBody: true
      auth:
        username:
          name: mosquitto
          key: username
        password:
          name: mosquitto
          key: password
"""

    @classmethod
    def wrap(cls, config: MqttConfig, raw: Raw) -> Wrapped:
        known(raw, {"topic": "", "messageId": ""}, "property of an MQTT message")
        number = raw.headers.get("messageId", "0")
        if not (number.isascii() and number.isdigit() and int(number) <= 0xFFFF):
            raise EventInvalid(f"messageId {number!r} is no number from 0 to 65535")
        return Wrapped(_read(config, Published(raw.headers.get("topic", config.topic), int(number), raw.body)), None)

    async def run(self, ctx: SourceContext[MqttConfig]) -> None:
        config = ctx.config

        async def connect() -> Session:
            # Secrets are read for every try, so that a new password is taken up.
            where, tls, login = _login(ctx)
            return await Session.begin(where, tls, login)

        async def keep(message: Published) -> None:
            if message.again and (mark := _mark(message)) in stored:
                stored.discard(mark)  # the event is on the bus since before the connection was lost
                return
            try:
                await ctx.emit(_read(config, message))
            except (EventInvalid, EventTooLarge) as error:
                ctx.refused(f"{error} (message of topic {message.topic!r}); acknowledged and dropped")

        session = await patiently(ctx, config.connection_backoff, connect)
        stored: set[str] = set()
        try:
            stored |= await _stored(ctx, session)
            await _subscribe(ctx, session)
            ctx.listening(f"topic {config.topic!r} of {session.where}")
            await session.receive(keep)
        except SourceError:
            if marks := stored | {_mark(message) for message in session.stored}:
                await ctx.bucket.put(_STORED_KEY, "\n".join(sorted(marks)).encode())
            raise
        finally:
            await session.end()


def _mark(message: Published) -> str:
    """What tells whether a message that comes is one that came before: its number in the session, and what it says."""
    text = hashlib.blake2b(message.topic.encode() + b"\0" + message.payload, digest_size=16).hexdigest()
    return f"{message.packet_id} {text}" if message.packet_id else ""


async def _stored(ctx: SourceContext[MqttConfig], session: Session) -> set[str]:
    """The marks of messages whose events are on the bus, and which the broker will deliver again.

    They are forgotten on the bus first: once one of them is acknowledged, its number may be that of another message.
    """
    entry = await ctx.bucket.get(_STORED_KEY)
    if entry is None:
        return set()
    await ctx.bucket.delete(_STORED_KEY)
    return set(entry.value.decode().split("\n")) if session.resumed else set()


async def _subscribe(ctx: SourceContext[MqttConfig], session: Session) -> None:
    """Ask for the topic, and for no other: a session also remembers the topic of an older manifest."""
    config = ctx.config
    before = await ctx.bucket.get(_TOPIC_KEY) if config.qos else None
    if before is not None:
        if not session.resumed:
            ctx.log.error(
                "%s does not know clientId %r any more: what was published while the connection was away is lost; "
                "let the broker keep its sessions (Mosquitto: persistence true)", session.where, config.client_id
            )  # fmt: skip
        elif (topic := before.value.decode()) != config.topic:
            await session.unsubscribe(topic)
    granted = await session.subscribe(config.topic, config.qos)
    if granted < config.qos:
        raise SourceError(
            f"{session.where} grants topic {config.topic!r} with QoS 0 only; write 'qos: 0' to accept that"
        )
    if config.qos and (before is None or before.value.decode() != config.topic):
        await ctx.bucket.put(_TOPIC_KEY, config.topic.encode())


def _read(config: MqttConfig, message: Published) -> bytes:
    """The event's data as JSON text, in upstream's shape. Raises EventInvalid if the body is not what it should be."""
    if message.cut:
        raise EventTooLarge(f"the message is larger than {LARGEST} bytes")
    body = raw_json(message.payload) if config.json_body else b'"%b"' % base64.b64encode(message.payload)
    head = gojson.dumps({"topic": message.topic, "messageId": message.packet_id}, sort_keys=False)
    return b'%b,"body":%b%b}' % (head[:-1], body, tail(config.metadata))


def _login(ctx: SourceContext[Any]) -> tuple[Address, ssl.SSLContext | None, Login]:
    """Where to connect to, how, and as whom, by the secrets as they are now."""
    from argosy.tls import client_context

    config: MqttConfig = ctx.config
    where, user, password = address(config.url)
    if config.auth and config.auth.username and config.auth.password:
        user, password = ctx.secret(config.auth.username), ctx.secret(config.auth.password)
    if config.tls is not None and not encrypted(where):
        where = where._replace(scheme="ssl")
    tls = client_context(config.tls, ctx.secret) if encrypted(where) else None
    return where, tls, Login(config.client_id, not config.qos, user, password)
