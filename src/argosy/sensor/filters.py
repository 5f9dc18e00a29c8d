"""A dependency's filters, compiled once (reference: ``dependencies/filter.go`` and ``docs/sensors/filters`` of upstream).

The order is always exprs, data, context, time, script. With ``and`` the first stage that does not pass ends the matter; with ``or``
all are asked. In both, a stage that could not be decided discards the event, even if another passed: that is what upstream's entry
point does. An event without any data passes exprs, data and script, as there.

``strict`` (the sensor's field, ours) gives the meaning that most people expect where upstream's is a trap: every value of ``!=`` must
differ, text must match as a whole, what is no number or boolean does not count as 0 or false, and a stage of ``or`` that could not be decided
only counts as not passed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from functools import partial
from operator import eq, ge, gt, le, lt, ne
from typing import Any
from zoneinfo import ZoneInfo

from argosy.errors import EventInvalid, LangError
from argosy.event import Event, parse_time
from argosy.lang import gjson, gojson, gotemplate, govaluate, lua, regex
from argosy.lang.gjson import Document
from argosy.sensor import _reasons
from argosy.sensor.verdict import Verdict

Clause = Callable[[Document, Event], Verdict]
Test = Callable[[gjson.Result], bool | None]
"""Whether a value is as wanted; None where that cannot be said."""

_WHOLE = gjson.compile("@this")
_UNDECIDABLE = (LangError, ArithmeticError, ValueError, RecursionError)
"""What hostile data may raise out of a language: nesting beyond all measure, dates out of range, halves of characters."""


def _asked(clause: Clause, name: str, document: Document, event: Event) -> Verdict:
    try:
        return clause(document, event)
    except _UNDECIDABLE as error:
        return Verdict(name, False, partial(_reasons.problem, error), True)


def _stage(name: str, either: bool, clauses: Sequence[tuple[str, Clause]]) -> Clause:
    """``exprs`` or ``data``: all clauses (the first that does not pass decides) or any (the first that passes decides)."""

    def check(document: Document, event: Event) -> Verdict:
        if not event.data:
            return Verdict(name, True, "the event has no data, so there is nothing to refuse")
        try:
            document.value  # noqa: B018 - parses, once
        except LangError as error:
            # JSON with a number beyond all floats is JSON to upstream's filters, and only the value itself cannot be had.
            if not gojson.valid(document.text):
                return Verdict(name, False, f"the event's data is not JSON: {_reasons.problem(error)}", True)
        parts: list[Verdict] = []
        for label, clause in clauses:
            verdict = _asked(clause, label, document, event)
            parts.append(verdict)
            if verdict.passed == either and (either or not verdict.failed):
                return Verdict(name, either, partial(_named, verdict), parts=tuple(parts))
            if verdict.failed and not either:
                return Verdict(name, False, partial(_named, verdict), True, tuple(parts))
        if not either:
            return Verdict(name, True, f"every clause of {name} passed", parts=tuple(parts))
        failed = any(part.failed for part in parts)
        return Verdict(name, False, lambda: " / ".join(map(_named, parts)), failed, tuple(parts))

    return check


def _named(verdict: Verdict) -> str:
    return f"{verdict.clause}: {verdict.reason}"


def _expr(label: str, spec: Any) -> Clause:
    expression = govaluate.compile(spec.expr)
    fields = [(field.name, field.path, gjson.compile(field.path)) for field in spec.fields]

    def check(document: Document, event: Event) -> Verdict:
        values: dict[str, Any] = {}
        for name, text, path in fields:
            found = path.get(document)
            if not found.exists:
                return Verdict(label, False, partial(_reasons.missing, document, text), True)
            values[name] = found.value
        try:
            result = expression.evaluate(values)
        except LangError as error:
            problem = _reasons.problem(error)
            return Verdict(label, False, lambda: f"`{_reasons.shown(spec.expr)}` {_with(values)}: {problem}", True)

        def reason() -> str:
            word = "" if isinstance(result, bool) else "; only true passes"
            return f"`{_reasons.shown(spec.expr)}` is {_reasons.value_text(result)} {_with(values)}{word}"

        return Verdict(label, result is True, reason)

    return check


def _with(values: dict[str, Any]) -> str:
    return "with " + ", ".join(f"{name} = {_reasons.value_text(value)}" for name, value in values.items())


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    **{"": eq, "=": eq, "!=": ne},
    **{">": gt, ">=": ge, "<": lt, "<=": le},
}
_TRUE, _FALSE = ("1", "t", "T", "true", "TRUE", "True"), ("0", "f", "F", "false", "FALSE", "False")


def _bool_test(spec: Any, strict: bool) -> Test:
    for value in spec.value:
        if value not in (*_TRUE, *_FALSE):
            raise LangError(f"{value!r} is not a boolean; write true or false", text=value, offset=0)
    wanted = {value in _TRUE for value in spec.value}
    if not strict:
        return lambda found: found.boolean() in wanted
    if spec.comparator not in ("", "=", "!="):
        raise LangError(f"booleans are compared with = and !=, not with {spec.comparator!r}", text=spec.comparator)
    equal = spec.comparator != "!="

    def test(found: gjson.Result) -> bool | None:
        if found.kind not in ("True", "False") and not (found.kind == "String" and found.string() in (*_TRUE, *_FALSE)):
            return None
        return (found.boolean() in wanted) is equal

    return test


def _number(text: str) -> float:
    number = gjson.parse_float(text)
    if number is None:
        raise LangError(f"{text!r} is not a number", text=text, offset=0)
    return number


def _is_number(found: gjson.Result) -> bool:
    return found.kind == "Number" or (found.kind == "String" and gjson.parse_float(found.string()) is not None)


def _number_test(spec: Any, strict: bool) -> Test:
    compare = _COMPARE[spec.comparator]
    numbers = [_number(value) for value in spec.value]
    # Of several values one is enough, also with '!=', which then nearly everything passes.
    enough = all if strict and spec.comparator == "!=" else any

    def test(found: gjson.Result) -> bool | None:
        if strict and not _is_number(found):
            return None
        number = found.number()
        return enough(compare(number, wanted) for wanted in numbers)

    return test


def _string_test(spec: Any, strict: bool) -> Test:
    if spec.comparator not in ("", "=", "!="):
        for value in spec.value:
            regex.compile(value)
        if strict:
            raise LangError(
                f"text is compared with = and !=, not with {spec.comparator!r}; for numbers write type: number",
                text=spec.comparator,
            )
        return lambda found: False
    patterns = [regex.compile(value) for value in spec.value]
    if strict:
        patterns = [regex.compile(rf"\A(?:{value})\z") for value in spec.value]
    if spec.comparator != "!=":
        if len(patterns) == 1:
            search = patterns[0].search
            return lambda found: search(found.string())
        return lambda found: any(pattern.search(found.string()) for pattern in patterns)
    enough = all if strict else any
    return lambda found: enough(not pattern.search(found.string()) for pattern in patterns)


_TESTS = {"bool": _bool_test, "number": _number_test, "string": _string_test}


def _data(label: str, spec: Any, strict: bool) -> Clause:
    if spec.type not in _TESTS:
        raise LangError(f"unsupported type {spec.type!r}; write bool, number or string", text=spec.type, offset=0)
    get = gjson.compile(spec.path).get
    template = gotemplate.compile(spec.template) if spec.template else None
    test = _TESTS[spec.type](spec, strict)
    comparator = "" if spec.comparator in ("", "=") or (spec.type == "bool" and not strict) else spec.comparator + " "
    wanted = f"wanted {comparator}{_reasons.alternatives(spec.value)}"

    def check(document: Document, event: Event) -> Verdict:
        found = get(document)
        if not found.exists:
            return Verdict(label, False, partial(_reasons.missing, document, spec.path), True)
        if template is not None:
            before = found.string()
            try:
                text = template.render({"Input": before})
            except LangError as error:
                problem = _reasons.problem(error)
                return Verdict(label, False, lambda: f"template of {_is(spec, before)}: {problem}", True)
            if text in ("", "<no value>"):
                return Verdict(label, False, lambda: f"template of {_is(spec, before)} gives nothing", True)
            found = _WHOLE.get(Document.of(text))
        passed = test(found)
        through = " through the template" if template is not None else ""
        if passed is None:
            word = "boolean" if spec.type == "bool" else "number"
            return Verdict(
                label, False, lambda: f"`{spec.path}` is `{_reasons.found_text(found)}`{through}, no {word}", True
            )

        def reason() -> str:
            value = _reasons.found_text(found)
            return f"`{spec.path}` is `{value}`{through}{_counted(spec.type, found)}, {wanted}"

        return Verdict(label, passed, reason)

    return check


def _is(spec: Any, text: str) -> str:
    return f"`{spec.path}`, which is `{_reasons.shown(text)}`,"


def _counted(wanted: str, found: gjson.Result) -> str:
    """How a value that is not of the wanted type was read, where that may surprise."""
    if wanted == "number" and not _is_number(found):
        return f" (counts as {found.number():g})"
    if wanted == "bool" and found.kind not in ("True", "False"):
        return f" (counts as {'true' if found.boolean() else 'false'})"
    return ""


def _context(spec: Any) -> Clause:
    # id, specversion and time are accepted and ignored, as upstream's documents say.
    wanted = [(name, getattr(spec, name)) for name in ("type", "subject", "source", "datacontenttype")]
    wanted = [(name, value) for name, value in wanted if value]

    def check(document: Document, event: Event) -> Verdict:
        for name, value in wanted:
            found = getattr(event, name)
            if found != value:
                return Verdict("context", False, partial(_unlike, name, found, value))
        return Verdict("context", True, "the context is as wanted")

    return check


def _unlike(name: str, found: str, wanted: str) -> str:
    return f"context `{name}` is `{_reasons.shown(found)}`, wanted `{_reasons.shown(wanted)}`"


def _instant(day: dt.date, time: dt.time, zone: dt.tzinfo) -> dt.datetime:
    """The instant of a wall time as Go's ``time.Date`` finds it, which decides what a window means on the days when clocks change."""
    wall = dt.datetime.combine(day, time, dt.UTC)
    offset = wall.astimezone(zone).utcoffset() or dt.timedelta()
    return wall - ((wall - offset).astimezone(zone).utcoffset() or dt.timedelta())


