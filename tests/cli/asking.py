"""Commands that ask a run, called in this process: their words, what they said, their exit code."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from click.testing import CliRunner

from argosy.cli.main import main
from tests.cli.running import Run


@dataclass(frozen=True)
class Said:
    """What a command said. ``text`` is standard output, ``errors`` standard error."""

    code: int
    text: str
    errors: str

    @property
    def json(self) -> Any:
        """Standard output, which is one JSON document."""
        return json.loads(self.text)

    @property
    def lines(self) -> list[Any]:
        """Standard output, which is a JSON document a line."""
        return [json.loads(line) for line in self.text.splitlines()]


def call(*words: str, given: str = "", env: dict[str, str | None] | None = None) -> Said:
    """Call ``argosy`` with these words; ``given`` is its standard input."""
    clean: dict[str, str | None] = {"ARGOSY_API": None, "ARGOSY_TOKEN": None, **(env or {})}
    result = CliRunner().invoke(main, list(words), input=given, env=clean)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Said(result.exit_code, result.stdout, result.stderr)


def ask(run: Run, *words: str, given: str = "", code: int = 0) -> Said:
    """Call ``argosy`` with these words about this run; fails if it ends with another code."""
    said = call(*words, "--data", str(run.folder / "data"), given=given)
    assert said.code == code, f"{words} ended with {said.code}:\n{said.text}{said.errors}\n{run.tail()}"
    return said
