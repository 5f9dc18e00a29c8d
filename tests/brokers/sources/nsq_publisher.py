"""A publisher beside the ``nsq`` source, by the HTTP interface of nsqd."""

from __future__ import annotations

import itertools
from typing import Any, Self

import httpx2
import orjson

from argosy.manifests.fields import Json
from tests.brokers.sources.nsq_server import PASSWORD, Nsqd
from tests.brokers.sources.suite import BrokerUpstream

_numbers = itertools.count(1)
SECRETS = {("nsq", "password"): PASSWORD}


class Publisher(BrokerUpstream):
    """Publishes to one topic, which has one channel that nobody else reads."""

    kind = "nsq"
    server: Nsqd
    redelivers = True
    keeps = True
    names_messages = True
    secrets = SECRETS

    def __init__(self, server: Nsqd) -> None:
        super().__init__(server)
        self.topic = self.place = f"topic-{next(_numbers)}"
        self.block = {
            "hostAddress": server.url,
            "topic": self.topic,
            "channel": "argosy",
            "jsonBody": True,
            "authSecret": {"name": "nsq", "key": "password"},
        }

    async def __aenter__(self) -> Self:
        self._http = httpx2.AsyncClient(trust_env=False)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._http.aclose()

    async def publish(self, body: bytes) -> None:
        """Return once nsqd has it."""
        answer = await self._http.post(self._url("pub"), params={"topic": self.topic}, content=body)
        assert answer.text == "OK"

    async def send(self, text: str) -> None:
        await self.publish(orjson.dumps({"text": text}))

    async def send_bad(self) -> None:
        await self.publish(b"{no")

    def at(self, host: str) -> dict[str, Json]:
        return {"hostAddress": f"nsqd://{host}"}

    def text_of(self, data: Json) -> str:
        assert list(data) == ["body", "timestamp", "nsqdAddress"] or list(data)[3:] == ["metadata"]
        assert data["timestamp"].isdigit() and len(data["timestamp"]) == 19
        assert data["nsqdAddress"].endswith((f":{self.server.port}", ":4150"))
        return str(data["body"]["text"])

    async def channel(self, name: str = "argosy") -> dict[str, Any]:
        """What nsqd says of a channel; empty where there is none."""
        answer = await self._http.get(self._url("stats"), params={"format": "json", "topic": self.topic})
        topics = answer.json()["topics"]
        channels = topics[0]["channels"] if topics else []
        return next((dict(each) for each in channels if each["channel_name"] == name), {})

    async def acknowledged(self) -> int:
        found = await self.channel()
        waiting = ("depth", "in_flight_count", "deferred_count")
        return int(found["message_count"] - sum(found[name] for name in waiting)) if found else 0

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server.http_port}/{path}"
