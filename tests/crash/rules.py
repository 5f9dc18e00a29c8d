"""What a course plays by: manifests, and a model of what they make of a log.

The order of the log decides what a condition joins, so the model plays every trigger over the log that was found. It knows nothing of how Argosy does it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Body = dict[str, Any]


@dataclass(frozen=True)
class Rules:
    """``manifests`` are formatted with ``rabbitmq``, ``receiver``, ``exchange``, ``queue``, ``port`` and ``folder``.

    ``queues`` are the action queues by trigger. ``wanted`` gives the bodies by trigger, in their order, for the log and the number of each
    id. ``refused`` are triggers whose actions become dead letters, of which ``wanted`` lists the bodies too.
    """

    manifests: str
    pairs: Sequence[tuple[str, str]]
    queues: Mapping[str, str]
    wanted: Callable[[Sequence[str], Mapping[str, int]], dict[str, list[Body]]]
    first: str
    """The trigger that acts on the most events, by which progress is seen."""
    prompt: Sequence[str]
    """Triggers that act at once, for each event one of them at least."""
    refused: Sequence[str] = ()
    unordered: Sequence[str] = ()
    """Triggers that do not keep the order of the log: each key is gathered by itself."""


def joined(
    log: Sequence[str], side: Callable[[str], str | None], value: Callable[[str], object] = lambda id: None
) -> list[Body]:
    """What ``left && right`` pairs over this log: the newest of each, forgotten once they are paired.

    ``side`` says which dependency takes an id, None where neither does; ``value`` is what the condition correlates by.
    """
    waiting: dict[object, Body] = {}
    pairs: list[Body] = []
    for id in log:
        if (name := side(id)) is None:
            continue
        held = waiting.setdefault(value(id), {})
        held[name] = id
        if len(held) == 2:
            pairs.append(dict(sorted(held.items())))
            held.clear()
    return pairs


_AMQP = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: openstack}}
spec:
  amqp:
    ports:
      url: {rabbitmq}
      exchangeName: {exchange}
      exchangeType: topic
      exchangeDeclare: {{durable: true}}
      routingKey: notifications.info
      queueDeclare: {{name: {queue}, durable: true}}
      oslo: true
"""

_PORTS_SENSOR = """
---
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: ports}}
spec:
  dependencies:
    - {{name: all, eventSourceName: openstack, eventName: ports}}
    - name: even
      eventSourceName: openstack
      eventName: ports
      filters: {{data: [{{path: body.payload.port.id, type: string, value: ["[02468]$"]}}]}}
    - name: odd
      eventSourceName: openstack
      eventName: ports
      filters: {{data: [{{path: body.payload.port.id, type: string, value: ["[13579]$"]}}]}}
  triggers:
    - template:
        name: each
        conditions: all
        http:
          url: {receiver}/each
          payload: [{{src: {{dependencyName: all, dataKey: body.message_id}}, dest: id}}]
      retryStrategy: &often {{duration: 50ms, factor: 1, steps: 1000}}
    - template:
        name: half
        conditions: even
        http:
          url: {receiver}/half
          payload: [{{src: {{dependencyName: even, dataKey: body.message_id}}, dest: id}}]
      retryStrategy: *often
    - template:
        name: pair
        conditions: even && odd
        http:
          url: {receiver}/pair
          payload:
            - {{src: {{dependencyName: even, dataKey: body.message_id}}, dest: even}}
            - {{src: {{dependencyName: odd, dataKey: body.message_id}}, dest: odd}}
      retryStrategy: *often
"""


def _ports(log: Sequence[str], numbers: Mapping[str, int]) -> dict[str, list[Body]]:
    even = {id for id in log if numbers.get(id, 1) % 2 == 0}
    return {
        "each": [{"id": id} for id in log],
        "half": [{"id": id} for id in log if id in even],
        "pair": joined(log, lambda id: "even" if id in even else "odd"),
    }


