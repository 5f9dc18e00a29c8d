"""What is wrong is said in one sentence where a person looks for it, counted, and harms nobody else.

Every test walks its bad input through one real ``argosy run``, in which everything is wrong that can be wrong
beside a source and a sensor that are right; those two are asked at the end of each test.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers.rabbitmq import NotThere, RabbitMQ, installed
from tests.cli.running import Run, free_port, http
from tests.crash.receiver import Receiver
from tests.missing import missing

GOOD = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: good}}
spec:
  webhook:
    in: {{port: "{port}", endpoint: /in, maxPayloadSize: 1048576}}
    locked: {{port: "{port}", endpoint: /locked, authSecret: {{name: ours, key: token}}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: ours}}
stringData: {{token: the-right-token}}
---
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: good}}
spec:
  dependencies: [{{name: in, eventSourceName: good, eventName: in}}]
  triggers:
    - template:
        name: tell
        http:
          url: {receiver}/good
          payload: [{{src: {{dependencyName: in, dataKey: body.number}}, dest: number}}]
"""
BAD = {
    "port-in-use": """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: occupied}}
spec:
  webhook:
    in: {{port: "{busy}", endpoint: /in}}
""",
    "missing-secret": """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: keyless}}
spec:
  webhook:
    in: {{port: "{port}", endpoint: /keyless, authSecret: {{name: nowhere, key: token}}}}
---
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: keyless}}
spec:
  dependencies: [{{name: in, eventSourceName: good, eventName: in}}]
  triggers:
    - template:
        name: call
        http:
          url: {receiver}/keyless
          secureHeaders: [{{name: X-Key, valueFrom: {{secretKeyRef: {{name: nowhere, key: token}}}}}}]
""",
    "array": """
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: arrays}}
spec:
  dependencies:
    - name: in
      eventSourceName: good
      eventName: in
      transform: {{jq: "[.body.number]"}}
  triggers: [{{template: {{name: tell, http: {{url: "{receiver}/arrays"}}}}}}]
""",
    "no-source": """
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: astray}}
spec:
  dependencies: [{{name: in, eventSourceName: goood, eventName: in}}]
  triggers: [{{template: {{name: tell, http: {{url: "{receiver}/astray"}}}}}}]
""",
    "not-yaml": """
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: broken
spec:
  dependencies: [
""",
}
AMQP = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: mq}}
spec:
  amqp:
    notes:
      url: {rabbitmq}
      exchangeName: notes
      exchangeType: topic
      routingKey: info
      queueDeclare: {{name: notes, durable: true}}
      oslo: true
    lost:
      url: {rabbitmq}
      exchangeName: nowhere
      exchangeDeclare: {{passive: true}}
      routingKey: info
