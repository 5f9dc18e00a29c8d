"""The commands in ``docs/how-to/test-your-sensors.md`` that fail, fail as the page shows; those that do not are run with all others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.examples import snippets
from tests.examples.snippets import ROOT

PAGE = ROOT / "docs" / "how-to" / "test-your-sensors.md"
FAILING = [snippet for snippet in snippets.read(PAGE) if snippet.mark.startswith("fails: ")]


def test_the_page_shows_a_failure() -> None:
    assert FAILING


@pytest.mark.parametrize("snippet", FAILING, ids=str)
def test_a_failure_looks_as_the_page_shows(snippet: snippets.Snippet, tmp_path: Path) -> None:
    # Given the files that the page holds
    for name, text in snippets.files(PAGE).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    code = int(snippet.mark.removeprefix("fails: "))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for step in snippets.steps(snippet):
        # When the command is typed
        done = subprocess.run(
            ["bash", "-c", step.command],
            cwd=tmp_path,
            env={**os.environ, "PATH": path, "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        # Then it ends and prints as shown
        assert done.returncode == code, done.stdout
        assert snippets.missing(step.shows, done.stdout) is None, done.stdout


def test_every_key_of_the_format_is_on_the_page() -> None:
    # Given every name that a test file can hold
    from argosy.testing.format import schema

    whole = schema()
    models = [whole, *whole["$defs"].values()]
    names = {name for model in models for name in model.get("properties", {})}
    # Then the page explains it
    text = PAGE.read_text()
    assert sorted(name for name in names if f"`{name}`" not in text and f"{name}:" not in text) == []
