"""What the end-to-end tests need: a RabbitMQ of their own and a Kubernetes API. Skipped where one is not installed; in CI they fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers import rabbitmq as brokers
from tests.cli.running import Run
from tests.kubernetes import apiserver as clusters
from tests.missing import missing


def _there(check: object) -> None:
    assert callable(check)
    try:
        check()
    except (brokers.NotThere, clusters.NotThere) as reason:
        missing(reason)


@pytest.fixture
def rabbitmq(tmp_path: Path) -> Iterator[brokers.RabbitMQ]:
    """A RabbitMQ that this test alone uses, and may kill."""
    _there(brokers.installed)
    with brokers.RabbitMQ(tmp_path / "rabbitmq") as broker:
        yield broker


@pytest.fixture(scope="session")
def apiserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[clusters.ApiServer]:
    """A Kubernetes API that serves Argo Workflows' kinds."""
    _there(clusters.find)
    with clusters.running(tmp_path_factory.mktemp("apiserver")) as server:
        yield server


@pytest.fixture
def runs() -> Iterator[list[Run]]:
    """Put every ``Run`` in here: it is ended with the test."""
    started: list[Run] = []
    yield started
    for run in started:
        if run.process is not None:
            run.end(9)
