"""``argosy sensor`` over a real run: triggers suspended and resumed, conditions looked into and reset."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.receiving import Receiver, receiving
from tests.cli.running import http
from tests.cli.test_actions import System

JOINED = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: pair}}
spec:
  webhook:
    a: {{port: "{port}", endpoint: /a, method: POST}}
    b: {{port: "{port}", endpoint: /b, method: POST}}
---
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: both}}
spec:
  dependencies:
    - {{name: first, eventSourceName: pair, eventName: a}}
    - {{name: second, eventSourceName: pair, eventName: b}}
  triggers:
    - template:
        name: meet
        conditions: first && second
        http:
          url: {url}/meet
          method: POST
          payload:
            - {{src: {{dependencyName: first, dataKey: body}}, dest: first}}
            - {{src: {{dependencyName: second, dataKey: body}}, dest: second}}
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(params=[()], ids=["one process"])
def system(request: Any, tmp_path: Path, receiver: Receiver) -> Iterator[System]:
    """A run of one process, or as a test says it."""
    system = System(tmp_path, receiver, *request.param)
    yield system
    if system.run.process is not None:
        system.run.end(signal.SIGKILL)


def _trigger(system: System) -> dict[str, Any]:
    [trigger] = json.loads(system.argosy("sensor", "show", "orders", "-o", "json"))["triggers"]
    assert isinstance(trigger, dict)
    return trigger


def _suspended(system: System) -> float:
    return system.run.metric("argosy_trigger_suspended", trigger_name="bill")


@pytest.mark.parametrize("system", [(), ("--workers", "2")], ids=["one process", "workers"], indirect=True)
def test_a_suspended_trigger_lets_its_actions_wait_and_does_them_when_it_is_resumed(
    system: System, receiver: Receiver
) -> None:
    system.start()
    assert "0 actions in its queue" in system.argosy("sensor", "suspend", "orders/bill")
    system.run.until(lambda: _suspended(system) == 1)
    system.post(1, 2)
    system.until_listed(2, "--state", "waiting")
    assert _trigger(system)["suspended"] == "queue"
    assert "argosy sensor resume orders/bill" in system.argosy("sensor", "show", "orders")
    [line] = [line for line in system.argosy("sensor", "list").splitlines() if "orders/bill" in line]
    assert line.split()[-3:] == ["2", "0", "queue"]
    waits = system.listed("--state", "waiting")[0]["id"]
    assert "argosy sensor resume" in system.argosy("actions", "show", waits)

    # It is suspended after a crash, too, and the run is ready all the same
    system.run.end(signal.SIGKILL)
    system.start()
    assert _suspended(system) == 1
    system.post(3)
    system.until_listed(3, "--state", "waiting")
    assert receiver.requests == []

    # What waits can be discarded; the rest is done in order when it is resumed
    middle = sorted(system.listed("--state", "waiting"), key=lambda one: one["at"])[1]
    system.argosy("actions", "discard", middle["id"], "--reason", "not this one")
    system.argosy("sensor", "resume", "orders")
    system.until_listed(2, "--state", "done")
    assert receiver.bodies() == ['{"number":"1"}', '{"number":"3"}']
    system.run.until(lambda: _suspended(system) == 0)


def test_a_trigger_that_is_suspended_with_drop_discards(system: System, receiver: Receiver) -> None:
    system.start()
    system.argosy("sensor", "suspend", "orders", "--drop")
    system.run.until(lambda: _suspended(system) == 1)
    system.post(1)
    [gone] = system.until_listed(1, "--state", "discarded")
    assert gone["error"] == "suspended"
    system.argosy("sensor", "resume", "orders")
    system.run.until(lambda: _suspended(system) == 0)
    system.post(2)
    system.until_listed(1, "--state", "done")
    assert receiver.bodies() == ['{"number":"2"}']


def test_the_manifest_can_start_it_suspended_and_a_person_overrules_it_until_that_changes(
    system: System, receiver: Receiver
) -> None:
    system.sensor(more="      queue: {suspend: queue}")
    system.start()
    assert _suspended(system) == 1
    system.post(1)
    system.until_listed(1, "--state", "waiting")

    # When a person resumes it, that outlives a restart and other changes of the manifest
    system.argosy("sensor", "resume", "orders/bill")
    system.until_listed(1, "--state", "done")
    system.sensor(path="elsewhere", more="      queue: {suspend: queue}")
    system.run.until_said("the manifests changed")
    system.run.until_ready()
    system.post(2)
    system.until_listed(2, "--state", "done")
    assert [one.path for one in receiver.requests] == ["/bill", "/elsewhere"]

    # And when the manifest's own word changes, that holds
    system.sensor(path="elsewhere", more="      queue: {suspend: drop}")
    system.run.until(lambda: _trigger(system)["suspended"] == "drop")
    system.run.until(lambda: _suspended(system) == 1)
    system.post(3)
    system.until_listed(1, "--state", "discarded")


@pytest.mark.parametrize("system", [(), ("--workers", "2")], ids=["one process", "workers"], indirect=True)
def test_what_a_condition_holds_can_be_seen_and_forgotten(system: System, receiver: Receiver) -> None:
    system.run.write("pair.yaml", JOINED.format(port=system.port, url=receiver.url))

    def post(path: str, word: str) -> None:
        url = f"http://127.0.0.1:{system.port}/{path}"
        assert http(url, json.dumps(word).encode())[0] == 200

    def held() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(system.argosy("sensor", "pending", "both", "-o", "json"))["pending"]
        return found

    system.start()
    assert "nothing is held" in system.argosy("sensor", "pending", "both")
    post("a", "old")
    system.run.until(lambda: len(held()) == 1)
    [one] = held()
    assert (one["trigger"], one["waitsFor"]) == ("meet", ["second"])
    assert [(event["dependency"], event["name"]) for event in one["holds"]] == [("first", "a")]
    page = system.argosy("sensor", "pending", "both/meet")
    assert "waits for 'second'" in page
    assert one["holds"][0]["id"] in page

    # When it is reset, the other half alone does nothing: the running loop does not bring back what was forgotten
    assert "has forgotten 1 event" in system.argosy("sensor", "reset", "both/meet")
    assert held() == []
    post("b", "new")
    system.run.until(lambda: len(held()) == 1)
    assert [event["dependency"] for event in held()[0]["holds"]] == ["second"]
    assert receiver.requests == []

    # Nor after a crash
    system.argosy("sensor", "reset", "both")
    system.run.end(signal.SIGKILL)
    system.start()
    assert held() == []
    post("a", "first")
    post("b", "second")
    system.run.until(lambda: receiver.requests)
    assert receiver.bodies() == ['{"first":"first","second":"second"}']


def test_what_was_mistaken_is_a_sentence(tmp_path: Path, receiver: Receiver) -> None:
    system = System(tmp_path, receiver)
    system.start()
    try:
        for words, says in [
            (["sensor", "show", "oders"], "did you mean 'orders'"),
            (["sensor", "suspend", "orders/bil"], "did you mean 'bill'"),
            (["sensor", "pending", "nobody"], "no sensor 'nobody' runs here"),
            (["sensor", "show", "orders", "-n", "other"], "in namespace 'other'"),
        ]:
            assert says in " ".join(system.argosy(*words, fails=True).split())
    finally:
        system.run.end(signal.SIGKILL)
    system.run.end()
