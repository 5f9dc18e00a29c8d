"""How ``argosy run`` ends: with time for what is under way, at once when told twice, and killed without a trace."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import Run, free_port, http
from tests.crash.buses import servers_of
from tests.crash.receiver import Receiver

MANIFESTS = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: web}}
spec:
  webhook:
    in: {{port: "{port}", endpoint: /in}}
---
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: slow}}
spec:
  dependencies: [{{name: in, eventSourceName: web, eventName: in}}]
  triggers:
    - template:
        name: call
        http:
          url: {receiver}/in
          payload: [{{src: {{dependencyName: in, dataKey: body.number}}, dest: number}}]
"""


class _Slow(Run):
    """A run whose actions wait at the receiver's gate."""

    def __init__(self, folder: Path, receiver: Receiver) -> None:
        super().__init__(folder)
        self.port = free_port()
        self.receiver = receiver
        self.write("all.yaml", MANIFESTS.format(port=self.port, receiver=receiver.url))

    def with_an_attempt_under_way(self) -> None:
        """Start; an action is at the receiver, which does not answer yet."""
        self.start()
        self.until_ready()
        self.receiver.gate.clear()
        self.post(1)
        self.until(lambda: self.receiver.arrived == 1)

    def post(self, number: int) -> None:
        body = json.dumps({"number": number}).encode()
        assert http(f"http://127.0.0.1:{self.port}/in", body) == (200, "success")

    def effects(self) -> list[str]:
        return [str(effect.body["number"]) for effect in self.receiver.at("/in")]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[_Slow]:
    with Receiver() as receiver:
        run = _Slow(tmp_path, receiver)
        yield run
        receiver.gate.set()
        if run.process is not None:
            run.end(signal.SIGKILL)


def test_sigterm_lets_an_attempt_under_way_finish(run: _Slow) -> None:
    run.options = ("--grace", "600")
    run.with_an_attempt_under_way()

    # When it is told to end, then it waits for the answer
    assert run.process is not None
    run.process.send_signal(signal.SIGTERM)
    run.until_said("draining")
    assert not run.ended
    run.receiver.gate.set()

    # And ends well; the action is done, and is not done again
    assert run.process.wait(60) == 0
    assert run.said("drained")
    run.start()
    run.until_ready()
    run.post(2)
    run.until(lambda: run.effects() == ["1", "2"])
    assert run.receiver.duplicates == 0


def test_sigterm_waits_no_longer_than_the_grace_and_the_action_is_done_later(run: _Slow) -> None:
    run.options = ("--grace", "0.5")
    run.with_an_attempt_under_way()

    # When it is told to end and the receiver never answers, then it ends well all the same
    assert run.end() == 0
    assert not run.effects()

    # And the next run does what was handed back, at once
    run.receiver.gate.set()
    run.start()
    run.until(lambda: run.effects() == ["1"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once_with_130(run: _Slow, number: signal.Signals) -> None:
    run.options = ("--grace", "600")
    run.with_an_attempt_under_way()
    servers = servers_of(run.pid)
    assert run.process is not None

    # When it is told twice
    run.process.send_signal(number)
    run.until_said("draining")
    run.process.send_signal(number)

    # Then it does not wait for the attempt, and leaves no server behind
    assert run.process.wait(60) == 130
    run.until(lambda: not any(_alive(pid) for pid in servers))

    # And the next run does what was not done, at once
    run.receiver.gate.set()
    run.start()
    run.until(lambda: run.effects() == ["1"])


def test_sigkill_leaves_no_server_behind_and_the_next_run_starts_on_the_same_folder(run: _Slow) -> None:
    run.with_an_attempt_under_way()
    [server] = servers_of(run.pid)

    # When it is killed, then its server ends too
    assert run.end(signal.SIGKILL) == -signal.SIGKILL
    run.receiver.gate.set()

    # And a run that is started at that moment takes the folder over and does what was not done
    run.start()
    run.until_ready()
    run.until(lambda: run.effects() == ["1"])
    run.until(lambda: not _alive(server))


def _alive(pid: int) -> bool:
    """Whether the process runs; one that ended and was not collected yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return False
