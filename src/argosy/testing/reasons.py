"""Why a trigger fired or not: what became of each event that could have brought it, and of its actions, in sentences."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from argosy.event import Event
from argosy.lang import conditions, durations
from argosy.manifests.sensor import Sensor, TriggerSpec
from argosy.sensor.verdict import Verdict
from argosy.testing.loading import Trial, TriggerName
from argosy.testing.simulation import Fired, Transcript


def when(at: float) -> str:
    """A time since the start, to the millisecond."""
    return durations.format(round(at, 3))


def causes(fired: Fired) -> str:
    """The events of a firing, by id, each with its dependency."""
    return " and ".join(f"{event.id} ({name})" for name, event in fired.events.items())


def reasons(trial: Trial, transcript: Transcript, name: TriggerName) -> list[str]:
    """All that there is to say about one trigger, in the order of time; never empty."""
    sensor, spec = _found(trial, name)
    wanted = list(conditions.compile(spec.conditions, [one.name for one in sensor.dependencies]).names)
    if spec.frame is not None and spec.frame.absent is not None:
        wanted.append(spec.frame.absent.dependency)
    lines = [*_refused(transcript, sensor, wanted), *_seen(transcript, name, spec.name, wanted)]
    lines += [sentence for key, sentence in transcript.problems if key == name[:2]]
    lines += [
        f"'{spec.name}' shall run at {when(at)}: {why}"
        for key, at, why in transcript.due
        if key.trigger == spec.name and key[:2] == name[:2]
    ]
    if spec.conditions_reset:
        lines += _forgotten(transcript, TriggerName(*name[:2], spec.name))
    for fired in sorted(transcript.fired, key=lambda one: one.at):
        if fired.name == name:
            failed = f": {'; '.join(dict.fromkeys(fired.failures))}" if fired.failures else ""
            lines.append(f"its action for {causes(fired)} was tried at {', '.join(map(when, fired.tries))}{failed}")
    for dead in transcript.dead:
        if dead.name == name:
            tries = "1 try" if dead.tries == 1 else f"{dead.tries} tries"
            lines.append(f"its action was given up at {when(dead.at)} after {tries}: {dead.reason}")
    if count := transcript.waiting.get(name):
        lines.append(f"{count} of its actions had not ended when the test did, at {when(transcript.ended_at)}")
    if not lines:
        pairs = [f"{one.event_source_name}/{one.event_name}" for one in sensor.dependencies if one.name in wanted]
        lines.append(f"no event came that it waits for ({', '.join(dict.fromkeys(pairs))})")
    return lines


def _found(trial: Trial, name: TriggerName) -> tuple[Sensor, TriggerSpec]:
    """The trigger's sensor, and the trigger, or the one that it is the ``dlqTrigger`` of."""
    return next(
        (sensor, spec)
        for sensor in trial.sensors
        if (sensor.metadata.namespace, sensor.metadata.name) == name[:2]
        for spec in sensor.triggers
        if name.trigger in (spec.name, spec.dlq_trigger.name if spec.dlq_trigger else None)
    )


def _refused(transcript: Transcript, sensor: Sensor, wanted: Collection[str]) -> Iterator[str]:
    pairs = {(one.event_source_name, one.event_name) for one in sensor.dependencies if one.name in wanted}
    for arrival in transcript.refused:
        if (arrival.event.source, arrival.event.subject) in pairs:
            yield f"{_event(arrival.event, arrival.at)}: its source refused it: {arrival.refused}"


def _seen(transcript: Transcript, name: TriggerName, trigger: str, wanted: Collection[str]) -> Iterator[str]:
    for seen in transcript.seen:
        if seen.sensor != name[:2]:
            continue
        what = _event(seen.event, seen.at)
        for decision in seen.decisions:
            if decision.dependency not in wanted:
                continue
            if decision.event is None:
                said = "could not decide on it" if decision.verdict.failed else "refused it"
                yield f"{what}: dependency '{decision.dependency}' {said}: {'; '.join(_clauses(decision.verdict))}"
            else:
                yield f"{what}: dependency '{decision.dependency}' accepted it"
        for waiting in seen.waiting:
            if waiting.trigger == trigger:
                names = ", ".join(f"'{one}'" for one in waiting.for_dependencies)
                said = waiting.sentence or f"waits for {names}"
                yield f"{what}: the condition of '{trigger}' still {said}"
        if any(one.trigger == trigger for one in seen.caused):
            yield f"{what}: '{trigger}' shall run"


def _forgotten(transcript: Transcript, name: TriggerName) -> Iterator[str]:
    """What a ``conditionsReset`` took: accepted, part of no action, and not held at the end."""
    held = transcript.held.get(name)
    if held is None:
        return
    newest: dict[str, tuple[Event, float]] = {}
    for seen in transcript.seen:
        if seen.sensor != name[:2]:
            continue
        for decision in seen.decisions:
            if decision.event is not None:
                newest[decision.dependency] = (decision.event, seen.at)
        if any(one.trigger == name.trigger for one in seen.caused):
            newest.clear()
    for dependency, (event, at) in newest.items():
        if dependency not in held.events:
            yield f"{_event(event, at)}: conditionsReset made '{name.trigger}' forget it"


def _event(event: Event, at: float) -> str:
    return f"{event.id} ({event.source}/{event.subject} at {when(at)})"


def _clauses(verdict: Verdict) -> Iterator[str]:
    """The clauses that did not pass, each with its reason."""
    inner = [one for part in verdict.parts if not part.passed for one in _clauses(part)]
    if inner:
        yield from inner
    elif verdict.clause in ("filters", "") or verdict.reason.startswith(verdict.clause):
        yield verdict.reason  # a transform's reason names its language, too
    else:
        yield f"{verdict.clause}: {verdict.reason}"
