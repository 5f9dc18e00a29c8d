"""``argosy run`` as a process: what it listens on, what it survives, how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import Run, free_port, http

MANIFESTS = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: web}}
spec:
  webhook:
    in: {{port: "{port}", endpoint: /in, method: POST}}
---
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: keep}}
spec:
  dependencies:
    - {{name: in, eventSourceName: web, eventName: in}}
  triggers:
    - template:
        name: write
        python:
          path: {folder}
          handler: kept_handlers:keep
          args: {{folder: {folder}}}
"""

HANDLERS = """
from pathlib import Path


def keep(events, folder):
    number = events["in"].data["body"]["n"]
    with (Path(folder) / "done.txt").open("a") as out:
        out.write(f"{number}\\n")
    return f"kept {number}"
"""


class _Run(Run):
    """A webhook whose numbers a Python function writes to a file."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_port()
        (folder / "kept_handlers.py").write_text(HANDLERS)
        self.manifest = self.write("all.yaml", MANIFESTS.format(port=self.port, folder=folder))

    def post(self, number: int) -> int:
        return http(f"http://127.0.0.1:{self.port}/in", json.dumps({"n": number}).encode())[0]

    def done(self) -> list[int]:
        path = self.folder / "done.txt"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def until_done(self, numbers: set[int]) -> None:
        self.until(lambda: numbers <= set(self.done()), f"not all of {numbers} done")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[_Run]:
    run = _Run(tmp_path)
    yield run
    if run.process is not None:
        run.end(signal.SIGKILL)


def test_a_request_becomes_an_action_and_sigterm_drains(run: _Run) -> None:
    run.start()
    run.until_ready()

    assert run.post(1) == 200
    run.until_done({1})

    status, metrics = run.get("/metrics")
    assert status == 200
    assert 'argo_events_events_sent_total{event_name="in",eventsource_name="web",namespace="default"} 1.0' in metrics
    assert run.end() == 0
    assert "drained" in run.log.read_text()


def test_a_changed_manifest_is_followed_and_a_broken_one_changes_nothing(run: _Run) -> None:
    run.start()
    run.until_ready()
    run.post(1)
    run.until_done({1})

    # When the file is broken, what ran goes on
    good = run.manifest.read_text()
    run.manifest.write_text(good.replace("spec:", "spec: [", 1))
    run.until(lambda: "error:" in run.log.read_text().lower())
    assert run.post(2) == 200
    run.until_done({2})

    # And when it is mended with another endpoint, the new endpoint is served
    run.manifest.write_text(good.replace("/in,", "/other,"))
    run.until_said("/other")


def test_nothing_to_run_is_said_and_is_exit_code_1(tmp_path: Path) -> None:
    empty = subprocess.run(
        [sys.executable, "-m", "argosy.cli.main", "run", str(tmp_path)], capture_output=True, text=True, timeout=60
    )

    assert empty.returncode == 1
    assert "no EventSource and no Sensor" in empty.stderr
