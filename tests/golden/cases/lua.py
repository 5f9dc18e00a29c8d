"""Lua: the libraries with arguments of every kind, patterns, formats, and events that go in and come out."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.golden.files import Question

_VALUES = [
    "nil", "true", "false", "0", "1", "-1", "2.5", "1e15", "1e100", "-0", "'x'", "''", "'10'", "'0x10'", "' 5 '", "'a b c'", "{1,2,3}",
    "{}", "{a=1}", "'hello world'", "'\\0z'", "3", "100", "'1e2'", "'é'", "7", "{3,1,2}", "{'b','a'}",
]  # fmt: skip
_FUNCTIONS = [
    "tostring", "tonumber", "type", "select", "unpack", "next", "pcall", "rawget", "rawequal", "ipairs", "assert", "error", "getmetatable",
    "string.len", "string.upper", "string.lower", "string.rep", "string.reverse", "string.sub", "string.byte", "string.char", "string.format",
    "string.find", "string.match", "string.gsub", "table.concat", "table.insert", "table.remove", "table.maxn", "table.getn", "math.abs",
    "math.ceil", "math.floor", "math.sqrt", "math.max", "math.min", "math.pow", "math.fmod", "math.mod", "math.modf", "math.frexp", "math.ldexp",
    "math.log", "math.log10", "math.exp", "math.sin", "math.deg", "math.rad", "rawset", "setmetatable", "tonumber",
]  # fmt: skip
_OPERATORS = ["+", "-", "*", "/", "%", "^", "..", "==", "~=", "<", "<=", ">", ">=", "and", "or"]
_PATTERNS = [
    "%a+", "%d", "%s*", "(%w+) (%w+)", "^h", "d$", "l+", "[aeiou]", "[^%s]+", ".-o", "%f[%w]%w+", "%b()", "()o()", "o", "", "%%", "[%a-z]",
    "[]]", "(", "%", "[a", "(h)(e)%1", "%x+", "%p", "%c", "%l", "%A", "x*", "(a*(.)%w(%s*))", "\\0", "%z", "^(.-)%s*$",
]  # fmt: skip
_SUBJECTS = ["hello world", "", "THE (quick) fox", "abc123 def", "  pad  ", "a.b.c", "hehe", "x=1, y=2"]
_NUMBERS = ["0", "1", "-1", "2.5", "3", "100", "7", "12345678", "0.001", "'10'"]
_TEXTS = ["'x'", "''", "'a b c'", "'hello world'", "'tab\\t'", "'q\"\\n'", "1", "2.5", "1e15", "'10'"]
_REPLACEMENTS = ["'<%0>'", "'%1'", "string.upper", "{h='H', o='O'}", "''", "'%2'"]
_FORMATS = ["%d", "%5d|", "%-5d|", "%05d", "%i", "%x", "%X", "%o", "%e", "%.3f", "%g", "%G", "%s", "%10s|", "%-10s|", "%.2s", "%q", "%%", "%5.1f", "%+d", "% d", "%#x"]  # fmt: skip
_EVENTS = [
    {}, {"a": 1, "b": "x", "c": None, "d": [1, None, "y", [2], {"k": True}], "e": {"f": {"g": [1.5]}}},
    {"a": [], "b": {}, "n": 1e21, "m": 123456789012, "t": "é\n\"", "u": False}, {"1": "a", "2": "b"}, {"l": [{"a": 1}, {"a": 2}]},
]  # fmt: skip
_SCRIPTS = [
    "return event", "event.x = 1 return event", "event.a = nil return event", "return event.a", "return {event}", "return {1,2,nil,4}",
    "return {}", "return", "", "return nil", "return {[1]='a',[3]='c'}", "return {[1.5]='a'}", "return {a={}, b={{}}}", "return {1, x=2}",
    "return setmetatable({}, {__is_array=true})", "return setmetatable({x=1}, {__is_array=true})", "return {l=setmetatable({}, {__is_array=true})}",
    "return 1, {2}", "return {[true]=1}", "return {[-1]=1}", "return {[0]=1}", "return {f=print}", "return {x=0/0}", "return {x=1/0}",
    "local t = {} for k, v in pairs(event) do t[#t+1] = type(v) end table.sort(t) return t", "return {n=#(event.d or {})}",
    "if event.a == 1 then return {yes=true} else return {no=false} end", "return {s = event.b .. '!'}", "return {x = event.e.f.g[1]}",
    "local r = {} for i, v in ipairs(event.l or {}) do r[i] = v.a * 2 end return r", "goto x", "return {1e15, 1e16, 0.1, -0}", "x = 1 return {x=x}",
    "return {a = string.format('%5.2f', 3.14159)}", "local function f(n) if n == 0 then return 0 end return f(n-1) end return {f(100)}",
    "return {tostring(event.n), tostring(event.m)}", "return {[10]='x'}", "local t = {1,2,3} t[2] = nil return t", "return 'text'", "return true",
]  # fmt: skip


def _text(script: str) -> Question:
    return {"script": script, "as": "text"}


def questions(random: random.Random) -> Iterator[Question]:
    """Calls, operators, patterns, formats; then whole scripts on events."""
    for name in _FUNCTIONS:
        for _ in range(9):
            values = ", ".join(random.choice(_VALUES) for _ in range(random.randint(0, 3)))
            if "{" in values and name in (
                "tostring",
                "next",
                "setmetatable",
                "rawset",
                "unpack",
                "select",
                "ipairs",
                "assert",
            ):
                continue  # tables print their address
            yield _text(f"return (function(...) local r = {{}} for i = 1, select('#', ...) do local v = select(i, ...) r[i] = type(v) == 'table' and 't' or type(v) == 'function' and 'f' or tostring(v) end return table.concat(r, ' ') end)({name}({values}))")  # fmt: skip
    for operator in _OPERATORS:
        for _ in range(12):
            left, right = (random.choice([value for value in _VALUES if "{" not in value]) for _ in range(2))
            yield _text(f"return {left} {operator} {right}")
    for pattern in _PATTERNS:
        for subject in random.sample(_SUBJECTS, 3):
            quoted = pattern.replace("\\", "\\\\")
            yield _text(
                f"local a, b, c, d = string.find('{subject}', '{quoted}') return tostring(a) .. tostring(b) .. tostring(c) .. tostring(d)"
            )
            yield _text(f"return (string.gsub('{subject}', '{quoted}', {random.choice(_REPLACEMENTS)}))")
            yield _text(
                f"local r = '' for a, b in string.gmatch('{subject}', '{quoted}') do r = r .. '[' .. tostring(a) .. tostring(b) .. ']' end return r"
            )
    for form in _FORMATS:
        for value in random.sample(_TEXTS if form[-1] in "sq|" and "d" not in form else _NUMBERS, 5):
            yield _text(f"return string.format('{form}', {value})")
    for form, value in (
        ("%d", "nil"),
        ("%x", "'z'"),
        ("%d", "'0x10'"),
        ("%c", "0"),
        ("%a", "1"),
        ("%", "1"),
        ("%x", "-1"),
        ("%10s|", "'é'"),
    ):
        yield _text(f"return string.format('{form}', {value})")
    for number in (
        "1e15",
        "1e16",
        "123456.789",
        "0.1",
        "1/3",
        "2^53",
        "2^63",
        "2^64",
        "-2^63",
        "1e-5",
        "1e20",
        "1e21",
        "1e300*1e10",
        "100000000000000",
    ):
        for use in (
            "{}",
            "{} .. ''",
            "tostring({})",
            "string.format('%s', {})",
            "table.concat({{{}}})",
            "string.format('%d', {})",
            "#tostring({})",
            "{} % 7",
            "math.floor({})",
            "('x'):rep(3) .. {}",
        ):
            yield _text(f"return {use.format(number)}")
    for script in _SCRIPTS:
        for event in _EVENTS:
            yield {"script": script, "event": event}
