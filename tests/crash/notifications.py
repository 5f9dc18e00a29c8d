"""Notifications through a real RabbitMQ, a real bus and a real ``argosy run``, while all of them are killed.

``Course`` plays one: the real oslo.messaging notifier publishes ``count`` notifications, in stages; between the
stages, and while the next one is being published, something is killed and comes back. Three triggers act: one
for every notification, one for those that a filter lets through, one for pairs that a condition joins.
``judge`` then compares what the receiver did with what was published, and with what the event log holds: the
order of the log decides which notifications a condition pairs, so the judge plays the condition over the log
by a model of its own.

Everything is a parameter of ``Plan``; what is chosen by chance follows from its seed. A small plan is a test
(``test_notifications``); a big one runs for as long as somebody likes:

    python -m tests.crash.notifications --count 100000 --rounds 50 --seed 7
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import queue
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from argosy.bus._base import Bus, Pair
from argosy.bus.embedded import EmbeddedServer
from argosy.bus.jetstream import JetStreamBus
from argosy.event import Event
from tests.brokers.nats_server import NatsServer
from tests.brokers.rabbitmq import RabbitMQ
from tests.cli.running import Run
from tests.crash.receiver import Receiver

_ROOT = Path(__file__).resolve().parents[2]
_PAIR = Pair("openstack", "ports")
_SENSOR = "default/ports"
TRIGGERS = ("each", "half", "pair")

MANIFESTS = """
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


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is published and what is killed. ``kills`` are words of ``Course.KILLS``, played in this order."""

    count: int = 2000
    kills: Sequence[str] = ("argosy", "rabbitmq", "bus", "argosy while the bus is away")
    seed: int = 1
    lost_answers: float = 0.01
    """Which part of the receiver's first answers is lost."""
    patience_seconds: float = 90.0
    """How long nothing may move before that counts as stuck."""


@dataclass
class Result:
    """What was published, and what came of it."""

    sent: dict[str, int] = field(default_factory=dict)
    """The number of each notification that the broker confirmed, by its ``message_id``."""
    unsure: dict[str, int] = field(default_factory=dict)
    """Those that the publisher gave up: they may have arrived."""
    log: list[str] = field(default_factory=list)
    """The ids of the events on the log, in its order."""
    effects: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """The bodies that had an effect, by trigger, in the order in which they came."""
    faults: list[str] = field(default_factory=list)
    """What was found to be wrong besides."""
    duplicates: int = 0
    answers_lost: int = 0
    seconds: float = 0.0

    def report(self) -> str:
        """What happened, in one line."""
        return (
            f"{len(self.sent)} notifications ({len(self.unsure)} unsure), {len(self.log)} on the log; "
            f"effects { ({name: len(bodies) for name, bodies in self.effects.items()}) }; "
            f"{self.duplicates} duplicate deliveries, {self.answers_lost} of them for a lost answer; "
            f"{self.seconds:.0f} s"
        )


def judge(result: Result) -> list[str]:
    """What is wrong, in sentences; empty if every promise was kept."""
    faults = list(result.faults)
    numbers = result.sent | result.unsure
    on_log = Counter(result.log)
    faults += [f"{id} is on the log {count} times" for id, count in on_log.items() if count > 1]
    faults += [f"{id} was never published, but is on the log" for id in on_log if id not in numbers]
    faults += [f"{id} (port-{number}) never reached the log" for id, number in result.sent.items() if id not in on_log]
    even = [id for id in result.log if numbers.get(id, 1) % 2 == 0]
    wanted = {
        "each": [{"id": id} for id in result.log],
        "half": [{"id": id} for id in even],
        "pair": joined(result.log, set(even)),
    }
    for name, bodies in wanted.items():
        asked, done = Counter(map(str, bodies)), Counter(map(str, result.effects.get(name, ())))
        faults += [f"{name}: {body} was done {count} times" for body, count in done.items() if count > 1]
        faults += [f"{name}: {body} was never done" for body in asked if body not in done]
        faults += [f"{name}: {body} was done and should not have been" for body in done if body not in asked]
        if asked == done and bodies != result.effects.get(name, []):
            faults.append(f"{name}: done in another order than that of the log")
    return faults


