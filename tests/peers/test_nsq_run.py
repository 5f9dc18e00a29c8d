"""``argosy run`` between a real nsqd and a real NATS server: nothing is missing, and nothing is stored twice, when it is killed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx2
import pytest

from tests.brokers.nats_server import connect
from tests.brokers.sources.nats_server import PASSWORD, NatsServer
from tests.brokers.sources.nsq_server import Nsqd, Nsqlookupd
from tests.cli.running import Run

_COUNT = 200

_SOURCE = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: nsq}}
spec:
  nsq:
    example:
      hostAddress: {lookup}
      topic: numbers
      channel: argosy
      jsonBody: true
      filter: {{expression: "int(body.n) % 5 != 0"}}
      authSecret: {{name: s, key: password}}
"""

_SENSOR = """
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: nsq}}
spec:
  dependencies: [{{name: message, eventSourceName: nsq, eventName: example}}]
  triggers:
    - template:
        name: forward
        nats:
          url: {url}
          subject: overwritten
          jetStream: true
          auth:
            basic:
              username: {{name: s, key: user}}
              password: {{name: s, key: password}}
          parameters:
            - {{src: {{dependencyName: message, dataTemplate: "copies.{{{{ .Input.body.n }}}}"}}, dest: subject}}
          payload: [{{src: {{dependencyName: message, dataKey: body.n, useRawData: true}}, dest: number}}]
"""


def _send(server: Nsqd, numbers: range) -> None:
    url = f"http://127.0.0.1:{server.http_port}/pub"
    with httpx2.Client(trust_env=False) as http:
        for number in numbers:
            answer = http.post(url, params={"topic": "numbers"}, content=json.dumps({"n": number}).encode())
            assert answer.text == "OK"


async def _prepare(server: NatsServer) -> None:
    client = await connect(server.url, user="argosy", password=PASSWORD)
    await client.jetstream().add_stream(name="copies", subjects=["copies.*"])
    await client.close()


async def _stored(server: NatsServer) -> list[tuple[str, int]]:
    """Subject and number of each message of the stream, in its order."""
    client = await connect(server.url, user="argosy", password=PASSWORD)
    try:
        manager = client.jsm()
        count = (await manager.stream_info("copies")).state.messages
        found = [await manager.get_msg("copies", seq=place + 1) for place in range(count)]
        return [(str(each.subject), json.loads(each.data or b"")["number"]) for each in found]
    finally:
        await client.close()


@pytest.mark.timeout(180)
def test_nothing_is_missing_and_nothing_is_stored_twice_when_the_process_is_killed(tmp_path: Path, run: Run) -> None:
    extra = f"""\
jetstream {{ store_dir: "{tmp_path}/streams" }}
authorization {{ users = [ {{ user: argosy, password: "{PASSWORD}" }} ] }}
"""
    # Given a channel whose messages are published to a stream
    with (
        Nsqlookupd(tmp_path / "lookup") as lookup,
        Nsqd(tmp_path / "nsq", lookups=(lookup.tcp,)) as nsqd,
        NatsServer(tmp_path / "nats", extra) as nats,
    ):
        asyncio.run(_prepare(nats))
        run.keep("s", user="argosy\n", password=f"{PASSWORD}\n")
        run.write("nsq.yaml", _SOURCE.format(lookup=lookup.url))
        run.write("sensor.yaml", _SENSOR.format(url=nats.url))
        step = _COUNT // 4
        _send(nsqd, range(step))
        run.start()
        run.until_ready()
        # When the process is killed twice while messages come, also while it is away, and the receiver once
        _send(nsqd, range(step, 2 * step))
        run.end(9)
        _send(nsqd, range(2 * step, 3 * step))
        run.start()
        asyncio.run(nats.restart())
        run.end(9)
        run.start()
        _send(nsqd, range(3 * step, _COUNT))
        # Then every message that the filter lets through is stored, once, under the subject that the parameter made
        wanted = [number for number in range(_COUNT) if number % 5]
        run.until(lambda: len(asyncio.run(_stored(nats))) >= len(wanted), "all messages")
        stored = asyncio.run(_stored(nats))
        assert sorted(number for _, number in stored) == wanted
        assert all(subject == f"copies.{number}" for subject, number in stored)
        assert PASSWORD not in run.log.read_text()
        assert run.end() == 0
