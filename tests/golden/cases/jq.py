"""jq: each function that has no input from outside, on values of every kind; operators between kinds; paths,
assignments, reductions and formats."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.golden.files import Question

_WITH = {"with": "input"}
_VALUES = [
    ".a", ".b", ".s", ".l", ".o", ".t", ".n", ".j", ".f", "null", "true", "0", "1.25", "-1.5", "100000000000000000", '"x,y"', '""', "[]",
    "{}", "[1,[2]]", '[{"a":1,"b":2},{"a":1},{"b":null}]', '{"a":[null],"b":1}', '"5"', "100000000000000000000", "[null,1,\"a\"]",
    '" é "', '"aXbxc"', "[3,1,2]", '["b","a"]',
]  # fmt: skip
_PLAIN = [
    "length", "utf8bytelength", "not", "keys", "keys_unsorted", "values", "add", "any", "all", "flatten", "range(3)", "floor", "ceil",
    "round", "sqrt", "fabs", "tostring", "tonumber", "type", "isinfinite", "isnan", "isnormal", "sort", "unique",
    "min", "max", "reverse", "tojson", "fromjson", "ascii_downcase", "ascii_upcase", "explode", "implode", "to_entries",
    "from_entries", "first", "last", "transpose", "ascii", "todate", "fromdate", "fromdateiso8601", "trim", "ltrim", "rtrim",
    "abs", "toarray", "tostream", "paths", "leaf_paths", "recurse", "env", "now|type",
    "@text", "@json", "@csv", "@tsv", "@html", "@uri", "@sh", "@base64", "@base64d", "@base32", "@base32d", "gmtime", "mktime",
    "combinations", "objects", "arrays", "strings", "numbers", "booleans", "nulls", "iterables", "scalars", "getpath([\"a\"])",
    "error", "halt", "input_line_number", "splits(\"x\")", "ascii(65)", "@nope", "nosuch", "significand", "exp10", "log2", "trunc",
    "pow10", "getpath([])", "del(.[0])", "to_entries[0]", "first(.[])", "isvalid(.a)", "min_by(.a)", "group_by(.a)", "unique_by(.a)",
    "sort_by(.a)", "max_by(.b)", "with_entries(.value |= tostring)", "map(.)", "map_values(.)", "any(. == 1)", "all(. != null)",
    "walk(if type == \"number\" then . + 1 else . end)", "limit(1; .[])", "until(. > 100; . * 2)", "index(\"x\")", "rindex(1)",
    "indices(1)", "inside([1,2,3])", "contains(\"x\")", "startswith(\"x\")", "endswith(\"c\")", "ltrimstr(\"x\")", "rtrimstr(\"c\")",
    "split(\",\")", "split(\"x\"; \"i\")", "join(\"-\")", "test(\"x\")", "match(\"x\")", "capture(\"(?<k>x)\")", "scan(\"[a-z]\")",
    "sub(\"x\"; \"y\")", "gsub(\"x\"; \"y\")", "gsub(\"\"; \"-\")", "has(0)", "has(\"a\")", "in({\"x\":1})", "path(..)", "del(.a)",
    "delpaths([[\"a\"],[0]])", "setpath([\"a\"]; 1)", "to_entries | from_entries", "limit(2; repeat(1))", "tojson | fromjson",
    "strptime(\"%Y-%m-%dT%H:%M:%SZ\")", "strftime(\"%Y %j %U\")", "dateadd(\"seconds\"; 5)", "ltrimstr(1)", "pick(.a)",
    "getpath([\"a\",\"b\"])", "paths(type == \"number\")", "splits(\",\")", "ascii_downcase | ascii_upcase", "skip(1; .[])", "nth(1)",
    "nth(1; .[])", "input", "$__prog_args", "$ENV", "builtins | length > 100", "getpath(1)", "error(null)", "error(\"x\")",
    "@json \"v: \\(.)\"", "@uri \"q=\\(.)\"", "@html \"<\\(.)>\"", "@base64 \"\\(.)\"", "@sh \"echo \\(.)\"", ".[1:]", ".[:-1]", ".[2:1]",
    ".[\"a\"]", ".[0]", ".[-1]", ".[1.7]", ".[]", ".[]?", ".a?", "..", ".a.b", ".a[0]", ".[[1]]", ". as [$x, $y] | [$y, $x]",
    ". as {a: $x} | $x", ". as {a: $x} ?// [$x] | $x", "reduce .[] as $i (0; . + $i)", "foreach .[] as $i (0; . + $i; [$i, .])",
    "try error catch .", ".a //= 1", ".[0] += 1", ".a |= 5", ".[] |= 1", "to_entries | map(.key)", "label $f | 1, break $f",
    "if . then 1 end", "if . == null then 1 elif . then 2 else 3 end", "[limit(3; .[]?)]", "ltrimstr(\"a\") | type", "tojson | length",
    "getpath([0])", "splits(\"a+\"; \"g\")", "ascii_downcase?", "(.a, .b) = 1", ".a[1:2] = [9]", "@text \"\\(1;2)\"", "1 as $x | 2 as $y | [$x, $y, $x]",
    "def f(x): x + 1; f(1)", "def f($a; $b): $a + $b; f(1; 2)", "def f: def g: 3; g; f", "[.[]? | select(. == 1)]", "input_line_number?",
    "ascii | @text", "significand?", "gamma", "frexp", "modf", "ldexp(1; 2)", "scalb(1; 2)", "pow(2; 10)", "log", "exp", "atan2(1; 2)",
    "fma(1; 2; 3)", "min_by(.[0])", "tojson == tojson", "bsearch(1)", "getpath([\"o\",\"x\",1,\"k\"])", "env | type", "@urid",
    "ltrimstr(\"\")", "trimstr(\"x\")", "add(.[]?)", "limit(0; 1)", "limit(-1; 1)", "ascii_upcase | explode", "splits(1)", "test(\"X\"; \"ix\")",
    "[match(\"(?<n>a)?x\"; \"g\").captures[0].name]", "[.[]?] | sort_by(., 1)", "halt_error", "getpath([\"a\"]; 1)", "error(1; 2)",
    "localtime", "strflocaltime(\"%Z\")", "dateadd", "date", "todate(1)", "fromdate?", "tojson | @base64 | @base64d | fromjson",
]  # fmt: skip
_OPERATORS = ["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "and", "or", "//", ","]


def questions(random: random.Random) -> Iterator[Question]:
    """Functions on values, operators between values, and both in a row."""
    for program in _PLAIN:
        for value in random.sample(_VALUES, 4):
            yield {**_WITH, "text": f"{value} | {program}"}
    for operator in _OPERATORS:
        for _ in range(28):
            yield {**_WITH, "text": f"{random.choice(_VALUES)} {operator} {random.choice(_VALUES)}"}
    for _ in range(300):
        parts = [random.choice(_VALUES), *random.sample(_PLAIN, random.randint(1, 2))]
        yield {**_WITH, "text": "[" + " | ".join(parts) + "]"}
    for path in (
        ".a",
        ".o.x",
        ".l[1]",
        ".new",
        ".new.deep[2]",
        '.o["x"][1].k',
        ".l[-1]",
        ".n.x",
        ".s.x",
        ".l[5]",
        ".o.x[0]",
    ):
        for change in (
            "= 1",
            "|= 2",
            "+= 1",
            "-= 1",
            "*= 2",
            "/= 2",
            "//= 3",
            "|= empty",
            "= .a",
            "|= tostring",
            "%= 2",
            "= (1,2)",
        ):
            yield {**_WITH, "text": f"{path} {change}"}
