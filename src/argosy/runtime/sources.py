"""One event of an EventSource, kept running: emit, restart with growing pauses, counts, one log line per failure.

A source only receives. What it raises is said once, with the source's name, and it is started again; the pause doubles from one second to
half a minute and begins anew after a minute of quiet.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from argosy import event as events
from argosy import registry
from argosy.bus._base import Bus
from argosy.clock import Clock
from argosy.errors import ArgosyError, BusError, EventInvalid, LangError, SourceError
from argosy.event import Event
from argosy.kubernetes.rights import account_of
from argosy.lang import gojson
from argosy.lang.pointing import pointed
from argosy.manifests.eventsource import EventSource, EventSpec
from argosy.manifests.fields import Json
from argosy.runtime import failpoints, story
from argosy.runtime.secrets import Secrets
from argosy.runtime.status import Pulses, told
from argosy.runtime.telemetry import Metrics
from argosy.runtime.turns import Turn, Turns
from argosy.sources._base import Source, SourceContext
from argosy.sources._filter import EventDecision, decision
from argosy.sources._http import HttpServers

_log = logging.getLogger("argosy.source")
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS, _QUIET_SECONDS = 1.0, 30.0, 60.0
_SECONDS_BETWEEN_LINES = 1.0


@dataclass(frozen=True, kw_only=True)
class SourceDuties:
    """What all sources of a process share."""

    http: HttpServers
    secrets: Secrets
    clock: Clock
    metrics: Metrics
    listening: Callable[[str], None]
    """Told once for each source that receives, with a sentence that says where."""
    acts_for_accounts: bool = False
    """Whether each source acts in the Kubernetes API as the service account of its EventSource; else as the process itself."""
    turns: Turns | None = None
    """Gives out the turns of exclusive sources, where other processes run the same ones."""
    pulses: Pulses = field(default_factory=Pulses)


class _Fields(logging.LoggerAdapter[logging.Logger]):
    """Adds its fields to those of a line; the standard one drops the line's own."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return msg, {**kwargs, "extra": {**(self.extra or {}), **(kwargs.get("extra") or {})}}


