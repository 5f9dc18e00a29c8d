"""Notifications of the real oslo.messaging, and everything is killed under them: none is missing, none is done twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.brokers.rabbitmq import RabbitMQ
from tests.crash.buses import BusOutside
from tests.crash.course import Course, Plan, judge
from tests.crash.rules import PORTS

pytestmark = pytest.mark.timeout(300)


def test_every_notification_is_acted_upon_exactly_once_whatever_is_killed(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    plan = Plan(count=1000, oslo=True)

    result = Course(plan, PORTS, tmp_path, rabbitmq, BusOutside(tmp_path / "nats")).play()

    assert judge(result, PORTS) == []
    assert result.kills.total() == len(plan.kills)
