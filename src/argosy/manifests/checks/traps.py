"""What upstream does and its documents do not say: texts of a sensor that mean something else than they seem to, kept because upstream's
manifests may rest on it.

``strict: true`` on the sensor (ours) gives the expected meaning to those that are about filters and scripts, and
then nothing is said of them; the sentence says so. Comparisons that are traps in themselves (``!=`` with several values, patterns without
anchors) are found by ``argosy.manifests.checks.filters``, names and effects of triggers by ``argosy.manifests.checks.triggers``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from operator import eq, ge, gt, le, lt, ne
from typing import Any

from argosy.lang.conditions import Condition
from argosy.manifests._bundle import Bundle, Key
from argosy.manifests.checks._walk import condition_or_none, each_parameter, each_trigger, holds_without, sensors_by_key
from argosy.manifests.fields import TriggerParameter
from argosy.manifests.findings import Problem
from argosy.manifests.sensor import DataFilter, Dependency, Sensor, TriggerSpec

_STRICT = "; strict: true on the sensor changes that"
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))
_COMPARE: dict[str, Any] = {"": eq, "=": eq, "!=": ne, ">": gt, ">=": ge, "<": lt, "<=": le}
_PIECES = re.compile(r'"(?:[^"\\]|\\.)*"|\\.|[][(){},]')
_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
# Words of the language to which upstream hands a condition.
_RESERVED = frozenset(("true", "false", "nil", "not", "and", "or", "in", "let", "if", "else", "matches", "contains"))
_POLICIES = {
    "k8s": "k8s",
    "argoWorkflow": "k8s",
    "http": "status",
    "awsLambda": "status",
    "openWhisk": "status",
    "custom": "",
    "azureEventHubs": "",
    "azureServiceBus": "",
    "kafka": "",
    "pulsar": "",
    "nats": "",
    "slack": "",
    "log": "",
    "email": "",
}
"""Which policy each of upstream's kinds follows; our own kinds say for themselves what counts as a success."""
_ALSO = {"http": "response", "awsLambda": "response"}
"""What of ours a kind follows beside that."""


def check(bundle: Bundle) -> Iterator[tuple[Key, Problem]]:
    """Every trap that a sensor steps into."""
    for key, sensor in sensors_by_key(bundle):
        for problem in traps(sensor):
            yield key, problem


def traps(sensor: Sensor) -> Iterator[Problem]:
    """Everything in the sensor that means something else than it seems to, with its place in the object."""
    for index, dependency in enumerate(sensor.dependencies):
        for problem in _dependency(dependency, sensor.spec.strict):
            yield problem.inside("spec", "dependencies", index)
    yield from _names(sensor)
    names = [dependency.name for dependency in sensor.dependencies]
    for loc, trigger in each_trigger(sensor):
        # A dead-letter trigger runs for the events of the trigger above it.
        condition = condition_or_none(sensor.spec.triggers[int(loc[2])].template, names)
        for problem in _trigger(trigger, condition):
            # What the trigger's own parameters replace is not what will run.
            if problem.loc[0] != "template" or not trigger.writes(problem.loc[1:]):
                yield problem.inside(*loc)


def _dependency(dependency: Dependency, strict: bool) -> Iterator[Problem]:
    filters, transform = dependency.filters, dependency.transform
    lost = "the script does not see nulls inside arrays nor arrays inside arrays; what follows moves up"
    if transform and transform.script and not transform.jq and not strict:
        yield Problem("script-loses-items", lost + _STRICT, ("transform", "script"), "info")
    if filters is None:
        return
    if filters.script and not strict:
        yield Problem("script-loses-items", lost + _STRICT, ("filters", "script"), "info")
    for index, one in enumerate(filters.exprs):
        for number, field in enumerate(one.fields):
            yield from _joined(field.path, "filters", "exprs", index, "fields", number, "path")
    for index, clause in enumerate(filters.data):
        yield from _joined(clause.path, "filters", "data", index, "path")
        yield from (problem.inside("filters", "data", index) for problem in _clause(clause, strict))
    if filters.context:
        for word in ("id", "specversion", "time"):
            if getattr(filters.context, word):
                text = f"'{word}' is not compared; only type, subject, source and datacontenttype are"
                yield Problem("context-ignored", text, ("filters", "context", word), "warning", True)
    given = [word for word in ("exprs", "data", "context", "time", "script") if getattr(filters, word)]
    if dependency.filters_logical_operator != "or" or strict:
        return
    if not given:
        text = "with 'or' and no filter every event is discarded" + _STRICT
        yield Problem("or-without-filter", text, ("filtersLogicalOperator",), "warning")
    elif len(given) > 1 and (fragile := [word for word in given if word in ("exprs", "data", "script")]):
        text = (
            f"an event is discarded where {' or '.join(repr(word) for word in fragile)} cannot be decided (a path is missing),"
            f" although another filter passes{_STRICT}"
        )
        yield Problem("undecided-discards", text, ("filtersLogicalOperator",), "warning")


