"""A dependency's filters, compiled once (reference: ``dependencies/filter.go`` of upstream).

The order is always exprs, data, context, time, script. With ``and`` the first stage that cannot be decided ends the matter; with ``or``
all stages are asked. In both, a stage that could not be decided discards the event, even if another passed: that is what upstream's
entry point does, and its documents say that an erroneous filter discards.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from argosy.errors import ConfigError, EventInvalid, LangError
from argosy.event import Event, parse_time
from argosy.lang import gjson, gotemplate, govaluate, lua, regex
from argosy.lang.gjson import Document
from argosy.sensor.verdict import Verdict

Clause = Callable[[Document, Event], Verdict]
_SHOWN = 120
_WHOLE = gjson.compile("@this")


def _show(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _missing(document: Document, path: str) -> str:
    """Which part of a plain path is missing, and what is there instead."""
    value, walked = document.value, ""
    for part in path.replace("\\.", "\0").split("."):
        name = part.replace("\0", ".")
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            where = f"under {walked!r}" if walked else "at the top"
            if isinstance(value, dict):
                there = ", ".join(list(map(str, value))[:10]) or "nothing"
                return f"path '{path}' does not exist: no {name!r} {where}; there is {_show(there)}"
            return f"path '{path}' does not exist: {name!r} is wanted {where}, where no object stands"
        walked = f"{walked}.{name}" if walked else name
    return f"path '{path}' does not exist"


def _combine(name: str, either: bool, clauses: Sequence[Clause]) -> Clause:
    """``exprs`` or ``data``: all clauses (the first that fails decides) or any (the first that passes decides)."""

    def check(document: Document, event: Event) -> Verdict:
        parts: list[Verdict] = []
        for clause in clauses:
            verdict = clause(document, event)
            parts.append(verdict)
            if verdict.passed == either and not verdict.failed:
                return Verdict(name, either, verdict.reason, parts=tuple(parts))
            if verdict.failed and not either:
                return Verdict(name, False, f"{name} filter error ({verdict.reason})", True, tuple(parts))
        errors = [part.reason for part in parts if part.failed]
        if either:
            reason = f"{name} filter errors [{' / '.join(errors)}]" if errors else f"no clause of {name} passed"
            return Verdict(name, False, reason, bool(errors), tuple(parts))
        return Verdict(name, True, f"every clause of {name} passed", parts=tuple(parts))

    return check


def _expr(index: int, spec: Any) -> Clause:
    clause = f"exprs[{index}]"
    expression = govaluate.compile(spec.expr)
    fields = [(field.name, field.path, gjson.compile(field.path)) for field in spec.fields]

    def check(document: Document, event: Event) -> Verdict:
        values: dict[str, Any] = {}
        for name, text, path in fields:
            found = path.get(document)
            if not found.exists:
                return Verdict(clause, False, _missing(document, text), True)
            values[name] = found.value
        try:
            result = expression.evaluate(values)
        except LangError as error:
            return Verdict(clause, False, f"`{spec.expr}`: {error.message}", True)
        shown = ", ".join(f"{name} = {_show(repr(value))}" for name, value in values.items())
        return Verdict(clause, result is True, f"`{spec.expr}` is {_show(str(result))} with {shown}")

    return check


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "": lambda left, right: left == right,
    "=": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
}
_TRUE, _FALSE = ("1", "t", "T", "true", "TRUE", "True"), ("0", "f", "F", "false", "FALSE", "False")


def _test(spec: Any) -> tuple[str, Callable[[gjson.Result], bool]]:
    """How a data clause decides on the value found, and in what form it reads it. Its values are alternatives."""
    if spec.type == "bool":
        for value in spec.value:
            if value not in (*_TRUE, *_FALSE):
                raise LangError(f"{value!r} is not a boolean", text=value, offset=0)
        wanted = {value in _TRUE for value in spec.value}
        return "bool", lambda found: found.boolean() in wanted
    if spec.type == "number":
        compare = _COMPARE[spec.comparator]
        try:
            numbers = [float(value) for value in spec.value]
        except ValueError:
            raise LangError(
                f"{spec.value!r} holds something that is not a number", text=str(spec.value), offset=0
            ) from None

        def numeric(found: gjson.Result) -> bool:
            number = found.number()
            return any(compare(number, wanted) for wanted in numbers)

        return "number", numeric
    if spec.type == "string":
        patterns = [regex.compile(value) for value in spec.value]
        # Upstream compares strings with '=' and '!=' only; any other comparator never matches.
        if spec.comparator in ("", "="):
            return "string", lambda found: any(pattern.search(found.string()) for pattern in patterns)
        if spec.comparator == "!=":
            return "string", lambda found: any(not pattern.search(found.string()) for pattern in patterns)
        return "string", lambda found: False
    raise LangError(f"unsupported JSON type {spec.type!r}; write bool, number or string", text=spec.type, offset=0)


def _data(index: int, spec: Any) -> Clause:
    clause = f"data[{index}]"
    path = gjson.compile(spec.path)
    template = gotemplate.compile(spec.template) if spec.template else None
    _, test = _test(spec)
    wanted = " or ".join(f"`{value}`" for value in spec.value)
    comparator = spec.comparator or "="

    def check(document: Document, event: Event) -> Verdict:
        found = path.get(document)
        if not found.exists:
            return Verdict(clause, False, _missing(document, spec.path), True)
        shown = found.string()
        if template is not None:
            try:
                shown = template.render({"Input": shown})
            except LangError as error:
                return Verdict(clause, False, f"template of path '{spec.path}': {error.message}", True)
            if shown in ("", "<no value>"):
                return Verdict(clause, False, f"template of path '{spec.path}' evaluated to an empty string", True)
            found = _WHOLE.get(Document.of(shown))
        passed = test(found)
        return Verdict(clause, passed, f"`{spec.path}` is `{_show(shown)}`, wanted {comparator} {wanted}")

    return check


def _context(spec: Any) -> Clause:
    wanted = [
        (name, attribute, getattr(spec, attribute))
        for name, attribute in (
            ("type", "type"),
            ("subject", "subject"),
            ("source", "source"),
            ("datacontenttype", "datacontenttype"),
        )
        if getattr(spec, attribute)
    ]

    def check(document: Document, event: Event) -> Verdict:
        for name, attribute, value in wanted:
            found = getattr(event, attribute)
            if found != value:
                return Verdict("context", False, f"context `{name}` is `{found}`, wanted `{value}`")
        return Verdict("context", True, "the context is as wanted")

    return check


def _clock_time(text: str) -> dt.time:
    try:
        return dt.datetime.strptime(text, "%H:%M:%S").time()
    except ValueError:
        raise ConfigError(f"{text!r} is not a time of day; write HH:MM:SS") from None


def _time(spec: Any) -> Clause:
    start, stop = _clock_time(spec.start), _clock_time(spec.stop)
    zone = ZoneInfo(spec.timezone) if spec.timezone else dt.UTC

    def check(document: Document, event: Event) -> Verdict:
        try:
            moment = parse_time(event.time).astimezone(zone)
        except EventInvalid as error:
            return Verdict("time", False, f"time filter error ({error})", True)
        first = moment.replace(hour=start.hour, minute=start.minute, second=start.second, microsecond=0)
        last = moment.replace(hour=stop.hour, minute=stop.minute, second=stop.second, microsecond=0)
        passed = first <= moment < last if start < stop else moment >= first or moment < last
        where = "inside" if passed else "outside"
        return Verdict(
            "time", passed, f"{moment:%H:%M:%S} is {where} {spec.start}-{spec.stop} {spec.timezone or 'UTC'}"
        )

    return check


def _script(text: str) -> Clause:
    program = lua.compile(text)

    def check(document: Document, event: Event) -> Verdict:
        value = document.value
        if not isinstance(value, dict):
            return Verdict("script", False, "the event's data is not an object", True)
        try:
            result = program.run(value)
        except LangError as error:
            return Verdict("script", False, error.message, True)
        return Verdict("script", result is True, f"the script returned {_show(str(result).lower())}, wanted true")

    return check


def compile(spec: Any, operator: str = "") -> Clause | None:
    """The filters of one dependency; None where there are none. Raises LangError or ConfigError for what does not parse.

    ``spec`` is a manifest's ``filters`` block, ``operator`` its ``filtersLogicalOperator``.
    """
    if spec is None:
        return None
    stages: list[Clause] = []
    if spec.exprs:
        exprs = [_expr(index, item) for index, item in enumerate(spec.exprs)]
        stages.append(_combine("exprs", spec.expr_logical_operator == "or", exprs))
    if spec.data:
        data = [_data(index, item) for index, item in enumerate(spec.data)]
        stages.append(_combine("data", spec.data_logical_operator == "or", data))
    if spec.context:
        stages.append(_context(spec.context))
    if spec.time:
        stages.append(_time(spec.time))
    if spec.script:
        stages.append(_script(spec.script))
    either = operator == "or"

    def check(document: Document, event: Event) -> Verdict:
        try:
            document.value  # noqa: B018 - parses, once
        except LangError as error:
            return Verdict("filters", False, f"the event's data is not JSON: {error.message}", True)
        parts: list[Verdict] = []
        for stage in stages:
            verdict = stage(document, event)
            parts.append(verdict)
            if not verdict.passed and not either:
                # A later stage cannot mend this; upstream asks on only to collect more errors.
                return Verdict("filters", False, verdict.reason, verdict.failed, tuple(parts))
        errors = [part for part in parts if part.failed]
        if errors:
            return Verdict("filters", False, " / ".join(part.reason for part in errors), True, tuple(parts))
        if either:
            good = next((part for part in parts if part.passed), None)
            reason = (
                good.reason
                if good
                else "no filter passed"
                if parts
                else "filtersLogicalOperator is or, and no filter is given"
            )
            return Verdict("filters", good is not None, reason, parts=tuple(parts))
        return Verdict("filters", True, "every filter passed" if parts else "there is no filter", parts=tuple(parts))

    return check
