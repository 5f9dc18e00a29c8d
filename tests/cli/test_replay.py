"""``argosy replay`` over a real run: what would run beside what did, and running what never did, once."""

from __future__ import annotations

import datetime as dt
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.asking import Said, ask
from tests.cli.receiving import Receiver, receiving
from tests.cli.running import Run, free_port, http

SOURCE = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: web}}
spec:
  webhook:
    order: {{port: "{port}", endpoint: /order, method: POST}}
    payment: {{port: "{port}", endpoint: /payment, method: POST}}
"""

BILL = """
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: bill}}
spec:
{more}
  dependencies:
    - name: order
      eventSourceName: web
      eventName: order
      filters:
        data: [{{path: body.total, type: number, comparator: ">=", value: ["{least}"]}}]
  triggers:
    - template:
        name: send
        http:
          url: {url}/bill
          method: POST
          payload:
            - {{src: {{dependencyName: order, dataKey: body.total, useRawData: true}}, dest: total}}
      retryStrategy: {{steps: 1, duration: 1s}}
"""

SHIP = """
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: ship}}
spec:
  dependencies:
    - {{name: order, eventSourceName: web, eventName: order}}
    - {{name: payment, eventSourceName: web, eventName: payment}}
  triggers:
    - template:
        name: send
        conditions: order && payment
        http:
          url: {url}/ship
          method: POST
          payload:
            - {{src: {{dependencyName: order, dataKey: body.total, useRawData: true}}, dest: total}}
            - {{src: {{dependencyName: payment, dataKey: body.total, useRawData: true}}, dest: paid}}
