"""The run is killed at every boundary that an event crosses (``argosy.runtime.failpoints``): nothing is missing, nothing is done twice.

One course plays all points, one after the other; each point is a test of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from argosy.errors import ConfigError
from argosy.runtime import failpoints
from tests.brokers.rabbitmq import RabbitMQ
from tests.crash.buses import BusInside
from tests.crash.course import ROOT, Course, Plan, Result, judge
from tests.crash.receiver import Moods
from tests.crash.rules import EVERYTHING

pytestmark = pytest.mark.timeout(300)
POINTS = list(failpoints.POINTS)


@pytest.fixture(scope="module")
def result(rabbitmq: RabbitMQ, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Result]:
    # The second time that a point is reached: in the middle of what it belongs to.
    plan = Plan(
        count=1200,
        kills=(),
        crash_at=[f"{point}:2" for point in POINTS],
        moods=Moods(lost_answers=0.05, errors=0.05),
        patience_seconds=40,
    )
    yield Course(plan, EVERYTHING, tmp_path_factory.mktemp("points"), rabbitmq, BusInside()).play()


@pytest.mark.parametrize("point", POINTS)
def test_a_process_that_is_killed_at_this_point_loses_nothing_and_does_nothing_twice(
    point: str, result: Result
) -> None:
    assert f"{point}:2" in result.died_at, result.faults
    assert judge(result, EVERYTHING) == []


def test_a_point_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is event.received"):
        failpoints.arm("event.recieved")


def test_the_page_on_reliability_says_what_each_point_means() -> None:
    page = (ROOT / "docs" / "explanation" / "reliability.md").read_text()

    assert [point for point in POINTS if f"`{point}`" not in page] == []
