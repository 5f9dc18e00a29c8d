"""Every example on the page of expr is run, and is what the Go library says; no operator and no function is left out."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import sys
from typing import Any

import pytest

from argosy.errors import LangError
from argosy.lang import _gotemplate_time as gotime
from argosy.lang import expr
from argosy.lang._expr_parser import _BINARY, _UNARY
from argosy.lang._expr_values import AnyMap, Groups
from argosy.lang._gotemplate_methods import Duration
from argosy.sources import _filter
from tests.examples import languages
from tests.examples.languages import FOLDER, Example
from tests.golden import typed
from tests.golden.oracle import Oracle, available

PAGE = FOLDER / "expr.md"
EXAMPLES = list(languages.examples(PAGE))


def value(example: Example) -> Any:
    question = example.question
    return expr.compile(question["expr"]).evaluate(_filter.environment(question["data"]))


def shown(example: Example) -> str:
    try:
        found = value(example)
    except LangError as error:
        return f"fails: {error.message}"
    return json.dumps(_plain(found), ensure_ascii=False)


def _plain(found: Any) -> Any:
    if isinstance(found, dt.datetime):
        return gotime.format(found, "2006-01-02T15:04:05.999999999Z07:00")
    if isinstance(found, (Duration, AnyMap, Groups)):
        return str(found)
    return found


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_an_example_gives_what_the_page_shows(example: Example) -> None:
    assert example.result, "say python -m tests.examples.test_expr_page"
    assert shown(example) == example.result


def test_the_examples_are_what_the_go_library_says() -> None:
    if not available():
        if os.environ.get("CI"):
            pytest.fail("CI has to have Go, to ask the library")
        pytest.skip("the Go library is not asked about the examples: install Go 1.26 to have it done")
    others = []
    with Oracle() as oracle:
        for example in EXAMPLES:
            theirs = oracle.ask("expr", example.question)
            fails = example.result.startswith("fails: ")
            if fails != ("error" in theirs) or not (fails or typed.same(typed.typed(value(example)), theirs["ok"])):
                others.append((str(example), theirs))
    assert others == []


def test_every_function_and_every_operator_has_an_example() -> None:
    first = re.findall(r"^\| `([^`]+)` \|", PAGE.read_text(), re.MULTILINE)
    documented = {name.replace("\\", "") for name in first}
    assert set(expr.BUILTINS) - documented == set()
    assert set(expr.FUNCTIONS) - documented == set()
    assert ({*_BINARY, *_UNARY, "? :", "let", "not in"}) - documented == set()


def _fill() -> None:
    lines = PAGE.read_text().splitlines()
    for example in EXAMPLES:
        if not example.result:
            lines[example.line - 1] = (
                re.sub(r"\|\s*\|$", "", lines[example.line - 1]) + f"| {languages.code(shown(example))} |"
            )
    PAGE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(_fill())
