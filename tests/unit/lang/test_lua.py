"""Lua scripts: the conversions of tables, and a sandbox that holds."""

from __future__ import annotations

import threading
from typing import Any

import lupa.lua51
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.errors import LangError
from argosy.lang import lua
from argosy.lang._lua_prelude import PRELUDE


def run(text: str, event: dict[str, Any] | None = None) -> Any:
    return lua.compile(text).run(event or {})


@pytest.mark.parametrize(
    ("value", "returned"),
    [
        ({"a": None, "b": 1, "c": True, "d": "é", "e": {}}, {"b": 1, "c": True, "d": "é", "e": {}}),
        ({"l": [1, None, [2], "x", {"y": None}, False]}, {"l": [1, "x", {}, False]}),
        ({"l": []}, {"l": {}}),
        ({"n": 1.5, "big": 2**60}, {"n": 1.5, "big": 2**60}),
        ({"deep": {"er": {"l": [{"k": [1]}]}}}, {"deep": {"er": {"l": [{"k": [1]}]}}}),
    ],
)
def test_an_event_goes_through_a_script_as_upstream_converts_it(value: Any, returned: Any) -> None:
    assert run("return event", value) == returned


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("return {}", {}),
        ("return {1, 2, nil, 4}", [1, 2, None, 4]),
        ("return {1, 2, x = 3}", [1, 2]),
        ("return {[3] = 'c'}", [None, None, "c"]),
        ("return {[1.5] = 'a', [-1] = 'b', [0] = 'c'}", {"1.5": "a", "-1": "b", "0": "c"}),
        ("return {[true] = 1}", {"true": 1}),
        ("return setmetatable({}, {__is_array = true})", []),
        ("return {a = setmetatable({}, {__is_array = true})}", {"a": []}),
        ("return setmetatable({x = 1}, {__is_array = true})", []),
        ("return setmetatable({x = 1}, {__is_array = 1})", {"x": 1}),
        ("return 1, 2, {3}", [3]),
        ("return", None),
        ("local x = 1", None),
        ("return true", True),
        ("return 'a\\255b'", "a\ufffdb"),
    ],
)
def test_a_result_becomes_json(text: str, value: Any) -> None:
    assert run(text) == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("return function() end", "a function"),
        ("return {a = print}", "a function"),
        ("return 0/0", "NaN"),
        ("local t = {} t.t = t return t", "nested"),
        ("return {[{}] = 1}", "a table as key"),
        ("local t = {} for i = 1, 30 do t = {t, t} end return t", "more than"),
        ("return {[60000000] = 1}", "more than"),
        ("error('boom')", "line 1: boom"),
        ("local a\n\nreturn a.b", "line 3"),
        ("return nosuch()", "nosuch"),
    ],
)
def test_a_failure_is_said(text: str, says: str) -> None:
    with pytest.raises(LangError, match=says):
        run(text)


def test_a_syntax_error_points_at_its_line() -> None:
    with pytest.raises(LangError, match="line 2") as caught:
        lua.compile("local a = 1\nlocal = 2")
    assert caught.value.offset == len("local a = 1\n")


@pytest.mark.parametrize(
    "name",
    [
        "io",
        "require",
        "dofile",
        "loadfile",
        "load",
        "loadstring",
        "debug",
        "package",
        "collectgarbage",
        "newproxy",
        "python",
        "module",
        "setfenv",
        "getfenv",
        "gcinfo",
        "coroutine",
        "xpcall",
        "string.dump",
        "os.execute",
        "os.getenv",
        "os.remove",
        "os.rename",
        "os.tmpname",
        "os.exit",
        "os.setlocale",
    ],
)
def test_what_reaches_out_of_the_sandbox_is_not_there(name: str) -> None:
    assert run(f"return {name} == nil") is True


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('return "id-" .. event.id', "id-1700000000123456"),
        ('return 1 .. 2 .. "..x" .. [[..]] -- .. no', "12..x.."),
        ('return -- [[ ..\n"a" --[==[ .. ]==] .. "b"', "ab"),
        ('return ("a" .. "b"):upper() .. 1 + 1', "AB2"),
        ("local function f(...) return (...) .. '!' end return f(3, 4)", "3!"),
        ("return select('#', ...)", 0),
        (
            "local t = setmetatable({}, {__concat = function(a, b) return type(a) .. type(b) end}) return t .. 5",
            "tablenumber",
        ),
        (
            "local t = setmetatable({}, {__concat = function(a, b) return type(a) .. type(b) end}) return 5 .. t",
            "numbertable",
        ),
        (
            "local t = setmetatable({}, {__metatable = 1, __concat = function(a, b) return 'T' .. b end}) return t .. 'x' .. 1",
            "Tx1",
        ),
    ],
)
def test_texts_are_joined_as_in_gopher_lua(text: str, value: Any) -> None:
    assert run(text, {"id": 1700000000123456}) == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('return "x" .. nil', "line 1: attempt to concatenate a nil value"),
        ('local a = 1\nlocal b = {} .. "x"', "line 2: attempt to concatenate a table value"),
        ("return 1 ..", "line 1"),
        ("return 1 .. .. 2", "line 1"),
        ("return 1..2", "malformed number"),
    ],
)
def test_what_cannot_be_joined_is_said(text: str, says: str) -> None:
    with pytest.raises(LangError, match=says):
        run(text)


