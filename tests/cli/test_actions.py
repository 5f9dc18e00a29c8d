"""``argosy actions`` over a real run: what waits, rests, is dead or done can be seen, and a person can act on it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

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

ORDERS = """
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {name: orders}
spec:
  dependencies:
    - {name: order, eventSourceName: web, eventName: in}
  triggers:
"""
"""The head of a sensor; triggers follow."""

BILL = """\
    - template:
        name: bill
        http:
          url: {url}/{path}
          method: POST
          secureHeaders:
            - {{name: X-Token, valueFrom: {{secretKeyRef: {{name: billing, key: token}}}}}}
          payload:
            - {{src: {{dependencyName: order, dataKey: body.n}}, dest: number}}
      retryStrategy: {{steps: {steps}, duration: {pause}}}
{more}
"""

SECRET = """
apiVersion: v1
kind: Secret
metadata: {name: billing}
stringData: {token: hunter2hunter2}
"""


class System:
    """A run with one webhook, one sensor and the receiver that its trigger calls."""

    def __init__(self, folder: Path, receiver: Receiver, *options: str) -> None:
        self.run = Run(folder, *options)
        self.receiver = receiver
        self.port = free_port()
        self.run.write("source.yaml", SOURCE.format(port=self.port))
        self.run.write("secret.yaml", SECRET)
        self.sensor()

    def sensor(self, *, path: str = "bill", steps: int = 1, pause: str = "1s", more: str = "") -> None:
        self.triggers(BILL, path=path, steps=steps, pause=pause, more=more)

    def triggers(self, text: str, **values: object) -> None:
        """The sensor has these triggers from the next start on, with the receiver's ``url`` and more values filled in."""
        self.run.write("sensor.yaml", ORDERS + text.format(url=self.receiver.url, **values))

    def start(self, env: dict[str, str] | None = None) -> None:
        self.run.start(env)
        self.run.until_ready()

    def post(self, *numbers: int) -> None:
        for number in numbers:
            assert http(f"http://127.0.0.1:{self.port}/in", json.dumps({"n": number}).encode())[0] == 200

    def argosy(self, *words: str, fails: bool = False) -> str:
        """What the command says; standard error where it must fail."""
        command = [sys.executable, "-m", "argosy.cli.main", *words, "--data", str(self.run.folder / "data")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode != 0) == fails, f"{words}: {done.stdout}{done.stderr}\n{self.run.tail()}"
        assert "hunter2" not in done.stdout + done.stderr
        return done.stderr if fails else done.stdout

    def listed(self, *words: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(self.argosy("actions", "list", "-o", "json", *words))["actions"]
        return rows

    def until_listed(self, count: int, *words: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []

        def there() -> bool:
            found[:] = self.listed(*words)
            return len(found) == count

        self.run.until(there, f"not {count} of {words}")
        return found


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


def test_a_dead_letter_can_be_seen_and_redriven_after_the_receiver_was_mended(system: System) -> None:
    system.receiver.status = 500
    system.start()
    system.post(1, 2)
    dead = system.until_listed(2, "--state", "dead")

    # The list and the page say what happened, to what, and what can be done
    text = system.argosy("actions", "list", "--sensor", "orders", "--state", "dead")
    assert "500" in text
    assert "orders/bill" in text
    page = system.argosy("actions", "show", dead[0]["id"][:8])
    for words in (
        dead[0]["id"],
        "state    dead",
        "web/in",
        'number = "1"',
        "500",
        f"argosy actions redrive {dead[0]['id'][:12]}",
    ):
        assert words in page
    shown = json.loads(system.argosy("actions", "show", dead[0]["id"], "-o", "json"))
    assert shown["events"][0]["dependency"] == "order"
    assert [setting["value"] for setting in shown["parameters"]["set"]] == ["1"]
    assert shown["tries"] == 1

    # When the receiver is well and they are redriven, each is done once, under its old name
    system.receiver.status = 200
    tried = [one.key for one in system.receiver.requests]
    system.argosy("actions", "redrive", "--all", "--sensor", "orders")
    done = system.until_listed(2, "--state", "done")
    assert {one["id"] for one in done} == {one["id"] for one in dead}
    assert sorted(one.key for one in system.receiver.requests[2:]) == sorted(tried)
    assert sorted(system.receiver.bodies()[2:]) == ['{"number":"1"}', '{"number":"2"}']
    assert system.listed("--state", "dead") == []

    # And what is done says so, and is not redriven
    page = system.argosy("actions", "show", done[0]["id"])
    assert "state    done" in page
    assert "web/in" in page
    assert "only what is dead can be redriven" in system.argosy("actions", "redrive", done[0]["id"], fails=True)
    assert "there is none" in system.argosy("actions", "redrive", "--all", "--sensor", "orders")


def test_a_dead_letter_can_be_redriven_after_the_manifest_was_mended(system: System) -> None:
    # Given a trigger that calls where nobody lives
    system.sensor(path="wrong")
    system.run.write("sensor.yaml", (system.run.manifests / "sensor.yaml").read_text().replace(
        system.receiver.url, f"http://127.0.0.1:{free_port()}"))  # fmt: skip
    system.start()
    system.post(7)
    [dead] = system.until_listed(1, "--state", "dead")

    system.sensor(path="right")
    system.run.until_said("the manifests changed")
    system.run.until_ready()
    system.argosy("actions", "redrive", dead["id"][:10])
    system.until_listed(1, "--state", "done")
    assert [one.path for one in system.receiver.requests] == ["/right"]


def test_a_rest_is_ended_and_what_rests_or_waits_is_discarded(system: System) -> None:
    system.sensor(steps=5, pause="1h")
    system.receiver.status = 500
    system.start()
    system.post(1, 2, 3)
    [resting] = system.until_listed(1, "--state", "resting")
    assert len(system.listed("--state", "waiting")) == 2
    page = system.argosy("actions", "show", resting["id"])
    assert "next try" in page
    assert "argosy actions retry" in page

    # When it is tried now, and fails again, it rests again
    system.argosy("actions", "retry", resting["id"][:8])
    system.run.until(lambda: len(system.receiver.requests) == 2)
    [again] = system.until_listed(1, "--state", "resting")
    assert (again["id"], again["tries"]) == (resting["id"], 2)
    assert "is waiting" in system.argosy(
        "actions", "retry", next(one["id"] for one in system.listed("--state", "waiting")), fails=True
    )

    # When it and the last one are discarded, the one between them gets its turn
    last = max(system.listed("--state", "waiting"), key=lambda one: one["at"])
    assert "--reason" in system.argosy("actions", "discard", last["id"], fails=True)
    system.receiver.status = 200
    system.argosy("actions", "discard", last["id"], resting["id"], "--reason", "ordered twice")
    system.until_listed(1, "--state", "done")
    assert system.receiver.bodies()[2:] == ['{"number":"2"}']
    gone = system.listed("--state", "discarded")
    assert {one["id"] for one in gone} == {last["id"], resting["id"]}
    assert all(one["error"].startswith("ordered twice (discarded by ") for one in gone)


def test_actions_are_chosen_by_trigger_state_time_and_expression(system: System) -> None:
    system.receiver.status = 500
    system.start()
    system.post(1, 2, 3)
    system.until_listed(3, "--state", "dead")
    assert len(system.listed("--where", "events.order.data.body.n >= 2")) == 3 - 1
    assert system.listed("--where", "state == 'done'") == []
    assert system.listed("--since", "2099-01-01T00:00:00Z") == []
    assert len(system.listed("--since", "10m")) == 3
    assert len(system.listed("--limit", "2")) == 2
    assert "there are more that are dead; --limit shows more" in system.argosy("actions", "list", "--limit", "2")
    assert "no actions fit" in system.argosy("actions", "list", "--state", "held")

    system.receiver.status = 200
    system.argosy("actions", "redrive", "--all", "--sensor", "orders", "--where", "event.data.body.n == 3")
    system.until_listed(1, "--state", "done")
    assert system.receiver.bodies()[3:] == ['{"number":"3"}']
    assert len(system.listed("--state", "dead")) == 2

    # What the expression cannot be asked about does not fit; what it can never answer is a mistake
    assert len(system.listed("--where", "events.order.data.body.n < 3")) == 2
    assert "fails on every action" in system.argosy("actions", "list", "--where", "evnts.order.data > 1", fails=True)
    words = ("actions", "redrive", "--all", "--sensor", "orders", "--where", "event.data.nothing.n > 1")
    assert "fails on every action" in system.argosy(*words, fails=True)


def test_what_a_removed_sensor_left_behind_is_seen_and_comes_back_with_it(system: System) -> None:
    system.receiver.status = 500
    system.start()
    system.post(1, 2)
    dead = system.until_listed(2, "--state", "dead")

    # When the sensor is renamed, its dead letters are still there for a person
    mended = (system.run.manifests / "sensor.yaml").read_text()
    system.run.write("sensor.yaml", mended.replace("name: orders", "name: orders-2"))
    system.run.until_said("the manifests changed")
    system.run.until_ready()
    assert [one["id"] for one in system.listed("--sensor", "orders")] == [one["id"] for one in dead]
    page = system.argosy("actions", "show", dead[0]["id"])
    assert "no sensor that runs here has its trigger any more" in page
    assert "bring it back first" in system.argosy("actions", "redrive", dead[0]["id"], fails=True)
    system.argosy("actions", "discard", dead[0]["id"], "--reason", "of a sensor that is gone")
    assert [one["id"] for one in system.listed("--state", "dead")] == [dead[1]["id"]]

    # When it is there again, they can be redriven
    system.receiver.status = 200
    system.run.write("sensor.yaml", mended)
    system.run.until(lambda: "orders/bill" in system.argosy("sensor", "list"))
    system.argosy("actions", "redrive", "--all", "--sensor", "orders")
    system.until_listed(1, "--state", "done")
    assert system.receiver.bodies()[2:] == ['{"number":"2"}']


def test_what_was_mistaken_is_a_sentence(system: System) -> None:
    system.start()
    for words, says in [
        (["actions", "list", "--sensor", "oders"], "did you mean 'orders'"),
        (["actions", "list", "--trigger", "bil"], "did you mean 'bill'"),
        (["actions", "list", "--where", "1 +"], "is no expression"),
        (["actions", "list", "--since", "yesterday"], "neither a time"),
        (["actions", "show", "abc"], "too short"),
        (["actions", "show", "0123456789"], "there is no action '0123456789'"),
        (["actions", "redrive"], "--all --sensor"),
        (["actions", "redrive", "--all"], "--all needs --sensor"),
    ]:
        assert says in " ".join(system.argosy(*words, fails=True).split())
    assert "no actions" in system.argosy("actions", "list")


def test_a_dlq_trigger_does_its_work_and_the_dead_letter_is_kept_all_the_same(system: System) -> None:
    dlq = f"""
      dlqTrigger:
        template:
          name: apology
          http:
            url: {system.receiver.url}/apology
            method: POST
            payload:
              - {{src: {{dependencyName: order, dataKey: body.n}}, dest: sorry}}
"""
    system.sensor(path="bill", more=dlq)
    text = (system.run.manifests / "sensor.yaml").read_text()
    nobody = f"http://127.0.0.1:{free_port()}"
    system.run.write("sensor.yaml", text.replace(f"{system.receiver.url}/bill", f"{nobody}/bill"))
    system.start()
    system.post(4)
    [dead] = system.until_listed(1, "--state", "dead")
    [done] = system.until_listed(1, "--state", "done")
    assert (dead["trigger"], done["trigger"]) == ("bill", "bill/dlq")
    assert system.receiver.bodies() == ['{"sorry":"4"}']
    page = system.argosy("actions", "show", dead["id"])
    assert "state    dead" in page
    assert "also in orders/bill/dlq: done" in page

    # The dead letter itself can be redriven; what the dlqTrigger did is not done again
    system.sensor(path="bill", more=dlq)
    system.run.until_said("the manifests changed")
    system.run.until_ready()
    system.argosy("actions", "redrive", dead["id"])
    system.until_listed(2, "--state", "done")
    assert system.receiver.bodies() == ['{"sorry":"4"}', '{"number":"4"}']


@pytest.mark.parametrize("options", [("--workers", "2")])
def test_it_is_the_same_with_several_workers_and_after_a_crash(
    tmp_path: Path, receiver: Receiver, options: tuple[str, ...]
) -> None:
    system = System(tmp_path, receiver, *options)
    receiver.status = 500
    system.start()
    try:
        system.post(1)
        [dead] = system.until_listed(1, "--state", "dead")
        system.run.end(signal.SIGKILL)
        assert "nothing answers" in system.argosy("actions", "list", fails=True)
        system.start()
        receiver.status = 200
        system.argosy("actions", "redrive", dead["id"])
        system.until_listed(1, "--state", "done")
        assert receiver.bodies()[-1] == '{"number":"1"}'
    finally:
        system.run.end(signal.SIGKILL)


def test_what_a_sender_wrote_is_shown_and_not_obeyed(system: System, tmp_path: Path) -> None:
    # Given an event whose id would clear a terminal
    system.start()
    (tmp_path / "order.json").write_text('{"body": {"n": 1}}')
    order = ["--source", "web", "--event", "in", "--id", "\x1b[2Jevil\x9b"]
    system.argosy("events", "publish", str(tmp_path / "order.json"), *order)
    [done] = system.until_listed(1, "--state", "done")

    # Then its action's page shows it
    page = system.argosy("actions", "show", done["id"])
    assert r"order: \x1b[2Jevil\x9b from web/in" in page
    assert "\x1b" not in page and "\x9b" not in page
