"""What several modules of this folder share: servers, one of each a test run, started by the first test that asks, and a run of Argosy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import Run
from tests.peers.azure_bus import AzureBus
from tests.peers.kafka_server import KafkaServer
from tests.peers.nautobot_server import NautobotServer
from tests.peers.pulsar_server import PulsarServer


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A running Kafka; each test uses topics and groups of its own."""
    with KafkaServer(tmp_path_factory.mktemp("kafka")) as server:
        yield server


@pytest.fixture(scope="session")
def pulsar_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PulsarServer]:
    """A running Pulsar; each test uses topics of its own."""
    with PulsarServer(tmp_path_factory.mktemp("pulsar")) as server:
        yield server


@pytest.fixture(scope="session")
def nautobot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NautobotServer]:
    """A running Nautobot; each test uses names of its own."""
    with NautobotServer(tmp_path_factory.mktemp("nautobot")) as server:
        yield server


@pytest.fixture(scope="module")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureBus]:
    """A double of Azure's buses for each module; each test uses queues and hubs of its own."""
    with AzureBus(tmp_path_factory.mktemp("azure-bus")) as server:
        yield server


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """``argosy run``, not started yet; killed at the end."""
    with Run(tmp_path) as run:
        yield run
