"""JSON as Go reads and writes it."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.golden.cases.standard import NUMBERS
from tests.golden.files import Question

_TEXTS = [
    "", " ", "null", "true", "false", "nul", "True", "NaN", "Infinity", "+1", "01", "1.", ".5", "-", "0x1", "1e", "1 2",
    "[1,]", "[,1]", "[1", "{}", '{"a":1,"a":2}', '{"b":1,"a":2}', "{a:1}", "{'a':1}", '{"a":1,}', '{"a"}', "{1:2}",
    '"\\u00e9"', '"\\ud83d\\ude00"', '"\\ud83d"', '"\\ud83dx"', '"\\x41"', '"\t"', '"\\t\\n\\b\\f\\r\\/\\\\\\""', '"<>&"',
    '"\u2028\u2029"', '"\x7f"', '"\\u0000\\u001f"', "[1,2]//c", "/*c*/1", "\ufeff1", "\xa01", "[[[[]]]]", '"é日😀"',
    '{"é":1,"z":{"<":2}}', "\n[ 1 ,\t2 ]\r\n", '"a', "'a'", "[true,false,null]", '{"":""}', '"\\U0041"', "1,2", "-1.0",
]  # fmt: skip


def questions(random: random.Random) -> Iterator[Question]:
    """Texts, numbers by themselves and in lists, and texts with a character too many or too few."""
    for text in _TEXTS + NUMBERS:
        yield {"text": text}
        yield {"text": f"[{text}]"}
    for _ in range(150):
        text = '{"a":[1.5,"x\\n",{"b":null}],"c":-2e-3,"d":true}'
        at = random.randrange(len(text))
        change = random.choice(["", "", ",", '"', "}", "]", " ", "0", "\\", ":", "e", "-"])
        yield {"text": text[:at] + change + text[at + random.choice([0, 1]) :]}