def test_a_script_cannot_change_how_others_join() -> None:
    # Given a script that reaches for what all of them join with
    run(
        """
        local ours = getmetatable(_argosy_joint)
        if type(ours) == "table" then ours.__concat = function() return "broken" end end
        pcall(setmetatable, _argosy_joint, {__concat = function() return "broken" end})
        _argosy_joint = nil
        return pcall(function() return "a" .. "b" end)
        """
    )
    # Then the next one joins as ever
    assert run('return "a" .. 1') == "a1"


def test_compiled_lua_is_refused() -> None:
    with pytest.raises(LangError, match="compiled"):
        lua.compile("\x1bLuaQ")


@pytest.mark.parametrize(
    "text",
    [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "local function f() return pcall(f) end while true do f() end",
        "repeat local ok = pcall(error) until false",
        "for i = 1, 1e12 do local s = tostring(i) end",
        "return string.find(string.rep('a', 40), string.rep('.-', 30) .. 'b')",
        "return string.match(string.rep('a', 100), string.rep('a?', 100) .. string.rep('a', 100) .. 'b')",
        "return string.gsub(string.rep('a', 5000), '.-.-.-b', '')",
        "for w in string.gmatch(string.rep('a', 5000), '.-.-.-b') do end",
        "return (string.rep('(', 200000)):find('%b()%b()%b()x')",
        "local t = setmetatable({}, {__index = function(t, k) return t[k + 1] end}) return t[1]",
        "table.sort({3, 1, 2}, function() while true do end end)",
        "return (string.gsub('x', 'x', function() while true do end end))",
        "local s = string.rep('x', 1e7) while true do local t = s .. 'y' end",
    ],
)
def test_a_script_that_would_not_end_is_stopped_and_the_next_one_runs(text: str) -> None:
    with pytest.raises(LangError):
        run(text)
    assert run("return {event.a, ('x'):upper()}", {"a": 1}) == [1, "X"]


@pytest.mark.parametrize(
    "text",
    [
        "local s = 'x' while true do s = s .. s end",
        "return string.rep('x', 1e9)",
        "local t = {} for i = 1, 1e9 do t[i] = i end",
        "local t = {} while true do t = {t} end",
        "while true do pcall(string.rep, 'x', 1e9) end",
    ],
)
def test_a_script_that_would_fill_the_memory_is_stopped_and_the_next_one_runs(text: str) -> None:
    with pytest.raises(LangError):
        run(text)
    assert run("return 'well'") == "well"


@pytest.mark.parametrize(
    "leave",
    [
        "x = 1",
        "_G.x = 1",
        "string.x = 1",
        "string.upper = function() return 'no' end",
        "table.x, math.x, os.x = 1, 1, 1",
        "tostring = nil pairs = nil",
        "setmetatable(_G, {__index = function() return 1 end})",
        "getmetatable('').__index = nil",
        "event.x = 1",
    ],
)
def test_nothing_that_a_script_leaves_reaches_the_next_run(leave: str) -> None:
    look = "return {x == nil, string.x == nil, ('a'):upper() == 'A', table.x == nil, tostring ~= nil, event.x == nil}"
    script = lua.compile(look)
    try:
        run(leave)
    except LangError:
        assert "getmetatable" in leave  # it is out of reach: the script fails
    assert script.run({}) == [True] * 6


