"""What the API server sends is read, however deep it is nested."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from argosy.kubernetes._answers import read


def deep(levels: int, opens: str, closes: str) -> str:
    return opens * levels + "0" + closes * levels


@pytest.mark.parametrize(("opens", "closes"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_what_is_too_deep_is_null_and_what_stands_beside_it_is_there(opens: str, closes: str) -> None:
    text = f'{{"before": "{{[\\"\\\\", "deep": {deep(3000, opens, closes)}, "after": [{{"b": [1]}}, "]}}"]}}'
    found: Any = read(text.encode())
    assert (found["before"], found["after"]) == ('{["\\', [{"b": [1]}, "]}"])
    inner, levels = found["deep"], 0
    while inner is not None:
        inner, levels = inner[0] if isinstance(inner, list) else inner["a"], levels + 1
    assert levels > 300


def test_what_can_be_read_is_read_as_it_is() -> None:
    text = deep(500, "[", "]")
    assert read(text.encode()) == orjson.loads(text)


@pytest.mark.parametrize("text", ["", "<html>", "{", "]" * 3000, "[" * 3000, '"' + "[" * 3000])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        read(text.encode())
