"""A small soak with a fixed seed: notifications and posts, fifteen triggers, a moody receiver, and every kind of kill and halt.

``make soak`` plays a big one.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.brokers.rabbitmq import RabbitMQ
from tests.crash.soak import WEIGHTS, kills, play

pytestmark = pytest.mark.timeout(300)


def test_nothing_is_lost_and_nothing_is_done_twice_whatever_is_killed_or_halted(
    rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    result = play(2000, 10, 2, "inside", tmp_path / "soak", rabbitmq)

    assert result.faults == []
    assert set(result.kills) == set(WEIGHTS)


def test_what_is_killed_follows_from_the_seed() -> None:
    assert kills(50, 1) == kills(50, 1) != kills(50, 2)
    assert set(kills(len(WEIGHTS), 3)) == set(WEIGHTS)
