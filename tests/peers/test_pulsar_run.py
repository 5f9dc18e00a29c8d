"""``argosy run`` with a real Pulsar on both sides of it: nothing is missing when the process and the server are killed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pulsar
import pytest

from tests.cli.running import Run
from tests.peers.pulsar_server import PulsarServer

_COUNT = 100
_TOPICS = "persistent://public/default/"

_MANIFESTS = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: pulsar}}
spec:
  pulsar:
    example:
      url: {url}
      topics: [{topics}numbers]
      type: shared
      jsonBody: true
      filter: {{expression: "int(body.n) % 5 != 0"}}
      authTokenSecret: {{name: s, key: token}}
---
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: pulsar}}
spec:
  dependencies: [{{name: message, eventSourceName: pulsar, eventName: example}}]
  triggers:
    - template:
        name: copy
        pulsar:
          url: {url}
          topic: overwritten
          authTokenSecret: {{name: s, key: token}}
          parameters:
            - {{src: {{dependencyName: message, value: "{topics}copies"}}, dest: topic}}
          payload: [{{src: {{dependencyName: message, dataKey: body.n, useRawData: true}}, dest: number}}]
"""


def _client(server: PulsarServer) -> Any:
    log = pulsar.FileLogger(pulsar.LoggerLevel.Error, os.devnull)
    return pulsar.Client(server.url, authentication=pulsar.AuthenticationToken(server.token()), logger=log)


def _send(server: PulsarServer, numbers: range) -> None:
    client = _client(server)
    producer = client.create_producer(f"{_TOPICS}numbers")
    for number in numbers:
        producer.send(json.dumps({"n": number}).encode())
    client.close()


def _copies(server: PulsarServer) -> list[Any]:
    client = _client(server)
    reader = client.create_reader(f"{_TOPICS}copies", pulsar.MessageId.earliest)
    found = []
    while reader.has_message_available():
        found.append(reader.read_next(timeout_millis=5000))
    client.close()
    return found


@pytest.mark.timeout(180)
def test_nothing_is_missing_and_repetitions_have_one_id_when_process_and_server_are_killed(
    tmp_path: Path, run: Run
) -> None:
    # Given a topic whose messages are copied to another one
    with PulsarServer(tmp_path / "pulsar") as server:
        run.keep("s", token=server.token())
        run.write("pulsar.yaml", _MANIFESTS.format(url=server.url, topics=_TOPICS))
        run.start()
        run.until_ready()
        # When the process is killed twice and the server once while messages come, also while it is away
        step = _COUNT // 4
        _send(server, range(step))
        run.end(9)
        _send(server, range(step, 2 * step))
        run.start()
        run.until_ready()
        _send(server, range(2 * step, 3 * step))
        server.kill()
        server.start()
        run.end(9)
        run.start()
        _send(server, range(3 * step, _COUNT))
        # Then every message that the filter lets through is copied, and what is there twice has one id
        wanted = {number for number in range(_COUNT) if number % 5}

        def numbers() -> set[int]:
            return {json.loads(copy.data())["number"] for copy in _copies(server)}

        run.until(lambda: numbers() >= wanted, "all copies")
        copies = _copies(server)
        assert {json.loads(copy.data())["number"] for copy in copies} == wanted
        assert len({copy.properties()["Idempotency-Key"] for copy in copies}) == len(wanted)
        assert server.token() not in run.log.read_text()
        assert run.end() == 0