def joined(log: Sequence[str], even: set[str]) -> list[dict[str, str]]:
    """What ``even && odd`` pairs over this log: the newest of each, forgotten once they are paired."""
    held: dict[str, str] = {}
    pairs = []
    for id in log:
        held["even" if id in even else "odd"] = id
        if len(held) == 2:
            pairs.append({"even": held["even"], "odd": held["odd"]})
            held.clear()
    return pairs


class Course:
    """One plan, played in ``folder``. ``program`` is what Python runs instead of ``-m argosy.cli.main``, for sabotage."""

    def __init__(
        self, plan: Plan, folder: Path, rabbitmq: RabbitMQ, bus: BusOutside | BusInside, program: Sequence[str] = ()
    ) -> None:
        self.plan = plan
        self.result = Result()
        self._random = random.Random(plan.seed)
        self._rabbitmq = rabbitmq
        self._bus = bus
        self._name = folder.name
        self._receiver = Receiver(plan.seed, lost_answers=plan.lost_answers)
        self._run = Run(folder, *bus.options)
        self._run.program = [*program] or self._run.program
        self._published = Published(rabbitmq.url, self._name, plan.count, self.result)
        self.KILLS: dict[str, Callable[[], None]] = {
            "argosy": self._kill_argosy,
            "rabbitmq": self._kill_rabbitmq,
            "bus": self._kill_bus,
            "argosy while the bus is away": self._kill_argosy_without_bus,
        }

    def play(self, env: dict[str, str] | None = None) -> Result:
        """Publish, kill, and wait until all is done or nothing moves any more; then look."""
        began = time.monotonic()
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._receiver)
            stack.enter_context(self._bus)
            stack.callback(self._end_run)
            text = MANIFESTS.format(
                rabbitmq=self._rabbitmq.url, receiver=self._receiver.url, exchange=self._name, queue=f"q-{self._name}"
            )
            self._run.write("all.yaml", text)
            self._run.start(env)
            self._run.until_ready()
            stack.enter_context(self._published)
            self._stages()
            self._until_still(lambda: self._published.done, "publishing")
            self._until_still(self._seems_done, "acting")
            self._look()
        self.result.seconds = time.monotonic() - began
        return self.result

    def _end_run(self) -> None:
        self._run.end(signal.SIGKILL)

    # ------------------------------------------------------------------ the stages

    def _stages(self) -> None:
        """Let the publisher go a piece ahead of what is killed next, so that all is under way when it happens."""
        plan = self.plan
        length = plan.count // (len(plan.kills) + 1)
        for number, kill in enumerate(plan.kills):
            begin = number * length
            self._published.up_to(begin + length)
            # Somewhere in this stage: the broker has some, the receiver has some, neither has all.
            moment = begin + self._random.randrange(length // 4, length * 3 // 4)
            self._until_still(
                lambda moment=moment, begin=begin: (  # type: ignore[misc]
                    self._published.reached >= moment and len(self._receiver.at("/each")) > begin // 2
                ),
                f"before {kill!r}",
            )
            self.KILLS[kill]()
        self._published.up_to(plan.count)

    def _restart_if_dead(self) -> None:
        # A run that is told to die at a point (CRASH_AT) is started again without that.
        if self._run.ended:
            self._run.start()

    def _kill_argosy(self) -> None:
        self._run.end(signal.SIGKILL)
        self._run.start()

    def _kill_rabbitmq(self) -> None:
        self._rabbitmq.kill()
        self._rabbitmq.start()

    def _kill_bus(self) -> None:
        self._bus.kill(self._run)
        self._bus.start(self._run)

    def _kill_argosy_without_bus(self) -> None:
        self._bus.kill(self._run)
        self._run.end(signal.SIGKILL)
        self._bus.start(self._run)
        self._run.start()

    # ------------------------------------------------------------------ waiting and looking

    def _until_still(self, condition: Callable[[], bool], what: str) -> None:
        """Return once the condition holds; or, noting a fault, once nothing has moved for too long."""
        seen, moved = self._moved(), time.monotonic()
        while not condition():
            self._restart_if_dead()
            if (now := self._moved()) != seen:
                seen, moved = now, time.monotonic()
            if time.monotonic() - moved > self.plan.patience_seconds:
                self.result.faults.append(f"{what}: nothing moves any more at {seen}; the log ends\n{self._run.tail()}")
                return
            time.sleep(0.02)

    def _moved(self) -> tuple[int, ...]:
        return (self._published.reached, *(len(self._receiver.at(f"/{name}")) for name in TRIGGERS))

    def _seems_done(self) -> bool:
        """What can be told without the log: every notification was acted upon, and so were half of them."""
        each = {effect.body["id"] for effect in self._receiver.at("/each")}
        half = {effect.body["id"] for effect in self._receiver.at("/half")}
        return self.result.sent.keys() <= each and {id for id, n in self.result.sent.items() if n % 2 == 0} <= half

    def _look(self) -> None:
        """Drain; read the log; go on until the pairs are done too; drain again and see that nothing is left."""
        result = self.result
        self._drain()
        with self._bus.opened_by(self._run) as address:
            result.log = asyncio.run(_log_of(address))
        numbers = result.sent | result.unsure
        pairs = len(joined(result.log, {id for id in result.log if numbers.get(id, 1) % 2 == 0}))
        self._run.start()
        self._run.until_ready()
        self._until_still(lambda: len(self._receiver.at("/pair")) >= pairs, "pairing")
        self._drain()
        with self._bus.opened_by(self._run) as address:
            result.faults += asyncio.run(_left_over(address))
        if any(depth := self._rabbitmq.depth(f"q-{self._name}")):
            result.faults.append(f"RabbitMQ still has {depth}")
        receiver = self._receiver
        result.faults += receiver.faults
        result.effects = {name: [effect.body for effect in receiver.at(f"/{name}")] for name in TRIGGERS}
        result.duplicates, result.answers_lost = receiver.duplicates, receiver.answers_lost

    def _drain(self) -> None:
        code = self._run.end()
        if code != 0:
            self.result.faults.append(f"the drain ended with exit code {code}:\n{self._run.tail()}")


class Published:
    """The publisher, a process of its own, and what it has published so far. A context manager."""

    def __init__(self, url: str, exchange: str, count: int, result: Result) -> None:
        self._command = [sys.executable, "-m", "tests.brokers.oslo_notify", url, "--exchange", exchange]
        self._command += ["--topic", "notifications", "--driver", "messagingv2", "--count", str(count), "--paced"]
        self._result = result
        self._count = count
        self._said: queue.Queue[str] = queue.Queue()
        self._child: subprocess.Popen[str] | None = None

    def __enter__(self) -> Published:
        self._child = subprocess.Popen(
            self._command,
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._thread = threading.Thread(target=self._read, args=(self._child,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._child is not None
        self._child.kill()
        self._child.wait()
        self._thread.join()
        for stream in (self._child.stdin, self._child.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def up_to(self, number: int) -> None:
        """Let it publish as far as this."""
        assert self._child is not None and self._child.stdin is not None
        self._child.stdin.write(f"{number}\n")
        self._child.stdin.flush()

    @property
    def reached(self) -> int:
        """How many the broker has confirmed."""
        return len(self._result.sent)

    @property
    def done(self) -> bool:
        """Whether the broker has confirmed all."""
        return self.reached >= self._count

    def _read(self, child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None
        for line in child.stdout:
            how, number, id = line.split()
            (self._result.sent if how == "sent" else self._result.unsure)[id] = int(number)


@dataclass(frozen=True)
class Address:
    """Where the bus of a run that has ended can be opened: a URL, or the data folder of the embedded server."""

    url: str = ""
    data: Path | None = None

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Bus]:
        """The bus that the manifests use."""
        if self.data is None:
            async with JetStreamBus(self.url) as bus:
                yield bus
        else:
            async with EmbeddedServer(self.data) as server, server.bus("default/default") as bus:
                yield bus


class BusOutside:
    """A nats-server that stands by itself, killed and started again at will. A context manager."""

    def __init__(self, folder: Path) -> None:
        self._server = NatsServer(folder)
        self.options = ("--bus", self._server.url)

    def __enter__(self) -> BusOutside:
        asyncio.run(self._server.start())
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.end()

    def kill(self, run: Run) -> None:
        """SIGKILL; it is gone on return."""
        self._server.end()

    def start(self, run: Run) -> None:
        """Bring it back, with what it had stored."""
        asyncio.run(self._server.start())

    @contextlib.contextmanager
    def opened_by(self, run: Run) -> Iterator[Address]:
        """Where to look, now that the run has ended."""
        yield Address(url=self._server.url)


class BusInside:
    """The embedded server, which the run itself brings back when it dies."""

    def __init__(self, *options: str) -> None:
        """``options`` are more words of the run's command line."""
        self.options = options

    def __enter__(self) -> BusInside:
        return self

    def __exit__(self, *exc: object) -> None:
        """The run ends its server."""

    def kill(self, run: Run) -> None:
        """SIGKILL to the run's child."""
        for pid in servers_of(run.pid):
            os.kill(pid, signal.SIGKILL)

    def start(self, run: Run) -> None:
        """The run does that."""

    @contextlib.contextmanager
    def opened_by(self, run: Run) -> Iterator[Address]:
        """Where to look, now that the run has ended."""
        yield Address(data=run.folder / "data")


def servers_of(pid: int) -> list[int]:
    """The nats-server processes that are children of this one."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if b"nats-server" in Path(f"/proc/{child}/cmdline").read_bytes()]


async def _log_of(address: Address) -> list[str]:
    """The ids of all events on the log, in its order: up to a last one of our own."""
    end = Event(
        id=f"end-{time.time_ns()}", source="judge", subject="end", type="end", time="2026-01-01T00:00:00Z", data=b"{}"
    )
    pairs = [_PAIR, Pair(end.source, end.subject)]
    ids: list[str] = []
    async with address.open() as bus:
        await bus.publish(end)
        async with bus.subscribe(end.id, pairs, start="earliest", max_in_flight=10**9) as log:
            async for batch in log:
                ids += [delivery.event.id if delivery.event else f"unreadable: {delivery.error}" for delivery in batch]
                if ids[-1] == end.id:
                    break
    return ids[:-1]


async def _left_over(address: Address) -> list[str]:
    faults = []
    async with address.open() as bus:
        for name in TRIGGERS:
            actions = bus.queue(f"{_SENSOR}/{name}")
            if depth := await actions.depth():
                faults.append(f"{name}: {depth} actions are left in the queue")
            faults += [
                f"{name}: {letter.id} is a dead letter: {letter.reason}" for letter in await actions.dead_letters()
            ]
    return faults


def main() -> int:
    """Play a big plan; its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=20_000, help="notifications")
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is killed, in an order by chance")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--bus", choices=["outside", "inside"], default="outside")
    wanted = parser.parse_args()
    chance = random.Random(wanted.seed)
    kills = [kill for _ in range(wanted.rounds) for kill in chance.sample(Plan.kills, len(Plan.kills))]
    print(f"seed {wanted.seed}: {', '.join(kills)}")
    with tempfile.TemporaryDirectory() as text, RabbitMQ(Path(text) / "rabbitmq") as rabbitmq:
        folder = Path(text) / "course"
        folder.mkdir()
        bus = BusOutside(Path(text) / "nats") if wanted.bus == "outside" else BusInside()
        plan = Plan(count=wanted.count, kills=kills, seed=wanted.seed)
        result = Course(plan, folder, rabbitmq, bus).play()
    faults = judge(result)
    print(result.report(), *faults, sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
