"""The texts of a sensor that are programs: compiled when manifests are loaded, so that slips are found early.

Each language is imported when a text in it is met, and one that this installation lacks is passed over. A
text that fails on every event is an error. What may depend on the event stays for the event.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from argosy.errors import LangError
from argosy.manifests.fields import TriggerParameter
from argosy.manifests.findings import Loc, Problem, did_you_mean
from argosy.manifests.sensor import DataFilter, Dependency, ExprFilter, Sensor, TriggerSpec

_NAMES = {
    "jq": "jq program",
    "lua": "Lua script",
    "govaluate": "expression",
    "gotemplate": "template",
    "gjson": "path",
    "regex": "regular expression",
    "cron": "cron expression",
    "conditions": "condition",
}
_BOOLEANS = frozenset(("1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"))


def check_programs(sensor: Sensor) -> Iterator[Problem]:
    """Everything in the sensor that does not parse, or that can never work."""
    names = [dependency.name for dependency in sensor.dependencies]
    for index, dependency in enumerate(sensor.dependencies):
        for problem in _dependency(dependency):
            yield problem.inside("spec", "dependencies", index)
    yield from _unused(sensor, names)
    for loc, trigger in each_trigger(sensor):
        for problem in _trigger(trigger, names):
            # What the trigger's own parameters replace is not what will run.
            if problem.loc[0] != "template" or not trigger.writes(problem.loc[1:]):
                yield problem.inside(*loc)


def _unused(sensor: Sensor, names: list[str]) -> Iterator[Problem]:
    """Dependencies that no trigger waits for: their events are matched and then forgotten."""
    used: set[str] = set()
    for trigger in sensor.spec.triggers:
        condition, _ = compiled("conditions", trigger.template.conditions, names)
        if condition is None:
            return
        used.update(condition.names)
    for index, name in enumerate(names):
        if name not in used:
            text = f"no trigger waits for dependency '{name}'"
            yield Problem("unused-dependency", text, ("spec", "dependencies", index, "name"), "info")


def each_trigger(sensor: Sensor) -> Iterator[tuple[Loc, TriggerSpec]]:
    """Every trigger that can run with its place in the object, dead-letter triggers included."""
    places = {trigger.template.name: index for index, trigger in enumerate(sensor.spec.triggers)}
    for trigger in sensor.triggers:
        loc: Loc = ("spec", "triggers", places[trigger.name])
        one: TriggerSpec | None = trigger
        while one:
            yield loc, one
            loc, one = (*loc, "dlqTrigger"), one.dlq_trigger


def each_parameter(trigger: TriggerSpec) -> Iterator[tuple[Loc, TriggerParameter]]:
    """Every parameter of a trigger with its place in the trigger: its own, and those of its kind's block."""
    for index, parameter in enumerate(trigger.parameters):
        yield ("parameters", index), parameter
    for attribute, name in (
        ("parameters", "parameters"),
        ("payload", "payload"),
        ("dynamic_headers", "dynamicHeaders"),
    ):
        entries = getattr(trigger.config, attribute, None)
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            if isinstance(entry, TriggerParameter):
                yield ("template", trigger.kind, name, index), entry


def compiled(language: str, text: str, *arguments: Any) -> tuple[Any, str]:
    """The compiled text and what is wrong with it; (None, "") where the language is not installed."""
    try:
        module = importlib.import_module(f"argosy.lang.{language}")
    except ModuleNotFoundError:
        return None, ""
    try:
        return module.compile(text, *arguments), ""
    except LangError as error:
        return None, f"{_NAMES[language]} does not parse: {error.message}{_excerpt(error)}"


def _excerpt(error: LangError) -> str:
    if error.offset < 0 or "\n" not in error.text.strip():
        return ""
    line = error.text.count("\n", 0, error.offset) + 1
    return f" (line {line} of the text)"


def _faults(language: str, text: str, loc: Loc, *arguments: Any) -> Iterator[Problem]:
    if text:
        _, fault = compiled(language, text, *arguments)
        if fault:
            yield Problem(f"bad-{language}", fault, loc)


