"""gjson: walking the parsed tree and searching the text are one function; what sjson writes, gjson finds."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from argosy.errors import LangError
from argosy.lang import _gjson_scan, gjson, gojson, sjson
from argosy.lang._gjson_text import tells_all
from argosy.lang.gjson import Document, Result

KEYS = st.sampled_from(["a", "b", "ab", "0", "1", "", "a.b", "*", "#", "é", "@this", "@x", ":", '"', "\\", "a|b", " :"])
TEXTS = st.one_of(KEYS, st.text(max_size=5), st.sampled_from(["true", "1e3", '":', '{"a":1}', ":x", "😀"]))
NUMBERS = st.one_of(
    st.integers(-5, 5),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)
STEPS = st.one_of(
    KEYS,
    KEYS.map(gjson.escape),
    st.sampled_from(
        ["0", "1", "2", "#", "a*", "?", "@this", "@keys", "#(a)", "#(a==1)#", "{a,b}", "[a,#]", "!1", "@x"]
    ),
)
PATHS = st.lists(STEPS, min_size=1, max_size=4).map(".".join)


def readings(result: Result) -> tuple[Any, ...]:
    value = json.dumps(result.value, sort_keys=True)
    return result.exists, result.kind, result.raw, result.string(), result.number(), result.boolean(), value


@st.composite
def texts_of_json(draw: st.DrawFn) -> str:
    """JSON with spaces, escapes and now and then the same key twice."""

    def quoted(text: str) -> str:
        if draw(st.booleans()):
            return json.dumps(text, ensure_ascii=draw(st.booleans()))
        return '"' + "".join(f"\\u{ord(c):04x}" if ord(c) < 0x10000 else json.dumps(c)[1:-1] for c in text) + '"'

    def written(value: Any) -> str:
        space = draw(st.sampled_from(["", "", " ", "\n"]))
        if isinstance(value, str):
            return quoted(value)
        if isinstance(value, list):
            return f"[{space}" + f"{space},".join(map(written, value)) + "]"
        if isinstance(value, dict):
            members = list(value.items())
            if members and draw(st.integers(0, 3)) == 0:
                members.append((members[0][0], draw(NUMBERS)))
            return "{" + ",".join(f"{space}{quoted(key)}{space}:{written(item)}" for key, item in members) + "}"
        if value == 0 and draw(st.booleans()):
            return "-0"
        return json.dumps(value)

    return written(draw(VALUES))


@given(texts_of_json(), PATHS)
def test_a_path_reads_the_same_from_the_tree_as_from_the_text(text: str, path: str) -> None:
    from_path = gjson.compile(path).get(Document(text.encode()))

    assert readings(from_path) == readings(_gjson_scan.get(text, path))


@given(VALUES, PATHS)
def test_a_path_reads_the_same_from_a_value_as_from_the_text_made_of_it(value: Any, path: str) -> None:
    from_value = gjson.compile(path).get(Document.of(value))
    from_text = gjson.compile(path).get(Document(gojson.dumps(value)))

    # In Python the value may be 2.0 where the text says 2, and an integer may have more than 64 bits.
    assert [repr(each) for each in readings(from_value)[:-1]] == [repr(each) for each in readings(from_text)[:-1]]
    assert from_value.kind in ("JSON", "Number") or from_value.value == from_text.value


@given(texts_of_json())
def test_the_tree_is_used_only_if_no_key_and_no_sign_got_lost(text: str) -> None:
    lost: list[str] = []

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        lost.extend("key" for _ in range(len(pairs) - len(found)))
        return found

    def whole(digits: str) -> int:
        lost.extend("sign" for _ in range(digits == "-0"))
        return int(digits)

    json.loads(text, object_pairs_hook=members, parse_int=whole)

    assert not (lost and tells_all(text.encode(), gojson.loads(text)))
    # The bytes "-0" inside a string are reason enough for caution.
    assert lost or "-0" in text or tells_all(text.encode(), gojson.loads(text))


@given(
    VALUES,
    st.lists(st.one_of(KEYS.map(gjson.escape), st.sampled_from(["0", "1", "3"])), min_size=1, max_size=4),
    VALUES,
)
def test_what_sjson_writes_gjson_finds_and_nothing_else_changed(before: Any, steps: list[str], value: Any) -> None:
    path = ".".join(steps)
    text = json.dumps(before).encode()
    try:
        after = sjson.set_raw(text, path, gojson.dumps(value))
    except LangError:
        assume(False)
        raise

    if before is None or isinstance(before, dict | list):
        assert gojson.valid(after)
    found = gjson.compile(path).get(Document(after))
    if ":" not in path and "" not in steps:
        assert found.raw == gojson.dumps(value).decode()
    if isinstance(before, dict) and steps[0] not in ("", ":"):
        was, now = gojson.loads(text), gojson.loads(after)
        assert sum(now[key] != item for key, item in was.items()) + len(now.keys() - was.keys()) <= 1


@given(st.text(max_size=40), PATHS)
def test_no_text_and_no_path_makes_a_search_fail(text: str, path: str) -> None:
    readings(gjson.compile(path).get(Document(text.encode("utf-8", "replace"))))


@given(VALUES)
def test_what_is_written_is_read_back(value: Any) -> None:
    def whole(digits: str) -> int | float:
        return int(digits) if -(2**63) <= int(digits) < 2**64 else float(digits)

    text = gojson.dumps(value)

    assert gojson.valid(text)
    assert gojson.loads(text) == json.loads(text, parse_int=whole)
