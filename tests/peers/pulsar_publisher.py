"""A publisher beside the ``pulsar`` source, by the library's blocking client."""

from __future__ import annotations

import asyncio
import itertools
import os
from typing import Any, Self

import httpx2
import orjson
import pulsar

from argosy.manifests.fields import Json
from tests.brokers.sources.suite import BrokerUpstream
from tests.peers.pulsar_server import PulsarServer

_numbers = itertools.count(1)
TOKEN = {"name": "pulsar", "key": "token"}


class Publisher(BrokerUpstream):
    """Publishes to one topic, which nobody else uses."""

    kind = "pulsar"
    server: PulsarServer
    redelivers = True
    keeps = True
    names_messages = True

    def __init__(self, server: PulsarServer) -> None:
        super().__init__(server)
        self.topic = f"topic-{next(_numbers)}"
        self.place = f"persistent://public/default/{self.topic}"
        self.block = {
            "url": server.url,
            "topics": [self.place],
            "type": "exclusive",
            "jsonBody": True,
            "authTokenSecret": TOKEN,
        }
        self.secrets = {("pulsar", "token"): server.token()}  # type: ignore[misc]
        self.sent = 0

    async def __aenter__(self) -> Self:
        log = pulsar.FileLogger(pulsar.LoggerLevel.Error, os.devnull)
        token = pulsar.AuthenticationToken(self.server.token())
        self._client = pulsar.Client(self.server.url, authentication=token, logger=log)
        self._producers: dict[str, Any] = {}
        return self

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.to_thread(self._client.close)

    async def publish(self, body: bytes, topic: str = "", key: str | None = None) -> None:
        """Return once the broker has it."""
        name = topic or self.place
        if name not in self._producers:
            self._producers[name] = await asyncio.to_thread(self._client.create_producer, name)
        await asyncio.to_thread(self._producers[name].send, body, partition_key=key)
        self.sent += 1

    async def send(self, text: str) -> None:
        await self.publish(orjson.dumps({"text": text}))

    async def send_bad(self) -> None:
        await self.publish(b"{no")

    def at(self, host: str) -> dict[str, Json]:
        return {"url": f"pulsar+ssl://{host}"}

    def text_of(self, data: Json) -> str:
        assert list(data) == ["key", "publishTime", "body"] or list(data)[3:] == ["metadata"]
        assert data["publishTime"].endswith(" +0000 UTC")
        return str(data["body"]["text"])

    async def acknowledged(self) -> int:
        found = (await self.look(f"persistent/public/default/{self.topic}/stats?getPreciseBacklog=true"))[
            "subscriptions"
        ]
        return self.sent - int(next(iter(found.values()))["msgBacklog"]) if found else 0

    async def look(self, path: str) -> Any:
        """What the broker's REST interface says."""
        headers = {"Authorization": f"Bearer {self.server.token()}"}
        async with httpx2.AsyncClient(trust_env=False, headers=headers) as http:
            answer = await http.get(f"{self.server.admin}/{path}")
            answer.raise_for_status()
            return answer.json()
