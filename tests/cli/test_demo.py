"""The tour: the quickstart's manifests on a real embedded bus, in a process of its own."""

from __future__ import annotations

import subprocess
import sys


def test_the_tour_ends_by_itself_and_everything_in_it_happened() -> None:
    tour = subprocess.run(
        [sys.executable, "-m", "argosy.cli.main", "demo", "--pause", "0"], capture_output=True, text=True, timeout=100
    )

    assert tour.returncode == 0, tour.stdout + tour.stderr
    assert "shipped a compass, paid 12" in tour.stdout
    assert "drained" in tour.stdout
