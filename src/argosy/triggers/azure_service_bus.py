"""The ``azureServiceBus`` trigger: one message to a queue or topic per action, which counts as performed when the service
has taken it.

Senders stay open between actions. The message's id is the action's, the same at every try: where the queue or topic detects
duplicates, a repetition is dropped there, and else a receiver can tell it.

Different from upstream: a connection string that changes is taken up, and so are parameters that change queue or topic.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, model_validator

from argosy.azure.messaging import Namespace, parse, settings, socket_of
from argosy.azure.sending import Sender, Senders
from argosy.errors import ConfigError, Rejected
from argosy.manifests.fields import SecretKeySelector, TLSConfig, TriggerParameter
from argosy.tls import client_context, material
from argosy.triggers._base import Action, Outcome, Trigger, TriggerConfig, TriggerContext
from argosy.triggers._kept import digest


class AzureServiceBusTriggerConfig(TriggerConfig):
    """The ``azureServiceBus`` block."""

    connection_string: SecretKeySelector
    """A Secret's key with the connection string: with ``SharedAccessKey`` or with ``SharedAccessSignature``."""
    queue_name: str = ""
    """The queue; else ``topicName``. With both, the queue."""
    topic_name: str = ""
    """The topic's name, in the place of ``queueName``."""
    subscription_name: str = ""
    """Has no effect, as in Argo Events: a topic hands a message to all its subscriptions."""
    tls: TLSConfig | None = None
    """Whom to trust, where it is not the machine's own authorities, and a certificate of ours."""
    payload: list[TriggerParameter] = Field(min_length=1)
    """What is sent: values out of events, each at its ``dest``."""
    parameters: list[TriggerParameter] = Field(default_factory=list)
    """Values out of events that are set on this block before it is used."""

    @model_validator(mode="after")
    def _somewhere(self) -> AzureServiceBusTriggerConfig:
        if not self.queue_name and not self.topic_name:
            raise ValueError("needs queueName or topicName")
        return self

    @property
    def no_effect(self) -> Mapping[str, str]:
        if not self.subscription_name:
            return {}
        return {"subscriptionName": "a topic hands a message to all its subscriptions"}


class AzureServiceBus(Trigger[AzureServiceBusTriggerConfig]):
    """Sends a message."""

    kind: ClassVar[str] = "azureServiceBus"
    config = AzureServiceBusTriggerConfig
    requires: ClassVar[tuple[str, ...]] = ("azure.servicebus",)
    extra: ClassVar[str] = "azure"
    peer: ClassVar[str] = "double: Service Bus on Qpid Proton's AMQP 1.0"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata:
  name: azure-service-bus
spec:
  dependencies:
    - name: order
      eventSourceName: webhook
      eventName: orders
  triggers:
    - template:
        name: tell-billing
        azureServiceBus:
          queueName: billing
          connectionString:
            name: azure-service-bus
            key: connectionString
          payload:
            - src:
                dependencyName: order
                dataKey: body
                useRawData: true
              dest: order
"""

    def __init__(self, ctx: TriggerContext) -> None:
        super().__init__(ctx)
        self._senders = Senders()

    async def __aexit__(self, *exc: object) -> None:
        await self._senders.close()

    async def fire(self, config: AzureServiceBusTriggerConfig, action: Action) -> Outcome:
        from azure.servicebus import ServiceBusMessage

        try:
            where = parse(self.ctx.secret(config.connection_string))
        except ConfigError as error:
            raise Rejected(str(error)) from error
        entity = config.queue_name or config.topic_name
        what = f"queue {entity!r}" if config.queue_name else f"topic {entity!r}"
        if where.entity and where.entity != entity:
            raise Rejected(f"the connection string is of {where.entity!r} (EntityPath), not of {entity!r}")
        message = ServiceBusMessage(action.payload or b"", message_id=action.id, content_type="application/json")

        def tls() -> ssl.SSLContext:
            try:
                return client_context(config.tls, self.ctx.secret)
            except ConfigError as error:
                raise Rejected(str(error)) from error

        key = digest(where.text, entity, bool(config.queue_name), material(config.tls, self.ctx.secret))
        await self._senders.send(key, lambda: _opened(where, config, entity, tls), message, where, what)
        return Outcome(f"sent {len(action.payload or b'')} bytes to {what} of {where}", {"messageID": action.id})


def _opened(where: Namespace, config: AzureServiceBusTriggerConfig, entity: str, tls: Any) -> Sender:
    from azure.servicebus import TransportType
    from azure.servicebus.aio import ServiceBusClient

    client = ServiceBusClient.from_connection_string(where.text, **settings(where, tls, TransportType))
    link = client.get_queue_sender(entity) if config.queue_name else client.get_topic_sender(entity)

    def sockets() -> list[Any]:
        return [found] if (found := socket_of(link)) is not None else []

    return Sender(link, link.send_messages, sockets)
