"""``argosy run`` beside moto: Argo Events' own examples for AWS run unchanged, and no message of a queue is missing when
the process is killed.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import Run, free_port, http
from tests.crash.receiver import Receiver
from tests.peers.moto_server import REGION, MotoServer

_CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus" / "argo-events-examples"


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MotoServer]:
    with MotoServer(tmp_path_factory.mktemp("moto")) as server:
        http(f"{server.url}/moto-api/config", json.dumps({"lambda": {"use_docker": False}}).encode())
        yield server


@pytest.fixture
def run(run: Run) -> Run:
    run.keep("aws-secret", accesskey="AKIAIOSFODNN7EXAMPLE", secretkey="wJalrXUtnFEMI/K7MDENG")
    return run


def _example(name: str) -> str:
    path = _CORPUS / name
    if not path.exists():
        pytest.skip(f"the corpus is not here: {path}")
    return path.read_text()


def _function(moto: MotoServer) -> None:
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as file:
        file.writestr("main.py", "def handle(event, context): return event")
    iam = moto.client("iam")
    role = iam.create_role(RoleName="some-role", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    moto.client("lambda").create_function(
        FunctionName="hello", Runtime="python3.11", Role=role, Handler="main.handle", Code={"ZipFile": code.getvalue()}
    )


def test_the_examples_of_argo_events_run_unchanged(moto: MotoServer, run: Run) -> None:
    # Given both examples of Lambda, the one of SQS, and a webhook that they react to
    _function(moto)
    queue = moto.client("sqs").create_queue(QueueName="test")["QueueUrl"]
    run.write("waits.yaml", _example("tutorials/10-aws-lambda-trigger/sensor.yaml"))
    run.write("hands-over.yaml", _example("sensors/aws-lambda-trigger.yaml"))
    run.write("sqs.yaml", _example("event-sources/aws-sqs.yaml"))
    run.write("sees.yaml", _SENSOR.format(source="aws-sqs", trigger="log: {}"))
    port = free_port()
    run.write("webhook.yaml", _WEBHOOK.format(port=port))
    # When they run, AWS being where the environment says
    run.start({"AWS_ENDPOINT_URL": moto.url})
    run.until_ready()
    assert http(f"http://127.0.0.1:{port}/example", b'{"name": "Argo"}')[0] == 200
    moto.client("sqs").send_message(QueueUrl=queue, MessageBody='{"order": 4711}')
    # Then the functions are invoked as each says, and the message is seen and deleted
    run.until_said("function 'hello' in us-east-1 returned (200)")
    run.until_said("function 'hello' in us-east-1 has the payload (202)")
    run.until_said("4711")
    run.until(lambda: _left(moto, queue) == 0, "the message is deleted")


def test_no_message_of_a_queue_is_missing_when_the_process_is_killed(moto: MotoServer, run: Run) -> None:
    # Given a queue with messages, and a source that forwards them
    client = moto.client("sqs")
    queue = client.create_queue(QueueName="orders")["QueueUrl"]
    names = {
        client.send_message(QueueUrl=queue, MessageBody=json.dumps({"order": number}))["MessageId"]
        for number in range(60)
    }
    run.write("sqs.yaml", _SQS)
    with Receiver() as receiver:
        trigger = _FORWARD.format(url=receiver.url)
        run.write("forward.yaml", _SENSOR.format(source="orders", trigger=trigger))
        run.start({"AWS_ENDPOINT_URL": moto.url})

        def arrived() -> list[Any]:
            return [effect.body["data"] for effect in receiver.effects.get("/orders", ())]

        # When it is killed on the way, twice
        for some in (5, 25):
            run.until(lambda some=some: len(arrived()) >= some, f"{some} have arrived")  # type: ignore[misc]
            run.end(9)
            run.start({"AWS_ENDPOINT_URL": moto.url})
        # Then each message arrives; what was received and not deleted comes again after a while
        run.until(lambda: {one["messageId"] for one in arrived()} == names, "all have arrived", seconds=90)
        assert sorted({one["body"]["order"] for one in arrived()}) == list(range(60))
        run.until(lambda: _left(moto, queue) == 0, "all are deleted")


def _left(moto: MotoServer, queue: str) -> int:
    found = moto.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    return int(found["ApproximateNumberOfMessages"]) + int(found["ApproximateNumberOfMessagesNotVisible"])


_WEBHOOK = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: webhook}}
spec:
  webhook:
    example: {{port: "{port}", endpoint: /example, method: POST}}
"""

_SQS = f"""
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: orders}}
spec:
  sqs:
    example:
      queue: orders
      region: {REGION}
      jsonBody: true
      waitTimeSeconds: 1
      accessKey: {{name: aws-secret, key: accesskey}}
      secretKey: {{name: aws-secret, key: secretkey}}
"""

_SENSOR = """
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: of-{source}}}
spec:
  dependencies: [{{name: message, eventSourceName: {source}, eventName: example}}]
  triggers:
    - template:
        name: act
        {trigger}
"""

_FORWARD = (
    "http: {{url: {url}/orders, method: POST, "
    'payload: [{{src: {{dependencyName: message, dataKey: "@this", useRawData: true}}, dest: data}}]}}'
)
