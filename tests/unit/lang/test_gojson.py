"""JSON as Go writes and reads it, against answers of Go 1.26 for the same values."""

from __future__ import annotations

import math
from typing import Any

import pytest

from argosy.errors import LangError
from argosy.lang import gojson

# number, fmt's %v, strconv's 'f', encoding/json
FLOATS = [
    (0.0, "0", "0", "0"),
    (-0.0, "-0", "-0", "-0"),
    (1.0, "1", "1", "1"),
    (3.5, "3.5", "3.5", "3.5"),
    (-2.25, "-2.25", "-2.25", "-2.25"),
    (100000.0, "100000", "100000", "100000"),
    (999999.0, "999999", "999999", "999999"),
    (1000000.0, "1e+06", "1000000", "1000000"),
    (1234567.0, "1.234567e+06", "1234567", "1234567"),
    (123456.7, "123456.7", "123456.7", "123456.7"),
    (1e20, "1e+20", "100000000000000000000", "100000000000000000000"),
    (1e21, "1e+21", "1000000000000000000000", "1e+21"),
    (-1e21, "-1e+21", "-1000000000000000000000", "-1e+21"),
    (1.5e22, "1.5e+22", "15000000000000000000000", "1.5e+22"),
    (0.0001, "0.0001", "0.0001", "0.0001"),
    (1e-05, "1e-05", "0.00001", "0.00001"),
    (1e-06, "1e-06", "0.000001", "0.000001"),
    (9.99e-07, "9.99e-07", "0.000000999", "9.99e-7"),
    (1e-07, "1e-07", "0.0000001", "1e-7"),
    (1.25e-10, "1.25e-10", "0.000000000125", "1.25e-10"),
    (
        5e-324,
        "5e-324",
        (
            "0.000000000000000000000000000000000000000000000000000000000000000000000000000000"
            "00000000000000000000000000000000000000000000000000000000000000000000000000000000"
            "00000000000000000000000000000000000000000000000000000000000000000000000000000000"
            "00000000000000000000000000000000000000000000000000000000000000000000000000000000"
            "000005"
        ),
        "5e-324",
    ),
    (
        1.7976931348623157e308,
        "1.7976931348623157e+308",
        (
            "17976931348623157000000000000000000000000000000000000000000000000000000000000000"
            "00000000000000000000000000000000000000000000000000000000000000000000000000000000"
            "00000000000000000000000000000000000000000000000000000000000000000000000000000000"
            "000000000000000000000000000000000000000000000000000000000000000000000"
        ),
        "1.7976931348623157e+308",
    ),
    (0.1, "0.1", "0.1", "0.1"),
    (0.30000000000000004, "0.30000000000000004", "0.30000000000000004", "0.30000000000000004"),
    (1.2345678901234568e17, "1.2345678901234568e+17", "123456789012345680", "123456789012345680"),
]

# text, gjson.Valid
JUDGED = [
    ("0", True),
    ("-0", True),
    ("1", True),
    ("1.0", True),
    ("1e2", True),
    ("1E+400", True),
    ("01", False),
    ("-", False),
    ("1.", False),
    (".5", False),
    ("+1", False),
    ("NaN", False),
    ("Infinity", False),
    ("true", True),
    ("tru", False),
    ("null", True),
    ("nul", False),
    ("[", False),
    ("]", False),
    ("{}", True),
    ("[]", True),
    ("[ ]", True),
    ("{ }", True),
    ("", False),
    ("  ", False),
    ("\t[ ]\r\n", True),
    ("\x0b1", False),
    ('"', False),
    ('"\x01"', False),
    ('"\x7f"', True),
    ('"\\x"', False),
    ('"\\u12"', False),
    ('"\\ud800"', True),
    ('"\\u12G4"', False),
    ('{"a"}', False),
    ('{"a":}', False),
    ('{"a":1,}', False),
    ("{,}", False),
    ("[1,]", False),
    ("[,1]", False),
    ("[1 2]", False),
    ("[1,2", False),
    ('{"a":1 "b":2}', False),
    ("{1:2}", False),
    ("[]]", False),
    ("[{]}", False),
    ("1 2", False),
    ('{"a":1}x', False),
    ("\ufeff1", False),
    ("\xa01", False),
    ('{"a" : [ 1 , {"b":null} ] }', True),
    ('"a" : 1', False),
    ("[:]", False),
    ('{"a",1}', False),
    ('{"a"::1}', False),
    ("[1}", False),
    ("[1e5]", True),
    ("[1e]", False),
    ("--1", False),
    ("[tru e]", False),
    ('"abc\\"', False),
    ('[true,false,null,"x"]', True),
    ('{"a":{"b":[[[]]]}}', True),
]

# text, json.Marshal of what json.Unmarshal read
REWRITTEN = [
    ('{"b":1,"a":2,"B":3,"é":4,"aa":5}', '{"B":3,"a":2,"aa":5,"b":1,"é":4}'),
    (
        '["<a>&","\\u2028\\u2029","\\u0000\\b\\f\\n\\r\\t\\u001f\\u007f","\\"\\\\/","é日😀"]',
        ('["\\u003ca\\u003e\\u0026","\\u2028\\u2029","\\u0000\\b\\f\\n\\r\\t\\u001f\x7f","\\"\\\\/","é日😀"]'),
    ),
    ('["\\ud800","\\ud83d\\ude00","\\ud800\\u0041","\\udc00"]', '["�","😀","�A","�"]'),
    ("[1.0,1.50,1e3,1e21,1e-7,0.000001,-1.5]", "[1,1.5,1000,1e+21,1e-7,0.000001,-1.5]"),
    ('{"a":{"c":[],"b":{}},"a":1}', '{"a":1}'),
    ('{"<k>":1,"a&b":2.5}', '{"\\u003ck\\u003e":1,"a\\u0026b":2.5}'),
    (" [ true , false , null ] ", "[true,false,null]"),
    ('"x"', '"x"'),
    ('{"z":[{"y":0.5,"x":[1.0,{}]}]}', '{"z":[{"x":[1,{}],"y":0.5}]}'),
]


