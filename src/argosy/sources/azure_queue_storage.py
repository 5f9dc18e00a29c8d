"""``azureQueueStorage``: each message of an Azure Storage queue becomes one event, and is deleted once the bus holds it.

Messages are taken by up to 32 at a time and are then invisible to other readers for two minutes; for one whose event
waits for the bus that time is extended, so a slow bus makes no second event. At most 64 are in ``emit`` at a time. What
could not be stored is given back at once. An empty queue is asked again after ``waitTimeInSeconds``. A message that
cannot become an event is deleted and counted, or with ``dlq`` left in the queue, where its ``DequeueCount`` grows each
time that it comes again, until it expires or somebody moves it away.

``_azure_storage`` knows the calls and their signatures, ``_azure_identity`` who we are without a key.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import datetime as dt
from typing import ClassVar

from pydantic import Field, model_validator

from argosy.errors import EventInvalid, EventTooLarge, SourceError
from argosy.lang import gojson
from argosy.manifests.fields import SecretKeySelector
from argosy.sources._azure_storage import Gone, Message, Queue
from argosy.sources._base import Source, SourceConfig, SourceContext
from argosy.sources._http_body import raw_json
from argosy.sources._in_flight import InFlight
from argosy.sources._raw import Raw, Wrapped, known, tail

_VISIBILITY_SECONDS = 120
_AT_ONCE = 32
_PARTING_SECONDS = 1.0
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class AzureQueueStorageConfig(SourceConfig):
    """One queue of a storage account."""

    queue_name: str = Field(min_length=1)
    """The queue's name."""
    connection_string: SecretKeySelector | None = None
    """A Secret's key with the account's connection string: with ``AccountKey`` or with ``SharedAccessSignature``."""
    storage_account_name: str = ""
    """The account, where there is no connection string: calls then carry a token of Microsoft Entra ID, of a client secret
    or a workload identity in the environment, or of the machine's managed identity."""
    json_body: bool = False
    """Whether the message is JSON, and stands as such in ``body``; else ``body`` is its bytes in base64."""
    dlq: bool = False
    """Leave a message in the queue that cannot become an event, for whatever moves such messages away, instead of deleting
    it."""
    decode_message: bool = False
    """Whether the message's text is base64 and is to be decoded first, in the URL alphabet or the standard one."""
    wait_time_in_seconds: int = Field(default=3, ge=0)
    """The pause after the queue was found empty, in seconds."""

    @model_validator(mode="after")
    def _reachable(self) -> AzureQueueStorageConfig:
        if self.connection_string is None and not self.storage_account_name:
            raise ValueError("needs connectionString or storageAccountName")
        return self


class AzureQueueStorage(Source[AzureQueueStorageConfig]):
    """Receives the messages of a queue; the event's id is the message's. Several processes may read one queue."""

    kind: ClassVar[str] = "azureQueueStorage"
    config = AzureQueueStorageConfig
    exclusive: ClassVar[bool] = False
    acknowledges: ClassVar[bool] = True
    requires: ClassVar[tuple[str, ...]] = ("httpx2",)
    extra: ClassVar[str] = "http"
    peer: ClassVar[str] = "emulator: Azurite"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: azure-queue-storage
spec:
  azureQueueStorage:
    example:
      queueName: orders
      connectionString:
        name: azure-storage
        key: connectionString
      jsonBody: true
      decodeMessage: true
