"""``azureEventsHub``: each event of an Azure Event Hub becomes one event, and the place in its partition is noted once the
bus holds it.

All partitions are read at the same time, each in batches of up to 64 whose events are in ``emit`` together; the next batch
follows when all of them are stored. Where a partition stands is kept on the bus, so that what is sent while the source is
away is received later; the first start begins with what comes after it. An event that cannot become one of ours is passed
over and counted, for Event Hubs knows no refusal.

The partitions are listed anew every half minute: one that is added is read from its beginning, and a service that stands
still is noticed. Microsoft's library speaks the protocol; ``argosy.azure.messaging`` reaches it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import Field, model_validator

from argosy.azure.messaging import Namespace, connection_string, namespace, sentence, settings, within
from argosy.errors import EventInvalid, EventTooLarge, SourceError
from argosy.lang import gojson
from argosy.manifests.fields import OWN_NAMESPACE, SecretKeySelector
from argosy.sources._azure_identity import Identity, Tokens
from argosy.sources._base import Source, SourceConfig, SourceContext
from argosy.sources._raw import Raw, Wrapped, known, tail

if TYPE_CHECKING:
    from azure.eventhub import EventData
    from azure.eventhub.aio import EventHubConsumerClient, PartitionContext

T = TypeVar("T")
SCOPE = "https://eventhubs.azure.net/.default"
_GROUP = "$Default"
_AT_ONCE = 64
_ANSWER_SECONDS = 20.0
_PARTING_SECONDS = 1.8
_LOOK_SECONDS = 30.0


class AzureEventsHubConfig(SourceConfig):
    """One hub of a namespace, read by its default consumer group."""

    dropped: ClassVar[Mapping[str, str]] = {"namespace": f"1.0; {OWN_NAMESPACE}"}

    fqdn: str = Field(min_length=1)
    """The namespace, such as ``name.servicebus.windows.net``."""
    hub_name: str = Field(min_length=1)
    """The hub's name."""
    shared_access_key_name: SecretKeySelector | None = None
    """A Secret's key with the name of a shared access key. Without it and ``sharedAccessKey`` a token of Microsoft Entra ID
    is shown, of a client secret or a workload identity in the environment, or of the machine's managed identity."""
    shared_access_key: SecretKeySelector | None = None
    """The key of the shared access policy."""

    @model_validator(mode="after")
    def _complete(self) -> AzureEventsHubConfig:
        if (self.shared_access_key_name is None) != (self.shared_access_key is None):
            raise ValueError("needs sharedAccessKeyName and sharedAccessKey together")
        namespace(self.fqdn)
        return self


class AzureEventsHub(Source[AzureEventsHubConfig]):
    """Receives the events of all partitions. An event's id is its partition, its number there, and when it was queued."""

    kind: ClassVar[str] = "azureEventsHub"
    config = AzureEventsHubConfig
    exclusive: ClassVar[bool] = True
    acknowledges: ClassVar[bool] = True
    requires: ClassVar[tuple[str, ...]] = ("azure.eventhub", "httpx2")
    extra: ClassVar[str] = "azure"
    peer: ClassVar[str] = "double: Event Hubs on Qpid Proton's AMQP 1.0"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: azure-events-hub
spec:
  azureEventsHub:
    example:
      fqdn: my-namespace.servicebus.windows.net
      hubName: orders
      sharedAccessKeyName:
        name: azure-events-hub
        key: sharedAccessKeyName
      sharedAccessKey:
        name: azure-events-hub
        key: sharedAccessKey
