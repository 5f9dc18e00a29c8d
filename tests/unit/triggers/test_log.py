"""The ``log`` trigger writes events as upstream does, at most once an interval."""

from __future__ import annotations

import datetime as dt
import logging
from typing import Any, ClassVar

import pytest

from argosy.manifests.fields import Json
from tests.conformance.trigger import Receiver, Stage, TriggerSuite, event


class _Log(Receiver):
    networked = False
    can_refuse = can_fail = can_hold = False

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.block: dict[str, Json] = {}
        self._caplog = caplog

    def lines(self) -> list[Any]:
        return [record for record in self._caplog.records if hasattr(record, "dependencyName")]

    async def effects(self) -> list[str]:
        return [line.actionID for line in self.lines()]

    async def arrived(self) -> Json:
        line = self.lines()[-1]
        told = logging.makeLogRecord({}).__dict__.keys() | {"message", "asctime", "taskName"}
        return {
            "message": line.getMessage(),
            **{name: value for name, value in line.__dict__.items() if name not in told},
        }


class _Clock:
    def __init__(self) -> None:
        self.moment = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)

    def now(self) -> dt.datetime:
        return self.moment

    async def sleep(self, seconds: float) -> None:
        self.moment += dt.timedelta(seconds=seconds)


@pytest.fixture
def receiver(caplog: pytest.LogCaptureFixture) -> _Log:
    caplog.set_level(logging.INFO, logger="argosy")
    return _Log(caplog)


class TestLog(TriggerSuite):
    kind = "log"
    bad_blocks: ClassVar[list[tuple[dict[str, Json], str]]] = [({"intervalSeconds": -1}, "intervalSeconds")]

    @pytest.fixture
    def receiver(self, caplog: pytest.LogCaptureFixture) -> _Log:
        caplog.set_level(logging.INFO, logger="argosy")
        return _Log(caplog)


async def test_each_event_is_a_line_with_upstreams_fields(receiver: _Log) -> None:
    # Given an action of two events
    stage = Stage("log")
    events = {"one": event({"a": "%d größe"}, id="1"), "two": event([2], id="2", subject="other")}
    # When it is fired
    async with stage.open() as trigger:
        outcome = await stage.fire(trigger, {}, events=events)
    # Then each event's data is the message of a line at INFO, with its dependency and context beside it
    first, second = receiver.lines()
    assert (first.levelno, first.getMessage(), first.dependencyName) == (
        logging.INFO,
        '{"a":"%d größe"}',
        "one",
    )
    assert (second.getMessage(), second.dependencyName) == ("[2]", "two")
    assert second.eventContext == {
        "id": "2",
        "source": "webhook",
        "specversion": "1.0",
        "type": "webhook",
        "datacontenttype": "application/json",
        "subject": "other",
        "time": "2026-11-23T10:00:00.5Z",
    }
    # And the trigger's own fields are on it
    assert (first.sensorName, first.triggerName) == ("stage", "act")
    assert outcome.message == "logged 2 events"


async def test_one_action_per_interval_is_logged(receiver: _Log) -> None:
    # Given a trigger with an interval of ten seconds
    clock = _Clock()
    stage = Stage("log", clock=clock)
    async with stage.open() as trigger:
        # When actions come at 0, 9 and 10 seconds
        for name, pause in (("at-0", 9), ("at-9", 1), ("at-10", 0)):
            await stage.fire(trigger, {"intervalSeconds": 10}, id=name)
            await clock.sleep(pause)
    # Then the one in between is not logged
    assert await receiver.effects() == ["at-0", "at-10"]
