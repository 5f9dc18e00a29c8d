"""A publisher beside the ``nats`` source, by the client library of NATS."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from argosy.errors import ArgosyError
from argosy.manifests.fields import Json
from tests.brokers.nats_server import connect
from tests.brokers.sources.nats_server import PASSWORD, NatsServer
from tests.conformance.source import Upstream, on_stage

_numbers = itertools.count(1)
BASIC = {"basic": {"username": {"name": "nats", "key": "user"}, "password": {"name": "nats", "key": "password"}}}
SECRETS = {("nats", "user"): "argosy", ("nats", "password"): PASSWORD}


class Publisher(Upstream):
    """A client that publishes to one subject, which nobody else uses."""

    secrets = SECRETS

    def __init__(self, server: NatsServer) -> None:
        self.server = server
        self.subject = f"subject-{next(_numbers)}"
        self.block = {"url": server.url, "subject": f"{self.subject}.>", "jsonBody": True, "auth": BASIC}

    async def __aenter__(self) -> Publisher:
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

    def text_of(self, data: Json) -> str:
        assert list(data) == ["subject", "body"] or list(data)[2:] == ["metadata"]
        assert data["subject"] == f"{self.subject}.a"
        return str(data["body"]["text"])


@contextlib.asynccontextmanager
async def raising(block: dict[str, Json], secrets: Any = None) -> AsyncIterator[str]:
    """What the source says when it starts with this block and cannot."""
    async with on_stage("nats", block, secrets={**SECRETS, **(secrets or {})}) as stage:
        with pytest.raises(ArgosyError) as raised:
            await stage.plugin().run(stage.context())
        assert stage.listening == []
        yield str(raised.value)
