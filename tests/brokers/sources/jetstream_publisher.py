"""A NATS server with JetStream, and a publisher beside the ``jetstream`` source, by the client library of NATS."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, Self

import orjson

from argosy.manifests.fields import Json
from tests.brokers.nats_server import connect
from tests.brokers.sources.nats_publisher import BASIC, SECRETS
from tests.brokers.sources.nats_server import NatsServer
from tests.brokers.sources.suite import BrokerUpstream

_numbers = itertools.count(1)
DURABLE = "reader"


class JetstreamServer(NatsServer):
    """Keeps its streams in its folder. ``settings`` are more of its block ``jetstream``."""

    settings = ""

    def command(self) -> list[str]:
        command = super().command()
        config = Path(self.folder / "nats.conf")
        config.write_text(config.read_text() + f'jetstream {{ store_dir: "{self.folder}/store"{self.settings} }}\n')
        return command


class StreamPublisher(BrokerUpstream):
    """A client that publishes to one stream, which nobody else uses. ``api`` is the library's JetStream."""

    kind = "jetstream"
    server: JetstreamServer
    secrets = SECRETS
    redelivers = keeps = names_messages = True

    def __init__(self, server: JetstreamServer) -> None:
        super().__init__(server)
        self.stream = self.place = f"STREAM-{next(_numbers)}"
        self.subject = self.stream.lower()
        self.block = {
            "url": server.url,
            "stream": self.stream,
            "durable": DURABLE,
            "start": "all",
            "jsonBody": True,
            "auth": BASIC,
        }

    async def __aenter__(self) -> Self:
        self.client = await connect(self.server.url, user="argosy", password=self.server.password)
        self.api = self.client.jetstream()
        await self.api.add_stream(name=self.stream, subjects=[f"{self.subject}.>"])
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.client.close()

    async def again(self) -> None:
        await self.client.close()
        await self.__aenter__()

    async def publish(self, body: bytes, subject: str = "a", headers: dict[str, str] | None = None) -> None:
        """Return once the stream has it."""
        await self.api.publish(f"{self.subject}.{subject}", body, headers=headers)

    async def send(self, text: str) -> None:
        await self.publish(orjson.dumps({"text": text}))

    async def send_bad(self) -> None:
        await self.publish(b"")

    async def consumer(self, name: str = DURABLE) -> Any:
        """What the server says of a consumer."""
        return await self.api.consumer_info(self.stream, name)

    async def acknowledged(self) -> int:
        found = await self.consumer()
        return int(found.delivered.stream_seq - found.num_ack_pending)

    def at(self, host: str) -> dict[str, Json]:
        return {"url": f"tls://{host}"}

    def text_of(self, data: Json) -> str:
        assert list(data) == [
            "subject",
            "body",
            "stream",
            "sequence",
            "time",
            *(["metadata"] if "metadata" in data else []),
        ]
        assert data["subject"] == f"{self.subject}.a"
        assert data["stream"] == self.stream
        return str(data["body"]["text"])
