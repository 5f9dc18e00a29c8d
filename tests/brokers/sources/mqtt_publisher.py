"""A publisher beside the ``mqtt`` source, by a client library of others."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator
from typing import Any

import orjson
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from argosy.errors import SourceError
from argosy.manifests.fields import Json
from tests.brokers.sources.mosquitto import PASSWORD, Mosquitto
from tests.conformance.source import Upstream, eventually, on_stage

_numbers = itertools.count(1)
AUTH = {"username": {"name": "mqtt", "key": "user"}, "password": {"name": "mqtt", "key": "password"}}
SECRETS = {("mqtt", "user"): "argosy", ("mqtt", "password"): PASSWORD}


class Publisher(Upstream):
    """A publisher with QoS 1 beside the source, by a client library of others."""

    redelivers = True
    keeps = True
    secrets = SECRETS

    def __init__(self, broker: Mosquitto) -> None:
        number = next(_numbers)
        self.broker = broker
        self.client = f"client-{number}"
        self.topic = f"topic-{number}"
        self.block = {
            "url": broker.url,
            "topic": f"{self.topic}/#",
            "clientId": self.client,
            "jsonBody": True,
            "auth": AUTH,
        }

    def __enter__(self) -> Publisher:
        self._paho = paho.Client(CallbackAPIVersion.VERSION2)
        self._paho.username_pw_set("argosy", PASSWORD)
        self._paho.connect("127.0.0.1", self.broker.port)
        self._paho.loop_start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._paho.disconnect()
        self._paho.loop_stop()

    async def publish(self, body: bytes, *, topic: str = "", qos: int = 1, retain: bool = False) -> None:
        """Return once the broker has confirmed that it has the message."""
        await eventually(self._paho.is_connected, "the publisher is connected")
        info = self._paho.publish(topic or f"{self.topic}/a", body, qos=qos, retain=retain)
        await eventually(info.is_published, "the broker confirmed")

    async def send(self, text: str) -> None:
        await self.publish(orjson.dumps({"text": text}))

    def text_of(self, data: Json) -> str:
        assert list(data) == ["topic", "messageId", "body"] or list(data)[3:] == ["metadata"]
        assert data["topic"] == f"{self.topic}/a"
        assert 1 <= data["messageId"] <= 0xFFFF
        return str(data["body"]["text"])

    async def acknowledged(self) -> int:
        return self.broker.acknowledged(self.client)


@contextlib.asynccontextmanager
async def raising(block: dict[str, Json], secrets: Any = None) -> AsyncIterator[str]:
    """What the source says when it starts with this block and cannot."""
    async with on_stage("mqtt", block, secrets={**SECRETS, **(secrets or {})}) as stage:
        with pytest.raises(SourceError) as raised:
            await stage.plugin().run(stage.context())
        assert stage.listening == []
        yield str(raised.value)
