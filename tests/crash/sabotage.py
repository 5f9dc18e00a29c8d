"""Broken Argosies, which the judge must find out; each breaks one promise by a patch that is laid over the product, never in it.

    python -m tests.crash.sabotage --times 20

plays each so many times, at another moment each time, and says how often it was found out; exit code 1 if once it was not.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.brokers.rabbitmq import RabbitMQ
from tests.crash.buses import BusInside
from tests.crash.course import Course, Plan, Result, judge
from tests.crash.receiver import Moods
from tests.crash.rules import PORTS


@dataclass(frozen=True)
class Sabotage:
    """``code`` runs before Argosy does; the run dies at ``crash_at``, and the judge has to say ``finding``."""

    code: str
    crash_at: str
    finding: str


SABOTAGES = {
    "acknowledges before the event is stored": Sabotage(
        """
import asyncio
import argosy.sources.amqp as amqp

async def careless(self, message):
    await self._channel.basic_ack(message.delivery_tag, wait=False)
    await asyncio.sleep(0.05)  # so that the broker has read it
    await self._emit(message)

amqp._Intake._keep = careless
""",
        "event.received",
        "never reached the log",
    ),
    "clears the join state before the action is stored": Sabotage(
        """
import argosy.sensor.loop as loop

put, save = loop.SensorLoop._put, loop.SensorLoop._save

async def saved_first(self, puts):
    await save(self)
    await put(self, puts)

loop.SensorLoop._put = saved_first
""",
        "join.cleared",
        "pair: ",
    ),
    "moves on before the actions are stored": Sabotage(
        """
import asyncio
import argosy.sensor.loop as loop

put = loop.SensorLoop._put

async def later(self, puts):
    async def soon():
        await asyncio.sleep(0.2)
        await put(self, puts)
    self.late = getattr(self, "late", [])
    self.late.append(asyncio.create_task(soon()))

loop.SensorLoop._put = later
""",
        "position.committed",
        "was never done",
    ),
    "gives an action another name each time": Sabotage(
        """
import secrets
import argosy.sensor.actions as actions

actions.action_id = lambda *cause: secrets.token_hex(16)
""",
        "actions.put",
        " times",
    ),
}


def found_out(sabotage: Sabotage, number: int, folder: Path, rabbitmq: RabbitMQ) -> tuple[Result, list[str], bool]:
    """Play it; the result, what the judge says, and whether that is what was broken. ``number`` chooses the moment."""
    program = ["-c", f"{sabotage.code}\nfrom argosy.cli.main import main\nmain()"]
    crash_at = f"{sabotage.crash_at}:{number}"
    plan = Plan(count=100, kills=(), crash_at=[crash_at], seed=number, moods=Moods(), patience_seconds=5)
    result = Course(plan, PORTS, folder, rabbitmq, BusInside(), program).play()
    faults = judge(result, PORTS)
    return result, faults, any(sabotage.finding in fault for fault in faults)


def main() -> int:
    """The program; its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--times", type=int, default=20)
    wanted = parser.parse_args()
    missed = 0
    with tempfile.TemporaryDirectory(prefix="argosy-sabotage-") as text, RabbitMQ(Path(text) / "rabbitmq") as rabbitmq:
        for how, sabotage in SABOTAGES.items():
            times, began = 0, time.monotonic()
            for number in range(1, wanted.times + 1):
                folder = Path(text) / f"{sabotage.crash_at}-{number}"
                folder.mkdir()
                result, faults, found = found_out(sabotage, number, folder, rabbitmq)
                times += found
                if not found:
                    print(f"  not found out, moment {number}: {result.report()}; {faults}", flush=True)
            missed += wanted.times - times
            print(f"{how}: found out {times} of {wanted.times} times, {time.monotonic() - began:.0f} s", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
