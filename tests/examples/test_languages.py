"""Every example in the reference of the languages is run, and is what the Go library says; nothing is left out."""

from __future__ import annotations

import os
import re

import pytest

from argosy.lang import _gjson_paths, sprig
from argosy.lang._gotemplate_functions import BUILTINS
from tests.examples import languages
from tests.examples.languages import FOLDER, Example
from tests.golden import ours
from tests.golden.oracle import Oracle, available

EXAMPLES = [example for page in sorted(FOLDER.glob("*.md")) for example in languages.examples(page)]


@pytest.mark.parametrize("example", [example for example in EXAMPLES if example.language in ours.LANGUAGES], ids=str)
def test_an_example_gives_what_the_page_shows(example: Example) -> None:
    assert example.result, "say python -m tests.examples.languages"
    assert languages.agrees(example), languages.shown(example)


def test_the_examples_are_what_the_go_libraries_say() -> None:
    if not available():
        if os.environ.get("CI"):
            pytest.fail("CI has to have Go, to ask the libraries")
        pytest.skip("the Go libraries are not asked about the examples: install Go 1.26 to have it done")
    others = []
    with Oracle() as oracle:
        for example in EXAMPLES:
            if example.language not in ours.LANGUAGES or example.result.startswith("like "):
                continue
            theirs = oracle.ask(example.language, example.question)
            if not ours.agree(ours.answer(example.language, example.question), theirs):
                others.append((str(example), theirs))
    # The pages mark what is another one there with a star.
    assert [line for line, _ in others] == [str(example) for example in EXAMPLES if _starred(example)], others


def _starred(example: Example) -> bool:
    return example.page.read_text().splitlines()[example.line - 1].startswith(f"| {languages.STAR}")


def _documented(page: str) -> set[str]:
    """The names in the first column of the page's tables."""
    return set(re.findall(r"^\| (?:\\\* )?`([^`]+)` \|", (FOLDER / page).read_text(), re.MULTILINE))


def test_every_function_of_templates_has_an_example() -> None:
    assert (set(sprig.FUNCTIONS) | set(sprig.REFUSED) | set(BUILTINS)) - _documented("templates.md") == set()


def test_every_modifier_of_gjson_has_an_example() -> None:
    assert {f"@{name}" for name in _gjson_paths.MODIFIERS} - _documented("gjson.md") == set()