PORTS = Rules(
    manifests=_AMQP + _PORTS_SENSOR,
    pairs=[("openstack", "ports")],
    queues={name: f"default/ports/{name}" for name in ("each", "half", "pair")},
    wanted=_ports,
    first="each",
    prompt=["each"],
)
"""Notifications alone, and three triggers: for each, for those that a filter lets through, for pairs."""

_POSTS = """
---
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
    - name: first
      eventSourceName: web
      eventName: in
      filters: {{data: [{{path: body.number, type: string, value: ["0$"]}}]}}
    - {{name: port, eventSourceName: openstack, eventName: ports}}
    - name: shaped
      eventSourceName: openstack
      eventName: ports
      transform: {{jq: '.third = ((.body.payload.port.id | ltrimstr("port-") | tonumber) % 3)'}}
      filters: {{data: [{{path: third, type: number, value: ["0"]}}]}}
  triggers:
    - template:
        name: post
        conditions: post
        http:
          url: {receiver}/post
          payload: [{{src: {{dependencyName: post, dataKey: body.id}}, dest: id}}]
      retryStrategy: &often {{duration: 50ms, factor: 1, steps: 1000}}
    - template:
        name: mixed
        conditions: post && port
        http:
          url: {receiver}/mixed
          payload:
            - {{src: {{dependencyName: post, dataKey: body.id}}, dest: post}}
            - {{src: {{dependencyName: port, dataKey: body.message_id}}, dest: port}}
      retryStrategy: *often
    - template:
        name: shaped
        conditions: shaped
        http:
          url: {receiver}/shaped
          payload:
            - {{src: {{dependencyName: shaped, dataKey: body.message_id}}, dest: id}}
            - {{src: {{dependencyName: shaped, dataKey: third, useRawData: true}}, dest: third}}
      retryStrategy: *often
    - template:
        name: called
        conditions: post
        python:
          handler: soak_handler:called
          path: {folder}
          args: {{folder: {folder}, id: ""}}
          parameters: [{{src: {{dependencyName: post, dataKey: body.id}}, dest: args.id}}]
      emit: {{eventSourceName: posts, eventName: called}}
      retryStrategy: *often
    - template:
        name: refused
        conditions: first
        http:
          url: {receiver}/refused
          payload: [{{src: {{dependencyName: first, dataKey: body.id}}, dest: id}}]
      retryStrategy: *often
      dlqTrigger:
        template:
          name: mourned
          http:
            url: {receiver}/mourned
            payload: [{{src: {{dependencyName: first, dataKey: body.id}}, dest: id}}]
        retryStrategy: *often
"""

_CHAINED = """
---
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: chained}}
spec:
  dependencies:
    - {{name: called, eventSourceName: posts, eventName: called}}
  triggers:
    - template:
        name: chained
        http:
          url: {receiver}/chained
          payload: [{{src: {{dependencyName: called, dataKey: detail.id}}, dest: id}}]
      retryStrategy: {{duration: 50ms, factor: 1, steps: 1000}}
"""

