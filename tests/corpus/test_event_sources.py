"""Every event source of the corpus runs: its manifest as it is, a real server or a sender on the other side, and a message that
becomes an event. Those that need a large server run in that server's folder by the same ``players``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import tests.corpus.deliveries
import tests.corpus.peers  # noqa: F401 - these enter their players
from argosy import registry
from tests.corpus.players import PLAYERS, Example, examples, kinds, played_with, run

_LATER = "the kind does not run yet"
WAITING = {"azureEventsHub": _LATER, "emitter": _LATER, "hdfs": _LATER}
"""Kinds whose examples are read and not played, each with the reason. It must shrink: see below."""

if not examples():
    pytest.skip("the corpus folder ../shared/corpus is not beside this checkout", allow_module_level=True)


@pytest.mark.parametrize("example", played_with(""))
async def test_an_example_runs_and_a_message_becomes_an_event(
    example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(example, tmp_path, monkeypatch)


def test_every_example_is_played_or_waits_for_a_reason() -> None:
    assert kinds() - PLAYERS.keys() == WAITING.keys() & kinds(), "write a player for a kind, or say why it waits"
    assert not PLAYERS.keys() & WAITING.keys()


@pytest.mark.parametrize("kind", sorted(WAITING))
def test_what_waits_cannot_be_played_yet(kind: str) -> None:
    plugin = registry.source(kind)
    if WAITING[kind] == _LATER:
        assert plugin is None, f"{kind!r} runs: write its player"
    else:
        # A kind with a server or an emulator beside it has somebody who can play its example.
        assert plugin is not None and plugin.peer.startswith("double:"), f"{kind!r} can be played: write its player"
