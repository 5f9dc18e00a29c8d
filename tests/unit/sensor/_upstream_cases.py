"""Questions to Argo Events' own functions, and the file of their answers.

``tools/oracle/sensors`` is a small Go program that calls ``dependencies.Filter``, ``dependencies.ApplyTransform``, ``triggers.ApplyParams``
and ``triggers.ConstructPayload`` of a pinned commit. To ask again (needs Go, and minutes to build)::

    (cd tools/oracle/sensors && go build -o /tmp/sensors .)
    python -m tests.unit.sensor._upstream_cases /tmp/sensors
"""

from __future__ import annotations

import base64
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

ANSWERS = Path(__file__).with_name("upstream.jsonl")
"""One object a line: a question, and beside it the answer under ``answer``."""
_MANY = 1500
_SEED = 20260701

_PATHS = ["a", "b", "c", "d", "a.b", "a.0", "a.b.c", "a.#", "b.#.a", "[a,b]", "{a,c}", "@this", "a.1.b", "e"]
_PATHS += ['a.#(b=="a")', "a.#(>1)#", "b|a", "*", "a.?", "a,b", "a|@keys", "c.@reverse"]
_TEXTS = [
    "",
    "a",
    "b",
    "true",
    "T",
    "false",
    "0",
    "1",
    "1.5",
    "abc",
    "main",
    "refs/heads/main",
    "<no value>",
    "aGVsbG8=",
]
_TEXTS += ["3.14", "x\ny", "é", "<&>", "hello world", "2024-01-02", "1e3", "0x10", "nan", "-0", " 1"]
_ODD = [b"null", b"a", b"{", b"[1]", b'"x"', b"1", b'{"a":1} x', b'{"a":1,"a":2}', rb'{"a":"\ud800"}', b' {"a" : 1 } ']
_VALUES = {
    "string": [
        "a",
        "^a$",
        "b",
        "main",
        "^refs/heads/",
        "true",
        ".",
        "^$",
        "1",
        "(?i)HELLO",
        "[ab]+",
        "x.y",
        r"^\{",
        "null",
    ],
    "number": ["0", "1", "1.5", "-3", "100", "5", "1e3", "3.14"],
    "bool": ["true", "false", "1", "f", "T"],
}
_FILTER_TEMPLATES = [
    "{{ .Input }}",
    "{{ b64dec .Input }}",
    "{{ .Input | upper }}",
    "{{ .X }}",
    "{{ .Input | trunc 3 }}",
]
_FILTER_TEMPLATES += ['{{ if eq .Input "a" }}1{{ end }}', "{{ len .Input }}", "{{ .Input | int }}"]
_EXPRS = ["x == 1", "x == 'a'", "x != y", "x > 1", "x =~ 'a'", "x", "!x", "x + 1", "x == y", "x && y", "x || true"]
_EXPRS += ["x == true", "y > 0 || x == 'b'", "x in ('a','b')", "x ?? 'd' == 'd'", "z == 1"]
_CONTEXTS = [
    {"type": "webhook"},
    {"source": "web", "subject": "in"},
    {"type": "x"},
    {"datacontenttype": "application/json"},
]
_WINDOWS = [
    {"start": "09:00:00", "stop": "17:00:00"},
    {"start": "22:00:00", "stop": "06:00:00", "timezone": "America/New_York"},
    {"start": "00:30:00", "stop": "03:00:00", "timezone": "Europe/Berlin"},
]
_SCRIPTS = ["return event.a == 1", "return event.b ~= nil", "if event.a then return true end", "return #event.c > 1"]
_SCRIPTS += ["error('x')", "return event.a.b == 'a'", "return true, event.d"]
_TIMES = ["2026-01-01T12:00:00Z", "2026-07-15T02:00:00.5Z", "2026-10-25T00:40:00Z", "2026-10-25T01:40:00Z"]
_JQ = [
    ".",
    "{a:.a}",
    ".a += 1",
    ".b |= tostring",
    ".a.b",
    ".[]",
    "empty",
    "{a:1},{b:2}",
    ".c = (.c // []) + [1]",
    "del(.a)",
]
_JQ += ["[.]", ".a as $x | {x:$x}", "{n: (.a|length)}", ". + {e: .d}"]
_LUA = [
    "return event",
    "event.a = 1 return event",
    "event.z = {} return event",
    "return {event.a, event.b}",
    "return 'x'",
]
_LUA += [
    "event.z = setmetatable({}, {__is_array=true}) return event",
    "event.a = nil return event",
    "return event, {q=1}",
]
_LUA += ["event.l = {1,nil,3} return event", "return {[2]='x', y='z'}", "event.n = 1.5e10 return event"]
_DATA_TEMPLATES = [
    "{{ .Input.a }}",
    "{{ .Input.b | upper }}",
    "{{ .Input.c.a }}",
    "{{ nope }}",
    "{{ .Input | toJson }}",
]
_DATA_TEMPLATES += ["x{{ range $k, $v := .Input }}{{ $k }}{{ end }}"]
_DESTS = ["x", "a", "a.b", "list.0", "list.-1", "deep.er.x", "0", "s", "m.:1", "a\\.b"]
_DOCUMENTS = ['{"a":"A","s":"t","list":[1,2]}', '{"a": {"b": 1.0}, "x":[ ] }', "{}"]


