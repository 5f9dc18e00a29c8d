"""YAML as Kubernetes reads it: plain scalars above all, and the forms that manifests use."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.golden.cases.standard import NUMBERS
from tests.golden.files import Question

_SCALARS = [
    "y", "Y", "yes", "Yes", "YES", "yEs", "n", "no", "NO", "on", "On", "off", "OFF", "true", "True", "tRUE", "false",
    "~", "null", "Null", "nULL", "", "1:30", "12:30:45", "2001-01-01", "2001-01-01T00:00:00Z", "2001-1-1", "0o17", "0O17",
    "010", "08", "09", "0x1F", "-0x1f", "0x", "0b11", "-0b11", "0b2", "1_000", "1__0", "_1", "1_", ".5", "+.5", "-.5",
    "1.", "+1", "++1", ".", "..", "...x", "e3", "1e", "1e3", "1e+3", "1e999", ".inf", "-.inf", ".nan", ".Inf", "inf",
    "nan", "=", "<<", "1Gi", "10s", "v1.2", "1.5.2", "1 2", "a: b", "a:b", "a#b", "a #b", "-a", "- a", "?a", "!a b", "@a",
    "`a", "%a", "&a", "*a", "'it''s'", '"a\\tb\\u00e9\\x41\\/"', '"a\\q"', "'a\\n'", '"unclosed', "[a, b", "[a, 1, yes]",
    "{a: 1, b: [2]}", "{a, b: }", "!!str 5", '!!int "3"', "!!float 3", "!!float 3.0", "!!bool yes", "!!binary aGk=",
    "!!null ''", "!!timestamp 2001-01-01", "!custom 5", "! 5", "!!int 3.5", "!!bool 1", "!!map {}", "!!seq []", "!!set {a}",
    "+18446744073709551615", "18446744073709551615", "18446744073709551616", "-9223372036854775808", "0777", "-010", "+010",
    "0.0", "-0.0", "3.0", "1e6", "1000000.0", "1.0e5", "0x1p3", "0xFFFFFFFFFFFFFFFF", "1,000", "0_1", "0o8",
]  # fmt: skip
_TEXTS = [
    "", "# c\n", "---\n", "a: 1\n", "a: 1\n---\nb: 2\n", "- 1\n- [2, 3]\n- {a: b}\n", "a:\n- 1\n- 2\n", "a:\n  b:\n   c: 1\n",
    "a: |\n  x\n  y\n", "a: |-\n  x\n", "a: |+\n  x\n\n", "a: >\n  x\n  y\n\n  z\n", "a: >-\n  x\n   y\n", "a: |2\n   x\n",
    "a: 1\na: 2\n", "x: &x {b: 1}\ny: *x\n", "x: &x {b: 1, c: 2}\ny:\n  <<: *x\n  b: 5\n", "y:\n  b: 5\n  <<: {b: 1}\n",
    "a: *nope\n", "a: &a [*a]\n", "\ta: 1\n", "a:\t1\n", "a: b: c\n", "a\nb\n", "a: 'x\n  y'\n", 'a: "x\n  y"\n',
    "a: x\n  y\n", "yes: 1\n", "1: a\n", "1.5: a\n", "1e3: a\n", "~: a\n", "? a\n: b\n", "? [a]\n: b\n", "{a: 1}: 2\n",
    "a: [1, 2,]\n", "a: {b: 1,}\n", "a: [\n 1,\n 2\n]\n", "%YAML 1.1\n---\na: 1\n", "a: 1 # c\n", "a: '1' # c\n", "a: #c\n",
    "a : 1\n", "'a': 1\n", '"a b": 1\n', "a: é日😀\n", "a: \"\\ud83d\\ude00\"\n", "a: \u2028x\n", "\ufeffa: 1\n", "a: \x01\n",
    "- - 1\n  - 2\n- 3\n", "-\n", "- \n- a\n", "a:\n", "a:\nb:\n", "a: {}\nb: []\n", "...\n", "a: 1\n...\n", "--- 1\n",
    "a: |\n x\n  y\n z\n", "a: >\n\n  x\n", "a: |\n", "a: ''\n", "<<: {a: 1}\nb: 2\n", "<<: [{a: 1}, {a: 2, b: 3}]\n", "<<: 1\n",
    "a: !!binary |\n  aGVs\n  bG8=\n", "a: 0o14\nb: 014\n", "true: 1\nfalse: 2\n", "null: 1\n", "2001-01-01: 1\n", ".inf: 1\n",
    "a: - b\n", "a: ? b\n", "a:\n  - b\n - c\n", "a:\n    b: 1\n  c: 2\n", '{"a": 1, "b": [true, null]}', '{"a":1}', "[1,2]",
    '{"a": "x\\/y"}', "a: 'x''y'\n", "? \n: 1\n", ": 1\n", "key with spaces: v\n", "a: b\r\nc: d\r\n", "a: \"\\\n  x\"\n",
]  # fmt: skip


def questions(random: random.Random) -> Iterator[Question]:
    """Each scalar as a value, some in lists and as keys; texts; texts with a line changed."""
    for scalar in _SCALARS + NUMBERS:
        yield {"text": f"a: {scalar}\n"}
        yield {"text": f"- {scalar}\n"}
        yield {"text": f"{scalar}: v\n"}
    for text in _TEXTS:
        yield {"text": text}
    for _ in range(150):
        lines = ["a:", "  b: 1", "  c:", "  - x", "  - y: 2", "    z: |", "      text", "d: [1, {e: f}]"]
        at = random.randrange(len(lines))
        changes = [
            lines[at][1:],
            " " + lines[at],
            "",
            lines[at] + " ",
            lines[at] + " # c",
            lines[at] + ":",
            "- " + lines[at],
        ]
        lines[at] = random.choice(changes)
        yield {"text": "\n".join(lines) + "\n"}