def _time(spec: Any) -> Clause:
    zone: dt.tzinfo = ZoneInfo(spec.timezone) if spec.timezone else dt.UTC
    start, stop = spec.start_time, spec.stop_time
    window = f"{spec.start}-{spec.stop} {spec.timezone or 'UTC'}"

    def check(document: Document, event: Event) -> Verdict:
        try:
            moment = parse_time(event.time).astimezone(zone)
            day = moment.date()
            first, last = _instant(day, start, zone), _instant(day, stop, zone)
            instant = moment.astimezone(dt.UTC)
        except (EventInvalid, OverflowError):
            return Verdict(
                "time",
                False,
                lambda: f"the event's time `{_reasons.shown(event.time)}` is not one that can be read",
                True,
            )
        passed = first <= instant < last if first < last else instant >= first or instant < last
        where = "inside" if passed else "outside"
        return Verdict("time", passed, lambda: f"{moment:%H:%M:%S} is {where} {window}")

    return check


def _script(text: str, strict: bool) -> Clause:
    program = lua.compile(text)

    def check(document: Document, event: Event) -> Verdict:
        if not event.data:
            return Verdict("script", True, "the event has no data, so there is nothing to refuse")
        value = document.value
        if value is None:
            value = {}  # upstream's converter makes an empty table of a null
        if not isinstance(value, dict):
            return Verdict("script", False, f"the event's data is {_reasons.kind(value)}; it must be an object", True)
        result = program.run(value, whole_arrays=True) if strict else program.run(value)
        return Verdict(
            "script", result is True, lambda: f"the script returned {_reasons.value_text(result)}, wanted true"
        )

    return check


