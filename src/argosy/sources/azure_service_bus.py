"""``azureServiceBus``: each message of an Azure Service Bus queue or subscription becomes one event, and is completed once
the bus holds it.

Messages are received under a lock, whatever ``deferDelete`` says: one that is not completed comes again. At most 64 are in
``emit`` at a time, and no more are asked for; the lock of one whose event waits for the bus is renewed. What could not be
stored is abandoned, and comes again at once. A message that cannot become an event goes to the dead-letter queue that
every queue and subscription has, with the reason, and is counted.

Microsoft's library speaks the protocol; ``argosy.azure.messaging`` reaches it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import ssl
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import model_validator

from argosy.azure.messaging import Namespace, parse, parted, sentence, settings, socket_of, within
from argosy.errors import ConfigError, EventInvalid, EventTooLarge, SourceError
from argosy.lang import gojson
from argosy.manifests.fields import SecretKeySelector, TLSConfig
from argosy.sources._azure_identity import Identity, Tokens
from argosy.sources._base import Source, SourceConfig, SourceContext
from argosy.sources._http_body import raw_json
from argosy.sources._in_flight import InFlight
from argosy.sources._raw import Raw, Wrapped, known, tail
from argosy.tls import client_context

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusReceivedMessage
    from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver

T = TypeVar("T")
SCOPE = "https://servicebus.azure.net/.default"
_FIRST_SECONDS = 0.3
_WAIT_SECONDS = 0.5
_PARTING_SECONDS = 0.8
_QUIET_SECONDS = 60.0
_ANSWER_SECONDS = 20.0
_RENEW_SECONDS = 30.0
_REASON = 1000  # a bound of ours; the service takes 4096 characters


class AzureServiceBusConfig(SourceConfig):
    """A queue, or a topic's subscription, of one namespace."""

    connection_string: SecretKeySelector | None = None
    """A Secret's key with the connection string: with ``SharedAccessKey`` or with ``SharedAccessSignature``."""
    fully_qualified_namespace: str = ""
    """The namespace, such as ``name.servicebus.windows.net``, where there is no connection string: a token of Microsoft
    Entra ID is shown then, of a client secret or a workload identity in the environment, or of the machine's managed
    identity."""
    queue_name: str = ""
    """The queue; else ``topicName`` and ``subscriptionName``."""
    topic_name: str = ""
    """The topic's name; with ``subscriptionName``, in the place of ``queueName``."""
    subscription_name: str = ""
    """The name of the topic's subscription."""
    tls: TLSConfig | None = None
    """Whom to trust, where it is not the machine's own authorities, and a certificate of ours."""
    json_body: bool = False
    """Whether the message is JSON, and stands as such in ``body``; else ``body`` is its bytes in base64."""
    defer_delete: bool = False
    """In Argo Events: delete a message after its event is stored, not before. Always so here."""

    @model_validator(mode="after")
    def _complete(self) -> AzureServiceBusConfig:
        if self.connection_string is None and not self.fully_qualified_namespace:
            raise ValueError("needs connectionString or fullyQualifiedNamespace")
        topic = bool(self.topic_name), bool(self.subscription_name)
        if self.queue_name and any(topic):
            raise ValueError("needs queueName, or topicName with subscriptionName, not both")
        if not self.queue_name and not all(topic):
            raise ValueError("needs queueName, or topicName with subscriptionName")
        return self

    @property
    def place(self) -> str:
        """The queue or subscription, as it stands in sentences."""
        if self.queue_name:
            return f"queue {self.queue_name!r}"
        return f"subscription {self.subscription_name!r} of topic {self.topic_name!r}"


class AzureServiceBus(Source[AzureServiceBusConfig]):
    """Receives the messages of a queue or subscription. The event's id is made of the message's sequence number and the
    time when it was queued, which name it for good; ``messageID`` is the sender's, and nobody makes it one of a kind.
    """

    kind: ClassVar[str] = "azureServiceBus"
    config = AzureServiceBusConfig
    exclusive: ClassVar[bool] = True
    acknowledges: ClassVar[bool] = True
    requires: ClassVar[tuple[str, ...]] = ("azure.servicebus", "httpx2")
    extra: ClassVar[str] = "azure"
    peer: ClassVar[str] = "double: Service Bus on Qpid Proton's AMQP 1.0"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: azure-service-bus
