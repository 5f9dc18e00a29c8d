"""``argosy run`` with the sources of this folder, real servers and a real receiver: manifests run, filters and secrets hold,
and nothing is missing when the process is killed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
import redis
from paho.mqtt.enums import CallbackAPIVersion

from tests.brokers.nats_server import connect
from tests.brokers.sources import mosquitto as mosquittos
from tests.brokers.sources.mosquitto import Mosquitto
from tests.brokers.sources.nats_server import NatsServer
from tests.brokers.sources.redis_server import PASSWORD, RedisServer
from tests.cli.running import Run
from tests.crash.receiver import Receiver

_CORPUS = Path(__file__).resolve().parents[4] / "shared" / "corpus" / "argo-events-examples" / "event-sources"

_SENSOR = """
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: {name}}}
spec:
  dependencies: [{{name: message, eventSourceName: {name}, eventName: example}}]
  triggers:
    - template:
        name: forward
        http:
          url: {url}/{name}
          method: POST
          payload: [{{src: {{dependencyName: message, dataKey: "@this", useRawData: true}}, dest: data}}]
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with Run(tmp_path) as run:
        yield run


def _publisher(broker: Mosquitto) -> paho.Client:
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set("argosy", mosquittos.PASSWORD)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    return client


def _texts(receiver: Receiver, name: str, text_of: Callable[[Any], Any]) -> list[Any]:
    return [text_of(effect.body["data"]) for effect in receiver.effects.get(f"/{name}", ())]


def test_the_examples_of_argo_events_run_unchanged(tmp_path: Path, run: Run, receiver: Receiver) -> None:
    # Given Argo Events' own examples, and servers without passwords where --resolve leads
    files = {name: _CORPUS / f"{name}.yaml" for name in ("mqtt", "redis", "redis-streams", "nats")}
    if missing := [str(path) for path in files.values() if not path.exists()]:
        pytest.skip(f"the corpus is not here: {missing[0]}")
    broker, server = Mosquitto(tmp_path / "mosquitto"), RedisServer(tmp_path / "redis")
    broker.anonymous = server.anonymous = True
    with broker, server, NatsServer(tmp_path / "nats", extra="max_connections: 100") as nats:
        for name, path in files.items():
            run.write(f"{name}.yaml", path.read_text())
        for name in ("mqtt", "redis", "redis-stream", "nats"):
            run.write(f"sensor-{name}.yaml", _SENSOR.format(name=name, url=receiver.url))
        for host, port in (
            ("mqtt.argo-events:1883", broker.port),
            ("redis.argo-events.svc:6379", server.port),
            ("nats.argo-events.svc:4222", nats.port),
        ):
            run.options += ("--resolve", f"{host}=127.0.0.1:{port}")
        run.start()
        run.until_ready()
        # When each gets a message
        publisher, client = _publisher(broker), redis.Redis(port=server.port)
        publisher.publish("bar", b'{"n": 1}', qos=1).wait_for_publish(20)
        client.publish("FOO", "two")
        client.xadd("FOO", {"n": "3"})

        async def publish() -> None:
            connection = await connect(nats.url)
            await connection.publish("foo", b'{"n": 4}')
            await connection.close()

        asyncio.run(publish())
        # Then each arrives, as its sensor sees it
        run.until(lambda: len(receiver.effects) == 4, "four actions")
        assert _texts(receiver, "mqtt", lambda data: (data["topic"], data["body"])) == [("bar", {"n": 1})]
        assert _texts(receiver, "redis", lambda data: (data["channel"], data["body"])) == [("FOO", "two")]
        assert _texts(receiver, "redis-stream", lambda data: (data["stream"], data["values"])) == [("FOO", {"n": "3"})]
        assert _texts(receiver, "nats", lambda data: (data["subject"], data["body"])) == [("foo", {"n": 4})]
        publisher.disconnect()
        publisher.loop_stop()
        client.close()
        assert run.end() == 0


_QUEUES = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: mqtt}}
spec:
  mqtt:
    example:
      url: {mqtt}
      topic: numbers
      clientId: argosy
      jsonBody: true
      filter: {{expression: "int(body.n) % 5 != 0"}}
      auth: {{username: {{name: s, key: user}}, password: {{name: s, key: password}}}}
---
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: redis-stream}}
spec:
  redisStream:
    example:
      hostAddress: {redis}
      username: argosy
      password: {{name: s, key: password}}
      streams: [numbers]
      filter: {{expression: "sprig.get(get($env, 'values'), 'n') != '7'"}}
"""


@pytest.mark.timeout(180)
def test_nothing_is_missing_when_the_process_is_killed_and_the_stream_is_acted_upon_once(
    tmp_path: Path, run: Run, receiver: Receiver
) -> None:
    # Given both queues, each with a filter, and passwords in secrets
    run.keep("s", user="argosy\n", password=f"{PASSWORD}\n")
    with Mosquitto(tmp_path / "mosquitto") as broker, RedisServer(tmp_path / "redis") as server:
        run.write("queues.yaml", _QUEUES.format(mqtt=broker.url, redis=server.address))
        for name in ("mqtt", "redis-stream"):
            run.write(f"sensor-{name}.yaml", _SENSOR.format(name=name, url=receiver.url))
        run.start()
        run.until_ready()
        publisher = _publisher(broker)
        client = redis.Redis(port=server.port, username="argosy", password=PASSWORD)
        # When the process is killed again and again while messages come, also while it is away
        for number in range(200):
            publisher.publish("numbers", json.dumps({"n": number}), qos=1).wait_for_publish(20)
            client.xadd("numbers", {"n": str(number)})
            if number in (60, 120):
                run.end(9)
            if number in (80, 140):
                run.start()
                run.until(lambda: run.waiting_for() is not None, "nobody answers")

        # Then every message that the filter lets through is acted upon
        def came(name: str, text_of: Callable[[Any], Any]) -> list[int]:
            return [int(text_of(effect.body["data"])) for effect in receiver.effects.get(f"/{name}", ())]

        wanted = {number for number in range(200) if number % 5}
        run.until(lambda: wanted <= set(came("mqtt", lambda data: data["body"]["n"])), "all of the topic")
        streamed = [number for number in range(200) if number != 7]
        run.until(
            lambda: set(streamed) <= set(came("redis-stream", lambda data: data["values"]["n"])), "all of the stream"
        )
        # And those of the stream once, for their ids are the stream's
        assert sorted(came("redis-stream", lambda data: data["values"]["n"])) == streamed
        assert set(came("mqtt", lambda data: data["body"]["n"])) == wanted
        assert PASSWORD not in run.log.read_text()
        publisher.disconnect()
        publisher.loop_stop()
        client.close()
        assert run.end() == 0
