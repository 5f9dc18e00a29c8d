"""govaluate: every operator between every two kinds of values, literals of every form, and random nesting."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.golden.files import Question

_WITH = {"with": "values"}
_BINARY = [
    "+", "-", "*", "/", "%", "**", "&", "|", "^", "<<", ">>", ">", ">=", "<", "<=", "==", "!=", "=~", "!~", "&&", "||",
    "??", "in", "?", ":", ",", "=", "<>", "and", "===",
]  # fmt: skip
_NAMES = ["a", "b", "x", "y", "s", "t", "n", "l", "m", "big", "neg", "d"]
_LITERALS = [
    "0", "1", "2.5", "-3", "1e3", ".5", "1.", "0x1F", "0xZ", "0b11", "017", "1_000", "1.2.3", "12345678901234567890",
    '"x"', "'x'", '"it\'s"', "'a\"b'", '"a\\"b"', "'a\\'b'", '"\\n"', '"é"', '""', '"unclosed', "true", "false", "nil",
    "TRUE", "`x`", "(1, 2)", "()", "(1)", "((1, 2), 3)", "[foo-bar]", "[a b]", "foo\\-bar", "a\\ b", "foo-bar", "[a",
    "[]", "m.k", "m.nope", "s.len", "x.y.z", "missing", "@", "#", "$x", "_x", "é", "nil ?? 1", "f(1)", "x()", "- x",
    "!a", "!!a", "--x", "~x", "~2.7", "!x", "-s", "-a", "~s",
]  # fmt: skip
_DATES = [
    "2024-01-02", "2024-1-2", "2024-01-02 03:04", "2024-01-02 03:04:05", "2024-01-02T03:04:05Z",
    "2024-01-02T03:04:05+02:00", "2024-01-02T03:04:05.999Z", "2024-01-02T03", "2024-01-02T03:04", "2024-01-02 03:04:05 -0700",
    "Mon Jan  2 15:04:05 2024", "Mon Jan 2 15:04:05 MST 2024", "02 Jan 24 15:04 MST", "Monday, 02-Jan-24 15:04:05 MST",
    "Mon, 02 Jan 2024 15:04:05 MST", "3:04PM", "15:04", "2024-13-01", "2024-02-30", "20240102", "01/02/2024", "2024-01",
    "2024", "Jan _2 15:04:05", "2006-01-02 15:04:05.000000", "Tue Jan  2 15:04:05 UTC 2024", "2024-01-02T03:04Z",
    "2024-01-02T03:04:05", "2024-01-02T03:04:05+0200",
]  # fmt: skip


def _nested(random: random.Random, depth: int) -> str:
    if depth == 0 or random.random() < 0.2:
        return random.choice(_NAMES) if random.random() < 0.6 else random.choice([*_LITERALS[:8], '"x"', "true"])
    if random.random() < 0.15:
        return random.choice(["!", "-", "~"]) + _nested(random, depth - 1)
    if random.random() < 0.15:
        return " ".join((_nested(random, depth - 1), "?", _nested(random, depth - 1), ":", _nested(random, depth - 1)))
    text = f"{_nested(random, depth - 1)} {random.choice(_BINARY[:23])} {_nested(random, depth - 1)}"
    return f"({text})" if random.random() < 0.5 else text


def questions(random: random.Random) -> Iterator[Question]:
    """Literals, dates, operators between kinds, then what grows from them."""
    for text in _LITERALS + _NAMES:
        yield {**_WITH, "expr": text}
    for date in _DATES:
        yield {**_WITH, "expr": f'"{date}"'}
        yield {**_WITH, "expr": f"'{date}' == \"{date}\""}
    for operator in _BINARY:
        for _ in range(16):
            left, right = random.choice(_NAMES), random.choice(_NAMES)
            yield {**_WITH, "expr": f"{left} {operator} {right}"}
        yield {**_WITH, "expr": f"x{operator}2"}
        yield {**_WITH, "expr": f"1 {operator}"}
        yield {**_WITH, "expr": f"{operator} 1"}
    for pattern in ("^a", "b$", "(a|x)c?", "[", "A", "(?i)A", "\\\\d", "a{2}", ".", ""):
        yield {**_WITH, "expr": f's =~ "{pattern}"'}
        yield {**_WITH, "expr": f'"ABC" !~ "{pattern}"'}
    for _ in range(500):
        yield {**_WITH, "expr": _nested(random, random.randint(1, 4))}
    for _ in range(100):
        text = _nested(random, 2)
        cut = random.randrange(len(text) + 1)
        yield {**_WITH, "expr": text[:cut] + random.choice(["", "(", ")", ",", "?", "!", '"', "\\"]) + text[cut + 1 :]}