spec:
  azureServiceBus:
    example:
      queueName: orders
      connectionString:
        name: azure-service-bus
        key: connectionString
      jsonBody: true
"""

    @classmethod
    def wrap(cls, config: AzureServiceBusConfig, raw: Raw) -> Wrapped:
        known(raw, dict.fromkeys(_PROPERTIES, ""), "property of a Service Bus message")
        fields: dict[str, Any] = {name: raw.headers.get(name) for name in _PROPERTIES if name != "sequenceNumber"}
        number = raw.headers.get("sequenceNumber", "0")
        if not number.isascii() or not number.isdigit():
            raise EventInvalid(f"sequenceNumber {number!r} is no number")
        data = _data(config, raw.body, {**fields, "messageID": fields["messageID"] or ""}, int(number), None)
        return Wrapped(data, None)

    async def run(self, ctx: SourceContext[AzureServiceBusConfig]) -> None:
        from azure.servicebus import TransportType
        from azure.servicebus.aio import ServiceBusClient

        config, where = ctx.config, _namespace(ctx)

        def tls() -> ssl.SSLContext:
            return client_context(config.tls, ctx.secret)

        given = settings(where, tls, TransportType)
        async with contextlib.AsyncExitStack() as stack:
            if where.text:
                client = ServiceBusClient.from_connection_string(where.text, **given)
            else:
                identity = await stack.enter_async_context(Identity(ctx, SCOPE))
                client = ServiceBusClient(where.host, Tokens(identity), **given)
            stack.push_async_callback(client.close)
            await _Intake(ctx, where, client).receive()


class _Intake:
    """One run's work on its queue or subscription."""

    def __init__(self, ctx: SourceContext[AzureServiceBusConfig], where: Namespace, client: ServiceBusClient) -> None:
        self._ctx = ctx
        self._where = where
        self._place = ctx.config.place
        self._receiver = self._of(client)
        self._intake = InFlight()

    def _of(self, client: ServiceBusClient) -> ServiceBusReceiver:
        config = self._ctx.config
        if config.queue_name:
            return client.get_queue_receiver(config.queue_name)
        return client.get_subscription_receiver(config.topic_name, config.subscription_name)

    async def receive(self) -> None:
        """Until cancelled, or until the connection or an emit fails; what is under way then is finished."""
        socket = None
        try:
            await self._called(self._receiver.__aenter__())
            socket = socket_of(self._receiver)
            # The service opens a link to what is not there, and ends it at the first use.
            first = await self._called(self._received(_FIRST_SECONDS))
            self._ctx.listening(f"{self._place} of {self._where}")
            await self._intake.run(self._read(first))
        finally:
            await parted(self._receiver, _PARTING_SECONDS, socket)

    async def _received(self, seconds: float) -> list[ServiceBusReceivedMessage]:
        most = self._intake.left
        return await self._receiver.receive_messages(max_message_count=most, max_wait_time=seconds)

    async def _called(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await within(_ANSWER_SECONDS, work)
        except TimeoutError as error:
            raise SourceError(f"{self._where} has not answered for {_ANSWER_SECONDS:g} s ({self._place})") from error
        except Exception as error:
            # The library raises its own, AMQP's, and the system's.
            raise SourceError(sentence(self._where, self._place, error)) from error

    async def _read(self, messages: list[ServiceBusReceivedMessage]) -> None:
        loop = asyncio.get_running_loop()
        heard = loop.time()
        await self._intake.free()
        while True:
            for message in messages:
                self._intake.begin(self._keep(message))
                await self._intake.free()
            if messages:
                heard = loop.time()
            elif loop.time() - heard > _QUIET_SECONDS:
                # The library does not notice a service that stands still.
                await self._called(self._receiver.peek_messages(max_message_count=1))
                heard = loop.time()
            receiving = asyncio.ensure_future(self._called(self._received(_WAIT_SECONDS)))
            try:
                messages = await asyncio.shield(receiving)
            except asyncio.CancelledError:
                # The library may be in the middle of an answer, and its connection is still needed to complete messages.
                with contextlib.suppress(Exception):
                    await within(_PARTING_SECONDS, self._give_back_all(receiving))
                raise

    async def _keep(self, message: ServiceBusReceivedMessage) -> None:
        refused = ""
        renewing = asyncio.create_task(self._renew(message))
        try:
            await self._ctx.emit(_read_data(self._ctx.config, message), id=_name(message))
        except (EventInvalid, EventTooLarge) as error:
            refused = str(error)
        except BaseException:
            await _ended(renewing)
            await self._give_back(message)
            raise
        await _ended(renewing)
        # Where it fails, the message comes again, and is known by its id.
        with contextlib.suppress(Exception):
            if refused:
                said = {"reason": "no event", "error_description": refused[:_REASON]}
                await within(_ANSWER_SECONDS, self._receiver.dead_letter_message(message, **said))
            else:
                await within(_ANSWER_SECONDS, self._receiver.complete_message(message))
        if refused:
            self._ctx.refused(f"{refused} (message {message.sequence_number} of {self._place}); dead-lettered there")

    async def _renew(self, message: ServiceBusReceivedMessage) -> None:
        while True:
            until = message.locked_until_utc
            left = (until - dt.datetime.now(dt.UTC)).total_seconds() if until else 0.0
            await asyncio.sleep(min(_RENEW_SECONDS, max(0.5, left / 2)))
            try:
                await self._receiver.renew_message_lock(message)
            except Exception as error:  # noqa: BLE001 - whatever it is, the message then comes again
                self._ctx.log.debug("%s", sentence(self._where, f"renewing a lock of {self._place}", error))

    async def _give_back(self, message: ServiceBusReceivedMessage) -> None:
        # Where it fails, the message comes again when its lock ends.
        with contextlib.suppress(Exception):
            await within(_PARTING_SECONDS, self._receiver.abandon_message(message))

    async def _give_back_all(self, receiving: asyncio.Future[list[ServiceBusReceivedMessage]]) -> None:
        await asyncio.gather(*map(self._give_back, await receiving))


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _namespace(ctx: SourceContext[AzureServiceBusConfig]) -> Namespace:
    config = ctx.config
    if config.connection_string is None:
        return Namespace(config.fully_qualified_namespace)
    where = parse(ctx.secret(config.connection_string))
    wanted = config.queue_name or config.topic_name
    if where.entity and where.entity != wanted:
        raise ConfigError(f"the connection string is of {where.entity!r} (EntityPath), not of {wanted!r}")
    return where


_PROPERTIES = (
    "applicationProperties", "contentType", "correlationID", "enqueuedTime", "messageID", "replyTo", "sequenceNumber",
    "subject",
)  # fmt: skip


def _name(message: ServiceBusReceivedMessage) -> str:
    when = message.enqueued_time_utc
    return f"{message.sequence_number}/{int(when.timestamp() * 1000) if when else 0}"


def _read_data(config: AzureServiceBusConfig, message: ServiceBusReceivedMessage) -> bytes:
    properties = message.application_properties
    when = message.enqueued_time_utc
    fields = {
        "contentType": message.content_type,
        "correlationID": message.correlation_id,
        "enqueuedTime": _go_time(when) if when else None,
        "messageID": message.message_id or "",
        "replyTo": message.reply_to,
        "subject": message.subject,
    }
    return _data(config, _body(message), fields, message.sequence_number, properties)


def _body(message: ServiceBusReceivedMessage) -> bytes | None:
    """The bytes of a data or a text message; None of a sequence, as upstream has it."""
    body = message.body
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, bytes):
        return body
    try:
        return b"".join(body)
    except TypeError:
        return None


def _data(
    config: AzureServiceBusConfig,
    body: bytes | None,
    fields: Mapping[str, Any],
    number: int | None,
    properties: Mapping[Any, Any] | None,
) -> bytes:
    """The event's data as JSON text, in upstream's shape. Raises EventInvalid if the body is not what it should be."""
    text = b"null"
    if config.json_body:
        text = raw_json(body or b"")
    elif body is not None:
        text = b'"%b"' % base64.b64encode(body)
    told = {_text(name): _plain(value) for name, value in properties.items()} if properties else None
    head = gojson.dumps(dict(sorted(told.items())) if told else None)
    rest = {
        name: number if name == "sequenceNumber" else fields.get(name)
        for name in _PROPERTIES
        if name != "applicationProperties"
    }
    end = gojson.dumps(rest, sort_keys=False)
    return b'{"applicationProperties":%b,"body":%b,%b%b}' % (head, text, end[1:-1], tail(config.metadata))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return _text(value)
    if isinstance(value, dt.datetime):
        return _go_time(value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _go_time(when: dt.datetime) -> str:
    text = when.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".")
    return f"{text}Z"
