"""Templates: every function of sprig with arguments of the kinds it takes and of others, printf with every verb,
comparisons between all kinds, and the statements of text/template in random nesting."""

from __future__ import annotations

import random
from collections.abc import Iterator

from argosy.lang import sprig
from tests.golden.files import Question

_WITH = {"with": "dot"}
_UNSTEADY = {
    "ago", "now", "htmlDate", "htmlDateInZone", "date", "dateInZone", "date_in_zone", "durationRound",
    "randAlpha", "randAlphaNum", "randAscii", "randBytes", "randInt", "randNumeric", "shuffle", "uuidv4",
    "keys", "values", "merge", "mergeOverwrite", "mustMerge", "mustMergeOverwrite", "set", "unset",
    *sprig.REFUSED,
    "bcrypt", "htpasswd", "encryptAES", "decryptAES", "derivePassword", "buildCustomCert",
    "genCA", "genCAWithKey", "genPrivateKey", "genSelfSignedCert", "genSelfSignedCertWithKey", "genSignedCert",
    "genSignedCertWithKey",
}  # fmt: skip
_TEXT = [
    '""', '"a"', '"Hello World"', '"héllo wörld"', '"  pad  "', '"a,b,c"', '"FooBarHTTPServer2x"', '"x.y/z.txt"', '"/a/../b/"',
    '"1.2.3"', '"3.5"', '"42"', '"0x1f"', '"-7"', '"true"', '"$1"', '"(a|b)(c*)"', '"a+"', '"aGk="', '"{\\"k\\":[1,null]}"',
    '"2024-01-02"', '"2006-01-02"', '"http://u:p@h:80/p/q?x=1#f"', '"abcabcabc"', '"\\t\\n\\"\'<&>"', '"日本語 テキスト"',
    '"^1.2"', '">=1.0, <2"', '"1h30m"', '"fòo_bar-baz QUX"', '.s', '.Input.body.message', '"ÀÉ ß ŉ ǆ"', '"a-b_c d"', '"v1.2.3-rc.1+b5"',
]  # fmt: skip
_INT = ["0", "1", "2", "3", "5", "-1", "10", "7"]
_ANY = [
    *_TEXT[:16], *_INT, "1.5", "-0.0", "1e6", "true", "false", "nil", ".n", ".i", ".f", ".z", ".l", ".m", ".el", ".t",
    ".a", ".missing", "(list 1 2 3)", '(list "b" "a" "b")', '(dict "k" 1)', '(dict "a" (dict "b" 2))', "(list)", "(dict)",
    "(list nil 0 \"\")", "(until 4)", '(splitList "," "a,b")', "(int64 9)", ".big", ".neg", "'x'", "0x10", ".s",
]  # fmt: skip
_KINDS = {
    "s": _TEXT, "i": _INT, "l": ["(int64 3)", "(int64 0)", "(int64 -5)"], "f": ["1.5", "0.5", ".f"], "b": ["true", "false", ".t"],
    "a": _ANY, "L": ["(list 1 2)", ".l"], "D": [".m", ".a", '(dict "k" 1 "l" "v")', "(dict)"],
    "t": ['(toDate "2006-01-02" "2024-01-02")', '(toDate "2006-01-02 15:04" "1999-12-31 23:59")'],
}  # fmt: skip
_VERBS = [
    "%v",
    "%d",
    "%s",
    "%q",
    "%x",
    "%X",
    "%t",
    "%T",
    "%5.2f",
    "%+v",
    "%#v",
    "%e",
    "%g",
    "%G",
    "%b",
    "%o",
    "%c",
    "%U",
]
_FLAGS = [
    "%5v",
    "%-8v|",
    "%08.3f",
    "%+d",
    "%x",
    "% x",
    "%#x",
    "%6d|",
    "%-6s|",
    "%.2s",
    "%q",
    "%#q",
    "%+q",
    "%10q",
    "%%",
    "%!",
    "%",
]
_PRINTED = [
    "nil", "true", "1", "-5", "1.5", "1e21", ".n", ".i", ".f", ".big", ".neg", ".s", ".e", ".z", ".l", ".el", ".m", ".a", ".t",
    "(int64 7)", "(list 1 \"x\" nil)", "(dict \"b\" 1 \"a\" nil)", "'c'", ".missing", '"a\\nb"', '"日"', "(until 3)",
    "(splitList \",\" \"a,b\")",
]  # fmt: skip
_CONDITIONS = [
    ".t",
    ".e",
    ".z",
    "(eq .i 3.0)",
    "(not .e)",
    '(and .t "x")',
    "(or .e .z)",
    ".l",
    ".el",
    ".missing",
    "(gt .n 1.0)",
]
_RANGES = [".l", ".m", ".el", ".z", "5", "(until 3)", '(list "a" "b" "c")', ".s", ".f", ".missing", '(dict "x" 1)', "$"]


