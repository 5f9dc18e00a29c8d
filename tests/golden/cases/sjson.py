"""sjson: paths of every kind, over texts that hold what the path needs, hold something else, or hold nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.golden.files import Question

_TEXTS = [
    "{}", "[]", "", '{"a": {"b": [1, {"c": "x"}] } , "d":"e"}', '[ 1 , [2] , {"a":3} ]', '{"a":[]}', '{"a":{}}',
    '{"a":"text","0":{"1":2}}', '{"é":1,"a.b":{"c":null},"a":5}', "null", '{"a":[[1],[2,3]],"a":1}', ' {"x":1} ',
]  # fmt: skip
_STEPS = ["a", "b", "c", "0", "1", "3", "-1", ":0", ":-1", ":a", "a\\.b", "é", "x y", "<k>", "", "\\:1", "d", '"q"']
_HARD = ["*", "a*", "#", '#(c=="x")', "#(>1)#", "@this", "a|b", "?"]
_VALUES = [
    "x", "", "<b>&", "é<", 'q"\\', "tab\t\n", "\u2028", 1.0, 1.5, -0.0, 1e21, 1e-7, 123456789012.0, True, False, None,
    [1.0, "<"], {"z": 1.0, "a": {"é": [None]}}, [], {},
]  # fmt: skip
_RAW = ["1", '{"k": [1, 2]}', '"s"', "null", " 1 "]


def questions(random: random.Random) -> Iterator[Question]:
    """Values of every kind at one place; one value at every kind of place."""
    for value in _VALUES:
        yield {"json": '{"a": 1}', "path": "a", "value": value}
        yield {"json": '{"a": 1}', "path": "b.-1", "value": value}
    for text in _TEXTS:
        for step in _STEPS:
            yield {"json": text, "path": step, "value": "v"}
        for _ in range(40):
            path = ".".join(random.choice(_STEPS) for _ in range(random.randint(2, 4)))
            if random.random() < 0.3:
                yield {"json": text, "path": path, "raw": random.choice(_RAW)}
            else:
                yield {"json": text, "path": path, "value": random.choice(_VALUES)}
        for _ in range(8):
            yield {"json": text, "path": f"{random.choice(['', 'a.', 'a.b.'])}{random.choice(_HARD)}", "value": 9.0}
