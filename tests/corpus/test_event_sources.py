"""Every event source of the corpus runs: its manifest as it is, a real server or a sender on the other side, and a message that
becomes an event. Those that need a large server run in that server's folder by the same ``players``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import tests.corpus.deliveries
import tests.corpus.peers  # noqa: F401 - these enter their players
from tests.corpus.players import PLAYERS, Example, examples, kinds, played_with, run

if not examples():
    pytest.skip("the corpus folder ../shared/corpus is not beside this checkout", allow_module_level=True)


@pytest.mark.parametrize("example", played_with(""))
async def test_an_example_runs_and_a_message_becomes_an_event(
    example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(example, tmp_path, monkeypatch)


def test_every_example_is_played() -> None:
    assert kinds() <= PLAYERS.keys(), "write a player for the kind"
