"""``make golden``: asks the oracle every question and writes the golden files anew.

``make golden ARGS="gjson lua"`` does these only. Generated questions come from ``cases/<language>.py`` with a
fixed seed, so a second run changes nothing. A question whose answer is different the second time (Go walks
its maps in random order) is left out."""

from __future__ import annotations

import importlib
import json
import random
import sys
from typing import Any

from tests.golden import files
from tests.golden.oracle import Oracle

_AGAIN = 3


def renew(language: str, oracle: Oracle) -> files.Golden:
    """The golden file of ``language`` with today's questions and answers."""
    golden = files.read(language)
    golden.picked = [(question, oracle.ask(language, golden.whole(question))) for question, _ in golden.picked]
    try:
        cases: Any = importlib.import_module(f"tests.golden.cases.{language}")
    except ModuleNotFoundError:
        return golden  # a language whose questions are all picked
    seen = {json.dumps(question, sort_keys=True) for question, _ in golden.picked}
    golden.generated = []
    for question in cases.questions(random.Random(language)):
        key = json.dumps(question, sort_keys=True)
        if key in seen:
            continue
        seen.add(key)
        answer = oracle.ask(language, golden.whole(question))
        if answer == {"error": "timeout"}:
            continue  # how long is too long depends on the machine
        if all(oracle.ask(language, golden.whole(question)) == answer for _ in range(_AGAIN)):
            golden.generated.append((question, answer))
    return golden


def main() -> None:
    """Writes the files of the languages that are named, or of all."""
    with Oracle() as oracle:
        for language in sys.argv[1:] or files.languages():
            golden = renew(language, oracle)
            files.write(golden)
            print(f"{language}: {len(golden.picked)} picked and {len(golden.generated)} generated cases")


if __name__ == "__main__":
    main()
