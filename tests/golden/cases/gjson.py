"""gjson: paths put together from all kinds of steps, over documents with every kind of value."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.golden.files import Question

_DOCUMENTS = [
    '{"a":{"b":[1,{"c":"x y"},null,[2,[3]]],"d":"1.50"},"l":[{"n":"u","v":1},{"n":"w","v":2.5},{"n":"u"}],"e":{}}',
    '[{"a":1,"b":"x"},{"a":"1","b":null},{"a":true,"c":[]},{"a":{"b":[ 7 , 8 ]}},5,"s"]',
    '{"a":[[1,2],[3,[4,[5]]],{"a":[6]}],"b":"{\\"c\\":[1,2]}","c":"\\u00e9<&>","d":1e3,"a":0}',
    '{ "a" : -0.0 , "b" : [ ] , "l" : [ true , false , null , "" , 0 ] , "x.y" : { "*" : 1 , "z|w" : 2 } }',
    '{"l":["b","a","c","ab","a*",""],"m":{"k1":1,"k2":"v","k3":[1]},"n":[3,1.0,-2,10]}',
    '{"a":1}{"a":2}\n[3]\n"x"',
    "",
    "  [1,2",
    '"text"',
]
_STEPS = [
    "a", "b", "c", "d", "e", "l", "m", "n", "0", "1", "2", "5", "#", "*", "k?", "?", "x\\.y", "\\*", "z\\|w", "k*",
    "@this", "@reverse", "@ugly", "@pretty", "@flatten", "@join", "@keys", "@values", "@tostr", "@fromstr", "@group",
    "@dig:a", "@dig:c", "@valid", '@pretty:{"indent":"\\t","sortKeys":true}', '@pretty:{"width":5,"prefix":"> "}',
    '@flatten:{"deep":true}', '@join:{"preserve":true}', "@nope", "[a,b]", "{a,b}", '{"x":a,"y":l.#}', "[0,1.a,#]",
    '{a,"b":!"lit"}', "[!1,!null,@this.a]", '!"x"', "!5", "!true", "", ":a", "-1", "@", "\\@keys", "..", "..#", "..1",
]  # fmt: skip
_OPERATORS = ["==", "!=", "<", "<=", ">", ">=", "%", "!%", "=", "==~", "!=~", ""]
_LEFT = ["", "a", "b", "n", "v", "a.b", "c.#", "#", "a.b.#(>7)", "@keys.#", "a.#(==1)"]
_RIGHT = [
    '"x"',
    "x",
    "1",
    '"1"',
    "true",
    "null",
    "2.5",
    '"u"',
    '"a*"',
    "a?",
    "~true",
    "~false",
    "~null",
    "~*",
    '""',
    "b",
]


def _query(random: random.Random) -> str:
    operator = random.choice(_OPERATORS)
    right = random.choice(_RIGHT) if operator else ""
    return f"#({random.choice(_LEFT)}{operator}{right}){random.choice(['', '', '#'])}"


def questions(random: random.Random) -> Iterator[Question]:
    """Every single step on every document, queries, and random walks."""
    for document in _DOCUMENTS:
        for step in _STEPS:
            yield {"json": document, "path": step}
        for _ in range(60):
            steps = [
                random.choice(_STEPS) if random.random() < 0.7 else _query(random) for _ in range(random.randint(1, 4))
            ]
            path = steps[0] + "".join(random.choice("...|") + step for step in steps[1:])
            yield {"json": document, "path": path}
    lists = ['{"l":["b","a","c","x","",null,1,"1",true,false,2.5,{"a":"x"},{"a":1},{"b":"u","n":[1,7,8]}]}']
    for left in _LEFT:
        for operator in _OPERATORS[:-1]:
            for right in random.sample(_RIGHT, 4):
                yield {"json": lists[0], "path": f"l.#({left}{operator}{right})#"}
