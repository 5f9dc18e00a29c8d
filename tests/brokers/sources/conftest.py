"""The servers that the tests of this folder share: one of each a test run, started by the first test that asks for
it. Each test uses topics, streams and channels of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.brokers.sources.mosquitto import Mosquitto


@pytest.fixture(scope="session")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path_factory.mktemp("mosquitto")) as broker:
        yield broker
