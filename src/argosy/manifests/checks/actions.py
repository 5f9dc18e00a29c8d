"""What a trigger says of its actions (``forEach``) and cannot mean."""

from __future__ import annotations

from collections.abc import Iterator

from argosy.errors import LangError
from argosy.manifests._bundle import Bundle, Key
from argosy.manifests._collecting import condition_of
from argosy.manifests.checks._walk import sensors_by_key
from argosy.manifests.findings import Problem
from argosy.manifests.sensor import Sensor, TriggerBlock
from argosy.manifests.spelling import did_you_mean


def check(bundle: Bundle) -> Iterator[tuple[Key, Problem]]:
    """Blocks that could never do what they say."""
    for key, sensor in sensors_by_key(bundle):
        names = [dependency.name for dependency in sensor.dependencies]
        for index, trigger in enumerate(sensor.spec.triggers):
            for problem in _trigger(sensor, trigger, names):
                yield key, problem.inside("spec", "triggers", index)


def _trigger(sensor: Sensor, trigger: TriggerBlock, names: list[str]) -> Iterator[Problem]:
    if trigger.dlq_trigger is not None and trigger.dlq_trigger.for_each is not None:
        text = "a dead-letter trigger runs for each dead letter; it has no 'forEach'"
        yield Problem("for-each-amiss", text, ("dlqTrigger", "forEach"), at_key=True)
    if trigger.for_each is not None:
        yield from _for_each(trigger, names)


def _for_each(trigger: TriggerBlock, names: list[str]) -> Iterator[Problem]:
    block = trigger.for_each
    assert block is not None
    if block.item in names:
        text = f"the element would be called '{block.item}', as a dependency is; give it another name with 'item'"
        yield Problem("for-each-amiss", text, ("forEach",), at_key=True)
    try:
        condition = condition_of(trigger.template, names)
    except LangError:
        return  # argosy.manifests.checks.programs says it
    wanted, at = block.dependency_name, ("forEach", "dependencyName")
    if not wanted and len(condition.names) > 1:
        text = "the trigger waits for several dependencies; say with 'dependencyName' in whose event the array stands"
        yield Problem("for-each-amiss", text, ("forEach",), at_key=True)
    elif wanted and wanted not in condition.names:
        what = "no dependency of this sensor" if wanted not in names else "not part of the trigger's condition"
        yield Problem("for-each-amiss", f"'{wanted}' is {what}{did_you_mean(wanted, condition.names)}", at)
    elif wanted and condition.evaluate([name for name in condition.names if name != wanted]):
        text = f"the condition may hold without '{wanted}', and then there is no array and nothing is done"
        yield Problem("for-each-amiss", text, at, "warning")
