"""The texts of a sensor that are programs: compiled when manifests are loaded, so that slips are found early.

Each language is imported when a text in it is met, and one that this installation lacks is passed over. A
text that fails on every event is an error. What may depend on the event stays for the event.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from argosy.errors import LangError
from argosy.lang.pointing import pointed
from argosy.manifests._bundle import Bundle, Key
from argosy.manifests.checks._walk import each_source, each_trigger, key_of, sensors_by_key
from argosy.manifests.eventsource import EventSource
from argosy.manifests.fields import EventFilter
from argosy.manifests.findings import Loc, Problem
from argosy.manifests.sensor import DataFilter, Dependency, ExprFilter, TriggerSpec
from argosy.manifests.spelling import did_you_mean

_NAMES = {
    "jq": "jq program",
    "lua": "Lua script",
    "govaluate": "expression",
    "expr": "expression",
    "gotemplate": "template",
    "gjson": "path",
    "regex": "regular expression",
    "cron": "cron expression",
    "conditions": "condition",
    "jsonpath": "JSONPath",
}


def check(bundle: Bundle) -> Iterator[tuple[Key, Problem]]:
    """Everything in the objects that does not parse."""
    for source in bundle.event_sources:
        for problem in _source(source):
            yield key_of(source), problem
    for key, sensor in sensors_by_key(bundle):
        names = [dependency.name for dependency in sensor.dependencies]
        for index, dependency in enumerate(sensor.dependencies):
            for problem in _dependency(dependency):
                yield key, problem.inside("spec", "dependencies", index)
        for loc, trigger in each_trigger(sensor):
            for problem in _trigger(trigger, names):
                # What the trigger's own parameters replace is not what will run.
                if problem.loc[0] != "template" or not trigger.writes(problem.loc[1:]):
                    yield key, problem.inside(*loc)


def compiled(language: str, text: str, *arguments: Any) -> tuple[Any, str]:
    """The compiled text and what is wrong with it; (None, "") where the language is not installed."""
    try:
        module = importlib.import_module(f"argosy.lang.{language}")
    except ModuleNotFoundError:
        return None, ""
    try:
        return module.compile(text, *arguments), ""
    except LangError as error:
        reason = pointed(error) if language == "expr" else error.message + _excerpt(error)
        return None, f"{_NAMES[language]} does not parse: {reason}"


def _excerpt(error: LangError) -> str:
    if error.offset < 0 or "\n" not in error.text.strip():
        return ""
    line = error.text.count("\n", 0, error.offset) + 1
    return f" (line {line} of the text)"


_OPENING = {"(": ")", "[": "]", "{": "}"}


def _path(text: str, loc: Loc) -> Iterator[Problem]:
    yield from _faults("gjson", text, loc)
    if opening := _unclosed(text):
        # No error: a filter of others, or a parameter's value, may do without it.
        text = f"path does not parse: '{opening}' is never closed, so it finds nothing"
        yield Problem("bad-gjson", text, loc, "warning")


def _unclosed(path: str) -> str:
    """What opens a query or a selection in the path and has no end; gjson itself finds nothing then and says
    nothing.
    """
    at = 0
    while at < len(path):
        # Only at the beginning of a step brackets are more than letters.
        opening = path[at : at + 2] if path[at : at + 2] in ("#(", "#[") else path[at] if path[at] in "[{" else ""
        if path[at] == "@":
            return ""  # a modifier's argument has rules of its own
        if opening:
            at = _end(path, at + len(opening) - 1)
            if at < 0:
                return opening
        while at < len(path) and path[at] not in ".|":
            at += 2 if path[at] == "\\" else 1
        at += 1
    return ""


def _end(path: str, at: int) -> int:
    """The index after what closes the bracket at ``at``, or -1."""
    wanted: list[str] = []
    quoted = False
    while at < len(path):
        letter = path[at]
        if letter == "\\":
            at += 1
        elif letter == '"':
            quoted = not quoted
        elif not quoted and letter in _OPENING:
            wanted.append(_OPENING[letter])
        elif not quoted and letter == wanted[-1]:
            wanted.pop()
            if not wanted:
                return at + 1
        at += 1
    return -1


def _faults(language: str, text: str, loc: Loc, *arguments: Any) -> Iterator[Problem]:
    if text:
        _, fault = compiled(language, text, *arguments)
        if fault:
            yield Problem(f"bad-{language}", fault, loc)


def _source(source: EventSource) -> Iterator[Problem]:
    for event in source.events:
        wanted = getattr(event.config, "filter", None)
        if not isinstance(wanted, EventFilter) or not wanted.expression:
            continue
        loc = ("spec", event.kind, event.name, "filter", "expression")
        expression, fault = compiled("expr", wanted.expression)
        if fault:
            yield Problem("bad-expr", fault, loc)
        elif expression and expression.lost:
            column = expression.lost[0] + 1
            text = f"the 'not' at character {column} is dropped by the language; put parentheses around what it negates"
            yield Problem("lost-not", text, loc, "warning")


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
        yield from _path(field.path, ("fields", index, "path"))
    expression, fault = compiled("govaluate", one.expr)
    if fault:
        yield Problem("bad-govaluate", fault, ("expr",))
    known = [field.name for field in one.fields]
    for name in sorted(expression.names) if expression else ():
        if name not in known:
            text = f"'{name}' is none of the names in 'fields'{did_you_mean(name, known)}"
            yield Problem("unknown-name", text, ("expr",))


def _data(clause: DataFilter) -> Iterator[Problem]:
    yield from _path(clause.path, ("path",))
    yield from _faults("gotemplate", clause.template, ("template",))
    for index, value in enumerate(clause.value):
        if clause.type == "string":
            yield from _faults("regex", value, ("value", index))


def _trigger(trigger: TriggerSpec, names: list[str]) -> Iterator[Problem]:
    _, fault = compiled("conditions", trigger.conditions, names)
    if fault:
        yield Problem("bad-conditions", fault, ("template", "conditions"))
    for index, reset in enumerate(trigger.conditions_reset):
        at = ("template", "conditionsReset", index, "byTime", "cron")
        yield from _faults("cron", reset.by_time.cron, at, reset.by_time.timezone or None)
    if trigger.policy is not None and trigger.policy.response is not None:
        for index, match in enumerate(trigger.policy.response.match):
            yield from _faults("jsonpath", match.path, ("policy", "response", "match", index, "path"))
    if trigger.policy is not None and trigger.policy.k8s is not None:
        for index, match in enumerate(trigger.policy.k8s.fields):
            yield from _faults("jsonpath", match.path, ("policy", "k8s", "fields", index, "path"))
    if trigger.for_each is not None:
        for word, path in (("path", trigger.for_each.path), ("key", trigger.for_each.key)):
            yield from _path(path, ("forEach", word))
    for loc, src in each_source(trigger):
        for word, path in (("dataKey", src.data_key), ("contextKey", src.context_key)):
            yield from _path(path, (*loc, word))
        for word, template in (("dataTemplate", src.data_template), ("contextTemplate", src.context_template)):
            yield from _faults("gotemplate", template, (*loc, word))
