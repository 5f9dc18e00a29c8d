"""What a trigger says that has no effect, or can have none: parameters of events that it never has, retries
and resets that nobody follows, dependencies that no trigger waits for.
"""

from __future__ import annotations

from collections.abc import Iterator

from argosy.lang.conditions import Condition
from argosy.manifests._bundle import Bundle, Key
from argosy.manifests.checks._walk import condition_or_none, each_source, each_trigger, sensors_by_key
from argosy.manifests.findings import Loc, Problem
from argosy.manifests.sensor import Sensor, TriggerSpec
from argosy.manifests.spelling import did_you_mean


def check(bundle: Bundle) -> Iterator[tuple[Key, Problem]]:
    """Parts of triggers that do nothing."""
    for key, sensor in sensors_by_key(bundle):
        names = [dependency.name for dependency in sensor.dependencies]
        for problem in (*_unused(sensor, names), *_idle(sensor)):
            yield key, problem
        for loc, trigger in each_trigger(sensor):
            # A dead-letter trigger runs for the events of the trigger above it.
            top = sensor.spec.triggers[int(loc[2])]
            condition = condition_or_none(top.template, names)
            item = top.for_each.item if top.for_each is not None else None
            found = (
                *_sources(trigger, names, condition, item),
                *_without_effect(trigger, condition),
                *_queue(trigger, loc),
                *_emit(trigger),
            )
            for problem in found:
                if problem.loc[0] != "template" or not trigger.writes(problem.loc[1:]):
                    yield key, problem.inside(*loc)


def _unused(sensor: Sensor, names: list[str]) -> Iterator[Problem]:
    """Dependencies that no trigger waits for: their events are matched and then forgotten."""
    used: set[str] = set()
    for trigger in sensor.spec.triggers:
        condition = condition_or_none(trigger.template, names)
        if condition is None:
            return
        used.update(condition.names)
        if trigger.template.absent is not None:
            used.add(trigger.template.absent.dependency)
    for index, name in enumerate(names):
        if name not in used:
            text = f"no trigger waits for dependency '{name}'"
            yield Problem("unused-dependency", text, ("spec", "dependencies", index, "name"), "info")


def _idle(sensor: Sensor) -> Iterator[Problem]:
    """Fields of the spec that neither upstream nor Argosy reads."""
    for word, given in (
        ("errorOnFailedRound", sensor.spec.error_on_failed_round),
        ("loggingFields", sensor.spec.logging_fields),
    ):
        if given:
            yield Problem("no-effect", f"'{word}' is read by nobody, upstream included", ("spec", word), "info", True)


def _sources(
    trigger: TriggerSpec, names: list[str], condition: Condition | None, item: str | None
) -> Iterator[Problem]:
    for loc, src in each_source(trigger):
        if src.dependency_name == item and loc[0] not in ("batch", "debounce"):
            continue
        name, at, what = src.dependency_name, (*loc, "dependencyName"), "key" if loc[-1] == "key" else "parameter"
        if name not in names:
            text = f"'{name}' is no dependency of this sensor{did_you_mean(name, names)}"
            yield Problem("unknown-dependency", text, at, "warning")
        elif condition is not None and name not in condition.names:
            instead = "it is always left out" if what == "parameter" else "it has no value"
            if src.value is not None:
                instead = "its 'value' is always used"
            text = f"the trigger's condition does not name '{name}', so this {what} never has an event; {instead}"
            yield Problem("parameter-without-event", text, at, "warning")


def _queue(trigger: TriggerSpec, at: Loc) -> Iterator[Problem]:
    queue = trigger.queue
    if queue.key is not None and queue.concurrency == 1 and trigger.approval is None:
        text = "a key has no effect where one action runs at a time; 'concurrency' says how many"
        yield Problem("no-effect", text, ("queue", "key"), "warning", True)
    if queue.suspend and at[-1] == "dlqTrigger":
        text = "a dead-letter trigger is suspended together with the trigger above it, never by itself"
        yield Problem("no-effect", text, ("queue", "suspend"), "warning", True)


def _emit(trigger: TriggerSpec) -> Iterator[Problem]:
    if trigger.emit is None or trigger.approval is not None:
        return
    for index, word in enumerate(trigger.emit.after):
        if word in ("asked", "denied"):
            text = f"nobody is asked for approval, so '{word}' never happens; write 'approval: required'"
            yield Problem("no-effect", text, ("emit", "after", index), "warning")


def _without_effect(trigger: TriggerSpec, condition: Condition | None) -> Iterator[Problem]:
    frame = trigger.frame
    if frame is not None and condition is not None and not (condition.joins or frame.count or frame.absent):
        for word, given in (
            ("conditionsReset", trigger.conditions_reset),
            ("within", frame.within),
            ("correlate", frame.correlate),
        ):
            if given:
                text = "a condition without &&, 'count' and 'absent' collects nothing that could be forgotten"
                if word == "correlate":
                    text = "a condition without &&, 'count' and 'absent' has nothing to belong together"
                yield Problem("no-effect", text, ("template", word), "warning", True)
    if trigger.dlq_trigger and trigger.dlq_trigger.dlq_trigger:
        text = "a dead-letter trigger's own dead-letter trigger never runs"
        yield Problem("no-effect", text, ("dlqTrigger", "dlqTrigger"), "warning", True)
    if trigger.dlq_trigger and not (trigger.at_least_once and trigger.dlq_trigger.at_least_once):
        text = "Argosy runs 'dlqTrigger'; upstream refuses it unless atLeastOnce: true is written here and in it"
        yield Problem("retry-without-effect", text, ("dlqTrigger",), "info", True)
    if trigger.retry_strategy is None:
        return
    if trigger.at_least_once is False:
        text = "with atLeastOnce: false an action is tried once, whatever 'retryStrategy' says"
        yield Problem("retry-without-effect", text, ("retryStrategy",), "warning", True)
    elif trigger.at_least_once is None:
        text = "Argosy follows 'retryStrategy'; upstream only does where atLeastOnce: true is written"
        yield Problem("retry-without-effect", text, ("retryStrategy",), "info", True)
