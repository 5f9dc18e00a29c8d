"""What the fields of a trigger that say how events are collected must have in common with its condition."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from argosy.errors import LangError
from argosy.lang import conditions
from argosy.lang.conditions import Condition
from argosy.manifests._sensor_models import SensorSpec, TriggerBlock, TriggerTemplate
from argosy.manifests.findings import Loc, Problem
from argosy.manifests.spelling import did_you_mean


def condition_of(template: TriggerTemplate, dependencies: Collection[str]) -> Condition:
    """The template's condition. An empty one means all dependencies, but for the one that must stay away. Raises LangError."""
    away = template.absent.dependency if template.absent and not template.conditions.strip() else None
    return conditions.compile(template.conditions, [name for name in dependencies if name != away])


def check_collecting(spec: SensorSpec) -> Iterator[Problem]:
    """Mistakes with which a trigger could never do what it says."""
    names = [dependency.name for dependency in spec.dependencies]
    for index, trigger in enumerate(spec.triggers):
        for problem in (*_template(trigger.template, names), *_block(trigger, names)):
            yield problem.inside("triggers", index)


def _template(template: TriggerTemplate, names: list[str]) -> Iterator[Problem]:
    try:
        condition = condition_of(template, names)
    except LangError:
        return  # argosy.manifests.checks.programs says it, with its place
    wanted = list(condition.names)
    if template.absent is not None:
        away, at = template.absent.dependency, ("template", "absent", "dependency")
        if away not in names:
            yield _said(f"'{away}' is no dependency of this sensor{did_you_mean(away, names)}", at)
        elif away in wanted:
            yield _said(f"'{away}' must stay away and is also part of the condition, which never holds so", at)
        else:
            wanted.append(away)
    for field, given in (("correlate", template.correlate), ("count", template.count)):
        mine = wanted if field == "correlate" else condition.names
        for name in given or ():
            if name not in mine:
                what = "no dependency of this sensor" if name not in names else "not part of the trigger's condition"
                yield _said(f"'{name}' is {what}{did_you_mean(name, mine)}", ("template", field, name), at_key=True)
    if template.correlate is not None:
        for name in wanted:
            if name not in template.correlate:
                text = f"'correlate' has no path for dependency '{name}', so its events belong to none of the others"
                yield _said(text, ("template", "correlate"), at_key=True)


def _block(trigger: TriggerBlock, names: list[str]) -> Iterator[Problem]:
    if trigger.batch is not None and trigger.debounce is not None:
        yield _said("'batch' and 'debounce' exclude each other", ("debounce",), at_key=True)
    for field, block in (("batch", trigger.batch), ("debounce", trigger.debounce)):
        if block is not None and block.key is not None and block.key.dependency_name not in names:
            name = block.key.dependency_name
            text = f"'{name}' is no dependency of this sensor{did_you_mean(name, names)}, so no event has this key"
            yield _said(text, (field, "key", "dependencyName"))
    below = trigger.dlq_trigger
    for field, given in (("batch", below and below.batch), ("debounce", below and below.debounce)):
        if given is not None:
            yield _said(f"a dead-letter trigger runs for each dead letter; it has no '{field}'", ("dlqTrigger", field))


def _said(text: str, loc: Loc, at_key: bool = False) -> Problem:
    return Problem("collects-amiss", text, loc, at_key=at_key)
