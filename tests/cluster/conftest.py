"""What the tests of this folder share: the API server of ``tests.kubernetes``, and a whole cluster on which pods run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers import rabbitmq as brokers
from tests.cluster import whole
from tests.cluster.site import Site
from tests.kubernetes.apiserver import ApiServer, NotThere, running
from tests.kubernetes.conftest import apiserver, namespace, pytest_collection_modifyitems
from tests.missing import missing

__all__ = ["apiserver", "apiserver_alone", "cluster", "namespace", "pytest_collection_modifyitems", "rabbitmq", "sites"]


@pytest.fixture(scope="module")
def apiserver_alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A server that no other module uses, for what sees to all namespaces or takes kinds away."""
    try:
        with running(tmp_path_factory.mktemp("apiserver-alone")) as server:
            yield server
    except NotThere as reason:
        missing(reason)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[whole.Cluster]:
    """A running cluster; each test uses namespaces of its own, made by ``cluster.manager.namespace()``."""
    try:
        running = whole.running(tmp_path_factory.mktemp("cluster"))
        with running as cluster:
            yield cluster
    except NotThere as reason:
        missing(reason)


@pytest.fixture
def rabbitmq(tmp_path: Path) -> Iterator[brokers.RabbitMQ]:
    """A RabbitMQ that this test alone uses."""
    try:
        brokers.installed()
    except brokers.NotThere as reason:
        missing(reason)
    with brokers.RabbitMQ(tmp_path / "rabbitmq") as broker:
        yield broker


@pytest.fixture
def sites() -> Iterator[list[Site]]:
    """Put every ``Site`` in here: what is left of it goes with the test."""
    made: list[Site] = []
    yield made
    for site in made:
        site.remove()
