"""Where our answer stays another one than that of the Go library, and why.

The list is exact: a question that a row's pattern finds must be answered differently, and every question that is
answered differently must be found by a row (``tests/unit/lang/test_golden.py``). The same reasons stand in
``docs/reference/differences.md``, in the words of a user."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.golden.files import Question


@dataclass(frozen=True)
class Difference:
    """``pattern`` is searched in the program, path, expression or text that a question asks about."""

    language: str
    pattern: str
    reason: str

    def finds(self, language: str, question: Question) -> bool:
        """Whether this row is about the question."""
        text = next(str(question[name]) for name in _SUBJECTS if name in question)
        if isinstance(question.get("input"), dict) and "x" in question["input"]:
            text += f" of {question['input']['x']}"
        return language == self.language and re.search(self.pattern, text, re.DOTALL) is not None


_SUBJECTS = ("condition", "script", "pattern", "expr", "spec", "path", "text")

DIFFERENCES = [
    Difference("condition", r'^(true|1|"c"|c == d_4)$', "what slips through upstream's rewriting is no condition: refused here"),
    Difference("condition", r"^ $", "blanks are no condition, so all dependencies are waited for"),
    Difference("cron", r"^0 23 31 10 sun$", "robfig/cron misses a day after a clock change of half an hour"),
    Difference("duration", r"^(9223372036854775807ns|2562047h47m16\.854775807s)$", "seconds are floats here"),
    Difference("json", r"^\[?-0\]?$", "the integer -0 is 0 here"),
    Difference("yaml", r"\\/", "\\/ is an escape of JSON, and JSON is YAML: read here, refused by go-yaml v2"),
    Difference("yaml", r"^\n  b: 1\n", "go-yaml v2 drops what is indented less than the first line; refused here"),
    Difference("template", r"^\{\{ 1i ", "complex numbers are not of this world"),
    Difference("template", r'^\{\{ toDate "15:04"', "the year 0 does not exist in Python: 1 is printed"),
    Difference("template", r'"%d" \(toDate', "the insides of a Go time are printed as the time"),
    # jq: libjq runs what is no closure.
    Difference("jq", r"^(infinite|nan|1e1000 \| length)$|^0 \| log2$", "libjq has no infinities and no NaN in its output"),
    Difference("jq", r'^\{"b":1,"a":2\} \| (\[\.\[\]\]|@text)$', "libjq goes through an object that the program wrote as it is written"),
    Difference("jq", r"^(1\.0 \| @text|1e17 \| @json)$", "libjq keeps how the program wrote a number"),
    Difference("jq", r'^("\\\(\.x\)"|\.x\|@text|\[\.x\]\|join.*) of (1e-07|1e\+21)$', "libjq writes 1E-7 and 1E+21 into texts"),
    Difference("jq", r"try \(1/0\) catch \.", "the words of an error are libjq's"),
    Difference("jq", r"\bdebug$|\$__loc__|\binput_filename\b|have_literal", "known to libjq, unknown to the library gojq"),
    Difference("jq", r"input_line_number\?|fromdate\? \| input_line_number|booleans \| input\]", "what is unknown to gojq fails here when it is reached"),
    Difference("jq", r'^(\.s|"[^"]*"|\.b|\.t) ?(\[0\]$|\| (\.\[(-?[01]|1\.7)\]|first|last|nth\(1\))$)', "gojq takes a character out of a text by its number"),
    Difference("jq", r'^\.s \| gsub\("";"-"\)$', "libjq counts bytes after an empty match"),
    Difference("jq", r'^\.o ?\| ?index\("x"\)$', "libjq finds the index of a key"),
    Difference("jq", r'^("\w.*"|\.s) ?\| ?test\("[HX]"; ?"ix"\)$', "the flag x is unknown to gojq"),
    Difference("jq", r'^"" \| reverse$', "a text is reversed to an empty list, if it is empty"),
    Difference("jq", r'^\.l \| (todate|strftime\("%Y %j %U"\))$|^1\d+ \| strflocaltime', "libjq does not fill up years before 1000, and refuses far ones"),
    Difference("jq", r"^(\.f|1\d+) \| gamma$|^1\.25 \| exp10$", "gamma is another function, and the last digit another one, in the C library"),
    # Lua: PUC Lua runs the scripts.
    Difference("lua", r"\)\(tonumber\((true, 1, 2|'1e2'|\{1,2,3\}, -1|3, '10')", "what is no number is an error or a number here, as in Lua's manual"),
    Difference("lua", r"\('1e2', -0, 1e15\)\)$|\(7, '1e2'\)|\(1, '10', 2\.5\)|-0, '1e2'\)|'x', '0x10'\)|\(1, '1e2'\)", "gopher-lua does not take every text that is a number for one"),
    Difference("lua", r"\(getmetatable\((\)|'é'|'10')", "the metatable of texts is out of reach"),
    Difference("lua", r"\(string\.match\((-1, ' 5 '|-1, 0|1e100, 2\.5)\)", "string.match without a match is nil here, nothing there"),
    Difference("lua", r"table\.remove\(\{'b','a'\}, nil\)|\(setmetatable\('[^,]*$", "arguments that make no sense are told from each other in other ways"),
    Difference("lua", r"^return \{table\.concat\(\{5\}\)", "table.concat of one number is a text, as in Lua's manual"),
    Difference("lua", r"^return string\.byte\('abc'\)", "gopher-lua gives all bytes, Lua's manual one"),
    Difference("lua", r"math\.log10\(3, -1|string\.format\('%#x', 0(\.001)?\)", "digits of the C library"),
    Difference("lua", r"(find|gmatch)\('[^']+', '%f\[%w\]%w\+'", "gopher-lua has no frontier pattern"),
    Difference("lua", r"\('[^']+', '\[%a-z\]'", "gopher-lua reads [%a-z] in a way of its own"),
    Difference("lua", r"gsub\('a\.b\.c', '\('|, '%'[,)]", "a malformed pattern is an error here"),
    Difference("lua", r"format\('%[#xXo]+', (-1|'10')\)(?<!'%[xX]', '10'\))", "negative numbers in base 16 and 8 are those of C"),
    Difference("lua", r"format\('%q', .*\\[nt]", "%q writes what Lua reads"),
    Difference("lua", r"format\('(%%', [0-9]|%', 1|%d', nil|%x', 'z'|%d', '0x10'|%c', 0|%a', 1|%G', '10'|%\+d', '10'|% d', '10')", "Go's complaint stands in the text there"),
    Difference("lua", r"format\('%10s\|', 'é'\)", "the width counts bytes, as in Lua"),
    Difference("lua", r"^return (-?2\^6[34]|1e2[01]) % 7$", "beyond 2^53 the rest is that of Lua's formula"),
]  # fmt: skip