"""


class System:
    """A webhook, a sensor that bills orders from a total on, and the receiver of its bills."""

    def __init__(self, folder: Path, receiver: Receiver) -> None:
        self.run = Run(folder)
        self.receiver = receiver
        self.port = free_port()
        self.run.write("source.yaml", SOURCE.format(port=self.port))
        self.bill(least=100)

    def bill(self, least: int, more: str = "") -> None:
        self.write("bill.yaml", BILL.format(url=self.receiver.url, least=least, more=more))

    def write(self, name: str, text: str) -> None:
        """Write a manifest; ``apply`` then waits for the run to follow."""
        self._changes = len(self.run.said("the changed manifests are applied"))
        self.run.write(name, text)

    def start(self) -> None:
        self.run.start()
        self.run.until_ready()

    def apply(self) -> None:
        """The manifests were changed: return once the run follows them."""
        self.run.until(
            lambda: len(self.run.said("the changed manifests are applied")) > self._changes, "the change was not seen"
        )
        self.run.until_ready()

    def post(self, *totals: int, to: str = "order") -> None:
        for total in totals:
            assert http(f"http://127.0.0.1:{self.port}/{to}", json.dumps({"total": total}).encode())[0] == 200

    def until_passed(self, seconds: float) -> None:
        """Return once the newest event is so old."""
        stored = ask(self.run, "events", "list", "--limit", "1", "-o", "json").lines[0]["storedAt"]
        due = dt.datetime.fromisoformat(stored) + dt.timedelta(seconds=seconds)
        self.run.until(lambda: dt.datetime.now(dt.UTC) > due)

    def replay(self, *words: str, sensor: str = "bill", code: int = 0) -> Said:
        return ask(self.run, "replay", "--from", "earliest", "--to-sensor", sensor, *words, code=code)

    def told(self, *words: str, sensor: str = "bill") -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """The lines of a replay, and its last one."""
        *lines, end = self.replay("-o", "json", *words, sensor=sensor).lines
        assert end["kind"] == "end"
        return lines, end

    def until_received(self, *bodies: dict[str, Any]) -> None:
        """Return once exactly these have come, in any order."""
        wanted = sorted(map(str, bodies))

        def there() -> bool:
            got = sorted(str(json.loads(body)) for body in self.receiver.bodies())
            assert len(got) <= len(wanted), f"{got}, not {wanted}"
            return got == wanted

        self.run.until(there, f"{bodies} did not come", seconds=20)


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


def _does(lines: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(action["was"], action["does"]) for line in lines for action in line["actions"]]


def test_a_mended_filter_runs_what_it_had_missed_and_nothing_twice(system: System) -> None:
    # Given orders that a filter has let through, and one that it should have
    system.start()
    system.post(100, 20, 300)
    system.until_received({"total": 100}, {"total": 300})

    # When the filter is mended
    system.bill(least=10)
    system.apply()

    # Then a dry run says what would run beside what did, and runs nothing
    lines, end = system.told("--dry-run")
    assert _does(lines) == [("done", "known"), ("never", "would put"), ("done", "known")]
    assert (end["events"], end["would put"], end["was done"]) == (3, 1, 2)
    text = system.replay("--dry-run").text
    assert "would run; it never ran" in text
    assert "is left alone; it is done since" in text

    # And a real one runs it, once, however often it is repeated
    assert system.told("--yes")[1]["put"] == 1
    system.until_received({"total": 100}, {"total": 20}, {"total": 300})
    again, end = system.told("--yes")
    assert {does for _, does in _does(again)} == {"known"}
    assert "put" not in end
    assert len(system.receiver.requests) == 3


def test_the_dry_run_names_what_ran_and_would_not_now(system: System) -> None:
    system.start()
    system.post(100, 300)
    system.until_received({"total": 100}, {"total": 300})
    system.bill(least=200)
    system.apply()

    lines, end = system.told("--dry-run")

    assert [[gone["was"] for gone in line["gone"]] for line in lines] == [["done"], []]
    assert end["gone"] == 1
    assert "would not run now; it is done since" in system.replay("--dry-run").text
    assert "wanted >= `200`" in system.replay("--dry-run", "--all").text


def test_what_was_done_runs_again_only_when_asked_for_and_once_for_each_name(system: System) -> None:
    system.start()
    system.post(100)
    system.until_received({"total": 100})

    first, _ = system.told("--yes", "--again", "--name", "one")
    system.until_received({"total": 100}, {"total": 100})
    second, _ = system.told("--yes", "--again", "--name", "one")  # as after a replay that broke off
    other, _ = system.told("--yes", "--again", "--name", "two")
    system.until_received(*[{"total": 100}] * 3)

    assert [_does(each) for each in (first, second, other)] == [
        [("done", "put")],
        [("done", "known")],
        [("done", "put")],
    ]
    # A receiver can tell them apart: each was another action
    assert len({request.key for request in system.receiver.requests}) == 3
    assert first[0]["actions"][0]["again"] == second[0]["actions"][0]["again"]


def test_dead_letters_are_left_to_be_redriven(system: System) -> None:
    system.receiver.status = 400
    system.start()
    system.post(100)
    system.run.until(lambda: system.run.said("it is a dead letter now"), "nothing died")

    lines, end = system.told("--yes")

    assert _does(lines) == [("dead", "known")]
    assert "400" in lines[0]["actions"][0]["said"]
    assert "argosy actions redrive" in system.replay("--yes").errors
    assert end["was dead"] == 1


def test_events_are_chosen_by_source_name_time_and_content(system: System) -> None:
    system.bill(least=1000)
    system.start()
    system.post(100, 200, 300)
    system.post(400, to="payment")
    system.bill(least=1)
    system.apply()

    def totals(*words: str) -> int:
        return int(system.told("--dry-run", *words)[1].get("would put", 0))

    assert totals() == 3
    assert totals("--where", "data.body.total > 100") == 2
    assert totals("--source", "web", "--event-name", "order") == 3
    assert totals("--event-name", "payment") == 0
    assert totals("--to", "1h") == 0
    stored = ask(system.run, "events", "list", "--event", "order", "-o", "json").lines[1]["storedAt"]
    assert totals("--to", stored) == 2


def test_conditions_of_a_replay_begin_empty_and_touch_nothing_that_runs(system: System) -> None:
    # Given a sensor that joins two events, made after the first two had come
    system.start()
    system.post(1)
    system.post(2, to="payment")
    system.write("ship.yaml", SHIP.format(url=system.receiver.url))
    system.apply()
    system.post(3)  # its condition holds this one now

    # When the log is replayed through it
    lines, end = system.told("--yes", sensor="ship")

    # Then the replay pairs what belonged together
    assert end["put"] == 1
    assert lines[0]["subject"] == "payment"
    system.until_received({"total": 1, "paid": 2})

    # And the running sensor still holds its own order
    system.post(4, to="payment")
    system.until_received({"total": 1, "paid": 2}, {"total": 3, "paid": 4})


def test_a_wrong_call_says_what_to_do(system: System) -> None:
    system.start()
    system.post(100)
    run = system.run

    assert "did you mean 'bill'?" in system.replay("--dry-run", sensor="bil", code=1).errors
    assert "Look first with --dry-run" in system.replay(code=2).errors
    assert "--name is for --again" in system.replay("--name", "x", code=2).errors
    assert "where: " in system.replay("--dry-run", "--where", "(", code=1).errors
    assert "neither a time" in ask(run, "replay", "--from", "never", "--to-sensor", "bill", "--dry-run", code=1).errors


ABSENT = """
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: remind}}
spec:
  dependencies:
    - {{name: order, eventSourceName: web, eventName: order}}
    - {{name: payment, eventSourceName: web, eventName: payment}}
  triggers:
    - template:
        name: send
        conditions: order
        absent: {{dependency: payment, after: 400ms}}
        http:
          url: {url}/remind
          method: POST
          payload:
            - {{src: {{dependencyName: order, dataKey: body.total, useRawData: true}}, dest: total}}
