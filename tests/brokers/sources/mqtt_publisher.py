"""A publisher beside the ``mqtt`` source, by a client library of others."""

from __future__ import annotations

import itertools
from typing import Self

import orjson
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from argosy.manifests.fields import Json
from tests.brokers.sources.mosquitto import PASSWORD, Mosquitto
from tests.brokers.sources.suite import BrokerUpstream
from tests.conformance.source import eventually

_numbers = itertools.count(1)
AUTH = {"username": {"name": "mqtt", "key": "user"}, "password": {"name": "mqtt", "key": "password"}}
SECRETS = {("mqtt", "user"): "argosy", ("mqtt", "password"): PASSWORD}


class Publisher(BrokerUpstream):
    """A publisher with QoS 1 beside the source, by a client library of others."""

    kind = "mqtt"
    server: Mosquitto
    redelivers = True
    keeps = True
    secrets = SECRETS

    def __init__(self, server: Mosquitto) -> None:
        super().__init__(server)
        number = next(_numbers)
        self.client = f"client-{number}"
        self.topic = self.place = f"topic-{number}"
        self.block = {
            "url": server.url,
            "topic": f"{self.topic}/#",
            "clientId": self.client,
            "jsonBody": True,
            "auth": AUTH,
        }

    async def __aenter__(self) -> Self:
        self._paho = paho.Client(CallbackAPIVersion.VERSION2)
        self._paho.username_pw_set("argosy", PASSWORD)
        self._paho.connect("127.0.0.1", self.server.port)
        self._paho.loop_start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._paho.disconnect()
        self._paho.loop_stop()

    async def publish(self, body: bytes, *, topic: str = "", qos: int = 1, retain: bool = False) -> None:
        """Return once the broker has confirmed that it has the message."""
        await eventually(self._paho.is_connected, "the publisher is connected")
        info = self._paho.publish(topic or f"{self.topic}/a", body, qos=qos, retain=retain)
        await eventually(info.is_published, "the broker confirmed")

    async def send(self, text: str) -> None:
        await self.publish(orjson.dumps({"text": text}))

    async def send_bad(self) -> None:
        await self.publish(b"{no")

    def at(self, host: str) -> dict[str, Json]:
        return {"url": f"ssl://{host}"}

    def text_of(self, data: Json) -> str:
        assert list(data) == ["topic", "messageId", "body"] or list(data)[3:] == ["metadata"]
        assert data["topic"] == f"{self.topic}/a"
        assert 1 <= data["messageId"] <= 0xFFFF
        return str(data["body"]["text"])

    async def acknowledged(self) -> int:
        return self.server.acknowledged(self.client)
