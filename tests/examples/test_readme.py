"""The README's example does what the README shows."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.examples import snippets
from tests.examples.snippets import ROOT

_README = ROOT / "README.md"
_PATIENCE_SECONDS = 60


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _ring(port: int) -> str:
    """Post to the bell; empty while nobody listens."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/bell",
        data=json.dumps({"guest": "Anna"}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
            return str(answer.read().decode())
    except urllib.error.URLError:
        return ""


def test_the_manifest_has_twelve_lines_and_tells_the_story_shown(tmp_path: Path) -> None:
    # Given the manifest, on a port that is free here
    manifest = snippets.files(_README)["hello.yaml"]
    assert len(manifest.splitlines()) == 12
    port = _free_port()
    (tmp_path / "hello.yaml").write_text(manifest.replace('"12000"', f'"{port}"'))
    (shown,) = (s.text.splitlines() for s in snippets.read(_README) if s.mark == "shown")
    log = tmp_path / "log"
    # When it runs
    command = [
        sys.executable,
        "-m",
        "argosy.cli.main",
        "run",
        "hello.yaml",
        "--admin",
        "off",
        "--log-format=text",
    ]
    with log.open("wb") as output:
        environment = {**os.environ, "NO_COLOR": "1"}
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=output, stderr=output)
    try:
        # And the bell is rung
        end = time.monotonic() + _PATIENCE_SECONDS
        while not (answer := _ring(port)):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        assert answer == "success"
        # Then the story is told, in this order, each line after a time of day
        while (line := _untold(shown, log.read_text())) is not None:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, f"{line!r} is not in\n{log.read_text()}"
            time.sleep(0.05)
        # And it drains when it is told to
        process.terminate()
        assert process.wait(_PATIENCE_SECONDS) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


def _untold(shown: list[str], log: str) -> str | None:
    sentences = re.sub(r"^\d\d:\d\d:\d\d ", "", log, flags=re.MULTILINE)
    return snippets.missing(tuple(shown), sentences)


def test_both_commands_are_targets_that_make_knows() -> None:
    text = _README.read_text()
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for command in ("make run", "make test", "make servers"):
        assert f"`{command}`" in text
        assert f"{command} " in listed
