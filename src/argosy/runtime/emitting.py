"""Publishes what an action came to, before the action is ended (``argosy.sensor.emitting`` says what the event is).

The action has had its effect by then, so nothing here may fail it: what the bus does not take is left out of the event, or the event is
left out, and the log says so. A bus that is away is waited for.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from argosy.bus._base import Lease
from argosy.clock import Clock
from argosy.errors import EventTooLarge, LangError
from argosy.event import Event, format_time
from argosy.manifests._action_models import Emit
from argosy.runtime import failpoints, story
from argosy.runtime.telemetry import Metrics
from argosy.sensor import emitting
from argosy.sensor.emitting import Ending

_log = logging.getLogger("argosy.trigger")

Publish = Callable[[Event], Awaitable[None]]


class Emitter:
    """A trigger's ``emit``. ``about`` is what all its actions have in common: ``namespace``, ``sensor``, ``trigger``, ``kind``."""

    def __init__(self, emit: Emit, publish: Publish, about: Mapping[str, str], clock: Clock, metrics: Metrics) -> None:
        self._emit = emit
        self._publish = publish
        self._about = about
        self._clock = clock
        self._metrics = metrics

    def refuses(self, events: Mapping[str, Event]) -> str:
        """Why an action for these events must not be performed; empty where it may."""
        return emitting.too_deep(self._emit, events.values())

    async def ended(
        self,
        ending: Ending,
        lease: Lease,
        events: Mapping[str, Event],
        message: str,
        detail: Mapping[str, Any],
    ) -> None:
        """Publish that the action that ``lease`` holds ended so, where the manifest wants it. Durable on return."""
        if ending not in self._emit.after:
            return
        action = {"id": lease.id, **self._about, "attempt": lease.failures + 1}
        for told in (detail, {}):
            try:
                event = emitting.event(
                    self._emit,
                    ending,
                    action=action,
                    message=message,
                    detail=told,
                    events=events,
                    time=format_time(self._clock.now()),
                    put=lease.put_at,
                )
                await self._publish(event)
            except (EventTooLarge, LangError, RecursionError) as error:
                what = "the detail of its answer is left out" if told else "it is left out"
                _log.warning(
                    "trigger '%s' of sensor '%s' emits an event that the bus does not take, %s: %s",
                    self._about["trigger"],
                    self._about["sensor"],
                    what,
                    error,
                    extra={"action": "event.emitted", "actionID": lease.id},
                )
                if told:
                    continue
                return
            failpoints.reach("event.emitted")
            self._metrics.events_sent.labels(self._about["namespace"], event.source, event.subject).inc()
            story.received(self._about["namespace"], event)
            return
