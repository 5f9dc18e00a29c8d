"""The brokers that the tests of this folder share: one RabbitMQ per test run, started by the first test
that asks for it, and a NATS server for each test.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.brokers.nats_server import NatsServer, connect
from tests.brokers.rabbitmq import NotThere, RabbitMQ, installed
from tests.missing import missing


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """A running RabbitMQ; each test uses queues and exchanges of its own. Skips where it is not installed;
    fails when ``CI`` is set.
    """
    try:
        installed()
    except NotThere as reason:
        missing(reason)
    with RabbitMQ(tmp_path_factory.mktemp("rabbitmq")) as broker:
        yield broker


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """A NATS server with nothing in it."""
    server = NatsServer(tmp_path / "nats")
    await server.start()
    yield server
    server.end()


@pytest.fixture
async def plain(server: NatsServer) -> AsyncIterator[Any]:
    """What a foreign process sees: nats-py's own JetStream client."""
    client = await connect(server.url)
    yield client.jetstream()
    await client.close()
