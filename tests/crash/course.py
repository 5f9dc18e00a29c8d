"""A course: a real RabbitMQ, a real bus, a real ``argosy run``, and all of them are killed while events flow.

``Course`` plays one. A producer publishes ``count`` events, in stages; between the stages, and while the next one is being published, something is
killed or halted and comes back. Then everything is drained, and what the receivers did is put beside what was published and what the
event log holds. ``judge`` says what is wrong with it. What is published and acted upon are the ``rules``; what is chosen by chance follows
from the plan's seed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from argosy.bus._base import Pair
from argosy.event import Event
from argosy.sensor import actions
from tests.brokers.rabbitmq import RabbitMQ
from tests.cli.running import Run, free_port
from tests.crash.buses import Address, BusInside, BusOutside, workers_of
from tests.crash.receiver import Moods, Receiver
from tests.crash.rules import HANDLER, Body, Rules

ROOT = Path(__file__).resolve().parents[2]
_LONGEST_HALT_SECONDS = 2.5
_SAMPLE_SECONDS = 0.5
_START_SECONDS = 90.0
_EVENTS_FOR_A_POINT = 100
"""More are not published until the run has died at the next point."""
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is published and what is killed. ``kills`` are words of ``Course.KILLS``, played in this order."""

    count: int = 2000
    kills: Sequence[str] = ("argosy", "rabbitmq", "bus", "argosy while the bus is away")
    seed: int = 1
    moods: Moods = field(default_factory=lambda: Moods(lost_answers=0.01))
    patience_seconds: float = 90.0
    """How long nothing may move before that counts as stuck."""
    longest_seconds: float = math.inf
    """After so long nothing more is published and nothing more is killed."""
    crash_at: Sequence[str] = ()
    """Failpoints (``NAME`` or ``NAME:COUNT``) at which the run dies, one after the other, before anything else is killed."""
    oslo: bool = False
    """Whether the real oslo.messaging publishes; it knows no webhook."""


@dataclass
class Result:
    """What was published, and what came of it."""

    sent: dict[str, int] = field(default_factory=dict)
    """The number of each event that was taken (confirmed by the broker, answered with 200), by its id."""
    unsure: dict[str, int] = field(default_factory=dict)
    """Those that the producer gave up: they may have arrived."""
    log: list[str] = field(default_factory=list)
    """The ids of the events on the log, in its order."""
    effects: dict[str, list[Body]] = field(default_factory=dict)
    """The bodies that had an effect, by trigger, in the order in which they came."""
    faults: list[str] = field(default_factory=list)
    """What was found to be wrong besides."""
    kills: Counter[str] = field(default_factory=Counter)
    died_at: list[str] = field(default_factory=list)
    """The points of the plan's ``crash_at`` at which the run died."""
    duplicates: int = 0
    unwell: Counter[str] = field(default_factory=Counter)
    longest_gap_seconds: float = 0.0
    most_memory: int = 0
    """The largest resident memory of the run's Python processes together, in bytes."""
    seconds: float = 0.0

    @property
    def numbers(self) -> Mapping[str, int]:
        """The number of each id that may be on the log."""
        return self.sent | self.unsure

    def report(self) -> str:
        """What happened, in one line."""
        return (
            f"{len(self.sent)} events ({len(self.unsure)} unsure), {len(self.log)} on the log; "
            f"effects { ({name: len(bodies) for name, bodies in self.effects.items()}) }; "
            f"{self.duplicates} duplicate deliveries; receiver: {dict(self.unwell)}; kills: {dict(self.kills)}; "
            f"{self.seconds:.0f} s"
        )


def judge(result: Result, rules: Rules) -> list[str]:
    """What is wrong, in sentences; empty if every promise was kept."""
    faults = list(result.faults)
    numbers = result.numbers
    on_log = Counter(result.log)
    faults += [f"{id} is on the log {count} times" for id, count in on_log.items() if count > 1]
    faults += [f"{id} was never published, but is on the log" for id in on_log if id not in numbers]
    faults += [
        f"{id} (number {number}) never reached the log" for id, number in result.sent.items() if id not in on_log
    ]
    for name, bodies in rules.wanted(result.log, numbers).items():
        asked, done = Counter(map(_text, bodies)), Counter(map(_text, result.effects.get(name, ())))
        faults += [f"{name}: {body} was done {count} times" for body, count in done.items() if count > 1]
        faults += [f"{name}: {body} was never done" for body in asked if body not in done]
        faults += [f"{name}: {body} was done and should not have been" for body in done if body not in asked]
        if name not in rules.unordered and asked == done and bodies != result.effects.get(name, []):
            faults.append(f"{name}: done in another order than that of the log")
    return faults


