"""The ``pulsar`` trigger: one message per action, which counts as performed when a broker has stored it.

Clients and producers are kept open between actions, one for each cluster, login and topic; a secret that changes opens
another one. Each message has the action's id in its property ``Idempotency-Key``, the same at every try.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from pydantic import Field

from argosy.errors import Rejected, TriggerError
from argosy.manifests.fields import TriggerParameter
from argosy.pulsar.access import PulsarAccess
from argosy.pulsar.client import Client, login_of
from argosy.pulsar.greeting import PulsarError
from argosy.triggers._base import Action, Outcome, Trigger, TriggerConfig, TriggerContext
from argosy.triggers._kept import Kept, digest

_SEND_SECONDS = 15.0
_ACTION = "Idempotency-Key"


class PulsarTriggerConfig(PulsarAccess, TriggerConfig):
    """The ``pulsar`` block."""

    topic: str = Field(min_length=1)
    """A name such as ``orders`` or ``persistent://tenant/namespace/orders``."""
    payload: list[TriggerParameter] = Field(min_length=1)
    """What is sent: values out of events, each at its ``dest``."""
    parameters: list[TriggerParameter] = Field(default_factory=list)
    """Values out of events that are set on this block before it is used."""


class PulsarTrigger(Trigger[PulsarTriggerConfig]):
    """Sends a message."""

    kind: ClassVar[str] = "pulsar"
    config = PulsarTriggerConfig
    requires: ClassVar[tuple[str, ...]] = ("pulsar",)
    extra: ClassVar[str] = "pulsar"
    peer: ClassVar[str] = "real: Pulsar 4.0 standalone"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata:
  name: pulsar
spec:
  dependencies:
    - name: order
      eventSourceName: webhook
      eventName: orders
  triggers:
    - template:
        name: tell-billing
        pulsar:
          url: pulsar://pulsar-broker.messaging:6650
          topic: persistent://public/default/billing
          payload:
            - src:
                dependencyName: order
                dataKey: body
                useRawData: true
              dest: order
          authTokenSecret:
            name: pulsar
            key: token
"""

    def __init__(self, ctx: TriggerContext) -> None:
        super().__init__(ctx)
        self._kept: Kept[_Link] = Kept(lambda link: link.client.end())

    async def __aexit__(self, *exc: object) -> None:
        await self._kept.close()

    async def fire(self, config: PulsarTriggerConfig, action: Action) -> Outcome:
        payload = action.payload or b""
        name = digest(config.url, config.tls_validate_hostname, *login_of(config, self.ctx.secret))

        async def begin() -> _Link:
            return _Link(await self._patiently(config, lambda: Client.begin(config, self.ctx.secret, "'pulsar'")))

        try:
            async with self._kept.use(name, begin) as held:
                try:
                    place = await held.connection.send(config.topic, payload, action.id)
                except PulsarError as error:
                    held.broken = held.broken or not error.hopeless
                    raise
                except BaseException:
                    held.broken = True
                    raise
                where = held.connection.client.where
        except PulsarError as error:
            raise (Rejected if error.hopeless else TriggerError)(str(error)) from error
        said = f"sent {len(payload)} bytes to topic {config.topic!r} of {where}: message {place}"
        return Outcome(said, {"topic": config.topic, "messageId": place})

    async def _patiently(self, config: PulsarTriggerConfig, begin: Callable[[], Awaitable[Client]]) -> Client:
        """A client, tried as often and as slowly as ``connectionBackoff`` says; once without it."""
        failures = 0
        while True:
            try:
                return await begin()
            except PulsarError as error:
                failures += 1
                backoff = config.connection_backoff
                if error.hopeless or backoff is None or failures >= backoff.tries:
                    raise
                pause = backoff.pause_seconds(failures, random.random())
            await self.ctx.clock.sleep(pause)


class _Link:
    """A client, and its producers by topic."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._producers: dict[str, Any] = {}
        self._making = asyncio.Lock()

    async def send(self, topic: str, payload: bytes, id: str) -> str:
        """The message's id, once it is stored. Raises PulsarError."""
        what = f"topic {topic!r}"
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                producer = await self._producer(topic, what)
                with self.client.sentences(what):
                    found = await producer.send(payload, properties={_ACTION: id})
        except TimeoutError as error:
            raise PulsarError(f"{self.client.where} did not confirm a message to {what} in time") from error
        return f"{found.ledger_id()}:{found.entry_id()}:{found.partition()}:{found.batch_index()}"

    async def _producer(self, topic: str, what: str) -> Any:
        async with self._making:
            if topic not in self._producers:
                with self.client.sentences(what):
                    self._producers[topic] = await self.client.raw.create_producer(topic)
            return self._producers[topic]