"""


class _Walk(Run):
    """The run, and the good pair in it."""

    def __init__(self, folder: Path, receiver: Receiver, rabbitmq: RabbitMQ | None, busy: int) -> None:
        super().__init__(folder)
        self.port = free_port()
        self.receiver = receiver
        self.rabbitmq = rabbitmq
        texts = {"good": GOOD, **BAD, **({"amqp": AMQP} if rabbitmq else {})}
        words = {
            "port": self.port,
            "busy": busy,
            "receiver": receiver.url,
            "rabbitmq": rabbitmq.url if rabbitmq else "",
        }
        for name, text in texts.items():
            self.write(f"{name}.yaml", text.format(**words))
        self._number = 0

    def post(self, path: str, body: bytes, token: str = "") -> tuple[int, str]:
        return http(f"http://127.0.0.1:{self.port}{path}", body, {"Authorization": f"Bearer {token}"} if token else {})

    def the_good_ones_work(self) -> None:
        self._number += 1
        assert self.post("/in", json.dumps({"number": self._number}).encode()) == (200, "success")
        self.until(lambda: str(self._number) in {str(effect.body["number"]) for effect in self.receiver.at("/good")})

    def refused(self, source: str, event: str) -> float:
        return self.metric("argo_events_events_processing_failed_total", eventsource_name=source, event_name=event)


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Walk]:
    folder = tmp_path_factory.mktemp("bad-input")
    try:
        installed()
        rabbitmq = RabbitMQ(folder / "rabbitmq").__enter__()
    except NotThere:
        rabbitmq = None
    with socket.create_server(("127.0.0.1", 0)) as busy, Receiver() as receiver:
        run = _Walk(folder, receiver, rabbitmq, busy.getsockname()[1])
        run.start()
        try:
            run.until(lambda: len(run.said("receives from")) >= (4 if rabbitmq else 3) or run.ended)
            yield run
        finally:
            run.end(signal.SIGKILL)
            if rabbitmq is not None:
                rabbitmq.__exit__()


def _with_rabbitmq(walk: _Walk) -> RabbitMQ:
    if walk.rabbitmq is None:
        missing("RabbitMQ is not installed; get it with: apt-get install rabbitmq-server")
    return walk.rabbitmq


def test_a_body_larger_than_the_limit_is_answered_413_with_the_limit(walk: _Walk) -> None:
    before = walk.refused("good", "in")

    answer = walk.post("/in", b'"' + b"x" * (2 * 1024 * 1024) + b'"')

    assert answer == (413, "the body is larger than maxPayloadSize, 1048576 bytes")
    assert walk.refused("good", "in") == before + 1
    walk.the_good_ones_work()


def test_a_wrong_token_is_answered_401_and_is_shown_nowhere(walk: _Walk) -> None:
    before = walk.refused("good", "locked")

    wrong = walk.post("/locked", b"{}", token="a-wrong-token")
    none = walk.post("/locked", b"{}")

    assert (wrong, none) == ((401, "Invalid Auth token"), (401, "Invalid Authorization Header"))
    assert walk.refused("good", "locked") == before + 2
    assert walk.post("/locked", b"{}", token="the-right-token") == (200, "success")
    assert not walk.said("a-wrong-token")
    assert not walk.said("the-right-token")
    walk.the_good_ones_work()


def test_a_body_that_is_not_json_is_answered_400_with_the_place(walk: _Walk) -> None:
    before = walk.refused("good", "in")

    status, said = walk.post("/in", b'{"number": ')

    assert status == 400
    assert re.fullmatch(r"the body is not JSON: .*: line 1 column \d+ \(char \d+\)", said)
    assert walk.refused("good", "in") == before + 1
    walk.the_good_ones_work()


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"not json", "the body is no oslo.messaging notification: it is not JSON: "),
        (
            b'{"oslo.version": "2.0", "oslo.message": "{not json"}',
            "'oslo.message' in the oslo.messaging envelope is not JSON: ",
        ),
    ],
)
def test_a_notification_that_is_not_json_is_refused_and_never_comes_again(
    walk: _Walk, body: bytes, sentence: str
) -> None:
    rabbitmq = _with_rabbitmq(walk)
    before = walk.refused("mq", "notes")
    while not walk.said(sentence):  # the log says at most one refusal a second
        seen = walk.refused("mq", "notes")
        asyncio.run(_publish(rabbitmq, body))
        walk.until(lambda seen=seen: walk.refused("mq", "notes") == seen + 1)  # type: ignore[misc]

    [line, *_] = walk.said("warning", sentence)
    assert "source 'mq/notes' refused a message" in line
    assert "exchange 'notes', routing key 'info'" in line
    assert "dead-letter exchange" in line
    assert walk.refused("mq", "notes") > before
    assert rabbitmq.depth("notes") == (0, 0)
    walk.the_good_ones_work()


async def _publish(rabbitmq: RabbitMQ, body: bytes) -> None:
    import aiormq

    connection = await aiormq.connect(rabbitmq.url)
    channel = await connection.channel()
    await channel.basic_publish(body, exchange="notes", routing_key="info")
    await connection.close()


def test_an_exchange_that_does_not_exist_is_named_with_the_remedy(walk: _Walk) -> None:
    _with_rabbitmq(walk)

    line = walk.until_said("ERROR", "source 'mq/lost' (amqp) does not receive")

    assert "exchange 'nowhere': NOT_FOUND" in line
    assert "make it first, or leave out 'passive'" in line
    assert walk.metric("argosy_source_restarts_total", eventsource_name="mq", event_name="lost") >= 1
    assert "source 'mq/lost'" in (walk.waiting_for() or [])
    walk.the_good_ones_work()


def test_a_port_in_use_is_named_with_the_remedy(walk: _Walk) -> None:
    line = walk.until_said("ERROR", "source 'occupied/in' (webhook) does not receive")

    assert re.search(r"port \d+ on 127.0.0.1 cannot be opened: another program listens there", line)
    assert "end it, or give the event another port" in line
    assert walk.metric("argosy_source_restarts_total", eventsource_name="occupied") >= 1
    assert "source 'occupied/in'" in (walk.waiting_for() or [])
    walk.the_good_ones_work()


def test_a_missing_secret_of_a_source_is_named_and_the_caller_gets_no_event_through(walk: _Walk) -> None:
    walk.until_said("warning", "missing-secret.yaml", "Secret 'nowhere' is not among these manifests")

    status, said = walk.post("/keyless", b"{}", token="anything")

    assert (status, said) == (500, "Error loading auth token")
    line = walk.until_said("ERROR", "/keyless are refused")
    assert "key 'token' of Secret 'nowhere' cannot be found" in line
    assert "ARGOSY_SECRET_NOWHERE_TOKEN is not set" in line
    assert walk.refused("keyless", "in") >= 1
    walk.the_good_ones_work()


def test_a_missing_secret_of_a_trigger_is_named_and_the_action_waits_for_it(walk: _Walk) -> None:
    walk.the_good_ones_work()

    line = walk.until_said("warning", "trigger 'call' of sensor 'keyless' failed action")

    assert "key 'token' of Secret 'nowhere' cannot be found" in line
    assert walk.metric("argo_events_action_failed_total", sensor_name="keyless") >= 1
    assert not walk.receiver.at("/keyless")


def test_a_transform_that_yields_an_array_drops_the_event_for_this_sensor_only(walk: _Walk) -> None:
    walk.the_good_ones_work()

    line = walk.until_said("warning", "sensor 'arrays' dropped event")

    assert (
        "dependency 'in' could not decide: transform.jq: the program yielded an array; it must yield an object" in line
    )
    assert walk.metric("argosy_events_filtered_total", sensor_name="arrays", dependency="in", result="failed") >= 1
    assert not walk.receiver.at("/arrays")


def test_a_dependency_that_names_no_event_source_is_said_with_its_place_and_the_likely_one(walk: _Walk) -> None:
    line = walk.until_said("no-source.yaml:6:")

    assert "there is no EventSource 'goood' in namespace 'default'; did you mean 'good'?" in line
    assert "spec.dependencies[0].eventSourceName" in line
    assert walk.metric("argosy_objects_invalid") >= 1
    walk.the_good_ones_work()
    assert not walk.receiver.at("/astray")


def test_a_file_that_is_not_yaml_is_said_with_its_place(walk: _Walk) -> None:
    line = walk.until_said("not-yaml.yaml:")

    assert re.search(r"not-yaml\.yaml:\d+:\d+: error: not YAML: ", line)
    assert walk.metric("argosy_objects_invalid") >= 2
    walk.the_good_ones_work()
