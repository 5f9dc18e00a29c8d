"""The event sources of the corpus run whose servers are large or slow."""

from __future__ import annotations

from pathlib import Path

import pytest

import tests.corpus.peers  # noqa: F401 - enters the players
from tests.corpus.players import Example, played_with, run
from tests.peers.kafka_server import KafkaServer

pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utc:DeprecationWarning:azure")


@pytest.mark.parametrize("example", played_with("peers"))
async def test_an_example_runs_and_a_message_becomes_an_event(
    example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(example, tmp_path, monkeypatch)


@pytest.mark.parametrize("example", played_with("kafka"))
async def test_an_example_runs_against_kafka(
    example: Example, kafka: KafkaServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(example, tmp_path, monkeypatch, kafka)