_LATE = """
---
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: late}}
spec:
  dependencies:
    - {{name: port, eventSourceName: openstack, eventName: ports}}
    - name: even
      eventSourceName: openstack
      eventName: ports
      filters: {{data: [{{path: body.payload.port.id, type: string, value: ["[02468]$"]}}]}}
    - name: odd
      eventSourceName: openstack
      eventName: ports
      filters: {{data: [{{path: body.payload.port.id, type: string, value: ["[13579]$"]}}]}}
    - {{name: post, eventSourceName: web, eventName: in}}
    - name: first
      eventSourceName: web
      eventName: in
      filters: {{data: [{{path: body.number, type: string, value: ["0$"]}}]}}
    - name: never
      eventSourceName: web
      eventName: in
      filters: {{data: [{{path: body.number, type: string, value: ["x"]}}]}}
  triggers:
    - template:
        name: gathered
        conditions: port
        http:
          url: {receiver}/gathered
          payload: [{{src: {{dependencyName: port, dataKey: "#.data.body.message_id", useRawData: true}}, dest: ids}}]
      batch: {{window: 1s, maxEvents: 2, key: {{dependencyName: port, dataKey: body.payload.port.network}}}}
      retryStrategy: &often {{duration: 50ms, factor: 1, steps: 1000}}
    - template:
        name: lonely
        conditions: first
        absent: {{dependency: never, after: 300ms}}
        http:
          url: {receiver}/lonely
          payload: [{{src: {{dependencyName: first, dataKey: body.id}}, dest: id}}]
      retryStrategy: *often
    - template:
        name: met
        conditions: even && odd
        correlate: {{even: body.payload.port.network, odd: body.payload.port.network}}
        http:
          url: {receiver}/met
          payload:
            - {{src: {{dependencyName: even, dataKey: body.message_id}}, dest: even}}
            - {{src: {{dependencyName: odd, dataKey: body.message_id}}, dest: odd}}
      retryStrategy: *often
    - template:
        name: calm
        conditions: post
        http:
          url: {receiver}/calm
          payload: [{{src: {{dependencyName: post, dataKey: body.id}}, dest: id}}]
      debounce: {{quiet: 300ms, key: {{dependencyName: post, dataKey: body.id}}}}
      retryStrategy: *often
    - template:
        name: apart
        conditions: post
        http:
          url: {receiver}/apart
          payload: [{{src: {{dependencyName: item, dataKey: data.body.id}}, dest: id}}]
      batch: {{window: 300ms, maxEvents: 5}}
      forEach: {{path: "@this", key: id}}
      retryStrategy: *often
"""

HANDLER = '''
"""The receiver that is a Python function: one line for each call."""

import json
import os


def called(events, folder, id):
    line = json.dumps({"key": events.action_id, "id": id}) + "\\n"
    file = os.open(os.path.join(folder, "called.jsonl"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line.encode())  # one call: a process that dies here has written all or nothing
    finally:
        os.close(file)
    return {"id": id}
'''


def _everything(log: Sequence[str], numbers: Mapping[str, int]) -> dict[str, list[Body]]:
    ports = [id for id in log if id.startswith("n-")]
    posts = [{"id": id} for id in log if id.startswith("p-")]
    refused = [body for body in posts if numbers.get(body["id"], 1) % 10 == 0]
    return {
        **_ports(ports, numbers),
        "post": posts,
        "called": posts,
        "chained": posts,
        "mixed": joined(log, lambda id: "port" if id.startswith("n-") else "post"),
        "shaped": [{"id": id, "third": 0} for id in ports if numbers.get(id, 1) % 3 == 0],
        "refused": refused,
        "mourned": refused,
        "gathered": [{"id": id} for id in ports],
        "lonely": refused,
        "met": joined(
            ports, lambda id: "odd" if numbers.get(id, 1) % 2 else "even", lambda id: numbers.get(id, 1) // 10
        ),
        "calm": posts,
        "apart": posts,
    }


EVERYTHING = Rules(
    manifests=_AMQP + _PORTS_SENSOR + _POSTS + _CHAINED + _LATE,
    pairs=[("openstack", "ports"), ("web", "in")],
    queues=PORTS.queues
    | {name: f"default/posts/{name}" for name in ("post", "called", "mixed", "shaped", "refused")}
    | {"mourned": "default/posts/refused/dlq", "chained": "default/chained/chained"}
    | {name: f"default/late/{name}" for name in ("gathered", "lonely", "met", "calm", "apart")},
    wanted=_everything,
    first="each",
    prompt=["each", "post"],
    refused=["refused"],
    unordered=["gathered", "calm", "apart"],
)
"""Notifications and posts, and fifteen triggers: filters, a transform, conditions, also by a value, a batch, the elements of one, a debounce, an absence,
HTTP, Python, what another trigger emitted, and a dead-letter trigger."""
