"""One trigger's worker: takes actions from its queue and ends each with done, retry, dead letter or discarded.

One after the other, or with ``queue.concurrency`` several side by side (``argosy.runtime.lines``). Before an attempt an action waits until its trigger is
not suspended, until its ``queue.delay`` is over, until a person has approved it (``approval``), and for a grant of the ``rateLimit``; who stops the process then hands it back untouched.

The order within an action: the template's parameters, then the kind, then ``fetch``, then the block's parameters and payload, then
``fire``. All but ``fetch`` and ``fire`` are pure (``argosy.sensor.rendering``), so a try repeats them from the record and the sensor as it is now.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from argosy.bus._base import Bus, Lease, Queue
from argosy.errors import ArgosyError, ConfigError, EventInvalid, Rejected, RetryAfter
from argosy.event import format_time
from argosy.kubernetes.rights import Account
from argosy.manifests.fields import Backoff
from argosy.manifests.sensor import TriggerSpec
from argosy.runtime import failpoints, outcomes, suspension
from argosy.runtime.approval import Approvals, Gate, Ruling
from argosy.runtime.duties import TriggerDuties
from argosy.runtime.emitting import Emitter
from argosy.runtime.keys import Keys
from argosy.runtime.lines import Lines, Taken, side_by_side, taken
from argosy.runtime.rates import rate
from argosy.runtime.story import short
from argosy.runtime.supervise import end_one
from argosy.runtime.suspension import Switch
from argosy.sensor import parameters, rendering
from argosy.sensor.actions import ActionRecord, encode
from argosy.sensor.emitting import Ending
from argosy.sensor.fanout import FanOut
from argosy.triggers._base import Action, Outcome, Trigger, TriggerContext

_log = logging.getLogger("argosy.trigger")
_story = logging.getLogger("argosy.story")

DEFAULT_RETRY = Backoff.model_validate({"duration": "1s", "factor": 2.0, "jitter": 0.2, "steps": 8})
"""What holds where a trigger has no ``retryStrategy``: eight tries over about two minutes. Upstream tries once and forgets."""
_LONGEST_PAUSE_SECONDS = 86400.0
"""What a ``factor`` may make of a pause, and the longest that a receiver is given (``Retry-After``), whatever it says."""

Perform = Callable[[Taken], Awaitable[bool]]
"""Performs an action now, and says whether it has ended."""


class TriggerWorker:
    """Performs the actions of one trigger until cancelled. ``give_up_to`` gets the actions whose tries are used up (``dlqTrigger``).

    ``queue`` must let as many items out as ``in_flight(spec)`` says. On ``bus`` is what else the trigger keeps and publishes.
    """

    def __init__(
        self,
        namespace: str,
        sensor: str,
        spec: TriggerSpec,
        bus: Bus,
        queue: Queue,
        duties: TriggerDuties,
        give_up_to: Queue | None = None,
        *,
        switch: Switch | None = None,
        account: Account | None = None,
    ) -> None:
        self._namespace = namespace
        self._sensor = sensor
        self._spec = spec
        self._queue = queue
        self._duties = duties
        self._give_up_to = give_up_to
        self._bucket = bus.bucket(f"trigger/{queue.name}")
        self._rate = rate(spec.rate_limit, bus, queue.name, duties.clock) if spec.rate_limit is not None else None
        self._switch = switch or Switch()
        self._account = account
        self._pulse = duties.pulses.of("Sensor", namespace, sensor)
        self._labels = (namespace, sensor, spec.name)
        self._retry = spec.retry_strategy or DEFAULT_RETRY
        self._fields = {"namespace": namespace, "sensorName": sensor, "triggerName": spec.name}
        self._key = Keys(spec.queue.key, sensor, self._fields)
        # Whatever has no elements here is a dead letter: it was put as a whole so that a person sees it.
        self._fan_out = FanOut(spec.for_each, strict=True) if spec.for_each is not None else None
        self._emitter: Emitter | None = None
        if spec.emit is not None:
            about = {"namespace": namespace, "sensor": sensor, "trigger": spec.name, "kind": spec.kind}
            self._emitter = Emitter(spec.emit, bus.publish, about, duties.clock, duties.metrics)
        self._gate: Gate | None = None
        if spec.approval is not None:
            clock, approver = duties.clock, duties.approver
            self._gate = Gate(spec.approval, spec.queue.delay, queue, Approvals(bus), clock, approver)
        self._patient = False
        """Whether an attempt under way that is cancelled may take as long as it likes: the trigger is suspended, the process goes on."""
        metrics = duties.metrics
        for counter in (metrics.actions_triggered, metrics.actions_failed, metrics.actions_given_up):
            counter.labels(*self._labels)  # shown as 0 from the start, as upstream does

    async def run(self) -> None:
        """Take and perform until cancelled. Attempts under way are finished within the grace time, then handed back."""
        async with AsyncExitStack() as stack:
            opened: dict[str, Trigger[Any]] = {}
            opening = asyncio.Lock()

            async def open_kind(kind: str) -> Trigger[Any]:
                async with opening:
                    if kind not in opened:
                        opened[kind] = await stack.enter_async_context(self._make(kind))
                return opened[kind]

            async def perform(one: Taken) -> bool:
                return await self._turn(one, open_kind)

            while True:
                await self._switch.until_open()
                await self._until_suspended(perform)

    async def _until_suspended(self, perform: Perform) -> None:
        """Take and perform until the trigger is suspended; then nothing is held, so what waits can be looked at and discarded.

        What is under way then is finished, however long it takes.
        """
        working = asyncio.create_task(self._work(perform))
        suspended = asyncio.create_task(self._switch.until_suspended())
        try:
            await asyncio.wait({working, suspended}, return_when=asyncio.FIRST_COMPLETED)
            self._patient = not working.done()
        finally:
            suspended.cancel()
            await end_one(working)
            self._count(0, 0)
            self._patient = False
        if not working.cancelled():
            working.result()

    async def _work(self, perform: Perform) -> None:
        in_lines = side_by_side(self._spec)
        async with self._queue.take(resting=in_lines) as leases:
            if in_lines:
                await Lines(self._spec.queue.concurrency, perform, self._key, self._count).run(leases)
            async for lease in leases:
                self._count(1, 0)
                ended = await perform(taken(lease))
                self._count(0 if ended else 1, 0 if ended else 1)

    def _count(self, held: int, resting: int) -> None:
        self._duties.metrics.actions_held.labels(*self._labels).set(held)
        self._duties.metrics.actions_resting.labels(*self._labels).set(resting)

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
            bucket=self._bucket,
            account=self._account,
        )
        return self._duties.make(kind, context)

    async def _turn(self, one: Taken, open_kind: Callable[[str], Any]) -> bool:
        """Wait until the action may run, and run it. True if it has ended, False if it rests."""
        failpoints.reach("action.taken")
        lease, said = one.lease, None
        while True:
            await self._switch.until_open()
            if self._switch.mode == "drop":
                await lease.discard(suspension.DROPPED)
                if self._gate is not None:
                    await self._gate.forget(lease)
                return True
            due = self._due_in(one)
            if due > 0:
                await self._rest(lease, due, "", counted=False)
                return False
            if (gate := self._gate_of(one)) is not None:
                said = await gate.said(lease)
                if said is None and (left := gate.seconds_left(lease)) > 0:
                    await self._asked(gate, one, left)
                    return False
                if said is None or said.verb == "denied":
                    return await self._not_approved(gate, one, said)
            if self._rate is None:
                break
            await self._rate.grant()
            if self._switch.mode == "run":
                break  # else a grant is lost: kept until the trigger is resumed, it would come on top of another
        # When cancelled from here on, let the attempt end within the grace time, else hand the action back.
        attempt = asyncio.create_task(self._end(one, open_kind, said))
        try:
            return await asyncio.shield(attempt)
        except asyncio.CancelledError:
            patience = None if self._patient else self._duties.grace_seconds
            try:
                await asyncio.wait({attempt}, timeout=patience)
            finally:  # cancelled once more, there is no time left
                if not attempt.done():
                    attempt.cancel()
                    await asyncio.wait({attempt})
                    await lease.hand_back()
            raise

    def _due_in(self, one: Taken) -> float:
        """Seconds until the action's delay is over. It rests once for that; who ends the rest (``argosy actions retry``) ends the delay."""
        delay = self._spec.queue.delay
        if not delay or one.lease.rested_before:
            return 0.0
        stored_at = one.record.at if one.record is not None and one.record.at else one.lease.put_at
        return min(delay, stored_at + delay - self._duties.clock.now().timestamp())

    async def _rest(self, lease: Lease, seconds: float, error: str, *, counted: bool = True) -> None:
        if side_by_side(self._spec):
            await lease.rest(seconds, error, counted=counted)
        else:
            await lease.retry_in(seconds, error, counted=counted)

    def _gate_of(self, one: Taken) -> Gate | None:
        """Where the action waits for a person; None where it need not: also one that can only become a dead letter, or its elements."""
        if self._gate is None or one.record is None or one.record.unusable or self._undivided(one.record):
            return None
        return self._gate

    async def _asked(self, gate: Gate, one: Taken, seconds: float) -> None:
        """Let the action wait for a person."""
        lease = one.lease
        if not lease.rested_before or self._spec.queue.delay:
            _log.info(
                "trigger '%s' of sensor '%s' waits for somebody to approve action %s: argosy actions approve %s",
                self._spec.name, self._sensor, short(lease.id), lease.id[:12],
                extra={"action": "action.asked", "actionID": lease.id, **self._fields},
            )  # fmt: skip
        until = format_time(self._duties.clock.now() + dt.timedelta(seconds=seconds))
        await self._emit(one, "asked", f"waits for approval until {until}", {"expires": until})
        await gate.wait(lease, seconds)

    async def _not_approved(self, gate: Gate, one: Taken, said: Ruling | None) -> bool:
        """End an action that somebody denied, or that nobody approved in time."""
        if said is None:
            return await self._failed(one, Rejected(gate.expired), time.monotonic(), False, final=True)
        await self._emit(one, "denied", str(said), said.as_dict())
        await one.lease.discard(str(said))
        await gate.forget(one.lease)
        return True

    async def _end(self, one: Taken, open_kind: Callable[[str], Any], said: Ruling | None) -> bool:
        """Perform the action; what a person said of it is of no use once it has ended, in whatever way."""
        ended = await self._perform(one, open_kind, said)
        if ended and said is not None and self._gate is not None:
            await self._gate.forget(one.lease)
        return ended

    async def _perform(self, one: Taken, open_kind: Callable[[str], Any], said: Ruling | None) -> bool:
        lease = one.lease
        once = self._spec.at_least_once is False
        if once:
            # Written explicitly: at most once. Whatever happens from here on, it is not done again.
            await lease.done(_outcome(one, "at most once: settled before it ran", said=said))
        began = time.monotonic()
        try:
            if one.record is None:
                raise EventInvalid(one.fault)
            outcome = await self._attempt(lease, one.record, open_kind)
        except (Rejected, EventInvalid, ConfigError) as error:
            return await self._failed(one, error, began, once, final=True, said=said)
        except Exception as error:  # noqa: BLE001 - whatever a plug-in raises is an attempt that failed
            if not isinstance(error, ArgosyError):
                _log.debug("trigger '%s' raised", self._spec.name, exc_info=True, extra=self._fields)
            return await self._failed(one, error, began, once, final=False, said=said)
        failpoints.reach("action.fired")
        await self._emit(one, "done", outcome.message, outcome.detail)
        if not once:
            await lease.done(_outcome(one, outcome.message, outcome.detail, said=said))
            failpoints.reach("action.done")
        self._succeeded(lease, outcome, began)
        return True

    async def _attempt(self, lease: Lease, record: ActionRecord, open_kind: Callable[[str], Any]) -> Outcome:
        if record.unusable:
            raise Rejected(record.unusable)
        caused_by = record.events
        if (fan_out := self._undivided(record)) is not None:
            return await self._fanned_out(fan_out, lease.id, record)
        if self._emitter is not None and (refusal := self._emitter.refuses(caused_by)):
            raise Rejected(refusal)
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

    def _undivided(self, record: ActionRecord) -> FanOut | None:
        """How the action becomes its elements, where it was put as a whole."""
        return self._fan_out if self._fan_out is not None and self._fan_out.item not in record.events else None

    async def _emit(self, one: Taken, ending: Ending, message: str, detail: Mapping[str, Any]) -> None:
        if self._emitter is None or one.record is None or (ending == "done" and self._undivided(one.record)):
            return
        await self._emitter.ended(ending, one.lease, one.record.events, message, detail)

    async def _fanned_out(self, fan_out: FanOut, whole: str, record: ActionRecord) -> Outcome:
        """Put the parts of an action that was put as a whole: the manifest had no ``forEach`` then, or could not follow it."""
        fanned = fan_out(whole, record.events)
        if fanned.failed:
            raise Rejected(f"forEach: {fanned.reason}; mend the manifest, then redrive the action")
        for part in fanned.parts:
            await self._queue.put(part.id, encode(replace(record, events=part.events)), again=True)
            failpoints.reach("action.put")
        return Outcome(f"became {len(fanned.parts)} actions" if fanned.parts else fanned.reason)

    def _succeeded(self, lease: Lease, outcome: Outcome, began: float) -> None:
        milliseconds = int((time.monotonic() - began) * 1000)
        self._pulse.last_fired = time.time()
        self._duties.metrics.action_tries.labels(*self._labels).observe(lease.failures + 1)
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

    async def _failed(
        self, one: Taken, error: Exception, began: float, once: bool, *, final: bool, said: Ruling | None = None
    ) -> bool:
        """Retry, or give up; whether the action has ended."""
        lease = one.lease
        sentence = str(error) if isinstance(error, ArgosyError) else f"{type(error).__name__}: {error}"
        metrics = self._duties.metrics
        metrics.actions_failed.labels(*self._labels).inc()
        self._pulse.failed(f"trigger '{self._spec.name}'", error)
        metrics.action_milliseconds.labels(*self._labels).observe(int((time.monotonic() - began) * 1000))
        tries = lease.failures + 1
        extra = {"action": "action.failed", "actionID": lease.id, "attempt": tries, **self._fields}
        what = f"trigger '{self._spec.name}' of sensor '{self._sensor}' failed action {short(lease.id)}"
        if once:
            metrics.actions_given_up.labels(*self._labels).inc()
            _log.error(
                "%s: %s; not tried again, because the trigger says atLeastOnce: false", what, sentence, extra=extra
            )
            await self._emit(one, "dead", sentence, {})
            return True
        if not final and tries < self._retry.tries:
            pause = min(self._retry.pause_seconds(tries, self._duties.chance()), _LONGEST_PAUSE_SECONDS)
            if isinstance(error, RetryAfter):
                # The receiver says from when on it likes to be asked; the strategy's own pause is kept at least.
                pause = max(pause, min(error.seconds, _LONGEST_PAUSE_SECONDS))
                if error.seconds > _LONGEST_PAUSE_SECONDS:
                    sentence += f" (it asked for a pause of {error.seconds:g} s)"
            _log.warning(
                "%s, try %d of %d: %s; next in %.1f s", what, tries, self._retry.tries, sentence, pause, extra=extra
            )
            await self._rest(lease, pause, sentence)
            failpoints.reach("action.rested")
            return False
        why = "another try cannot help" if final else f"{tries} tries are used up"
        sentence += f" ({said})" if said is not None else ""
        metrics.action_tries.labels(*self._labels).observe(tries)
        metrics.actions_given_up.labels(*self._labels).inc()
        metrics.actions_dead_lettered.labels(*self._labels).inc()
        _log.error("%s: %s; %s, it is a dead letter now", what, sentence, why, extra={**extra, "action": "action.dead"})
        if self._give_up_to is not None:
            await self._give_up_to.put(lease.id, lease.body, again=True)
            failpoints.reach("action.given-up")
        await self._emit(one, "dead", sentence, {})
        await lease.dead_letter(sentence)
        failpoints.reach("action.dead")
        return True


def _outcome(one: Taken, message: str, detail: Mapping[str, Any] | None = None, *, said: Ruling | None = None) -> bytes:
    more = {"approval": said.as_dict()} if said is not None else None
    return outcomes.kept(one.record.events if one.record is not None else {}, message, detail, more)
