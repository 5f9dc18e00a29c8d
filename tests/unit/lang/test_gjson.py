"""gjson: documents, readings of values, and limits. What paths find: ``test_golden.py``."""

from __future__ import annotations

import json
import math

import pytest

from argosy.errors import LangError
from argosy.lang import gjson, gojson
from argosy.lang.gjson import Document


def find(text: str, path: str) -> gjson.Result:
    return gjson.compile(path).get(Document(text.encode()))


@pytest.mark.parametrize("text", ['{"a":1,"a":2}', '{"a":1,"\\u0061":2}', '{"b":{},"a": 1 , "a" :2}'])
def test_the_first_of_equal_keys_wins_for_paths_and_the_last_for_the_whole_value(text: str) -> None:
    document = Document(text.encode())

    assert gjson.compile("a").get(document).value == 1
    assert document.value["a"] == 2


def test_of_equal_keys_inside_a_found_value_the_first_one_wins_too() -> None:
    assert find('{"a":{"x":1,"x":2},"b":[{"y":1,"y":-0}]}', "a").value == {"x": 1}
    assert find('{"b":[{"y":1,"y":2}]}', "b").value == [{"y": 1}]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"x"', "x"),
        ("[1, 2.5, null]", [1, 2.5, None]),
        ('{"a": {"b": [true]}}', {"a": {"b": [True]}}),
        ("12345678901234567890", 12345678901234567890),
        ("123456789012345678901", 123456789012345678901.0),
        ('"\\ud800"', "\ufffd"),
    ],
)
def test_the_value_of_a_result_is_a_python_value(text: str, value: object) -> None:
    result = find(f'{{"v":{text}}}', "v")

    assert result.value == value
    assert type(result.value) is type(value)


def test_minus_zero_keeps_its_sign() -> None:
    result = find('{"v":-0}', "v")

    assert (result.string(), math.copysign(1, result.number())) == ("-0", -1)


def test_a_document_of_a_value_has_the_text_that_go_writes() -> None:
    document = Document.of({"b": [1.0, "<"], "a": {"x": 1e21, "n": 3}})

    assert document.text == b'{"a":{"n":3,"x":1e+21},"b":[1,"\\u003c"]}'
    for path in ("a", "a.n", "a.x", "b", "b.0", "b.1", "b.2", "@this", "b.#", "a|n"):
        of_value = gjson.compile(path).get(document)
        of_text = gjson.compile(path).get(Document(document.text))
        for read in ("exists", "kind", "raw", "value"):
            assert getattr(of_value, read) == getattr(of_text, read), (path, read)
        assert (of_value.string(), of_value.number(), of_value.boolean()) == (
            of_text.string(),
            of_text.number(),
            of_text.boolean(),
        )


def test_a_document_of_a_value_makes_no_text_for_a_plain_path() -> None:
    document = Document.of({"a": {"b": "x"}, "not json": {1, 2}})

    assert gjson.compile("a.b").get(document).string() == "x"
    with pytest.raises(LangError, match="set"):
        _ = document.text


@pytest.mark.parametrize("text", ['"{\\"a\\":1}"', "5", "null", "", " ", "nonsense", '{"a":', '["a'])
def test_a_path_never_fails_whatever_the_text(text: str) -> None:
    for path in ("a", "0", "#", "a.b", "@this", "[a,b]", "#.a", "a|b", "..0", "@pretty", "@dig:a", "@keys"):
        find(text, path).string()


def test_the_value_of_a_document_that_is_no_json_is_a_lang_error_with_the_place() -> None:
    with pytest.raises(LangError) as caught:
        _ = Document(b'{"a": tru}').value

    assert caught.value.offset == 6


def test_bytes_that_are_not_utf_8_do_not_fail() -> None:
    result = gjson.compile("a").get(Document(b'{"a":"x\xff"}'))

    assert result.string() == "x\ufffd"


def test_nesting_beyond_measure_is_a_lang_error_only_where_it_must_be_followed() -> None:
    deep = "[" * 5_000 + "]" * 5_000

    assert find(deep, "#").number() == 1
    with pytest.raises(LangError, match="deeper"):
        find(deep, ".".join("0" * 3_000))


AWKWARD = ["a", "a.b", "a*", "?", "#", "@this", "{x}", "[0]", "!true", "a|b", "é", "x\\y", "..", "a b", "0"]


@pytest.mark.parametrize("key", AWKWARD)
def test_an_escaped_key_finds_exactly_that_key(key: str) -> None:
    text = json.dumps({"other": 1, key: {"deep": 2}, "x": 3})

    assert find(text, f"{gjson.escape(key)}.deep").value == 2


def test_a_glob_with_many_stars_ends_soon() -> None:
    text = gojson.dumps({"a" * 5_000: 1, "b": 2}).decode()

    assert not find(text, "a*" * 20 + "b").exists


def test_compiling_the_same_path_twice_gives_the_same_path() -> None:
    assert gjson.compile("a.b") is gjson.compile("a.b")
