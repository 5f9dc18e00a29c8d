"""What the ``amqp`` block of a manifest can say, with upstream's defaults.

Upstream's defaults belong to whole blocks: a block that is left out is durable, exclusive or autoAck, in a
block that is given everything left out is false (upstream ``pkg/eventsources/sources/amqp/start.go``).
Fields marked ``x-argosy`` are ours.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from pydantic import ConfigDict, Field, field_validator, model_validator

from argosy.errors import ConfigError
from argosy.manifests import _yaml
from argosy.manifests.fields import OURS, Backoff, BasicAuth, Model, SecretKeySelector, TLSConfig
from argosy.sources._amqp_connection import Broker, at, parse
from argosy.sources._base import SourceConfig


class ExchangeDeclare(Model):
    """How the exchange is made if it is not there. Without this block: durable. In a block, what is left
    out is false.
    """

    durable: bool = False
    """The exchange survives the broker."""
    auto_delete: bool = False
    """The exchange goes with its last binding."""
    internal: bool = False
    """Only other exchanges may publish to it."""
    no_wait: bool = False
    """Accepted; the answer is always waited for, so that a refusal can be said."""
    passive: bool = Field(default=False, json_schema_extra=OURS)
    """Make nothing: the exchange must be there, and is taken as it is."""


class QueueDeclare(Model):
    """How the queue is made if it is not there. Without this block: exclusive, named by the broker.

    Only a named, durable queue keeps messages while nobody consumes.
    """

    name: str = ""
    """Empty lets the broker choose one."""
    durable: bool = False
    """The queue survives the broker."""
    auto_delete: bool = False
    """The queue goes with its last consumer."""
    exclusive: bool = False
    """The queue is of this connection alone, and goes with it."""
    no_wait: bool = False
    """Accepted; the answer is always waited for."""
    arguments: str = ""
    """A YAML mapping, as text: ``x-queue-type: quorum``."""
    passive: bool = Field(default=False, json_schema_extra=OURS)
    """Make nothing: the queue must be there, and is taken as it is."""

    @field_validator("arguments")
    @classmethod
    def _mapping(cls, text: str) -> str:
        arguments_of(text)
        return text

    @model_validator(mode="after")
    def _named(self) -> QueueDeclare:
        if self.passive and not self.name:
            raise ValueError("passive needs the name of the queue")
        return self


class QueueBind(Model):
    """How the queue is bound to the exchange."""

    no_wait: bool = False
    """Accepted; the answer is always waited for."""


class Consume(Model):
    """How messages are asked for. Without this block: autoAck."""

    consumer_tag: str = ""
    """A name for this consumer, which the broker shows."""
    auto_ack: bool = False
    """Accepted, and served as at-least-once: every message is acknowledged by us, after its event is
    stored.
    """
    exclusive: bool = False
    """Nobody else may consume from the queue."""
    no_local: bool = False
    """Accepted; RabbitMQ does not know it, and this source publishes nothing."""
    no_wait: bool = False
    """Accepted; the answer is always waited for."""


class AmqpConfig(SourceConfig):
    """One queue and what is bound to it."""

    model_config = ConfigDict(hide_input_in_errors=True)

    url: str = ""
    """``amqp://user:password@host:port/vhost``, or ``amqps://``."""
    url_secret: SecretKeySelector | None = None
    """The URL, where it is kept in a Secret."""
    hosts: list[str] = Field(default_factory=list, json_schema_extra=OURS)
    """More hosts of the same cluster (``host`` or ``host:port``), tried in turn after the URL's own."""
    exchange_name: str = ""
    """Empty is the broker's default exchange, which brings a queue the messages that carry its name."""
    exchange_type: str = ""
    """``direct``, ``fanout``, ``topic`` or ``headers``."""
    routing_key: str = ""
    """The key by which the queue is bound to the exchange."""
    routing_keys: list[str] = Field(default_factory=list, json_schema_extra=OURS)
    """More routing keys to bind."""
    exchange_declare: ExchangeDeclare = ExchangeDeclare(durable=True)
    """How the exchange is made."""
    queue_declare: QueueDeclare = QueueDeclare(exclusive=True)
    """How the queue is made."""
    queue_bind: QueueBind = QueueBind()
    """How both are bound."""
    consume: Consume = Consume(auto_ack=True)
    """How messages are asked for."""
    auth: BasicAuth | None = None
    """User name and password; what the URL says of them does not count then."""
    tls: TLSConfig | None = None
    """With this block the connection is encrypted, also where the URL says ``amqp://`` (upstream ignores
    the block there).
    """
    connection_backoff: Backoff | None = None
    """Pauses between the tries to connect, before the failure is reported and the runtime's own pauses
    begin.
    """
    json_body: bool = False
    """The body is JSON, and stands in the event as such; else it is base64."""
    oslo: bool = Field(default=False, json_schema_extra=OURS)
    """The messages are notifications of oslo.messaging: the body is the notification without its envelope,
    and its ``message_id`` is the event's id.
    """
    prefetch: int = Field(default=64, ge=1, le=65535, json_schema_extra=OURS)
    """How many messages the broker hands over before the first of them is acknowledged."""

    @field_validator("url")
    @classmethod
    def _readable(cls, url: str) -> str:
        with _as_value_error():
            if url:
                parse(url)
        return url

    @field_validator("hosts")
    @classmethod
    def _hosts(cls, hosts: list[str]) -> list[str]:
        with _as_value_error():
            for host in hosts:
                at(Broker("", 0, "/", False), host)
        return hosts

    @model_validator(mode="after")
    def _complete(self) -> AmqpConfig:
        if bool(self.url) == (self.url_secret is not None):
            raise ValueError("needs either url or urlSecret")
        if not self.exchange_type and not (self.exchange_declare.passive or not self.exchange_name):
            raise ValueError("needs exchangeType: direct, fanout, topic or headers")
        if not self.routing_key and not self.routing_keys:
            raise ValueError("needs routingKey; a fanout exchange takes any")
        if self.auth is not None and (self.auth.username is None or self.auth.password is None):
            raise ValueError("auth needs username and password together")
        return self


def arguments_of(text: str) -> dict[str, Any] | None:
    """Queue arguments out of YAML text, read as manifests are. Raises ValueError."""
    found = list(_yaml.documents(text))
    if not found:
        return None
    (document, *more) = found
    if isinstance(document, _yaml.Fault):
        raise ValueError(f"is not YAML: {document.message}")
    if more or not isinstance(document.value, dict):
        raise ValueError("is not a YAML mapping; write for example x-queue-type: quorum")
    return document.value


@contextlib.contextmanager
def _as_value_error() -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        raise ValueError(error.message) from error
