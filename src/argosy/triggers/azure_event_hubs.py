"""The ``azureEventHubs`` trigger: one event to a hub per action, which counts as performed when the service has taken it.

Senders stay open between actions. The event's message id is the action's, the same at every try, so that a receiver can tell
a repetition.

Different from upstream: a key that changes is taken up, and so are parameters that change namespace or hub; the connection
string, which holds the key, is not logged.
"""

from __future__ import annotations

import ssl
from typing import Any, ClassVar

from pydantic import Field, field_validator

from argosy.azure.messaging import Namespace, connection_string, namespace, settings, socket_of
from argosy.azure.sending import Sender, Senders
from argosy.manifests.fields import SecretKeySelector, TriggerParameter
from argosy.triggers._base import Action, Outcome, Trigger, TriggerConfig, TriggerContext
from argosy.triggers._kept import digest


class AzureEventHubsTriggerConfig(TriggerConfig):
    """The ``azureEventHubs`` block."""

    fqdn: str = Field(min_length=1)
    """The namespace, such as ``name.servicebus.windows.net``."""
    hub_name: str = Field(min_length=1)
    """The hub's name."""
    shared_access_key_name: SecretKeySelector
    """A Secret's key with the name of a shared access key."""
    shared_access_key: SecretKeySelector
    """The key of the shared access policy."""
    payload: list[TriggerParameter] = Field(min_length=1)
    """What is sent: values out of events, each at its ``dest``."""
    parameters: list[TriggerParameter] = Field(default_factory=list)
    """Values out of events that are set on this block before it is used."""

    @field_validator("fqdn")
    @classmethod
    def _readable(cls, fqdn: str) -> str:
        namespace(fqdn)
        return fqdn


class AzureEventHubs(Trigger[AzureEventHubsTriggerConfig]):
    """Sends an event."""

    kind: ClassVar[str] = "azureEventHubs"
    config = AzureEventHubsTriggerConfig
    requires: ClassVar[tuple[str, ...]] = ("azure.eventhub",)
    extra: ClassVar[str] = "azure"
    peer: ClassVar[str] = "double: Event Hubs on Qpid Proton's AMQP 1.0"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata:
  name: azure-event-hubs
spec:
  dependencies:
    - name: order
      eventSourceName: webhook
      eventName: orders
  triggers:
    - template:
        name: tell-billing
        azureEventHubs:
          fqdn: my-namespace.servicebus.windows.net
          hubName: billing
          sharedAccessKeyName:
            name: azure-event-hubs
            key: sharedAccessKeyName
          sharedAccessKey:
            name: azure-event-hubs
            key: sharedAccessKey
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

    async def fire(self, config: AzureEventHubsTriggerConfig, action: Action) -> Outcome:
        from azure.eventhub import EventData

        where, what = namespace(config.fqdn), f"hub {config.hub_name!r}"
        name, key = self.ctx.secret(config.shared_access_key_name), self.ctx.secret(config.shared_access_key)
        text = connection_string(f"{where.host}:{where.port}", name, key, config.hub_name)
        event = EventData(action.payload or b"")
        event.message_id, event.content_type = action.id, "application/json"
        await self._senders.send(digest(text), lambda: _opened(where, text), event, where, what)
        return Outcome(f"sent {len(action.payload or b'')} bytes to {what} of {where}", {"id": action.id})


def _opened(where: Namespace, text: str) -> Sender:
    from azure.eventhub import TransportType
    from azure.eventhub.aio import EventHubProducerClient

    given = settings(where, ssl.create_default_context, TransportType)
    client = EventHubProducerClient.from_connection_string(text, **given)

    async def send(event: Any) -> None:
        await client.send_batch([event])

    def sockets() -> list[Any]:
        links = [link for link in getattr(client, "_producers", {}).values() if link is not None]
        return [found for found in map(socket_of, links) if found is not None]

    return Sender(client, send, sockets)
