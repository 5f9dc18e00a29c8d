"""Go templates: errors with their place, and limits."""

from __future__ import annotations

from typing import Any

import pytest

from argosy.errors import LangError
from argosy.lang import gotemplate


@pytest.mark.parametrize(
    ("text", "offset", "says"),
    [
        ("ab {{ nosuch . }}", 6, "'nosuch' is not defined"),
        ("{{ .a }", 0, "not closed"),
        ("{{if .a}}x", 10, "end"),
        ("x{{end}}", 3, "closes nothing"),
        ("{{ $x }}", 3, r"'\$x' is not defined"),
        ("{{break}}", 2, "outside of a range"),
        ('{{ "a\n" }}', 3, "not closed"),
        ("{{ env `HOME` }}", 3, "'env' reads the host"),
        ("{{ 1 | 2 }}", 7, "pipe"),
        ("{{range $a, $b, $c := .}}{{end}}", 12, "too many variables"),
    ],
)
def test_what_does_not_parse_is_said_with_its_place(text: str, offset: int, says: str) -> None:
    with pytest.raises(LangError, match=says) as caught:
        gotemplate.compile(text)
    assert (caught.value.offset, caught.value.text) == (offset, text)


@pytest.mark.parametrize(
    ("text", "offset", "says"),
    [
        ("ab {{ .n.x }}", 6, "float64 has no field 'x'"),
        ("{{ upper .n }}", 9, "'upper' wants a string here, not a float64"),
        ("{{ upper .missing }}", 9, "no value"),
        ('{{ fail "boom" }}', 3, "boom"),
        ("{{ eq .n 3 }}", 3, "float64 and int cannot be compared"),
        ("{{ trunc 1 2 3 }}", 3, "takes 2 arguments and got 3"),
        ('{{ template "t" }}', 3, "'t' is not defined"),
    ],
)
def test_what_fails_is_said_with_its_place(text: str, offset: int, says: str) -> None:
    with pytest.raises(LangError, match=says) as caught:
        gotemplate.compile(text).render({"n": 3})
    assert (caught.value.offset, caught.value.text) == (offset, text)


def test_numbers_of_json_print_as_float64() -> None:
    assert gotemplate.compile("{{.a}} {{.b}} {{.c}}").render({"a": 1000000, "b": 999999, "c": 0.00001}) == (
        "1e+06 999999 1e-05"
    )


def test_a_value_is_not_changed_by_a_template_that_sets_members() -> None:
    dot: dict[str, Any] = {"m": {"a": 1}}
    assert gotemplate.compile('{{ $_ := set .m "b" 2 }}{{ .m }}').render(dot) == "map[a:1 b:2]"
    assert dot == {"m": {"a": 1}}


@pytest.mark.parametrize(
    "text",
    [
        "{{ range until 1000 }}{{ range until 1000 }}{{ range until 1000 }}x{{ end }}{{ end }}{{ end }}",
        "{{ range 2000000000 }}{{ end }}",
        '{{ define "t" }}{{ template "t" . }}{{ end }}{{ template "t" . }}',
        '{{ repeat 1000000000 "x" }}',
        "{{ until 1000000000 }}",
        '{{ printf "%1000000000d" 1 }}',
        '{{ printf "%.1000000000f" 1.5 }}',
        '{{ indent 1000000000 "x" }}',
        '{{ $x := "xxxxxxxxxxxxxxxx" }}{{ range until 40 }}{{ $x = print $x $x }}{{ end }}{{ len $x }}',
        '{{ $x := repeat 2000 "a" }}{{ $y := replace "a" $x $x }}{{ replace "a" $y $y }}',
        "{{ $x := list 1 }}{{ range until 40 }}{{ $x = concat $x $x }}{{ end }}{{ len $x }}",
        '{{ $d := dict }}{{ $_ := set $d "d" $d }}{{ $d }}',
        '{{ range until 100000 }}{{ repeat 100 "x" }}{{ end }}',
        "{{ uniq (until 100000) }}",
        "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
        "{{if 1}}" * 2000 + "{{end}}" * 2000,
        "{{ seq 1 1000000000 }}",
        "{{ randAlpha 1000000000 }}",
        '{{ regexReplaceAll "" (repeat 4000 "a") (repeat 4000 "b") }}',
        '{{ join (repeat 4000 "a") (until 4000) }}',
    ],
)
def test_a_template_that_would_run_or_grow_without_end_fails(text: str) -> None:
    with pytest.raises(LangError):
        gotemplate.compile(text).render({})


def test_a_character_cut_in_two_is_written_as_replacement_characters() -> None:
    assert gotemplate.compile("{{ trunc 1 . }}{{ substr 1 2 . }}").render("é") == "é"
    assert gotemplate.compile("{{ trunc 1 . }}").render("é") == "\ufffd"


def test_a_template_is_compiled_once() -> None:
    assert gotemplate.compile("{{.}}") is gotemplate.compile("{{.}}")