"""

    @classmethod
    def wrap(cls, config: AzureQueueStorageConfig, raw: Raw) -> Wrapped:
        known(raw, {"messageID": "", "insertionTime": ""}, "property of a message of Azure Queue Storage")
        name = raw.headers.get("messageID", "")
        try:
            inserted = dt.datetime.fromisoformat(raw.headers.get("insertionTime", _EPOCH.isoformat()))
        except ValueError as error:
            raise EventInvalid("insertionTime is no time; write for example 2026-11-23T10:00:00Z") from error
        message = Message(name, inserted, 1, "", raw.body.decode(errors="replace"))
        return Wrapped(_read(config, message), name or None)

    async def run(self, ctx: SourceContext[AzureQueueStorageConfig]) -> None:
        async with Queue(ctx, ctx.config.queue_name) as queue:
            await queue.look()
            ctx.listening(queue.where)
            intake = InFlight()
            await intake.run(_Reader(ctx, queue).take(intake))


class _Reader:
    """One run's work on its queue."""

    def __init__(self, ctx: SourceContext[AzureQueueStorageConfig], queue: Queue) -> None:
        self._ctx = ctx
        self._queue = queue

    async def take(self, intake: InFlight) -> None:
        """Take messages while there is room for them, for ever."""
        await intake.free()
        while True:
            taking = asyncio.ensure_future(self._queue.take(min(_AT_ONCE, intake.left), _VISIBILITY_SECONDS))
            try:
                messages = await asyncio.shield(taking)
            except asyncio.CancelledError:
                # The service may have handed messages out already: they would stay invisible for two minutes.
                with contextlib.suppress(SourceError, TimeoutError):
                    async with asyncio.timeout(_PARTING_SECONDS):
                        await asyncio.gather(*map(self._give_back, await taking))
                raise
            for message in messages:
                intake.begin(self._keep(message))
                await intake.free()
            if not messages:
                await self._ctx.clock.sleep(self._ctx.config.wait_time_in_seconds)

    async def _keep(self, message: Message) -> None:
        lease = _Lease(self._queue, message)
        refused = ""
        try:
            async with lease:
                await self._ctx.emit(_read(self._ctx.config, message), id=message.id)
        except (EventInvalid, EventTooLarge) as error:
            refused = str(error)
        except BaseException:
            await self._give_back(lease.message)
            raise
        if refused:
            done = "left in the queue, as dlq says" if self._ctx.config.dlq else "deleted"
            self._ctx.refused(
                f"{refused} (message {message.id} of {self._queue.where}, taken {message.taken} times); {done}"
            )
        if not refused or not self._ctx.config.dlq:
            # A message that is somebody else's by now comes again, and is known by its id.
            with contextlib.suppress(Gone):
                await self._queue.delete(lease.message)

    async def _give_back(self, message: Message) -> None:
        # Where this fails, it comes back when its time is up.
        with contextlib.suppress(SourceError):
            await self._queue.extend(message, 0)


class _Lease:
    """Keeps a message invisible while its event waits for the bus. ``message`` has the receipt that counts."""

    def __init__(self, queue: Queue, message: Message) -> None:
        self.message = message
        self._queue = queue

    async def __aenter__(self) -> None:
        self._over = asyncio.Event()
        self._renewing = asyncio.create_task(self._renew())

    async def __aexit__(self, *exc: object) -> None:
        # A call under way is waited for: the receipt of its answer is the one that counts.
        self._over.set()
        await self._renewing

    async def _renew(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_VISIBILITY_SECONDS / 2):
                    await self._over.wait()
                return
            try:
                self.message = await self._queue.extend(self.message, _VISIBILITY_SECONDS)
            except Gone:
                return
            except SourceError:
                continue  # the next time may be better; where none is, the message comes again


def _read(config: AzureQueueStorageConfig, message: Message) -> bytes:
    """The event's data as JSON text, in upstream's shape. Raises EventInvalid."""
    body = message.text.encode()
    if config.decode_message:
        body = _decoded(message.text)
    text = raw_json(body) if config.json_body else b'"%b"' % base64.b64encode(body)
    inserted = message.inserted.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
    rest = gojson.dumps({"messageID": message.id, "insertionTime": inserted}, sort_keys=False)
    return b'{"body":%b,%b%b}' % (text, rest[1:-1], tail(config.metadata))


def _decoded(text: str) -> bytes:
    # Line ends are passed over, as Go does.
    compact = text.replace("\r", "").replace("\n", "")
    try:
        return base64.b64decode(
            compact.replace("-", "+").replace("_", "/") if _url(compact) else compact, validate=True
        )
    except (binascii.Error, ValueError) as error:
        raise EventInvalid("the message is not base64; without decodeMessage it is taken as it stands") from error


def _url(text: str) -> bool:
    return "+" not in text and "/" not in text
