"""A publisher beside the ``nats`` source, by the client library of NATS."""

from __future__ import annotations

import itertools
from typing import Self

import orjson

from argosy.manifests.fields import Json
from tests.brokers.nats_server import connect
from tests.brokers.sources.nats_server import PASSWORD, NatsServer
from tests.brokers.sources.suite import BrokerUpstream

_numbers = itertools.count(1)
BASIC = {"basic": {"username": {"name": "nats", "key": "user"}, "password": {"name": "nats", "key": "password"}}}
SECRETS = {("nats", "user"): "argosy", ("nats", "password"): PASSWORD}


class Publisher(BrokerUpstream):
    """A client that publishes to one subject, which nobody else uses."""

    kind = "nats"
    server: NatsServer
    secrets = SECRETS

    def __init__(self, server: NatsServer) -> None:
        super().__init__(server)
        self.subject = self.place = f"subject-{next(_numbers)}"
        self.block = {"url": server.url, "subject": f"{self.subject}.>", "jsonBody": True, "auth": BASIC}

    async def __aenter__(self) -> Self:
        self.client = await connect(self.server.url, user="argosy", password=self.server.password)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.client.close()

    async def again(self) -> None:
        """Connect anew, after the server was killed."""
        await self.client.close()
        await self.__aenter__()

    async def publish(self, body: bytes, subject: str = "", headers: dict[str, str] | None = None) -> None:
        """Return once the server has it."""
        await self.client.publish(subject or f"{self.subject}.a", body, headers=headers)
        await self.flush()

    async def flush(self) -> None:
        """Return once the server has all that was published."""
        await self.client.flush()  # its ping overtakes what waits to be written ...
        await self.client.flush()  # ... which is written by now

    async def send(self, text: str) -> None:
        await self.publish(orjson.dumps({"text": text}))

    async def send_bad(self) -> None:
        await self.publish(b"")

    def at(self, host: str) -> dict[str, Json]:
        return {"url": f"tls://{host}"}

    def text_of(self, data: Json) -> str:
        assert list(data) == ["subject", "body"] or list(data)[2:] == ["metadata"]
        assert data["subject"] == f"{self.subject}.a"
        return str(data["body"]["text"])