def test_a_script_keeps_nothing_between_its_runs() -> None:
    script = lua.compile("n = (n or 0) + 1 return n")
    assert [script.run({}), script.run({})] == [1, 1]


def test_a_changed_library_counts_for_the_rest_of_the_same_run() -> None:
    assert run("function string.shout(s) return s:upper() .. '!' end return ('hi'):shout()") == "HI!"


def test_the_event_is_not_changed() -> None:
    event = {"a": {"b": 1}}
    assert run("event.a.b = 2 event.c = 3 return event", event) == {"a": {"b": 2}, "c": 3}
    assert event == {"a": {"b": 1}}


def test_threads_run_the_same_script_side_by_side() -> None:
    script = lua.compile("local s = 0 for i = 1, 2000 do s = s + event.n end return s")
    results: dict[int, list[int]] = {}

    def work(number: int) -> None:
        results[number] = [script.run({"n": number}) for _ in range(20)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: [2000 * number] * 20 for number in range(4)}


def test_more_scripts_than_one_state_holds_all_run() -> None:
    scripts = [lua.compile(f"return {number}") for number in range(600)]
    assert [script.run({}) for script in scripts] == list(range(600))


_PIECES = st.sampled_from(
    [
        "a",
        "b",
        ".",
        "%a",
        "%d",
        "%s",
        "[ab]",
        "[^a]",
        "[%a_]",
        "(",
        ")",
        "()",
        "%1",
        "%b()",
        "%f[a]",
        "$",
        "^",
        "%%",
        "[a-c]",
        "]",
    ]
)
_PATTERNS = st.lists(st.tuples(_PIECES, st.sampled_from(["", "", "*", "+", "-", "?"])), max_size=6).map(
    lambda pieces: "".join(piece + sign for piece, sign in pieces)
)
_COMPARE = """
local find, match, gmatch, gsub, s, p, init = ...
local function all(f, ...)
  local results = {pcall(f, ...)}
  if not results[1] then return "error" end
  for i = 1, #results do results[i] = tostring(results[i]) end
  return table.concat(results, "\\1")
end
local function words(f)
  if p:sub(1, 1) == "^" then return "" end   -- ours anchors there, as gopher-lua does; C does not
  local found = {}
  for a, b in f(s, p) do
    found[#found + 1] = tostring(a) .. tostring(b)
    if #found > 50 then break end
  end
  return table.concat(found, "\\1")
end
return all(find, s, p, init) .. "|" .. all(match, s, p, init) .. "|" .. all(words, gmatch) .. "|"
  .. all(gsub, s, p, "<%0>") .. "|" .. all(gsub, s, p, "%1", 2) .. "|" .. all(gsub, s, p, {a = "T", b = false})
"""


def _libraries() -> tuple[Any, Any, Any]:
    """The C pattern functions, ours with the C matcher switched off, and the script that compares."""
    state = lupa.lua51.LuaRuntime(encoding=None, register_eval=False, register_builtins=False)
    plain = state.eval(b"{find = string.find, match = string.match, gmatch = string.gmatch, gsub = string.gsub}")
    compare = state.eval(b"loadstring(...)", _COMPARE.encode())
    parts = state.eval(b"loadstring(...)", PRELUDE.encode())(1e9, 60, 1000, -1)
    read = parts[3](b"return string", b"=library")
    parts[4](read, None)
    return plain, read(), compare


@settings(max_examples=400, deadline=None)
@given(subject=st.text("ab1 _()", max_size=12), pattern=_PATTERNS, start=st.sampled_from([1, 2, 4, -1, -3, 0, 50]))
def test_the_matcher_that_can_be_stopped_finds_what_the_c_matcher_finds(subject: str, pattern: str, start: int) -> None:
    plain, ours, compare = _LIBRARIES
    answers = [
        compare(
            *(library[name] for name in (b"find", b"match", b"gmatch", b"gsub")),
            subject.encode(),
            pattern.encode(),
            start,
        )
        for library in (plain, ours)
    ]
    assert answers[0] == answers[1]


_LIBRARIES = _libraries()