def _text(body: Body) -> str:
    return json.dumps(body, sort_keys=True)


class _Stuck(Exception):
    """Nothing moves any more; the course ends, and the message is its fault."""


class Course:
    """One plan, played in ``folder``. ``program`` is what Python runs instead of ``-m argosy.cli.main``, for sabotage."""

    def __init__(
        self,
        plan: Plan,
        rules: Rules,
        folder: Path,
        rabbitmq: RabbitMQ,
        bus: BusOutside | BusInside,
        program: Sequence[str] = (),
    ) -> None:
        self.plan = plan
        self.rules = rules
        self.result = Result()
        self._random = random.Random(plan.seed)
        self._rabbitmq = rabbitmq
        self._bus = bus
        self._folder = folder
        self._name = f"{folder.name}-{os.getpid()}-{time.time_ns()}"
        self._port = free_port()
        self.receiver = Receiver(plan.seed, plan.moods, refused=[f"/{name}" for name in rules.refused])
        self._run = Run(folder, *bus.options)
        self._run.program = [*program] or self._run.program
        self._producer = Producer(self._produce(), self.result)
        self._sampled = 0.0
        self.KILLS: dict[str, Callable[[], None]] = {
            "argosy": self._kill_argosy,
            "worker": lambda: self._kill(self._workers()),
            "rabbitmq": self._kill_rabbitmq,
            "bus": self._kill_bus,
            "argosy while the bus is away": self._kill_argosy_without_bus,
            "argosy while rabbitmq is away": self._kill_argosy_without_rabbitmq,
            "halt argosy": lambda: self._halt([self._run.pid]),
            "halt worker": lambda: self._halt(self._workers()),
            "halt bus": lambda: self._halt(self._bus.pids(self._run)),
            "halt rabbitmq": self._halt_rabbitmq,
        }

    def play(self, told: Callable[[str], None] | None = None) -> Result:
        """Publish, kill, and wait until all is done or nothing moves any more; then look. ``told`` gets a line for each stage."""
        began = time.monotonic()
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.receiver)
            stack.enter_context(self._bus)
            stack.callback(self._end_run)
            self._prepare()
            self._start()
            try:
                self._until_ready()
                stack.enter_context(self._producer)
                self._deaths()
                count = self._stages(told or (lambda line: None))
                self._until_still(lambda: self._producer.reached >= count, "publishing")
                self._look(finished=self._acted())
            except _Stuck as stuck:
                self.result.faults.append(str(stuck))
        self.result.seconds = time.monotonic() - began
        return self.result

    def _acted(self) -> bool:
        """Wait for the actions that there must be; whether they came."""
        least = self._least()
        try:
            self._until_still(lambda: all(self._count(name) >= count for name, count in least.items()), "acting")
        except _Stuck as stuck:
            self.result.faults.append(str(stuck))  # and the judge shall say what is missing
            return False
        finally:
            self.result.longest_gap_seconds = self.receiver.longest_gap_seconds
        return True

    def _prepare(self) -> None:
        values = {
            "rabbitmq": self._rabbitmq.url,
            "receiver": self.receiver.url,
            "exchange": self._name,
            "queue": f"q-{self._name}",
            "port": self._port,
            "folder": self._folder,
        }
        self._run.write("all.yaml", self.rules.manifests.format(**values))
        (self._folder / "soak_handler.py").write_text(HANDLER)

    def _produce(self) -> list[str]:
        count = str(self.plan.count)
        if self.plan.oslo:
            words = ["tests.brokers.oslo_notify", self._rabbitmq.url, "--exchange", self._name, "--count", count]
            return [*words, "--topic", "notifications", "--driver", "messagingv2", "--paced"]
        words = ["tests.crash.produce", "--amqp", self._rabbitmq.url, "--exchange", self._name, "--count", count]
        if ("web", "in") in self.rules.pairs:
            words += ["--web", f"http://127.0.0.1:{self._port}/in"]
        return words

    def _end_run(self) -> None:
        self._run.end(signal.SIGKILL)

    # ------------------------------------------------------------------ the stages

    def _stages(self, told: Callable[[str], None]) -> int:
        """Let the producer go a piece ahead of what is killed next, so that all is under way when it happens. How many it shall publish."""
        plan, first = self.plan, self.rules.first
        until = time.monotonic() + plan.longest_seconds
        length = plan.count // (len(plan.kills) + 1)
        for number, kill in enumerate(plan.kills):
            begin = number * length
            if time.monotonic() > until:
                return begin
            self._producer.up_to(begin + length)
            # Somewhere in this stage: the broker has some, the receiver has some, neither has all.
            moment = begin + self._random.randrange(length // 4, length * 3 // 4)
            self._until_still(
                lambda moment=moment, begin=begin: (  # type: ignore[misc]
                    self._producer.reached >= moment and self._count(first) > begin // 2
                ),
                f"before {kill!r}",
            )
            told(f"{self._producer.reached} published, {self._count(first)} done: {kill}")
            self.KILLS[kill]()
            self.result.kills[kill] += 1
        self._producer.up_to(plan.count)
        return plan.count

    def _deaths(self) -> None:
        """Let the run die at each point of ``crash_at``. Events come one by one: some points are not met where many come at a time."""
        asked = most = 0

        def dead(number: int) -> bool:
            nonlocal asked
            if len(self.result.died_at) < number and asked < most and settled():
                asked += 1
                self._producer.up_to(asked)
            return len(self.result.died_at) >= number

        def settled() -> bool:
            least = self._least()
            return self._producer.reached >= asked and all(
                self._count(name) >= least[name] for name in self.rules.prompt
            )

        for number, point in enumerate(self.plan.crash_at, 1):
            most = min(asked + _EVENTS_FOR_A_POINT, self.plan.count)
            self._until_still(
                lambda number=number: dead(number),  # type: ignore[misc]
                f"until it dies at {point!r}",
                patience_seconds=_START_SECONDS if number == 1 else None,
            )

    def _start(self) -> None:
        """Start the run, which shall die at the next point where there is one."""
        points, died = self.plan.crash_at, len(self.result.died_at)
        self._run.start({"CRASH_AT": points[died]} if died < len(points) else None)

    def _restart_if_dead(self) -> None:
        if not self._run.ended:
            return
        points, died = self.plan.crash_at, self.result.died_at
        code = self._run.end()
        if len(died) < len(points) and code == -signal.SIGKILL:
            died.append(points[len(died)])
        else:
            self.result.faults.append(f"the run ended by itself, with exit code {code}:\n{self._run.tail()}")
        self._start()

    def _kill_argosy(self) -> None:
        self._run.end(signal.SIGKILL)
        self._start()

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

    def _kill_argosy_without_rabbitmq(self) -> None:
        self._rabbitmq.kill()
        self._run.end(signal.SIGKILL)
        self._run.start()
        self._rabbitmq.start()

    def _workers(self) -> list[int]:
        """One worker of the run, by chance, or the run where it has none."""
        workers = workers_of(self._run.pid)
        return [self._random.choice(workers)] if workers else [self._run.pid]

    def _kill(self, pids: Sequence[int]) -> None:
        if self._run.pid in pids:
            return self._kill_argosy()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return None

    def _halt(self, pids: Sequence[int]) -> None:
        """Stop processes for a while: connections stand, nobody answers. They go on where they were."""
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        time.sleep(self._random.uniform(0.1, _LONGEST_HALT_SECONDS))
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _halt_rabbitmq(self) -> None:
        self._rabbitmq.signal(signal.SIGSTOP)
        time.sleep(self._random.uniform(0.1, _LONGEST_HALT_SECONDS))
        self._rabbitmq.signal(signal.SIGCONT)

    # ------------------------------------------------------------------ waiting and looking

    def _until_ready(self) -> None:
        self._until_still(lambda: self._run.waiting_for() == [], "starting", patience_seconds=_START_SECONDS)

    def _until_still(self, condition: Callable[[], bool], what: str, *, patience_seconds: float | None = None) -> None:
        """Return once the condition holds. Raises _Stuck once nothing has moved for too long."""
        patience = patience_seconds or self.plan.patience_seconds
        seen, moved = self._moved(), time.monotonic()
        while not condition():
            self._restart_if_dead()
            self._sample()
            if (now := self._moved()) != seen:
                seen, moved = now, time.monotonic()
            if time.monotonic() - moved > patience:
                raise _Stuck(f"{what}: nothing moves any more at {seen}; the log ends\n{self._run.tail()}")
            time.sleep(0.02)

    def _moved(self) -> tuple[int, ...]:
        return (self._producer.reached, *(self._count(name) for name in self.rules.queues))

    def _count(self, name: str) -> int:
        """How many effects a trigger had so far, at least nearly."""
        if name != "called":
            return self.receiver.count(f"/{name}")
        # Lines have one length, but for the numbers in the keys, which have none.
        file = self._folder / "called.jsonl"
        return file.read_bytes().count(b"\n") if file.exists() else 0

    def _sample(self) -> None:
        if time.monotonic() - self._sampled > _SAMPLE_SECONDS:
            self._sampled = time.monotonic()
            memory = sum(map(resident, [self._run.pid, *workers_of(self._run.pid)]))
            self.result.most_memory = max(self.result.most_memory, memory)

    def _least(self) -> dict[str, int]:
        """How many effects there must be, as far as that can be told without the log: it decides what is paired."""
        sent = self.result.sent
        bodies = self.rules.wanted(list(sent), sent)
        return {
            name: len(wanted)
            for name, wanted in bodies.items()
            if name not in self.rules.refused and (not wanted or "id" in wanted[0])
        }

    def _look(self, *, finished: bool) -> None:
        """Drain; read the log; go on until the rest is done too; drain again and see that nothing is left.

        What did not move any more (``finished`` is False) will not do so now.
        """
        result = self.result
        self._drain()
        with self._bus.opened_by(self._run) as address:
            result.log = asyncio.run(self._log_of(address))
        wanted = self.rules.wanted(result.log, result.numbers)
        counted = [name for name in wanted if name not in self.rules.refused]
        if finished:
            self._run.start()
            self._until_ready()
            with contextlib.suppress(_Stuck):  # what is missing is found by the judge
                self._until_still(lambda: all(self._count(name) >= len(wanted[name]) for name in counted), "finishing")
            self._drain()
        receiver = self.receiver
        result.effects = {name: [effect.body for effect in receiver.at(f"/{name}")] for name in counted}
        called, repeated = self._called()
        if "called" in counted:
            result.effects["called"] = called
        with self._bus.opened_by(self._run) as address:
            asyncio.run(self._left_over(address))
        if any(depth := self._rabbitmq.depth(f"q-{self._name}")):
            result.faults.append(f"RabbitMQ still has {depth}")
        result.faults += receiver.faults
        result.duplicates, result.unwell = receiver.duplicates + repeated, receiver.unwell

    def _drain(self) -> None:
        try:
            code = self._run.end()
        except subprocess.TimeoutExpired:
            self._run.end(signal.SIGKILL)
            raise _Stuck(f"the drain does not end; the log ends\n{self._run.tail()}") from None
        if code != 0:
            self.result.faults.append(f"the drain ended with exit code {code}:\n{self._run.tail()}")

    def _called(self) -> tuple[list[Body], int]:
        """The effects of the Python function, and how many calls had none."""
        file = self._folder / "called.jsonl"
        calls = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        first = {call["key"]: {"id": call["id"]} for call in reversed(calls)}
        return list(reversed(first.values())), len(calls) - len(first)

    async def _log_of(self, address: Address) -> list[str]:
        """The ids of all events on the log, in its order: up to a last one of our own."""
        end = Event(
            id=f"end-{time.time_ns()}",
            source="judge",
            subject="end",
            type="end",
            time="2026-01-01T00:00:00Z",
            data=b"{}",
        )
        pairs = [*(Pair(*pair) for pair in self.rules.pairs), Pair(end.source, end.subject)]
        ids: list[str] = []
        async with address.open() as bus:
            await bus.publish(end)
            async with bus.subscribe(end.id, pairs, start="earliest", max_in_flight=10**9) as log:
                async for batch in log:
                    for delivery in batch:
                        if delivery.event is None:
                            ids.append(f"unreadable: {delivery.error}")
                        elif delivery.event.source == "web":  # whose events have no id but the one that they were given
                            ids.append(json.loads(delivery.event.data)["body"]["id"])
                        else:
                            ids.append(delivery.event.id)
                    if ids[-1] == end.id:
                        break
        return ids[:-1]

    async def _left_over(self, address: Address) -> None:
        faults = self.result.faults
        async with address.open() as bus:
            for name, queue_name in self.rules.queues.items():
                found = bus.queue(queue_name)
                if depth := await found.depth():
                    faults.append(f"{name}: {depth} actions are left in the queue")
                letters = await found.dead_letters()
                if name in self.rules.refused:
                    bodies = [next(iter(actions.decode(letter.body).events.values())).data for letter in letters]
                    self.result.effects[name] = [{"id": json.loads(body)["body"]["id"]} for body in bodies]
                else:
                    faults += [f"{name}: {letter.id} is a dead letter: {letter.reason}" for letter in letters]


class Producer:
    """The producer, a process of its own, and what it has published so far. A context manager."""

    def __init__(self, words: Sequence[str], result: Result) -> None:
        self._command = [sys.executable, "-m", *words]
        self._result = result
        self._child: subprocess.Popen[str] | None = None

    def __enter__(self) -> Producer:
        self._child = subprocess.Popen(
            self._command,
            cwd=ROOT,
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
        """How many were taken."""
        return len(self._result.sent)

    def _read(self, child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None
        for line in child.stdout:
            how, number, id = line.split()
            (self._result.sent if how == "sent" else self._result.unsure)[id] = int(number)


def resident(pid: int) -> int:
    """The resident memory of a process in bytes; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0