def _dependency(dependency: Dependency) -> Iterator[Problem]:
    if transform := dependency.transform:
        yield from _faults("jq", transform.jq, ("transform", "jq"))
        yield from _faults("lua", transform.script, ("transform", "script"))
        if transform.jq and transform.script:
            text = "'jq' counts, 'script' not; keep one"
            yield Problem("several-kinds", text, ("transform", "script"), "warning", True)
    if filters := dependency.filters:
        for index, one in enumerate(filters.exprs):
            yield from (problem.inside("filters", "exprs", index) for problem in _expr(one))
        for index, clause in enumerate(filters.data):
            yield from (problem.inside("filters", "data", index) for problem in _data(clause))
        yield from _faults("lua", filters.script, ("filters", "script"))


def _expr(one: ExprFilter) -> Iterator[Problem]:
    for index, field in enumerate(one.fields):
        yield from _faults("gjson", field.path, ("fields", index, "path"))
    expression, fault = compiled("govaluate", one.expr)
    if fault:
        yield Problem("bad-govaluate", fault, ("expr",))
    known = [field.name for field in one.fields]
    for name in sorted(expression.names) if expression else ():
        if name not in known:
            text = f"'{name}' is none of the names in 'fields'{did_you_mean(name, known)}"
            yield Problem("unknown-name", text, ("expr",))


def _data(clause: DataFilter) -> Iterator[Problem]:
    yield from _faults("gjson", clause.path, ("path",))
    yield from _faults("gotemplate", clause.template, ("template",))
    for index, value in enumerate(clause.value):
        if clause.type == "string":
            yield from _faults("regex", value, ("value", index))
        elif clause.type == "bool" and value not in _BOOLEANS:
            yield Problem("invalid-value", f"'{value}' is not true or false", ("value", index))
        elif clause.type == "number" and not _is_number(value):
            yield Problem("invalid-value", f"'{value}' is not a number", ("value", index))
    if clause.type == "string" and clause.comparator not in ("", "=", "!="):
        text = f"comparator '{clause.comparator}' never matches text; use =, != or type: number"
        yield Problem("never-true", text, ("comparator",), "warning")
    if clause.comparator == "!=" and len(set(clause.value)) > 1 and clause.type != "bool":
        text = "values are alternatives: with != and several of them nearly everything passes"
        yield Problem("always-true", text, ("value",), "warning")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        # Go also reads hexadecimal floats, 0x1p-2.
        return text.lower().lstrip("+-").startswith("0x")
    return True


def _trigger(trigger: TriggerSpec, names: list[str]) -> Iterator[Problem]:
    condition, fault = compiled("conditions", trigger.conditions, names)
    if fault:
        yield Problem("bad-conditions", fault, ("template", "conditions"))
    for index, reset in enumerate(trigger.conditions_reset):
        at = ("template", "conditionsReset", index, "byTime", "cron")
        yield from _faults("cron", reset.by_time.cron, at, reset.by_time.timezone or None)
    if trigger.conditions_reset and condition is not None and not condition.joins:
        text = "a condition without && collects nothing that could be forgotten"
        yield Problem("no-effect", text, ("template", "conditionsReset"), "warning", True)
    for loc, parameter in each_parameter(trigger):
        src = parameter.src
        if src.dependency_name not in names:
            near = did_you_mean(src.dependency_name, names)
            text = f"'{src.dependency_name}' is no dependency of this sensor{near}"
            yield Problem("unknown-dependency", text, (*loc, "src", "dependencyName"), "warning")
        for word, path in (("dataKey", src.data_key), ("contextKey", src.context_key)):
            yield from _faults("gjson", path, (*loc, "src", word))
        for word, template in (
            ("dataTemplate", src.data_template),
            ("contextTemplate", src.context_template),
        ):
            yield from _faults("gotemplate", template, (*loc, "src", word))
