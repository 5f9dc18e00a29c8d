"""Every language answers as the Go library that Argo Events pins: thousands of questions, read from ``tests/golden``.

Where there is a Go, the stored answers are asked for again, so that nobody can mend a test by its expectation."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from tests.golden import files, ours
from tests.golden.differences import DIFFERENCES
from tests.golden.oracle import Oracle, available

# expr has its own test, which knows its values and functions.
LANGUAGES = [name for name in files.languages() if name in ours.LANGUAGES]

_ORDERS = 40


def _shown(question: files.Question, mine: files.Answer, theirs: files.Answer) -> str:
    return "\n".join(json.dumps(part, ensure_ascii=False)[:300] for part in (question, mine, theirs))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_answers_are_those_of_the_go_library_but_for_the_listed_ones(language: str) -> None:
    # Given the questions to this language, with the answers of the library
    golden = files.read(language)
    differing, listed, texts = set(), set(), {}
    for number, (question, theirs) in enumerate(golden.rows):
        # When we are asked
        mine = ours.answer(language, golden.whole(question))
        texts[number] = _shown(question, mine, theirs)
        if not ours.agree(mine, theirs):
            differing.add(number)
        if any(difference.finds(language, question) for difference in DIFFERENCES):
            listed.add(number)
    # Then we say the same, except where a difference is listed, and there we do not
    assert [texts[number] for number in sorted(differing - listed)[:20]] == []
    assert [texts[number] for number in sorted(listed - differing)[:20]] == []


@pytest.mark.parametrize(
    "difference", DIFFERENCES, ids=lambda difference: f"{difference.language}: {difference.reason}"
)
def test_a_listed_difference_is_one(difference: object) -> None:
    row = next(row for row in DIFFERENCES if row is difference)
    assert any(row.finds(row.language, question) for question, _ in files.read(row.language).rows)


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    if not available():
        if os.environ.get("CI"):
            pytest.fail("CI has to have Go, to ask the libraries again")
        pytest.skip("the Go libraries are not asked again: install Go 1.26 to have it done")
    with Oracle() as running:
        yield running


@pytest.mark.parametrize("language", files.languages())
def test_the_go_library_still_gives_the_stored_answers(language: str, oracle: Oracle) -> None:
    golden = files.read(language)

    def still(question: files.Question, stored: files.Answer) -> bool:
        # Several times, because Go goes through a map in a new order each time, and some questions show it.
        return any(oracle.ask(language, golden.whole(question)) == stored for _ in range(_ORDERS))

    changed = [
        _shown(question, stored, oracle.ask(language, golden.whole(question)))
        for question, stored in golden.rows
        if not still(question, stored)
    ]
    assert changed[:20] == []
