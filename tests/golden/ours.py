"""The same questions, answered by ``argosy.lang``, in the oracle's form."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from typing import Any

from argosy.errors import LangError, NoOutput
from argosy.lang import conditions, cron, durations, gjson, gojson, gotemplate, govaluate, jq, lua, regex, sjson
from argosy.manifests import _yaml
from tests.golden.files import Answer, Question


def answer(language: str, question: Question) -> Answer:
    """What we say to a question whose shared part is in it."""
    try:
        run = _COMPILE[language](question)
    except LangError:
        return {"error": "compile"}
    try:
        return {"ok": plain(run())}
    except NoOutput:
        return {"error": "none"}
    except LangError:
        return {"error": "run"}


def value(language: str, question: Question) -> Any:
    """What comes out, in the oracle's form. Raises LangError with our words."""
    return plain(_COMPILE[language](question)())


def plain(value: Any) -> Any:
    """A value with the oracle's word for infinities and NaN."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": "NaN" if math.isnan(value) else ("+Inf" if value > 0 else "-Inf")}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def same(a: Any, b: Any) -> bool:
    """Equal in kind and value; 1 and 1.0 are one number, as they are in JSON."""
    if isinstance(a, bool) or isinstance(b, bool) or a is None or b is None:
        return a is b
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        # Go's numbers are float64, ours may keep an integer that float64 rounds.
        return float(a) == float(b)
    return type(a) is type(b) and bool(a == b)


def agree(ours: Answer, theirs: Answer) -> bool:
    """Whether both found the same, or both refused.

    When does not matter: Go finds out some things while it runs that we know when we compile, and the other
    way round. What crashed there must be refused here.
    """
    if "ok" in ours or "ok" in theirs:
        return "ok" in ours and "ok" in theirs and same(ours["ok"], theirs["ok"])
    return (ours["error"] == "none") == (theirs["error"] == "none")


def _gjson(question: Question) -> Callable[[], Any]:
    path = gjson.compile(question["path"])

    def run() -> Any:
        found = path.get(gjson.Document(question["json"].encode("utf-8", "surrogatepass")))
        if not found.exists:
            return None
        return {
            "kind": found.kind,
            "raw": found.raw,
            "string": found.string(),
            "number": found.number(),
            "bool": found.boolean(),
            "value": found.value,
        }

    return run


def _sjson(question: Question) -> Callable[[], Any]:
    text = question["json"].encode()
    if "raw" in question:
        return lambda: sjson.set_raw(text, question["path"], question["raw"].encode()).decode()
    # The oracle decodes the value as Go does: every number is a float64.
    value = govaluate.as_float64(question["value"])
    return lambda: sjson.set(text, question["path"], value).decode()


def _govaluate(question: Question) -> Callable[[], Any]:
    expression = govaluate.compile(question["expr"])
    return lambda: expression.evaluate(question["values"])


def _template(question: Question) -> Callable[[], Any]:
    template = gotemplate.compile(question["text"])
    return lambda: template.render(question["dot"])


def _jq(question: Question) -> Callable[[], Any]:
    program = jq.compile(question["text"])
    return lambda: program.first(question["input"])


_AS_TEXT = (
    'local function last(...) local n = select("#", ...) if n == 0 then return nil end return (select(n, ...)) end '
    "return tostring(last((function() {}\nend)()))"
)


def _lua(question: Question) -> Callable[[], Any]:
    text = question["script"]
    script = lua.compile(_AS_TEXT.replace("{}", text) if question.get("as") == "text" else text)
    return lambda: script.run(question.get("event", {}))


def _regex(question: Question) -> Callable[[], Any]:
    pattern = regex.compile(question["pattern"])
    return lambda: pattern.search(question["text"])


def _duration(question: Question) -> Callable[[], Any]:
    seconds = durations.parse(question["text"])
    nanoseconds = round(seconds * 1e9)
    return lambda: [nanoseconds, durations.format(seconds)]


def _cron(question: Question) -> Callable[[], Any]:
    schedule = cron.compile(question["spec"], question["zone"] or None)
    at = dt.datetime.fromtimestamp(question["at"], dt.UTC)
    search = schedule.next if question["way"] == "next" else schedule.previous
    return lambda: (found := search(at)) and int(found.timestamp())


def _condition(question: Question) -> Callable[[], Any]:
    condition = conditions.compile(question["condition"], question["names"])
    return lambda: condition.evaluate(question["present"])


def _json(question: Question) -> Callable[[], Any]:
    value = govaluate.as_float64(gojson.loads(question["text"]))
    return lambda: gojson.dumps(value).decode()


def _yaml_value(question: Question) -> Callable[[], Any]:
    found = list(_yaml.documents(question["text"]))
    for document in found:
        if isinstance(document, _yaml.Fault):
            raise LangError(document.message)
    return lambda: found[0].value if found else None


_COMPILE: dict[str, Callable[[Question], Callable[[], Any]]] = {
    "gjson": _gjson,
    "sjson": _sjson,
    "govaluate": _govaluate,
    "template": _template,
    "jq": _jq,
    "lua": _lua,
    "regex": _regex,
    "duration": _duration,
    "cron": _cron,
    "condition": _condition,
    "json": _json,
    "yaml": _yaml_value,
}

LANGUAGES = frozenset(_COMPILE)
