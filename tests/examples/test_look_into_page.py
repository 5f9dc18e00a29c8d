"""The page on looking into a running system is typed, command by command, beside a real run; the page of the API names all of it."""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from argosy.runtime.api import ROOT as API_ROOT
from argosy.runtime.api import TOPICS
from tests.cli.running import Run, free_port
from tests.examples import snippets
from tests.examples.snippets import ROOT, Snippet, Step

PAGE = ROOT / "docs" / "how-to" / "look-into-a-running-system.md"
LARGE, SMALL = "eeeeeeee", "ffffffff"
"""Stand on the page for the ids of the two orders."""
PATIENCE_SECONDS = 30


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = Run(tmp_path)
    yield run
    run.end(signal.SIGKILL)


class Reader:
    """Somebody who types what the page says."""

    def __init__(self, run: Run, port: int) -> None:
        self.run = run
        self.port = port
        here = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        api = json.loads((run.folder / "data" / "api.json").read_text())
        self.environment = {
            **os.environ,
            "PATH": here,
            "ARGOSY_API": api["url"],
            "ARGOSY_TOKEN": api["token"],
            "NO_COLOR": "1",
        }
        self.ids: dict[str, str] = {}

    def real(self, text: str) -> str:
        """Words of the page as they are here."""
        for ours, theirs in self.ids.items():
            text = text.replace(ours, theirs)
        return text.replace(":12000", f":{self.port}")

    def types(self, step: Step, code: int) -> None:
        # Actions take their own time: ask again until the run says what the page shows
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            done = subprocess.run(
                ["bash", "-c", self.real(step.command)],
                cwd=self.run.manifests,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=60,
            )
            line = snippets.missing(tuple(self.real(line) for line in step.shows), done.stdout)
            if done.returncode == code and line is None:
                return
            waiting = step.command.startswith(("argosy explain", "argosy replay")) and "--yes" not in step.command
            said = (
                f"{step.command} ended with {done.returncode} and without {line!r}:\n{done.stdout}\n{self.run.tail()}"
            )
            assert waiting, said
            assert time.monotonic() < deadline, said
            time.sleep(0.05)

    def learn_ids(self) -> None:
        """What the page calls the two orders."""
        done = subprocess.run(
            ["argosy", "events", "list"], env=self.environment, capture_output=True, text=True, check=True, timeout=60
        )
        small, large = [line.split()[2] for line in done.stdout.splitlines()]
        self.ids = {LARGE: large, SMALL: small}


def test_the_commands_of_the_page_do_what_they_show(run: Run) -> None:
    # Given the page's manifest, on a port that is free here
    port = free_port()
    text = snippets.files(PAGE)["shop.yaml"].replace('"12000"', f'"{port}"')
    run.write("shop.yaml", text)
    run.start()
    run.until_ready()
    reader = Reader(run, port)
    blocks: list[Snippet] = [snippet for snippet in snippets.read(PAGE) if snippet.mark.startswith("with the run")]
    assert len(blocks) >= 8
    mended = False
    for block in blocks:
        if block.mark.endswith("mended") and not mended:
            mended = True
            run.write("shop.yaml", text.replace('["50"]', '["10"]'))
            run.until_said("the changed manifests are applied")
            run.until_ready()
        for step in snippets.steps(block):
            reader.types(step, 3 if block.mark.endswith(": 3") else 0)
        if not reader.ids:
            reader.learn_ids()
    run.until(lambda: len(run.said("did action")) == 3, "the replayed order was not shipped")


def test_the_page_of_the_api_names_every_operation_and_no_other() -> None:
    served = {
        f"{one.method} {API_ROOT}{one.path}"
        for topic in TOPICS
        for one in importlib.import_module(f"argosy.runtime.operations.{topic}").OPERATIONS
    }
    page = (ROOT / "docs" / "reference" / "api.md").read_text()
    assert set(re.findall(r"`((?:GET|POST) /\S+)`", page)) == served