class SourceRunner:
    """Runs one source until cancelled."""

    def __init__(self, source: EventSource, spec: EventSpec, bus: Bus, duties: SourceDuties) -> None:
        self.name = f"{source.metadata.name}/{spec.name}"
        self.receiving = False
        self.reason = ""
        """Why it does not receive, as a clause; empty while it is tried, and where it does."""
        self._namespace = source.metadata.namespace
        self._source = source.metadata.name
        self._spec = spec
        self._bus = bus
        self._duties = duties
        self._labels = (self._namespace, self._source, spec.name)
        self._account = account_of(self._namespace, source.spec.template) if duties.acts_for_accounts else None
        self._said: dict[str, float] = {}
        self._decision: EventDecision | None = decision(spec.config)
        self._kind: type[Source[Any]] | None = registry.source(spec.kind)
        self._type = registry.event_type(spec.kind)
        self._turn: Turn | None = None
        if duties.turns is not None and self._kind is not None and self._kind.exclusive:
            standing_by = duties.metrics.sources_standing_by.labels(self._namespace, self._source)
            self._turn = duties.turns.of(source, spec.name, standing_by.inc)
        self._pulse = duties.pulses.of("EventSource", self._namespace, self._source)
        self._log = _Fields(
            logging.getLogger(f"argosy.source.{spec.kind}"),
            {
                "namespace": self._namespace,
                "eventSourceName": self._source,
                "eventSourceType": spec.kind,
                "eventName": spec.name,
            },
        )
        for counter in (duties.metrics.events_sent, duties.metrics.events_sent_failed, duties.metrics.events_refused):
            counter.labels(*self._labels)  # shown as 0 from the start, as upstream does
        duties.metrics.sources_running.labels(self._namespace, self._source)  # a source that never starts counts, too
        if self._decision is not None:
            for result in ("rejected", "failed"):
                duties.metrics.source_events_filtered.labels(*self._labels, result)

    async def run(self) -> None:
        """Receive until cancelled; the source is started anew whenever it ends."""
        assert self._kind is not None  # manifests hold registered kinds only
        pause = _FIRST_PAUSE_SECONDS
        while True:
            began = time.monotonic()
            reason = "it ended by itself"
            failure: Exception | str = reason
            try:
                registry.require(self._kind)
                if self._turn is None:
                    await self._receive(self._kind)
                else:
                    await self._turn.hold(lambda kind=self._kind: self._receive(kind))  # type: ignore[misc]
            except ArgosyError as error:
                reason, failure = str(error), error
            except Exception as error:  # noqa: BLE001 - whatever a plug-in raises must not end the others
                self._log.debug("source '%s' raised", self.name, exc_info=True)
                reason, failure = f"{type(error).__name__}: {error}", error
            self.reason = told(failure)
            self._pulse.failed(f"event '{self._spec.name}' is not received", failure)
            if time.monotonic() - began > _QUIET_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            wait = pause * (0.75 + random.random() / 2)
            self._duties.metrics.source_restarts.labels(*self._labels).inc()
            self._log.error(
                "source '%s' (%s) does not receive: %s; next try in %.0f s",
                self.name,
                self._spec.kind,
                reason,
                wait,
                extra={"action": "source.restart"},
            )
            await self._duties.clock.sleep(wait)
            self.reason = ""
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def _receive(self, kind: type[Source[Any]]) -> None:
        try:
            await kind().run(self._context())
        finally:
            if self.receiving:
                self.receiving = False
                self._duties.metrics.sources_running.labels(self._namespace, self._source).dec()

    @property
    def stands_by(self) -> str:
        """That another process receives in this one's place, as a clause; empty where it is not so."""
        return self._turn.waits if self._turn is not None and self._turn.stands_by else ""

    @property
    def late(self) -> str:
        """Why it neither receives nor stands by, as a clause; empty where it does."""
        if self.receiving or self.stands_by:
            return ""
        waits = self._turn.waits if self._turn is not None else ""
        return waits or f"does not receive{f': {self.reason}' if self.reason else ' yet'}"

    def _context(self) -> SourceContext[Any]:
        secrets, namespace = self._duties.secrets, self._namespace
        return SourceContext(
            namespace=namespace,
            event_source=self._source,
            event_name=self._spec.name,
            config=self._spec.config,
            emit=self._emit,
            secret=lambda selector: secrets.secret(namespace, selector),
            config_map=lambda selector: secrets.config_map(namespace, selector),
            bucket=self._bus.bucket(f"source/{namespace}/{self._source}/{self._spec.name}"),
            http=self._duties.http,
            clock=self._duties.clock,
            log=self._log,
            listening=self._listening,
            refused=self._refused,
            account=self._account,
        )

    def _listening(self, where: str) -> None:
        if not self.receiving:
            self.receiving = True
            self._duties.metrics.sources_running.labels(self._namespace, self._source).inc()
        self._duties.listening(f"source '{self.name}' ({self._spec.kind}) receives from {where}")

    def _refused(self, reason: str) -> None:
        self._duties.metrics.events_refused.labels(*self._labels).inc()
        self._warn("event.refused", "source '%s' refused a message: %s", reason)

    def _warn(self, action: str, sentence: str, reason: str) -> None:
        """Says it once in a while: a flood of bad messages, all of which are counted, must not become one of lines."""
        now = time.monotonic()
        if now - self._said.get(action, -_SECONDS_BETWEEN_LINES) >= _SECONDS_BETWEEN_LINES:
            self._said[action] = now
            self._log.warning(sentence, self.name, reason, extra={"action": action})

    def _keeps(self, data: bytes) -> bool:
        """Whether the event's filter lets it pass. What it drops is dealt with: the source acknowledges it."""
        if self._decision is None:
            return True
        filtered = self._duties.metrics.source_events_filtered
        try:
            if self._decision.accepts(data):
                return True
        except LangError as error:
            filtered.labels(*self._labels, "failed").inc()
            self._warn(
                "event.filter.failed", "source '%s' dropped an event that its filter fails on: %s", pointed(error)
            )
            return False
        filtered.labels(*self._labels, "rejected").inc()
        self._log.debug("source '%s' dropped an event by its filter", self.name, extra={"action": "event.filtered"})
        return False

    async def _emit(self, data: Json | bytes, *, id: str | None = None) -> None:
        began = time.monotonic()
        if isinstance(data, bytes):
            if not gojson.valid(data):
                raise EventInvalid("the data is not JSON")
            text = data
        else:
            try:
                text = gojson.dumps(data, sort_keys=False)
            except (TypeError, ValueError, ArgosyError) as error:
                raise EventInvalid(f"the data cannot be written as JSON: {error}") from error
        if not self._keeps(text):
            return
        if self._turn is not None and self._turn.over:
            # Asked at the last moment: a process that was frozen may wake here, and has lost its turn meanwhile.
            raise SourceError("its turn to receive is over, so what it received is left to another process")
        event = Event(
            id=id or events.new_id(),
            source=self._source,
            subject=self._spec.name,
            type=self._type,
            time=events.format_time(self._duties.clock.now()),
            data=text,
        )
        failpoints.reach("event.received")
        try:
            await self._bus.publish(event)
        except BusError:
            self._duties.metrics.events_sent_failed.labels(*self._labels).inc()
            raise
        self._pulse.last_event = time.time()
        failpoints.reach("event.published")
        self._duties.metrics.events_sent.labels(*self._labels).inc()
        self._duties.metrics.event_milliseconds.labels(*self._labels).observe(int((time.monotonic() - began) * 1000))
        story.received(self._namespace, event)
