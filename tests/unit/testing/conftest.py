"""The folder that each test here works in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.testing.bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """An empty folder."""
    return Bench(tmp_path)
