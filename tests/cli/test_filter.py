"""``filter.expression`` seen from outside: a real run with a webhook, and what lint says of a mistake."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import Run, free_port, http

MANIFEST = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: web}}
spec:
  webhook:
    in:
      port: "{port}"
      endpoint: /in
      method: POST
      filter:
        expression: {expression}
---
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: keep}}
spec:
  dependencies:
    - {{name: in, eventSourceName: web, eventName: in}}
  triggers:
    - template:
        name: note
        log: {{}}
"""


class _Run(Run):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_port()

    def filter(self, expression: str) -> Path:
        return self.write("all.yaml", MANIFEST.format(port=self.port, expression=json.dumps(expression)))

    def post(self, body: object) -> int:
        return http(f"http://127.0.0.1:{self.port}/in", json.dumps(body).encode(), {"X-Kind": "order"})[0]

    def filtered(self, result: str) -> float:
        return self.metric("argosy_source_events_filtered_total", event_name="in", result=result)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[_Run]:
    run = _Run(tmp_path)
    yield run
    if run.process is not None:
        run.end(signal.SIGKILL)


def test_only_what_the_filter_accepts_comes_to_the_sensor_and_the_sender_is_always_told_ok(run: _Run) -> None:
    # Given a webhook with a filter over body and header
    run.filter('body.amount > 10 && header["X-Kind"][0] in ["order", "return"] && body.user.name != "joe"')
    run.start()
    run.until_ready()
    # When requests come that pass, that do not, and on which the filter fails
    bodies = [
        {"amount": 11, "user": {"name": "ann"}},
        {"amount": 3},
        {"amount": 12, "user": {"name": "joe"}},
        {"amount": 20},
    ]
    assert [run.post(body) for body in bodies] == [200] * 4
    # Then one event is on the bus, and makes the trigger run
    run.until(lambda: run.metric("argo_events_action_triggered_total") == 1.0, "no action")
    assert run.metric("argo_events_events_sent_total", event_name="in") == 1.0
    # And the others are counted by why they were dropped, and the failure is said
    assert (run.filtered("rejected"), run.filtered("failed")) == (2.0, 1.0)
    assert run.until_said("warning", "web/in", "filter fails", "'name' is wanted of nil", "body.user.»name")
    assert run.end() == 0


def test_a_filter_that_is_changed_is_followed(run: _Run) -> None:
    run.filter("body.n == 1")
    run.start()
    run.until_ready()
    assert run.post({"n": 2}) == 200
    assert run.filtered("rejected") == 1.0

    run.filter("body.n == 2")

    def passed() -> bool:
        assert run.post({"n": 2}) in (200, 404, 503)
        return run.metric("argo_events_events_sent_total", event_name="in") >= 1.0

    run.until(passed, "the new filter is not followed")


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("body.id = 4", "'=' is not expected here (at » in: body.id »= 4)"),
        ("type == 'order'", "'type' is a built-in function"),
        ("len(1) > 0", "(at » in: »len(1) > 0)"),
    ],
)
def test_a_mistake_is_an_error_of_the_manifest_with_its_place(run: _Run, expression: str, says: str) -> None:
    path = run.filter(expression)
    line = path.read_text().splitlines().index(f"        expression: {json.dumps(expression)}") + 1
    command = [sys.executable, "-m", "argosy.cli.main", "lint", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    (found,) = [one for one in done.stdout.splitlines() if "bad-expr" in one]
    assert found.startswith(f"{path}:{line}:21: error: expression does not parse: ")
    assert says in found
    assert "spec.webhook.in.filter.expression" in found
