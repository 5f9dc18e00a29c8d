"""``amqp``: each message of a RabbitMQ queue becomes one event, and is acknowledged once the bus holds the
event.

The source declares exchange and queue as the manifest says, binds them, and consumes. ``prefetch`` messages
may be in ``emit`` at a time; they are begun in the queue's order and acknowledged as they finish. A message
that cannot become an event is rejected without requeueing, so it goes to the queue's dead-letter exchange
where there is one. When the connection or channel is lost, ``run`` raises, and the broker delivers again
what was not acknowledged.

``_amqp_connection`` finds and reaches the broker, ``_amqp_message`` knows what a message becomes,
``_amqp_config`` what a manifest can say.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from argosy.errors import EventInvalid, EventTooLarge, SourceError
from argosy.kubernetes.rights import Asking, Rights
from argosy.sources._amqp_config import AmqpConfig, arguments_of
from argosy.sources._amqp_connection import Broker, at, connected, parse, refusal, words
from argosy.sources._amqp_message import Reading, read, recorded
from argosy.sources._amqp_rights import broker_right
from argosy.sources._base import Source, SourceContext
from argosy.sources._raw import Raw, Wrapped
from argosy.sources._reaching import patiently

if TYPE_CHECKING:
    import aiormq
    from aiormq.abc import AbstractChannel, DeliveredMessage


class Amqp(Source[AmqpConfig]):
    """Receives the messages of one queue. The event's id is the message's ``messageId``, or made of
    the ``message_id`` of an oslo.messaging notification; a message without either has none, and a redelivery of
    it is a second event.
    """

    kind: ClassVar[str] = "amqp"
    config = AmqpConfig
    exclusive: ClassVar[bool] = True
    acknowledges: ClassVar[bool] = True
    requires: ClassVar[tuple[str, ...]] = ("aiormq",)
    extra: ClassVar[str] = "amqp"
    peer: ClassVar[str] = "real: RabbitMQ"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: amqp
spec:
  amqp:
    example:
      url: amqp://rabbitmq.messaging:5672
      exchangeName: orders
      exchangeType: topic
      routingKey: order.*
      exchangeDeclare:
        durable: true
      queueDeclare:
        name: argo-orders
        durable: true
      jsonBody: true
      auth:
        username:
          name: rabbitmq
          key: username
        password:
          name: rabbitmq
          key: password
"""

    @classmethod
    def wrap(cls, config: AmqpConfig, raw: Raw) -> Wrapped:
        return Wrapped(*read(recorded(raw), _reading(config)))

    @classmethod
    def rights(cls, config: AmqpConfig, asking: Asking) -> Rights:
        return Rights(broker=[broker_right(config)])

    async def run(self, ctx: SourceContext[AmqpConfig]) -> None:
        async with _reached(ctx) as (connection, broker):
            with refusal(f"a channel at {broker}"):
                channel = await connection.channel(publisher_confirms=False)
                await channel.basic_qos(prefetch_count=ctx.config.prefetch)
            queue = await _declared(ctx.config, channel)
            await _Intake(ctx, channel, queue, broker).receive()


def _reading(config: AmqpConfig) -> Reading:
    return Reading(config.json_body, config.oslo, config.metadata)


