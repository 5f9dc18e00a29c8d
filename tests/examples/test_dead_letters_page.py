"""The page on dead letters is typed, command by command, beside a real run and a receiver that opens in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.receiving import receiving
from tests.cli.running import Run, free_port
from tests.examples import snippets
from tests.examples.snippets import ROOT

PAGE = ROOT / "docs" / "how-to" / "dead-letters.md"
ID = "0123456789ab"
"""Stands on the page for the id of the action."""
PATIENCE_SECONDS = 30


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = Run(tmp_path)
    yield run
    run.end(signal.SIGKILL)


def test_the_commands_of_the_page_do_what_they_show(run: Run) -> None:
    # Given the page's manifest, on ports that are free here
    closed, port = free_port(), free_port()
    text = snippets.files(PAGE)["orders.yaml"].replace('"12000"', f'"{port}"')
    run.write("orders.yaml", text.replace("127.0.0.1:9000", f"127.0.0.1:{closed}"))
    run.start()
    run.until_ready()
    here = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    api = json.loads((run.folder / "data" / "api.json").read_text())
    environment = {**os.environ, "PATH": here, "ARGOSY_API": api["url"], "ARGOSY_TOKEN": api["token"], "NO_COLOR": "1"}

    def typed(command: str) -> str:
        command = command.replace(":12000", f":{port}").replace(ID, found[0] if found else ID)
        done = subprocess.run(
            ["bash", "-c", command],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}\n{run.tail()}"
        return done.stdout.replace(f":{closed}", ":9000")

    found: list[str] = []
    blocks = [snippet for snippet in snippets.read(PAGE) if snippet.mark.startswith("with the run")]
    assert len(blocks) >= 6
    with ExitStack() as stack:
        opened = False
        for block in blocks:
            if block.mark.endswith("open") and not opened:
                # The cause is mended: the manifest names a receiver that is there
                opened = True
                receiver = stack.enter_context(receiving())
                run.write("orders.yaml", text.replace("http://127.0.0.1:9000", receiver.url))
                run.until_said("the manifests changed")
                run.until_ready()
            for step in snippets.steps(block):
                # A queue does its work in its own time: ask again until it says what the page shows
                deadline = time.monotonic() + PATIENCE_SECONDS
                while True:
                    printed = typed(step.command)
                    if not found and (rows := [line for line in printed.splitlines() if " dead " in line]):
                        found.append(rows[0].split()[0])
                    shows = tuple(line.replace(ID, found[0] if found else ID) for line in step.shows)
                    line = snippets.missing(shows, printed)
                    if line is None:
                        break
                    again = step.command.startswith("argosy actions list")
                    assert again, f"{step.command} does not print {line!r}:\n{printed}"
                    assert time.monotonic() < deadline, f"{step.command} does not print {line!r}:\n{printed}"
                    time.sleep(0.05)
        assert receiver.bodies() == ['{"total":"17"}']
