"""YAML means here what ``sigs.k8s.io/yaml`` 1.6 makes of it; the expectations come from that library."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.manifests._yaml import MAX_DEPTH, Document, Fault, documents, resolve


def read(text: str) -> Any:
    (document,) = documents(text)
    assert isinstance(document, Document), document
    return document.value


def fault(text: str) -> Fault:
    (found,) = documents(text)
    assert isinstance(found, Fault), found
    return found


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((word, True) for word in ("y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE")),
        *((word, False) for word in ("n", "N", "no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE")),
        *((word, None) for word in ("", "~", "null", "Null", "NULL")),
        *((word, word) for word in ("nULL", "tRUE", "yEs", "1:30", "12:30:45", "2001-01-01", "2001-01-01T00:00:00Z")),
        *((word, word) for word in ("0x", "0b", "0o", "0b2", "0x1p3", "1 2", "1,000", "1.5.2", "++1", "+", ".", "..")),
        *((word, word) for word in ("1e", "e3", "1e999", "-1e999", "_1", "=", "<<", "._5", "10s", "1Gi", "v1.2")),
        ("1e3", 1000),
        ("1E3", 1000),
        ("+.5", 0.5),
        (".5e3", 500),
        (".1_0", 0.1),
        ("1.", 1),
        ("0o17", 15),
        ("0O17", 15),
        ("010", 8),
        ("08", 8),
        ("09", 9),
        ("0x1F", 31),
        ("-0x1f", -31),
        ("0x1_F", 31),
        ("0b11", 3),
        ("-0b11", -3),
        ("1_000", 1000),
        ("1__0", 10),
        ("1_", 1),
        ("-0", 0),
        ("3.0", 3),
        ("123456789.5", 123456789.5),
        ("9223372036854775808", 2**63),
        ("18446744073709551615", 2**64 - 1),
        ("18446744073709551616", float(2**64)),
        ("+18446744073709551615", float(2**64)),
        ("-9223372036854775808", -(2**63)),
        ("1e-7", 1e-7),
        ("5e-324", 5e-324),
        ("9" * 5000, "9" * 5000),
        ("!!str 5", "5"),
        ('!!int "3"', 3),
        ("!!float 3", 3),
        ("!!bool yes", True),
        ("!!binary aGk=", "hi"),
        ("!!timestamp 2001-01-01", "2001-01-01"),
        ("!custom 5", "5"),
        ("! 5", "5"),
        ("'5'", "5"),
        ('"no"', "no"),
        ("|\n  x\n  y\n", "x\ny\n"),
    ],
)
def test_a_scalar_means_what_kubernetes_reads(text: str, value: object) -> None:
    found = read(f"a: {text}")["a"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("yes", "true"),
        ("off", "false"),
        ("010", "8"),
        ("1.5", "1.5"),
        ("1e3", "1000"),
        ("1000000.0", "1e+06"),
        ("1e20", "1e+20"),
        ("0.00001", "1e-05"),
        ("16777217.5", "1.6777218e+07"),
        (".inf", ".inf"),
        ("1e300", ".inf"),
        ("2001-01-01", "2001-01-01"),
    ],
)
def test_a_key_becomes_text(key: str, name: str) -> None:
    assert read(f"{key}: v") == {name: "v"}


@pytest.mark.parametrize(
    "text", ["a: .inf", "a: .nan", "a: !!int 3.5", "a: !!bool 1", "a: !!int ''", "a: !!binary '!'"]
)
def test_what_json_cannot_hold_is_refused(text: str) -> None:
    assert fault(text).line == 1


@pytest.mark.parametrize("text", ["[a]: 1", "{a: 1}: 2", "? [1]\n: 2", "null: a", "18446744073709551615: a"])
def test_a_key_that_cannot_be_text_is_refused(text: str) -> None:
    assert "key" in fault(text).message


def test_anchors_and_merges_work_in_the_order_of_writing() -> None:
    # Given a mapping that is merged before and after a key of its own
    text = "x: &x {b: 1, c: 2}\nearly:\n  <<: *x\n  b: 5\nlate:\n  b: 5\n  <<: *x\n"
    # Then the later of the two counts, as in go-yaml v2
    found = read(text)
    assert found["early"] == {"b": 5, "c": 2}
    assert found["late"] == {"b": 1, "c": 2}


def test_of_several_merged_mappings_the_first_wins() -> None:
    assert read("x: &x {b: 1}\ny: &y {b: 2, f: 3}\nc:\n  <<: [*x, *y]")["c"] == {"b": 1, "f": 3}


@pytest.mark.parametrize("text", ["c: {<<: 5}", "c: {<<: }", "c: {<<: [1]}"])
def test_only_mappings_can_be_merged(text: str) -> None:
    assert "'<<'" in fault(text).message


def test_a_quoted_merge_key_is_an_ordinary_key() -> None:
    assert read("c:\n  '<<': {a: 1}") == {"c": {"<<": {"a": 1}}}


def test_aliases_are_copies() -> None:
    # Given one list that stands in two places
    found = read("a: &a [1]\nb: *a")
    # When one is changed
    found["a"].append(2)
    # Then the other is not
    assert found["b"] == [1]


def test_of_equal_keys_the_last_counts_and_it_is_said() -> None:
    (document,) = documents("a: 1\nb: 2\na: 3\n")
    assert isinstance(document, Document)
    assert document.value == {"a": 3, "b": 2}
    (odd,) = document.oddities
    assert (odd.code, odd.line, odd.column) == ("duplicate-key", 3, 1)
    assert "line 1" in odd.message


def test_a_key_that_overrides_a_merged_one_is_not_odd() -> None:
    (document,) = documents("x: &x {a: 1}\nc:\n  <<: *x\n  a: 2\n")
    assert isinstance(document, Document)
    assert document.oddities == []


def test_every_key_and_value_has_a_place() -> None:
    # Given a document that does not begin in the first line
    text = "# a comment\n---\nspec:\n  triggers:\n    - name: a\n      url: x\n    - {name: b}\n"
    (document,) = documents(text)
    assert isinstance(document, Document)
    # Then places count from 1, in the file and not in the document
    assert document.root.key(("spec",)) == (3, 1)
    assert document.root.value(("spec", "triggers")) == (5, 5)
    assert document.root.key(("spec", "triggers", 0, "url")) == (6, 7)
    assert document.root.value(("spec", "triggers", 0, "url")) == (6, 12)
    assert document.root.value(("spec", "triggers", 1, "name")) == (7, 14)
    # And what is not there has the place of the innermost thing that is
    assert document.root.key(("spec", "triggers", 1, "url")) == (7, 7)


def test_a_value_behind_an_alias_has_the_place_where_it_is_written() -> None:
    (document,) = documents("a: &a\n  k: 1\nb: *a\nc:\n  <<: *a\n")
    assert isinstance(document, Document)
    assert document.root.value(("b", "k")) == (2, 6)
    assert document.root.key(("c", "k")) == (2, 3)


def test_a_broken_document_hides_no_other() -> None:
    # Given three documents, the second never closing a quote
    found = list(documents('a: 1\n---\nb: "open\nc: [\n---\nd: 4\n'))
    # Then the others are there, and the fault has a place inside the second
    assert [one.value for one in found if isinstance(one, Document)] == [{"a": 1}, {"d": 4}]
    (broken,) = [one for one in found if isinstance(one, Fault)]
    assert 3 <= broken.line <= 5
    assert broken.message.startswith("not YAML")


def test_documents_are_cut_where_yaml_cuts_them() -> None:
    text = "%YAML 1.1\n---\na: 1\n--- # two\nb: |\n  --- no cut\n  ---\n---\n# nothing\n---\r\nc: 3\r\n...\n"
    assert [one.value for one in documents(text) if isinstance(one, Document)] == [
        {"a": 1},
        {"b": "--- no cut\n---\n"},
        {"c": 3},
    ]


def test_json_is_read_too() -> None:
    assert read('{\n\t"a": "\\ud83d\\ude00", "b": "\\\\ud83d", "c": [1, 2.50, null, true]\n}') == {
        "a": "😀",
        "b": "\\ud83d",
        "c": [1, 2.5, None, True],
    }


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(st.characters(codec="utf-8"), max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
        max_leaves=20,
    )
)
def test_what_json_writes_comes_back(value: object) -> None:
    (document,) = documents(json.dumps({"value": value}))
    assert isinstance(document, Document)
    assert document.value == {"value": value}


@given(st.text(st.characters(codec="utf-8")))
def test_any_text_gives_documents_or_faults(text: str) -> None:
    for found in documents(text):
        assert isinstance(found, Document | Fault)


@given(st.text("0123456789+-._eExXoObB:", min_size=1, max_size=12))
def test_any_scalar_resolves(text: str) -> None:
    assert isinstance(resolve(text), bool | int | float | str | None)


def test_billion_laughs_are_refused() -> None:
    # Given nine levels of nine aliases each
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    lines += [f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]" for n in range(9)]
    # Then it is a fault with a place, not a full memory
    found = fault("\n".join(lines))
    assert "aliases" in found.message
    assert 1 < found.line <= 10


def test_merges_that_double_are_refused() -> None:
    lines = ["b: &b0 {k: 1}", *(f"b{n}: &b{n} {{<<: [*b{n - 1}, *b{n - 1}]}}" for n in range(1, 60))]
    assert "aliases" in fault("\n".join(lines)).message


@pytest.mark.parametrize("opening", ["[", "- ", "{a: "])
def test_bottomless_nesting_is_refused(opening: str) -> None:
    assert "deeper" in fault(opening * 50_000).message


def test_nesting_that_is_allowed_is_read() -> None:
    assert read("a: " + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1))


@pytest.mark.parametrize(("text", "words"), [("a: &a [*a]", "itself"), ("a: *nobody", "&nobody")])
def test_aliases_that_lead_nowhere_are_refused(text: str, words: str) -> None:
    assert words in fault(text).message
