"""The brokers that the tests of this folder share: one RabbitMQ per test run, started by the first test
that asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
