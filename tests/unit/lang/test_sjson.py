"""sjson against answers that sjson 1.2.5 itself gave for the same texts (Go 1.26)."""

from __future__ import annotations

from typing import Any

import pytest

from argosy.errors import LangError
from argosy.lang import sjson

# text, path, value, text afterwards (None: refused)
WRITTEN = [
    ('{"name": "old"}', "name", "fake", '{"name": "fake"}'),
    ('{"a":1}', "b", 2.0, '{"a":1,"b":2}'),
    ('{ "a" : 1 }', "b", True, '{ "a" : 1 ,"b":true}'),
    ("{}", "a.b.c", None, '{"a":{"b":{"c":null}}}'),
    ("{}", "a.0", "x", '{"a":["x"]}'),
    ("{}", "a.2", "x", '{"a":[null,null,"x"]}'),
    ("{}", "a.:2", "x", '{"a":{"2":"x"}}'),
    ("{}", "a.-1", "x", '{"a":["x"]}'),
    ("{}", ":-1", "x", '{"-1":"x"}'),
    ('{"a":[1,2]}', "a.-1", 3.0, '{"a":[1,2,3]}'),
    ('{"a":[1,2]}', "a.0", 9.0, '{"a":[9,2]}'),
    ('{"a":[1, 2 ]}', "a.5", "x", '{"a":[1,2,null,null,null,"x"]}'),
    ('{"a":[]}', "a.-1", "x", '{"a":["x"]}'),
    ('{"a":[ ]}', "a.3", "x", '{"a":[null,null,null,"x"]}'),
    ('{"a":[1]}', "a.b", "x", None),
    ('{"a":[1]}', "a.:0", "x", '{"a":["x"]}'),
    ('{"a":{"b":1}}', "a.0", "x", '{"a":{"b":1,"0":"x"}}'),
    ('{"a":5}', "a.b", "x", '{"a":{"b":"x"}}'),
    ('{"a":5}', "a.0", "x", '{"a":["x"]}'),
    ('{"a":"s"}', "a.b.-1.c", "x", '{"a":{"b":[{"c":"x"}]}}'),
    ('{"a":null}', "a.b", "x", '{"a":{"b":"x"}}'),
    ('{"a.b":1}', "a\\.b", 2.0, '{"a.b":2}'),
    ("{}", "a\\.b", 2.0, '{"a.b":2}'),
    ("{}", "a\\\\b", 2.0, '{"a\\\\b":2}'),
    ('{"a":1,"a":2}', "a", 3.0, '{"a":3,"a":2}'),
    ('{"a":{"b":[{"c":1},{"c": 2}]}}', "a.b.1.c", "new", '{"a":{"b":[{"c":1},{"c": "new"}]}}'),
    ('{"a":{"b":[{"c":1},{"c": 2}]}}', "a.b.1.d", "new", '{"a":{"b":[{"c":1},{"c": 2,"d":"new"}]}}'),
    ("", "a.b", "x", '{"a":{"b":"x"}}'),
    ("", "0.a", "x", '[{"a":"x"}]'),
    ("  ", "-1", "x", '{"-1":"x"}'),
    ("null", "a", "x", '{"a":"x"}'),
    ("5", "1", "x", '[null,"x"]'),
    ('"s"', "a", "x", '{"a":"x"}'),
    ("[1]", "0", "x", '["x"]'),
    ("[1]", "-1", "x", '[1,"x"]'),
    ("[1]", "a", "x", None),
    ("[1]", "3.b", "x", '[1,null,null,{"b":"x"}]'),
    ("{}", "", "x", None),
    ("{}", "a", "a<b&c>", '{"a":"a<b&c>"}'),
    ("{}", "a", "é<b>", '{"a":"é\\u003cb\\u003e"}'),
    ("{}", "a", 'q"<', '{"a":"q\\"\\u003c"}'),
    ("{}", "a", "tab\t\u2028\x7f", '{"a":"tab\\t\\u2028\x7f"}'),
    ("{}", "<k>", "x", '{"<k>":"x"}'),
    ("{}", "é<", "x", '{"é\\u003c":"x"}'),
    ("{}", "a..b", "x", '{"a":[{"b":"x"}]}'),
    ("{}", "a.", "x", '{"a":["x"]}'),
    ("{}", "a", "😀", '{"a":"😀"}'),
    ("{}", "a", 1e21, '{"a":1000000000000000000000}'),
    ("{}", "a", 1e-09, '{"a":0.000000001}'),
    ("{}", "a", 0.1, '{"a":0.1}'),
    ("{}", "a", -0.0, '{"a":-0}'),
    ("{}", "a", {"z": 1.5, "a": ["<", None, True, 1e21]}, '{"a":{"a":["\\u003c",null,true,1e+21],"z":1.5}}'),
    ("{}", "a", [], '{"a":[]}'),
    ('{"a":[{"b":1},{"b":2},{"c":3}]}', "a.#.b", "x", '{"a":[{"b":"x"},{"b":"x"},{"c":3}]}'),
    ('{"a":[{"b":1},{"b":2}]}', "a.#(b==2).b", "x", '{"a":[{"b":1},{"b":"x"}]}'),
    ('{"a":[{"b":1},{"b":2}]}', "a.#(b>0)#.b", "x", '{"a":[{"b":"x"},{"b":"x"}]}'),
    ('{"a":[{"b":1}]}', "a.#(b==9).b", "x", '{"a":[{"b":1}]}'),
    ('{"abc":1}', "a*", "x", '{"abc":"x"}'),
    ('{"abc":1}', "z*", "x", '{"abc":1}'),
    ('{"abc":1}', "abc|@this", "x", '{"abc":1}'),
    ('{"a": {"b": 1 } , "c":[ 1 ] }', "a.b", "x", '{"a": {"b": "x" } , "c":[ 1 ] }'),
    ('{"a":[1,2,3]}', "a.#", "x", '{"a":[1,2,3]}'),
    ('{"@k":1}', "@k", "x", '{"@k":"x"}'),
    ('{"@k":1}', "\\@k", "x", '{"@k":"x"}'),
    ("{}", "a.b.0.c.-1.d.:3", "x", '{"a":{"b":[{"c":[{"d":{"3":"x"}}]}]}}'),
    ('{"é":{"日":1},"z":2}', "é.日", "x", '{"é":{"日":"x"},"z":2}'),
    ('{"é":{"日":1},"z":[]}', "z.0", "x", '{"é":{"日":1},"z":["x"]}'),
    ('{"a":1}\n', "b", "x", '{"a":1,"b":"x"}'),
    ('{"a":{}}', "a.b", 1.0, '{"a":{"b":1}}'),
    ('{"a":{ }}', "a.b", 1.0, '{"a":{ "b":1}}'),
    ("[[1],[2]]", "1.0", "x", '[[1],["x"]]'),
    ("[[1],[2]]", "2.1", "x", '[[1],[2],[null,"x"]]'),
]


