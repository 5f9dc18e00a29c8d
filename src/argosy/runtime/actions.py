"""One trigger's worker: takes actions from its queue, one after the other, and ends each with done, retry or dead letter.

The order within an action: the template's parameters, then the kind, then ``fetch``, then the block's parameters and payload, then
``fire``. All but ``fetch`` and ``fire`` are pure (``argosy.sensor.rendering``), so a try repeats them from the record and the sensor as it is now.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from argosy import registry
from argosy.bus._base import Lease, Queue
from argosy.clock import Clock
from argosy.errors import ArgosyError, ConfigError, EventInvalid, Rejected, RetryAfter
from argosy.lang import gojson
from argosy.manifests.fields import Backoff
from argosy.manifests.sensor import TriggerSpec
from argosy.runtime import failpoints
from argosy.runtime.secrets import Secrets
from argosy.runtime.story import short
from argosy.runtime.telemetry import Metrics
from argosy.sensor import actions, parameters, rendering
from argosy.sensor.actions import ActionRecord
from argosy.triggers._base import Action, Outcome, Trigger, TriggerContext

_log = logging.getLogger("argosy.trigger")
_story = logging.getLogger("argosy.story")

DEFAULT_RETRY = Backoff.model_validate({"duration": "1s", "factor": 2.0, "jitter": 0.2, "steps": 8})
"""What holds where a trigger has no ``retryStrategy``: eight tries over about two minutes. Upstream tries once and forgets."""
_LONGEST_PAUSE_SECONDS = 86400.0
"""What a ``factor`` may make of a pause. A ``duration`` that somebody writes is kept below that."""
_UNIT_SECONDS = {"Second": 1.0, "Minute": 60.0, "Hour": 3600.0}


MakeTrigger = Callable[[str, TriggerContext], Trigger[Any]]
"""Makes the plug-in of a kind. Raises Rejected or ExtraMissing if it cannot run here."""


def installed(kind: str, context: TriggerContext) -> Trigger[Any]:
    """The kind's plug-in out of the registry."""
    plugin = registry.trigger(kind)
    if plugin is None:
        raise Rejected(f"there is no trigger kind {kind!r} in this version of Argosy")
    registry.require(plugin)
    return plugin(context)


@dataclass(frozen=True, kw_only=True)
class TriggerDuties:
    """What all triggers of a process share."""

    secrets: Secrets
    clock: Clock
    metrics: Metrics
    grace_seconds: float
    """How long an attempt that is under way may go on when the process stops."""
    make: MakeTrigger = installed
    """Makes a trigger's plug-in."""
    chance: Callable[[], float] = random.random
    """A number in [0, 1): how much of the jitter a pause has."""


