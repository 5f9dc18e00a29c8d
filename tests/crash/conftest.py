"""The RabbitMQ that the courses of this folder share; each uses an exchange and a queue of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.brokers.rabbitmq import NotThere, RabbitMQ, installed


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """A running RabbitMQ. Skips where it is not installed; fails when ``CI`` is set."""
    try:
        installed()
    except NotThere as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))
    with RabbitMQ(tmp_path_factory.mktemp("rabbitmq")) as broker:
        yield broker