"""

    @classmethod
    def wrap(cls, config: AzureEventsHubConfig, raw: Raw) -> Wrapped:
        known(raw, {"id": "", "partitionKey": ""}, "property of an event of Event Hubs")
        return Wrapped(_data(config, raw.headers.get("id", ""), raw.headers.get("partitionKey", ""), raw.body), None)

    async def run(self, ctx: SourceContext[AzureEventsHubConfig]) -> None:
        from azure.eventhub import TransportType
        from azure.eventhub.aio import EventHubConsumerClient

        config, where = ctx.config, namespace(ctx.config.fqdn)
        given = settings(where, ssl.create_default_context, TransportType)
        async with contextlib.AsyncExitStack() as stack:
            if config.shared_access_key_name is not None and config.shared_access_key is not None:
                name, key = ctx.secret(config.shared_access_key_name), ctx.secret(config.shared_access_key)
                text = connection_string(f"{where.host}:{where.port}", name, key, config.hub_name)
                client = EventHubConsumerClient.from_connection_string(text, _GROUP, **given)
            else:
                tokens = Tokens(await stack.enter_async_context(Identity(ctx, SCOPE)))
                client = EventHubConsumerClient(where.host, config.hub_name, _GROUP, tokens, **given)
            await _Intake(ctx, where, client).receive()


class _Intake:
    """One run's work on its hub."""

    def __init__(
        self, ctx: SourceContext[AzureEventsHubConfig], where: Namespace, client: EventHubConsumerClient
    ) -> None:
        self._ctx = ctx
        self._where = where
        self._what = f"hub {ctx.config.hub_name!r}"
        self._client = client
        self._batches: set[asyncio.Task[None]] = set()
        self._ending = False
        self._fault: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    async def receive(self) -> None:
        """Until cancelled, or until the connection or an emit fails; what is under way then is finished."""
        reading: asyncio.Task[None] | None = None
        watching: asyncio.Task[None] | None = None
        try:
            positions = await self._positions()
            self._ctx.listening(f"{self._what} of {self._where}, {len(positions)} partitions")
            reading = asyncio.create_task(self._read(positions))
            watching = asyncio.create_task(self._watch(set(positions)))
            first: set[asyncio.Future[Any]] = {reading, watching, self._fault}
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._ending = True
            for task in (reading, watching):
                if task is not None:
                    task.cancel()
            try:
                if self._batches:
                    await asyncio.wait(self._batches)
            finally:
                for batch in self._batches:
                    batch.cancel()
                await asyncio.gather(*self._batches, return_exceptions=True)
                with contextlib.suppress(Exception):
                    await within(_PARTING_SECONDS, self._closed(reading))
        if self._fault.done():
            raise self._fault.result()
        if watching is not None and watching.done():
            await watching
        raise SourceError(f"{self._where} ended the reading of {self._what}")

    async def _closed(self, reading: asyncio.Task[None] | None) -> None:
        if reading is not None:
            await asyncio.gather(reading, return_exceptions=True)
        await self._client.close()

    async def _watch(self, known: set[str]) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if set(await self._called(self._client.get_partition_ids())) != known:
                raise SourceError(f"{self._what} of {self._where} has other partitions now; beginning anew with them")

    async def _positions(self) -> dict[str, int]:
        """Where each partition is to be read from: after the number that is noted."""
        found: dict[str, int] = {}
        # A partition that was added is all ours; at the first start what comes from now on is.
        began = bool(await self._ctx.bucket.keys())
        for partition in await self._called(self._client.get_partition_ids()):
            about = await self._called(self._client.get_partition_properties(partition))
            last = int(about["last_enqueued_sequence_number"]) if not about["is_empty"] else -1
            noted = await self._ctx.bucket.get(partition)
            if noted is None:
                found[partition] = -1 if began else last
                await self._ctx.bucket.put(partition, str(found[partition]).encode())
            elif int(noted.value) > max(last, int(about["last_enqueued_sequence_number"])):
                # Another hub of that name: its numbers have begun anew.
                found[partition] = -1
            else:
                found[partition] = int(noted.value)
        return found

    async def _read(self, positions: dict[str, int]) -> None:
        await self._client.receive_batch(
            self._take,
            max_batch_size=_AT_ONCE,
            prefetch=_AT_ONCE,
            starting_position=positions,
            starting_position_inclusive=False,
            on_error=self._lost,
        )

    async def _take(self, partition: PartitionContext, events: Sequence[EventData]) -> None:
        """One batch of a partition. The library waits for it before it goes on, and cancels it when it ends."""
        if events and not self._ending:
            batch = asyncio.create_task(self._keep_all(partition.partition_id, events))
            self._batches.add(batch)
            batch.add_done_callback(self._batches.discard)
            await asyncio.shield(batch)

    async def _keep_all(self, partition: str, events: Sequence[EventData]) -> None:
        results = await asyncio.gather(*(self._keep(partition, each) for each in events), return_exceptions=True)
        # Up to the first that failed: the rest is read again.
        stored = next((place for place, result in enumerate(results) if result is not None), len(results))
        if stored:
            await self._ctx.bucket.put(partition, str(events[stored - 1].sequence_number).encode())
        if stored < len(results):
            failure = results[stored]
            assert failure is not None
            self._give_up(failure if isinstance(failure, Exception) else SourceError("broken off"))
            raise failure

    async def _keep(self, partition: str, event: EventData) -> None:
        number = f"{partition}/{event.sequence_number}"
        try:
            await self._ctx.emit(_read(self._ctx.config, number, event), id=f"{number}/{_milliseconds(event)}")
        except (EventInvalid, EventTooLarge) as error:
            self._ctx.refused(f"{error} (event {number} of {self._what}); passed over")

    async def _lost(self, partition: PartitionContext | None, error: Exception) -> None:
        self._give_up(SourceError(sentence(self._where, self._what, error)), error)

    def _give_up(self, error: Exception, cause: Exception | None = None) -> None:
        if not self._fault.done():
            error.__cause__ = error.__cause__ or cause
            self._fault.set_result(error)

    async def _called(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await within(_ANSWER_SECONDS, work)
        except TimeoutError as error:
            raise SourceError(f"{self._where} has not answered for {_ANSWER_SECONDS:g} s ({self._what})") from error
        except Exception as error:
            # The library raises its own, AMQP's, and the system's.
            raise SourceError(sentence(self._where, self._what, error)) from error


def _milliseconds(event: EventData) -> int:
    when = event.enqueued_time
    return int(when.timestamp() * 1000) if when else 0


def _read(config: AzureEventsHubConfig, number: str, event: EventData) -> bytes:
    body: Any = event.body
    raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else b"".join(body)
    key = event.partition_key or b""
    name = event.message_id
    return _data(
        config, str(name) if name else number, key.decode(errors="replace") if isinstance(key, bytes) else key, raw
    )


def _data(config: AzureEventsHubConfig, name: str, key: str, body: bytes) -> bytes:
    """The event's data as JSON text, in upstream's shape."""
    head = gojson.dumps({"id": name, "partitionKey": key}, sort_keys=False)
    return b'%b,"body":"%b"%b}' % (head[:-1], base64.b64encode(body), tail(config.metadata))
