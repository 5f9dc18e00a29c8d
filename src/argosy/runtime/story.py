"""What happened to each event, as sentences and as numbers: the one place that turns decisions and outcomes into logs and metrics."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Sequence

from argosy.bus._base import Delivery
from argosy.event import Event
from argosy.runtime.status import Pulse
from argosy.runtime.telemetry import Count, Metrics
from argosy.sensor.loop import Caused, Waiting
from argosy.sensor.matching import Decision
from argosy.sensor.waiting import listed, quoted

_story = logging.getLogger("argosy.story")
_log = logging.getLogger("argosy.sensor")
_WARN_SECONDS = 60.0


def short(text: str) -> str:
    """An id as a person reads it: its first eight characters."""
    return text[:8]


def received(namespace: str, event: Event) -> None:
    """An event is on the log."""
    if _story.isEnabledFor(logging.INFO):
        _story.info(
            "event %s from %s/%s is on the log",
            short(event.id),
            event.source,
            event.subject,
            extra={
                "action": "event.received",
                "namespace": namespace,
                "eventSourceName": event.source,
                "eventName": event.subject,
                "eventID": event.id,
            },
        )


class SensorStory:
    """The observer of one sensor's loop."""

    def __init__(
        self, namespace: str, sensor: str, metrics: Metrics, *, pulse: Pulse | None = None, shadow: bool = False
    ) -> None:
        self._namespace = namespace
        self._sensor = sensor
        self._runs = "would run" if shadow else "will run"
        self._metrics = metrics
        self._pulse = pulse or Pulse()
        self._fields = {"namespace": namespace, "sensorName": sensor}
        self._warned: dict[str, float] = {}
        self._filtered: dict[tuple[str, bool], Count] = {}

    def matched(
        self, delivery: Delivery, decisions: Sequence[Decision], caused: Sequence[Caused], waiting: Sequence[Waiting]
    ) -> None:
        """Count rejections and tell what became of the event."""
        assert delivery.event is not None
        self._pulse.last_event = time.time()
        for decision in decisions:
            if decision.event is not None:
                continue
            failed = decision.verdict.failed
            count = self._filtered.get((decision.dependency, failed))
            if count is None:
                labels = (self._namespace, self._sensor, decision.dependency, "failed" if failed else "rejected")
                count = self._filtered[decision.dependency, failed] = self._metrics.events_filtered.labels(*labels)
            count.value += 1
            if failed:
                _log.warning(
                    "sensor '%s' dropped event %s: dependency '%s' could not decide: %s",
                    self._sensor,
                    short(delivery.event.id),
                    decision.dependency,
                    decision.verdict.reason,
                    extra={"action": "event.undecided", "eventID": delivery.event.id, **self._fields},
                )
        if not _story.isEnabledFor(logging.INFO):
            return
        said = []
        if caused:
            times = Counter(item.trigger for item in caused)  # forEach makes many of one
            words = [f"'{name}'" if count == 1 else f"'{name}' {count} times" for name, count in times.items()]
            said.append(f"{self._runs} {listed(words)}")
        said += [
            f"holds it for '{item.trigger}', which {item.sentence}"
            if item.sentence
            else f"holds it for '{item.trigger}' until {quoted(item.for_dependencies)} comes"
            for item in waiting
        ]
        if not said and all(decision.verdict.failed for decision in decisions):
            return
        if not said:
            reasons = [item.verdict.reason for item in decisions if item.event is None and not item.verdict.failed]
            said.append(f"does nothing: {'; '.join(reasons) or 'no trigger waits for it'}")
        _story.info(
            "sensor '%s' saw event %s from %s/%s and %s",
            self._sensor,
            short(delivery.event.id),
            delivery.event.source,
            delivery.event.subject,
            ", ".join(said),
            extra={"action": "event.matched", "eventID": delivery.event.id, **self._fields},
        )

    def came_due(self, caused: Caused, why: str) -> None:
        """Tell what time alone caused."""
        _story.info(
            "sensor '%s' %s '%s': %s",
            self._sensor,
            self._runs,
            caused.trigger,
            why,
            extra={"action": "action.due", "actionID": caused.id, "triggerName": caused.trigger, **self._fields},
        )

    def gave_up(self, trigger: str, values: Sequence[str]) -> None:
        """Count what was given up, and warn at most once a minute for each trigger."""
        self._metrics.pending_given_up.labels(self._namespace, self._sensor, trigger).inc(len(values))
        now = time.monotonic()
        if now - self._warned.get(trigger, -math.inf) < _WARN_SECONDS:
            return
        self._warned[trigger] = now
        _log.warning(
            "trigger '%s' of sensor '%s' gives up what has waited longest (%s), because more values wait than maxPending allows",
            trigger,
            self._sensor,
            ", ".join(short(value) for value in values[:3]),
            extra={"action": "sensor.gave_up", "triggerName": trigger, **self._fields},
        )

    def unreadable(self, delivery: Delivery) -> None:
        """Count and name an entry of the log that is no event."""
        self._metrics.events_unreadable.labels(self._namespace, self._sensor).inc()
        _log.warning(
            "sensor '%s' skipped entry %d of the log: %s",
            self._sensor,
            delivery.position,
            delivery.error,
            extra={"action": "event.unreadable", **self._fields},
        )

    def problem(self, sentence: str) -> None:
        """Something a person must know."""
        self._pulse.failed("matching", sentence)
        _log.error("sensor '%s': %s", self._sensor, sentence, extra={"action": "sensor.problem", **self._fields})