def as_floats(value: Any) -> Any:
    if isinstance(value, list):
        return [as_floats(item) for item in value]
    if isinstance(value, dict):
        return {name: as_floats(item) for name, item in value.items()}
    return float(value) if type(value) is int else value


@pytest.mark.parametrize(("number", "printed", "plain", "encoded"), FLOATS)
def test_a_float_is_written_as_go_writes_it(number: float, printed: str, plain: str, encoded: str) -> None:
    assert gojson.format_float(number) == printed
    assert gojson.fixed_float(number) == plain
    assert gojson.json_float(number) == encoded
    assert gojson.dumps([number, {"x": number}]) == f'[{encoded},{{"x":{encoded}}}]'.encode()


@pytest.mark.parametrize(("number", "printed"), [(math.inf, "+Inf"), (-math.inf, "-Inf"), (math.nan, "NaN")])
def test_what_is_no_finite_number_prints_but_has_no_json(number: float, printed: str) -> None:
    assert gojson.format_float(number) == gojson.fixed_float(number) == printed
    for value in (number, [number], {"a": [{"b": number}]}):
        with pytest.raises(LangError, match="no number"):
            gojson.dumps(value)


@pytest.mark.parametrize(("text", "judged"), JUDGED)
def test_validity_is_judged_as_gjson_judges_it(text: str, judged: bool) -> None:
    assert gojson.valid(text.encode()) is judged
    assert gojson._follows_grammar(text.encode()) is judged


def test_validity_does_not_depend_on_utf_8_or_depth() -> None:
    assert gojson.valid(b'"\xff"')
    assert gojson.valid(b"[" * 50_000 + b"]" * 50_000)
    assert not gojson.valid(b"[" * 50_000)


@pytest.mark.parametrize(("text", "rewritten"), REWRITTEN)
def test_reading_and_writing_gives_what_go_gives(text: str, rewritten: str) -> None:
    value = gojson.loads(text.encode())

    assert gojson.dumps(value).decode() == rewritten
    assert gojson.dumps(as_floats(value)).decode() == rewritten
    assert gojson.dumps([value, 0.5]).decode() == f"[{rewritten},0.5]"


def test_integers_keep_every_digit() -> None:
    assert gojson.dumps([2**53 + 1, 2**64 - 1, 2**70, -(2**80)]) == (
        b"[9007199254740993,18446744073709551615,1180591620717411303424,-1208925819614629174706176]"
    )


def test_the_order_of_keys_and_html_can_be_left_alone() -> None:
    value = {"b": "<\u2028>", "a": 1}

    assert gojson.dumps(value, sort_keys=False) == b'{"b":"\\u003c\\u2028\\u003e","a":1}'
    assert gojson.dumps(value, escape_html=False) == b'{"a":1,"b":"<\\u2028>"}'
    assert gojson.dumps({"b": 0.5, "a": 1}, sort_keys=False) == b'{"b":0.5,"a":1}'


@pytest.mark.parametrize("value", [{1: 2}, {"a": object()}, [{2: 0.5}], {"a": {1, 2}}, b"bytes"])
def test_what_json_does_not_know_is_refused(value: Any) -> None:
    with pytest.raises(LangError):
        gojson.dumps(value)


def test_half_of_a_surrogate_pair_is_written_as_go_writes_it() -> None:
    assert gojson.dumps(["a\ud800b", {"\udc00": 1}]) == '["a\ufffdb",{"\ufffd":1}]'.encode()


def test_nesting_too_deep_for_orjson_is_written_and_beyond_all_measure_refused() -> None:
    value: Any = []
    for _ in range(400):
        value = [value]
    assert gojson.dumps(value) == b"[" * 401 + b"]" * 401
    for _ in range(100_000):
        value = [value]
    with pytest.raises(LangError, match="deep"):
        gojson.dumps(value)


def test_the_last_of_equal_keys_wins_when_reading() -> None:
    assert gojson.loads(b'{"a":1,"a":2}') == {"a": 2}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"18446744073709551615", 2**64 - 1),
        (b"18446744073709551616", 2.0**64),
        (b'["\\ud800",18446744073709551616,7,-9223372036854775808]', ["\ufffd", 2.0**64, 7, -(2**63)]),
        (b'{"\\ud800":["\xff"]}', {"\ufffd": ["\ufffd"]}),
    ],
)
def test_numbers_and_broken_text_are_read_as_go_reads_them(text: bytes, value: Any) -> None:
    assert gojson.loads(text) == value


@pytest.mark.parametrize(
    ("text", "offset"),
    [('{"a":tru}', 5), ("", 0), ("[1,]", 2), ('["\\ud800",tru]', 10), ("1e400", 0), ('["\\ud800",NaN]', -1)],
)
def test_text_that_is_no_json_is_a_lang_error_that_points_at_the_place(text: str, offset: int) -> None:
    with pytest.raises(LangError, match="not JSON") as caught:
        gojson.loads(text)

    assert (caught.value.text, caught.value.offset) == (text, offset)
