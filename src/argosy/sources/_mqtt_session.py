"""One connection to an MQTT broker: greeting, subscription, keep-alive, and messages that are acknowledged in
order once their work is done.

A message is a task from the moment it is read. At most ``_in_flight.LIMIT`` are under way; while they are, nothing is
read, so the broker keeps the rest. Acknowledgements leave in the order in which the messages came, as the
standard demands (MQTT 3.1.1, 4.6); what was not acknowledged comes again at the next connection.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from argosy.addresses import Address
from argosy.errors import SourceError
from argosy.sources import _mqtt_packets as packets
from argosy.sources import _reaching
from argosy.sources._in_flight import InFlight
from argosy.sources._mqtt_packets import Packet, Published
from argosy.sources._reaching import opened

KEEP_ALIVE_SECONDS = 30
_ANSWER_SECONDS = 30.0


@dataclass(frozen=True)
class Login:
    """Who we are at a broker."""

    client_id: str
    clean: bool
    user: str | None = None
    password: str | None = field(default=None, repr=False)


class Session(_reaching.Session):
    """A connection that was accepted. ``resumed`` says that the broker still knows the session of our clientId."""

    def __init__(self, where: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(where, reader, writer)
        self.resumed = False
        self._early: deque[Packet] = deque()
        self._under_way: deque[tuple[Published, asyncio.Task[None]]] = deque()
        self._lost = False

    @property
    def stored(self) -> list[Published]:
        """Messages whose work is done and which were not acknowledged, since the connection was lost before.

        Until it reads an acknowledgement the broker gives their numbers to no other message of this session (4.4), so
        what comes again with such a number is the same message.
        """
        return [message for message, task in self._under_way if message.packet_id and _succeeded(task)]

    @classmethod
    async def begin(cls, where: Address, tls: ssl.SSLContext | None, login: Login) -> Session:
        """Connect and greet. Raises SourceError with the reason."""
        session = cls(where, *await opened(where, tls))
        # Twice as often as promised.
        return await session._begin(session._greet(login), packets.PINGREQ, KEEP_ALIVE_SECONDS / 2)

    async def end(self) -> None:
        """Say goodbye and close."""
        self._write(packets.DISCONNECT)
        await super().end()

    async def subscribe(self, topic: str, qos: int) -> int:
        """Ask for a topic; the QoS that the broker grants. Raises SourceError if it does not."""
        self._write(packets.subscribe(1, topic, qos))
        answer = await self._answer(packets.SUBACK)
        granted = answer.body[2] if len(answer.body) > 2 else 0x80
        if granted >= 0x80:
            raise SourceError(f"{self.where} refuses the topic {topic!r}; grant the user the right to read it")
        return granted

    async def unsubscribe(self, topic: str) -> None:
        """Give a topic up."""
        self._write(packets.unsubscribe(2, topic))
        await self._answer(packets.UNSUBACK)

    async def receive(self, keep: Callable[[Published], Coroutine[Any, Any, None]]) -> None:
        """Until cancelled: a call of ``keep`` for each message, which is acknowledged when the call returns.

        Raises SourceError if the connection is lost, and what ``keep`` raised, once what is under way has finished.
        """
        work = InFlight()

        async def take() -> None:
            while True:
                await work.free()
                message = await self._next_message()
                task = work.begin(keep(message))
                self._under_way.append((message, task))
                task.add_done_callback(lambda _: self._acknowledge())

        await work.run(take())

    def _acknowledge(self) -> None:
        """Acknowledge what is done, from the oldest up to the first that is not."""
        while self._under_way and not self._lost and _succeeded(self._under_way[0][1]):
            message, _ = self._under_way.popleft()
            if message.packet_id:
                self._write(packets.acknowledgement(message))

    async def _next_message(self) -> Published:
        packet = await self._next()
        while packet.kind != packets.PUBLISH:
            if packet.kind == packets.PUBREL:  # of a message with QoS 2, which an older session may have left
                self._write(packets.completion(packet))
            packet = await self._next()
        return packets.published(packet)

    async def _next(self) -> Packet:
        if self._early:
            return self._early.popleft()
        return await self._read(KEEP_ALIVE_SECONDS * 1.5)

    async def _read(self, patience_seconds: float) -> Packet:
        try:
            async with asyncio.timeout(patience_seconds):
                return await packets.read_packet(self._reader)
        except TimeoutError as error:
            self._lost = True
            raise SourceError(f"{self.where} has not answered for {patience_seconds:.0f} s") from error
        except asyncio.IncompleteReadError as error:
            self._lost = True
            raise SourceError(
                f"{self.where} ended the connection; if it does so again and again, another client may have our clientId"
            ) from error
        except OSError as error:
            self._lost = True
            raise SourceError(f"the connection to {self.where} was lost: {error.strerror or error}") from error

    async def _answer(self, kind: int) -> Packet:
        """The packet of this kind; messages that come before it wait for ``receive``."""
        while True:
            packet = await self._read(_ANSWER_SECONDS)
            if packet.kind == kind:
                return packet
            if packet.kind in (packets.PUBLISH, packets.PUBREL):
                self._early.append(packet)

    async def _greet(self, login: Login) -> None:
        self._write(
            packets.connect(
                login.client_id,
                keep_alive=KEEP_ALIVE_SECONDS,
                clean=login.clean,
                user=login.user,
                password=login.password,
            )
        )
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                answer = await packets.read_packet(self._reader)
        except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            raise SourceError(f"{self.where} does not greet; is it an MQTT port, does it want TLS (ssl://)?") from error
        if answer.kind != packets.CONNACK or len(answer.body) != 2:
            raise SourceError(f"{self.where} does not speak MQTT")
        if code := answer.body[1]:
            raise SourceError(f"{self.where}: {packets.REFUSALS.get(code, f'it refuses us with code {code}')}")
        self.resumed = bool(answer.body[0] & 1)


def _succeeded(task: asyncio.Task[None]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None
