"""The RabbitMQ that the courses of this folder share; each uses an exchange and a queue of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.brokers.rabbitmq import NotThere, RabbitMQ, installed
from tests.missing import missing


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """A running RabbitMQ. Skips where it is not installed; fails when ``CI`` is set."""
    try:
        installed()
    except NotThere as reason:
        missing(reason)
    with RabbitMQ(tmp_path_factory.mktemp("rabbitmq")) as broker:
        yield broker
