"""sjson: what is kept byte for byte, and what is refused.2.5 itself gave for the same texts (Go 1.26)."""

from __future__ import annotations

import pytest

from argosy.errors import LangError
from argosy.lang import sjson


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