def _joined(path: str, *loc: str | int) -> Iterator[Problem]:
    """Upstream's documents join paths by bare commas; gjson joins them only inside brackets."""
    depth, bare = 0, False
    for piece in _PIECES.findall(path):
        depth += (piece in "[({") - (piece in "])}")
        bare = bare or (piece == "," and depth == 0)
    if bare:
        text = f"a comma joins paths only inside brackets; to have them in one text write '[{path}]'"
        yield Problem("paths-without-brackets", text, loc, "warning")


def _clause(clause: DataFilter, strict: bool) -> Iterator[Problem]:
    if clause.type == "bool":
        if strict and clause.comparator not in ("", "=", "!="):
            text = f"booleans are compared with = and !=, not with {clause.comparator}"
            yield Problem("strict-comparator", text, ("comparator",))
        elif not strict and clause.comparator not in ("", "="):
            text = f"'{clause.comparator}' is not read beside type: bool; the clause asks whether the values are equal"
            yield Problem("comparator-ignored", text + _STRICT, ("comparator",), "warning")
        if not strict and any(value in _FALSE for value in clause.value):
            text = "what is neither a boolean nor a number nor the text of one counts as false and passes"
            yield Problem("anything-counts-as-false", text + _STRICT, ("value",), "info")
    elif clause.type == "number" and not strict:
        from argosy.lang import gjson  # not loaded for manifests that compare no numbers

        numbers = [gjson.parse_float(value) for value in clause.value]
        if any(number is not None and _COMPARE[clause.comparator](0.0, number) for number in numbers):
            text = "text that is no number, objects and null count as 0 and pass"
            yield Problem("text-counts-as-zero", text + _STRICT, ("value",), "info")
    elif clause.type == "string" and strict and clause.comparator not in ("", "=", "!="):
        text = f"text is compared with = and !=, not with {clause.comparator}; for numbers write type: number"
        yield Problem("strict-comparator", text, ("comparator",))


def _names(sensor: Sensor) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for index, dependency in enumerate(sensor.dependencies):
        name, at = dependency.name, ("spec", "dependencies", index, "name")
        folded = name.replace("-", "_")
        if folded in seen and seen[folded] != name:
            text = f"upstream takes '{seen[folded]}' and '{name}' for one name in conditions; here they are two"
            yield Problem("names-collide", text, at, "warning")
        seen.setdefault(folded, name)
        conditional = any(trigger.template.conditions for trigger in sensor.spec.triggers)
        if conditional and (not _NAME.fullmatch(folded) or folded in _RESERVED):
            text = f"upstream cannot read conditions with '{name}': a name there begins with a letter and has letters, digits, - and _"
            yield Problem("condition-name", text, at, "info")


def _trigger(trigger: TriggerSpec, condition: Condition | None) -> Iterator[Problem]:
    for loc, parameter in each_parameter(trigger):
        yield from (problem.inside(*loc) for problem in _parameter(parameter))
        list_ = loc[-2]
        if list_ == "payload" and parameter.operation in ("append", "prepend"):
            text = f"'{parameter.operation}' has no effect in a payload; every entry overwrites"
            yield Problem("operation-without-effect", text, (*loc, "operation"), "warning")
        src = parameter.src
        if list_ != "parameters" and src.value is None and _may_be_missing(src.dependency_name, condition):
            text = (
                f"the condition may hold without '{src.dependency_name}': the entry is then left out here, and"
                " upstream's process ends; give it a 'value'"
            )
            yield Problem("event-may-be-missing", text, (*loc, "src", "dependencyName"), "warning")
    yield from _policy(trigger)


def _parameter(parameter: TriggerParameter) -> Iterator[Problem]:
    src = parameter.src
    yield from _joined(src.data_key, "src", "dataKey")
    yield from _joined(src.context_key, "src", "contextKey")
    of_data, of_context = src.data_key or src.data_template, src.context_key or src.context_template
    if of_data and of_context:
        word = "contextKey" if src.context_key else "contextTemplate"
        text = f"'{word}' is not read where data is selected too"
        yield Problem("context-outvoted", text, ("src", word), "warning", True)
    if src.use_raw_data and not (src.data_key or src.context_key):
        text = "'useRawData' has no effect: what is not selected by a key is always text"
        yield Problem("raw-without-effect", text, ("src", "useRawData"), "warning", True)
    if not of_data and not of_context and src.value is None:
        text = "nothing is selected, so this is the whole event as JSON text, with its data in base64"
        yield Problem("whole-event", text, ("src",), "info")


def _may_be_missing(name: str, condition: Condition | None) -> bool:
    """Whether the condition can hold without the dependency that it names."""
    return condition is not None and name in condition.names and holds_without(condition, name)


def _policy(trigger: TriggerSpec) -> Iterator[Problem]:
    if trigger.policy is None or trigger.kind not in _POLICIES:
        return
    for word in ("k8s", "status", "response"):
        if getattr(trigger.policy, word) is not None and word not in (_POLICIES[trigger.kind], _ALSO.get(trigger.kind)):
            followed = _POLICIES[trigger.kind]
            instead = f"it follows policy.{followed}" if followed else "it follows none"
            text = f"a trigger of kind '{trigger.kind}' does not follow policy.{word}; {instead}"
            yield Problem("policy-without-effect", text, ("policy", word), "warning", True)
