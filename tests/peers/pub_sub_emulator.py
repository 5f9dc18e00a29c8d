"""Google's own in-memory Pub/Sub (``pstest`` of its Go library) as a child process, and a publisher.

It keeps nothing when it ends: its topics and subscriptions are made anew.
"""

from __future__ import annotations

import itertools
from typing import Any, Self

import httpx2
from grpclib.client import Channel, UnaryUnaryMethod

from argosy.manifests.fields import Json
from argosy.sources._pub_sub_messages import PUBLISHER, SUBSCRIBER, TYPES
from tests.brokers.sources.server import Server, built
from tests.brokers.sources.suite import BrokerUpstream

_numbers = itertools.count(1)


class PubSubEmulator(Server):
    """One emulator."""

    def ports(self) -> list[int]:
        return [self.port, self.tls_port]

    def command(self) -> list[str]:
        # The second port has no TLS: it tells what was done with each message.
        return [built("pubsub-emulator"), str(self.port), str(self.tls_port)]

    def set_password(self, password: str) -> None:
        raise AssertionError("an emulator asks nobody who he is")


class Published:
    """Bytes that are sent as they are: what the source itself has no message for."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = data

    def SerializeToString(self) -> bytes:
        return self.data

    @classmethod
    def FromString(cls, data: bytes) -> Self:
        return cls(data)


def field(number: int, value: bytes) -> bytes:
    """One field of a message, of text or bytes or another message."""
    size, length = len(value), b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + value


class Publisher(BrokerUpstream):
    """A client that publishes to one topic, which nobody else uses."""

    redelivers = True
    keeps = True
    names_messages = True
    kind = "pubSub"
    server: PubSubEmulator

    def __init__(self, server: PubSubEmulator) -> None:
        super().__init__(server)
        number = next(_numbers)
        self.topic, self.subscription = f"projects/p/topics/topic-{number}", f"projects/p/subscriptions/sub-{number}"
        self.place = self.subscription
        self.block = {
            "projectID": "p",
            "topic": f"topic-{number}",
            "subscriptionID": f"sub-{number}",
            "jsonBody": True,
        }

    async def __aenter__(self) -> Self:
        self._channel = Channel("127.0.0.1", self.server.port)
        self._client = httpx2.AsyncClient(trust_env=False)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._channel.close()
        await self._client.aclose()

    async def call(self, method: str, request: Any, answer: Any) -> Any:
        """One call."""
        unary: Any = UnaryUnaryMethod(self._channel, method, type(request), answer)
        return await unary(request, timeout=20.0)

    async def make(self, *, topic: str = "", subscription: str = "", **fields: Any) -> None:
        """Make the topic, and the subscription."""
        topic = topic or self.topic
        await self.call(f"{PUBLISHER}/CreateTopic", TYPES["Topic"](name=topic), TYPES["Topic"])
        made = TYPES["Subscription"](name=subscription or self.subscription, topic=topic, **fields)
        await self.call(f"{SUBSCRIBER}/CreateSubscription", made, TYPES["Subscription"])

    async def make_with_dead_letters(self, topic: str) -> None:
        """Make the topic, and the subscription with a dead-letter topic after five deliveries."""
        await self.call(f"{PUBLISHER}/CreateTopic", TYPES["Topic"](name=self.topic), TYPES["Topic"])
        policy = field(1, topic.encode()) + b"\x10\x05"
        made = TYPES["Subscription"](name=self.subscription, topic=self.topic).SerializeToString() + field(13, policy)
        await self.call(f"{SUBSCRIBER}/CreateSubscription", Published(made), Published)

    async def publish(self, data: bytes, topic: str = "", **attributes: str) -> str:
        """Publish a message; its id."""
        message = TYPES["PubsubMessage"](data=data, attributes=attributes).SerializeToString()
        request = Published(field(1, (topic or self.topic).encode()) + field(2, message))
        answer = await self.call(f"{PUBLISHER}/Publish", request, Published)
        return str(answer.data[2:].decode())

    async def send(self, text: str) -> None:
        await self.publish(f'{{"text": "{text}"}}'.encode(), sender="test")

    async def send_bad(self) -> None:
        await self.publish(b"no JSON")

    def at(self, host: str) -> dict[str, Json]:
        raise NotImplementedError

    def text_of(self, data: Json) -> str:
        assert list(data)[:4] == ["id", "body", "attributes", "publishTime"]
        assert list(data)[4:] in ([], ["metadata"])
        assert data["attributes"] == {"sender": "test"} and data["publishTime"].endswith(" +0000 UTC")
        return str(data["body"]["text"])

    async def told(self, topic: str = "") -> list[dict[str, Any]]:
        """What subscribers have done with each message of the topic."""
        answer = await self._client.get(f"http://127.0.0.1:{self.server.tls_port}/")
        return [each for each in answer.json() if each["Topic"] == (topic or self.topic)]

    async def acknowledged(self) -> int:
        return sum(each["Acks"] > 0 for each in await self.told())
