"""``argosy run --workers N``: several processes do together what one does, and a dead one costs nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import Run, free_port, http

HANDLERS = """
import os
from pathlib import Path


def keep(events, folder, sensor):
    number = events["in"].data["body"]["n"]
    with (Path(folder) / "done.txt").open("a") as out:
        out.write(f"{sensor} {number} {os.getpid()}\\n")
    return f"kept {number}"
"""

SENSORS = [f"keep-{number}" for number in range(6)]

SOURCE = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: web}}
spec:
  webhook:
    in: {{port: "{port}", endpoint: /in, method: POST}}
"""

SENSOR = """
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: {name}}}
spec:
  dependencies:
    - {{name: in, eventSourceName: web, eventName: in}}
  triggers:
    - template:
        name: write
        python: {{path: {folder}, handler: kept_handlers:keep, args: {{folder: {folder}, sensor: {name}}}}}
"""


class _Several:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = Run(folder, "--workers", "3")
        self.port = free_port()
        (folder / "kept_handlers.py").write_text(HANDLERS)
        self.run.write("source.yaml", SOURCE.format(port=self.port))
        for name in SENSORS:
            self.add(name)

    def add(self, name: str) -> None:
        self.run.write(f"{name}.yaml", SENSOR.format(name=name, folder=self.folder))

    def post(self, number: int) -> int:
        return http(f"http://127.0.0.1:{self.port}/in", json.dumps({"n": number}).encode())[0]

    def done(self) -> dict[tuple[str, int], int]:
        """By sensor and number: the process that did it last."""
        path = self.folder / "done.txt"
        words = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return {(sensor, int(number)): int(pid) for sensor, number, pid in words}

    def until_done(self, numbers: set[int], sensors: list[str] = SENSORS) -> None:
        wanted = {(sensor, number) for sensor in sensors for number in numbers}
        self.run.until(lambda: wanted <= self.done().keys(), "not all was done")


@pytest.fixture
def several(tmp_path: Path) -> Iterator[_Several]:
    several = _Several(tmp_path)
    several.run.start()
    several.run.until_ready()
    yield several
    several.run.end(signal.SIGKILL)


def _children(pid: int) -> set[int]:
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(words[1]) == pid and words[0] != "Z":
            found.add(int(folder.name))
    return found


def test_the_sensors_are_shared_and_the_metrics_are_added_up(several: _Several) -> None:
    for number in range(3):
        assert several.post(number) == 200
    several.until_done({0, 1, 2})

    # More than one process did it, none of them the parent
    pids = set(several.done().values())
    assert len(pids) > 1
    assert several.run.pid not in pids
    run = several.run
    run.until(lambda: run.metric("argo_events_action_triggered_total") == 3 * len(SENSORS))
    assert run.metric("argo_events_events_sent_total", eventsource_name="web") == 3
    assert run.metric("argosy_sensors_running") == len(SENSORS)
    assert run.metric("build_info") == 1
    # The memory is that of all processes; their beginning is that of the first
    assert run.metric("process_resident_memory_bytes") > 3 * 20e6
    assert abs(run.metric("process_start_time_seconds") - time.time()) < 3600

    # And all are drained together
    assert run.end() == 0
    assert run.said("drained")
    assert not _children(run.pid)


def test_a_sensor_that_is_added_misses_no_event_and_a_changed_one_goes_on(several: _Several) -> None:
    several.add("late")
    several.run.until(lambda: several.run.metric("argosy_sensors_running") == len(SENSORS) + 1)
    assert several.post(1) == 200
    several.until_done({1}, [*SENSORS, "late"])

    # When the source moves to another place, somewhere among the workers
    (several.run.manifests / "source.yaml").write_text(SOURCE.format(port=several.port).replace("/in,", "/other,"))
    several.run.until_said("/other")
    assert http(f"http://127.0.0.1:{several.port}/other", b'{"n": 2}')[0] == 200
    several.until_done({2}, [*SENSORS, "late"])


def test_a_worker_that_is_killed_is_started_again_and_nothing_is_lost(several: _Several) -> None:
    accepted = set()
    first = _children(several.run.pid)
    for number in range(30):
        if number in (5, 15):
            # Any worker; not the bus, which is a child too
            workers = [pid for pid in _children(several.run.pid) if b"nats" not in _command(pid)]
            os.kill(sorted(workers)[number % len(workers)], signal.SIGKILL)
        try:
            if several.post(number) == 200:
                accepted.add(number)
        except OSError:
            pass  # not accepted: the sender keeps it
    assert accepted
    several.until_done(accepted)
    several.run.until_ready()
    assert several.run.said("worker", "SIGKILL", "starting it again")
    assert len(_children(several.run.pid)) == len(first)


def test_a_crash_of_the_parent_leaves_no_process_behind(several: _Several) -> None:
    children = _children(several.run.pid)
    assert len(children) == 4  # three workers and the bus
    several.run.end(signal.SIGKILL)
    several.run.until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "children are left")


def test_the_memory_bus_is_refused_because_it_is_inside_one_process(tmp_path: Path) -> None:
    (tmp_path / "source.yaml").write_text(SOURCE.format(port=free_port()))
    command = [sys.executable, "-m", "argosy.cli.main", "run", str(tmp_path), "--bus", "memory", "--workers", "2"]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 1
    assert "--bus memory" in refused.stderr


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b"nats"