"""


def test_time_passes_in_a_replay_as_it_did(system: System) -> None:
    # Given an order that was paid at once, one that was paid too late, and one that never was
    system.bill(least=1000)
    system.start()
    system.post(1)
    system.post(1, to="payment")
    system.post(2)
    system.until_passed(0.5)
    system.post(2, to="payment")
    system.post(3)
    system.until_passed(0.5)

    # When a sensor comes that reminds of orders that were not paid in time, and the log is replayed through it
    system.write("remind.yaml", ABSENT.format(url=system.receiver.url))
    system.apply()
    lines, end = system.told("--yes", sensor="remind")

    # Then it reminds of the two
    assert end["put"] == 2
    assert lines[-1]["kind"] == "time"
    system.until_received({"total": 2}, {"total": 3})


def test_a_replay_that_is_broken_off_by_a_kill_is_run_again_and_does_nothing_twice(system: System) -> None:
    # Given many orders that a filter refused
    system.bill(least=1000)
    system.start()
    lines = "\n".join(
        json.dumps({"source": "web", "subject": "order", "id": f"event-{n:04}", "data": {"body": {"total": n}}})
        for n in range(300)
    )
    ask(system.run, "events", "publish", "-", given=lines)
    system.bill(least=0)
    system.apply()

    # When the run is killed while they are replayed, and the replay is repeated after a restart
    command = [sys.executable, "-m", "argosy.cli.main", "replay", "--from", "earliest", "--to-sensor", "bill", "--yes"]
    with subprocess.Popen([*command, "--data", str(system.run.folder / "data")], stderr=subprocess.PIPE) as process:
        system.run.until(lambda: len(system.receiver.requests) > 20)
        system.run.end(signal.SIGKILL)
        assert process.wait(timeout=30) in (0, 1)  # it may have been through just before
        assert process.stderr is not None
        process.stderr.close()
    system.start()
    system.told("--yes")

    # Then each order was billed: once, but for the one that may have been under way
    system.run.until(lambda: len({one.key for one in system.receiver.requests}) == 300, "some were lost", seconds=30)
    totals = sorted(json.loads(body)["total"] for body in system.receiver.bodies())
    assert sorted(set(totals)) == list(range(300))
    assert len(totals) <= 301


def test_a_replay_through_many_events_tells_how_far_it_is_and_loses_none(system: System) -> None:
    system.bill(least=1000)
    system.start()
    lines = "\n".join(
        json.dumps({"source": "web", "subject": "order", "id": f"event-{n:04}", "data": {"body": {"total": n}}})
        for n in range(700)
    )
    ask(system.run, "events", "publish", "-", given=lines)
    system.bill(least=0)
    system.apply()

    found, end = system.told("--dry-run")

    assert end["events"] == 700
    assert [line["id"] for line in found if line["kind"] == "event"] == [f"event-{n:04}" for n in range(700)]
