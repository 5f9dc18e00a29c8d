"""Whatever text stands in a manifest, and whatever value in an event: a language answers or raises LangError, nothing else."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.errors import LangError
from argosy.lang import (
    conditions,
    cron,
    durations,
    expr,
    gjson,
    gojson,
    gotemplate,
    govaluate,
    jq,
    jsonpath,
    lua,
    regex,
    sjson,
)
from argosy.lang.gjson import Document

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("ab-.é") | st.text(max_size=4), inner),
    max_leaves=12,
)
_OBJECT = st.dictionaries(st.sampled_from(["a", "b", "body", "a-b", "a.b"]), _JSON, max_size=4)

_WORDS = {
    "gjson": '. # * ? | @ ! [ ] { } ( ) : \\ " ~true == != % !% < .. a b 0 -1 @this @pretty @join @flatten @dig:a @tostr {"deep":true}',
    "sjson": ". : -1 0 a b \\ # * @this | é",
    "govaluate": "( ) + - * / ** % & | ^ << >> ~ ! == != < >= =~ !~ && || ? : ?? , in a [a] 'x' \"2014-01-01\" 1 0x1 1.5 true",
    "template": '{{ }} {{- -}} | ( ) . .Input $x := = if range with end else define template block "a" `b` 1 1.5 nil printf "%v" index len eq and or not break continue upper default list dict',
    "jq": '. | , : ; ( ) [ ] { } "a" "\\(.a)" 1 + - * / % // and or not if then else end reduce foreach as $x .a .[0] .[]? def f: f; try catch error ..|= |= += map select(.) to_entries fromjson',
    "lua": "return event local function end if then else for in do while true false nil { } [ ] ( ) = == ~= .. # + - 'a' [[b]] event.a , ; string.rep pairs ipairs",
    "conditions": "a b a-b && || ( ) !",
    "expr": ". ?. ?? | ( ) [ ] { } : , + - * / ** % == != < >= in not and or ?: .. a b body 'x' `y` 1 1.5 true nil # len all filter map let ; => matches contains",
    "jsonpath": "$ . .. [ ] * ? @ ( ) 'a' 0 -1 : , == < && a b ?(@.a>1) length()",
    "cron": "* / - , 0 1 59 60 7 8 MON JAN ? L @every",
    "duration": "1 . - + h m s ms us ns µs 0 99999999999",
    "regex": "a . * + ? | ( ) [ ] { } ^ $ \\ \\d \\p{L} (?i) (?P<n> {1,1000} [[:alpha:]] \\1 (?=a)",
}
_NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)

_RUN: dict[str, Callable[[str, dict[str, Any]], object]] = {
    "gjson": lambda text, value: _read(gjson.compile(text).get(Document(gojson.dumps(value)))),
    "sjson": lambda text, value: sjson.set(gojson.dumps(value), text, "x"),
    "govaluate": lambda text, value: govaluate.compile(text).evaluate(value),
    "template": lambda text, value: gotemplate.compile(text).render({"Input": value}),
    "jq": lambda text, value: jq.compile(text).first(value),
    "lua": lambda text, value: lua.compile(text).run(value),
    "conditions": lambda text, value: conditions.compile(text, ["a", "b", "a-b"]).evaluate(value.keys()),
    "expr": lambda text, value: expr.compile(text).evaluate(value),
    "jsonpath": lambda text, value: jsonpath.compile(text).query(value),
    "cron": lambda text, value: cron.compile(text, "Europe/Berlin").next(_NOW),
    "duration": lambda text, value: durations.parse(text),
    "regex": lambda text, value: regex.compile(text).search(str(value)),
}


def _read(result: gjson.Result) -> object:
    return result.exists, result.kind, result.raw, result.string(), result.number(), result.boolean()


@pytest.mark.parametrize("language", _WORDS)
def test_a_language_answers_or_raises_its_own_error(language: str) -> None:
    words = st.sampled_from(_WORDS[language].split())
    glue = st.sampled_from(["", " ", "\n"])
    texts = st.lists(st.tuples(words, glue).map("".join), max_size=14).map("".join) | st.text(max_size=30)

    @settings(max_examples=150 if language == "jq" else 400, deadline=None)
    @given(text=texts, value=_OBJECT)
    def answers(text: str, value: dict[str, Any]) -> None:
        try:
            _RUN[language](text, value)
        except LangError as error:
            assert error.message
            assert -1 <= error.offset <= len(error.text)

    answers()