class _Questions:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def _often(self, chance: float) -> bool:
        return self.random.random() < chance

    def _value(self, depth: int = 0) -> Any:
        kind, choice = self.random.randrange(14), self.random.choice
        if kind < 4:
            return (
                None,
                choice([True, False]),
                choice([0, 1, 2, 5, -3, 100, 2**53 - 1]),
                choice([0.5, 1.0, -2.25, 3.14, 1e21, 1e-7]),
            )[kind]
        if kind < 8 or depth > 2:
            return choice(_TEXTS)
        if kind < 11:
            return {choice("abcde"): self._value(depth + 1) for _ in range(self.random.randrange(4))}
        return [self._value(depth + 1) for _ in range(self.random.randrange(4))]

    def _data(self) -> bytes | None:
        kind = self.random.randrange(20)
        if kind < 2:
            return self.random.choice(_ODD) if kind else None
        data = {key: self._value() for key in self.random.sample("abcde", self.random.randrange(6))}
        spaces = self.random.choice([(",", ":"), (", ", ": ")])
        return json.dumps(data, ensure_ascii=self._often(0.5), separators=spaces).encode()

    def _clause(self) -> dict[str, Any]:
        choice = self.random.choice
        kind = choice(["string", "string", "number", "bool"])
        clause: dict[str, Any] = {
            "path": choice(_PATHS),
            "type": kind,
            "comparator": choice(["", "", "=", "!=", ">", ">=", "<", "<="]),
        }
        clause["value"] = self.random.sample(_VALUES[kind], choice([1, 1, 1, 2, 3]))
        if self._often(0.12):
            clause["template"] = choice(_FILTER_TEMPLATES)
        return clause

    def _expr(self) -> dict[str, Any]:
        names = self.random.sample("xyz", self.random.choice([1, 1, 2]))
        fields = [{"name": name, "path": self.random.choice(_PATHS[:12])} for name in names]
        return {"expr": self.random.choice(_EXPRS), "fields": fields}

    def _filters(self) -> dict[str, Any]:
        choice, filters = self.random.choice, dict[str, Any]()
        if self._often(0.4):
            filters["exprs"] = [self._expr() for _ in range(choice([1, 1, 2, 3]))]
            filters["exprLogicalOperator"] = choice(["", "and", "or"])
        if self._often(0.7):
            filters["data"] = [self._clause() for _ in range(choice([1, 1, 2, 3]))]
            filters["dataLogicalOperator"] = choice(["", "and", "or"])
        for word, chance, pool in (("context", 0.2, _CONTEXTS), ("time", 0.2, _WINDOWS), ("script", 0.15, _SCRIPTS)):
            if self._often(chance):
                filters[word] = choice(pool)
        return filters

    def _parameter(self) -> dict[str, Any]:
        choice = self.random.choice
        src: dict[str, Any] = {"dependencyName": "d"}
        pools: list[tuple[str, float, list[Any]]] = [
            ("dataKey", 0.6, _PATHS),
            ("dataTemplate", 0.4, _DATA_TEMPLATES),
            ("contextKey", 0.3, ["id", "time", "subject", "zz"]),
            ("contextTemplate", 0.3, ["{{ .Input.source }}", "{{ .Input.time }}"]),
            ("value", 0.4, ["dflt", ""]),
            ("useRawData", 0.4, [True]),
        ]
        src.update({word: choice(pool) for word, chance, pool in pools if self._often(chance)})
        return {"src": src, "dest": choice(_DESTS), "operation": choice(["", "", "overwrite", "append", "prepend"])}

    def one(self) -> dict[str, Any]:
        choice, data = self.random.choice, self._data()
        asked: dict[str, Any] = {"do": choice(["filter", "filter", "filter", "transform", "apply", "payload"])}
        asked |= {"time": choice(_TIMES)} | ({} if data is None else {"data": base64.b64encode(data).decode()})
        if asked["do"] == "filter":
            return asked | {"filters": self._filters(), "operator": choice(["", "and", "or"])}
        if asked["do"] == "transform":
            return asked | {"transform": {"jq": choice(_JQ)} if self._often(0.5) else {"script": choice(_LUA)}}
        asked |= {"params": [self._parameter() for _ in range(choice([1, 2, 3]))], "missing": self._often(0.1)}
        return asked | ({"document": choice(_DOCUMENTS)} if asked["do"] == "apply" else {})


def questions(count: int, seed: int) -> list[dict[str, Any]]:
    """So many questions; the same for the same seed."""
    source = _Questions(seed)
    return [source.one() for _ in range(count)]


def ask(oracle: str, asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the Go program answers to each."""
    text = "\n".join(json.dumps(one) for one in asked)
    done = subprocess.run([oracle], input=text, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def main(oracle: str) -> None:
    """Write the file of answers anew."""
    asked = questions(_MANY, _SEED)
    lines = [{**one, "answer": answer} for one, answer in zip(asked, ask(oracle, asked), strict=True)]
    ANSWERS.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


if __name__ == "__main__":
    main(sys.argv[1])
