"""A flood with a stalled trigger fills the bus, not the memory; see ``tests.crash.flood``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.flood import flood

pytestmark = pytest.mark.timeout(300)


def test_a_flood_with_a_stalled_trigger_does_not_fill_the_memory(tmp_path: Path) -> None:
    found = flood(5, tmp_path)

    assert found.faults == []
    assert found.taken > 0
