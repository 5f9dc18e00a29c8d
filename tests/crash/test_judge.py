"""The judge has eyes: it finds every kind of fault in a record that had none, and it finds out an Argosy that breaks a promise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.brokers.rabbitmq import RabbitMQ
from tests.crash.course import Result, judge
from tests.crash.rules import PORTS, joined
from tests.crash.sabotage import SABOTAGES, found_out


@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", list(SABOTAGES))
def test_a_broken_argosy_is_found_out(how: str, rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    result, faults, found = found_out(SABOTAGES[how], 1, tmp_path, rabbitmq)

    assert found, (result.report(), faults)


def _perfect() -> Result:
    sent = {f"id-{number}": number for number in range(6)}
    log = list(sent)
    even = {id for id, number in sent.items() if number % 2 == 0}
    effects = {
        "each": [{"id": id} for id in log],
        "half": [{"id": id} for id in log if id in even],
        "pair": joined(log, lambda id: "even" if id in even else "odd"),
    }
    return Result(sent=sent, log=log, effects=effects)


def test_the_judge_finds_nothing_where_all_is_well() -> None:
    assert judge(_perfect(), PORTS) == []


@pytest.mark.parametrize("name", ["each", "half", "pair"])
def test_the_judge_sees_what_is_missing_twice_foreign_or_out_of_order(name: str) -> None:
    good = _perfect()
    bodies = good.effects[name]
    missing = replace(good, effects={**good.effects, name: bodies[1:]})
    twice = replace(good, effects={**good.effects, name: [*bodies, bodies[0]]})
    foreign = replace(good, effects={**good.effects, name: [*bodies, {"id": "nobody"}]})
    swapped = replace(good, effects={**good.effects, name: [bodies[1], bodies[0], *bodies[2:]]})

    assert "never done" in " ".join(judge(missing, PORTS))
    assert "done 2 times" in " ".join(judge(twice, PORTS))
    assert "should not have been" in " ".join(judge(foreign, PORTS))
    assert "another order" in " ".join(judge(swapped, PORTS))


def test_the_judge_sees_what_never_came_came_twice_or_was_never_sent() -> None:
    good = _perfect()

    assert "never reached the log" in " ".join(judge(replace(good, log=good.log[1:]), PORTS))
    assert "on the log 2 times" in " ".join(judge(replace(good, log=[*good.log, "id-0"]), PORTS))
    assert "never published" in " ".join(judge(replace(good, log=[*good.log, "nobody"]), PORTS))
    assert judge(replace(good, faults=["stuck"]), PORTS) == ["stuck"]
