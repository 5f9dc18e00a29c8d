"""The servers that the tests of this folder share: one of each a test run, started by the first test that asks for
it. Each test uses topics, streams and channels of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.brokers.sources.mosquitto import Mosquitto
from tests.brokers.sources.nats_server import NatsServer
from tests.brokers.sources.postgresql import PostgreSQL
from tests.brokers.sources.redis_server import RedisServer
from tests.brokers.sources.suite import BrokerUpstream
from tests.conformance.source import Stage, on_stage


@pytest.fixture(scope="session")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path_factory.mktemp("mosquitto")) as broker:
        yield broker


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    with PostgreSQL(tmp_path_factory.mktemp("postgresql")) as server:
        yield server


@pytest.fixture
async def stage(upstream: BrokerUpstream) -> AsyncIterator[Stage]:
    """The source beside the publisher that the test's module gives."""
    async with on_stage(upstream.kind, dict(upstream.block), secrets=dict(upstream.secrets)) as stage:
        yield stage
