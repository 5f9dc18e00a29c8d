"""Names survive being written into subjects, keys and headers, and two names never become one."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from argosy.bus import _jetstream_names as names

TEXT = st.text(max_size=40)


@given(TEXT)
@example("")
@example("%")
@example("a.b*c>d e")
@example("\u2028\x85\xa0")
def test_a_token_is_one_token_and_reads_back(text: str) -> None:
    token = names.token(text)
    assert token
    assert not set(token) & set(" \t\r\n.*>\x00")
    assert token.isprintable() or not text.isprintable()
    assert names.name_of(token) == text


@given(TEXT)
def test_a_key_holds_what_the_command_line_tool_accepts_and_reads_back(text: str) -> None:
    key = names.key(text)
    assert key
    assert all(letter.isascii() and (letter.isalnum() or letter in "_/-=") for letter in key)
    if not names.too_long(key):
        assert names.text_of(key) == text


@given(st.text(max_size=2000), st.text(max_size=2000))
def test_two_names_never_become_one(one: str, other: str) -> None:
    for encode in (names.token, names.key, names.header, names.digest):
        assert (encode(one) == encode(other)) == (one == other)


@given(TEXT, TEXT, TEXT, TEXT, TEXT, TEXT)
def test_two_events_never_have_one_message_id(a: str, b: str, c: str, d: str, e: str, f: str) -> None:
    assert (names.event_id(a, b, c) == names.event_id(d, e, f)) == ((a, b, c) == (d, e, f))


@given(st.text())
def test_a_header_is_printable_ascii_without_blanks_and_reads_back(text: str) -> None:
    value = names.header(text)
    assert value.isascii()
    assert not any(letter.isspace() or not letter.isprintable() for letter in value)
    assert names.text_of_header(value) == text


def test_what_a_go_process_may_name_without_harm_stays_as_it_is() -> None:
    for name in ("webhook", "my-event_1", "Ünicode", "a/b:c@d"):
        assert names.token(name) == name


def test_a_name_of_any_length_fits() -> None:
    for encode in (names.token, names.key):
        assert len(encode("☃" * 100_000)) <= 400
