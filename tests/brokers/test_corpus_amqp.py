"""The ``amqp`` event sources of the corpus run, against RabbitMQ."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.brokers.rabbitmq import RabbitMQ
from tests.corpus.players import Example, played_with, run


@pytest.mark.parametrize("example", played_with("rabbitmq"))
async def test_an_example_runs_and_a_message_becomes_an_event(
    example: Example, rabbitmq: RabbitMQ, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(example, tmp_path, monkeypatch, rabbitmq)