def _statement(random: random.Random, depth: int) -> str:
    """Some lines of a template."""
    if depth == 0:
        return random.choice(
            ["x", " ", "{{.}}", "{{ . }}", "{{$}}", "{{.i}}", "{{- .s -}}", " {{/* c */}} ", "{{$v}}", "{{.a.b.c}}"]
        )
    inner = "".join(_statement(random, depth - 1) for _ in range(random.randint(1, 2)))
    other = _statement(random, depth - 1)
    open_, close = random.choice([("{{", "}}"), ("{{- ", "}}"), ("{{", " -}}"), ("{{- ", " -}}")])
    kind = random.randrange(9)
    if kind == 0:
        return f"{open_}if {random.choice(_CONDITIONS)}{close}{inner}{{{{else}}}}{other}{{{{end}}}}"
    if kind == 1:
        return f"{open_}range {random.choice(_RANGES)}{close}{inner}{{{{else}}}}{other}{{{{end}}}}"
    if kind == 2:
        return f"{open_}range $k, $v := {random.choice(_RANGES)}{close}{{{{$k}}}}={inner};{{{{end}}}}"
    if kind == 3:
        return f"{open_}with {random.choice(_CONDITIONS + _RANGES)}{close}{inner}{{{{else}}}}{other}{{{{end}}}}"
    if kind == 4:
        return f"{{{{$v := {random.choice(_CONDITIONS)}}}}}{inner}{{{{$v = 5}}}}{{{{$v}}}}"
    if kind == 5:
        stop = random.choice(["break", "continue"])
        return f"{open_}range $i, $v := {random.choice(_RANGES)}{close}{{{{if {random.choice(_CONDITIONS)}}}}}{{{{{stop}}}}}{{{{end}}}}{inner}{{{{end}}}}"
    if kind == 6:
        return f'{{{{block "b{depth}" {random.choice(_RANGES)}}}}}{inner}{{{{end}}}}'
    if kind == 7:
        return f"{open_}if {random.choice(_CONDITIONS)}{close}{inner}{{{{else if {random.choice(_CONDITIONS)}}}}}{other}{{{{end}}}}"
    return f"{open_}with $v := {random.choice(_RANGES)}{close}{inner}{{{{end}}}}{other}"


def _call(random: random.Random, name: str) -> str:
    function = sprig.FUNCTIONS[name]
    letters = function.parameters + function.rest * random.randint(0, 3)
    return " ".join([name, *(random.choice(_KINDS[letter]) for letter in letters)])


def questions(random: random.Random) -> Iterator[Question]:
    """Functions, printing, comparing, statements."""
    for name in sorted(set(sprig.FUNCTIONS) - _UNSTEADY):
        for _ in range(9):
            yield {**_WITH, "text": f"{{{{ {_call(random, name)} }}}}"}
        yield {**_WITH, "text": f"{{{{ {random.choice(_ANY)} | {name} {random.choice(_ANY)} }}}}"}
        yield {**_WITH, "text": f"{{{{ {random.choice(_ANY)} | {name} }}}}"}
        yield {**_WITH, "text": f'{{{{ printf "%T %#v" ({_call(random, name)}) ({_call(random, name)}) }}}}'}
    for verb in _VERBS + _FLAGS:
        for value in random.sample(_PRINTED, 14):
            yield {**_WITH, "text": f'{{{{ printf "{verb}" {value} }}}}'}
    for form in (
        "%d %s",
        "%[2]v %[1]v",
        "%*d",
        "%.*f",
        "%[3]v",
        "%v",
        "%d%%",
        "%s %s %s",
        "%[1]T %[1]v",
        "%-+5d|",
        "%6.2f|%6.2f",
    ):
        for _ in range(6):
            yield {**_WITH, "text": f'{{{{ printf "{form}" {random.choice(_PRINTED)} {random.choice(_PRINTED)} }}}}'}
    for name in ("print", "println", "html", "js", "urlquery", "len", "not", "and", "or", "index", "slice", "call"):
        for _ in range(12):
            values = " ".join(random.choice(_PRINTED) for _ in range(random.randint(0, 3)))
            yield {**_WITH, "text": f"{{{{ {name} {values} }}}}"}
    for name in ("eq", "ne", "lt", "le", "gt", "ge"):
        for _ in range(25):
            yield {**_WITH, "text": f"{{{{ {name} {random.choice(_ANY)} {random.choice(_ANY)} }}}}"}
        yield {**_WITH, "text": f"{{{{ {name} 1 2 1 }}}}"}
    for name in ("merge", "mergeOverwrite", "mustMerge", "mustMergeOverwrite"):
        for _ in range(6):
            maps = " ".join(random.choice(_KINDS["D"] + ["(deepCopy .m)"]) for _ in range(2))
            yield {**_WITH, "text": f'{{{{ {name} (dict "a" 1) {maps} }}}}'}
    for name in ("set", "unset"):
        yield {
            **_WITH,
            "text": f'{{{{ $d := dict "a" 1 }}}}{{{{ {name} $d "a" {"5" if name == "set" else ""} }}}} {{{{ $d }}}}',
        }
    for name in ("keys .m", "keys .m .a", "values .m", "values (dict)"):
        yield {**_WITH, "text": f"{{{{ {name} | sortAlpha }}}}"}
    layouts = [
        "2006-01-02",
        "Jan _2 06 3:04PM",
        "Mon Monday Z0700 -07:00 MST",
        "002 .000 15h",
        "20060102T150405Z",
        "05,999 pm PM",
    ]
    for layout in layouts:
        for zone in ("UTC", "Europe/Berlin", "Asia/Kolkata", "nowhere", ""):
            yield {**_WITH, "text": f'{{{{ dateInZone "{layout}" (int64 1711846800) "{zone}" }}}}'}
        yield {
            **_WITH,
            "text": f'{{{{ date "{layout}" (toDate "2006-01-02T15:04:05Z07:00" "2024-03-31T01:02:03+05:30") }}}}',
        }
    for text in (
        "htmlDate 0",
        "htmlDate (int64 1700000000)",
        'htmlDateInZone (int 0) "America/New_York"',
        'durationRound "2h10m5s"',
        'durationRound "2400h"',
        "durationRound (int64 5)",
        'durationRound "x"',
        "durationRound 1.5",
    ):
        yield {**_WITH, "text": f"{{{{ {text} }}}}"}
    for _ in range(350):
        yield {**_WITH, "text": _statement(random, random.randint(1, 3))}