def compile(spec: Any, operator: str = "", *, strict: bool = False) -> Clause | None:
    """The filters of one dependency; None where there are none. Raises LangError or ConfigError for what does not parse.

    ``spec`` is a manifest's ``filters`` block, ``operator`` its ``filtersLogicalOperator``. What is returned never raises.
    """
    if spec is None:
        return None
    stages: list[tuple[str, Clause]] = []
    if spec.exprs:
        exprs = [(f"exprs[{index}]", _expr(f"exprs[{index}]", item)) for index, item in enumerate(spec.exprs)]
        stages.append(("exprs", _stage("exprs", spec.expr_logical_operator == "or", exprs)))
    if spec.data:
        data = [(f"data[{index}]", _data(f"data[{index}]", item, strict)) for index, item in enumerate(spec.data)]
        stages.append(("data", _stage("data", spec.data_logical_operator == "or", data)))
    if spec.context:
        stages.append(("context", _context(spec.context)))
    if spec.time:
        stages.append(("time", _time(spec.time)))
    if spec.script:
        stages.append(("script", _script(spec.script, strict)))
    if operator == "or" and (stages or not strict):
        return _any_stage(stages, strict)
    return _every_stage(stages)


def _every_stage(stages: Sequence[tuple[str, Clause]]) -> Clause:
    good = "every filter passed" if stages else "there is no filter"

    def check(document: Document, event: Event) -> Verdict:
        parts: list[Verdict] = []
        for name, stage in stages:
            verdict = _asked(stage, name, document, event)
            parts.append(verdict)
            if not verdict.passed:
                # A later stage cannot mend this; upstream asks on only to collect more errors.
                return Verdict("filters", False, partial(_told, verdict), verdict.failed, tuple(parts))
        return Verdict("filters", True, good, parts=tuple(parts))

    return check


def _any_stage(stages: Sequence[tuple[str, Clause]], strict: bool) -> Clause:
    def check(document: Document, event: Event) -> Verdict:
        if not stages:
            return Verdict("filters", False, "filtersLogicalOperator is or, and no filter is given that could pass")
        parts = tuple(_asked(stage, name, document, event) for name, stage in stages)
        good = next((part for part in parts if part.passed), None)
        failed = [part for part in parts if part.failed]
        if good is not None and (strict or not failed):
            return Verdict("filters", True, partial(_told, good), parts=parts)
        if failed and good is not None:
            return Verdict(
                "filters", False, lambda: f"{_told(good)}, but {' / '.join(map(_told, failed))}", True, parts
            )
        return Verdict("filters", False, lambda: " / ".join(map(_told, parts)), bool(failed), parts)

    return check


def _told(stage: Verdict) -> str:
    """The reason of a stage; those with clauses have named the clause already."""
    return stage.reason if stage.parts or stage.clause == "context" else _named(stage)
