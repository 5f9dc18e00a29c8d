"""A webhook is flooded while the receiver of its trigger stalls: what cannot be done yet is on the bus, not in memory."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.cli.running import Run, free_port
from tests.crash.course import Producer, Result, resident
from tests.crash.receiver import Receiver

MOST_GROWTH = 64 * 2**20
"""So much may the resident memory of ``argosy run`` grow in bytes, however long the flood lasts."""
PADDING = 4096
_AHEAD = 64
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
metadata: {{name: posts}}
spec:
  dependencies:
    - {{name: post, eventSourceName: web, eventName: in}}
  triggers:
    - template:
        name: post
        http:
          url: {receiver}/post
          payload: [{{src: {{dependencyName: post, dataKey: body.id}}, dest: id}}]
      retryStrategy: {{duration: 50ms, factor: 1, steps: 1000}}
"""


@dataclass
class Flood:
    """What a flood did. Memory is resident, in bytes, of the Python process."""

    taken: int = 0
    seconds: float = 0.0
    memory_before: int = 0
    memory_most: int = 0
    waiting: float = 0.0
    oldest_seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    def report(self) -> str:
        """In one line."""
        return (
            f"flood: {self.taken} posts of {PADDING} bytes taken in {self.seconds:.0f} s with a stalled trigger; memory "
            f"{self.memory_before / 2**20:.0f} MB before, {self.memory_most / 2**20:.0f} MB at most; "
            f"{self.waiting:.0f} actions waited, the oldest for {self.oldest_seconds:.0f} s"
        )


def flood(seconds: float, folder: Path) -> Flood:
    """Flood, look at memory and metrics, let the receiver go on, and see that everything is done, in order, once."""
    found, result, port = Flood(), Result(), free_port()
    producer = Producer(
        [
            "tests.crash.produce",
            "--web",
            f"http://127.0.0.1:{port}/in",
            "--count",
            str(10**9),
            "--padding",
            str(PADDING),
        ],
        result,
    )
    run = Run(folder)
    with Receiver() as receiver:
        run.write("all.yaml", MANIFESTS.format(port=port, receiver=receiver.url))
        receiver.gate.clear()
        try:
            run.start({"ARGOSY_LOG_LEVEL": "warning"})
            run.until_ready()
            found.memory_before = resident(run.pid)
            with producer:
                asked, end, began = 0, time.monotonic() + seconds, time.monotonic()
                while time.monotonic() < end:
                    if asked - producer.reached < _AHEAD // 2:
                        asked = producer.reached + _AHEAD
                        producer.up_to(asked)
                    found.memory_most = max(found.memory_most, resident(run.pid))
                    time.sleep(0.005)
                run.until(lambda: producer.reached >= asked)
                found.seconds = time.monotonic() - began
            found.taken = producer.reached
            # The gauges are looked up every few seconds, so they lag behind.
            run.until(lambda: _waiting(run) >= found.taken)
            found.waiting = _waiting(run)
            found.oldest_seconds = run.metric("argosy_actions_oldest_seconds", trigger_name="post")
            if found.oldest_seconds < found.seconds / 2:
                found.faults.append(f"the oldest action is said to wait for {found.oldest_seconds:.1f} s")
            receiver.gate.set()
            run.until(lambda: receiver.count("/post") >= found.taken, seconds=60 + found.taken / 50)
            found.memory_most = max(found.memory_most, resident(run.pid))
            keys = [effect.key for effect in receiver.at("/post")]
            if len(keys) != len(set(keys)) or {effect.body["id"] for effect in receiver.at("/post")} != set(
                result.sent
            ):
                found.faults.append("what was done is not what was taken")
            if run.end() != 0:
                found.faults.append(f"the drain failed:\n{run.tail()}")
        except AssertionError as late:
            found.faults.append(str(late))
        finally:
            run.end(signal.SIGKILL)
    if found.memory_most - found.memory_before > MOST_GROWTH:
        found.faults.append(f"memory grew beyond its bound: {found.report()}")
    return found


def _waiting(run: Run) -> float:
    return run.metric("argosy_actions_waiting", trigger_name="post")