class TriggerWorker:
    """Performs the actions of one trigger until cancelled. ``give_up_to`` gets the actions whose tries are used up (``dlqTrigger``)."""

    def __init__(
        self,
        namespace: str,
        sensor: str,
        spec: TriggerSpec,
        queue: Queue,
        duties: TriggerDuties,
        give_up_to: Queue | None = None,
    ) -> None:
        self._namespace = namespace
        self._sensor = sensor
        self._spec = spec
        self._queue = queue
        self._duties = duties
        self._give_up_to = give_up_to
        self._labels = (namespace, sensor, spec.name)
        self._retry = spec.retry_strategy or DEFAULT_RETRY
        self._next_at = 0.0
        self._fields = {"namespace": namespace, "sensorName": sensor, "triggerName": spec.name}
        metrics = duties.metrics
        for counter in (metrics.actions_triggered, metrics.actions_failed, metrics.actions_given_up):
            counter.labels(*self._labels)  # shown as 0 from the start, as upstream does

    async def run(self) -> None:
        """Take and perform until cancelled. An attempt under way is finished within the grace time, then handed back."""
        async with AsyncExitStack() as stack:
            opened: dict[str, Trigger[Any]] = {}

            async def open_kind(kind: str) -> Trigger[Any]:
                if kind not in opened:
                    opened[kind] = await stack.enter_async_context(self._make(kind))
                return opened[kind]

            leases = await stack.enter_async_context(self._queue.take())
            async for lease in leases:
                await self._shielded(lease, open_kind)

    def _make(self, kind: str) -> Trigger[Any]:
        secrets, namespace = self._duties.secrets, self._namespace
        context = TriggerContext(
            namespace=namespace,
            sensor=self._sensor,
            trigger=self._spec.name,
            secret=lambda selector: secrets.secret(namespace, selector),
            config_map=lambda selector: secrets.config_map(namespace, selector),
            clock=self._duties.clock,
            log=logging.LoggerAdapter(_log, {**self._fields, "triggerType": kind}),
        )
        return self._duties.make(kind, context)

    async def _shielded(self, lease: Lease, open_kind: Callable[[str], Any]) -> None:
        """Perform; when cancelled meanwhile, let the attempt end within the grace time, else hand the action back."""
        attempt = asyncio.create_task(self._perform(lease, open_kind))
        try:
            await asyncio.shield(attempt)
        except asyncio.CancelledError:
            done, _ = await asyncio.wait({attempt}, timeout=self._duties.grace_seconds)
            if not done:
                attempt.cancel()
                await asyncio.wait({attempt})
                await lease.hand_back()
            raise

    async def _perform(self, lease: Lease, open_kind: Callable[[str], Any]) -> None:
        failpoints.reach("action.taken")
        once = self._spec.at_least_once is False
        if once:
            # Written explicitly: at most once. Whatever happens from here on, it is not done again.
            await lease.done(b'{"message":"at most once: settled before it ran"}')
        await self._pace()
        began = time.monotonic()
        try:
            record = actions.decode(lease.body)
            outcome = await self._attempt(lease, record, open_kind)
        except (Rejected, EventInvalid, ConfigError) as error:
            await self._failed(lease, error, began, once, final=True)
        except Exception as error:  # noqa: BLE001 - whatever a plug-in raises is an attempt that failed
            if not isinstance(error, ArgosyError):
                _log.debug("trigger '%s' raised", self._spec.name, exc_info=True, extra=self._fields)
            await self._failed(lease, error, began, once, final=False)
        else:
            failpoints.reach("action.fired")
            if not once:
                await lease.done(gojson.dumps({"message": outcome.message, "detail": outcome.detail}))
            self._succeeded(lease, outcome, began)

    async def _pace(self) -> None:
        limit = self._spec.rate_limit
        if limit is None or limit.requests_per_unit <= 0:
            return
        now = self._duties.clock.monotonic()
        wait = max(0.0, self._next_at - now)
        self._next_at = max(now, self._next_at) + _UNIT_SECONDS.get(limit.unit, 1.0) / limit.requests_per_unit
        if wait:
            await self._duties.clock.sleep(wait)

    async def _attempt(self, lease: Lease, record: ActionRecord, open_kind: Callable[[str], Any]) -> Outcome:
        if record.unusable:
            raise Rejected(record.unusable)
        caused_by = record.events
        prepared = rendering.prepare(self._spec, caused_by)
        plugin: Trigger[Any] = await open_kind(prepared.kind)
        resource = await plugin.fetch(prepared.config)
        rendered = rendering.complete(prepared, resource, caused_by)
        action = Action(
            id=lease.id,
            namespace=self._namespace,
            sensor=self._sensor,
            trigger=self._spec.name,
            events=caused_by,
            attempt=lease.failures + 1,
            payload=rendered.payload,
            resource=rendered.resource,
            policy=self._spec.policy,
            resolve=lambda src: parameters.resolve(src, caused_by),
        )
        return await plugin.fire(rendered.config, action)

    def _succeeded(self, lease: Lease, outcome: Outcome, began: float) -> None:
        milliseconds = int((time.monotonic() - began) * 1000)
        self._duties.metrics.actions_triggered.labels(*self._labels).inc()
        self._duties.metrics.action_milliseconds.labels(*self._labels).observe(milliseconds)
        if _story.isEnabledFor(logging.INFO):
            _story.info(
                "trigger '%s' of sensor '%s' did action %s in %d ms: %s",
                self._spec.name,
                self._sensor,
                short(lease.id),
                milliseconds,
                outcome.message,
                extra={"action": "action.done", "actionID": lease.id, **self._fields},
            )

    async def _failed(self, lease: Lease, error: Exception, began: float, once: bool, *, final: bool) -> None:
        sentence = str(error) if isinstance(error, ArgosyError) else f"{type(error).__name__}: {error}"
        metrics = self._duties.metrics
        metrics.actions_failed.labels(*self._labels).inc()
        metrics.action_milliseconds.labels(*self._labels).observe(int((time.monotonic() - began) * 1000))
        tries = lease.failures + 1
        extra = {"action": "action.failed", "actionID": lease.id, "attempt": tries, **self._fields}
        what = f"trigger '{self._spec.name}' of sensor '{self._sensor}' failed action {short(lease.id)}"
        if once:
            metrics.actions_given_up.labels(*self._labels).inc()
            _log.error(
                "%s: %s; not tried again, because the trigger says atLeastOnce: false", what, sentence, extra=extra
            )
            return
        if not final and tries < self._retry.tries:
            if isinstance(error, RetryAfter):
                pause = error.seconds
            else:
                pause = min(self._retry.pause_seconds(tries, self._duties.chance()), _LONGEST_PAUSE_SECONDS)
            _log.warning(
                "%s, try %d of %d: %s; next in %.1f s", what, tries, self._retry.tries, sentence, pause, extra=extra
            )
            await lease.retry_in(pause, sentence)
            return
        why = "another try cannot help" if final else f"{tries} tries are used up"
        metrics.actions_given_up.labels(*self._labels).inc()
        metrics.actions_dead_lettered.labels(*self._labels).inc()
        _log.error("%s: %s; %s, it is a dead letter now", what, sentence, why, extra={**extra, "action": "action.dead"})
        if self._give_up_to is not None:
            await self._give_up_to.put(lease.id, lease.body, again=True)
        await lease.dead_letter(sentence)
