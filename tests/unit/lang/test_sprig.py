"""sprig: that all functions are tried, what is random, and what is different or refused on purpose."""

from __future__ import annotations

import re

import pytest

from argosy.errors import LangError
from argosy.lang import gotemplate, sprig
from tests.golden import files

UNSTEADY = {
    *("randAlpha", "randAlphaNum", "randAscii", "randBytes", "randInt", "randNumeric", "shuffle", "uuidv4"),
    *("ago", "now"),
    *("genCA", "genSelfSignedCertWithKey", "genSignedCertWithKey"),
}
"""No two answers of Go are alike, so these have tests of their own, below and in ``test_sprig_crypto.py``."""


def test_every_function_has_an_answer_from_go_or_a_test_here() -> None:
    asked = files.read("template").rows
    tested = {word for question, _ in asked for word in re.findall(r"\w+", question["text"])}
    assert set(sprig.FUNCTIONS) - tested == UNSTEADY


@pytest.mark.parametrize("name", sorted(sprig.REFUSED))
def test_what_is_refused_is_refused_when_the_template_is_compiled(name: str) -> None:
    with pytest.raises(LangError, match=f"the function '{name}' "):
        gotemplate.compile(f"{{{{ {name} }}}}")


def test_the_environment_of_the_process_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGOSY_SECRET", "hunter2")
    for text in ('{{ env "ARGOSY_SECRET" }}', '{{ expandenv "$ARGOSY_SECRET" }}', '{{ "X" | env }}'):
        with pytest.raises(LangError):
            gotemplate.compile(text)


def test_a_deep_copy_is_a_value_of_its_own() -> None:
    text = '{{ $copy := mustDeepCopy . }}{{ $_ := set $copy.m "a" 2 }}{{ . }} {{ $copy }}'
    assert gotemplate.compile(text).render({"m": {"a": 1}}) == "map[m:map[a:1]] map[m:map[a:2]]"


def test_keys_and_values_come_sorted() -> None:
    assert gotemplate.compile("{{ keys . }} {{ values . }}").render({"b": 2, "a": 1}) == "[a b] [1 2]"


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("{{ randAlpha 8 }}", "[A-Za-z]{8}"),
        ("{{ randAlphaNum 8 }}", "[A-Za-z0-9]{8}"),
        ("{{ randNumeric 8 }}", "[0-9]{8}"),
        ("{{ randAscii 8 }}", "[ -~]{8}"),
        ("{{ randBytes 3 }}", "[A-Za-z0-9+/]{4}"),
        ("{{ randInt 5 7 }}", "[56]"),
        ('{{ shuffle "ab" }}', "ab|ba"),
        ("{{ uuidv4 }}", "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"),
        ('{{ now | date "2006-01-02" }}', r"20[0-9]{2}-[0-9]{2}-[0-9]{2}"),
        ("{{ now | htmlDate }}", r"20[0-9]{2}-[0-9]{2}-[0-9]{2}"),
        ("{{ ago now }}", "0s"),
        ('{{ dateInZone "15:04 MST" (int64 1700000000) "Europe/Berlin" }}', "23:13 CET"),
        ('{{ date_in_zone "15:04 MST" (int 0) "nowhere" }}', "00:00 UTC"),
        ('{{ htmlDateInZone (int 0) "America/New_York" }}', "1969-12-31"),
        ('{{ date "Jan _2 2006 3:04PM -07:00" 0 }}', r"Jan  1 1970 12:00AM \+00:00"),
    ],
)
def test_random_values_and_dates_have_their_shape(text: str, shape: str) -> None:
    assert re.fullmatch(shape, gotemplate.compile(text).render({}))


def test_random_values_differ() -> None:
    template = gotemplate.compile("{{ randAlphaNum 32 }}")
    assert template.render({}) != template.render({})


def test_base64_that_is_broken_becomes_the_error_of_the_original() -> None:
    assert gotemplate.compile("{{ b64dec . }}").render("a!") == "illegal base64 data at input byte 1"
    assert gotemplate.compile("{{ b64dec . }}").render("aGk=") == "hi"
