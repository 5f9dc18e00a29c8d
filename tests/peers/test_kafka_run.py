"""``argosy run`` with a real Kafka on both sides of it and in between: nothing is missing when the process and the broker are killed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.cli.running import Run
from tests.crash.receiver import Receiver
from tests.peers.kafka_producer import received
from tests.peers.kafka_server import PASSWORD, KafkaServer

_COUNT = 200

_SOURCE = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: kafka}}
spec:
  kafka:
    example:
      url: {url}
      topic: numbers
      jsonBody: true
      filter: {{expression: "int(body.n) % 5 != 0"}}
      config: "consumer: {{group: {{session: {{timeout: 2s}}, heartbeat: {{interval: 200ms}}}}}}"
      consumerGroup: {{groupName: argosy, oldest: true}}
      sasl:
        mechanism: SCRAM-SHA-512
        userSecret: {{name: s, key: user}}
        passwordSecret: {{name: s, key: password}}
"""

_SENSOR = """
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: kafka}}
spec:
  dependencies: [{{name: message, eventSourceName: kafka, eventName: example}}]
  triggers:
    - template:
        name: forward
        http:
          url: {url}/kafka
          method: POST
          payload: [{{src: {{dependencyName: message, dataKey: body.n, useRawData: true}}, dest: number}}]
    - template:
        name: copy
        kafka:
          url: {kafka}
          topic: overwritten
          partitioningKey: overwritten
          headers: {{from: overwritten}}
          sasl:
            userSecret: {{name: s, key: user}}
            passwordSecret: {{name: s, key: password}}
          parameters:
            - {{src: {{dependencyName: message, value: copies}}, dest: topic}}
            - {{src: {{dependencyName: message, dataTemplate: "key-{{{{ .Input.body.n }}}}"}}, dest: partitioningKey}}
            - {{src: {{dependencyName: message, dataKey: topic}}, dest: headers.from}}
          payload: [{{src: {{dependencyName: message, dataKey: body.n, useRawData: true}}, dest: number}}]
"""


async def _prepare(server: KafkaServer) -> None:
    admin = AIOKafkaAdminClient(**server.client())
    await admin.start()
    await admin.create_topics([NewTopic("numbers", 3, 1), NewTopic("copies", 1, 1)])
    await admin.close()


async def _send(server: KafkaServer, numbers: range) -> None:
    async with AIOKafkaProducer(**server.client()) as producer:
        for number in numbers:
            value = json.dumps({"n": number}).encode()
            await producer.send_and_wait("numbers", value, partition=number % 3)


async def _copies(server: KafkaServer) -> list[Any]:
    consumer = AIOKafkaConsumer(**server.client())
    await consumer.start()
    try:
        place = TopicPartition("copies", 0)
        count = (await consumer.end_offsets([place]))[place]
    finally:
        await consumer.stop()
    return await received(server, "copies", count)


@pytest.mark.timeout(180)
def test_nothing_is_missing_and_nothing_is_done_twice_when_process_and_broker_are_killed(
    tmp_path: Path, run: Run
) -> None:
    # Given a topic that is acted upon
    with KafkaServer(tmp_path / "kafka") as server, Receiver() as receiver:
        asyncio.run(_prepare(server))
        run.keep("s", user="argosy\n", password=f"{PASSWORD}\n")
        run.write("kafka.yaml", _SOURCE.format(url=f"127.0.0.1:{server.port}"))
        run.write("sensor.yaml", _SENSOR.format(url=receiver.url, kafka=f"127.0.0.1:{server.port}"))
        run.start()
        run.until_ready()
        # When the process is killed twice and the broker once while messages come, also while it is away
        step = _COUNT // 4
        asyncio.run(_send(server, range(step)))
        run.end(9)
        asyncio.run(_send(server, range(step, 2 * step)))
        run.start()
        run.until(lambda: run.waiting_for() is not None, "nobody answers")
        asyncio.run(_send(server, range(2 * step, 3 * step)))
        asyncio.run(server.restart())
        run.end(9)
        run.start()
        asyncio.run(_send(server, range(3 * step, _COUNT)))
        # Then every message that the filter lets through is acted upon, once
        wanted = [number for number in range(_COUNT) if number % 5]

        def came() -> list[int]:
            return sorted(effect.body["number"] for effect in receiver.effects.get("/kafka", ()))

        run.until(lambda: len(came()) >= len(wanted), "all messages")
        assert came() == wanted
        # And each is copied to the topic, with the key and the header that parameters made; what is there twice has one id
        run.until(lambda: len(asyncio.run(_copies(server))) >= len(wanted), "all copies")
        copies = asyncio.run(_copies(server))
        assert {json.loads(copy.value)["number"] for copy in copies} == set(wanted)
        assert all(copy.key == f"key-{json.loads(copy.value)['number']}".encode() for copy in copies)
        assert {dict(copy.headers)["from"] for copy in copies} == {b"numbers"}
        assert len({dict(copy.headers)["Idempotency-Key"] for copy in copies}) == len(wanted)
        assert PASSWORD not in run.log.read_text()
        assert run.end() == 0
