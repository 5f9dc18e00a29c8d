"""The story of an event: a sentence for who watches, a count for who measures, a warning where nothing could be decided."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from argosy.bus._base import Delivery
from argosy.event import Event
from argosy.runtime import story
from argosy.runtime.story import SensorStory
from argosy.runtime.telemetry import Metrics
from argosy.sensor.loop import Caused, Waiting
from argosy.sensor.matching import Decision
from argosy.sensor.verdict import Verdict

EVENT = Event("0123456789abcdef", "web", "in", "webhook", "2026-01-01T00:00:00Z", b"{}")
DELIVERY = Delivery(1, 0.0, EVENT)
ACCEPTED = Decision("a", Verdict("filters", True, "fine"), EVENT)
REJECTED = Decision("b", Verdict("filters", False, "data[0]: `x` is `1`, wanted `2`"))
FAILED = Decision("c", Verdict("filters", False, "path 'gone' does not exist", True))


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def _filtered(metrics: Metrics, dependency: str, result: str) -> float | None:
    labels = {"namespace": "ns", "sensor_name": "s", "dependency": dependency, "result": result}
    return metrics.registry.get_sample_value("argosy_events_filtered_total", labels)


class TestAnEventThatMatched:
    @pytest.mark.parametrize(
        ("decisions", "caused", "waiting", "sentence"),
        [
            ([ACCEPTED], [Caused("t", "1")], [], "will run 't'"),
            ([ACCEPTED], [Caused("t", "1"), Caused("u", "2")], [], "will run 't' and 'u'"),
            ([ACCEPTED], [Caused(name, name) for name in "tuv"], [], "will run 't', 'u' and 'v'"),
            (
                [ACCEPTED],
                [Caused("t", str(n)) for n in range(99)] + [Caused("u", "u")],
                [],
                "will run 't' 99 times and 'u'",
            ),
            ([ACCEPTED], [], [Waiting("t", ["b"])], "holds it for 't' until 'b' comes"),
            (
                [ACCEPTED],
                [Caused("u", "2")],
                [Waiting("t", ["b", "c"])],
                "will run 'u', holds it for 't' until 'b' and 'c' comes",
            ),
            ([REJECTED], [], [], "does nothing: data[0]: `x` is `1`, wanted `2`"),
            ([REJECTED, FAILED], [], [], "does nothing: data[0]: `x` is `1`, wanted `2`"),
            ([ACCEPTED], [], [], "does nothing: no trigger waits for it"),
            ([], [], [], None),
            ([FAILED], [], [], None),
        ],
    )
    def test_is_told_in_one_sentence(
        self,
        metrics: Metrics,
        caplog: pytest.LogCaptureFixture,
        decisions: Any,
        caused: Any,
        waiting: Any,
        sentence: str | None,
    ) -> None:
        with caplog.at_level(logging.INFO, "argosy.story"):
            SensorStory("ns", "s", metrics).matched(DELIVERY, decisions, caused, waiting)

        told = [record for record in caplog.records if record.name == "argosy.story"]
        if sentence is None:
            assert told == []
            return
        assert [record.getMessage() for record in told] == [f"sensor 's' saw event 01234567 from web/in and {sentence}"]
        fields = {name: getattr(told[0], name) for name in ("action", "eventID", "namespace", "sensorName")}
        assert fields == {"action": "event.matched", "eventID": EVENT.id, "namespace": "ns", "sensorName": "s"}

    def test_is_counted_by_dependency_and_by_whether_it_could_be_decided(self, metrics: Metrics) -> None:
        teller = SensorStory("ns", "s", metrics)

        for _ in range(2):
            teller.matched(DELIVERY, [ACCEPTED, REJECTED, FAILED], [], [])

        assert _filtered(metrics, "a", "rejected") is None
        assert _filtered(metrics, "b", "rejected") == 2
        assert _filtered(metrics, "c", "failed") == 2

    def test_makes_no_sentence_that_nobody_reads(self, metrics: Metrics, caplog: pytest.LogCaptureFixture) -> None:
        def sentence() -> str:
            raise AssertionError("nobody reads this")

        silent = Decision("b", Verdict("filters", False, sentence))

        with caplog.at_level(logging.WARNING, "argosy"):
            SensorStory("ns", "s", metrics).matched(DELIVERY, [silent], [], [])

        assert caplog.records == []
        assert _filtered(metrics, "b", "rejected") == 1

    def test_is_a_warning_where_a_dependency_could_not_decide(
        self, metrics: Metrics, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING, "argosy"):
            SensorStory("ns", "s", metrics).matched(DELIVERY, [FAILED], [], [])

        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert record.getMessage() == (
            "sensor 's' dropped event 01234567: dependency 'c' could not decide: path 'gone' does not exist"
        )


def test_an_entry_that_is_no_event_is_counted_and_named(metrics: Metrics, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "argosy"):
        SensorStory("ns", "s", metrics).unreadable(Delivery(7, 0.0, None, "it is not JSON"))

    labels = {"namespace": "ns", "sensor_name": "s"}
    assert metrics.registry.get_sample_value("argosy_events_unreadable_total", labels) == 1
    assert caplog.messages == ["sensor 's' skipped entry 7 of the log: it is not JSON"]


def test_a_problem_is_an_error_because_somebody_must_act(metrics: Metrics, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "argosy"):
        SensorStory("ns", "s", metrics).problem("trigger 't' starts empty")

    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "sensor 's': trigger 't' starts empty")


def test_an_event_on_the_log_is_told_where_it_comes_from(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "argosy.story"):
        story.received("ns", EVENT)
    with caplog.at_level(logging.WARNING, "argosy.story"):
        story.received("ns", EVENT)

    assert caplog.messages == ["event 01234567 from web/in is on the log"]
