"""The bus goes away under a real run: who sends is told, nothing is acknowledged, and all goes on by itself."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from tests.brokers.nats_server import halt
from tests.brokers.oslo_notify import notify
from tests.brokers.rabbitmq import Depth, RabbitMQ
from tests.cli.running import Run, free_port, http
from tests.crash.buses import BusInside, BusOutside, servers_of
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
kind: EventSource
metadata: {{name: openstack}}
spec:
  amqp:
    ports:
      url: {rabbitmq}
      exchangeName: {name}
      exchangeType: topic
      exchangeDeclare: {{durable: true}}
      routingKey: notifications.info
      queueDeclare: {{name: q-{name}, durable: true}}
      oslo: true
---
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: all}}
spec:
  dependencies:
    - {{name: web, eventSourceName: web, eventName: in}}
    - {{name: port, eventSourceName: openstack, eventName: ports}}
  triggers:
    - template:
        name: web
        conditions: web
        http:
          url: {receiver}/web
          payload: [{{src: {{dependencyName: web, dataKey: body.number}}, dest: number}}]
    - template:
        name: port
        conditions: port
        http:
          url: {receiver}/port
          payload: [{{src: {{dependencyName: port, dataKey: body.payload.port.id}}, dest: id}}]
"""


class _Frozen(BusInside):
    """The embedded server comes back by itself too soon to see anything; so it is halted, not killed."""

    def kill(self, run: Run) -> None:
        """Halt it: connections stand, nobody answers."""
        for pid in servers_of(run.pid):
            halt(pid)

    def start(self, run: Run) -> None:
        """Let it go on."""
        for pid in servers_of(run.pid):
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("where", ["outside", "inside"])
def test_while_the_bus_is_away_senders_are_told_and_then_all_goes_on(
    where: str, rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    name, port = tmp_path.name, free_port()
    outside = BusOutside(tmp_path / "nats") if where == "outside" else _Frozen()
    with Receiver() as receiver, outside as bus:
        run = Run(tmp_path, *bus.options)
        text = MANIFESTS.format(port=port, rabbitmq=rabbitmq.url, name=name, receiver=receiver.url)
        run.write("all.yaml", text)

        def post(n: int) -> tuple[int, str]:
            return http(f"http://127.0.0.1:{port}/in", json.dumps({"number": n}).encode())

        def web() -> set[int]:
            return {int(effect.body["number"]) for effect in receiver.at("/web")}

        try:
            # Given a run that works
            run.start()
            run.until_ready()
            assert post(1)[0] == 200
            run.until(lambda: web() == {1})

            # When the bus goes away
            bus.kill(run)

            # Then an HTTP caller is told so, after a wait that ends, and RabbitMQ keeps its messages
            status, said = post(2)
            assert (status, said) == (503, "the event bus does not answer")
            asyncio.run(notify(rabbitmq.url, exchange=name, count=3))
            run.until(lambda: rabbitmq.depth(f"q-{name}") == Depth(ready=0, unacknowledged=3))
            run.until(lambda: "bus" in " ".join(run.waiting_for() or []))
            run.until_said("warning", "lost the bus at nats://127.0.0.1")
            assert run.get("/healthz")[0] == 200
            assert run.metric("argo_events_events_processing_failed_total", eventsource_name="web") >= 1

            # And when it is back, then all goes on by itself
            bus.start(run)
            run.until_ready()
            run.until(lambda: rabbitmq.depth(f"q-{name}") == Depth(0, 0))
            run.until(lambda: {e.body["id"] for e in receiver.at("/port")} == {"port-0", "port-1", "port-2"})
            assert post(3)[0] == 200
            run.until(lambda: {1, 3} <= web())
            assert len(receiver.at("/port")) == 3
            assert run.end() == 0
        finally:
            run.end(signal.SIGKILL)