class _Intake:
    """One consumer: every delivery is a task from the moment it comes until it is settled."""

    def __init__(self, ctx: SourceContext[AmqpConfig], channel: AbstractChannel, queue: str, broker: Broker) -> None:
        self._ctx = ctx
        self._channel = channel
        self._queue = queue
        self._broker = broker
        config = ctx.config
        self._reading = _reading(config)
        self._taking = True
        self._under_way: set[asyncio.Task[None]] = set()
        self._fault: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    async def receive(self) -> None:
        """Until cancelled, or until the channel or an emit fails; what is under way then is finished where
        it can be.
        """
        config, lost = self._ctx.config, self._channel.closing
        self._channel.on_consumer_cancel_callbacks.add(self._expelled)
        with refusal(f"consuming from queue {self._queue!r}"):
            answer = await self._channel.basic_consume(
                self._queue,
                self._deliver,
                no_ack=False,
                exclusive=config.consume.exclusive,
                consumer_tag=config.consume.consumer_tag or None,
            )
        try:
            self._ctx.listening(self._where())
            await asyncio.wait({lost, self._fault}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._taking = False
            try:
                if not lost.done():
                    await self._finish(str(answer.consumer_tag), lost)
            finally:
                # Lost, or out of time: what is left comes again from the broker.
                for task in self._under_way:
                    task.cancel()
                await asyncio.gather(*self._under_way, return_exceptions=True)
        if self._fault.done():
            raise self._fault.result()
        error = None if lost.cancelled() else lost.exception()
        raise SourceError(f"the connection to {self._broker} was lost: {words(error)}") from error

    async def _finish(self, consumer_tag: str, lost: asyncio.Future[Any]) -> None:
        import aiormq

        with contextlib.suppress(aiormq.AMQPError, RuntimeError):
            await self._channel.basic_cancel(consumer_tag)
        while self._under_way and not lost.done():
            await asyncio.wait({*self._under_way, lost}, return_when=asyncio.FIRST_COMPLETED)
        if not lost.done():
            # Answered in order: when this returns, the broker has read every acknowledgement before it.
            with contextlib.suppress(aiormq.AMQPError, RuntimeError):
                await self._channel.close()

    async def _deliver(self, message: DeliveredMessage) -> None:
        # A task of our own: the library cancels its tasks when the channel closes, and then an emit would
        # be cut off.
        if self._taking:
            task = asyncio.create_task(self._keep(message))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _keep(self, message: DeliveredMessage) -> None:
        try:
            refused = await self._emit(message)
        except Exception as error:  # noqa: BLE001 - whatever it is ends the run; the broker keeps the message
            self._give_up(error)
            return
        import aiormq

        tag = message.delivery_tag
        assert tag is not None
        # A channel that is gone ends the run by itself, and the message comes again.
        with contextlib.suppress(aiormq.AMQPError, RuntimeError):
            if refused is None:
                await self._channel.basic_ack(tag, wait=False)
                return
            await self._channel.basic_reject(tag, requeue=False, wait=False)
        self._ctx.refused(
            f"{refused} (message from exchange {message.exchange!r}, routing key {message.routing_key!r}); "
            f"rejected: queue {self._queue!r} hands it to its dead-letter exchange, or drops it without one"
        )

    async def _emit(self, message: DeliveredMessage) -> str | None:
        """None once the event is stored, or why it cannot become one."""
        try:
            data, name = read(message, self._reading)
            await self._ctx.emit(data, id=name)
        except (EventInvalid, EventTooLarge) as error:
            return str(error)
        return None

    def _expelled(self, _: object) -> None:
        self._give_up(SourceError(f"the broker ended our consumer: queue {self._queue!r} was deleted or has moved"))

    def _give_up(self, error: Exception) -> None:
        if not self._fault.done():
            self._fault.set_result(error)

    def _where(self) -> str:
        declared = self._ctx.config.queue_declare
        fleeting = not declared.passive and (declared.exclusive or declared.auto_delete)
        note = " (which keeps nothing while this source is away)" if fleeting else ""
        return f"queue '{self._queue}' of {self._broker}{note}"


@contextlib.asynccontextmanager
async def _reached(ctx: SourceContext[AmqpConfig]) -> AsyncIterator[tuple[aiormq.Connection, Broker]]:
    """A connection, tried as often as ``connectionBackoff`` says."""
    name = f"argosy {ctx.namespace}/{ctx.event_source}/{ctx.event_name}"
    async with contextlib.AsyncExitStack() as stack:

        async def connect() -> tuple[aiormq.Connection, Broker]:
            brokers, tls = _brokers(ctx)
            return await stack.enter_async_context(connected(brokers, tls, name))

        yield await patiently(ctx, ctx.config.connection_backoff, connect)


def _brokers(ctx: SourceContext[AmqpConfig]) -> tuple[list[Broker], ssl.SSLContext | None]:
    """Where to connect to, and how, by the secrets as they are now."""
    from argosy.tls import client_context

    config = ctx.config
    broker = parse(ctx.secret(config.url_secret) if config.url_secret else config.url)
    if config.auth and config.auth.username and config.auth.password:
        user, password = ctx.secret(config.auth.username), ctx.secret(config.auth.password)
        broker = replace(broker, user=user, password=password)
    if config.tls is not None:
        broker = replace(broker, encrypted=True)
    tls = client_context(config.tls, ctx.secret) if broker.encrypted else None
    return [broker, *(at(broker, host) for host in config.hosts)], tls


async def _declared(config: AmqpConfig, channel: AbstractChannel) -> str:
    """Make and bind what the manifest says; the name of the queue."""
    exchange, declare = config.exchange_name, config.exchange_declare
    if exchange:
        with refusal(f"exchange {exchange!r}", "exchangeDeclare"):
            await channel.exchange_declare(
                exchange,
                exchange_type=config.exchange_type,
                passive=declare.passive,
                durable=declare.durable,
                auto_delete=declare.auto_delete,
                internal=declare.internal,
            )
    wanted = config.queue_declare
    with refusal(f"queue {wanted.name!r}", "queueDeclare"):
        answer = await channel.queue_declare(
            wanted.name,
            passive=wanted.passive,
            durable=wanted.durable,
            exclusive=wanted.exclusive,
            auto_delete=wanted.auto_delete,
            arguments=arguments_of(wanted.arguments),
        )
    queue = str(answer.queue)
    if exchange:
        keys = [config.routing_key] if config.routing_key else []
        for key in dict.fromkeys([*keys, *config.routing_keys]):
            with refusal(f"binding queue {queue!r} to exchange {exchange!r} by {key!r}"):
                await channel.queue_bind(queue, exchange, key)
    return queue