@pytest.mark.parametrize(("text", "path", "value", "after"), WRITTEN)
def test_a_value_is_written_as_sjson_writes_it(text: str, path: str, value: Any, after: str | None) -> None:
    if after is None:
        with pytest.raises(LangError):
            sjson.set(text.encode(), path, value)
    else:
        assert sjson.set(text.encode(), path, value).decode() == after


def test_an_integer_stays_an_integer() -> None:
    assert sjson.set(b"{}", "a", 12345678901234567890) == b'{"a":12345678901234567890}'


def test_raw_text_goes_in_as_it_is() -> None:
    assert sjson.set_raw(b'{"a":1 }', "a", b' {"x" : 1.0} ') == b'{"a": {"x" : 1.0}  }'
    assert sjson.set_raw(b"{}", "a.0", b"no json") == b'{"a":[no json]}'


def test_all_other_bytes_stay_even_those_that_are_not_utf_8() -> None:
    assert sjson.set(b'{ "a":"\xff",\t"b" : 1.0 }', "b", "x") == b'{ "a":"\xff",\t"b" : "x" }'


def test_a_key_on_an_array_is_refused_with_the_key_and_the_way_out() -> None:
    with pytest.raises(LangError, match=r"'a\.b' uses the key 'b' on an array; write an index or -1"):
        sjson.set(b'{"a":[1]}', "a.b", 1)


def test_an_empty_path_is_refused() -> None:
    with pytest.raises(LangError, match="empty"):
        sjson.set_raw(b"{}", "", b"1")


def test_an_index_that_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(LangError, match="too large"):
        sjson.set(b"{}", "a.99999999999", 1)


def test_a_path_whose_places_gjson_miscounts_is_refused_instead_of_breaking_the_text() -> None:
    text = b'{"pad":"xxxxxxxxxxxx","a":[{"b":[10,20]}]}'

    with pytest.raises(LangError, match="places"):
        sjson.set(text, "a.0|b|#(>5)#", "y")
