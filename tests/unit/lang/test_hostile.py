"""A hostile manifest or event cannot hang the process, fill its memory or leave the sandbox, whatever language it speaks.

Each case runs in a child with little memory and little processor time: a case without a limit of ours dies of those.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from argosy.errors import LangError
from argosy.lang import cron, durations, expr, gjson, gojson, gotemplate, govaluate, jq, lua, regex, sjson
from argosy.lang.gjson import Document

MEMORY_BYTES = 2**30
"""Beyond what the process has already."""
CPU_SECONDS = 15


def _template(text: str, value: Any = None) -> Callable[[], Any]:
    return lambda: gotemplate.compile(text).render({"Input": value})


def _govaluate(text: str, **parameters: Any) -> Callable[[], Any]:
    return lambda: govaluate.compile(text).evaluate(parameters)


def _gjson(path: str, document: bytes) -> Callable[[], Any]:
    return lambda: gjson.compile(path).get(Document(document)).string()


def _sjson(path: str) -> Callable[[], Any]:
    return lambda: sjson.set(b"{}", path, "x")


def _jq(program: str, value: Any = None) -> Callable[[], Any]:
    return lambda: jq.compile(program).first(value or {"a": "x"})


def _lua(script: str) -> Callable[[], Any]:
    return lambda: lua.compile(script).run({"a": "x" * 1000})


def _expr(text: str, **env: Any) -> Callable[[], Any]:
    return lambda: expr.compile(text).decide({**expr.FUNCTIONS, **env})


_LONG = '{{ $s := repeat 4000000 "x" }}'
_EXPLODING_MAP = '{{ $x := dict }}{{ range until 50 }}{{ $x = dict "a" $x "b" $x }}{{ end }}'
_EXPLODING_LIST = "{{ $x := list 1 }}{{ range until 50 }}{{ $x = list $x $x }}{{ end }}"
_NESTED = b'{"a":' * 10_000 + b"1" + b"}" * 10_000

REFUSED = {
    "template: a huge text": _template('{{ repeat 1000000000 "x" }}'),
    "template: a huge list": _template("{{ untilStep 0 1000000000 1 | len }}"),
    "template: loops in loops": _template(
        "{{ range until 1000 }}{{ range until 1000 }}{{ range until 1000 }}x{{ end }}{{ end }}{{ end }}"
    ),
    "template: calls itself": _template('{{ define "a" }}{{ template "a" }}{{ end }}{{ template "a" }}'),
    "template: a wide number": _template('{{ printf "%1000000000d" 1 }}'),
    "template: a text that doubles": _template('{{ $x := "x" }}{{ range until 60 }}{{ $x = print $x $x }}{{ end }}'),
    "template: a list that doubles": _template(
        "{{ $x := list 1 }}{{ range until 60 }}{{ $x = concat $x $x }}{{ end }}"
    ),
    "template: a shared list of long texts, printed": _template(
        '{{ $s := repeat 4000000 "x" }}{{ $x := list $s $s }}{{ range until 18 }}{{ $x = concat $x $x }}{{ end }}{{ $x }}'
    ),
    "template: a shared list, printed": _template(_EXPLODING_LIST + "{{ $x }}"),
    "template: a shared list, as JSON": _template(_EXPLODING_LIST + "{{ toJson $x }}"),
    "template: a shared list, compared": _template(
        _EXPLODING_LIST.replace("$x", "$y") + _EXPLODING_LIST + "{{ deepEqual $x $y }}"
    ),
    "template: a shared list, as Go writes it": _template(_EXPLODING_LIST + '{{ printf "%#v" $x }}'),
    "template: shared maps, merged": _template(
        _EXPLODING_MAP.replace("$x", "$y") + _EXPLODING_MAP + "{{ $_ := merge $x $y }}"
    ),
    "template: shared lists, searched again and again": _template(
        _EXPLODING_LIST.replace("50", "18").replace("$x", "$y")
        + _EXPLODING_LIST.replace("50", "18")
        + "{{ range until 900000 }}{{ $_ := deepEqual $x $y }}{{ end }}"
    ),
    "template: a long text, read again and again": _template(
        _LONG + "{{ range until 300000 }}{{ $_ := sha256sum $s }}{{ end }}"
    ),
    "template: long texts, printed together": _template(_LONG + "{{ print" + " $s" * 1000 + " }}"),
    "template: long texts, quoted together": _template(_LONG + "{{ quote" + " $s" * 1000 + " }}"),
    "template: a long text, printed by every verb": _template(_LONG + '{{ printf (repeat 100000 "%[1]s") $s }}'),
    "template: lists of a long text, made texts": _template(
        _LONG + "{{ $x := list (list $s) }}{{ range until 16 }}{{ $x = concat $x $x }}{{ end }}{{ toStrings $x | len }}"
    ),
    "template: deep JSON with margins": _template(
        "{{ $x := until 1000000 }}{{ range until 200 }}{{ $x = list $x }}{{ end }}{{ toPrettyJson $x | len }}"
    ),
    "template: a map in itself": _template('{{ $d := dict }}{{ $_ := set $d "a" $d }}{{ toJson $d }}'),
    "template: replacing that multiplies": _template('{{ $x := repeat 10000 "x" }}{{ replace "x" $x $x }}'),
    "template: brackets without end": _template("{{" + "(" * 5000 + "1" + ")" * 5000 + "}}"),
    "template: blocks without end": _template("{{ if true }}" * 5000 + "{{ end }}" * 5000),
    "template: output without end": _template('{{ range until 900000 }}{{ repeat 1000 "x" }}{{ end }}'),
    "template: the environment": _template('{{ env "HOME" }}'),
    "template: the network": _template('{{ getHostByName "localhost" }}'),
    "template: a Python attribute": _template("{{ .Input.a.__class__ }}", {"a": "text"}),
    "expr: a long text, an element at a time": _expr("all(1..100000, s[5] != 1)", s="ü" * 1_000_000),
    "expr: a long text, gone through again and again": _expr("all(1..100000, any(s, true))", s="ü" * 1_000_000),
    "expr: a path, followed again and again": _expr(
        "all(1..100000, jsonpath(s, '$..*..*') != 1)", s=json.dumps({"a": [1] * 10})
    ),
    "govaluate: brackets without end": _govaluate("(" * 20_000 + "1" + ")" * 20_000),
    "govaluate: signs without end": _govaluate("!" * 20_000 + "true"),
    "gjson: nested without end": _gjson(".".join(["a"] * 10_000), _NESTED),
    "gjson: a text that doubles": _gjson("|".join(["@tostr"] * 60), b'{"a":"\\\\"}'),
    "gjson: an array that doubles": _gjson("|".join(["[@this,@this]"] * 60), b'{"a":1}'),
    "gjson: every item doubled": _gjson("#." + "|".join(["[@this,@this]"] * 30), b"[" + b"[1]," * 9_999 + b"[1]]"),
    "sjson: a far index": _sjson("a.1000000000"),
    "regex: counted repetitions": lambda: regex.compile("((a{1,1000}){1,1000}){1,1000}"),
    "duration: digits without end": lambda: durations.parse("9" * 100_000 + "h"),
    "JSON: nested without end": lambda: Document(b"[" * 1_000_000 + b"]" * 1_000_000).value,
    "JSON: digits without end": lambda: gojson.loads(b"1" * 1_000_000),
    "jq: never ends": _jq("def f: f; f"),
    "jq: recursion without end": _jq("def f: [f]; f"),
    "jq: a range without end": _jq("last(range(1e15))"),
    "jq: fills the memory": _jq("[range(1e9)]"),
    "jq: a huge text": _jq('"x" * 1e9'),
    "jq: a large text": _jq('"x" * 1e8'),
    "jq: a huge text from the event": _jq(".a * 1000000000"),
    "jq: an object that doubles": _jq("|".join(["{a: ., b: .}"] * 40)),
    "jq: an array that doubles and is written": _jq("|".join(["[., .]"] * 40) + " | {a: tojson}"),
    "jq: a variable that doubles": _jq(". as $x | " + "|".join(["{a: ., b: $x, c: .}"] * 40)),
    "jq: an assignment that doubles": _jq("|".join(["(.a = .) | (.b = .)"] * 40)),
    "jq: a text that doubles": _jq(".a | " + "|".join(["(. + .)"] * 40) + " | {a: .}"),
    "jq: a far index": _jq(".b[1000000000] = 1"),
    "lua: never ends": _lua("while true do end"),
    "lua: never ends and catches": _lua("while true do pcall(function() while true do end end) end"),
    "lua: fills the memory": _lua('local t = {} while true do t[#t + 1] = string.rep("x", 1000000) end'),
    "lua: a huge text": _lua('return {a = string.rep("x", 1e10)}'),
    "lua: a text that doubles": _lua('local s = "x" for i = 1, 60 do s = s .. s end return {a = s}'),
    "lua: a slow pattern": _lua('return string.find(string.rep("a", 100000), string.rep("a-", 60) .. "b")'),
    "lua: recursion without end": _lua("local function f() return f() + 1 end return f()"),
    "lua: a comparison that never ends": _lua(
        "local t = {} for i = 1, 1e5 do t[i] = i end table.sort(t, function() while true do end end) return t"
    ),
}
"""What must fail with a sentence."""

HARMLESS: dict[str, tuple[Callable[[], Any], Any]] = {
    "template: a shared list, set": (_template(_EXPLODING_LIST + '{{ set (dict) "k" $x | len }}'), "1"),
    "template: a map that changes while it is merged": (
        _template('{{ $s := dict "k" (dict "x" 1) }}{{ $t := dict "k" $s }}{{ $_ := merge $t $s }}{{ toJson $t }}'),
        '{"k":{"k":{"x":1},"x":1}}',
    ),
    "template: a shared list, copied": (_template(_EXPLODING_LIST + "{{ deepCopy $x | len }}"), "2"),
    "template: an unknown attribute": (_template("{{ .Input.__class__ }}", {"a": 1}), "<no value>"),
    "govaluate: a huge power": (lambda: str(_govaluate("9 ** 9 ** 9 ** 9")()), "inf"),
    "gjson: a glob with many stars": (_gjson("*a" * 12 + "b", json.dumps({"a" * 5000: 1}).encode()), ""),
    "regex: repetitions in repetitions": (lambda: regex.compile("(a+)+$").search("a" * 50_000 + "b"), False),
    "cron: a day that never comes": (
        lambda: cron.compile("0 0 30 2 *", "UTC").next(dt.datetime(2026, 1, 1, tzinfo=dt.UTC)),
        None,
    ),
    "jq: the environment is empty": (_jq("{a: env, b: $ENV}"), {"a": {}, "b": {}}),
    "lua: nothing of the host": (
        _lua("return {a = os.execute, b = io, c = require, d = dofile, e = os.getenv, f = debug, g = load}"),
        {},
    ),
    "lua: a metatable that never ends": (
        _lua("return {a = setmetatable({}, {__index = function() while true do end end})}"),
        {"a": {}},
    ),
}
"""What is quick and safe as it is, with its result."""


def _in_a_child(run: Callable[[], Any]) -> dict[str, Any]:
    """What ``run`` came to, run with limits that the kernel keeps; a child that died says so in ``died``."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        # The child begins as large as the process that runs the tests is by now.
        most = MEMORY_BYTES + int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        try:
            said = {"result": run()}
        except LangError as error:
            # Memory that ran out was not limited by us, even if it was caught.
            limited = type(error.__cause__) is not MemoryError
            said = {"refused" if limited else "died": error.message[:300]}
        except BaseException as error:
            said = {"raised": f"{type(error).__name__}: {error}"[:300]}
        os.write(writing, json.dumps(said, default=repr).encode()[:60_000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    found: dict[str, Any] = json.loads(text) if text else {"died": status}
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="limits of a process are Linux's")
@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_end_is_refused_with_a_sentence(case: str) -> None:
    found = _in_a_child(REFUSED[case])
    assert list(found) == ["refused"], found
    assert found["refused"]


@pytest.mark.skipif(sys.platform != "linux", reason="limits of a process are Linux's")
@pytest.mark.parametrize("case", HARMLESS)
def test_what_only_looks_hostile_is_answered(case: str) -> None:
    run, result = HARMLESS[case]
    assert _in_a_child(run) == {"result": result}
