"""Where a new sensor begins (``start``), and one that only decides (``shadow``), in real runs."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.asking import ask, call
from tests.cli.receiving import Receiver, receiving
from tests.cli.running import Run, free_port, http

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
  {more}
  dependencies:
    - {{name: in, eventSourceName: web, eventName: in}}
  triggers:
    - template:
        name: send
        http:
          url: {url}/{name}
          method: POST
          payload:
            - {{src: {{dependencyName: in, dataKey: body.number, useRawData: true}}, dest: number}}
"""


class System:
    """A webhook, and sensors that come later; each posts the number of an event to a path of its name."""

    def __init__(self, folder: Path, receiver: Receiver) -> None:
        self.run = Run(folder)
        self.receiver = receiver
        self.port = free_port()
        self.run.write("source.yaml", SOURCE.format(port=self.port))
        self.start()

    def start(self) -> None:
        self.run.start()
        self.run.until_ready()

    def sensor(self, name: str, more: str) -> None:
        """Write the manifest; ``more`` is a field of the spec."""
        self.run.write(f"{name}.yaml", self._text(name, more))

    def _text(self, name: str, more: str) -> str:
        return SENSOR.format(name=name, more=more, url=self.receiver.url)

    def running(self) -> dict[str, Any]:
        """The spec of every sensor that runs, by name."""
        api = json.loads((self.run.folder / "data" / "api.json").read_text())
        _, text = http(f"{api['url']}/api/v1/manifests", headers={"Authorization": f"Bearer {api['token']}"})
        return {one["name"]: one["object"]["spec"] for one in json.loads(text)["sensors"]}

    def add(self, **sensors: str) -> None:
        """Add sensors by name, or change them, and return once they read."""
        for name, more in sensors.items():
            self.sensor(name, more)
        # Several files may be seen as several changes: what counts is what the run says that it runs.
        wanted = {name: yaml.safe_load(self._text(name, more))["spec"] for name, more in sensors.items()}
        self.run.until(lambda: self.running().items() >= wanted.items(), "the change was not applied")
        self.run.until_ready()

    def post(self, *numbers: int) -> None:
        for number in numbers:
            assert http(f"http://127.0.0.1:{self.port}/in", json.dumps({"number": number}).encode())[0] == 200

    def events(self) -> list[dict[str, str]]:
        """What is on the log, the oldest first."""
        return list(reversed(ask(self.run, "events", "list", "-o", "json").lines))

    def got(self, name: str) -> list[int]:
        """The numbers that a sensor posted, in order."""
        return [json.loads(one.body)["number"] for one in list(self.receiver.requests) if one.path == f"/{name}"]

    def until_got(self, name: str, *numbers: int) -> None:
        self.run.until(lambda: self.got(name) == list(numbers), f"{name} did not post {numbers}", seconds=20)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def system(tmp_path: Path, receiver: Receiver) -> Iterator[System]:
    system = System(tmp_path, receiver)
    yield system
    if system.run.process is not None:
        system.run.end(signal.SIGKILL)


def test_a_sensor_begins_where_its_start_says_and_only_the_first_time(system: System) -> None:
    # Given events that came before there was any sensor
    system.post(0, 1, 2)
    events = system.events()

    # When sensors come that begin at different places
    system.add(
        fresh="start: new",
        silent="eventBusName: default",
        all="start: earliest",
        moment=f"start: {{time: '{events[1]['storedAt']}'}}",
        event=f"start: {{event: {events[2]['id']}}}",
    )
    system.post(3)

    # Then each reads from there on
    system.until_got("all", 0, 1, 2, 3)
    system.until_got("moment", 1, 2, 3)
    system.until_got("event", 2, 3)
    system.until_got("fresh", 3)
    system.until_got("silent", 3)

    # And after a restart, and with another start, goes on where it was
    system.run.end(signal.SIGKILL)
    system.sensor("fresh", "start: earliest")
    system.start()
    system.post(4)
    system.until_got("all", 0, 1, 2, 3, 4)
    system.until_got("fresh", 3, 4)
    system.until_got("moment", 1, 2, 3, 4)


def test_a_start_at_an_event_that_the_log_does_not_have_is_told_and_holds_the_sensor(system: System) -> None:
    system.post(0)
    system.sensor("lost", "start: {event: nobody-knows-it}")
    system.run.until_said("it cannot start at event 'nobody-knows-it'")
    assert system.run.waiting_for() == ["sensor 'lost'"]

    # When the manifest is mended
    system.add(lost="start: earliest")

    # Then it runs
    system.until_got("lost", 0)


def test_a_shadow_decides_and_fires_nothing(system: System) -> None:
    # Given a shadow beside a sensor that acts
    system.add(real="start: new", ghost="shadow: true")
    system.post(1, 2)
    system.until_got("real", 1, 2)
    run = system.run

    # Then it says what it would have done: in the list, in the log, in the metrics, in an explanation
    listed: list[dict[str, object]] = []

    def both() -> bool:
        listed[:] = ask(run, "actions", "list", "--shadow", "-o", "json").json["actions"]
        return len(listed) == 2

    run.until(both, "the shadow did not decide")
    ids = [event["id"] for event in system.events()]
    assert [one["events"][0]["id"] for one in reversed(listed)] == ids  # type: ignore[index]
    assert {(one["sensor"], one["trigger"]) for one in listed} == {("ghost", "send")}
    assert "ghost/send" in ask(run, "actions", "list", "--shadow", "--sensor", "ghost").text
    assert run.said("sensor 'ghost'", "would run 'send'")
    assert not run.said("sensor 'ghost'", "will run 'send'")
    assert run.metric("argosy_actions_shadowed_total", sensor_name="ghost") == 2
    assert "the sensor is a shadow" in ask(run, "explain", ids[0], "ghost").text

    # And nothing of it is in a queue, after a restart either
    assert {row["sensor"] for row in ask(run, "actions", "list", "-o", "json").json["actions"]} == {"real"}
    system.run.end(signal.SIGKILL)
    system.start()
    system.post(3)
    system.until_got("real", 1, 2, 3)
    run.until(lambda: ask(run, "actions", "list", "--shadow", "-o", "json").json["total"] == 3, "not decided")
    assert system.got("ghost") == []

    # When it is no shadow any more
    system.add(ghost="shadow: false")
    system.post(4)

    # Then it acts on what comes, and a replay makes up for what it had only decided
    system.until_got("ghost", 4)
    assert ask(run, "replay", "--from", "1h", "--to-sensor", "ghost", "--yes", "-o", "json").lines[-1]["put"] == 3
    system.until_got("ghost", 4, 1, 2, 3)


def test_a_shadow_is_not_replayed(system: System) -> None:
    system.add(ghost="shadow: true")
    said = ask(system.run, "replay", "--from", "1h", "--to-sensor", "ghost", "--yes", code=1)
    assert "is a shadow and fires nothing" in said.errors


def test_tests_show_what_a_shadow_would_send(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(
        SOURCE.format(port=12000)
        + "---"
        + SENSOR.format(name="ghost", more="shadow: true\n  start: {event: nobody}", url="http://127.0.0.1:1")
    )
    (tmp_path / "all.test.yaml").write_text(
        "tests: [{name: it would, event: {from: web/in, raw: {number: 1}}, fires: [{trigger: send, payload: {number: 1}}]}]"
    )
    assert call("test", str(tmp_path)).code == 0
